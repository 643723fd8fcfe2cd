// Warping: every pixel of the result shows the image at the place that a map gives it.
//
// The map is a matrix m, which sends column x and row y of the result to column (m0 x + m1 y + m2) / w and row
// (m3 x + m4 y + m5) / w of the image, w = m6 x + m7 y + m8, as scikit-image's `warp` does; a table that holds rows and
// columns for each pixel, as OpenCV's `remap`; or a function that computes them. Coordinates are those of pixel centres, from 0 on.
//
// Between the pixels the image is interpolated: by the nearest (a half belongs to the right), linearly, cubically
// (Catmull and Rom's spline, Keys' kernel with a = -0.5), or by Lanczos' kernel of three lobes, whose weights are divided
// by their sum; along rows and then down columns.
#pragma once

#include "resize.hpp"
#include "support/border.hpp"
#include "support/view.hpp"

#include <cstdint>

namespace fastimg {

struct Sampling {
    Interpolation kernel;  // nearest, bilinear, bicubic or lanczos3
    BorderMode border;
    double constant;   // where the border mode says so, and for coordinates that are not finite; in the image's units
    double low, high;  // to which sums of four taps and more are clipped
};

// Both arrays are (..., rows, columns, channels) of one rank, and equal but for rows and columns, of which the image has
// at most 2^30. An integer result is rounded half to even and clipped; a float result of an integer image is in [0, 1].
// Coordinates are computed in double, the same on all processors, and taken for 2^30 beyond that.

// `matrices` are `count` times nine numbers, each for as many of the images.
void warp(const Array& image, const Array& result, const double* matrices, ptrdiff_t count, const Sampling& sampling,
          int threads);

// `coordinates` are (2, rows, columns) of float or double, the rows first; for all images alike.
void remap(const Array& image, const Array& result, const Array& coordinates, const Sampling& sampling, int threads);

// The coordinates of n pixels of row y, from column x on: the rows at out[0] and on, the columns at out[n] and on. It is
// called by several threads at a time.
using CoordinateFunction = void (*)(int64_t y, int64_t x, int64_t n, double* out, const double* parameters);

void warp_by_function(const Array& image, const Array& result, CoordinateFunction function, const double* parameters,
                      const Sampling& sampling, int threads);

// The transposed maps, of floats: from the gradient of what `warp` or `remap` makes to that of the image, the result here.
void warp_adjoint(const Array& gradient, const Array& result, const double* matrices, ptrdiff_t count,
                  const Sampling& sampling, int threads);
void remap_adjoint(const Array& gradient, const Array& result, const Array& coordinates, const Sampling& sampling,
                   int threads);

}  // namespace fastimg
