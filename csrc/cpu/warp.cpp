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

// Where the pixels of the result come from: matrices, a function, or a table if there are neither.
struct Map {
    const double* matrices;
    ptrdiff_t count;
    Array table;
    CoordinateFunction function;
    const double* parameters;
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

void dispatch_adjoint(const Array& gradient, const Array& result, const Map& map, const Sampling& sampling,
                      int threads) {
    FASTIMG_DISPATCH(warp_adjoint, gradient, result, map, sampling, threads);
}

}  // namespace

void warp(const Array& image, const Array& result, const double* matrices, ptrdiff_t count, const Sampling& sampling,
          int threads) {
    dispatch(image, result, {matrices, count, {}, nullptr, nullptr}, sampling, threads);
}

void remap(const Array& image, const Array& result, const Array& coordinates, const Sampling& sampling, int threads) {
    dispatch(image, result, {nullptr, 1, coordinates, nullptr, nullptr}, sampling, threads);
}

void warp_by_function(const Array& image, const Array& result, CoordinateFunction function, const double* parameters,
                      const Sampling& sampling, int threads) {
    dispatch(image, result, {nullptr, 1, {}, function, parameters}, sampling, threads);
}

void warp_adjoint(const Array& gradient, const Array& result, const double* matrices, ptrdiff_t count,
                  const Sampling& sampling, int threads) {
    dispatch_adjoint(gradient, result, {matrices, count, {}, nullptr, nullptr}, sampling, threads);
}

void remap_adjoint(const Array& gradient, const Array& result, const Array& coordinates, const Sampling& sampling,
                   int threads) {
    dispatch_adjoint(gradient, result, {nullptr, 1, coordinates, nullptr, nullptr}, sampling, threads);
}

}  // namespace fastimg
