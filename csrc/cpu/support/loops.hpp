// Walks several arrays of one shape together, row by row, whatever their strides.
//
// Axes are put in the order of the first array's memory and merged where every array allows it, so that a contiguous
// image of any rank, flipped or transposed alike in all arrays, becomes one long row. For operations that treat every
// element alike.
#pragma once

#include "view.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

namespace fastimg {

// In the order of memory, or, where an element's place in the image matters, of the image's axes.
enum class Order { memory, axes };

template <int Operands>
class Rows {
public:
    explicit Rows(const std::array<const Array*, Operands>& arrays, Order walk = Order::memory) {
        const Array& first = *arrays[0];
        std::array<int, kMaxDims> order{};
        std::iota(order.begin(), order.begin() + first.ndim, 0);
        if (walk == Order::memory)
            std::stable_sort(order.begin(), order.begin() + first.ndim,
                             [&](int a, int b) { return std::abs(first.stride[a]) > std::abs(first.stride[b]); });
        for (int i = 0; i < first.ndim; ++i) append(order[i], arrays);
        if (ndim_ == 0) {
            shape_[0] = 1;
            ndim_ = 1;
        }
    }

    ptrdiff_t count() const {
        ptrdiff_t n = 1;
        for (int axis = 0; axis + 1 < ndim_; ++axis) n *= shape_[axis];
        return n;
    }
    ptrdiff_t length() const { return shape_[ndim_ - 1]; }
    ptrdiff_t stride(int operand) const { return stride_[operand][ndim_ - 1]; }

    // Where the given row of an operand begins, in elements from its data pointer.
    ptrdiff_t offset(int operand, ptrdiff_t row) const {
        ptrdiff_t offset = 0;
        for (int axis = ndim_ - 2; axis >= 0; --axis) {
            offset += row % shape_[axis] * stride_[operand][axis];
            row /= shape_[axis];
        }
        return offset;
    }

private:
    void append(int axis, const std::array<const Array*, Operands>& arrays) {
        const ptrdiff_t n = arrays[0]->shape[axis];
        if (n == 1) return;
        if (ndim_ > 0 && mergeable(axis, n, arrays)) {
            shape_[ndim_ - 1] *= n;
        } else {
            shape_[ndim_++] = n;
        }
        for (int k = 0; k < Operands; ++k) stride_[k][ndim_ - 1] = arrays[k]->stride[axis];
    }

    bool mergeable(int axis, ptrdiff_t n, const std::array<const Array*, Operands>& arrays) const {
        for (int k = 0; k < Operands; ++k)
            if (stride_[k][ndim_ - 1] != arrays[k]->stride[axis] * n) return false;
        return true;
    }

    int ndim_ = 0;
    std::array<ptrdiff_t, kMaxDims> shape_{};
    std::array<std::array<ptrdiff_t, kMaxDims>, Operands> stride_{};
};

// A share of the rows' elements: `length` elements of row `row` from `begin` on.
struct Segment {
    ptrdiff_t row, begin, length;
};

// Cuts rows into tasks of about `kSegmentElements` elements; depends on the shape alone.
constexpr ptrdiff_t kSegmentElements = 1 << 15;

template <int Operands>
class Segments {
public:
    explicit Segments(const Rows<Operands>& rows) : rows_(rows) {
        const ptrdiff_t length = std::max<ptrdiff_t>(rows.length(), 1);
        rows_per_task_ = std::max<ptrdiff_t>(1, kSegmentElements / length);
        pieces_per_row_ = divide_up(length, kSegmentElements);
    }
    ptrdiff_t count() const {
        if (rows_.length() == 0) return 0;
        return divide_up(rows_.count(), rows_per_task_) * pieces_per_row_;
    }
    // Calls f(Segment) for every segment of a task.
    template <class F>
    void visit(ptrdiff_t task, F&& f) const {
        const ptrdiff_t first = task / pieces_per_row_ * rows_per_task_;
        const ptrdiff_t last = std::min(first + rows_per_task_, rows_.count());
        const ptrdiff_t begin = pieces_per_row_ == 1 ? 0 : task % pieces_per_row_ * kSegmentElements;
        const ptrdiff_t end =
            pieces_per_row_ == 1 ? rows_.length() : std::min(begin + kSegmentElements, rows_.length());
        for (ptrdiff_t row = first; row < last; ++row) f(Segment{row, begin, end - begin});
    }

private:
    const Rows<Operands>& rows_;
    ptrdiff_t rows_per_task_;
    ptrdiff_t pieces_per_row_;
};

}  // namespace fastimg
