// For kernels that compute in A, which is float or double: vectors of A between elements of any type.
//
// Included once per target, after simd.inl and by the kernels that need it, so it has no include guard.

namespace fastimg::FASTIMG_TARGET {

template <class A>
using Vector = typename VectorOf<A>::type;

template <class A>
constexpr int kWidth = kVectorBytes / int(sizeof(A));

// Kernels that round as if sums were exact take a sum nearer to a half than this for a half that double has missed.
constexpr double kTie = 0x1p-28;

template <class A, class T>
inline Vector<A> load_vector(const T* p) {
    if constexpr (std::is_same_v<A, float>)
        return load_floats(p);
    else
        return load_doubles(p);
}

template <class A, class T>
inline A load_scalar(const T* p) {
    if constexpr (std::is_same_v<A, float>)
        return load_float(p);
    else
        return load_double(p);
}

template <class T>
inline void store_vector(T* p, Floats v) {
    store(p, v);
}

// Integers must be whole and in range.
template <class T>
inline void store_vector(T* p, Doubles v) {
    if constexpr (std::is_same_v<T, double>) {
        store(p, v);
    } else {
        for (int k = 0; k < kDoubleLanes; ++k) p[k] = T(v[k]);
    }
}

// ---- rows: between images of any element type and stride, and contiguous elements of A ----------------------------

inline void load_elements(double* to, const double* from, ptrdiff_t n, ptrdiff_t stride) {
    for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i * stride];
}
template <class T>
inline void load_elements(float* to, const T* from, ptrdiff_t n, ptrdiff_t stride) {
    load_row(to, from, n, stride);
}
inline void store_elements(double* to, const double* from, ptrdiff_t n, ptrdiff_t stride) {
    for (ptrdiff_t i = 0; i < n; ++i) to[i * stride] = from[i];
}
template <class T>
inline void store_elements(T* to, const float* from, ptrdiff_t n, ptrdiff_t stride) {
    store_row(to, from, n, stride);
}

// ---- transposition of a square: as many vectors as a vector has lanes --------------------------------------------

template <class A>
constexpr int kQuad = 16 / int(sizeof(A));  // elements in 16 bytes, the unit within which shuffles are cheap

// Of each 16 bytes of a and b: their lower (or upper) halves interleaved.
template <int kUpper, class A, int... J>
inline Vector<A> interleave(Vector<A> a, Vector<A> b, std::integer_sequence<int, J...>) {
    constexpr int q = kQuad<A>;
    return __builtin_shufflevector(a, b, (J / q * q + kUpper * q / 2 + J % q / 2 + J % 2 * kWidth<A>)...);
}

// The even (or odd) 16 bytes of a, then those of b.
template <int kOdd, class A, int... J>
inline Vector<A> every_other(Vector<A> a, Vector<A> b, std::integer_sequence<int, J...>) {
    constexpr int q = kQuad<A>;
    return __builtin_shufflevector(a, b, ((2 * (J / q) + kOdd) * q + J % q)...);
}

template <class A>
[[gnu::always_inline]] inline void transpose(Vector<A> (&v)[kWidth<A>]) {
    constexpr int width = kWidth<A>, q = kQuad<A>;
    constexpr auto all = std::make_integer_sequence<int, width>{};
    for (int i = 0; i < width; i += q) {
        if constexpr (q == 4) {
            const auto a = interleave<0, A>(v[i], v[i + 2], all), b = interleave<0, A>(v[i + 1], v[i + 3], all);
            const auto c = interleave<1, A>(v[i], v[i + 2], all), d = interleave<1, A>(v[i + 1], v[i + 3], all);
            v[i] = interleave<0, A>(a, b, all);
            v[i + 1] = interleave<1, A>(a, b, all);
            v[i + 2] = interleave<0, A>(c, d, all);
            v[i + 3] = interleave<1, A>(c, d, all);
        } else {
            const auto a = interleave<0, A>(v[i], v[i + 1], all), b = interleave<1, A>(v[i], v[i + 1], all);
            v[i] = a;
            v[i + 1] = b;
        }
    }
    if constexpr (width == 2 * q) {
        for (int i = 0; i < q; ++i) {
            const auto a = v[i], b = v[i + q];
            v[i] = every_other<0, A>(a, b, all);
            v[i + q] = every_other<1, A>(a, b, all);
        }
    } else if constexpr (width == 4 * q) {
        for (int i = 0; i < q; ++i) {
            const auto a = every_other<0, A>(v[i], v[i + q], all),
                       b = every_other<0, A>(v[i + 2 * q], v[i + 3 * q], all);
            const auto c = every_other<1, A>(v[i], v[i + q], all),
                       d = every_other<1, A>(v[i + 2 * q], v[i + 3 * q], all);
            v[i] = every_other<0, A>(a, b, all);
            v[i + q] = every_other<0, A>(c, d, all);
            v[i + 2 * q] = every_other<1, A>(a, b, all);
            v[i + 3 * q] = every_other<1, A>(c, d, all);
        }
    }
}

}  // namespace fastimg::FASTIMG_TARGET
