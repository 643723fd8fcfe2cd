// Separable recursive filter of an image of any rank: what `gaussian` computes, within a stated error, at a cost that does
// not depend on sigma.
#pragma once

#include "support/border.hpp"
#include "support/view.hpp"

#include <complex>
#include <vector>

namespace fastimg {

// What is done along an axis: out[i] = centre image[i] + sum over k >= 1 of f(k) (image[i + k] + image[i - k]), with a
// minus between the two if the filter is odd, where f(k) = Re sum over j of residues[j] poles[j]^k. All poles lie within
// the unit circle. No pole leaves the axis alone.
struct RecursiveFilter {
    double centre = 1.0;
    std::vector<std::complex<double>> poles, residues;
    bool odd = false;
    BorderMode border = BorderMode::nearest;

    // What a constant is multiplied by.
    double total() const {
        if (odd) return 0.0;
        double sum = centre;
        for (size_t j = 0; j < poles.size(); ++j) sum += 2 * (residues[j] * poles[j] / (1.0 - poles[j])).real();
        return sum;
    }
};

constexpr int kPoles = 3;  // of every filter that has any

// `out` has the dtype of `image`, or is float32 for an integer image. Where a border is constant, all that lies beyond it
// is `cval`, in the image's units, before scaling. If `out` is not of the type that is computed in
// and more than one axis is filtered, this takes memory for the image in that type.
void gaussian_recursive(const Array& image, const Array& out, const std::vector<RecursiveFilter>& filters, double cval,
                        double scale, int threads);

}  // namespace fastimg
