// 2-D convolution (cross-correlation) of float32 images with bias and activation (csrc/cpu/conv2d.hpp):
//
//   out[n, o, y, x] = f(bias[o] + sum over c, u, v of weight[o, c, u, v] * in[n, c', y*s - p + u*d, x*s - p + v*d])
//
// support/convolution.cuh says how the work is tiled. A cell is one output, or CELL_Y outputs one below the other where a
// group has a single output channel: there a loaded input serves several rows instead of several channels.
//
// Macros: KERNEL_Y, KERNEL_X, STRIDE_Y, STRIDE_X, DILATION_Y, DILATION_X, CELL_Y, OUTPUTS, RUNS, CHANNELS give `conv2d`;
// without them comes `conv2d_any`.
#include "support/convolution.cuh"

using namespace fastimg;

#ifdef KERNEL_X

namespace {

template <int Taps, int Stride, int Dilation, int Places>
struct Axis {
    static constexpr int kTaps = Taps;
    static constexpr int kPlaces = Places;
    static constexpr int kStep = Places * Stride;
    static constexpr int kReach = (Places - 1) * Stride + (Taps - 1) * Dilation;
    static constexpr int kReads = Places == 1 ? Taps : kReach + 1;

    __device__ static constexpr int position(int place, int tap) { return place * Stride + tap * Dilation; }
    __device__ static constexpr int read_position(int read) { return Places == 1 ? read * Dilation : read; }
    __device__ static constexpr int read_tap(int place, int read) {
        if (Places == 1) return read;
        const int distance = read - place * Stride;
        return distance >= 0 && distance % Dilation == 0 && distance / Dilation < Taps ? distance / Dilation : -1;
    }
};

typedef Axis<KERNEL_Y, STRIDE_Y, DILATION_Y, CELL_Y> Y;
typedef Axis<KERNEL_X, STRIDE_X, DILATION_X, 1> X;

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1) conv2d(const ConvolutionParameters parameters) {
    FASTIMG_DYNAMIC_SHARED(float, shared);
    TiledConvolution<Y, X, OUTPUTS, RUNS, CHANNELS>(parameters, shared).run();
}

#else

extern "C" __global__ void __launch_bounds__(128) conv2d_any(const ConvolutionParameters parameters) {
    const PhaseTaps taps[2] = {{0, 1, -parameters.padding[0], parameters.dilation[0]},
                               {0, 1, -parameters.padding[1], parameters.dilation[1]}};
    const int cell_stride[2] = {parameters.stride[0], parameters.stride[1]};
    convolve_any<8, 4>(parameters, locate(parameters), taps, cell_stride);
}

#endif
