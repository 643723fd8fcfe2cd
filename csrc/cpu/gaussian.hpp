// Separable filter of an image of any rank by a Gaussian and its derivatives: out = scale * (taps_0 ⊗ taps_1 ⊗ ...) * image.
#pragma once

#include "support/border.hpp"
#include "support/view.hpp"

#include <vector>

namespace fastimg {

// What is done along an axis: out[i] = taps[0] image[i] + sum over k of taps[k] (image[i + k] + image[i - k]), with a minus
// between the two if the filter is odd. No tap leaves the axis alone.
struct AxisFilter {
    std::vector<double> taps;  // at distance 0, 1, ..., radius
    bool odd = false;
    BorderMode border = BorderMode::nearest;

    ptrdiff_t radius() const { return taps.empty() ? 0 : ptrdiff_t(taps.size()) - 1; }
    // What a constant is multiplied by.
    double total() const {
        if (odd) return 0.0;
        if (taps.empty()) return 1.0;
        double sum = taps[0];
        for (size_t k = 1; k < taps.size(); ++k) sum += 2 * taps[k];
        return sum;
    }
};

// `out` has the dtype of `image`, or is float32 for an integer image. Where a border is constant, all that lies beyond it
// is `cval`, in the image's units, before scaling.
void gaussian(const Array& image, const Array& out, const std::vector<AxisFilter>& filters, double cval, double scale,
              int threads);

}  // namespace fastimg
