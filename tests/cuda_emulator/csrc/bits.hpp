// Numbers by their bits.
#pragma once

#include <cstdint>

namespace emulator {

template <class To, class From>
inline __attribute__((always_inline)) To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

// IEEE binary16 by F16C's instructions: _Float16 becomes a call into libgcc where it goes straight to or from double.
inline __attribute__((always_inline)) float float_of_half(uint16_t bits) {
    typedef short Halves __attribute__((vector_size(16)));
    return __builtin_ia32_vcvtph2ps(Halves{short(bits)})[0];
}

inline __attribute__((always_inline)) uint16_t half_of_float(float x) {
    typedef float Floats __attribute__((vector_size(16)));
    return uint16_t(__builtin_ia32_vcvtps2ph(Floats{x}, 0)[0]);  // 0: to nearest, ties to even
}

inline __attribute__((always_inline)) float float_of_bf16(uint16_t bits) {
    return bits_as<float>(uint32_t(bits) << 16);
}

}  // namespace emulator
