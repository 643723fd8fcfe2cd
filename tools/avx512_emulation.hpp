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
