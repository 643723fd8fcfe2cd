// Colour conversion: every output channel is a weighted sum of the input channels plus an offset (csrc/cpu/
// convert_color.hpp).
//
// A thread takes four pixels. Where they lie side by side, interleaved or as planes, a channel or a third of them comes
// in one access of 4 (uint8) to 16 bytes (float), so that a warp reads and writes whole lines; all other layouts go
// sample by sample. Nine multiply-adds against 6 to 24 bytes a pixel: bound by memory on every device.
//
// Integers are computed in float, and again in double where a sum comes nearer to a half than its error could reach.
//
// Macros: IN, OUT (types of samples), FROM, TO (channels), AXES (of pixels, after merging).
#include "support/offset.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

enum Layout { kAny, kInterleaved, kPlanes };  // as convert_color.py numbers them

__device__ constexpr int kPixels = 4;
__device__ constexpr int kMostAxes = 8;
__device__ constexpr double kTie = 0x1p-28;  // what double may miss of an exact half

struct Parameters {
    View<kMostAxes> image, result;
    int64_t image_channel, result_channel;
    int64_t pixels;
    int64_t shape[kMostAxes];
    double matrix[3][3];
    double offset[3];
    float margin;
    int32_t image_layout, result_layout;
};

template <class T, int Channels>
__device__ void load_pixels(float (&pixels)[kPixels][Channels], const View<kMostAxes>& view, int64_t channel,
                            Layout layout, const int64_t* shape, int64_t first, int count) {
    const T* const p = static_cast<const T*>(view.data);
    if (count == kPixels && layout == kInterleaved) {
#pragma unroll
        for (int k = 0; k < Channels; ++k) {
            const Pack<T, kPixels> pack = load_pack<kPixels>(p + first * Channels + k * kPixels);
#pragma unroll
            for (int i = 0; i < kPixels; ++i)
                pixels[(k * kPixels + i) / Channels][(k * kPixels + i) % Channels] = to_float(pack.values[i]);
        }
    } else if (count == kPixels && layout == kPlanes) {
#pragma unroll
        for (int c = 0; c < Channels; ++c) {
            const Pack<T, kPixels> pack = load_pack<kPixels>(p + first + c * channel);
#pragma unroll
            for (int i = 0; i < kPixels; ++i) pixels[i][c] = to_float(pack.values[i]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
            const int64_t offset = i < count ? offset_of<AXES>(first + i, shape, view.stride) : 0;
#pragma unroll
            for (int c = 0; c < Channels; ++c) pixels[i][c] = i < count ? to_float(p[offset + c * channel]) : 0.0f;
        }
    }
}

template <class T, int Channels>
__device__ void store_pixels(const T (&pixels)[kPixels][Channels], const View<kMostAxes>& view, int64_t channel,
                             Layout layout, const int64_t* shape, int64_t first, int count) {
    T* const p = static_cast<T*>(view.data);
    Pack<T, kPixels> pack;
    if (count == kPixels && layout == kInterleaved) {
#pragma unroll
        for (int k = 0; k < Channels; ++k) {
#pragma unroll
            for (int i = 0; i < kPixels; ++i)
                pack.values[i] = pixels[(k * kPixels + i) / Channels][(k * kPixels + i) % Channels];
            store_pack(p + first * Channels + k * kPixels, pack);
        }
    } else if (count == kPixels && layout == kPlanes) {
#pragma unroll
        for (int c = 0; c < Channels; ++c) {
#pragma unroll
            for (int i = 0; i < kPixels; ++i) pack.values[i] = pixels[i][c];
            store_pack(p + first + c * channel, pack);
        }
    } else {
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
            if (i >= count) break;
            const int64_t offset = offset_of<AXES>(first + i, shape, view.stride);
#pragma unroll
            for (int c = 0; c < Channels; ++c) p[offset + c * channel] = pixels[i][c];
        }
    }
}

// Output channel o of a pixel: for integers rounded half away from zero as if the sum were exact.
template <class Out>
__device__ Out converted(const float (&pixel)[FROM], int o, const Parameters& parameters) {
    float sum = float(parameters.offset[o]);
#pragma unroll
    for (int c = 0; c < FROM; ++c) sum = fmaf(float(parameters.matrix[o][c]), pixel[c], sum);
    if constexpr (is_integer<Out>) {
        const float from_half = sum - floorf(sum) - 0.5f;
        float whole = floorf(sum + 0.5f);
        if (fabsf(from_half) < parameters.margin) {
            double exact = parameters.offset[o];
#pragma unroll
            for (int c = 0; c < FROM; ++c) exact += parameters.matrix[o][c] * double(pixel[c]);
            whole = float(floor(exact + 0.5 + kTie));
        }
        return Out(fminf(fmaxf(whole, 0.0f), kTop<Out>));
    } else {
        return from_float<Out>(sum);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4) convert_color(const Parameters parameters) {
    const int64_t first = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kPixels;
    if (first >= parameters.pixels) return;
    const int count = int(min(int64_t(kPixels), parameters.pixels - first));
    float in[kPixels][FROM];
    OUT out[kPixels][TO];
    load_pixels<IN>(in, parameters.image, parameters.image_channel, Layout(parameters.image_layout), parameters.shape,
                    first, count);
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
#pragma unroll
        for (int o = 0; o < TO; ++o) out[i][o] = converted<OUT>(in[i], o, parameters);
    }
    store_pixels(out, parameters.result, parameters.result_channel, Layout(parameters.result_layout), parameters.shape,
                 first, count);
}
