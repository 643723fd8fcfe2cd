// What stands beside an image: the CPU's csrc/cpu/support/border.hpp in 32 bits.
#pragma once

#include "platform.cuh"

namespace fastimg {

// The ways to continue an axis, under SciPy's names; fastimg/backends/cuda/runtime.py numbers them alike.
enum BorderMode {
    kNearest,   // a a | a b c | c c
    kReflect,   // b a | a b c | c b
    kMirror,    // c b | a b c | b a
    kWrap,      // b c | a b c | a b
    kConstant,  // k k | a b c | k k
};

__device__ inline int modulo(int i, int n) {
    const int rest = i % n;
    return rest < 0 ? rest + n : rest;
}

// The index within 0 .. n-1 that stands for index i; -1 where the constant stands.
__device__ inline int border_index(int i, int n, int mode) {
    if (unsigned(i) < unsigned(n)) return i;
    if (mode == kNearest) return i < 0 ? 0 : n - 1;
    if (mode == kReflect) {
        const int folded = modulo(i, 2 * n);
        return folded < n ? folded : 2 * n - 1 - folded;
    }
    if (mode == kMirror) {
        if (n == 1) return 0;
        const int folded = modulo(i, 2 * (n - 1));
        return folded < n ? folded : 2 * (n - 1) - folded;
    }
    return mode == kWrap ? modulo(i, n) : -1;
}

}  // namespace fastimg
