// Mean squared error: mean((a - b)^2) over all elements of two arrays (csrc/cpu/mean_squared_error.hpp).
//
// A thread takes four units of 16 bytes of each array, a block's lying side by side; four to eight loads are
// under way before the first is used, 16 to 32 KB to a block: bound by memory. A block leaves one sum, another launch
// adds up the sums: the result depends on the shapes alone.
//
// Sums of integers are exact: of uint8 as a^2 + b^2 - 2 a b, three products of four bytes each (dp4a), a quarter of
// them an instruction per element; of uint16 in 64 bits. The difference of floats is rounded once, to float, so that
// the mean is within 2^-23 of itself; squares and sums are in double: two of its operations per element, which even
// devices of 1/64 of the rate do about as fast as memory brings elements.
//
// Bytes per element: 2 to 8. Issue slots per element (sm_90): 1.4 for uint8, 7 uint16, 7 half, 6.5 float.
//
// Macros: IN (type of samples), AXES (after merging; the last runs fastest).
#include "support/sums.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kBlock = 256, kUnits = 4;        // threads; units to a thread
__device__ constexpr int kLength = 16 / int(sizeof(IN));  // elements of a unit
__device__ constexpr int kMostAxes = 8;

struct Parameters {
    View<kMostAxes> a, b;
    double* result;  // one sum to a block
    int64_t units, units_of_row;
    int64_t shape[kMostAxes];
    double divisor;
    int32_t vectors;  // whether units of both may be loaded in one piece
};

typedef Pack<IN, kLength> Unit;

// Where a unit lies: the elements of a row that are its own, and the row's beginning in both arrays.
struct Place {
    const IN *a, *b;
    int64_t column;
    int length;  // 0 beyond the arrays
};

__device__ Place locate(const Parameters& parameters, int64_t number) {
    int64_t row = 0, column = number;
    if (AXES > 1) {
        if (parameters.units >> 32 == 0) {  // a division of 32 bits takes a fifth of the time
            row = uint32_t(number) / uint32_t(parameters.units_of_row);
        } else {
            row = number / parameters.units_of_row;
        }
        column = number - row * parameters.units_of_row;
    }
    column *= kLength;
    int64_t a = 0, b = 0;
#pragma unroll
    for (int axis = AXES - 2; axis >= 0; --axis) {
        const int64_t rest = axis > 0 ? row / parameters.shape[axis] : 0;
        const int64_t i = row - rest * parameters.shape[axis];
        a += i * parameters.a.stride[axis];
        b += i * parameters.b.stride[axis];
        row = rest;
    }
    const int64_t left = number < parameters.units ? parameters.shape[AXES - 1] - column : 0;
    return {static_cast<const IN*>(parameters.a.data) + a, static_cast<const IN*>(parameters.b.data) + b, column,
            left < kLength ? int(left) : kLength};
}

// What a thread adds up: at most 4 units, whose squares fit 32 bits for uint8, even those of a block.
struct Sum {
    double total = 0;
    uint64_t wide = 0;
    uint32_t squares = 0, products = 0;

    template <class T>
    __device__ void add(T a, T b) {
        if constexpr (is_same<T, uint8_t>) {
            squares += uint32_t(a) * a + uint32_t(b) * b;
            products += uint32_t(a) * b;
        } else if constexpr (is_same<T, uint16_t>) {
            const int d = int(a) - int(b);
            const uint32_t size = d < 0 ? -d : d;
            wide += uint64_t(size) * size;
        } else {
            const double d = double(to_float(a) - to_float(b));
            total = fma(d, d, total);
        }
    }

    __device__ void add_word(uint32_t a, uint32_t b) {  // of four uint8
        squares = __dp4a(a, a, __dp4a(b, b, squares));
        products = __dp4a(a, b, products);
    }

    __device__ void add_unit(const Unit& a, const Unit& b) {
        if constexpr (is_same<IN, uint8_t>) {
            const uint4 x = bits_as<uint4>(a), y = bits_as<uint4>(b);
            add_word(x.x, y.x);
            add_word(x.y, y.y);
            add_word(x.z, y.z);
            add_word(x.w, y.w);
        } else {
#pragma unroll
            for (int i = 0; i < kLength; ++i) add(a.values[i], b.values[i]);
        }
    }

    __device__ double of_block() const {
        if constexpr (is_same<IN, uint8_t>)
            return double(sum_of_block(squares - 2 * products));
        else if constexpr (is_same<IN, uint16_t>)
            return double(sum_of_block(wide));
        else
            return sum_of_block(total);
    }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kBlock) mean_squared_error(const Parameters parameters) {
    const int64_t first = int64_t(blockIdx.x) * (kBlock * kUnits) + threadIdx.x;
    Place places[kUnits];
    bool whole = parameters.vectors;
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
        places[k] = locate(parameters, first + k * kBlock);
        whole &= places[k].length == kLength;
    }
    Sum sum;
    if (whole) {
        Unit a[kUnits], b[kUnits];
#pragma unroll
        for (int k = 0; k < kUnits; ++k) {
            a[k] = load_pack<kLength>(places[k].a + places[k].column);
            b[k] = load_pack<kLength>(places[k].b + places[k].column);
        }
#pragma unroll
        for (int k = 0; k < kUnits; ++k) sum.add_unit(a[k], b[k]);
    } else {
        const int64_t a_stride = parameters.a.stride[AXES - 1], b_stride = parameters.b.stride[AXES - 1];
#pragma unroll 1
        for (int64_t number = first; number < first + kUnits * kBlock; number += kBlock) {
            const Place place = locate(parameters, number);
            const IN* a = place.a + place.column * a_stride;
            const IN* b = place.b + place.column * b_stride;
#pragma unroll 4
            for (int i = 0; i < place.length; ++i) sum.add(a[i * a_stride], b[i * b_stride]);
        }
    }
    const double total = sum.of_block();
    if (threadIdx.x == 0) parameters.result[blockIdx.x] = total / parameters.divisor;
}

extern "C" __global__ void __launch_bounds__(1024) mean_of_shares(const Shares shares) { add_shares(shares); }
