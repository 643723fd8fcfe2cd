// Non-local means: every pixel becomes the mean of the pixels around it, weighted by how much their patches agree.
//
//     d(p, q) = max(0, sum over a patch and the channels of (x[p + o] - x[q + o])^2 - excess)
//     w(p, q) = exp(-d * scale) where d <= cutoff, else 0
//     y[p]    = sum over |q - p| <= distance of w(p, q) x[q]  /  sum of w(p, q)
//
// Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005; the patch sums that make the cost
// independent of the patch's size: Darbon et al., "Fast nonlocal filtering applied to electron cryomicroscopy", 2008.
// Outside the image stands its mirror image without the border pixel, for patches and for the search alike.
#pragma once

#include "support/view.hpp"

namespace fastimg {

struct NlMeans {
    int patch_before, patch_after;  // the patch covers offsets -patch_before .. patch_after along each axis
    int distance;                   // the search covers offsets -distance .. distance
    float scale, excess, cutoff;    // on sums of squared differences, in units of the source's values
    float gain;                     // the result is multiplied by it when stored
};

// source, result: (rows, columns, channels), any strides, any two dtypes; they must not overlap.
void denoise_nl_means(const Array& source, const Array& result, const NlMeans& parameters, int threads);

}  // namespace fastimg
