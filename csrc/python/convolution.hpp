// What the bindings of conv2d and conv_transpose2d share: the arguments.
#pragma once

#include "../cpu/convolution.hpp"
#include "arrays.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <string>

namespace fastimg {

inline BorderMode border_of(const std::string& name) {  // by PyTorch's names
    if (name == "zeros") return BorderMode::constant;
    if (name == "replicate") return BorderMode::nearest;
    return BorderMode::mirror;
}

inline Activation activation_of(const std::optional<std::string>& name) {
    if (!name) return Activation::none;
    return *name == "relu" ? Activation::relu : Activation::slope;
}

using Pair = std::array<py::ssize_t, 2>;
using Constants = std::optional<py::array_t<float, py::array::c_style>>;  // one per output channel

inline ConvolutionArguments arguments_of(const Constants& bias, Pair stride, Pair padding, Pair dilation,
                                         py::ssize_t groups, const std::string& padding_mode,
                                         const std::optional<std::string>& activation, const Constants& slope) {
    return {stride,
            padding,
            dilation,
            groups,
            border_of(padding_mode),
            activation_of(activation),
            bias ? bias->data() : nullptr,
            slope ? slope->data() : nullptr};
}

template <class Operation>
void bind_convolution(py::module_& m, const char* name, Operation operation) {
    m.def(
        name,
        [operation](const py::array& x, const py::array& weight, const Constants& bias, Pair stride, Pair padding,
                    Pair dilation, py::ssize_t groups, const std::string& padding_mode,
                    const std::optional<std::string>& activation, const Constants& slope, py::array& out, int threads) {
            const Array x_view = readable(x), weight_view = readable(weight), out_view = writable(out);
            const ConvolutionArguments arguments =
                arguments_of(bias, stride, padding, dilation, groups, padding_mode, activation, slope);
            py::gil_scoped_release nogil;
            operation(x_view, weight_view, arguments, out_view, threads);
        },
        py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
        py::arg("groups"), py::arg("padding_mode"), py::arg("activation"), py::arg("slope"), py::arg("out"),
        py::arg("threads"));
}

}  // namespace fastimg
