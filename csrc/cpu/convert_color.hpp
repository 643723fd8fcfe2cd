// Colours as linear maps: every output channel is a weighted sum of the input channels plus an offset.
#pragma once

#include "support/view.hpp"

namespace fastimg {

struct ColorMap {
    double matrix[3][3];  // [output channel][input channel]
    double offset[3];
};

// The last axis of both arrays is that of the channels, 3 or 1; all others are equal. A result of the image's dtype is
// rounded half away from zero, as if the sums were exact, and saturated if it is of integers; otherwise it is float32.
void convert_color(const Array& image, const Array& result, const ColorMap& map, int threads);

}  // namespace fastimg
