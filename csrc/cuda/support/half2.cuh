// Two halves in a register: the low one first in memory.
#pragma once

#include "samples.cuh"

namespace fastimg {

struct half2 {
    uint32_t bits;
};

__device__ inline half2 pack_half2(float low, float high) {
#if defined(FASTIMG_CUDA_EMULATOR)
    return {uint32_t(emulator::half_of_float(high)) << 16 | emulator::half_of_float(low)};
#elif __CUDA_ARCH__ >= 800
    half2 result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result.bits) : "f"(high), "f"(low));
    return result;
#else
    return {uint32_t(to_half(high).bits) << 16 | to_half(low).bits};
#endif
}

__device__ inline float low_float(half2 x) { return to_float(half{uint16_t(x.bits)}); }
__device__ inline float high_float(half2 x) { return to_float(half{uint16_t(x.bits >> 16)}); }

__device__ inline half2 broadcast_half2(float x) { return pack_half2(x, x); }

#ifdef FASTIMG_CUDA_EMULATOR
#define FASTIMG_HALF2_OPERATION(name, instruction, expression)                                   \
    __device__ inline half2 name(half2 a, half2 b) {                                             \
        const auto each = [](float x, float y) -> float { return expression; };                  \
        return pack_half2(each(low_float(a), low_float(b)), each(high_float(a), high_float(b))); \
    }
#else
#define FASTIMG_HALF2_OPERATION(name, instruction, expression)                          \
    __device__ inline half2 name(half2 a, half2 b) {                                    \
        half2 result;                                                                   \
        asm(instruction " %0, %1, %2;" : "=r"(result.bits) : "r"(a.bits), "r"(b.bits)); \
        return result;                                                                  \
    }
#endif
FASTIMG_HALF2_OPERATION(add, "add.rn.f16x2", x + y)
FASTIMG_HALF2_OPERATION(subtract, "sub.rn.f16x2", x - y)
FASTIMG_HALF2_OPERATION(multiply, "mul.rn.f16x2", x* y)
#undef FASTIMG_HALF2_OPERATION

// a * b + c, rounded once.
__device__ inline half2 multiply_add(half2 a, half2 b, half2 c) {
#ifdef FASTIMG_CUDA_EMULATOR
    return pack_half2(float(double(low_float(a)) * low_float(b) + low_float(c)),
                      float(double(high_float(a)) * high_float(b) + high_float(c)));
#else
    half2 result;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result.bits) : "r"(a.bits), "r"(b.bits), "r"(c.bits));
    return result;
#endif
}

// The larger and the smaller of each pair; NaN where either is.
#if defined(FASTIMG_CUDA_EMULATOR) || __CUDA_ARCH__ < 800
#define FASTIMG_HALF2_CHOICE(name, instruction, order)                                               \
    __device__ inline half2 name(half2 a, half2 b) {                                                 \
        const auto chosen = [](float x, float y) { return x != x || x order y ? x : y; };            \
        return pack_half2(chosen(low_float(a), low_float(b)), chosen(high_float(a), high_float(b))); \
    }
#else
#define FASTIMG_HALF2_CHOICE(name, instruction, order)                                  \
    __device__ inline half2 name(half2 a, half2 b) {                                    \
        half2 result;                                                                   \
        asm(instruction " %0, %1, %2;" : "=r"(result.bits) : "r"(a.bits), "r"(b.bits)); \
        return result;                                                                  \
    }
#endif
FASTIMG_HALF2_CHOICE(larger, "max.NaN.f16x2", >)
FASTIMG_HALF2_CHOICE(smaller, "min.NaN.f16x2", <)
#undef FASTIMG_HALF2_CHOICE

// 1.0 for each pair where a >= b, 0.0 where it is not or where either is NaN.
__device__ inline half2 at_least(half2 a, half2 b) {
#ifdef FASTIMG_CUDA_EMULATOR
    return pack_half2(low_float(a) >= low_float(b), high_float(a) >= high_float(b));
#else
    half2 result;
    asm("set.ge.f16x2.f16x2 %0, %1, %2;" : "=r"(result.bits) : "r"(a.bits), "r"(b.bits));
    return result;
#endif
}

__device__ inline half2 negative(half2 x) {
#ifdef FASTIMG_CUDA_EMULATOR
    return {x.bits ^ 0x80008000u};
#else
    half2 result;
    asm("neg.f16x2 %0, %1;" : "=r"(result.bits) : "r"(x.bits));
    return result;
#endif
}

// 2 to the power x, off by a unit in the last place or so.
__device__ inline half2 power_of_two(half2 x) {
#ifdef FASTIMG_CUDA_EMULATOR
    return pack_half2(exp2f(low_float(x)), exp2f(high_float(x)));
#else
    half2 result;
    asm("ex2.approx.f16x2 %0, %1;" : "=r"(result.bits) : "r"(x.bits));
    return result;
#endif
}

}  // namespace fastimg
