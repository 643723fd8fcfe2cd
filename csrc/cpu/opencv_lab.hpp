// Linear BGR to Lab and back, in 8 bits, by the whole numbers of OpenCV's COLOR_LBGR2Lab and COLOR_Lab2LBGR. Tables and
// coefficients come from fastimg/opencv/lab.py, which tells what they are.
#pragma once

#include "support/view.hpp"

#include <array>

namespace fastimg {

// Images are uint8, their last axis the three channels; they may be one and the same. `coefficients` are three rows.
void opencv_bgr_to_lab(const Array& bgr, const Array& lab, const std::array<int32_t, 9>& coefficients,
                       const int32_t* cube_roots, int threads);
// `lightness` holds Y and f(Y) for every L; `cubes` begins at index `first_cube`.
void opencv_lab_to_bgr(const Array& lab, const Array& bgr, const std::array<int32_t, 9>& coefficients,
                       const int32_t* lightness, const int32_t* cubes, int first_cube, int threads);

}  // namespace fastimg
