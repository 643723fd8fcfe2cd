// What a kernel sees of an image: a pointer, a shape, and strides in elements.
//
// `Array` is type-erased, as it arrives from Python; `View<T, N>` is what kernels are written in.
// Strides may be negative or zero and of any order, so that crops, flips, transposed images and
// single planes of interleaved images are followed where they lie and never copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace fastimg {

using std::ptrdiff_t;

constexpr ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
constexpr ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t unit) { return divide_up(n, unit) * unit; }

struct half {  // IEEE binary16, storage only: arithmetic happens in float
    uint16_t bits;
};

enum class DType { u8, u16, f16, f32, f64 };

template <class T>
inline constexpr bool is_integer = false;
template <>
inline constexpr bool is_integer<uint8_t> = true;
template <>
inline constexpr bool is_integer<uint16_t> = true;

constexpr int kMaxDims = 9;  // those of an image and one more for channels

struct Array {
    void* data;
    DType dtype;
    int ndim;
    ptrdiff_t shape[kMaxDims];
    ptrdiff_t stride[kMaxDims];
};

// How many images of (rows, columns, channels) there are.
inline ptrdiff_t images_in(const Array& array) {
    ptrdiff_t images = 1;
    for (int axis = 0; axis < array.ndim - 3; ++axis) images *= array.shape[axis];
    return images;
}

template <class T, int N>
struct View {
    T* data;
    ptrdiff_t shape[N];
    ptrdiff_t stride[N];

    template <class... Index>
    T* at(Index... index) const {
        static_assert(sizeof...(Index) <= N);
        ptrdiff_t offset = 0;
        int axis = 0;
        ((offset += index * stride[axis++]), ...);
        return data + offset;
    }
};

// `array` as a view of N axes; its ndim must be N.
template <class T, int N>
View<T, N> view(const Array& array) {
    if (array.ndim != N) throw std::logic_error("fastimg: array of unexpected rank");
    View<T, N> v{static_cast<T*>(array.data), {}, {}};
    for (int axis = 0; axis < N; ++axis) {
        v.shape[axis] = array.shape[axis];
        v.stride[axis] = array.stride[axis];
    }
    return v;
}

template <class T>
struct Type {
    using type = T;
};

// Calls `f(Type<T>{})` with the C++ type that `dtype` names.
template <class F>
decltype(auto) visit(DType dtype, F&& f) {
    switch (dtype) {
        case DType::u8: return f(Type<uint8_t>{});
        case DType::u16: return f(Type<uint16_t>{});
        case DType::f16: return f(Type<half>{});
        case DType::f32: return f(Type<float>{});
        case DType::f64: return f(Type<double>{});
    }
    throw std::logic_error("fastimg: unknown dtype");
}

}  // namespace fastimg
