// Transposed 2-D convolution ("deconvolution") of NCHW float32 images, with bias and activation: every input sample
// in[n, c, i, j] adds weight[c, o, u, v] * in[n, c, i, j] to out[n, o, i*s - p + u*d, j*s - p + v*d].
//
// Gathered by output: out[y] takes in[i] through weight u wherever y = i*s - p + u*d, so the outputs of one remainder
// of y modulo s, a phase, are an ordinary convolution of the input with those u for which (y + p - u*d) divides by s.
// `in` continues beyond its border as `border` says.
#pragma once

#include "convolution.hpp"

namespace fastimg {

// The layer, or the two that it is best computed as; `out_size` are rows and columns of its results.
std::vector<Convolution> make_conv_transpose2d(const Array& weight, const ConvolutionArguments& arguments,
                                               const std::array<ptrdiff_t, 2>& out_size);

void conv_transpose2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out,
                      int threads);

}  // namespace fastimg
