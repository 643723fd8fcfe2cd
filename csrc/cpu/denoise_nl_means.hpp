// Non-local means: every pixel becomes the mean of the pixels around it, weighted by how much their patches agree.
//
//     d(p, q) = max(0, sum over a patch and the channels of taps[o] (g[p + o] - g[q + o])^2 - excess)
//     w(p, q) = weighting(d * scale)
//     y[p]    = sum over |q - p| <= distance of w(p, q) x[q]  /  sum of w(p, q)
//
// where g, the guide, is x itself by default. Images have up to four axes: rows and columns make up a plane, and planes
// stand along two outer axes (the depth of a volume, the time of a sequence), along which patches and the search reach,
// too, if they are to.
//
// Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005; the patch sums that make the cost
// independent of the patch's size: Darbon et al., "Fast nonlocal filtering applied to electron cryomicroscopy", 2008.
#pragma once

#include "support/view.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace fastimg {

// Of t = d * scale: exp(-t) up to a cutoff; max(0, 1 - t) to the power 1, 2 and 8; what a function makes of it.
enum class Weighting { welsch, epanechnikov, bisquare, modified_bisquare, function };

// Puts weights, none below 0, in the place of n distances t. It is called by several threads at a time, and also for
// distances of no pixels, which may be anything.
using WeightFunction = void (*)(float* distances, int64_t n, const double* parameters);

struct NlMeans {
    // Patches and the search along an outer axis.
    struct Outer {
        bool in_patch = false;   // patches reach as far along it as along rows and columns
        int distance = 0;        // of the search
        bool truncated = false;  // as below
    };

    int patch_before, patch_after;  // the patch covers offsets -patch_before .. patch_after along each axis
    std::vector<float> taps;        // weights of the patch along each axis; none: all are 1
    int distance;                   // the search covers offsets -distance .. distance
    bool truncated = false;  // the search ends where the image does; else it goes on in the mirror image (c b | a b c)
    std::array<Outer, 2> outer;
    ptrdiff_t first_plane = 0;  // along the second outer axis: where the result begins
    Weighting weighting = Weighting::welsch;
    float scale, excess, cutoff;  // on sums of squared differences, in units of the guide's values
    float centre = -1;  // the weight of p itself, as a multiple of the largest of the others; below 0: weighting(0)
    float gain;         // the result is multiplied by it when stored
    WeightFunction function = nullptr;
    const double* function_parameters = nullptr;
};

// What the weights of a pixel p depend on besides the parameters: (outer, outer, rows, columns), the planes those of the
// result. An absent one has no data.
struct NlMeansMaps {
    Array h{};      // scale becomes scale / h[p]^2
    Array sigma{};  // excess becomes excess * sigma[p]^2
};

// Images are (outer, outer, rows, columns, channels), of any strides and dtypes. The guide may be the image itself; the
// result may have fewer planes along the second outer axis; it must not overlap the others.
void denoise_nl_means(const Array& image, const Array& guide, const NlMeansMaps& maps, const Array& result,
                      const NlMeans& parameters, int threads);

// Weights that are whole numbers, so that results are exact: OpenCV's. The sum of squared (or absolute) differences over a
// patch and the channels, shifted right by `shift`, is an index of `weights`; the last is 0, and that of all sums beyond.
// The mean is an integer division, rounded half up. Sums must fit 32 bits.
struct WeightTable {
    std::vector<int32_t> weights;
    int shift;
    double decay;  // weight i is weight 0 times exp(-decay * i), rounded, for all but the last; 0: it need not be
    bool absolute;
};

// Images are uint8 or, if differences are absolute, uint16. Of the parameters only those of patches and the search count.
void denoise_nl_means_by_table(const Array& image, const Array& guide, const Array& result, const NlMeans& parameters,
                               const WeightTable& table, int threads);

}  // namespace fastimg
