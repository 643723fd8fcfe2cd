// Matrix products of a warp on tensor cores: D = A B + C for A of 16 × 16 halves, B of 16 × 8, C and D of 16 × 8 floats.
//
// Each of the 32 lanes holds a part of the matrices. With g = lane / 4 and q = lane % 4 (PTX ISA, "Matrix fragments for
// mma.m16n8k16"), a register of two halves holding columns 2 q and 2 q + 1, or rows for B:
//   A  a[0]: row g, columns 2 q ..      a[1]: row g + 8      a[2], a[3]: the same rows, columns 8 + 2 q ..
//   B  b[0]: column g, rows 2 q ..      b[1]: rows 8 + 2 q ..
//   C  c[0], c[1]: row g, columns 2 q, 2 q + 1      c[2], c[3]: row g + 8
#pragma once

#include "async_copy.cuh"

namespace fastimg {

__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
#if defined(FASTIMG_CUDA_EMULATOR)
    emulator::mma_m16n8k16_f16(d, a, b, c);
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else  // sm_75 multiplies 16 × 8 by 8 × 8: two halves of the inner dimension
    asm volatile(
        "{\n"
        ".reg .f32 t<4>;\n"
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {t0,t1,t2,t3}, {%4,%5}, {%8}, {%10,%11,%12,%13};\n"
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%6,%7}, {%9}, {t0,t1,t2,t3};\n"
        "}"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}

// N matrices of 8 × 8 halves from shared memory into a register each, spread over the warp as the products want them:
// lane 8 i + r gives the address of row r of matrix i, aligned to 16 bytes. Transposed: the rows given are columns.
template <int N, bool Transposed = false>
__device__ inline void load_matrices(uint32_t (&r)[N], const void* row) {
    static_assert(N == 1 || N == 2 || N == 4, "what ldmatrix loads");
#ifdef FASTIMG_CUDA_EMULATOR
    emulator::ldmatrix<N, Transposed>(r, row);
#else
    const uint32_t address = shared_address(row);
    if constexpr (N == 4 && !Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    else if constexpr (N == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    else if constexpr (N == 2 && !Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    else if constexpr (N == 2)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    else if constexpr (!Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(r[0])
                     : "r"(address)
                     : "memory");
#endif
}

// The transpose of an 8 × 8 matrix of halves: lane 4 r + c / 2 holds row r, columns c and c + 1, before and after.
__device__ inline uint32_t transpose_matrix(uint32_t x) {
#ifdef FASTIMG_CUDA_EMULATOR
    const int lane = thread_in_block() % kWarp, row = lane / 4, column = lane % 4 * 2;
    const uint32_t low = __shfl_sync(kFullWarp, x, 4 * column + row / 2);
    const uint32_t high = __shfl_sync(kFullWarp, x, 4 * (column + 1) + row / 2);
    return row % 2 ? low >> 16 | (high & 0xffff0000u) : (low & 0xffffu) | high << 16;
#else
    uint32_t result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(x));
    return result;
#endif
}

}  // namespace fastimg
