#include "gaussian.hpp"

#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

namespace fastimg {
namespace {

struct Axis {
    ptrdiff_t n = 1, in = 0, out = 0;  // length, strides of image and result
    AxisFilter filter;

    bool filtered() const { return !filter.taps.empty(); }
    ptrdiff_t radius() const { return filter.radius(); }
};

// A single sample between its own copies is the mean of them.
bool does_nothing(const AxisFilter& filter, ptrdiff_t n) {
    return filter.taps.empty() ||
           (n == 1 && filter.border != BorderMode::constant && std::abs(filter.total() - 1) < 1e-9);
}

// The roles that the axes of an image play. Rows run along the axis that is densest in memory, so that results for a
// transposed image cost the same.
struct Layout {
    Axis channel;             // interleaved within a row, not filtered
    Axis x;                   // along a row
    Axis y;                   // from row to row
    std::vector<Axis> outer;  // further filtered axes
    std::vector<Axis> batch;  // axes left alone

    ptrdiff_t batch_count() const {
        ptrdiff_t n = 1;
        for (const Axis& axis : batch) n *= axis.n;
        for (const Axis& axis : outer) n *= axis.n;
        return n;
    }
};

constexpr ptrdiff_t kMaxChannels = 16;  // an unfiltered axis that is longer makes good rows by itself

Layout lay_out(const Array& image, const Array& out, const std::vector<AxisFilter>& filters) {
    std::vector<Axis> axes;
    for (int i = 0; i < image.ndim; ++i) {
        Axis axis{image.shape[i], image.stride[i], out.stride[i], {}};
        if (!does_nothing(filters[size_t(i)], axis.n)) axis.filter = filters[size_t(i)];
        if (axis.n > 1 || axis.filtered()) axes.push_back(axis);
    }
    std::stable_sort(axes.begin(), axes.end(),
                     [](const Axis& a, const Axis& b) { return std::abs(a.in) > std::abs(b.in); });
    const auto take_last = [&](auto&& wanted) {
        for (size_t i = axes.size(); i-- > 0;) {
            if (!wanted(axes[i])) continue;
            Axis axis = axes[i];
            axes.erase(axes.begin() + ptrdiff_t(i));
            return axis;
        }
        return Axis{};
    };
    const auto any = [](const Axis&) { return true; };
    const auto filtered = [](const Axis& axis) { return axis.filtered(); };
    const auto some_filtered = [&] { return std::any_of(axes.begin(), axes.end(), filtered); };

    Layout layout;
    if (!axes.empty() && !filtered(axes.back()) && axes.back().n <= kMaxChannels && some_filtered())
        layout.channel = take_last(any);
    layout.x = layout.channel.n > 1 ? take_last(filtered) : take_last(any);
    layout.y = some_filtered() ? take_last(filtered) : take_last(any);
    for (const Axis& axis : axes) (filtered(axis) ? layout.outer : layout.batch).push_back(axis);
    return layout;
}

}  // namespace
}  // namespace fastimg

#define FASTIMG_KERNELS "gaussian.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

void gaussian(const Array& image, const Array& out, const std::vector<AxisFilter>& filters, double cval, double scale,
              int threads) {
    FASTIMG_DISPATCH(gaussian, image, out, lay_out(image, out, filters), cval, scale, threads);
}

}  // namespace fastimg
