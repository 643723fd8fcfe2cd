// Numbers of pixels to places in memory, for kernels that take a pixel like any other, whatever its axes.
#pragma once

#include "platform.cuh"

namespace fastimg {

// Where pixel number i of an image lies, in elements from the first; the last axis is the fastest.
template <int Axes>
__device__ int64_t offset_of(int64_t i, const int64_t* shape, const int64_t* stride) {
    int64_t offset = 0;
#pragma unroll
    for (int axis = Axes - 1; axis > 0; --axis) {
        offset += i % shape[axis] * stride[axis];
        i /= shape[axis];
    }
    return offset + i * stride[0];
}

}  // namespace fastimg
