#include "warp.hpp"

#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace fastimg {
namespace {

// Where the pixels of the result come from: matrices, or a table if there are none.
struct Map {
    const double* matrices;
    ptrdiff_t count;
    Array table;
};

}  // namespace
}  // namespace fastimg

#define FASTIMG_KERNELS "warp.inl"
#include "support/foreach_target.hpp"

namespace fastimg {
namespace {

void dispatch(const Array& image, const Array& result, const Map& map, const Sampling& sampling, int threads) {
    FASTIMG_DISPATCH(warp, image, result, map, sampling, threads);
}

}  // namespace

void warp(const Array& image, const Array& result, const double* matrices, ptrdiff_t count, const Sampling& sampling,
          int threads) {
    dispatch(image, result, {matrices, count, {}}, sampling, threads);
}

void remap(const Array& image, const Array& result, const Array& coordinates, const Sampling& sampling, int threads) {
    dispatch(image, result, {nullptr, 1, coordinates}, sampling, threads);
}

}  // namespace fastimg
