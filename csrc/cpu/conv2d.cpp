#include "conv2d.hpp"

namespace fastimg {

namespace {

Axis axis_of(size_t axis, const Array& weight, const ConvolutionArguments& a) {
    const ptrdiff_t kernel = weight.shape[2 + axis];
    std::vector<AxisTap> taps;
    for (ptrdiff_t u = 0; u < kernel; ++u) taps.push_back({u * a.dilation[axis] - a.padding[axis], u});
    return {1, a.stride[axis], kernel, {taps}};
}

}  // namespace

std::vector<Convolution> make_conv2d(const Array& weight, const ConvolutionArguments& arguments) {
    const ptrdiff_t outputs = weight.shape[0] / arguments.groups;
    return make_convolutions(
        {axis_of(0, weight, arguments), axis_of(1, weight, arguments), arguments.groups, weight.shape[1], outputs},
        {static_cast<const float*>(weight.data), outputs * weight.stride[0], weight.stride[0], weight.stride[1],
         weight.stride[2], weight.stride[3]},
        arguments);
}

void conv2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out, int threads) {
    convolve_alone(make_conv2d(weight, arguments), x, out, threads);
}

}  // namespace fastimg
