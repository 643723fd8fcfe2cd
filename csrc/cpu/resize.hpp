// Resizing by separable interpolation, as MATLAB's imresize does it.
//
// Along one axis, output sample i lies at u = (i + 0.5) / scale - 0.5 of the input and is the weighted mean of the input
// samples p around u, with weights k(f * (u - p)) divided by their sum; f = min(scale, 1) with anti-aliasing, which
// stretches the kernel when shrinking, and 1 without. Samples beyond the border are taken from inside, as `border` says.
#pragma once

#include "support/border.hpp"
#include "support/view.hpp"

namespace fastimg {

enum class Interpolation { nearest, bilinear, bicubic, lanczos2, lanczos3 };  // bicubic: a = -0.5

struct Resampling {
    double scale;  // output samples per input sample
    Interpolation kernel;
    bool anti_aliasing;
    BorderMode border;
};

// Both arrays are (..., rows, columns, channels) of one rank, and equal but for rows and columns; channels are few.
// An integer result is rounded, half away from zero, after each of the two passes, correctly (as in exact arithmetic);
// a float result of an integer image is in [0, 1]. `columns_first` says which pass comes first.
void resize(const Array& image, const Array& result, const Resampling& rows, const Resampling& columns,
            bool columns_first, int threads);

// The transposed map, of floats: from the gradient of what `resize` makes to that of its image, the result here.
void resize_adjoint(const Array& gradient, const Array& result, const Resampling& rows, const Resampling& columns,
                    bool columns_first, int threads);

}  // namespace fastimg
