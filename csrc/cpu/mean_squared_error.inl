// Mean squared error: one pass over both arrays, each element read once.
//
// Two loads, a subtraction and a fused multiply-add per element against 2 to 16 bytes of traffic: bound by memory for
// anything larger than a cache. Each task sums its own share, integers exactly and floats in double; the shares are
// added in order, so the result does not depend on the number of threads.

namespace fastimg::FASTIMG_TARGET {

// Of at most kSegmentElements integers: what fits into 32 bits for uint8. Left to the compiler, which does it well.
template <class T, std::enable_if_t<is_integer<T>, int> = 0>
double sum_of_squared_differences(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, ptrdiff_t n) {
    using Sum = std::conditional_t<sizeof(T) == 1, uint32_t, uint64_t>;
    Sum total = 0;
    const auto squared = [](int d) { return uint32_t(d) * uint32_t(d); };  // modulo 2^32, where it fits
    if (a_stride == 1 && b_stride == 1) {
        for (ptrdiff_t i = 0; i < n; ++i) total += squared(a[i] - b[i]);
    } else {
        for (ptrdiff_t i = 0; i < n; ++i) total += squared(a[i * a_stride] - b[i * b_stride]);
    }
    return double(total);
}

template <class T, std::enable_if_t<!is_integer<T>, int> = 0>
double sum_of_squared_differences(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, ptrdiff_t n) {
    double total = 0;
    ptrdiff_t i = 0;
    if (a_stride == 1 && b_stride == 1) {
        Doubles sums[4] = {};
        for (; i + 4 * kDoubleLanes <= n; i += 4 * kDoubleLanes) {
            for (int k = 0; k < 4; ++k) {
                const Doubles d = load_doubles(a + i + k * kDoubleLanes) - load_doubles(b + i + k * kDoubleLanes);
                sums[k] += d * d;
            }
        }
        total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    for (; i < n; ++i) {
        const double d = load_double(a + i * a_stride) - load_double(b + i * b_stride);
        total += d * d;
    }
    return total;
}

inline double mean_squared_error(const Array& a, const Array& b, int threads) {
    const Rows<2> rows({&a, &b});
    const Segments<2> segments(rows);
    std::vector<double> sums(size_t(segments.count()), 0.0);
    visit(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* const a_data = static_cast<const T*>(a.data);
        const T* const b_data = static_cast<const T*>(b.data);
        parallel_for(segments.count(), threads, [&](ptrdiff_t task) {
            segments.visit(task, [&](Segment s) {
                sums[size_t(task)] += sum_of_squared_differences(
                    a_data + rows.offset(0, s.row) + s.begin * rows.stride(0), rows.stride(0),
                    b_data + rows.offset(1, s.row) + s.begin * rows.stride(1), rows.stride(1), s.length);
            });
        });
    });
    double total = 0;
    for (double share : sums) total += share;
    return total / (double(rows.count()) * double(rows.length()));
}

}  // namespace fastimg::FASTIMG_TARGET
