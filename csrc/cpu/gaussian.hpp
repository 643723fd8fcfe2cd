// Separable symmetric filter of an image of any rank: out = scale * (taps_0 ⊗ taps_1 ⊗ ...) * image.
#pragma once

#include "support/border.hpp"
#include "support/view.hpp"

#include <vector>

namespace fastimg {

// `taps[axis]` holds the weights at distance 0, 1, ..., radius along that axis and sums to 1 over both sides; one tap
// or none leaves the axis alone. `out` has the dtype of `image`, or is float32 for an integer image. Outside the image
// stands `cval` (in the image's units, before scaling) if the border is constant.
void gaussian(const Array& image, const Array& out, const std::vector<std::vector<double>>& taps, BorderMode border,
              double cval, double scale, int threads);

}  // namespace fastimg
