// CUDA's functions of numbers. Approximate ones are exact here; what is rounded in a given way is rounded so, and not
// fused with its neighbours.
#pragma once

#include <math.h>
#include <stdlib.h>

#include <limits>

#include "bits.hpp"

#define EMULATOR_INLINE inline __attribute__((always_inline))

// ---- the same bits as another type ----------------------------------------------------------------------------------

EMULATOR_INLINE float __int_as_float(int x) { return emulator::bits_as<float>(x); }
EMULATOR_INLINE float __uint_as_float(unsigned x) { return emulator::bits_as<float>(x); }
EMULATOR_INLINE int __float_as_int(float x) { return emulator::bits_as<int>(x); }
EMULATOR_INLINE unsigned __float_as_uint(float x) { return emulator::bits_as<unsigned>(x); }
EMULATOR_INLINE double __longlong_as_double(long long x) { return emulator::bits_as<double>(x); }
EMULATOR_INLINE long long __double_as_longlong(double x) { return emulator::bits_as<long long>(x); }

// ---- min, max -------------------------------------------------------------------------------------------------------

#define EMULATOR_MIN_MAX(T, A, B)                                                             \
    EMULATOR_INLINE T min(A a, B b) {                                                         \
        return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a); \
    }                                                                                         \
    EMULATOR_INLINE T max(A a, B b) {                                                         \
        return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a); \
    }
EMULATOR_MIN_MAX(int, int, int)
EMULATOR_MIN_MAX(unsigned, unsigned, unsigned)
EMULATOR_MIN_MAX(unsigned, int, unsigned)
EMULATOR_MIN_MAX(unsigned, unsigned, int)
EMULATOR_MIN_MAX(long, long, long)
EMULATOR_MIN_MAX(unsigned long, unsigned long, unsigned long)
EMULATOR_MIN_MAX(long long, long long, long long)
EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
EMULATOR_MIN_MAX(long long, long, long long)  // int64_t is long here, long long to NVRTC
EMULATOR_MIN_MAX(long long, long long, long)
EMULATOR_MIN_MAX(unsigned long long, unsigned long, unsigned long long)
EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long)
#undef EMULATOR_MIN_MAX

// Of a NaN and a number, the number.
EMULATOR_INLINE float min(float a, float b) { return fminf(a, b); }
EMULATOR_INLINE float max(float a, float b) { return fmaxf(a, b); }
EMULATOR_INLINE double min(double a, double b) { return fmin(a, b); }
EMULATOR_INLINE double max(double a, double b) { return fmax(a, b); }
EMULATOR_INLINE double min(float a, double b) { return fmin(double(a), b); }
EMULATOR_INLINE double max(float a, double b) { return fmax(double(a), b); }
EMULATOR_INLINE double min(double a, float b) { return fmin(a, double(b)); }
EMULATOR_INLINE double max(double a, float b) { return fmax(a, double(b)); }

// ---- floats ---------------------------------------------------------------------------------------------------------

namespace emulator {

// Keeps the compiler from fusing x with what is done to it next.
template <class T>
EMULATOR_INLINE T rounded(T x) {
    asm("" : "+x"(x));
    return x;
}

}  // namespace emulator

EMULATOR_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
EMULATOR_INLINE double rsqrt(double x) { return 1.0 / sqrt(x); }
EMULATOR_INLINE float rcbrtf(float x) { return 1.0f / cbrtf(x); }
EMULATOR_INLINE float sinpif(float x) { return float(sin(M_PI * double(x))); }
EMULATOR_INLINE float cospif(float x) { return float(cos(M_PI * double(x))); }
EMULATOR_INLINE float fdividef(float a, float b) { return a / b; }
EMULATOR_INLINE float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

EMULATOR_INLINE float __expf(float x) { return expf(x); }
EMULATOR_INLINE float __exp10f(float x) { return exp10f(x); }
EMULATOR_INLINE float __logf(float x) { return logf(x); }
EMULATOR_INLINE float __log2f(float x) { return log2f(x); }
EMULATOR_INLINE float __log10f(float x) { return log10f(x); }
EMULATOR_INLINE float __sinf(float x) { return sinf(x); }
EMULATOR_INLINE float __cosf(float x) { return cosf(x); }
EMULATOR_INLINE float __tanf(float x) { return tanf(x); }
EMULATOR_INLINE void __sincosf(float x, float* sine, float* cosine) { sincosf(x, sine, cosine); }
EMULATOR_INLINE float __powf(float a, float b) { return powf(a, b); }
EMULATOR_INLINE float __fdividef(float a, float b) { return a / b; }

EMULATOR_INLINE float __fadd_rn(float a, float b) { return emulator::rounded(a + b); }
EMULATOR_INLINE float __fsub_rn(float a, float b) { return emulator::rounded(a - b); }
EMULATOR_INLINE float __fmul_rn(float a, float b) { return emulator::rounded(a * b); }
EMULATOR_INLINE float __fdiv_rn(float a, float b) { return emulator::rounded(a / b); }
EMULATOR_INLINE float __frcp_rn(float x) { return emulator::rounded(1.0f / x); }
EMULATOR_INLINE float __fsqrt_rn(float x) { return emulator::rounded(sqrtf(x)); }
EMULATOR_INLINE float __frsqrt_rn(float x) { return float(1.0 / sqrt(double(x))); }
EMULATOR_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
EMULATOR_INLINE double __dadd_rn(double a, double b) { return emulator::rounded(a + b); }
EMULATOR_INLINE double __dsub_rn(double a, double b) { return emulator::rounded(a - b); }
EMULATOR_INLINE double __dmul_rn(double a, double b) { return emulator::rounded(a * b); }
EMULATOR_INLINE double __ddiv_rn(double a, double b) { return emulator::rounded(a / b); }
EMULATOR_INLINE double __drcp_rn(double x) { return emulator::rounded(1.0 / x); }
EMULATOR_INLINE double __dsqrt_rn(double x) { return emulator::rounded(sqrt(x)); }
EMULATOR_INLINE double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// ---- floats to integers: saturated, NaN to 0 ------------------------------------------------------------------------

namespace emulator {

template <class Integer, class Float>
EMULATOR_INLINE Integer saturated(Float whole) {
    using Limits = std::numeric_limits<Integer>;
    if (whole != whole) return 0;
    if (whole <= Float(Limits::min())) return Limits::min();
    if (whole >= Float(Limits::max())) return Limits::max();
    return Integer(whole);
}

}  // namespace emulator

#define EMULATOR_TO_INTEGERS(from, Float, rounding, round)                                                           \
    EMULATOR_INLINE int __##from##2int_##rounding(Float x) { return emulator::saturated<int>(round(x)); }            \
    EMULATOR_INLINE unsigned __##from##2uint_##rounding(Float x) { return emulator::saturated<unsigned>(round(x)); } \
    EMULATOR_INLINE long long __##from##2ll_##rounding(Float x) { return emulator::saturated<long long>(round(x)); } \
    EMULATOR_INLINE unsigned long long __##from##2ull_##rounding(Float x) {                                          \
        return emulator::saturated<unsigned long long>(round(x));                                                    \
    }
EMULATOR_TO_INTEGERS(float, float, rn, rintf)
EMULATOR_TO_INTEGERS(float, float, rd, floorf)
EMULATOR_TO_INTEGERS(float, float, ru, ceilf)
EMULATOR_TO_INTEGERS(float, float, rz, truncf)
EMULATOR_TO_INTEGERS(double, double, rn, rint)
EMULATOR_TO_INTEGERS(double, double, rd, floor)
EMULATOR_TO_INTEGERS(double, double, ru, ceil)
EMULATOR_TO_INTEGERS(double, double, rz, trunc)
#undef EMULATOR_TO_INTEGERS

EMULATOR_INLINE float __int2float_rn(int x) { return float(x); }
EMULATOR_INLINE float __uint2float_rn(unsigned x) { return float(x); }
EMULATOR_INLINE float __ll2float_rn(long long x) { return float(x); }
EMULATOR_INLINE float __double2float_rn(double x) { return emulator::rounded(float(x)); }
EMULATOR_INLINE double __int2double_rn(int x) { return x; }
EMULATOR_INLINE double __uint2double_rn(unsigned x) { return x; }
EMULATOR_INLINE double __ll2double_rn(long long x) { return double(x); }

// ---- integers -------------------------------------------------------------------------------------------------------

EMULATOR_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
EMULATOR_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMULATOR_INLINE int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
EMULATOR_INLINE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
EMULATOR_INLINE int __ffs(int x) { return __builtin_ffs(x); }
EMULATOR_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }

EMULATOR_INLINE unsigned __brev(unsigned x) {
    unsigned result = 0;
    for (int i = 0; i < 32; ++i) result |= (x >> i & 1u) << (31 - i);
    return result;
}

EMULATOR_INLINE int __mul24(int a, int b) {
    const auto low_24_bits = [](int x) { return unsigned(int(unsigned(x) << 8) >> 8); };
    return int(low_24_bits(a) * low_24_bits(b));
}
EMULATOR_INLINE unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }
EMULATOR_INLINE int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
EMULATOR_INLINE unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
EMULATOR_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// The upper half of high:low moved left, the lower half of it moved right, by shift modulo 32.
EMULATOR_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) << (shift & 31) >> 32);
}
EMULATOR_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}

// ---- bytes of a word ------------------------------------------------------------------------------------------------

// Each byte is that of b:a which its nibble of the selector names; all copies of that byte's sign with 8 added to it.
EMULATOR_INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)b << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned nibble = selector >> 4 * i & 15;
        unsigned byte = unsigned(bytes >> 8 * (nibble & 7)) & 255;
        if (nibble & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}

EMULATOR_INLINE int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += (signed char)(a >> 8 * i) * (signed char)(b >> 8 * i);
    return c;
}
EMULATOR_INLINE unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; ++i) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
    return c;
}

EMULATOR_INLINE unsigned __vabsdiffu4(unsigned a, unsigned b) {
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= unsigned(abs(int(a >> 8 * i & 255) - int(b >> 8 * i & 255))) << 8 * i;
    return result;
}
EMULATOR_INLINE unsigned __vsadu4(unsigned a, unsigned b) { return __dp4a(__vabsdiffu4(a, b), 0x01010101u, 0u); }
EMULATOR_INLINE unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a < b ? b - a : a - b) + c; }
EMULATOR_INLINE int __sad(int a, int b, unsigned c) {
    return int((a < b ? unsigned(b) - unsigned(a) : unsigned(a) - unsigned(b)) + c);
}

// ---- memory and the end ---------------------------------------------------------------------------------------------

template <class T>
EMULATOR_INLINE T __ldg(const T* p) {
    return *p;
}
