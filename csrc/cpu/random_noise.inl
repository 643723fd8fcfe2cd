// Random noise: draws from the counter-based field of support/philox.inl, applied in the same pass.
//
// Pixels are numbered in C order of the logical array, so memory layout, threads and instruction set change nothing.
// A block of 1024 pixels is drawn into the L1 cache and applied to the image row by row; an image is read once and
// written once. Work per pixel: one Philox word (about 6 instructions per sample with 8 lanes) and, for normal numbers,
// half a logarithm, square root and sine-cosine: bound by arithmetic, at about a nanosecond.
//
// Poisson counts come from a stream of their own per pixel (block = pixel, third counter word = attempt), because the
// number of words they use varies: inversion for expected counts below 10, else the transformed rejection of
// W. Hörmann, "The transformed rejection method for generating Poisson random variables", 1993 (PTRS).
#include "support/philox.inl"

namespace fastimg::FASTIMG_TARGET {

constexpr ptrdiff_t kNoiseBlock = 1024;  // a multiple of kChunk
constexpr ptrdiff_t kNoiseBlocksPerTask = 16;

template <class Real>
struct Draws {  // of one block
    Real values[kNoiseBlock];
    float normals[kNoiseBlock];
    uint32_t words[kNoiseBlock];
    float deviations[kNoiseBlock];
};

template <class Real>
void load_values(Real* to, const Array& array, ptrdiff_t offset, ptrdiff_t n, ptrdiff_t stride) {
    visit(array.dtype, [&](auto type) {
        const auto* from = static_cast<const typename decltype(type)::type*>(array.data) + offset;
        if constexpr (std::is_same_v<Real, float>)
            load_row(to, from, n, stride);
        else
            for (ptrdiff_t i = 0; i < n; ++i) to[i] = load_double(from + i * stride);
    });
}

template <class Real>
void store_values(const Array& array, const Real* from, ptrdiff_t offset, ptrdiff_t n, ptrdiff_t stride) {
    visit(array.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        T* to = static_cast<T*>(array.data) + offset;
        if constexpr (std::is_same_v<Real, float>)
            store_row(to, from, n, stride);
        else if constexpr (std::is_same_v<T, double>)
            for (ptrdiff_t i = 0; i < n; ++i) to[i * stride] = from[i];
    });
}

// ---- Poisson ------------------------------------------------------------------------------------------------------

inline double log_factorial(double k) {
    constexpr double small[10] = {0,
                                  0,
                                  0.69314718055994531,
                                  1.7917594692280550,
                                  3.1780538303479456,
                                  4.7874917427820460,
                                  6.5792512120101010,
                                  8.5251613610654143,
                                  10.604602902745250,
                                  12.801827480081469};
    if (k < 10) return small[int(k)];
    const double r = 1 / k, r2 = r * r;  // Stirling's series
    return (k + 0.5) * std::log(k) - k + 0.91893853320467274 + r * (1.0 / 12 - r2 * (1.0 / 360 - r2 / 1260));
}

inline double unit(uint32_t word) { return (double(word) + 0.5) * 0x1p-32; }  // in (0, 1)

inline PhiloxWords poisson_words(ptrdiff_t pixel, uint32_t attempt, uint64_t key) {
    return philox({uint32_t(pixel), uint32_t(uint64_t(pixel) >> 32), attempt, 0}, key);
}

inline double poisson_by_inversion(double rate, ptrdiff_t pixel, uint64_t key) {
    const PhiloxWords words = poisson_words(pixel, 0, key);
    const double u = (double(words[0]) * 0x1p32 + words[1]) * 0x1p-64;
    double probability = std::exp(-rate), below = probability;
    double k = 0;
    while (u > below && k < 100) {  // a count of 100 at a rate of 10 has a probability of 1e-63
        k += 1;
        probability *= rate / k;
        below += probability;
    }
    return k;
}

inline double poisson_by_rejection(double rate, ptrdiff_t pixel, uint64_t key) {
    const double root = std::sqrt(rate), log_rate = std::log(rate);
    const double b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), sure = 0.9277 - 3.6224 / (b - 2);
    for (uint32_t attempt = 0;; ++attempt) {
        const PhiloxWords words = poisson_words(pixel, attempt, key);
        for (int pair = 0; pair < 4; pair += 2) {
            const double u = unit(words[pair]) - 0.5, v = unit(words[pair + 1]);
            const double tail = 0.5 - std::fabs(u);
            const double k = std::floor((2 * a / tail + b) * u + rate + 0.43);
            if (tail >= 0.07 && v <= sure) return k;
            if (k < 0 || (tail < 0.013 && v > tail)) continue;
            if (std::log(v * inverse_alpha / (a / (tail * tail) + b)) <= k * log_rate - rate - log_factorial(k))
                return k;
        }
    }
}

inline double poisson(double rate, ptrdiff_t pixel, uint64_t key) {
    if (rate < 10) return rate > 0 ? poisson_by_inversion(rate, pixel, key) : 0.0;
    return rate < 0x1p53 ? poisson_by_rejection(rate, pixel, key) : rate;  // no count can be told apart from there on
}

// ---- a run of pixels ----------------------------------------------------------------------------------------------

// To n values, which `draws` holds from 0 on: of the image from number `pixel` on, place `at` of its block.
template <class Real>
void add_noise(Draws<Real>& draws, ptrdiff_t at, ptrdiff_t pixel, ptrdiff_t n, const Noise& noise) {
    Real* const values = draws.values;
    const float* const normals = draws.normals + at;
    const Real mean = Real(noise.mean), deviation = Real(noise.deviation);
    const Real low = Real(noise.low), high = Real(noise.high), divisor = Real(noise.divisor);
    if (divisor != 1 && noise.mode != NoiseMode::poisson)
        for (ptrdiff_t i = 0; i < n; ++i) values[i] /= divisor;
    switch (noise.mode) {
        case NoiseMode::gaussian:
            for (ptrdiff_t i = 0; i < n; ++i) values[i] += mean + deviation * Real(normals[i]);
            break;
        case NoiseMode::local_gaussian:
            for (ptrdiff_t i = 0; i < n; ++i) values[i] += Real(draws.deviations[i]) * Real(normals[i]);
            break;
        case NoiseMode::speckle:
            for (ptrdiff_t i = 0; i < n; ++i) values[i] += values[i] * (mean + deviation * Real(normals[i]));
            break;
        case NoiseMode::poisson:
            for (ptrdiff_t i = 0; i < n; ++i) {
                const double rate = double(values[i]) * noise.rate_factor + noise.rate_offset;
                const bool finite = rate - rate == 0;
                values[i] = finite ? Real(poisson(rate, pixel + i, noise.key) * noise.count_factor + noise.count_offset)
                                   : values[i];
            }
            break;
        case NoiseMode::impulses: {  // 31 bits of each word, so that words and thresholds compare as signed integers
            const auto threshold = [](double share) { return int32_t(int64_t(share * 0x1p31 + 0.5) - 1); };
            const int32_t salted = threshold(noise.salt), chosen = threshold(noise.salt + noise.pepper);
            for (ptrdiff_t i = 0; i < n; ++i) {
                const int32_t word = int32_t(draws.words[at + i] >> 1);
                const Real peppered = word <= chosen ? low : values[i];
                values[i] = word <= salted ? high : peppered;
            }
            break;
        }
        case NoiseMode::counted_impulses: break;
    }
    if (noise.clip) {
        for (ptrdiff_t i = 0; i < n; ++i) {
            const Real value = values[i] < low ? low : values[i];  // keeps NaN
            values[i] = value > high ? high : value;
        }
    }
}

inline void put_impulses(const Rows<2>& rows, const Array& result, const Noise& noise, int threads) {
    constexpr ptrdiff_t kPerTask = 4096;
    const ptrdiff_t count = noise.salt_count + noise.pepper_count;
    const int channel_axis = result.ndim - 1;
    const Permutation place(uint64_t(rows.count() * rows.length()), noise.key);
    visit(result.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        parallel_for(divide_up(count, kPerTask), threads, [&](ptrdiff_t task) {
            for (ptrdiff_t i = task * kPerTask; i < std::min(count, (task + 1) * kPerTask); ++i) {
                const ptrdiff_t pixel = ptrdiff_t(place(uint64_t(i)));
                T* to = static_cast<T*>(result.data) + rows.offset(1, pixel / rows.length()) +
                        pixel % rows.length() * rows.stride(1);
                const float value = float(i < noise.salt_count ? noise.high : noise.low);
                for (ptrdiff_t c = 0; c < result.shape[channel_axis]; ++c)
                    store_one(to + c * result.stride[channel_axis], value);
            }
        });
    });
}

template <class Real>
void random_noise_in(const Array& image, const Array& variances, const Array& result, const Noise& noise, int threads) {
    Array pixels[3] = {image, result, variances};
    for (Array& array : pixels) --array.ndim;  // without the channels
    const Rows<3> rows({&pixels[0], &pixels[1], &pixels[2]}, Order::axes);
    const int channel_axis = image.ndim - 1;
    const ptrdiff_t count = rows.count() * rows.length(), channels = image.shape[channel_axis];
    const bool normal = noise.mode == NoiseMode::gaussian || noise.mode == NoiseMode::local_gaussian ||
                        noise.mode == NoiseMode::speckle;

    constexpr ptrdiff_t kTask = kNoiseBlock * kNoiseBlocksPerTask;
    parallel_for(
        divide_up(count, kTask), threads, [] { return Draws<Real>(); },
        [&](ptrdiff_t task, Draws<Real>& draws) {
            for (ptrdiff_t block = task * kTask; block < std::min(count, (task + 1) * kTask); block += kNoiseBlock) {
                const ptrdiff_t end = std::min(count, block + kNoiseBlock);
                const ptrdiff_t drawn = round_up(end - block, kChunk);
                if (normal) fill_normals(draws.normals, block, drawn, noise.key);
                if (noise.mode == NoiseMode::impulses) fill_words(draws.words, block, drawn, noise.key);
                for (ptrdiff_t pixel = block, n; pixel < end; pixel += n) {
                    const ptrdiff_t row = pixel / rows.length(), column = pixel % rows.length();
                    n = std::min(rows.length() - column, end - pixel);
                    const auto offset = [&](int k) { return rows.offset(k, row) + column * rows.stride(k); };
                    if (noise.mode == NoiseMode::local_gaussian) {
                        load_values(draws.deviations, variances, offset(2), n, rows.stride(2));
                        for (ptrdiff_t i = 0; i < n; ++i) draws.deviations[i] = std::sqrt(draws.deviations[i]);
                    }
                    for (ptrdiff_t c = 0; c < channels; ++c) {
                        load_values(draws.values, image, offset(0) + c * image.stride[channel_axis], n, rows.stride(0));
                        add_noise(draws, pixel - block, pixel, n, noise);
                        store_values(result, draws.values, offset(1) + c * result.stride[channel_axis], n,
                                     rows.stride(1));
                    }
                }
            }
        });
    if (noise.mode == NoiseMode::counted_impulses)
        put_impulses(Rows<2>({&pixels[0], &pixels[1]}, Order::axes), result, noise, threads);
}

inline void random_noise(const Array& image, const Array& variances, const Array& result, const Noise& noise,
                         int threads) {
    if (image.dtype == DType::f64)
        random_noise_in<double>(image, variances, result, noise, threads);
    else
        random_noise_in<float>(image, variances, result, noise, threads);
}

}  // namespace fastimg::FASTIMG_TARGET
