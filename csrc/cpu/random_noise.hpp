// Noise of several kinds added to an image, reproducible by a key, whatever the number of threads.
#pragma once

#include "support/view.hpp"

namespace fastimg {

enum class NoiseMode { gaussian, local_gaussian, speckle, poisson, impulses, counted_impulses };

struct Noise {
    NoiseMode mode;
    uint64_t key;
    double divisor;          // takes the image's values to the units of the result, in which all else here is given
    double mean, deviation;  // gaussian, speckle
    double low, high;        // the ends of the result's range: pepper and salt, and where `clip` cuts
    bool clip;
    double rate_factor, rate_offset;    // poisson: the expected count of value v is v * rate_factor + rate_offset,
    double count_factor, count_offset;  // and a count k gives the value k * count_factor + count_offset
    double salt, pepper;                // impulses: the share of pixels that become either
    int64_t salt_count, pepper_count;   // counted_impulses: how many pixels become either
};

// `image`, `variances` (read by local_gaussian, in squared units of the result) and `result` have one shape, whose last
// axis is that of channels that share their draw. `image` and `result` are float64 together or not at all.
void random_noise(const Array& image, const Array& variances, const Array& result, const Noise& noise, int threads);

}  // namespace fastimg
