#include "../cpu/mean_squared_error.hpp"

#include "arrays.hpp"

namespace fastimg {

void bind_mean_squared_error(py::module_& m) {
    m.def(
        "mean_squared_error",
        [](const py::array& image0, const py::array& image1, int threads) {
            const Array a = readable(image0), b = readable(image1);
            py::gil_scoped_release nogil;
            return mean_squared_error(a, b, threads);
        },
        py::arg("image0"), py::arg("image1"), py::arg("threads"));
}

}  // namespace fastimg
