// Transposed 2-D convolution ("deconvolution") of float32 images with bias and activation (csrc/cpu/
// conv_transpose2d.hpp): every input in[n, c, i, j] adds weight[c, o, u, v] * in[n, c, i, j] to
// out[n, o, i*s - p + u*d, j*s - p + v*d].
//
// Gathered by output: y takes in[i] through tap u wherever y = i*s - p + u*d. The outputs of one remainder of y modulo s, a
// phase, are an ordinary convolution of the input with those taps u for which (y + p - u*d) divides by s; no zero is ever
// inserted. A cell is one output of each phase, s × s of them, which read mostly the same inputs: an input that is
// loaded once serves all phases. support/convolution.cuh says how the work is tiled.
//
// Macros: KERNEL_Y, KERNEL_X, STRIDE_Y, STRIDE_X, DILATION_Y, DILATION_X, PADDING_Y, PADDING_X (modulo the stride), OUTPUTS,
// RUNS, CHANNELS give `conv_transpose2d`; without them comes `conv_transpose2d_any`.
#include "support/convolution.cuh"

using namespace fastimg;

#ifdef KERNEL_X

namespace {

template <int Taps, int Stride, int Dilation, int Padding>
struct Axis {
    static constexpr int kTaps = Taps;
    static constexpr int kPlaces = Stride;
    static constexpr int kStep = 1;

    // From a cell's first output to the input that a place takes through a tap, times the stride.
    __device__ static constexpr int distance(int place, int tap) { return place + Padding - tap * Dilation; }
    __device__ static constexpr bool has(int place, int tap) { return distance(place, tap) % Stride == 0; }

    __device__ static constexpr int extreme(bool last) {
        int result = last ? -(Taps * Dilation) : Padding + Stride;
        for (int place = 0; place < Stride; ++place) {
            for (int tap = 0; tap < Taps; ++tap) {
                if (!has(place, tap)) continue;
                const int input = distance(place, tap) / Stride;
                if (last ? input > result : input < result) result = input;
            }
        }
        return result;
    }
    static constexpr int kFirst = extreme(false);  // convolution.py adds it to parameters.first
    static constexpr int kReach = extreme(true) - kFirst;
    static constexpr int kReads = Stride == 1 ? Taps : kReach + 1;

    __device__ static constexpr int position(int place, int tap) {
        return has(place, tap) ? distance(place, tap) / Stride - kFirst : -1;
    }
    __device__ static constexpr int read_position(int read) { return Stride == 1 ? read * Dilation : read; }
    __device__ static constexpr int read_tap(int place, int read) {
        if (Stride == 1) return Taps - 1 - read;
        const int through = distance(place, 0) - Stride * (read + kFirst);  // the tap, times the dilation
        return through >= 0 && through % Dilation == 0 && through / Dilation < Taps ? through / Dilation : -1;
    }
};

typedef Axis<KERNEL_Y, STRIDE_Y, DILATION_Y, PADDING_Y> Y;
typedef Axis<KERNEL_X, STRIDE_X, DILATION_X, PADDING_X> X;

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1) conv_transpose2d(const ConvolutionParameters parameters) {
    FASTIMG_DYNAMIC_SHARED(float, shared);
    TiledConvolution<Y, X, OUTPUTS, RUNS, CHANNELS>(parameters, shared).run();
}

#else

namespace {

__device__ PhaseTaps phase_taps(const ConvolutionParameters& parameters, int axis, int phase) {
    const int64_t stride = parameters.stride[axis], dilation = parameters.dilation[axis];
    const int64_t distance = phase + parameters.padding[axis];
    const int taps = parameters.taps[axis];
    PhaseTaps result = {0, 1, 0, 0};
    while (result.first < taps && (distance - result.first * dilation) % stride != 0) ++result.first;
    while (result.step < taps && result.step * dilation % stride != 0) ++result.step;
    result.start = int((distance - result.first * dilation) / stride);
    result.distance = -int(result.step * dilation / stride);
    return result;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128) conv_transpose2d_any(const ConvolutionParameters parameters) {
    const ConvolutionPlace place = locate(parameters);
    const PhaseTaps taps[2] = {phase_taps(parameters, 0, place.phase[0]), phase_taps(parameters, 1, place.phase[1])};
    const int cell_stride[2] = {1, 1};
    convolve_any<8, 4>(parameters, place, taps, cell_stride);
}

#endif
