// Random noise: a counter-based draw for every pixel, applied in the same pass (csrc/cpu/random_noise.hpp). The numbers
// are those of the CPU: support/philox.cuh says how nearly.
//
// A thread computes a block of four words, which serve pixels 16 apart; through shared memory, within a warp, it gets
// the draws of four neighbours instead, which it loads, changes and stores in one access of 4 to 16 bytes each where
// they lie side by side. Pixels are numbered in C order of the logical array, so memory layout changes nothing.
//
// About 25 issue slots per pixel for its word, 38 for a normal number and 10 for the rest (sm_90), against 2 to 8
// bytes: bound by memory for float, by arithmetic for uint8. Poisson counts draw from a stream of their own per pixel
// and compute in double, by the CPU's algorithm: slow where double is.
//
// What the range of a float image is follows from its values. They are not waited for: a first launch leaves the
// extremes of 256 parts of the image in scratch memory, from which every block finds those of the image.
//
// Macros: AXES (of pixels, after merging); IN and OUT (types of samples) and MODE (of noise) for the noise, OUT alone
// for counted impulses, IN alone for extremes.
#include "support/philox.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

enum Mode {
    kGaussian,
    kLocalGaussian,
    kSpeckle,
    kPoisson,
    kImpulses,
    kCountedImpulses
};  // as random_noise.py numbers them

__device__ constexpr int kThreads = 256, kPixels = 4;  // of a block; of a thread
__device__ constexpr int kMostAxes = 8;
__device__ constexpr int kParts = 256;  // of an image, for its extremes

struct Extremes {
    float low, high;
};

struct Parameters {
    View<kMostAxes> image, result, variances;
    int64_t shape[kMostAxes];
    int64_t image_channel, result_channel;
    int64_t pixels;
    int64_t salt_count, count;  // counted impulses: those of them that are salt, and all
    uint64_t key;
    const Extremes* extremes;  // of the parts of an image whose range is not known
    const int64_t* distinct;  // poisson: the number of different values, less one, where the rest follows on the device
    double rate_factor, rate_offset, count_factor, count_offset;
    int32_t channels;
    int32_t vectors, local;  // whether pixels lie side by side, aligned; whether every pixel has its variance
    int32_t clip;
    int32_t salted, chosen;  // impulses: the largest word, of 31 bits, for salt, and for either
    float divisor, reciprocal, mean, deviation, low, high;
};

// ---- the range of an image ------------------------------------------------------------------------------------------

__device__ Extremes merged(Extremes a, Extremes b) { return {fminf(a.low, b.low), fmaxf(a.high, b.high)}; }  // no NaN

// Those of all threads, for all threads; every thread comes here.
__device__ Extremes extremes_of_block(Extremes own) {
    __shared__ Extremes of_warps[kWarp];
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2)
        own = merged(own, {__shfl_xor_sync(kFullWarp, own.low, lanes), __shfl_xor_sync(kFullWarp, own.high, lanes)});
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = own;
    __syncthreads();
    Extremes all = of_warps[0];
    for (int warp = 1; warp < int(blockDim.x) / kWarp; ++warp) all = merged(all, of_warps[warp]);
    return all;
}

struct Range {
    float low, high;    // of the noise's result
    Extremes extremes;  // of the image, if it was to be looked at
};

__device__ Range range_of(const Parameters& parameters) {
    Range range = {parameters.low, parameters.high, {0.0f, 0.0f}};
    if (parameters.extremes == nullptr) return range;
    range.extremes = extremes_of_block(parameters.extremes[threadIdx.x]);
    range.low = range.extremes.low < 0.0f ? -range.high : 0.0f;
    return range;
}

// ---- where pixels lie -----------------------------------------------------------------------------------------------

struct Offsets {
    int64_t image, result, variances;
};

__device__ Offsets offsets_of(int64_t i, const Parameters& parameters) {
    Offsets offsets = {0, 0, 0};
#pragma unroll
    for (int axis = AXES - 1; axis >= 0; --axis) {
        const int64_t rest = axis > 0 ? i / parameters.shape[axis] : 0;
        const int64_t at = i - rest * parameters.shape[axis];
        offsets.image += at * parameters.image.stride[axis];
        offsets.result += at * parameters.result.stride[axis];
        offsets.variances += at * parameters.variances.stride[axis];
        i = rest;
    }
    return offsets;
}

#ifdef MODE

// ---- Poisson --------------------------------------------------------------------------------------------------------

__device__ double log_factorial(double k) {
    if (k < 2) return 0;
    if (k < 10) {
        double product = 2;
        for (double i = 3; i <= k; i += 1) product *= i;
        return log(product);
    }
    const double r = 1 / k, r2 = r * r;  // Stirling's series
    return (k + 0.5) * log(k) - k + 0.91893853320467274 + r * (1.0 / 12 - r2 * (1.0 / 360 - r2 / 1260));
}

__device__ double unit(uint32_t word) { return (double(word) + 0.5) * 0x1p-32; }  // in (0, 1)

__device__ double poisson_by_inversion(double rate, int64_t pixel, uint64_t key) {
    const PhiloxWords words = philox(uint64_t(pixel), 0, 0, key);
    const double u = (double(words.word[0]) * 0x1p32 + double(words.word[1])) * 0x1p-64;
    double probability = exp(-rate), below = probability;
    double k = 0;
    while (u > below && k < 100) {  // a count of 100 at a rate of 10 has a probability of 1e-63
        k += 1;
        probability *= rate / k;
        below += probability;
    }
    return k;
}

// One trial: the count, or below 0 if it is to be tried again.
struct Rejection {
    double rate, log_rate, a, b, inverse_alpha, sure;

    __device__ double attempt(uint32_t first, uint32_t second) const {
        const double u = unit(first) - 0.5, v = unit(second);
        const double tail = 0.5 - fabs(u);
        const double k = floor((2 * a / tail + b) * u + rate + 0.43);
        if (tail >= 0.07 && v <= sure) return k;
        if (k < 0 || (tail < 0.013 && v > tail)) return -1;
        const bool accepted =
            log(v * inverse_alpha / (a / (tail * tail) + b)) <= k * log_rate - rate - log_factorial(k);
        return accepted ? k : -1;
    }
};

__device__ double poisson_by_rejection(double rate, int64_t pixel, uint64_t key) {
    const double root = sqrt(rate), b = 0.931 + 2.53 * root;
    const Rejection rejection = {
        rate, log(rate), -0.059 + 0.02483 * b, b, 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)};
#pragma unroll 1
    for (uint32_t number = 0;; ++number) {
        const PhiloxWords words = philox(uint64_t(pixel), number / 2, 0, key);
        const bool second = number % 2 != 0;
        const double k =
            rejection.attempt(second ? words.word[2] : words.word[0], second ? words.word[3] : words.word[1]);
        if (k >= 0) return k;
    }
}

__device__ double poisson(double rate, int64_t pixel, uint64_t key) {
    if (rate < 10) return rate > 0 ? poisson_by_inversion(rate, pixel, key) : 0.0;
    return rate < 0x1p53 ? poisson_by_rejection(rate, pixel, key) : rate;  // no count can be told apart from there on
}

// How values become expected counts and counts values again.
struct Counting {
    double rate_factor, rate_offset, count_factor, count_offset;
};

// As fastimg/util.py has it, from what only the device knows: the number of values, and the extremes of floats.
__device__ Counting counting_of(const Parameters& parameters, const Range& range) {
    if (parameters.distinct == nullptr)
        return {parameters.rate_factor, parameters.rate_offset, parameters.count_factor, parameters.count_offset};
    const int64_t others = *parameters.distinct;
    const double levels = double(int64_t(1) << (64 - __clzll(others))), whole = double(parameters.divisor) * range.high;
    if (!(range.low < 0.0f)) return {levels / whole, 0, range.high / levels, 0};
    const double reach = double(range.extremes.high) + 1.0, rate = reach > 0 ? levels / reach : 0.0;
    return {rate, rate, reach / levels, -1.0};
}

// ---- a pixel --------------------------------------------------------------------------------------------------------

// x / divisor, rounded correctly.
__device__ float divided(float x, const Parameters& parameters) {
    const float quotient = x * parameters.reciprocal;
    return fmaf(fmaf(-quotient, parameters.divisor, x), parameters.reciprocal, quotient);
}

// `bits` are those of a normal number, or a word.
__device__ float with_noise(float value, uint32_t bits, float variance, int64_t pixel, const Parameters& parameters,
                            const Range& range, const Counting& counting) {
    const float draw = __uint_as_float(bits);
    if (parameters.divisor != 1.0f && MODE != kPoisson) value = divided(value, parameters);
    if (MODE == kGaussian) value += fmaf(parameters.deviation, draw, parameters.mean);
    if (MODE == kLocalGaussian) value += (parameters.local ? __fsqrt_rn(variance) : parameters.deviation) * draw;
    if (MODE == kSpeckle) value += value * fmaf(parameters.deviation, draw, parameters.mean);
    if (MODE == kPoisson) {
        const double rate = double(value) * counting.rate_factor + counting.rate_offset;
        if (rate - rate == 0)  // finite
            value = float(poisson(rate, pixel, parameters.key) * counting.count_factor + counting.count_offset);
    }
    if (MODE == kImpulses) {
        const int word = int(bits >> 1);
        if (word <= parameters.chosen) value = range.low;
        if (word <= parameters.salted) value = range.high;
    }
    if (parameters.clip) {
        value = value < range.low ? range.low : value;  // keeps NaN
        value = value > range.high ? range.high : value;
    }
    return value;
}

// Where the draws of pixels 4 n .. 4 n + 3 are for thread n of the launch: bits of normal numbers, or words.
__device__ const uint32_t* draws_of(int64_t n, uint64_t key) {
    constexpr int kPitch = kChunk + kChunkBlocks;  // so that two chunks are in different banks
    alignas(16) __shared__ uint32_t exchange[kThreads / kChunkBlocks * kPitch];
    const int chunk = int(threadIdx.x) / kChunkBlocks * kPitch, block = int(threadIdx.x) % kChunkBlocks;
    if (MODE != kPoisson && MODE != kCountedImpulses) {
        PhiloxWords words = philox(uint64_t(n), 0, 0, key);
        if (MODE != kImpulses) {
            float normals[kPixels];
            normal_numbers(words, normals);
#pragma unroll
            for (int j = 0; j < kPixels; ++j) words.word[j] = __float_as_uint(normals[j]);
        }
#pragma unroll
        for (int j = 0; j < kPixels; ++j) exchange[chunk + j * kChunkBlocks + block] = words.word[j];
        __syncwarp();
    }
    return exchange + chunk + block * kPixels;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, MODE == kPoisson ? 2 : 4)
    random_noise(const Parameters parameters) {
    const Range range = range_of(parameters);
    const int64_t n = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = n * kPixels;
    const uint32_t* const draws = draws_of(n, parameters.key);
    if (first >= parameters.pixels) return;
    const Counting counting = MODE == kPoisson ? counting_of(parameters, range) : Counting{};
    const IN* const image = static_cast<const IN*>(parameters.image.data);
    OUT* const result = static_cast<OUT*>(parameters.result.data);
    const float* const variances = static_cast<const float*>(parameters.variances.data);
    if (MODE != kPoisson && parameters.vectors && first + kPixels <= parameters.pixels) {
        const Pack<IN, kPixels> in = load_pack<kPixels>(image + first);
        Pack<uint32_t, kPixels> draw = {};
        Pack<float, kPixels> variance = {};
        if (MODE != kCountedImpulses) draw = load_pack<kPixels>(draws);
        if (MODE == kLocalGaussian && parameters.local) variance = load_pack<kPixels>(variances + first);
        Pack<OUT, kPixels> out;
#pragma unroll
        for (int i = 0; i < kPixels; ++i)
            out.values[i] = from_float<OUT>(with_noise(to_float(in.values[i]), draw.values[i], variance.values[i],
                                                       first + i, parameters, range, counting));
        store_pack(result + first, out);
        return;
    }
    const int count = parameters.pixels - first < kPixels ? int(parameters.pixels - first) : kPixels;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
        const Offsets offsets = offsets_of(first + i, parameters);
        const float variance = MODE == kLocalGaussian && parameters.local ? variances[offsets.variances] : 0.0f;
        const uint32_t draw = MODE == kPoisson || MODE == kCountedImpulses ? 0 : draws[i];
#pragma unroll 1
        for (int c = 0; c < parameters.channels; ++c) {
            const float value = to_float(image[offsets.image + c * parameters.image_channel]);
            result[offsets.result + c * parameters.result_channel] =
                from_float<OUT>(with_noise(value, draw, variance, first + i, parameters, range, counting));
        }
    }
}

#elif defined(OUT)
}  // namespace

// Replaces pixels number place(0), place(1), ... of a result that random_noise has written.
extern "C" __global__ void __launch_bounds__(kThreads) random_noise_impulses(const Parameters parameters) {
    __shared__ uint64_t keys[Permutation::kRounds];
    const Range range = range_of(parameters);
    const Permutation place(uint64_t(parameters.pixels), parameters.key, keys);
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= parameters.count) return;
    const Offsets offsets = offsets_of(int64_t(place(uint64_t(i))), parameters);
    const OUT value = from_float<OUT>(i < parameters.salt_count ? range.high : range.low);
    for (int c = 0; c < parameters.channels; ++c)
        static_cast<OUT*>(parameters.result.data)[offsets.result + c * parameters.result_channel] = value;
}

#else
}  // namespace

// The extremes of a part of the image, NaN left out: a block to a part.
extern "C" __global__ void __launch_bounds__(1024) random_noise_extremes(const Parameters parameters) {
    const IN* const image = static_cast<const IN*>(parameters.image.data);
    const float infinity = __int_as_float(0x7f800000);
    Extremes own = {infinity, -infinity};
    const int64_t step = int64_t(gridDim.x) * blockDim.x * kPixels;
    for (int64_t first = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kPixels; first < parameters.pixels;
         first += step) {
        if (parameters.vectors && first + kPixels <= parameters.pixels) {
            const Pack<IN, kPixels> pack = load_pack<kPixels>(image + first);
#pragma unroll
            for (int i = 0; i < kPixels; ++i) own = merged(own, {to_float(pack.values[i]), to_float(pack.values[i])});
            continue;
        }
        for (int i = 0; i < kPixels && first + i < parameters.pixels; ++i) {
            const int64_t offset = offsets_of(first + i, parameters).image;
            for (int c = 0; c < parameters.channels; ++c) {
                const float value = to_float(image[offset + c * parameters.image_channel]);
                own = merged(own, {value, value});
            }
        }
    }
    const Extremes all = extremes_of_block(own);
    if (threadIdx.x == 0) const_cast<Extremes*>(parameters.extremes)[blockIdx.x] = all;
}

#endif
