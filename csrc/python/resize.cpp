#include "../cpu/resize.hpp"

#include "arrays.hpp"

namespace fastimg {

namespace {

Interpolation interpolation(const std::string& name) {
    if (name == "nearest") return Interpolation::nearest;
    if (name == "bilinear") return Interpolation::bilinear;
    if (name == "bicubic") return Interpolation::bicubic;
    if (name == "lanczos2") return Interpolation::lanczos2;
    if (name == "lanczos3") return Interpolation::lanczos3;
    throw py::value_error("fastimg: unknown kernel " + name);
}

BorderMode border(const std::string& name) {  // by NumPy's names
    if (name == "edge") return BorderMode::nearest;
    if (name == "symmetric") return BorderMode::reflect;
    if (name == "reflect") return BorderMode::mirror;
    throw py::value_error("fastimg: unknown border " + name);
}

}  // namespace

void bind_resize(py::module_& m) {
    const auto define = [&](const char* name, const char* source, auto function) {
        m.def(
            name,
            [function](const py::array& image, py::array result, double row_scale, double column_scale,
                       const std::string& kernel, bool anti_aliasing, const std::string& mode, bool columns_first,
                       int threads) {
                const Array a = readable(image), b = writable(result);
                const Interpolation k = interpolation(kernel);
                const BorderMode at_border = border(mode);
                py::gil_scoped_release nogil;
                function(a, b, {row_scale, k, anti_aliasing, at_border}, {column_scale, k, anti_aliasing, at_border},
                         columns_first, threads);
            },
            py::arg(source), py::arg("result"), py::arg("row_scale"), py::arg("column_scale"), py::arg("kernel"),
            py::arg("anti_aliasing"), py::arg("mode"), py::arg("columns_first"), py::arg("threads"));
    };
    define("resize", "image", resize);
    define("resize_adjoint", "gradient", resize_adjoint);
}

}  // namespace fastimg
