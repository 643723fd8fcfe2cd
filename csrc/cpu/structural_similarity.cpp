#include "structural_similarity.hpp"

#include "support/border.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#define FASTIMG_KERNELS "structural_similarity.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

double structural_similarity(const Array& a, const Array& b, const Array* map, const SimilarityWindow& window,
                             int threads) {
    FASTIMG_DISPATCH(structural_similarity, a, b, map, window, threads);
}

}  // namespace fastimg
