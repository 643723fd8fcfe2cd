// The vectors that kernels are written in: as wide as the target's registers, the width a constant, not a concept.
//
// GCC's vector extension gives + - * /, comparisons and ?: on them; here stands what it does not give: loads and stores
// that convert between element types, min, max, round, exp. Included once per target, so it has no include guard.
// All loads and stores are unaligned.

namespace fastimg::FASTIMG_TARGET {

#if FASTIMG_LEVEL >= 4
constexpr int kVectorBytes = 64;
#elif FASTIMG_LEVEL >= 3
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(kVectorBytes)));
};
using Floats = VectorOf<float>::type;
using Doubles = VectorOf<double>::type;
using Ints = VectorOf<int32_t>::type;

constexpr int kLanes = kVectorBytes / 4;        // floats in a vector
constexpr int kDoubleLanes = kVectorBytes / 8;  // doubles in a vector

// ---- loads --------------------------------------------------------------------------------------------------------

inline Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline Doubles load(const double* p) {
    Doubles v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// kLanes elements of any type, as floats.
inline Floats load_floats(const float* p) { return load(p); }

inline Floats load_floats(const uint8_t* p) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)));
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#else
    Floats v{};
    for (int i = 0; i < kLanes; ++i) v[i] = p[i];
    return v;
#endif
}

inline Floats load_floats(const uint16_t* p) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)));
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)));
#else
    Floats v{};
    for (int i = 0; i < kLanes; ++i) v[i] = p[i];
    return v;
#endif
}

inline Floats load_floats(const half* p) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
    Floats v{};
    for (int i = 0; i < kLanes; ++i) v[i] = to_float(p[i]);
    return v;
#endif
}

inline Floats load_floats(const double* p) {
    Floats v{};
    for (int i = 0; i < kLanes; ++i) v[i] = float(p[i]);
    return v;
}

// One element of any type, as a float; used for strided data.
template <class T>
inline float load_float(const T* p) {
    if constexpr (std::is_same_v<T, half>)
        return to_float(*p);
    else
        return float(*p);
}

template <class T>
inline double load_double(const T* p) {
    if constexpr (std::is_same_v<T, half>)
        return to_float(*p);
    else
        return double(*p);
}

// kDoubleLanes elements of any type, as doubles.
template <class T>
inline Doubles load_doubles(const T* p) {
    if constexpr (std::is_same_v<T, half>) {
        Doubles v{};
        for (int i = 0; i < kDoubleLanes; ++i) v[i] = load_double(p + i);
        return v;
    } else {
        typedef T Narrow __attribute__((vector_size(kDoubleLanes * sizeof(T))));
        typedef int32_t Whole __attribute__((vector_size(kDoubleLanes * 4)));
        Narrow v;
        std::memcpy(&v, p, sizeof v);
        if constexpr (is_integer<T>)
            return __builtin_convertvector(__builtin_convertvector(v, Whole), Doubles);
        else
            return __builtin_convertvector(v, Doubles);
    }
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------

// By its bits: a sum with zero would take an instruction more, and may flush a denormal.
inline Floats broadcast(float value) {
    int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (Floats)(Ints{} + bits);
}

// min and max return the second argument when either is NaN, as the instructions do.
inline Floats min(Floats a, Floats b) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_min_ps((__m512)a, (__m512)b);
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return a < b ? a : b;
#endif
}

inline Floats max(Floats a, Floats b) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}

// To the nearest integer, ties to even, for |x| < 2^22.
inline Floats round(Floats x) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    volatile float keep = 12582912.0f;  // 1.5 * 2^23: the sum has no fraction bits left; volatile, so it is not folded
    const float magic = keep;
    return (x + magic) - magic;
#endif
}

inline Floats sqrt(Floats x) {
#if FASTIMG_LEVEL >= 4
    return (Floats)_mm512_sqrt_ps((__m512)x);
#elif FASTIMG_LEVEL >= 3
    return (Floats)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < kLanes; ++i) x[i] = std::sqrt(x[i]);
    return x;
#endif
}

// For |x| < 2^22.
inline Floats floor(Floats x) {
    const Floats nearest = round(x);
    return nearest > x ? nearest - 1.0f : nearest;
}

inline Doubles floor(Doubles x) {
    for (int i = 0; i < kDoubleLanes; ++i) x[i] = std::floor(x[i]);
    return x;
}

// Whether any lane of a comparison's result is true.
inline bool any(Ints mask) {
#if FASTIMG_LEVEL >= 4
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif FASTIMG_LEVEL >= 3
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t all = 0;
    for (int i = 0; i < kLanes; ++i) all |= mask[i];
    return all != 0;
#endif
}

inline double sum(Doubles v) {
    double total = 0;
    for (int i = 0; i < kDoubleLanes; ++i) total += v[i];
    return total;
}

// ---- stores -------------------------------------------------------------------------------------------------------

inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
inline void store(double* p, Doubles v) { std::memcpy(p, &v, sizeof v); }

// 64 bytes past the caches, to a multiple of 64; other threads see them after a fence.
inline void stream_line(void* to, const void* from) {
#if FASTIMG_LEVEL >= 4
    _mm512_stream_si512((__m512i*)to, _mm512_loadu_si512(from));
#elif FASTIMG_LEVEL >= 3
    for (int k = 0; k < 2; ++k) _mm256_stream_si256((__m256i*)to + k, _mm256_loadu_si256((const __m256i*)from + k));
#else
    for (int k = 0; k < 4; ++k) _mm_stream_si128((__m128i*)to + k, _mm_loadu_si128((const __m128i*)from + k));
#endif
}
inline void stream_fence() { _mm_sfence(); }

// Integers are rounded half to even and saturated; NaN becomes 0.
inline Ints to_saturated_ints(Floats v, float top) {
    v = min(max(v, Floats{}), broadcast(top));
#if FASTIMG_LEVEL >= 4
    return (Ints)_mm512_cvtps_epi32((__m512)v);
#elif FASTIMG_LEVEL >= 3
    return (Ints)_mm256_cvtps_epi32((__m256)v);
#else
    v += 8388608.0f;  // 2^23: the integer stands in the low bits of the sum
    return (Ints)v & 0x7fffff;
#endif
}

inline void store(uint8_t* p, Floats v) {
    const Ints i = to_saturated_ints(v, 255.0f);
#if FASTIMG_LEVEL >= 4
    _mm_storeu_si128((__m128i*)p, _mm512_cvtusepi32_epi8((__m512i)i));
#elif FASTIMG_LEVEL >= 3
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)i), _mm256_extracti128_si256((__m256i)i, 1));
    _mm_storel_epi64((__m128i*)p, _mm_packus_epi16(words, words));
#else
    for (int k = 0; k < kLanes; ++k) p[k] = uint8_t(i[k]);
#endif
}

inline void store(uint16_t* p, Floats v) {
    const Ints i = to_saturated_ints(v, 65535.0f);
#if FASTIMG_LEVEL >= 4
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtusepi32_epi16((__m512i)i));
#elif FASTIMG_LEVEL >= 3
    _mm_storeu_si128((__m128i*)p,
                     _mm_packus_epi32(_mm256_castsi256_si128((__m256i)i), _mm256_extracti128_si256((__m256i)i, 1)));
#else
    for (int k = 0; k < kLanes; ++k) p[k] = uint16_t(i[k]);
#endif
}

inline void store(half* p, Floats v) {
#if FASTIMG_LEVEL >= 4
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif FASTIMG_LEVEL >= 3
    _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < kLanes; ++i) p[i] = to_half(v[i]);
#endif
}

inline void store(double* p, Floats v) {
    for (int i = 0; i < kLanes; ++i) p[i] = v[i];
}

// One value to an element of any type, by the rules of the vector stores.
template <class T>
inline void store_one(T* p, float value) {
    if constexpr (is_integer<T>) {
        const float top = sizeof(T) == 1 ? 255.0f : 65535.0f;
        value = value > 0 ? value : 0;
        value = value < top ? value : top;
        *p = T(std::nearbyint(value));
    } else if constexpr (std::is_same_v<T, half>) {
        *p = to_half(value);
    } else {
        *p = T(value);
    }
}

// ---- rows: between images of any element type and stride, and contiguous floats -----------------------------------

template <class T>
inline void load_row(float* to, const T* from, ptrdiff_t n, ptrdiff_t stride) {
    ptrdiff_t i = 0;
    if (stride == 1) {
        for (; i + kLanes <= n; i += kLanes) store(to + i, load_floats(from + i));
    }
    for (; i < n; ++i) to[i] = load_float(from + i * stride);
}

template <class T>
inline void store_row(T* to, const float* from, ptrdiff_t n, ptrdiff_t stride) {
    ptrdiff_t i = 0;
    if (stride == 1) {
        for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
    }
    for (; i < n; ++i) store_one(to + i * stride, from[i]);
}

}  // namespace fastimg::FASTIMG_TARGET
