#include "../cpu/opencv_lab.hpp"

#include "arrays.hpp"

#include <pybind11/stl.h>

namespace fastimg {

using Table = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

void bind_opencv_lab(py::module_& m) {
    m.def(
        "opencv_bgr_to_lab",
        [](const py::array& bgr, py::array& lab, const std::array<int32_t, 9>& coefficients, const Table& cube_roots,
           int threads) {
            const Array from = readable(bgr), to = writable(lab);
            const int32_t* const roots = cube_roots.data();
            py::gil_scoped_release nogil;
            opencv_bgr_to_lab(from, to, coefficients, roots, threads);
        },
        py::arg("bgr"), py::arg("lab"), py::arg("coefficients"), py::arg("cube_roots"), py::arg("threads"));
    m.def(
        "opencv_lab_to_bgr",
        [](const py::array& lab, py::array& bgr, const std::array<int32_t, 9>& coefficients, const Table& lightness,
           const Table& cubes, int first_cube, int threads) {
            const Array from = readable(lab), to = writable(bgr);
            const int32_t *const of_lightness = lightness.data(), *const cubed = cubes.data();
            py::gil_scoped_release nogil;
            opencv_lab_to_bgr(from, to, coefficients, of_lightness, cubed, first_cube, threads);
        },
        py::arg("lab"), py::arg("bgr"), py::arg("coefficients"), py::arg("lightness"), py::arg("cubes"),
        py::arg("first_cube"), py::arg("threads"));
}

}  // namespace fastimg
