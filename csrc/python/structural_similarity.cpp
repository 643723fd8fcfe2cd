#include "../cpu/structural_similarity.hpp"

#include "arrays.hpp"

#include <pybind11/stl.h>

#include <optional>

namespace fastimg {

void bind_structural_similarity(py::module_& m) {
    m.def(
        "structural_similarity",
        [](const py::array& image0, const py::array& image1, std::optional<py::array> map,
           const std::vector<double>& weights, ptrdiff_t margin, double covariance_factor, double c1, double c2,
           int threads) {
            const Array a = readable(image0), b = readable(image1);
            const Array to = map ? writable(*map) : a;
            const SimilarityWindow window{weights, margin, covariance_factor, c1, c2};
            py::gil_scoped_release nogil;
            return structural_similarity(a, b, map ? &to : nullptr, window, threads);
        },
        py::arg("image0"), py::arg("image1"), py::arg("map"), py::arg("weights"), py::arg("margin"),
        py::arg("covariance_factor"), py::arg("c1"), py::arg("c2"), py::arg("threads"));
}

}  // namespace fastimg
