// The AVX-512 instructions that the kernels name, lane by lane, for a processor that has AVX2 alone.
//
// `make test-v4` compiles the v4 kernels with this in front of every file and FASTIMG_EMULATE_AVX512 defined
// (csrc/cpu/support/foreach_target.hpp): GCC splits the 64-byte vectors, and what it cannot split stands here. It tells
// whether the kernels are right, not how fast they are. An instruction that is missing here does not compile.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace fastimg::emulated {

template <class Lane, int N, class Register>
struct Lanes {
    Lane lane[N];

    Lanes() = default;
    explicit Lanes(const Register& r) {
        static_assert(sizeof r == sizeof lane);
        std::memcpy(lane, &r, sizeof lane);
    }
    Register packed() const {
        Register r;
        std::memcpy(&r, lane, sizeof r);
        return r;
    }
};

using F32 = Lanes<float, 16, __m512>;
using I32 = Lanes<int32_t, 16, __m512i>;
using U32 = Lanes<uint32_t, 16, __m512i>;
using U64 = Lanes<uint64_t, 8, __m512i>;
using I16 = Lanes<int16_t, 32, __m512i>;
using U16 = Lanes<uint16_t, 32, __m512i>;
using U8 = Lanes<uint8_t, 64, __m512i>;

// to.lane[i] = f(i) for all lanes.
template <class To, class F>
inline auto each_lane(F f) {
    To to;
    for (int i = 0; i < int(sizeof to.lane / sizeof to.lane[0]); ++i) to.lane[i] = f(i);
    return to.packed();
}

// Of a NaN, the second operand, as the instructions do.
inline __m512 min_ps(__m512 a, __m512 b) {
    const F32 x(a), y(b);
    return each_lane<F32>([&](int i) { return x.lane[i] < y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline __m512 max_ps(__m512 a, __m512 b) {
    const F32 x(a), y(b);
    return each_lane<F32>([&](int i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline __m512 sqrt_ps(__m512 a) {
    const F32 x(a);
    return each_lane<F32>([&](int i) { return std::sqrt(x.lane[i]); });
}
inline __m512 roundscale_ps(__m512 a) {
    const F32 x(a);
    return each_lane<F32>([&](int i) { return std::nearbyintf(x.lane[i]); });
}

inline __m512 cvtepi32_ps(__m512i a) {
    const I32 x(a);
    return each_lane<F32>([&](int i) { return float(x.lane[i]); });
}
inline __m512i cvtps_epi32(__m512 a) {
    const F32 x(a);
    return each_lane<I32>([&](int i) { return int32_t(std::nearbyintf(x.lane[i])); });
}
inline __m512i cvtepu8_epi32(__m128i a) {
    const Lanes<uint8_t, 16, __m128i> x(a);
    return each_lane<U32>([&](int i) { return x.lane[i]; });
}
inline __m512i cvtepu16_epi32(__m256i a) {
    const Lanes<uint16_t, 16, __m256i> x(a);
    return each_lane<U32>([&](int i) { return x.lane[i]; });
}
inline __m128i cvtusepi32_epi8(__m512i a) {
    const U32 x(a);
    return each_lane<Lanes<uint8_t, 16, __m128i>>([&](int i) { return uint8_t(x.lane[i] < 255 ? x.lane[i] : 255); });
}
inline __m256i cvtusepi32_epi16(__m512i a) {
    const U32 x(a);
    return each_lane<Lanes<uint16_t, 16, __m256i>>(
        [&](int i) { return uint16_t(x.lane[i] < 65535 ? x.lane[i] : 65535); });
}

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
inline __m512 cvtph_ps(__m256i a) {
    const Lanes<uint16_t, 16, __m256i> x(a);
    return each_lane<F32>([&](int i) { return _cvtsh_ss(x.lane[i]); });
}
inline __m256i cvtps_ph(__m512 a) {
    const F32 x(a);
    return each_lane<Lanes<uint16_t, 16, __m256i>>(
        [&](int i) { return _cvtss_sh(x.lane[i], _MM_FROUND_TO_NEAREST_INT); });
}
#pragma GCC pop_options

inline __m512i set1_epi64(int64_t a) {
    return each_lane<U64>([&](int) { return uint64_t(a); });
}
inline __m512i mul_epu32(__m512i a, __m512i b) {
    const U64 x(a), y(b);
    return each_lane<U64>([&](int i) { return (x.lane[i] & 0xffffffffu) * (y.lane[i] & 0xffffffffu); });
}
inline __m512i slli_epi64(__m512i a, unsigned shift) {
    const U64 x(a);
    return each_lane<U64>([&](int i) { return x.lane[i] << shift; });
}
inline __m512i srli_epi64(__m512i a, unsigned shift) {
    const U64 x(a);
    return each_lane<U64>([&](int i) { return x.lane[i] >> shift; });
}
inline __m512i mask_blend_epi32(unsigned mask, __m512i a, __m512i b) {
    const U32 x(a), y(b);
    return each_lane<U32>([&](int i) { return mask >> i & 1 ? y.lane[i] : x.lane[i]; });
}
inline unsigned test_epi32_mask(__m512i a, __m512i b) {
    const U32 x(a), y(b);
    unsigned mask = 0;
    for (int i = 0; i < 16; ++i) mask |= unsigned((x.lane[i] & y.lane[i]) != 0) << i;
    return mask;
}

inline __m512i loadu_si512(const void* from) {
    __m512i r;
    std::memcpy(&r, from, sizeof r);
    return r;
}
inline void stream_si512(__m512i* to, __m512i a) { std::memcpy(to, &a, sizeof a); }

inline __m512 set1_ps(float a) {
    return each_lane<F32>([&](int) { return a; });
}
inline void storeu_ps(float* to, __m512 a) { std::memcpy(to, &a, sizeof a); }
inline unsigned cmp_le_ps_mask(__m512 a, __m512 b) {
    const F32 x(a), y(b);
    unsigned mask = 0;
    for (int i = 0; i < 16; ++i) mask |= unsigned(x.lane[i] <= y.lane[i]) << i;
    return mask;
}
inline __m512 permutex2var_ps(__m512 a, __m512i index, __m512 b) {
    const F32 x(a), y(b);
    const U32 places(index);
    return each_lane<F32>([&](int i) {
        const uint32_t place = places.lane[i];
        return (place & 16 ? y : x).lane[place & 15];
    });
}

inline __m512i set1_epi32(int a) {
    return each_lane<I32>([&](int) { return a; });
}
template <class... Ints>
inline __m512i setr_epi32(Ints... values) {
    I32 lanes;
    int i = 0;
    ((lanes.lane[i++] = values), ...);
    return lanes.packed();
}
inline __m512i add_epi32(__m512i a, __m512i b) {
    const U32 x(a), y(b);
    return each_lane<U32>([&](int i) { return x.lane[i] + y.lane[i]; });
}
inline __m512i maskz_add_epi32(unsigned mask, __m512i a, __m512i b) {
    const U32 x(a), y(b);
    return each_lane<U32>([&](int i) { return mask >> i & 1 ? x.lane[i] + y.lane[i] : 0; });
}
inline __m512i alignr_epi32(__m512i high, __m512i low, int n) {
    const U32 x(low), y(high);
    return each_lane<U32>([&](int i) { return i + n < 16 ? x.lane[i + n] : y.lane[i + n - 16]; });
}
inline __m512i i32gather_epi32(__m512i index, const int* from) {
    const I32 places(index);
    return each_lane<I32>([&](int i) { return from[places.lane[i]]; });
}
inline __m512i broadcast_i32x4(__m128i a) {
    uint32_t lanes[4];
    std::memcpy(lanes, &a, sizeof lanes);
    return each_lane<U32>([&](int i) { return lanes[i % 4]; });
}

// ---- 16 bits ------------------------------------------------------------------------------------------------------

// Counts of shifts stand in the low half of a register; above 15 nothing is left.
inline int count_of(__m128i a) {
    uint64_t count;
    std::memcpy(&count, &a, sizeof count);
    return count > 16 ? 16 : int(count);
}
template <class F>
inline __m512i each_short(__m512i a, __m512i b, F f) {
    const U16 x(a), y(b);
    return each_lane<U16>([&](int i) { return uint16_t(f(int(x.lane[i]), int(y.lane[i]))); });
}
inline __m512i set1_epi16(short a) {
    return each_lane<I16>([&](int) { return a; });
}
inline __m512i add_epi16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return x + y; });
}
inline __m512i adds_epu16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return x + y > 65535 ? 65535 : x + y; });
}
inline __m512i subs_epu16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return x > y ? x - y : 0; });
}
inline __m512i min_epu16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return x < y ? x : y; });
}
inline __m512i mulhi_epu16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return unsigned(x) * unsigned(y) >> 16; });
}
inline __m512i mulhrs_epi16(__m512i a, __m512i b) {
    return each_short(a, b, [](int x, int y) { return ((int16_t(x) * int16_t(y) >> 14) + 1) >> 1; });
}
inline __m512i sll_epi16(__m512i a, __m128i count) {
    return each_short(a, a, [&](int x, int) { return x << count_of(count); });
}
inline __m512i srl_epi16(__m512i a, __m128i count) {
    return each_short(a, a, [&](int x, int) { return x >> count_of(count); });
}
inline __m512i slli_epi16(__m512i a, unsigned count) {
    return each_short(a, a, [&](int x, int) { return x << count; });
}
inline __m512i srli_epi16(__m512i a, unsigned count) {
    return each_short(a, a, [&](int x, int) { return x >> count; });
}
inline unsigned cmpeq_epi16_mask(__m512i a, __m512i b) {
    const U16 x(a), y(b);
    unsigned mask = 0;
    for (int i = 0; i < 32; ++i) mask |= unsigned(x.lane[i] == y.lane[i]) << i;
    return mask;
}
inline __m512i maskz_mov_epi16(unsigned mask, __m512i a) {
    const U16 x(a);
    return each_lane<U16>([&](int i) { return mask >> i & 1 ? x.lane[i] : uint16_t(0); });
}
inline __m512i madd_epi16(__m512i a, __m512i b) {
    const I16 x(a), y(b);
    return each_lane<I32>([&](int i) { return x.lane[2 * i] * y.lane[2 * i] + x.lane[2 * i + 1] * y.lane[2 * i + 1]; });
}
// These work on each 16 bytes for themselves.
inline __m512i unpacklo_epi16(__m512i a, __m512i b) {
    const U16 x(a), y(b);
    return each_lane<U16>([&](int i) { return (i % 2 ? y : x).lane[i / 8 * 8 + i % 8 / 2]; });
}
inline __m512i unpackhi_epi16(__m512i a, __m512i b) {
    const U16 x(a), y(b);
    return each_lane<U16>([&](int i) { return (i % 2 ? y : x).lane[i / 8 * 8 + 4 + i % 8 / 2]; });
}
inline __m512i packus_epi32(__m512i a, __m512i b) {
    const I32 x(a), y(b);
    return each_lane<U16>([&](int i) {
        const int32_t value = (i % 8 < 4 ? x : y).lane[i / 8 * 4 + i % 4];
        return uint16_t(value < 0 ? 0 : value > 65535 ? 65535 : value);
    });
}
inline __m512i shuffle_epi8(__m512i a, __m512i places) {
    const U8 x(a), y(places);
    return each_lane<U8>([&](int i) { return y.lane[i] & 128 ? uint8_t(0) : x.lane[i / 16 * 16 + (y.lane[i] & 15)]; });
}

}  // namespace fastimg::emulated

#define _mm512_min_ps fastimg::emulated::min_ps
#define _mm512_max_ps fastimg::emulated::max_ps
#define _mm512_sqrt_ps fastimg::emulated::sqrt_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, nearest) fastimg::emulated::roundscale_ps(a)
#define _mm512_cvtepi32_ps fastimg::emulated::cvtepi32_ps
#define _mm512_cvtps_epi32 fastimg::emulated::cvtps_epi32
#define _mm512_cvtepu8_epi32 fastimg::emulated::cvtepu8_epi32
#define _mm512_cvtepu16_epi32 fastimg::emulated::cvtepu16_epi32
#define _mm512_cvtusepi32_epi8 fastimg::emulated::cvtusepi32_epi8
#define _mm512_cvtusepi32_epi16 fastimg::emulated::cvtusepi32_epi16
#define _mm512_cvtph_ps fastimg::emulated::cvtph_ps
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(a, nearest) fastimg::emulated::cvtps_ph(a)
#define _mm512_set1_epi64 fastimg::emulated::set1_epi64
#define _mm512_mul_epu32 fastimg::emulated::mul_epu32
#define _mm512_slli_epi64 fastimg::emulated::slli_epi64
#define _mm512_srli_epi64 fastimg::emulated::srli_epi64
#define _mm512_mask_blend_epi32 fastimg::emulated::mask_blend_epi32
#define _mm512_test_epi32_mask fastimg::emulated::test_epi32_mask
#define _mm512_loadu_si512 fastimg::emulated::loadu_si512
#define _mm512_stream_si512 fastimg::emulated::stream_si512
#define _mm512_set1_ps fastimg::emulated::set1_ps
#define _mm512_storeu_ps fastimg::emulated::storeu_ps
#define _mm512_permutex2var_ps fastimg::emulated::permutex2var_ps
#define _mm512_set1_epi32 fastimg::emulated::set1_epi32
#define _mm512_setr_epi32 fastimg::emulated::setr_epi32
#define _mm512_add_epi32 fastimg::emulated::add_epi32
#define _mm512_maskz_add_epi32 fastimg::emulated::maskz_add_epi32
#define _mm512_broadcast_i32x4 fastimg::emulated::broadcast_i32x4
#define _mm512_set1_epi16 fastimg::emulated::set1_epi16
#define _mm512_add_epi16 fastimg::emulated::add_epi16
#define _mm512_adds_epu16 fastimg::emulated::adds_epu16
#define _mm512_subs_epu16 fastimg::emulated::subs_epu16
#define _mm512_min_epu16 fastimg::emulated::min_epu16
#define _mm512_mulhi_epu16 fastimg::emulated::mulhi_epu16
#define _mm512_mulhrs_epi16 fastimg::emulated::mulhrs_epi16
#define _mm512_sll_epi16 fastimg::emulated::sll_epi16
#define _mm512_srl_epi16 fastimg::emulated::srl_epi16
#define _mm512_slli_epi16 fastimg::emulated::slli_epi16
#define _mm512_srli_epi16 fastimg::emulated::srli_epi16
#define _mm512_cmpeq_epi16_mask fastimg::emulated::cmpeq_epi16_mask
#define _mm512_maskz_mov_epi16 fastimg::emulated::maskz_mov_epi16
#define _mm512_madd_epi16 fastimg::emulated::madd_epi16
#define _mm512_unpacklo_epi16 fastimg::emulated::unpacklo_epi16
#define _mm512_unpackhi_epi16 fastimg::emulated::unpackhi_epi16
#define _mm512_packus_epi32 fastimg::emulated::packus_epi32
#define _mm512_shuffle_epi8 fastimg::emulated::shuffle_epi8
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask(a, b, at_most) fastimg::emulated::cmp_le_ps_mask(a, b)
#undef _mm512_alignr_epi32
#define _mm512_alignr_epi32(high, low, n) fastimg::emulated::alignr_epi32(high, low, n)
#undef _mm512_i32gather_epi32
#define _mm512_i32gather_epi32(index, from, scale) fastimg::emulated::i32gather_epi32(index, from)
