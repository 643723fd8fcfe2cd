#include "random_noise.hpp"

#include "support/loops.hpp"
#include "support/philox.hpp"
#include "support/thread_pool.hpp"

#define FASTIMG_KERNELS "random_noise.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void random_noise(const Array& image, const Array& variances, const Array& result, const Noise& noise, int threads) {
    FASTIMG_DISPATCH(random_noise, image, variances, result, noise, threads);
}

}  // namespace fastimg
