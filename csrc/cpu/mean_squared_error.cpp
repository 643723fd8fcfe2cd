#include "mean_squared_error.hpp"

#include "support/loops.hpp"
#include "support/thread_pool.hpp"

#include <vector>

#define FASTIMG_KERNELS "mean_squared_error.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

double mean_squared_error(const Array& a, const Array& b, int threads) {
    FASTIMG_DISPATCH(mean_squared_error, a, b, threads);
}

}  // namespace fastimg
