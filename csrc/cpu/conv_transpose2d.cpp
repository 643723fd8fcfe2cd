#include "conv_transpose2d.hpp"

#include <algorithm>

namespace fastimg {
namespace {

// Cells of a stride, or of all the output if that is less and the stride large: a place takes every stride-th weight.
Axis axis_of(size_t axis, const Array& weight, const ConvolutionArguments& a, ptrdiff_t out_size) {
    const ptrdiff_t kernel = weight.shape[2 + axis],
                    cell = std::min(a.stride[axis], std::max<ptrdiff_t>(out_size, kMostShuffled));
    std::vector<std::vector<AxisTap>> places(static_cast<size_t>(cell));
    for (ptrdiff_t place = 0; place < cell; ++place) {
        for (ptrdiff_t u = kernel - 1; u >= 0; --u) {
            const ptrdiff_t distance = place + a.padding[axis] - u * a.dilation[axis];
            if (distance % a.stride[axis] == 0) places[size_t(place)].push_back({distance / a.stride[axis], u});
        }
    }
    return {cell, 1, kernel, places};
}

}  // namespace

std::vector<Convolution> make_conv_transpose2d(const Array& weight, const ConvolutionArguments& arguments,
                                               const std::array<ptrdiff_t, 2>& out_size) {
    const ptrdiff_t inputs = weight.shape[0] / arguments.groups;
    return make_convolutions({axis_of(0, weight, arguments, out_size[0]), axis_of(1, weight, arguments, out_size[1]),
                              arguments.groups, inputs, weight.shape[1]},
                             {static_cast<const float*>(weight.data), inputs * weight.stride[0], weight.stride[1],
                              weight.stride[0], weight.stride[2], weight.stride[3]},
                             arguments);
}

void conv_transpose2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out,
                      int threads) {
    convolve_alone(make_conv_transpose2d(weight, arguments, {out.shape[2], out.shape[3]}), x, out, threads);
}

}  // namespace fastimg
