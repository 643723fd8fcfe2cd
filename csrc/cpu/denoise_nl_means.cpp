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

void denoise_nl_means_by_table(const Array& image, const Array& guide, const Array& result, const NlMeans& parameters,
                               const WeightTable& table, int threads) {
    FASTIMG_DISPATCH(denoise_nl_means_by_table, image, guide, result, parameters, table, threads);
}

}  // namespace fastimg
