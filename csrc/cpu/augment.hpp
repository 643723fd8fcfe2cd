// Augmentation: what a batch of pictures is trained with, drawn for each image, done to it in one pass.
//
// The place of every pixel of the result is looked up in the image (as by warp.hpp, linearly); then, in this order, a
// blur, an affine map of the colours, normal noise, salt and pepper, rectangles, and the units of the result. Between
// the steps values are floats; integers of an image stand for [0, 1].
#pragma once

#include "support/border.hpp"
#include "support/view.hpp"

#include <vector>

namespace fastimg {

// What happens to one image. Plain numbers, laid out alike for Python, which draws them, and for any device.
struct Augmentation {
    double matrix[9];      // takes (column, row, 1) of the result to the image
    uint64_t noise_key;    // of the random field of support/philox.inl, numbered by channel, row and column
    uint64_t impulse_key;  // by row and column: channels share their draw
    float color[9];        // a colour v becomes clip(color v + mean_color m + offset), with m the mean colour of
    float mean_color[9];   //   the image as it lies before that; of grey images the first number of each counts
    float offset[3];
    float blur;                     // sigma of a Gaussian in pixels of the result, 0 for none; the border is mirrored
    float noise;                    // deviation, 0 for none
    float salt, pepper;             // the shares of pixels that become 1, and 0
    int32_t recolored, about_mean;  // whether `color` is to be used, and `mean_color` too
};

// Rows top .. bottom - 1 and columns left .. right - 1; empty ones do nothing.
struct Rectangle {
    int32_t top, left, bottom, right;
};

// What all images of a batch share.
struct Finish {
    BorderMode border;
    float constant;               // beyond it, in [0, 1]
    ptrdiff_t rectangles;         // for each image
    const Rectangle* rectangle;   // [image][rectangle]
    const float* fill;            // [rectangle][channel]
    const float *scale, *offset;  // [channel], to the units of the result
};

// `images` are (rows, columns, channels) each, of one dtype and number of channels; `result` is (N, rows, columns,
// channels). No float64. Colours need three channels or one.
void augment(const std::vector<Array>& images, const Array& result, const Augmentation* augmentations,
             const Finish& finish, int threads);

// Image i of (N, ...) becomes weights[i] times itself and the rest of its predecessor, the last being that of the first.
void mix(const Array& images, const float* weights, int threads);

}  // namespace fastimg
