#include "denoise_nl_means.hpp"

#include "support/border.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <array>
#include <limits>
#include <vector>

#define FASTIMG_KERNELS "denoise_nl_means.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void denoise_nl_means(const Array& image, const Array& guide, const NlMeansMaps& maps, const Array& result,
                      const NlMeans& parameters, int threads) {
    FASTIMG_DISPATCH(denoise_nl_means, image, guide, maps, result, parameters, threads);
}

}  // namespace fastimg
