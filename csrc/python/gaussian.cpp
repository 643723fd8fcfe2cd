#include "../cpu/gaussian.hpp"
#include "../cpu/gaussian_recursive.hpp"

#include "arrays.hpp"

#include <pybind11/complex.h>
#include <pybind11/stl.h>

#include <complex>
#include <string>
#include <tuple>
#include <vector>

namespace fastimg {

namespace {

BorderMode border_of(const std::string& mode) {
    if (mode == "nearest") return BorderMode::nearest;
    if (mode == "reflect") return BorderMode::reflect;
    if (mode == "mirror") return BorderMode::mirror;
    if (mode == "wrap") return BorderMode::wrap;
    if (mode == "constant") return BorderMode::constant;
    throw py::value_error("fastimg: unknown border mode " + mode);
}

}  // namespace

void bind_gaussian(py::module_& m) {
    m.def(
        "gaussian",
        [](const py::array& image, py::array& out,
           const std::vector<std::tuple<std::vector<double>, bool, std::string>>& filters, double cval, double scale,
           int threads) {
            const Array a = readable(image), b = writable(out);
            std::vector<AxisFilter> of_axes;
            for (const auto& [taps, odd, mode] : filters) of_axes.push_back({taps, odd, border_of(mode)});
            py::gil_scoped_release nogil;
            gaussian(a, b, of_axes, cval, scale, threads);
        },
        py::arg("image"), py::arg("out"), py::arg("filters"), py::arg("cval"), py::arg("scale"), py::arg("threads"));
    using Complexes = std::vector<std::complex<double>>;
    m.def(
        "gaussian_recursive",
        [](const py::array& image, py::array& out,
           const std::vector<std::tuple<double, Complexes, Complexes, bool, std::string>>& filters, double cval,
           double scale, int threads) {
            const Array a = readable(image), b = writable(out);
            std::vector<RecursiveFilter> of_axes;
            for (const auto& [centre, poles, residues, odd, mode] : filters)
                of_axes.push_back({centre, poles, residues, odd, border_of(mode)});
            py::gil_scoped_release nogil;
            gaussian_recursive(a, b, of_axes, cval, scale, threads);
        },
        py::arg("image"), py::arg("out"), py::arg("filters"), py::arg("cval"), py::arg("scale"), py::arg("threads"));
}

}  // namespace fastimg
