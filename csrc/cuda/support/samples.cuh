// The samples of images: uint8_t, uint16_t, half and float, and their way to float and back.
//
// `half` is IEEE binary16 for storage, of the project's own so that no CUDA header is needed; arithmetic on packed pairs
// is in half2.cuh. Integers are rounded half to even and saturated; NaN becomes 0, as on the CPU.
#pragma once

#include "platform.cuh"

namespace fastimg {

struct half {
    uint16_t bits;
};

template <class T>
__device__ constexpr bool is_integer = is_same<T, uint8_t> || is_same<T, uint16_t>;

// The largest value of an integer sample.
template <class T>
__device__ constexpr float kTop = is_same<T, uint8_t> ? 255.0f : 65535.0f;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(uint8_t x) { return float(x); }
__device__ inline float to_float(uint16_t x) { return float(x); }
__device__ inline float to_float(half x) {
#ifdef FASTIMG_CUDA_EMULATOR
    return emulator::float_of_half(x.bits);
#else
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x.bits));
    return result;
#endif
}

__device__ inline half to_half(float x) {
#ifdef FASTIMG_CUDA_EMULATOR
    return {emulator::half_of_float(x)};
#else
    half result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
#endif
}

// Rounded half to even; saturated for integers.
template <class T>
__device__ inline T from_float(float x) {
    if constexpr (is_integer<T>)
        return T(__float2int_rn(fminf(fmaxf(x, 0.0f), kTop<T>)));  // fmaxf takes NaN to 0
    else if constexpr (is_same<T, half>)
        return to_half(x);
    else
        return x;
}

}  // namespace fastimg
