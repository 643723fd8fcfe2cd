#include "denoise_nl_means.hpp"

#include "support/border.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <vector>

#define FASTIMG_KERNELS "denoise_nl_means.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void denoise_nl_means(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    FASTIMG_DISPATCH(denoise_nl_means, source, result, parameters, threads);
}

}  // namespace fastimg
