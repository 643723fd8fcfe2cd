// Copies from global to shared memory that pass no register and overlap with work (cp.async, from sm_80 on; before it, a
// plain copy). Commit what was issued as a group, wait until at most N groups are under way, then a barrier: a wait
// makes a thread's own copies visible to itself alone.
#pragma once

#include "vector_access.cuh"

namespace fastimg {

#ifndef FASTIMG_CUDA_EMULATOR
__device__ inline uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }
#endif

// Copies 4, 8 or 16 aligned bytes; zeros instead, without reading `from`, unless `inside`.
template <int Bytes>
__device__ inline void async_copy(void* to, const void* from, bool inside = true) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "what cp.async copies");
#if defined(FASTIMG_CUDA_EMULATOR)
    emulator::async_copy(to, from, Bytes, inside ? Bytes : 0);
#elif __CUDA_ARCH__ >= 800
    const int bytes_read = inside ? Bytes : 0;
    if constexpr (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                     "r"(bytes_read)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(shared_address(to)), "l"(from),
                     "r"(bytes_read), "n"(Bytes)
                     : "memory");
#else
    typedef typename WordsOf<Bytes>::type Words;
    *static_cast<Words*>(to) = inside ? *static_cast<const Words*>(from) : Words{};
#endif
}

__device__ inline void async_commit() {
#if defined(FASTIMG_CUDA_EMULATOR)
    emulator::async_copy_commit();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int GroupsLeft>
__device__ inline void async_wait() {
#if defined(FASTIMG_CUDA_EMULATOR)
    emulator::async_copy_wait(GroupsLeft);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
#endif
}

}  // namespace fastimg
