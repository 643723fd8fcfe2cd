#include "../cpu/convert_color.hpp"

#include "arrays.hpp"

#include <pybind11/stl.h>

#include <array>

namespace fastimg {

void bind_convert_color(py::module_& m) {
    m.def(
        "convert_color",
        [](const py::array& image, py::array result, const std::array<std::array<double, 3>, 3>& matrix,
           const std::array<double, 3>& offset, int threads) {
            const Array a = readable(image), b = writable(result);
            ColorMap map{};
            for (size_t o = 0; o < 3; ++o) {
                map.offset[o] = offset[o];
                for (size_t c = 0; c < 3; ++c) map.matrix[o][c] = matrix[o][c];
            }
            py::gil_scoped_release nogil;
            convert_color(a, b, map, threads);
        },
        py::arg("image"), py::arg("result"), py::arg("matrix"), py::arg("offset"), py::arg("threads"));
}

}  // namespace fastimg
