// What a kernel sees of an image: a pointer, and strides in elements of any sign and order. A Parameters struct, passed
// to a kernel by value, holds its views; `View` in fastimg/backends/cuda/runtime.py has the same layout.
#pragma once

#include "samples.cuh"

namespace fastimg {

template <int N>
struct View {
    void* data;
    int64_t stride[N];

    // The sample at the given indices; those left out at the end are 0.
    template <class T, class... Index>
    __device__ T* at(Index... index) const {
        static_assert(sizeof...(Index) <= N, "too many indices");
        int64_t offset = 0;
        int axis = 0;
        ((offset += int64_t(index) * stride[axis++]), ...);
        return static_cast<T*>(data) + offset;
    }
};

}  // namespace fastimg
