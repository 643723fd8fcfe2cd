// Linear BGR to Lab and back in 8 bits, by whole numbers and tables (csrc/cpu/opencv_lab.hpp): equal to the CPU's results.
//
// A thread has a pixel. Six bytes and two or three entries of tables that L1 or L2 holds against some 40 instructions:
// neither images nor arithmetic bind, the look-ups do.
//
// Macros: AXES (of pixels, after merging).
#include "support/offset.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

struct Parameters {
    View<AXES> from, to;
    int64_t from_channel, to_channel;
    int64_t pixels;
    int64_t shape[AXES];
    const int32_t* roots;      // to Lab: cube roots
    const int32_t* lightness;  // from Lab: Y and f(Y) for every L
    const int32_t* cubes;      // from Lab: from index first_cube on
    int32_t first_cube;
    int32_t coefficients[9];
};

struct Triple {
    int values[3];
};

__device__ int rounded_shift(int value, int bits) { return (value + (1 << (bits - 1))) >> bits; }

// The sum over a row of the coefficients.
__device__ int product(const Parameters& parameters, int row, int a, int b, int c) {
    const int32_t* const coefficients = parameters.coefficients + 3 * row;
    return coefficients[0] * a + coefficients[1] * b + coefficients[2] * c;
}

__device__ Triple lab_of_bgr(const Triple& bgr, const Parameters& parameters) {
    int root[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const int sum = product(parameters, i, bgr.values[2], bgr.values[1], bgr.values[0]);
        root[i] = parameters.roots[rounded_shift(8 * sum, 12)];
    }
    constexpr int kLightness = (116 * 255 + 50) / 100, kBlack = (16 * 255 * (1 << 15) + 50) / 100;
    return {rounded_shift(kLightness * root[1] - kBlack, 15),
            rounded_shift(500 * (root[0] - root[1]) + (128 << 15), 15),
            rounded_shift(200 * (root[1] - root[2]) + (128 << 15), 15)};
}

__device__ Triple bgr_of_lab(const Triple& lab, const Parameters& parameters) {
    const int32_t* const of_level = parameters.lightness + 2 * lab.values[0];
    const int y = of_level[0], root_y = of_level[1];
    constexpr int kOne = 1 << 14;  // the next two are a / 500 and b / 200 to OpenCV's precision
    const int from_a = ((5 * lab.values[1] * 53687 + (1 << 7)) >> 13) - 128 * kOne / 500;
    const int from_b = ((lab.values[2] * 41943 + (1 << 4)) >> 9) - 128 * kOne / 200 + 1;
    const int x = parameters.cubes[root_y + from_a - parameters.first_cube];
    const int z = parameters.cubes[root_y - from_b - parameters.first_cube];
    Triple bgr;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const int linear = min(max(rounded_shift(product(parameters, 2 - i, x, y, z), 14), 0), 4095);
        bgr.values[i] = 255 * linear >> 12;
    }
    return bgr;
}

template <class F>
__device__ void convert_pixel(const Parameters& parameters, F&& convert) {
    const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= parameters.pixels) return;
    const uint8_t* const from =
        parameters.from.at<const uint8_t>() + offset_of<AXES>(i, parameters.shape, parameters.from.stride);
    uint8_t* const to = parameters.to.at<uint8_t>() + offset_of<AXES>(i, parameters.shape, parameters.to.stride);
    const int64_t step = parameters.from_channel;
    const Triple converted = convert(Triple{from[0], from[step], from[2 * step]}, parameters);
#pragma unroll
    for (int c = 0; c < 3; ++c) to[c * parameters.to_channel] = uint8_t(min(max(converted.values[c], 0), 255));
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) opencv_bgr_to_lab(const Parameters parameters) {
    convert_pixel(parameters, lab_of_bgr);
}

extern "C" __global__ void __launch_bounds__(256) opencv_lab_to_bgr(const Parameters parameters) {
    convert_pixel(parameters, bgr_of_lab);
}
