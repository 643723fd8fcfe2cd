"""The emulator runs right kernels rightly, and finds the mistakes planted in wrong ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import cuda_emulator as emulator
import numpy as np
import pytest
from cuda_emulator import build

SCHEDULES = [("in_order", 0), ("reversed", 0), ("random", 1), ("random", 2), ("run_ahead", 1), ("run_ahead", 2)]


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: f"{schedule[0]} {schedule[1]}")
def any_schedule(request):
    with emulator.schedule(*request.param):
        yield


def device_array(values, dtype=None):
    return emulator.asarray(np.asarray(values, dtype))


def lines_of(code: str, mark: str) -> list[int]:
    """The numbers of the lines that hold the mark."""
    return [number for number, line in enumerate(code.splitlines(), 1) if mark in line]


# ---- right kernels ---------------------------------------------------------------------------------------------------

RIGHT = r"""
// Sums of all and of each block, by shuffles, shared memory and atomics.
extern "C" __global__ void __launch_bounds__(256) sums(const float* x, float* total, float* of_block, int n) {
    FASTIMG_DYNAMIC_SHARED(float, of_warp);
    const int lane = threadIdx.x % warpSize, warp = threadIdx.x / warpSize;
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int offset = 16; offset; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (lane == 0) of_warp[warp] = sum;
    __syncthreads();
    if (warp > 0) return;
    sum = lane < int(blockDim.x) / warpSize ? of_warp[lane] : 0.0f;
    for (int offset = 16; offset; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0) {
        of_block[blockIdx.x] = sum;
        atomicAdd(total, sum);
    }
}

// A transposition through a tile, in blocks of 32 x 8.
extern "C" __global__ void transpose(const float* in, float* out, int n) {
    __shared__ float tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * n + x];
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8) out[(y + j) * n + x] = tile[threadIdx.x][threadIdx.y + j];
}

// What a warp does together; 20 results of each lane.
extern "C" __global__ void collectives(int* out) {
    const unsigned all = 0xffffffffu, lane = threadIdx.x;
    const int value = int(lane) * 3 - 40;
    int results[20] = {
        __shfl_sync(all, value, 5), __shfl_sync(all, value, 5, 8), __shfl_up_sync(all, value, 3),
        __shfl_up_sync(all, value, 3, 16), __shfl_down_sync(all, value, 2), __shfl_down_sync(all, value, 2, 4),
        __shfl_xor_sync(all, value, 9), int(__ballot_sync(all, lane % 3 == 0)), __any_sync(all, lane == 7),
        __any_sync(all, lane == 40), __all_sync(all, lane < 32), __all_sync(all, lane < 31),
        __reduce_add_sync(all, value), __reduce_min_sync(all, value), __reduce_max_sync(all, value),
        int(__reduce_min_sync(all, unsigned(value))), int(__reduce_max_sync(all, unsigned(value))),
        int(__reduce_or_sync(all, 1u << lane)), 0, 0};
    if (lane < 8) results[18] = __shfl_sync(0xffu, value, 7);  // lanes that are left out go another way
    results[19] = int(__double_as_longlong(__shfl_sync(all, double(value), 1)) >> 52);
    for (int i = 0; i < 20; ++i) out[i * 32 + lane] = results[i];
}

extern "C" __global__ void votes(int* out, int limit) {
    const int i = threadIdx.x;
    out[i] = __syncthreads_count(i < limit);
    out[64 + i] = __syncthreads_and(i < limit);
    out[128 + i] = __syncthreads_or(i >= limit);
}

// Threads that have exited do not count at a barrier, nor lanes in a mask.
extern "C" __global__ void reverse(float* x, int n) {
    __shared__ float values[64];
    const int i = threadIdx.x;
    if (i >= n) return;
    values[i] = x[i];
    __syncthreads();
    __syncwarp();
    x[i] = values[n - 1 - i];
}

extern "C" __global__ void atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d) {
    const int t = threadIdx.x;
    atomicAdd(i, t), atomicSub(i + 1, t), atomicMin(i + 2, -t), atomicMax(i + 3, t);
    atomicAnd(u, ~(1u << t)), atomicOr(u + 1, 1u << t), atomicXor(u + 2, 1u << t);
    atomicCAS(u + 3, unsigned(t), unsigned(t) + 1);
    atomicAdd(l, 1ull << 40), atomicAdd(f, 0.5f), atomicAdd(d, 0.25);
    if (t == 0) f[1] = atomicExch(f + 2, 9.0f);
}

struct Point {
    float x;
    double y;
    const int* values;
};

extern "C" __global__ void by_value(double* out, const __grid_constant__ Point p, float f, double d, int i,
                                    long long l, unsigned char c, bool b) {
    const double all[] = {p.x, p.y, double(p.values[1]), f, d, double(i), double(l), double(c), double(b)};
    for (int k = 0; k < 9; ++k) out[k] = all[k];
}

extern "C" __global__ void subnormal(float* x) { x[1] = x[0] * 0.5f; }
"""


def right(name: str, *options: str):
    return emulator.RawModule(code=RIGHT, options=options).get_function(name)


def test_sums(any_schedule, rng):
    x = rng.random(5000, np.float32)
    total, of_block = emulator.zeros(1, np.float32), emulator.empty(4, np.float32)
    right("sums")((4,), (256,), (device_array(x), total, of_block, np.int32(5000)), shared_mem=32)
    assert np.allclose(total, x.sum(), rtol=1e-5)
    assert np.allclose(of_block.sum(), x.sum(), rtol=1e-5)


def test_transpose(any_schedule, rng):
    x = rng.random((64, 64), np.float32)
    result = emulator.empty((64, 64), np.float32)
    right("transpose")((2, 2), (32, 8), (device_array(x), result, np.int32(64)))
    assert np.array_equal(result, x.T)


def test_collectives(any_schedule):
    result = emulator.empty((20, 32), np.int32)
    right("collectives")((1,), (32,), (result,))
    lane = np.arange(32)
    value = lane * 3 - 40
    as_unsigned = value.astype(np.uint32)
    expected = [
        np.full(32, value[5]),
        value[lane // 8 * 8 + 5],
        value[np.where(lane < 3, lane, lane - 3)],
        value[np.where(lane % 16 < 3, lane, lane - 3)],
        value[np.where(lane > 29, lane, lane + 2)],
        value[np.where(lane % 4 > 1, lane, lane + 2)],
        value[lane ^ 9],
        np.full(32, sum(1 << i for i in range(0, 32, 3))),
        np.ones(32),
        np.zeros(32),
        np.ones(32),
        np.zeros(32),
        np.full(32, value.sum()),
        np.full(32, value.min()),
        np.full(32, value.max()),
        np.full(32, as_unsigned.min()),
        np.full(32, as_unsigned.max().astype(np.int32)),
        np.full(32, -1),
        np.where(lane < 8, value[7], 0),
        np.full(32, np.float64(value[1]).view(np.int64) >> 52),
    ]
    assert np.array_equal(result, np.array(expected).astype(np.int64).astype(np.int32))


def test_votes_of_a_block(any_schedule):
    result = emulator.empty((3, 64), np.int32)
    right("votes")((1,), (64,), (result, np.int32(40)))
    assert np.array_equal(result, [[40] * 64, [0] * 64, [1] * 64])


def test_exited_threads_do_not_count(any_schedule):
    x = device_array(np.arange(64), np.float32)
    right("reverse")((1,), (64,), (x, np.int32(50)))
    assert np.array_equal(x, [*range(49, -1, -1), *range(50, 64)])


def test_atomics(any_schedule):
    i, u = device_array([0, 0, 5, -5], np.int32), device_array([0xFFFFFFFF, 0, 0xFF, 0], np.uint32)
    long, f, d = device_array([7], np.uint64), device_array([0, 0, 4], np.float32), device_array([1], np.float64)
    right("atomics")((1,), (32,), (i, u, long, f, d))
    assert i.tolist() == [496, -496, -31, 31]
    assert u.tolist()[:3] == [0, 0xFFFFFFFF, 0xFFFFFF00]
    assert long.tolist() == [7 + (32 << 40)]
    assert f.tolist() == [16, 4, 9]
    assert d.tolist() == [9]


def test_arguments_by_value():
    values, result = device_array([1, 20, 3], np.int32), emulator.empty(9, np.float64)
    point = np.zeros((), np.dtype([("x", np.float32), ("y", np.float64), ("values", np.uint64)], align=True))
    point["x"], point["y"], point["values"] = 0.5, 1.25, values.__cuda_array_interface__["data"][0]
    arguments = (result, point, np.float32(1.5), 2.5, np.int32(-3), 4 << 40, np.uint8(200), True)
    right("by_value")((1,), (1,), arguments)
    assert result.tolist() == [0.5, 1.25, 20, 1.5, 2.5, -3, 4 << 40, 200, 1]


TEMPLATE = r"""
template <class T>
__device__ void add_one_of(T* x) {
    __shared__ T values[32];
    values[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    x[threadIdx.x] = values[31 - threadIdx.x] + T(1);
}
#ifdef TYPE
extern "C" __global__ void add_one(TYPE* x) { add_one_of(x); }
#endif
"""


def test_macros_and_templates():
    """Shared arrays of two instances of a template, in two libraries, are distinct."""
    for dtype, name in ((np.float32, "float"), (np.uint8, "unsigned char")):
        x = device_array(np.arange(32), dtype)
        module = emulator.RawModule(code=TEMPLATE, options=(f"-DTYPE={name}",))
        module.get_function("add_one")((1,), (32,), (x,))
        assert np.array_equal(x, np.arange(32, 0, -1))
    with pytest.raises(ValueError, match="no kernel .* add_one"):
        emulator.RawModule(code=TEMPLATE).get_function("add_one")


def test_subnormal_floats_are_zero_on_the_device_alone():
    x = device_array([1.5e-38, 1], np.float32)
    right("subnormal")((1,), (1,), (x,))
    assert x[1] == 0
    assert np.float32(1.5e-38) * np.float32(0.5) != 0


# ---- intrinsics ------------------------------------------------------------------------------------------------------

INTRINSICS = r"""
extern "C" __global__ void integers(long long* out) {
    int k = 0;
    const float nan = __int_as_float(0x7fc00000);
    const long long all[] = {
        __float2int_rn(2.5f), __float2int_rn(-3.5f), __float2int_rd(-2.5f), __float2int_ru(2.1f), __float2int_rz(-2.9f),
        __float2int_rn(1e20f), __float2int_rn(-1e20f), __float2int_rn(nan), __float2uint_rn(-5.0f),
        __float2uint_rz(1e20f), __double2int_rn(1e300), __float2uint_rn(4294967040.0f),
        min(3, -4), max(3u, 4u), min(5ll, -6ll), max(int64_t(1), int64_t(2)), (long long)max(nan, 3.0f),
        (long long)min(2.0, -3.0), abs(-7), (long long)fabsf(-8.0f),
        __popc(0xf0f0u), __popcll(~0ull), __clz(1), __clz(0), __clzll(1ll), __ffs(8), __ffs(0), __brev(1u),
        __byte_perm(0x33221100u, 0x77665584u, 0x7c40u), __umulhi(1u << 31, 6u), (long long)__umul64hi(1ull << 63, 6ull),
        __mul24(-3, 5), __funnelshift_l(0x80000000u, 1u, 1), __funnelshift_r(0x80000000u, 1u, 31),
        __dp4a(int(0xff020304), 0x01010101, 10), __dp4a(0xff020304u, 0x01010101u, 10u),
        __vabsdiffu4(0x05ff0010u, 0x0a000110u), __vsadu4(0x05ff0010u, 0x0a000110u), sizeof(float4), alignof(float4),
        alignof(uchar4), alignof(float2), sizeof(int3), alignof(int3), alignof(double2), make_int3(1, 2, 3).z};
    for (long long value : all) out[k++] = value;
}

extern "C" __global__ void floats(float* out) {
    float sine, cosine;
    sincosf(0.5f, &sine, &cosine);
    const float all[] = {rsqrtf(16.0f), __expf(1.0f), __logf(10.0f), __sinf(0.5f), __cosf(0.5f), sine, cosine,
                         __powf(2.0f, 0.5f), __fdividef(1.0f, 3.0f), __frcp_rn(3.0f), __fsqrt_rn(2.0f),
                         __saturatef(1.5f), __saturatef(-1.0f), __saturatef(__int_as_float(0x7fc00000)),
                         exp2f(1.5f), log2f(3.0f), rintf(2.5f), truncf(-2.5f), floorf(-2.5f), ceilf(-2.5f),
                         emulator::float_of_half(0x3555), emulator::float_of_half(emulator::half_of_float(65519.0f))};
    int k = 0;
    for (float value : all) out[k++] = value;
}

// a * b - c, fused and not: the fused one is what the product lost by rounding.
extern "C" __global__ void fused(float* x) {
    const float a = x[0], product = x[1];
    x[2] = __fmaf_rn(a, a, -product);
    x[3] = __fadd_rn(__fmul_rn(a, a), -product);
}
"""


def test_intrinsics_of_integers():
    result = emulator.empty(46, np.int64)
    emulator.RawModule(code=INTRINSICS).get_function("integers")((1,), (1,), (result,))
    expected = [2, -4, -3, 3, -2, 2**31 - 1, -(2**31), 0, 0, 2**32 - 1, 2**31 - 1, 4294967040]
    expected += [-4, 4, -6, 2, 3, -3, 7, 8]
    expected += [8, 64, 31, 32, 63, 4, 0, 1 << 31, 0x77FF8400, 3, 3, -15, 3, 3]
    expected += [10 - 1 + 2 + 3 + 4, 10 + 255 + 2 + 3 + 4, 0x05FF0100, 5 + 255 + 1, 16, 16, 4, 8, 12, 4, 16, 3]
    assert result.tolist() == expected


def test_intrinsics_of_floats():
    result = emulator.empty(22, np.float32)
    emulator.RawModule(code=INTRINSICS).get_function("floats")((1,), (1,), (result,))
    expected = [0.25, np.e, np.log(10), np.sin(0.5), np.cos(0.5), np.sin(0.5), np.cos(0.5), np.sqrt(2), 1 / 3, 1 / 3]
    expected += [np.sqrt(2), 1, 0, 0, 2**1.5, np.log2(3), 2, -2, -3, -2, np.array(0x3555, np.uint16).view(np.float16)]
    assert np.allclose(result, [*expected, 65504], rtol=1e-6, atol=0)


def test_what_is_rounded_is_not_fused():
    a = np.float32(1 + 2**-12)
    x = device_array([a, a * a, 0, 0], np.float32)
    emulator.RawModule(code=INTRINSICS).get_function("fused")((1,), (1,), (x,))
    assert x.tolist()[2:] == [2.0**-24, 0]


# ---- tensor cores ----------------------------------------------------------------------------------------------------

TENSOR_CORES = r"""
// One product of 16 x 16 by 16 x 8, its fragments gathered as the PTX ISA lays them out.
template <class Multiply>
__device__ void multiply(const uint16_t* a, const uint16_t* b, float* d, Multiply multiply) {
    const int group = threadIdx.x / 4, place = threadIdx.x % 4;
    uint32_t fragment_a[4], fragment_b[2];
    for (int i = 0; i < 4; ++i) {
        const uint16_t* pair = a + (group + i % 2 * 8) * 16 + place * 2 + i / 2 * 8;
        fragment_a[i] = pair[1] << 16 | pair[0];
    }
    for (int i = 0; i < 2; ++i) {
        const uint16_t* pair = b + (place * 2 + i * 8) * 8 + group;
        fragment_b[i] = pair[8] << 16 | pair[0];
    }
    float c[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    multiply(c, fragment_a, fragment_b);
    for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + place * 2 + i % 2] = c[i];
}

extern "C" __global__ void multiply_f16(const uint16_t* a, const uint16_t* b, float* d) {
    multiply(a, b, d, [](auto& c, auto& a, auto& b) { emulator::mma_m16n8k16_f16(c, a, b, c); });
}
extern "C" __global__ void multiply_bf16(const uint16_t* a, const uint16_t* b, float* d) {
    multiply(a, b, d, [](auto& c, auto& a, auto& b) { emulator::mma_m16n8k16_bf16(c, a, b, c); });
}

extern "C" __global__ void multiply_tf32(const uint32_t* a, const uint32_t* b, float* d) {
    const int group = threadIdx.x / 4, place = threadIdx.x % 4;
    uint32_t fragment_a[4], fragment_b[2];
    for (int i = 0; i < 4; ++i) fragment_a[i] = a[(group + i % 2 * 8) * 8 + place + i / 2 * 4];
    for (int i = 0; i < 2; ++i) fragment_b[i] = b[(place + i * 4) * 8 + group];
    float c[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    emulator::mma_m16n8k8_tf32(c, fragment_a, fragment_b, c);
    for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + place * 2 + i % 2] = c[i];
}

// The same product, its fragments by ldmatrix from shared memory.
extern "C" __global__ void multiply_loaded(const uint16_t* a, const uint16_t* b, float* d) {
    __shared__ __align__(16) uint16_t shared_a[16][24], shared_b[16][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) shared_a[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) shared_b[i / 8][i % 8] = b[i];
    __syncwarp();
    uint32_t fragment_a[4], fragment_b[2];
    emulator::ldmatrix<4>(fragment_a, &shared_a[lane % 16][lane / 16 * 8]);
    emulator::ldmatrix<2, true>(fragment_b, shared_b[lane % 16]);
    float c[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    emulator::mma_m16n8k16_f16(c, fragment_a, fragment_b, c);
    for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = c[i];
}

// The transposed copy that ldmatrix makes of one matrix.
extern "C" __global__ void load_one(const uint16_t* a, uint32_t* out) {
    __shared__ __align__(16) uint16_t matrix[8][8];
    for (int i = threadIdx.x; i < 64; i += 32) matrix[i / 8][i % 8] = a[i];
    __syncwarp();
    uint32_t plain[1], transposed[1];
    emulator::ldmatrix<1>(plain, matrix[threadIdx.x % 8]);
    emulator::ldmatrix<1, true>(transposed, matrix[threadIdx.x % 8]);
    out[threadIdx.x] = plain[0], out[32 + threadIdx.x] = transposed[0];
}

extern "C" __global__ void half_a_warp(float* x) {
    uint32_t a[4] = {}, b[2] = {};
    float c[4] = {};
    if (threadIdx.x < 16) return;
    emulator::mma_m16n8k16_f16(c, a, b, c);
}
"""
ADDED = np.array([[1, 2], [3, 4]]).repeat(8, axis=0)[:, [0, 1] * 4]  # what the kernels add to the product


def multiplied(name, a, b):
    result = emulator.empty((16, 8), np.float32)
    emulator.RawModule(code=TENSOR_CORES).get_function(name)((1,), (32,), (device_array(a), device_array(b), result))
    return np.asarray(result)


@pytest.mark.parametrize("name", ["multiply_f16", "multiply_loaded"])
def test_products_of_halves(any_schedule, name, rng):
    a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((16, 16), (16, 8)))
    result = multiplied(name, a.view(np.uint16), b.view(np.uint16))
    assert np.array_equal(result, (a.astype(float) @ b.astype(float) + ADDED).astype(np.float32))


def test_products_of_bf16(rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 16), (16, 8)))
    upper = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b)]
    exact = [(x.astype(np.uint32) << 16).view(np.float32).astype(float) for x in upper]
    assert np.array_equal(multiplied("multiply_bf16", *upper), (exact[0] @ exact[1] + ADDED).astype(np.float32))


def test_products_of_tf32(rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8)))
    result = multiplied("multiply_tf32", a.view(np.uint32), b.view(np.uint32))
    exact = [(x.view(np.uint32) & 0xFFFFE000).view(np.float32).astype(float) for x in (a, b)]
    assert np.array_equal(result, (exact[0] @ exact[1] + ADDED).astype(np.float32))


def test_one_matrix_loaded_and_transposed():
    matrix, result = np.arange(64, dtype=np.uint16).reshape(8, 8), emulator.empty((2, 32), np.uint32)
    emulator.RawModule(code=TENSOR_CORES).get_function("load_one")((1,), (32,), (device_array(matrix), result))
    halves = np.asarray(result).view(np.uint16).reshape(2, 8, 8)
    assert np.array_equal(halves, [matrix, matrix.T])


def test_a_product_needs_the_whole_warp():
    with pytest.raises(emulator.EmulatorError, match=r"f16 mma needs all 32 lanes, has 0xffff0000"):
        emulator.RawModule(code=TENSOR_CORES).get_function("half_a_warp")((1,), (32,), (emulator.zeros(1, np.float32),))


# ---- planted bugs: each macro plants one -----------------------------------------------------------------------------

WRONG = r"""
#ifdef NO_BARRIER
#define BARRIER
#else
#define BARRIER __syncthreads();
#endif

extern "C" __global__ void rotate(float* x) {
    __shared__ float values[256];
    values[threadIdx.x] = x[threadIdx.x];
    BARRIER
    x[threadIdx.x] = values[(threadIdx.x + 100) % 256];
}

// A loop that overwrites its tile, double buffered: the barrier at the end keeps the fast from overtaking the slow.
extern "C" __global__ void rotated_sums(const float* x, float* sums, int rounds) {
    __shared__ __align__(16) float tile[2][256];
    const int t = threadIdx.x;
    float sum = 0;
    emulator::async_copy(&tile[0][t], x + t, 4, 4);
    emulator::async_copy_commit();
    for (int i = 0; i < rounds; ++i) {
        if (i + 1 < rounds) emulator::async_copy(&tile[(i + 1) % 2][t], x + (i + 1) * 256 + t, 4, 4);
        emulator::async_copy_commit();
#ifndef NO_WAIT
        emulator::async_copy_wait(1);
#endif
        __syncthreads();
        sum += tile[i % 2][(t + 100) % 256];
        __syncwarp();  // as products on tensor cores are: the warps keep abreast where they take turns
        BARRIER
    }
    sums[t] = sum;
#ifndef NO_LAST_WAIT
    emulator::async_copy_wait(0);
#endif
}

extern "C" __global__ void without_syncwarp(float* x) {
    __shared__ float values[32];
    values[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = values[31 - threadIdx.x];
}

extern "C" __global__ void two_barriers(float* x) {
    if (threadIdx.x < 32) {
        __syncthreads();  // one
        x[0] = 1;
    } else {
        x[1] = 1;
        __syncthreads();  // the other
    }
}

extern "C" __global__ void deadlock(float* x) {
    if (threadIdx.x % 2)
        __syncwarp();  // odd
    else
        __syncthreads();  // even
    x[threadIdx.x] = 1;
}

extern "C" __global__ void not_in_mask(int* x) { x[threadIdx.x] = __shfl_sync(0xffffu, 1, 0); }

extern "C" __global__ void different_operations(int* x) {
    if (threadIdx.x < 16)
        x[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
    else
        x[threadIdx.x] = __ballot_sync(0xffffffffu, 1);
}

extern "C" __global__ void overlapping_masks(int* x) {
    if (threadIdx.x < 16)
        __syncwarp(0x1ffffu);
    else
        __syncwarp(0xffff8000u);
    x[threadIdx.x] = 1;
}

extern "C" __global__ void from_inactive_lane(int* x) {
    if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

extern "C" __global__ void unwritten(float* x) {
    __shared__ float values[32];
    FASTIMG_DYNAMIC_SHARED(float, more);
    x[threadIdx.x] = values[threadIdx.x];
    x[32 + threadIdx.x] = more[threadIdx.x];
}

extern "C" __global__ void leave_shared(float* x) {
    __shared__ float values[32];
    values[threadIdx.x] = 1;
    x[threadIdx.x] = values[threadIdx.x];
}

extern "C" __global__ void write_behind(float* x, int i) { x[i] = 1; }
extern "C" __global__ void write_behind_dynamic(float* x) {
    FASTIMG_DYNAMIC_SHARED(float, values);
    values[64] = x[0];
}
extern "C" __global__ void wild(float* x) {
    if (threadIdx.x == 3) *reinterpret_cast<float*>(64) = x[0];  // wild
}
extern "C" __global__ void bottomless(int* x, int n) {
    volatile int much[100000];
    much[n] = 1;
    x[0] = much[n] + much[0];
}
extern "C" __global__ void misaligned(float* x) { emulator::note_load(x + 1, 16); }
extern "C" __global__ void misaligned_copy(float* x) {
    __shared__ __align__(16) float values[8];
    emulator::async_copy(values, x + 1, 16, 16);
}
extern "C" __global__ void copy_to_global(float* x) { emulator::async_copy(x, x + 4, 16, 16); }
extern "C" __global__ void trapped(int* x) {
    assert(x[0] == 3);
    __trap();
}
"""


def wrong(name: str, *options: str):
    return emulator.RawModule(code=WRONG, options=options).get_function(name)


def rotated_sums_launch():
    """Grid, block and arguments."""
    return (1,), (256,), device_array(np.arange(2048), np.float32), emulator.empty(256, np.float32), np.int32(8)


def rotated_sums(*options):
    grid, block, *arguments = rotated_sums_launch()
    wrong("rotated_sums", *options)(grid, block, arguments)
    return np.array_equal(arguments[1], np.roll(np.arange(2048).reshape(8, 256).sum(axis=0), -100))


def rotate(*options):
    x = device_array(np.arange(256), np.float32)
    wrong("rotate", *options)((1,), (256,), (x,))
    return np.array_equal(x, np.roll(np.arange(256), -100))


def test_without_bugs(any_schedule):
    assert rotate()
    assert rotated_sums()


def test_missing_barrier(any_schedule):
    assert not rotate("-DNO_BARRIER")


@pytest.mark.parametrize("seed", range(10))
def test_missing_barrier_behind_a_double_buffer(seed):
    """Threads that keep abreast hide it."""
    with emulator.schedule("in_order"):
        assert rotated_sums("-DNO_BARRIER")
    with emulator.schedule("run_ahead", seed):
        assert not rotated_sums("-DNO_BARRIER")


def test_missing_wait(any_schedule):
    assert not rotated_sums("-DNO_WAIT")


def test_exit_with_copies_under_way():
    # The last group that the loop commits is empty; the copies before it are waited for.
    assert rotated_sums("-DNO_LAST_WAIT")
    with pytest.raises(emulator.EmulatorError, match="exits with asynchronous copies under way"):
        rotated_sums("-DNO_WAIT", "-DNO_LAST_WAIT")


def test_missing_syncwarp(any_schedule):
    x = device_array(np.arange(32), np.float32)
    wrong("without_syncwarp")((1,), (32,), (x,))
    assert not np.array_equal(x, np.arange(31, -1, -1))


def test_divergent_barrier(any_schedule):
    with pytest.raises(emulator.EmulatorError, match="wait at different barriers") as caught:
        wrong("two_barriers")((1,), (64,), (emulator.zeros(64, np.float32),))
    one, other = lines_of(WRONG, "// one")[0], lines_of(WRONG, "// the other")[0]
    assert caught.value.line == other
    assert f"kernel.cu:{one}, thread (0, 0, 0)" in caught.value.problem


def test_deadlock(any_schedule):
    with pytest.raises(emulator.EmulatorError) as caught:
        wrong("deadlock")((1,), (64,), (emulator.zeros(64, np.float32),))
    odd, even = lines_of(WRONG, "// odd")[0], lines_of(WRONG, "// even")[0]
    assert caught.value.problem == (
        f"deadlock: 32 threads wait in a __syncwarp of lanes 0xffffffff at kernel.cu:{odd}; "
        f"32 threads wait in the block's barrier at kernel.cu:{even}"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("not_in_mask", r"shuffle by lane \d+, which is not in its mask, 0x0000ffff"),
        ("different_operations", r"meets a (shuffle|vote) that lanes 0x\w+ do not take part in"),
        ("overlapping_masks", r"deadlock: 16 threads wait in a __syncwarp of lanes 0x0001ffff .* of lanes 0xffff8000"),
        ("misaligned", "16 bytes at a misaligned address"),
        ("misaligned_copy", "async_copy of 16 bytes from a misaligned address"),
        ("copy_to_global", "async_copy at 0x[0-9a-f]+, outside shared memory"),
        ("trapped", r"assertion failed: x\[0\] == 3"),
    ],
)
def test_what_a_device_does_not_allow(name, message):
    with pytest.raises(emulator.EmulatorError, match=message):
        wrong(name)((1,), (32,), (emulator.zeros(64, np.float32 if "mis" in name or "copy" in name else np.int32),))
    assert rotate()  # the next launch is none the worse


def test_an_error_says_where():
    x = emulator.zeros(4, np.int32)
    with pytest.raises(emulator.EmulatorError) as caught, emulator.schedule("in_order"):
        wrong("trapped")((2, 3), (4, 2), (x,))
    error = caught.value
    assert (error.kernel, error.block, error.thread) == ("trapped", (0, 0, 0), (0, 0, 0))
    assert (error.file, [error.line]) == ("kernel.cu", lines_of(WRONG, "assert(x"))
    assert str(error).startswith(f"trapped, block (0, 0, 0), thread (0, 0, 0), kernel.cu:{error.line}: assertion")


def test_lanes_that_take_no_part_give_garbage():
    x = emulator.zeros(16, np.int32)
    wrong("from_inactive_lane")((1,), (32,), (x,))
    assert (x == -1).all()


def test_shared_memory_is_garbage_at_first():
    """Of every block: not what the block before left there."""
    x = emulator.zeros(64, np.float32)
    wrong("leave_shared")((1,), (32,), (x,))
    wrong("unwritten")((2,), (32,), (x,), shared_mem=128)
    assert np.isnan(x).all()


def test_new_arrays_are_garbage():
    assert np.isnan(emulator.empty(100, np.float32)).all()


@pytest.mark.parametrize("i", [-1, 100, 1000])
def test_writing_beside_a_buffer(i):
    with pytest.raises(emulator.EmulatorError, match="something was written beside a buffer of 400 bytes"):
        wrong("write_behind")((1,), (1,), (emulator.zeros(100, np.float32), np.int32(i)))


def test_writing_behind_dynamic_shared_memory():
    x = emulator.zeros(1, np.float32)
    wrong("write_behind_dynamic")((1,), (1,), (x,), shared_mem=260)
    with pytest.raises(emulator.EmulatorError, match="written beside dynamic shared memory of 256 bytes"):
        wrong("write_behind_dynamic")((1,), (1,), (x,), shared_mem=256)


def test_segmentation_faults():
    with pytest.raises(emulator.EmulatorError, match="access to 0x40, where no memory is") as caught:
        wrong("wild")((1,), (32,), (emulator.zeros(1, np.float32),))
    assert caught.value.thread == (3, 0, 0)
    assert [caught.value.line] == lines_of(WRONG, "// wild"), caught.value
    with pytest.raises(emulator.EmulatorError, match="where no memory is"):  # a stack that overflows
        wrong("bottomless")((1,), (32,), (emulator.zeros(1, np.int32), np.int32(0)))
    assert rotate()


# ---- the memory checker ----------------------------------------------------------------------------------------------

WATCHED = r"""
extern "C" __global__ void between_warps(float* x) {
    __shared__ float values[64];
    values[threadIdx.x] = x[threadIdx.x];             // written
    x[threadIdx.x] = values[(threadIdx.x + 32) % 64];  // read
}

extern "C" __global__ void within_a_warp(float* x) {
    __shared__ float values[64];
    values[threadIdx.x] = x[threadIdx.x];  // written
#if defined(RIGHT)
    __syncwarp();
#elif defined(SHUFFLE)
    __shfl_sync(0xffffffffu, 1, 0);
#endif
    x[threadIdx.x] = values[threadIdx.x ^ 1];  // read
}

extern "C" __global__ void overwritten(float* x) {
    __shared__ float value;
    value = threadIdx.x;  // written
    __syncthreads();
    x[threadIdx.x] = value;
}

// Orders the two accesses by a barrier, but not the second round's write behind the first round's read.
extern "C" __global__ void second_round(float* x) {
    __shared__ float values[64];
    for (int i = 0; i < 2; ++i) {
        values[threadIdx.x] = x[threadIdx.x] + i;  // written
        __syncthreads();
        x[threadIdx.x] = values[63 - threadIdx.x];  // read
    }
}

// A copy is there for the thread that waited; for others after a barrier.
extern "C" __global__ void copied(const float* x, float* y) {
    __shared__ float values[64];
    const int t = threadIdx.x;
    emulator::async_copy(values + t, x + t, 4, 4);  // written
    emulator::async_copy_commit();
#ifdef RIGHT
    emulator::async_copy_wait(0);
    __syncthreads();
#else
    __syncthreads();
    emulator::async_copy_wait(0);
#endif
    y[t] = values[63 - t];  // read
}

extern "C" __global__ void counted(int* x) {
    __shared__ int count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    atomicAdd(&count, 1);  // written
#ifdef RIGHT
    __syncthreads();
#endif
    x[threadIdx.x] = count;  // read
}

extern "C" __global__ void between_blocks(const float* x, float* y, float* total) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = x[threadIdx.x];  // written
    atomicAdd(total, 1.0f);
#ifndef RIGHT
    y[64] += y[(blockIdx.x * blockDim.x + threadIdx.x) ^ 32];  // read
#endif
}

// Neighbouring bytes of a word belong to different threads.
extern "C" __global__ void of_bytes(const unsigned char* x, unsigned char* y) {
    __shared__ unsigned char values[64];
    values[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = values[63 - threadIdx.x];
}

extern "C" __global__ void partly_written(unsigned short* x) {
    __shared__ __align__(4) unsigned char values[128];
    values[2 * threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = values[2 * threadIdx.x];
    x[threadIdx.x] = reinterpret_cast<unsigned short*>(values)[threadIdx.x];  // read
}

extern "C" __global__ void unwritten(float* x) {
    FASTIMG_DYNAMIC_SHARED(float, values);
    if (blockIdx.x == 1) values[threadIdx.x] = 1;
    x[threadIdx.x] = values[threadIdx.x];  // read
}

extern "C" __global__ void outside(const float* x, float* y, int i) {
    y[0] = x[i];  // read
}
extern "C" __global__ void outside_shared(float* y, int i) {
    FASTIMG_DYNAMIC_SHARED(float, values);
    values[i] = y[0];  // written
}
extern "C" __global__ void misaligned(unsigned char* x) {
    *reinterpret_cast<volatile int*>(x + 2) = 0;  // written
}

struct Table {
    int first[8];
};
__constant__ int constants[4] = {1, 2, 3, 4};
extern "C" __global__ void own_memory(int* x, Table table, int n) {
    int values[8];
    for (int i = 0; i < n; ++i) values[i] = table.first[i] + constants[i % 4];
    x[0] = values[n / 2];
}

// ---- efficiency

extern "C" __global__ void columns(const float* x, float* y) {
    __shared__ float narrow[32][32], wide[32][33], two_way[64];
    __shared__ __align__(16) float4 vectors[64];
    const int t = threadIdx.x;
    float sum = x[t];  // coalesced
    sum += x[t * 8];   // strided
    sum += x[0];       // broadcast
    sum += x[t + 1];   // shifted
    for (int i = 0; i < 32; ++i) narrow[i][t] = wide[i][t] = sum;  // rows
    for (int i = t; i < 64; i += 32) two_way[i] = sum;
    for (int i = t; i < 64; i += 32) vectors[i] = make_float4(sum, sum, sum, sum);
    __syncwarp();
    for (int i = 0; i < 32; ++i) sum += narrow[t][i];  // narrow
    for (int i = 0; i < 32; ++i) sum += wide[t][i];    // wide
    sum += two_way[2 * t];                             // two-way
    sum += two_way[t / 2];                             // pairs
    emulator::note_load(&vectors[t], 16);              // vectors
    sum += emulator::unchecked_copy<float4>(&vectors[t]).x;
    emulator::note_load(&vectors[2 * t], 16);  // every other vector
    emulator::note_load(x + 4 * t, 16);        // vectors of global memory
    y[t] = sum;
}

extern "C" __global__ void matrices(unsigned* x) {
    __shared__ __align__(16) unsigned short close[16][64], apart[16][72];
    for (int i = threadIdx.x; i < 16 * 64; i += 32) close[i / 64][i % 64] = apart[i / 64][i % 64] = 0;
    __syncwarp();
    unsigned r[4];
    emulator::ldmatrix<4>(r, &close[threadIdx.x % 16][threadIdx.x / 16 * 8]);  // close
    emulator::ldmatrix<4>(r, &apart[threadIdx.x % 16][threadIdx.x / 16 * 8]);  // apart
    x[threadIdx.x] = r[0];
}
"""


RIGHT_ORDER = ("-DRIGHT",)


def watched(name, grid, block, *arguments, shared_mem=0, options=(), code=WATCHED):
    """A launch under the checker, and its report."""
    with emulator.checking() as report:
        function = emulator.RawModule(code=code, options=options).get_function(name)
        function(grid, block, arguments, shared_mem=shared_mem)
    return report


def found(report) -> set[tuple[str, str, int, int]]:
    return {(p.kind, p.space, p.line, p.other_line) for p in report.problems}


def line(kernel: str, mark: str, code: str = WATCHED) -> int:
    """The first line from the kernel's on that ends with the mark."""
    (start, *_) = [i for i, text in enumerate(code.splitlines()) if f" {kernel}(" in text]
    return next(i + 1 for i, text in enumerate(code.splitlines()) if i >= start and text.endswith(f"// {mark}"))


def test_races_between_warps(any_schedule):
    report = watched("between_warps", (1,), (64,), emulator.zeros(64, np.float32))
    written, read = line("between_warps", "written"), line("between_warps", "read")
    assert found(report) <= {
        ("read-after-write race", "shared", read, written),
        ("write-after-read race", "shared", written, read),
        ("uninitialised read", "shared", read, 0),
    }
    assert any("race" in p.kind for p in report.problems)
    assert {abs(p.thread[0] - p.other_thread) for p in report.problems if "race" in p.kind} == {32}


def test_races_within_a_warp(any_schedule):
    """A barrier of the warp orders its lanes; a shuffle does not."""
    x = emulator.zeros(64, np.float32)
    assert watched("within_a_warp", (1,), (64,), x, options=RIGHT_ORDER).problems == []
    for options in ((), ("-DSHUFFLE",)):
        report = watched("within_a_warp", (1,), (64,), x, options=options)
        assert any("race" in p.kind for p in report.problems)


def test_races_of_writes(any_schedule):
    written = line("overwritten", "written")
    report = watched("overwritten", (1,), (64,), emulator.zeros(64, np.float32))
    assert found(report) == {("write-after-write race", "shared", written, written)}


def test_races_with_the_round_before(any_schedule):
    """Found even where the order of threads happens to give the right result."""
    report = watched("second_round", (1,), (64,), emulator.zeros(64, np.float32))
    written, read = line("second_round", "written"), line("second_round", "read")
    assert ("write-after-read race", "shared", written, read) in found(report)
    with emulator.schedule("in_order"):
        report = watched("rotated_sums", *rotated_sums_launch(), options=("-DNO_BARRIER",), code=WRONG)
        assert {p.kind for p in report.problems} == {"write-after-read race"}


def test_races_with_copies_under_way(any_schedule):
    x = emulator.zeros(64, np.float32)
    assert watched("copied", (1,), (64,), x, emulator.empty(64, np.float32), options=RIGHT_ORDER).problems == []
    report = watched("copied", (1,), (64,), x, emulator.empty(64, np.float32))
    written, read = line("copied", "written"), line("copied", "read")
    assert found(report) & {
        ("read-after-write race", "shared", read, written),
        ("write-after-read race", "shared", written, read),
    }


def test_atomics_do_not_race_with_each_other(any_schedule):
    x = emulator.zeros(64, np.int32)
    assert watched("counted", (1,), (64,), x, options=RIGHT_ORDER).problems == []
    assert (x == 64).all()
    report = watched("counted", (1,), (64,), x)
    assert any("race" in p.kind and p.space == "shared" for p in report.problems)


def test_races_between_blocks(any_schedule):
    arguments = emulator.zeros(32, np.float32), emulator.zeros(65, np.float32), emulator.zeros(1, np.float32)
    assert watched("between_blocks", (2,), (32,), *arguments, options=RIGHT_ORDER).problems == []
    report = watched("between_blocks", (2,), (32,), *arguments)
    written, read = line("between_blocks", "written"), line("between_blocks", "read")
    races = {(p.line, p.other_line) for p in report.problems if p.space == "global" and "race" in p.kind}
    assert races & {(written, read), (read, written)}


def test_bytes_of_a_word_are_told_apart(any_schedule):
    x = device_array(np.arange(64), np.uint8)
    assert watched("of_bytes", (1,), (64,), x, emulator.empty(64, np.uint8)).problems == []
    report = watched("partly_written", (1,), (64,), emulator.empty(64, np.uint16))
    assert found(report) == {("uninitialised read", "shared", line("partly_written", "read"), 0)}
    assert report.problems[0].count == 64


def test_garbage_in_shared_memory(any_schedule):
    """What another block wrote there does not count."""
    report = watched("unwritten", (3,), (32,), emulator.empty(32, np.float32), shared_mem=128)
    assert ("uninitialised read", "shared", line("unwritten", "read"), 0) in found(report)
    (problem,) = (p for p in report.problems if p.kind == "uninitialised read")
    assert problem.count == 64
    assert problem.block[0] != 1


@pytest.mark.parametrize(("i", "space"), [(-1, "global"), (100, "global"), (1100, "global"), (10**9, "")])
def test_bounds_of_buffers(i, space):
    x, y = emulator.zeros(100, np.float32), emulator.zeros(1, np.float32)
    with emulator.checking() as report:
        function = emulator.RawModule(code=WATCHED).get_function("outside")
        function((1,), (1,), (x, y, np.int32(99)))
        assert report.problems == []
        try:
            function((1,), (1,), (x, y, np.int32(i)))
        except emulator.EmulatorError:
            assert i == 10**9
    assert found(report) == {("out of bounds", space, line("outside", "read"), 0)}


@pytest.mark.parametrize("i", [-1, 64])
def test_bounds_of_dynamic_shared_memory(i):
    with emulator.checking() as report:
        function = emulator.RawModule(code=WATCHED).get_function("outside_shared")
        function((1,), (1,), (emulator.zeros(1, np.float32), np.int32(63)), shared_mem=256)
        with pytest.raises(emulator.EmulatorError, match="beside dynamic shared memory"):
            function((1,), (1,), (emulator.zeros(1, np.float32), np.int32(i)), shared_mem=256)
    assert found(report) == {("out of bounds", "shared", line("outside_shared", "written"), 0)}


def test_misalignment():
    report = watched("misaligned", (1,), (1,), emulator.zeros(8, np.uint8))
    assert found(report) == {("misaligned", "global", line("misaligned", "written"), 0)}


def test_a_threads_own_memory_is_not_judged():
    x, table = emulator.zeros(1, np.int32), np.zeros((), [("first", np.int32, 8)])
    table["first"] = np.arange(8)
    assert watched("own_memory", (1,), (64,), x[:1], table, np.int32(8), code=WATCHED).problems != []  # all write x
    report = watched("own_memory", (1,), (1,), x, table, np.int32(8))
    assert report.problems == []
    assert {(a.kind, a.space) for a in report.accesses} == {("write", "global")}
    assert x[0] == 4 + 1


def test_right_kernels_have_no_problems(any_schedule, rng):
    x, zeros = device_array(rng.random((64, 64), np.float32)), emulator.zeros(64, np.float32)
    halves = emulator.zeros(256, np.uint16)
    for code, *launch in [
        (RIGHT, "sums", (4,), (256,), x, zeros, emulator.empty(4, np.float32), np.int32(4096)),
        (RIGHT, "transpose", (2, 2), (32, 8), x, emulator.empty((64, 64), np.float32), np.int32(64)),
        (RIGHT, "collectives", (1,), (32,), emulator.empty((20, 32), np.int32)),
        (RIGHT, "votes", (1,), (64,), emulator.empty(192, np.int32), np.int32(40)),
        (RIGHT, "reverse", (1,), (64,), zeros, np.int32(50)),
        (TENSOR_CORES, "multiply_loaded", (1,), (32,), halves, halves, emulator.empty(128, np.float32)),
        (WRONG, "rotated_sums", *rotated_sums_launch()),
    ]:
        assert watched(*launch, shared_mem=32, code=code).problems == [], launch


def test_passes_and_sectors():
    report = watched("columns", (1,), (32,), emulator.zeros(256, np.float32), emulator.zeros(32, np.float32))
    assert report.problems == []
    by_line = {a.line: a for a in report.accesses if a.kind == "read"}
    for mark, bytes_, requests, passes, ideal in [
        ("coalesced", 4, 1, 4, 4),
        ("strided", 4, 1, 32, 4),
        ("broadcast", 4, 1, 1, 1),
        ("shifted", 4, 1, 5, 4),
        ("narrow", 4, 32, 32 * 32, 32),
        ("wide", 4, 32, 32, 32),
        ("two-way", 4, 1, 2, 1),
        ("pairs", 4, 1, 1, 1),
        ("vectors", 16, 1, 4, 4),
        ("every other vector", 16, 1, 8, 4),
        ("vectors of global memory", 16, 1, 16, 16),
    ]:
        a = by_line[line("columns", mark)]
        assert (mark, a.bytes, a.requests, a.passes, a.ideal) == (mark, bytes_, requests, passes, ideal)
        assert a.worst == passes / requests
    written = {a.line: a for a in report.accesses if a.kind == "write" and a.space == "shared"}
    rows = written[line("columns", "rows")]
    assert (rows.requests, rows.passes) == (64, 64)


def test_passes_of_matrices():
    report = watched("matrices", (1,), (32,), emulator.zeros(32, np.uint32))
    by_line = {a.line: (a.requests, a.passes, a.ideal) for a in report.accesses if a.kind == "read"}
    assert by_line[line("matrices", "close")] == (1, 32, 4)
    assert by_line[line("matrices", "apart")] == (1, 4, 4)


def test_accesses_belong_to_the_kernels_lines(tmp_path):
    """What a header does counts where it is called."""
    (tmp_path / "load.cuh").write_text("template <class T>\n__device__ T load(const T* p) {\n    return *p;\n}\n")
    code = """#include "load.cuh"
extern "C" __global__ void add(float* x) {
    x[0] =
        load(x + 1) +
        load(x + 2);
}
"""
    report = watched("add", (1,), (1,), emulator.zeros(3, np.float32), options=(f"-I{tmp_path}",), code=code)
    assert [(a.file, a.line, a.kind) for a in report.accesses] == [
        ("kernel.cu", 3, "write"),
        ("kernel.cu", 4, "read"),
        ("kernel.cu", 5, "read"),
    ]


def test_reports_as_text():
    report = watched("between_warps", (1,), (64,), emulator.zeros(64, np.float32))
    text = str(report)
    assert "between_warps, block (0, 0, 0), thread (" in text
    assert "write of 4 bytes: 2 requests of 4.00 sectors, ideally 4.00, at most 4" in text


# ---- sanitizers ------------------------------------------------------------------------------------------------------

SANITIZED = r"""
extern "C" __global__ void right(float* x) {
    __shared__ float values[32];
    values[31 - threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = values[threadIdx.x];
}
extern "C" __global__ void static_shared(float* x) {
    __shared__ float values[32], others[32];
    others[threadIdx.x] = 0;
    values[threadIdx.x + 1] = x[threadIdx.x];  // 5
    __syncthreads();
    x[threadIdx.x] = values[threadIdx.x] + others[threadIdx.x];
}
extern "C" __global__ void dynamic_shared(float* x) {
    FASTIMG_DYNAMIC_SHARED(float, values);
    values[threadIdx.x + 1] = x[threadIdx.x];
}
extern "C" __global__ void global_memory(float* x) { x[threadIdx.x] = x[threadIdx.x + 1]; }
extern "C" __global__ void own_array(float* x) {
    volatile float values[4] = {};
    x[0] = values[int(x[1]) + 4];
}
extern "C" __global__ void saturating(float* x) { reinterpret_cast<unsigned char*>(x)[0] = x[0]; }
extern "C" __global__ void overflowing(int* x) { x[0] = (x[0] + 0x7fffffff) + 1; }
"""
SANITIZED_LAUNCH = """
import sys, numpy as np, cuda_emulator as emulator
module = emulator.RawModule(code=sys.argv[1])
x = emulator.asarray(np.full(32, 1000, sys.argv[3]))
if sys.argv[2] == "own_array":
    x[1] = 0
for name in ("right", sys.argv[2]) if sys.argv[3] == "f4" else (sys.argv[2],):
    print(name, flush=True)
    module.get_function(name)((2,), (32,), (x,), shared_mem=128)
print("done")
"""


@pytest.mark.parametrize(
    ("kernel", "dtype", "report"),
    [
        ("right", "f4", None),
        ("static_shared", "f4", "index 32 out of bounds for type 'float [32]'"),
        ("dynamic_shared", "f4", "heap-buffer-overflow"),
        ("global_memory", "f4", "heap-buffer-overflow"),
        ("own_array", "f4", "index 4 out of bounds for type 'float [4]'"),
        ("saturating", "f4", "1000 is outside the range of representable values of type 'unsigned char'"),
        ("overflowing", "i4", "signed integer overflow"),
    ],
)
def test_sanitizers(kernel, dtype, report):
    done = emulator.run_sanitized("-c", SANITIZED_LAUNCH, SANITIZED, kernel, dtype)
    assert kernel in done.stdout
    if report is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode != 0
        assert "done" not in done.stdout
        assert report in done.stderr
        assert "kernel.cu:" in done.stderr


def test_right_kernels_under_sanitizers():
    names = " or ".join(
        f"test_{name}" for name in ("sums", "transpose", "collectives", "votes", "products", "intrinsics")
    )
    done = emulator.run_sanitized("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", names)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- launches --------------------------------------------------------------------------------------------------------


def test_arguments_are_checked():
    sums, x, total = right("sums"), emulator.zeros(8, np.float32), emulator.zeros(1, np.float32)
    for arguments, message in [
        ((x, total, total), "sums takes 4 arguments, not 3"),
        ((x, total, total, 8), "argument 3 of sums is an integer of 4 bytes; int64 was given"),
        ((x, total, total, np.float32(8)), "argument 3 of sums is an integer of 4 bytes; float32 was given"),
        ((x, total, x.astype(np.float64), np.int32(8)), "argument 2 .* values of 4 bytes; an array of float64"),
        ((x, total, np.int32(3), np.int32(8)), "argument 2 of sums is a pointer to values of 4 bytes; int32"),
        ((np.zeros(3), total, total, np.int32(8)), "3 values on the host cannot be passed"),
        ((x, total, total, "8"), "argument 3 of sums: str cannot be passed"),
    ]:
        with pytest.raises(TypeError, match=message):
            sums((1,), (32,), arguments, shared_mem=32)
    struct = np.zeros((), [("x", np.float32), ("y", np.float64), ("values", np.uint64)])  # packed: 20 bytes
    with pytest.raises(TypeError, match="a struct of 24 bytes"):
        right("by_value")((1,), (1,), (x.astype(float), struct, np.float32(1), 1.0, np.int32(1), 1, np.uint8(1), True))


def test_limits_of_a_launch():
    reverse, x = right("reverse"), emulator.zeros(64, np.float32)
    for grid, block, shared, message in [
        ((0,), (32,), 0, "a grid of"),
        ((1, 65536), (32,), 0, "a grid of"),
        ((1,), (32, 33), 0, "the kernel allows 1024 threads"),
        ((1,), (1, 1, 65), 0, "a block of"),
        ((1,), (32,), (48 << 10) + 4, f"max_dynamic_shared_size_bytes is {(48 << 10) - reverse.shared_size_bytes}"),
    ]:
        with pytest.raises(emulator.EmulatorError, match=message):
            reverse(grid, block, (x, np.int32(4)), shared_mem=shared)
    reverse.max_dynamic_shared_size_bytes = 100 << 10
    reverse((1,), (32,), (x, np.int32(4)), shared_mem=100 << 10)
    with pytest.raises(emulator.EmulatorError, match="a block has at most 232448"):
        reverse.max_dynamic_shared_size_bytes = 228 << 10
    with pytest.raises(emulator.EmulatorError, match="the kernel allows 256 threads"):
        right("sums")((1,), (512,), (x, x, x, np.int32(1)))


def test_recording():
    reverse, x = right("reverse"), emulator.zeros(64, np.float32)
    with emulator.recording() as launches:
        reverse((1, 2), (64,), (x, np.int32(4)), shared_mem=16)
        reverse((3,), (32, 2), (x, np.int32(4)))
    reverse((1,), (64,), (x, np.int32(4)))
    assert launches == [
        emulator.LaunchRecord("reverse", (1, 2, 1), (64, 1, 1), 16),
        emulator.LaunchRecord("reverse", (3, 1, 1), (32, 2, 1), 0),
    ]


def test_capture():
    reverse, x = right("reverse"), emulator.asarray(np.arange(64, dtype=np.float32))
    stream = emulator.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        reverse((1,), (64,), (x, np.int32(4)))
        for at_once in (lambda: x + 1, lambda: emulator.asnumpy(x), stream.synchronize):
            with pytest.raises(RuntimeError, match="while a stream is captured"):
                at_once()
        graph = stream.end_capture()
    before = emulator.asnumpy(x)
    np.testing.assert_array_equal(before, np.arange(64))
    graph.launch()
    once = emulator.asnumpy(x)
    assert (once != before).any()
    graph.launch()
    np.testing.assert_array_equal(emulator.asnumpy(x), before)


def test_compiler_errors_name_the_line():
    with pytest.raises(emulator.CompileError, match="kernel.cu:2:.*'missing' was not declared"):
        emulator.RawModule(code='\nextern "C" __global__ void f() { missing = 1; }').get_function("f")


def test_headers_and_file_names(tmp_path):
    """A header that changes, and not another's, makes a library anew; a file beside the headers gives its name."""
    (tmp_path / "support").mkdir()
    header, unrelated = tmp_path / "support" / "value.cuh", tmp_path / "unrelated.cuh"
    code = '#include "support/value.cuh"\nextern "C" __global__ void f(int* x) { assert(x[0] == 0); x[0] = value; }'
    (tmp_path / "f.cu").write_text(code)
    options = ("-std=c++17", f"-I{tmp_path}", "-DUNKNOWN=3")

    def run(value, x):
        header.write_text(f"constexpr int value = {value};")
        unrelated.write_text(f"// {value}")
        emulator.RawModule(code=code, options=options, backend="nvrtc").get_function("f")((1,), (1,), (x,))

    x = emulator.zeros(1, np.int32)
    run(3, x)
    assert x[0] == 3
    x.fill(0)
    run(4, x)
    assert x[0] == 4
    with pytest.raises(emulator.EmulatorError) as caught:
        run(4, x)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "f.cu"), 2)


def test_options_that_change_arithmetic_are_refused():
    with pytest.raises(ValueError, match="use_fast_math"):
        right("reverse", "--use_fast_math")


# ---- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_have_cudas_interface():
    x = emulator.zeros((4, 6), np.float32)
    interface = x.__cuda_array_interface__
    assert interface["version"] == 3
    assert interface["data"] == (x.ctypes.data, False)
    assert (interface["shape"], interface["typestr"], interface["strides"]) == ((4, 6), "<f4", None)
    assert interface["data"][0] % 256 == 0
    assert x.device.id == 0


def test_views_stay_on_the_device():
    x = emulator.asarray(np.arange(24, dtype=np.uint16).reshape(2, 3, 4))
    for view in (
        x[1],
        x[:, ::-1],
        x.T,
        x[..., None],
        np.moveaxis(x, 0, -1),
        x.reshape(6, 4),
        np.broadcast_to(x, (5, 2, 3, 4), subok=True),
    ):
        assert type(view) is emulator.ndarray
        assert view.__cuda_array_interface__["data"][0] == view.ctypes.data
        assert np.may_share_memory(view, x)
    view = x[1, 1:]
    pointer = view.ctypes.data
    del x
    assert view.tolist() == [[16, 17, 18, 19], [20, 21, 22, 23]]
    assert view.__cuda_array_interface__["data"][0] == pointer


def test_copies_and_results_are_on_the_device():
    x = emulator.asarray([[1, 2], [3, 4]], np.float32)
    for result in (x.astype(np.uint8), x.copy(), x + 1, 2 * x, np.sqrt(x), x.astype(np.float32, copy=False)):
        assert type(result) is emulator.ndarray
        assert result.__cuda_array_interface__["data"][0] % 256 == 0
    assert (x.min(), x.max(), x.mean()) == (1, 4, 2.5)
    for host in (x.get(), emulator.asnumpy(x)):
        assert type(host) is np.ndarray
        assert not np.may_share_memory(host, x)
    assert emulator.asarray(x) is x
    assert emulator.asarray(np.asfortranarray(x.get())).strides == (4, 8)
    x += 1
    assert x.tolist() == [[2, 3], [4, 5]]


def test_arrays_of_other_libraries_are_taken_as_they_are():
    x = emulator.asarray(np.arange(12, dtype=np.int32).reshape(3, 4))[:, ::2]
    other = SimpleNamespace(__cuda_array_interface__=x.__cuda_array_interface__)
    taken = emulator.asarray(other)
    assert type(taken) is emulator.ndarray
    assert (taken.ctypes.data, taken.strides, taken.tolist()) == (x.ctypes.data, x.strides, x.tolist())
    assert emulator.asarray(other, np.float32).tolist() == x.tolist()


def test_other_memory_is_not_passed_off_as_the_devices():
    with pytest.raises(TypeError, match="not in the emulated device's memory"):
        _ = np.zeros(3).view(emulator.ndarray).__cuda_array_interface__


def test_devices_and_streams():
    with emulator.cuda.Device(0) as device:
        assert (device.id, device.compute_capability) == (0, "90")
        assert device.attributes["MaxSharedMemoryPerBlockOptin"] == 227 << 10
    with pytest.raises(emulator.cuda.runtime.CUDARuntimeError):
        emulator.cuda.Device(1)
    assert emulator.cuda.get_current_stream().ptr == 0
    with emulator.cuda.ExternalStream(77, 0):
        assert emulator.cuda.get_current_stream().ptr == 77
    assert emulator.cuda.get_current_stream().ptr == 0
    assert emulator.is_available()


def test_libraries_of_another_checkout_are_others(monkeypatch, tmp_path):
    """Their lines bear its name: with this one's folder they would be taken for the kernel's own."""
    here = build._emulator_text()
    monkeypatch.setattr(build, "SOURCES", Path(shutil.copytree(build.SOURCES, tmp_path / "csrc")))
    assert build._emulator_text.__wrapped__() != here
