// Lines of samples put together, one of each in turn.
//
// Included once per target, after simd.inl and by the kernels that need it, so it has no include guard.

namespace fastimg::FASTIMG_TARGET {

// Vector k of the result for N lines: the samples k * kLanes + i, each from line (k * kLanes + i) % N.
template <int N, int K, int... I>
[[gnu::always_inline]] inline Floats interleaved(const Floats (&lines)[N], std::integer_sequence<int, I...>) {
    constexpr auto line = [](int i) { return (K * kLanes + i) % N; };
    constexpr auto lane = [](int i) { return (K * kLanes + i) / N; };
    Floats v = __builtin_shufflevector(lines[0], lines[1], (line(I) == 1 ? kLanes + lane(I) : lane(I))...);
    if constexpr (N > 2) v = __builtin_shufflevector(v, lines[2], (line(I) == 2 ? kLanes + lane(I) : I)...);
    if constexpr (N > 3) v = __builtin_shufflevector(v, lines[3], (line(I) == 3 ? kLanes + lane(I) : I)...);
    return v;
}

template <int N, int... K>
inline void interleave_vectors(float* to, const float* lines, ptrdiff_t line_stride, ptrdiff_t vectors,
                               std::integer_sequence<int, K...>) {
    for (ptrdiff_t v = 0; v < vectors; ++v, to += N * kLanes, lines += kLanes) {
        Floats from[N];
        for (int n = 0; n < N; ++n) from[n] = load(lines + n * line_stride);
        (store(to + K * kLanes, interleaved<N, K>(from, std::make_integer_sequence<int, kLanes>{})), ...);
    }
}

// to[i * count + n] = lines[n * line_stride + i], whole vectors of each line.
inline void interleave_lines(float* to, const float* lines, ptrdiff_t line_stride, ptrdiff_t count, ptrdiff_t vectors) {
    switch (count) {
        case 2: return interleave_vectors<2>(to, lines, line_stride, vectors, std::make_integer_sequence<int, 2>{});
        case 3: return interleave_vectors<3>(to, lines, line_stride, vectors, std::make_integer_sequence<int, 3>{});
        case 4: return interleave_vectors<4>(to, lines, line_stride, vectors, std::make_integer_sequence<int, 4>{});
    }
    for (ptrdiff_t n = 0; n < count; ++n)
        for (ptrdiff_t i = 0; i < vectors * kLanes; ++i) to[i * count + n] = lines[n * line_stride + i];
}

}  // namespace fastimg::FASTIMG_TARGET
