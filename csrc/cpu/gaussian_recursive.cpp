#include "gaussian_recursive.hpp"

#include "gaussian.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace fastimg {
namespace {

struct Axis {
    ptrdiff_t n = 1, in = 0, out = 0;  // length, strides of source and result
};

// One axis filtered in all of an image: lines of n samples, and where they lie.
//
// Lanes of a vector are neighbouring lines. If lines are dense in memory themselves, up to some interleaved channels,
// vectors hold rows and are transposed; else they hold a stretch of the axis that is densest.
struct Pass {
    Axis along;              // the lines
    Axis across;             // the stretch (channels, if transposed)
    std::vector<Axis> rest;  // all other axes, densest last
    bool transposed = false;

    ptrdiff_t rest_count() const {
        ptrdiff_t n = 1;
        for (const Axis& axis : rest) n *= axis.n;
        return n;
    }
};

constexpr ptrdiff_t kMaxChannels = 4;

bool mergeable(const Axis& outer, const Axis& inner) {
    return outer.in == inner.n * inner.in && outer.out == inner.n * inner.out;
}

// The numbers of its axes, the densest in memory last.
std::vector<int> order_in_memory(const Array& array) {
    std::vector<int> order(size_t(array.ndim));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return std::abs(array.stride[a]) > std::abs(array.stride[b]); });
    return order;
}

Pass pass_along(int filtered, const Array& source, const Array& result) {
    Pass pass;
    for (int i : order_in_memory(source)) {
        const Axis axis{source.shape[i], source.stride[i], result.stride[i]};
        if (i == filtered)
            pass.along = axis;
        else if (axis.n == 1)
            continue;
        else if (!pass.rest.empty() && mergeable(pass.rest.back(), axis))
            pass.rest.back() = {pass.rest.back().n * axis.n, axis.in, axis.out};
        else
            pass.rest.push_back(axis);
    }
    const auto denser = [&](const Axis& axis) { return std::abs(axis.in) < std::abs(pass.along.in); };
    const auto count = std::count_if(pass.rest.begin(), pass.rest.end(), denser);
    pass.transposed = count == 0 || (count == 1 && pass.rest.size() > 1 && pass.rest.back().n <= kMaxChannels);
    if (count > 0) {
        pass.across = pass.rest.back();
        pass.rest.pop_back();
    }
    return pass;
}

// An array of `dtype` in `memory` with the axes of `like`, in the same order of memory, without gaps.
Array packed_like(const Array& like, void* memory, DType dtype) {
    Array packed = like;
    packed.data = memory;
    packed.dtype = dtype;
    const std::vector<int> order = order_in_memory(like);
    ptrdiff_t stride = 1;
    for (auto i = order.rbegin(); i != order.rend(); ++i) {
        packed.stride[*i] = stride;
        stride *= like.shape[*i];
    }
    return packed;
}

ptrdiff_t size_of(const Array& array) {
    return std::accumulate(array.shape, array.shape + array.ndim, ptrdiff_t(1), std::multiplies<>());
}

// After how many samples an axis of n repeats itself; a constant border counts as one sample that repeats for ever.
ptrdiff_t period(ptrdiff_t n, BorderMode border) {
    switch (border) {
        case BorderMode::reflect: return 2 * n;
        case BorderMode::mirror: return std::max<ptrdiff_t>(1, 2 * n - 2);
        case BorderMode::wrap: return n;
        default: return 1;
    }
}

}  // namespace
}  // namespace fastimg

#define FASTIMG_KERNELS "gaussian_recursive.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void gaussian_recursive(const Array& image, const Array& out, const std::vector<RecursiveFilter>& filters, double cval,
                        double scale, int threads) {
    const auto idle = [](const RecursiveFilter& filter) { return filter.poles.empty(); };
    if (std::all_of(filters.begin(), filters.end(), idle))
        return gaussian(image, out, std::vector<AxisFilter>(filters.size()), cval, scale, threads);
    FASTIMG_DISPATCH(gaussian_recursive, image, out, filters, cval, scale, threads);
}

}  // namespace fastimg
