// 2-D convolution (cross-correlation) of NCHW float32 images, with bias and activation:
//
//   out[n, o, y, x] = f(bias[o] + sum over c, u, v of weight[o, c, u, v] * in[n, c', y*s - p + u*d, x*s - p + v*d])
//
// where c' counts on from the first channel of o's group, and `in` continues beyond its border as `border` says.
#pragma once

#include "convolution.hpp"

namespace fastimg {

// The layer; `out_rows` are those of its results.
Convolution make_conv2d(const Array& weight, const ConvolutionArguments& arguments, ptrdiff_t out_rows);

void conv2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out, int threads);

}  // namespace fastimg
