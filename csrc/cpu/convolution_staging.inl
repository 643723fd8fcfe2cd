// Rows of an image as a convolution reads them: continued beyond the border, every step-th column.

namespace fastimg::FASTIMG_TARGET {

// Samples first, first + step, ... of a row: those in [begin, end) lie inside the image.
struct Span {
    ptrdiff_t first, step, count, begin, end;
};

inline Span span_of(ptrdiff_t first, ptrdiff_t step, ptrdiff_t count, ptrdiff_t width) {
    const ptrdiff_t begin = std::clamp<ptrdiff_t>(divide_up(std::max<ptrdiff_t>(-first, 0), step), 0, count);
    const ptrdiff_t end = std::clamp<ptrdiff_t>(first < width ? divide_up(width - first, step) : 0, begin, count);
    return {first, step, count, begin, end};
}

// n floats, the last vector overlapping the one before it.
inline void copy_row(float* to, const float* from, ptrdiff_t n) {
    if (n < kLanes) {
        for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i];
        return;
    }
    for (ptrdiff_t i = 0; i < n - kLanes; i += kLanes) store(to + i, load(from + i));
    store(to + n - kLanes, load(from + n - kLanes));
}

// As floats, integers as if in [0, 1].
template <class T>
void stage_row(float* to, const Span& span, const T* row, ptrdiff_t width, ptrdiff_t stride, BorderMode border) {
    const auto outside = [&](ptrdiff_t i) {
        const ptrdiff_t column = border_index(span.first + i * span.step, width, border);
        return column < 0 ? 0.0f : load_float(row + column * stride);
    };
    for (ptrdiff_t i = 0; i < span.begin; ++i) to[i] = outside(i);
    const T* const from = row + (span.first + span.begin * span.step) * stride;
    const ptrdiff_t count = span.end - span.begin;
    if constexpr (std::is_same_v<T, float>) {
        if (stride * span.step == 1)
            copy_row(to + span.begin, from, count);
        else
            load_row(to + span.begin, from, count, stride * span.step);
    } else {
        load_row(to + span.begin, from, count, stride * span.step);
    }
    for (ptrdiff_t i = span.end; i < span.count; ++i) to[i] = outside(i);
    if constexpr (is_integer<T>) {
        constexpr float scale = 1 / float(std::numeric_limits<T>::max());
        for (ptrdiff_t i = 0; i < span.count; ++i) to[i] *= scale;
    }
}

}  // namespace fastimg::FASTIMG_TARGET
