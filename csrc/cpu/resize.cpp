#include "resize.hpp"

#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace fastimg {
namespace {

// The weights of one axis: output sample i is the sum over t < width of weight[i * width + t] * input[first[i] + t].
// Weights that the border sends to one sample are added up, so that every window is contiguous and inside.
struct Taps {
    std::vector<ptrdiff_t> first;
    std::vector<double> exact;
    std::vector<float> weight;
    ptrdiff_t width = 0;
    double gain = 0;     // the largest sum of |weight|
    bool binary = true;  // whether all weights are multiples of 2^-15

    ptrdiff_t size() const { return ptrdiff_t(first.size()); }
};

double sinc(double x) { return x == 0 ? 1.0 : std::sin(M_PI * x) / (M_PI * x); }

double kernel_value(Interpolation kernel, double x) {
    const double a = std::abs(x);
    switch (kernel) {
        case Interpolation::nearest: return x >= -0.5 && x < 0.5 ? 1.0 : 0.0;
        case Interpolation::bilinear: return std::max(1.0 - a, 0.0);
        case Interpolation::bicubic:
            if (a <= 1) return (1.5 * a - 2.5) * a * a + 1.0;
            return a < 2 ? ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0 : 0.0;
        case Interpolation::lanczos2: return a < 2 ? sinc(x) * sinc(x / 2) : 0.0;
        case Interpolation::lanczos3: return a < 3 ? sinc(x) * sinc(x / 3) : 0.0;
    }
    return 0.0;
}

double kernel_radius(Interpolation kernel) {
    switch (kernel) {
        case Interpolation::nearest: return 0.5;
        case Interpolation::bilinear: return 1.0;
        case Interpolation::lanczos3: return 3.0;
        default: return 2.0;
    }
}

// The weights of one output sample at `u`: of the input samples from `first` on, none of them 0 at either end.
struct Window {
    ptrdiff_t first;
    std::vector<double> weight;
};

Window window_at(double u, double radius, double f, ptrdiff_t length, const Resampling& r) {
    const ptrdiff_t left = ptrdiff_t(std::floor(u - radius)), right = left + ptrdiff_t(std::ceil(2 * radius)) + 1;
    std::vector<std::pair<ptrdiff_t, double>> samples;
    Window window{length, {}};
    ptrdiff_t last = 0;
    double sum = 0;
    for (ptrdiff_t p = left; p <= right; ++p) {
        const double value = kernel_value(r.kernel, f * (u - double(p)));
        if (value == 0) continue;
        samples.emplace_back(border_index(p, length, r.border), value);
        window.first = std::min(window.first, samples.back().first);
        last = std::max(last, samples.back().first);
        sum += value;
    }
    window.weight.assign(size_t(last - window.first + 1), 0.0);
    for (const auto& [p, value] : samples) window.weight[size_t(p - window.first)] += value / sum;
    return window;
}

Taps make_taps(ptrdiff_t length, ptrdiff_t output_length, const Resampling& r) {
    const double f = r.anti_aliasing ? std::min(r.scale, 1.0) : 1.0;
    std::vector<Window> windows;
    Taps taps;
    for (ptrdiff_t i = 0; i < output_length; ++i) {
        const double u = (double(i) + 0.5) / r.scale - 0.5;
        windows.push_back(window_at(u, kernel_radius(r.kernel) / f, f, length, r));
        taps.width = std::max(taps.width, ptrdiff_t(windows.back().weight.size()));
    }
    taps.exact.assign(size_t(output_length * taps.width), 0.0);
    for (ptrdiff_t i = 0; i < output_length; ++i) {
        const auto& [first, weight] = windows[size_t(i)];
        taps.first.push_back(std::min(first, length - taps.width));
        std::copy(weight.begin(), weight.end(), &taps.exact[size_t(i * taps.width + first - taps.first.back())]);
        double magnitude = 0;
        for (double w : weight) {
            magnitude += std::abs(w);
            taps.binary = taps.binary && w * 0x1p15 == std::floor(w * 0x1p15);
        }
        taps.gain = std::max(taps.gain, magnitude);
    }
    taps.weight.assign(taps.exact.begin(), taps.exact.end());
    return taps;
}

// The transposed weights: those with which each of `length` input samples counts in output samples.
Taps transposed(const Taps& taps, ptrdiff_t length) {
    std::vector<ptrdiff_t> first(size_t(length), taps.size()), last(size_t(length), -1);
    const auto for_each_weight = [&](auto&& f) {
        for (ptrdiff_t i = 0; i < taps.size(); ++i)
            for (ptrdiff_t t = 0; t < taps.width; ++t)
                if (const double w = taps.exact[size_t(i * taps.width + t)]; w != 0)
                    f(i, size_t(taps.first[size_t(i)] + t), w);
    };
    for_each_weight([&](ptrdiff_t i, size_t p, double) {
        first[p] = std::min(first[p], i);
        last[p] = i;
    });
    Taps result;
    result.width = 1;
    for (size_t p = 0; p < first.size(); ++p) result.width = std::max(result.width, last[p] - first[p] + 1);
    for (ptrdiff_t& i : first) i = std::min(i, taps.size() - result.width);
    result.first = first;
    result.exact.assign(size_t(length * result.width), 0.0);
    for_each_weight(
        [&](ptrdiff_t i, size_t p, double w) { result.exact[p * size_t(result.width) + size_t(i - first[p])] = w; });
    result.weight.assign(result.exact.begin(), result.exact.end());
    return result;
}

}  // namespace
}  // namespace fastimg

#define FASTIMG_KERNELS "resize.inl"
#include "support/foreach_target.hpp"

namespace fastimg {
namespace {

void dispatch(const Array& image, const Array& result, const Taps& rows, const Taps& columns, bool columns_first,
              int threads) {
    FASTIMG_DISPATCH(resize, image, result, rows, columns, columns_first, threads);
}

}  // namespace

void resize(const Array& image, const Array& result, const Resampling& rows, const Resampling& columns,
            bool columns_first, int threads) {
    const int axis = image.ndim - 3;
    dispatch(image, result, make_taps(image.shape[axis], result.shape[axis], rows),
             make_taps(image.shape[axis + 1], result.shape[axis + 1], columns), columns_first, threads);
}

void resize_adjoint(const Array& gradient, const Array& result, const Resampling& rows, const Resampling& columns,
                    bool columns_first, int threads) {
    const auto taps = [&](int axis, const Resampling& r) {
        return transposed(make_taps(result.shape[axis], gradient.shape[axis], r), result.shape[axis]);
    };
    const int axis = gradient.ndim - 3;
    dispatch(gradient, result, taps(axis, rows), taps(axis + 1, columns), columns_first, threads);
}

}  // namespace fastimg
