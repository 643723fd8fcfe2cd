// 2-D convolution (cross-correlation) of NCHW float32 images, with bias and activation:
//
//   out[n, o, y, x] = f(bias[o] + sum over c, u, v of weight[o, c, u, v] * in[n, c', y*s - p + u*d, x*s - p + v*d])
//
// where c' counts on from the first channel of o's group, and `in` continues beyond its border as `border` says.
#pragma once

#include "convolution.hpp"

namespace fastimg {

// The layer, or the two that it is best computed as.
std::vector<Convolution> make_conv2d(const Array& weight, const ConvolutionArguments& arguments);

void conv2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out, int threads);

}  // namespace fastimg
