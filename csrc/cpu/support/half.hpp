// IEEE binary16 to and from float, one value at a time, exact, ties to even. Vectors use F16C (simd.inl).
#pragma once

#include "view.hpp"

#include <cstdint>
#include <cstring>

namespace fastimg {

inline float to_float(half value) {
    const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16;
    const uint32_t magnitude = value.bits & 0x7fffu;
    uint32_t bits;
    if (magnitude >= 0x7c00u) {  // infinity or NaN
        bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
    } else if (magnitude >= 0x0400u) {  // normal: rebias the exponent by 127 - 15
        bits = (magnitude << 13) + (112u << 23);
    } else {  // zero or subnormal: magnitude * 2^-24 is exact in float
        const float small = float(magnitude) * 0x1p-24f;
        std::memcpy(&bits, &small, 4);
    }
    bits |= sign;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline half to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint16_t sign = uint16_t(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return {uint16_t(sign | 0x7e00u)};   // NaN
    if (bits >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // rounds to infinity
    if (bits < 0x38800000u) {                                    // below 2^-14: subnormal half
        float magnitude;
        std::memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;  // aligns the half's last place with the float's: the addition rounds
        std::memcpy(&bits, &magnitude, 4);
        return {uint16_t(sign | (bits - 0x3f000000u))};
    }
    const uint32_t odd = bits >> 13 & 1u;
    return {uint16_t(sign | ((bits - (112u << 23) + 0xfffu + odd) >> 13))};
}

}  // namespace fastimg
