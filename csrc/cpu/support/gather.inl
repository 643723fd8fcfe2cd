// Words gathered from memory, lane by lane, and the elements in them.
//
// Included once per target, after simd.inl and by the kernels that need it, so it has no include guard.

namespace fastimg::FASTIMG_TARGET {

// The 32 bits of each lane at so many bytes from `from`.
inline Ints gather_words(const void* from, Ints bytes) {
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
    return (Ints)_mm512_i32gather_epi32((__m512i)bytes, from, 1);
#elif FASTIMG_LEVEL == 3
    return (Ints)_mm256_i32gather_epi32((const int*)from, (__m256i)bytes, 1);
#else
    Ints words{};
    for (int lane = 0; lane < kLanes; ++lane) {
        int32_t word;
        std::memcpy(&word, (const char*)from + bytes[lane], 4);
        words[lane] = word;
    }
    return words;
#endif
}

// The 64 bits of each lane: their lower halves and their upper halves.
inline void gather_pairs(const void* from, Ints bytes, Ints& lower, Ints& upper) {
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
    const __m512i i = (__m512i)bytes;
    const __m512i a = _mm512_i32gather_epi64(_mm512_castsi512_si256(i), from, 1);
    const __m512i b = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(i, 1), from, 1);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    lower = (Ints)_mm512_permutex2var_epi32(a, even, b);
    upper = (Ints)_mm512_permutex2var_epi32(a, _mm512_or_si512(even, _mm512_set1_epi32(1)), b);
#elif FASTIMG_LEVEL == 3
    const __m256i i = (__m256i)bytes;
    const Ints a = (Ints)_mm256_i32gather_epi64((const long long*)from, _mm256_castsi256_si128(i), 1);
    const Ints b = (Ints)_mm256_i32gather_epi64((const long long*)from, _mm256_extracti128_si256(i, 1), 1);
    lower = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    upper = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    lower = gather_words(from, bytes);
    upper = gather_words((const char*)from + 4, bytes);
#endif
}

// The element of type T that begins at bit `shift` of each word.
template <class T>
[[gnu::always_inline]] inline Floats element_of(Ints words, int shift) {
    if constexpr (std::is_same_v<T, float>) {
        return (Floats)words;
    } else {
        const Ints bits = (words >> shift) & (sizeof(T) == 1 ? 0xff : 0xffff);
        if constexpr (is_integer<T>) {
            return __builtin_convertvector(bits, Floats);
        } else {
#if FASTIMG_LEVEL >= 4
            return (Floats)_mm512_cvtph_ps(_mm512_cvtusepi32_epi16((__m512i)bits));
#elif FASTIMG_LEVEL == 3
            return (Floats)_mm256_cvtph_ps(
                _mm_packus_epi32(_mm256_castsi256_si128((__m256i)bits), _mm256_extracti128_si256((__m256i)bits, 1)));
#else
            Floats v{};
            for (int lane = 0; lane < kLanes; ++lane) v[lane] = to_float(half{uint16_t(bits[lane])});
            return v;
#endif
        }
    }
}

}  // namespace fastimg::FASTIMG_TARGET
