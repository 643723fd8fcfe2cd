// Mean structural similarity of two images, and its map.
#pragma once

#include "support/view.hpp"

#include <vector>

namespace fastimg {

struct SimilarityWindow {
    std::vector<double> weights;  // along every axis: that of the pixel itself, then of those at distance 1, 2, ...
    ptrdiff_t margin;             // the mean takes pixels at least so far from the border, of which there are some
    double covariance_factor;     // n / (n - 1), or 1
    double c1, c2;                // (K1 L)^2, (K2 L)^2
};

// `a` and `b`, of one shape and dtype, hold planes along their first axis, each compared on its own; the window spans
// the other axes, at least one. `map`, float32 or float64, is null or of the same shape.
double structural_similarity(const Array& a, const Array& b, const Array* map, const SimilarityWindow& window,
                             int threads);

}  // namespace fastimg
