// Included before a kernel file by g++: what CUDA C++ has and C++ has not, on the CPU.
//
// A thread is a fibre, so all functions run as they are; what is shared between threads goes through runtime.hpp. Every
// standard header stands before the keywords, which are macros that those headers would trip over.
#pragma once

#define FASTIMG_CUDA_EMULATOR 1

#include <cmath>

#include "intrinsics.hpp"
#include "kernel.hpp"
#include "runtime.hpp"
#include "synchronisation.hpp"

constexpr int warpSize = 32;

#undef assert
#define assert(condition) \
    ((condition) ? (void)0 : emulator::fail(emulator::Location::here(), "assertion failed: %s", #condition))
EMULATOR_INLINE void __trap(EMULATOR_WHERE) { emulator::fail(where, "__trap()"); }

#undef __noinline__  // GCC has the word for an attribute
#define __global__ EMULATOR_KERNEL
#define __device__
#define __host__
#define __constant__ __attribute__((section(".data")))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...) EMULATOR_LAUNCH_BOUNDS(__VA_ARGS__)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

// Zero-initialised data, and nothing else, so that the runtime can fill all of it before each block; `used`, lest GCC
// conclude that what a kernel does not write stays zero.
#define __shared__ static __attribute__((used))

#define FASTIMG_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(emulator_dynamic_shared.data)
