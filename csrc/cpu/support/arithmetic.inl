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

}  // namespace fastimg::FASTIMG_TARGET
