// One source, three compilers: NVRTC on the user's machine, nvcc, and g++ with the emulator of tests/cuda_emulator, which
// runs the very same kernels on a CPU. This header, included first by every kernel, levels what differs among them.
//
// Rules that keep a kernel fit for all three: no headers but the project's; inline PTX only in support/, beside its
// emulated form; dynamic shared memory through FASTIMG_DYNAMIC_SHARED; shared arrays of constant size and trivial type;
// full-warp masks; no barrier under a condition that differs between threads; no barrier between blocks.
#pragma once

#ifndef FASTIMG_CUDA_EMULATOR

#ifdef __CUDACC_RTC__  // it has no <stdint.h>
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

// The block's dynamic shared memory as a pointer `name` to T. One per kernel.
#define FASTIMG_DYNAMIC_SHARED(T, name)                                      \
    extern __shared__ __align__(128) unsigned char fastimg_dynamic_shared[]; \
    T* const name = reinterpret_cast<T*>(fastimg_dynamic_shared)

#endif

namespace fastimg {

__device__ constexpr int kWarp = 32;
__device__ constexpr unsigned kFullWarp = 0xffffffffu;

template <class T>
__device__ constexpr T divide_up(T a, T b) {
    return (a + b - 1) / b;
}

template <class T>
__device__ constexpr T round_up(T n, T unit) {
    return divide_up(n, unit) * unit;
}

// The place of a thread in its block, and the block's threads, for blocks of any shape.
__device__ inline int thread_in_block() {
    return int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ inline int threads_in_block() { return int(blockDim.x * blockDim.y * blockDim.z); }

// The same number, of which the compiler knows nothing: what is made of it in a loop is not kept in registers around it.
__device__ inline int opaque(int x) {
#ifndef FASTIMG_CUDA_EMULATOR
    asm volatile("" : "+r"(x));
#endif
    return x;
}

template <class A, class B>
struct IsSame {
    static constexpr bool value = false;
};
template <class A>
struct IsSame<A, A> {
    static constexpr bool value = true;
};
template <class A, class B>
__device__ constexpr bool is_same = IsSame<A, B>::value;

}  // namespace fastimg
