// Neighbouring samples of an image's row, whatever byte they begin at, and what lies between two of them.
#pragma once

#include "vector_access.cuh"

namespace fastimg {

// Those of kTaps pixels with kChannels samples side by side, as words of 32 bits if these are fewer than the samples.
template <class T, int kTaps, int kChannels>
struct Run {
    static constexpr int kSamples = kTaps * kChannels, kSize = int(sizeof(T)), kBytes = kSamples * kSize;
    static constexpr int kMostWords = divide_up(kBytes + 4 - kSize, 4);  // that they may lie in
    static constexpr bool kByPixels = kChannels == 4;                    // which are aligned
    static constexpr bool kOneByOne = !kByPixels && kMostWords >= kSamples;
    // Pixels beside them that words may reach into.
    static constexpr int kBefore = kByPixels || kOneByOne ? 0 : divide_up(4 - kSize, kChannels* kSize);
    static constexpr int kAfter = kByPixels || kOneByOne ? 0 : divide_up(4 * kMostWords - kBytes, kChannels* kSize);

    uint32_t words[kOneByOne ? kSamples : divide_up(kBytes, 4)];

    __device__ void load(const T* from) {
        if constexpr (kByPixels) {
#pragma unroll
            for (int k = 0; k < kTaps; ++k) {
                const Pack<uint32_t, kSize> pixel = bits_as<Pack<uint32_t, kSize>>(load_pack<4>(from + 4 * k));
#pragma unroll
                for (int i = 0; i < kSize; ++i) words[k * kSize + i] = pixel.values[i];
            }
        } else if constexpr (kOneByOne) {
#pragma unroll
            for (int i = 0; i < kSamples; ++i) words[i] = bits_of(from[i]);
        } else {
            const uint64_t address = reinterpret_cast<uint64_t>(from);
            const uint32_t* const aligned = reinterpret_cast<const uint32_t*>(address & ~uint64_t(3));
            uint32_t raw[kMostWords];
#pragma unroll
            for (int i = 0; i < kMostWords; ++i) raw[i] = __ldg(aligned + i);
#pragma unroll
            for (int i = 0; i < divide_up(kBytes, 4); ++i)
                words[i] = __funnelshift_r(raw[i], raw[i + 1 < kMostWords ? i + 1 : i], 8 * unsigned(address));
        }
    }

    // Sample i and `kBias`: 2^23 + x holds an integer x in its lowest bits, and conversions have a quarter of the rate.
    static constexpr float kBias = is_integer<T> ? 8388608.0f : 0.0f;
    __device__ float value(int i) const {
        const int byte = kOneByOne ? 0 : i * kSize % 4;
        const uint32_t word = words[kOneByOne ? i : i * kSize / 4];
        if constexpr (is_same<T, float>) return __uint_as_float(word);
        if constexpr (is_same<T, half>) return to_float(half{uint16_t(word >> (8 * byte))});
        const unsigned bytes = is_same<T, uint8_t> ? 0x7440 + byte : byte ? 0x7432 : 0x7410;
        return __uint_as_float(__byte_perm(word, 0x4b000000, bytes));
    }

    __device__ static uint32_t bits_of(T x) {
        if constexpr (is_same<T, float>)
            return __float_as_uint(x);
        else if constexpr (is_same<T, half>)
            return x.bits;
        else
            return x;
    }
};

// From a to b, of samples of type T, both with `bias`, exactly, which the result is without.
template <class T>
__device__ inline float between(float a, float b, float t, float bias) {
    const float without = a - bias, mixed = fmaf(t, b - a, without);
    return !is_integer<T> && t == 0 ? without : mixed;  // a NaN does not count where its weight is 0
}

}  // namespace fastimg
