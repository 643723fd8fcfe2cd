// From NumPy arrays to the kernels' views. Python has checked them (dtype, rank, alignment, byte order): what is
// refused here is a mistake of ours, not of the user.
#pragma once

#include "../cpu/support/view.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace fastimg {

namespace py = pybind11;

inline DType dtype_of(const py::array& array) {
    const char kind = array.dtype().kind();
    const auto size = array.itemsize();
    if (kind == 'u' && size == 1) return DType::u8;
    if (kind == 'u' && size == 2) return DType::u16;
    if (kind == 'f' && size == 2) return DType::f16;
    if (kind == 'f' && size == 4) return DType::f32;
    if (kind == 'f' && size == 8) return DType::f64;
    throw py::type_error("fastimg: dtype " + py::str(array.dtype()).cast<std::string>() + " is not supported here");
}

inline Array described(const py::array& array, void* data) {
    if (array.ndim() > kMaxDims) throw py::value_error("fastimg: too many dimensions");
    Array a{data, dtype_of(array), int(array.ndim()), {}, {}};
    for (int axis = 0; axis < a.ndim; ++axis) {
        a.shape[axis] = array.shape(axis);
        a.stride[axis] = array.strides(axis) / array.itemsize();
    }
    return a;
}

inline Array readable(const py::array& array) { return described(array, const_cast<void*>(array.data())); }

inline Array writable(py::array& array) { return described(array, array.mutable_data()); }

}  // namespace fastimg
