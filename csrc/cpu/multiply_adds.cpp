#include "multiply_adds.hpp"

#include "support/thread_pool.hpp"

#include <atomic>

#define FASTIMG_KERNELS "multiply_adds.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

float multiply_adds(double count, int threads) { FASTIMG_DISPATCH(multiply_adds, count, threads); }

}  // namespace fastimg
