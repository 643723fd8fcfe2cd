#include "convert_color.hpp"

#include "support/loops.hpp"
#include "support/thread_pool.hpp"

#include <utility>

#define FASTIMG_KERNELS "convert_color.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void convert_color(const Array& image, const Array& result, const ColorMap& map, int threads) {
    FASTIMG_DISPATCH(convert_color, image, result, map, threads);
}

}  // namespace fastimg
