// CUDA's vector types, with CUDA's alignment.
#pragma once

#define EMULATOR_VECTOR_TYPES(name, T)                                                 \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                 \
    struct name##3 { T x, y, z; };                                                     \
    struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; }; \
    constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }                      \
    constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }              \
    constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMULATOR_VECTOR_TYPES(char, signed char)
EMULATOR_VECTOR_TYPES(uchar, unsigned char)
EMULATOR_VECTOR_TYPES(short, short)
EMULATOR_VECTOR_TYPES(ushort, unsigned short)
EMULATOR_VECTOR_TYPES(int, int)
EMULATOR_VECTOR_TYPES(uint, unsigned int)
EMULATOR_VECTOR_TYPES(longlong, long long)
EMULATOR_VECTOR_TYPES(ulonglong, unsigned long long)
EMULATOR_VECTOR_TYPES(float, float)
EMULATOR_VECTOR_TYPES(double, double)
#undef EMULATOR_VECTOR_TYPES

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};
