// Philox4x32-10 and the normal distribution: the numbers of csrc/cpu/support/philox.hpp and philox.inl, whose comments
// say which word serves which sample. Words are the same bit for bit; normal numbers differ in the last place at most,
// where compilers fuse a multiplication and an addition and others do not.
//
// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
#pragma once

#include "platform.cuh"

namespace fastimg {

struct PhiloxWords {
    uint32_t word[4];
};

__device__ inline PhiloxWords philox(uint64_t counter, uint32_t third, uint32_t fourth, uint64_t key) {
    uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = third, c3 = fourth;
    uint32_t key0 = uint32_t(key), key1 = uint32_t(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64_t product0 = uint64_t(0xD2511F53u) * c0, product1 = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(product1 >> 32) ^ c1 ^ key0;
        c1 = uint32_t(product1);
        c2 = uint32_t(product0 >> 32) ^ c3 ^ key1;
        c3 = uint32_t(product0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

__device__ constexpr int kChunk = 64;        // samples that 16 neighbouring blocks of words serve together
__device__ constexpr int kChunkBlocks = 16;  // word j of block b serves sample 16 j + b

// sqrt(-2 ln u) for u = (word / 2 + 1/2) / 2^31 in (0, 1]: the radius of a pair of normal numbers, at most 6.7.
__device__ inline float normal_radius(uint32_t word) {
    const float scaled = float(int(word >> 1)) + 0.5f;  // u * 2^31
    const int bits = __float_as_int(scaled);
    const int exponent = (bits - 0x3f3504f3) >> 23;  // of u * 2^31, its fraction in [sqrt 1/2, sqrt 2)
    const float f = __int_as_float(bits - exponent * (1 << 23)) - 1.0f;
    const float e = float(exponent - 31);
    const float f2 = f * f;
    float p = 7.0376836292e-2f * f - 1.1514610310e-1f;  // the minimax polynomial of Cephes
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * f2 - 2.12194440e-4f * e - 0.5f * f2;  // ln 2 = 0.693359375 - 0.000212194440
    const float log = 0.693359375f * e + (f + p);
    return __fsqrt_rn(fmaxf(-2.0f * log, 0.0f));  // rounding may put the logarithm of 1 above 0
}

// The cosine and sine of word / 2^31 * pi.
__device__ inline void direction(uint32_t word, float& cosine, float& sine) {
    const uint32_t quadrant = (word + (1u << 29)) >> 30;
    const float x = float(int(word - (quadrant << 30))) * 1.4629180792671596e-9f;  // pi/2 / 2^30
    const float x2 = x * x;
    const float s = x + x * x2 * (-1.6666654611e-1f + x2 * (8.3321608736e-3f + x2 * -1.9515295891e-4f));
    const float c = 1.0f - 0.5f * x2 +
                    x2 * x2 * (4.166664568298827e-2f + x2 * (-1.388731625493765e-3f + x2 * 2.443315711809948e-5f));
    const bool odd = quadrant & 1;  // a quarter turn swaps them
    cosine = __uint_as_float(__float_as_uint(odd ? s : c) ^ ((quadrant + 1) & 2u) << 30);
    sine = __uint_as_float(__float_as_uint(odd ? c : s) ^ (quadrant & 2u) << 30);
}

// Words 0 and 1 make the normal numbers of their places by the method of Box and Muller, words 2 and 3 likewise.
__device__ inline void normal_numbers(const PhiloxWords& words, float (&normals)[4]) {
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        const float radius = normal_radius(words.word[j]);
        float cosine, sine;
        direction(words.word[j + 1], cosine, sine);
        normals[j] = radius * cosine;
        normals[j + 1] = radius * sine;
    }
}

// A pseudo-random permutation of 0 .. n-1, as on the CPU. Its keys are computed by 12 threads of the block together.
class Permutation {
public:
    static constexpr int kRounds = 12;

    // All threads of the block come here; `keys` is shared memory.
    __device__ Permutation(uint64_t n, uint64_t key, uint64_t* keys) : n_(n), keys_(keys) {
        int bits = 2;
        while (bits < 64 && (n - 1) >> bits != 0) ++bits;
        low_bits_ = bits - bits / 2;
        low_mask_ = (uint64_t(1) << low_bits_) - 1;
        high_mask_ = (uint64_t(1) << bits / 2) - 1;
        const int round = thread_in_block();
        if (round < kRounds) {
            const PhiloxWords words = philox(uint64_t(round), 0, 1, key);
            keys[round] = uint64_t(words.word[1]) << 32 | words.word[0];
        }
        __syncthreads();
    }

    __device__ uint64_t operator()(uint64_t i) const {
        do {
            uint64_t low = i & low_mask_, high = i >> low_bits_;
#pragma unroll 1
            for (int round = 0; round < kRounds; round += 2) {
                high ^= mixed(low ^ keys_[round]) & high_mask_;
                low ^= mixed(high ^ keys_[round + 1]) & low_mask_;
            }
            i = high << low_bits_ | low;
        } while (i >= n_);
        return i;
    }

private:
    __device__ static uint64_t mixed(uint64_t x) {  // the finaliser of SplitMix64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
        x = (x ^ x >> 27) * 0x94D049BB133111EBull;
        return x ^ x >> 31;
    }

    uint64_t n_, low_mask_, high_mask_;
    int low_bits_;
    const uint64_t* keys_;
};

}  // namespace fastimg
