// mean((a - b)^2) over all elements of two arrays of one shape and dtype, in double precision.
#pragma once

#include "support/view.hpp"

namespace fastimg {

double mean_squared_error(const Array& a, const Array& b, int threads);

}  // namespace fastimg
