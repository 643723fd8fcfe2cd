#include "augment.hpp"

#include "support/loops.hpp"
#include "support/philox.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#define FASTIMG_KERNELS "augment.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void augment(const std::vector<Array>& images, const Array& result, const Augmentation* augmentations,
             const Finish& finish, int threads) {
    FASTIMG_DISPATCH(augment, images, result, augmentations, finish, threads);
}

void mix(const Array& images, const float* weights, int threads) { FASTIMG_DISPATCH(mix, images, weights, threads); }

}  // namespace fastimg
