#include "../cpu/warp.hpp"

#include "arrays.hpp"

#include <string>

namespace fastimg {
namespace {

Sampling sampling(const std::string& kernel, const std::string& mode, double cval, double low, double high) {
    Sampling s{Interpolation::nearest, BorderMode::constant, cval, low, high};
    if (kernel == "bilinear")
        s.kernel = Interpolation::bilinear;
    else if (kernel == "bicubic")
        s.kernel = Interpolation::bicubic;
    else if (kernel == "lanczos3")
        s.kernel = Interpolation::lanczos3;
    else if (kernel != "nearest")
        throw py::value_error("fastimg: unknown kernel " + kernel);
    if (mode == "edge")  // by NumPy's names
        s.border = BorderMode::nearest;
    else if (mode == "symmetric")
        s.border = BorderMode::reflect;
    else if (mode == "reflect")
        s.border = BorderMode::mirror;
    else if (mode == "wrap")
        s.border = BorderMode::wrap;
    else if (mode != "constant")
        throw py::value_error("fastimg: unknown border " + mode);
    return s;
}

}  // namespace

void bind_warp(py::module_& m) {
    m.def(
        "warp",
        [](const py::array& image, py::array result, const py::array_t<double, py::array::c_style>& matrices,
           const std::string& kernel, const std::string& mode, double cval, double low, double high, int threads) {
            const Array a = readable(image), b = writable(result);
            const Sampling s = sampling(kernel, mode, cval, low, high);
            const double* const m = matrices.data();
            const ptrdiff_t count = matrices.size() / 9;
            py::gil_scoped_release nogil;
            warp(a, b, m, count, s, threads);
        },
        py::arg("image"), py::arg("result"), py::arg("matrices"), py::arg("kernel"), py::arg("mode"), py::arg("cval"),
        py::arg("low"), py::arg("high"), py::arg("threads"));
    m.def(
        "remap",
        [](const py::array& image, py::array result, const py::array& coordinates, const std::string& kernel,
           const std::string& mode, double cval, double low, double high, int threads) {
            const Array a = readable(image), b = writable(result), c = readable(coordinates);
            const Sampling s = sampling(kernel, mode, cval, low, high);
            py::gil_scoped_release nogil;
            remap(a, b, c, s, threads);
        },
        py::arg("image"), py::arg("result"), py::arg("coordinates"), py::arg("kernel"), py::arg("mode"),
        py::arg("cval"), py::arg("low"), py::arg("high"), py::arg("threads"));
    m.def(
        "warp_by_function",
        [](const py::array& image, py::array result, uintptr_t function,
           const py::array_t<double, py::array::c_style>& parameters, const std::string& kernel,
           const std::string& mode, double cval, double low, double high, int threads) {
            const Array a = readable(image), b = writable(result);
            const Sampling s = sampling(kernel, mode, cval, low, high);
            const double* const p = parameters.data();
            py::gil_scoped_release nogil;
            warp_by_function(a, b, reinterpret_cast<CoordinateFunction>(function), p, s, threads);
        },
        py::arg("image"), py::arg("result"), py::arg("function"), py::arg("parameters"), py::arg("kernel"),
        py::arg("mode"), py::arg("cval"), py::arg("low"), py::arg("high"), py::arg("threads"));
    m.def(
        "warp_adjoint",
        [](const py::array& gradient, py::array result, const py::array_t<double, py::array::c_style>& matrices,
           const std::string& kernel, const std::string& mode, int threads) {
            const Array a = readable(gradient), b = writable(result);
            const Sampling s = sampling(kernel, mode, 0, 0, 0);
            const double* const m = matrices.data();
            const ptrdiff_t count = matrices.size() / 9;
            py::gil_scoped_release nogil;
            warp_adjoint(a, b, m, count, s, threads);
        },
        py::arg("gradient"), py::arg("result"), py::arg("matrices"), py::arg("kernel"), py::arg("mode"),
        py::arg("threads"));
    m.def(
        "remap_adjoint",
        [](const py::array& gradient, py::array result, const py::array& coordinates, const std::string& kernel,
           const std::string& mode, int threads) {
            const Array a = readable(gradient), b = writable(result), c = readable(coordinates);
            const Sampling s = sampling(kernel, mode, 0, 0, 0);
            py::gil_scoped_release nogil;
            remap_adjoint(a, b, c, s, threads);
        },
        py::arg("gradient"), py::arg("result"), py::arg("coordinates"), py::arg("kernel"), py::arg("mode"),
        py::arg("threads"));
}

}  // namespace fastimg
