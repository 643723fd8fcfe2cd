// Words gathered from memory, lane by lane, and the elements in them.
//
// A lane takes a load of its own and an instruction that merges it with others. The instructions that gather take twice
// as long on a Zen 4, and far longer on Intel's processors whose microcode guards them.
//
// Included once per target, after simd.inl and by the kernels that need it, so it has no include guard.

namespace fastimg::FASTIMG_TARGET {

// Lanes lie so many bytes from a common place as `offset`, of kLanes, tells. It is in memory, from where they are loaded
// one by one, and best was written long before: a vector just stored is slow to be loaded in parts.

// The same offsets; the compiler is not to keep all of them in registers from one vector to the next.
[[gnu::always_inline]] inline const int32_t* again(const int32_t* offset) {
    __asm__ volatile("" : "+r"(offset));
    return offset;
}

#if FASTIMG_LEVEL == 3 || (FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512))

// A vector of what `half` makes of each eight offsets.
template <class Half>
[[gnu::always_inline]] inline Ints gathered(const int32_t* offset, Half&& half) {
#if FASTIMG_LEVEL >= 4
    return (Ints)_mm512_inserti64x4(_mm512_castsi256_si512(half(offset)), half(offset + 8), 1);
#else
    return (Ints)half(offset);
#endif
}

// The 32 bits at each of four offsets.
[[gnu::always_inline]] inline __m128i four_words(const char* from, const int32_t* offset) {
    const auto at = [&](int i) __attribute__((always_inline)) {
        int32_t word;
        std::memcpy(&word, from + offset[i], sizeof word);
        return word;
    };
    __m128i words = _mm_cvtsi32_si128(at(0));
#if FASTIMG_LEVEL >= 4  // merged by a mask, for which Intel's processors have more ports than for an insertion
    words = _mm_mask_broadcastd_epi32(words, 1 << 1, _mm_cvtsi32_si128(at(1)));
    words = _mm_mask_broadcastd_epi32(words, 1 << 2, _mm_cvtsi32_si128(at(2)));
    return _mm_mask_broadcastd_epi32(words, 1 << 3, _mm_cvtsi32_si128(at(3)));
#else
    words = _mm_insert_epi32(words, at(1), 1);
    words = _mm_insert_epi32(words, at(2), 2);
    return _mm_insert_epi32(words, at(3), 3);
#endif
}

// The 64 bits at each of the offsets 0, 1, 4 and 5.
[[gnu::always_inline]] inline __m256i four_pairs(const char* from, const int32_t* offset) {
    const auto at = [&](int i)
                        __attribute__((always_inline)) { return _mm_loadl_epi64((const __m128i*)(from + offset[i])); };
#if FASTIMG_LEVEL >= 4
    __m256i pairs = _mm256_castsi128_si256(at(0));
    pairs = _mm256_mask_broadcastq_epi64(pairs, 1 << 1, at(1));
    pairs = _mm256_mask_broadcastq_epi64(pairs, 1 << 2, at(4));
    return _mm256_mask_broadcastq_epi64(pairs, 1 << 3, at(5));
#else
    return _mm256_set_m128i(_mm_unpacklo_epi64(at(4), at(5)), _mm_unpacklo_epi64(at(0), at(1)));
#endif
}

// The 32 bits of each lane at its offset from `from`.
[[gnu::always_inline]] inline Ints gather_words(const char* from, const int32_t* offset) {
    return gathered(again(offset), [&](const int32_t* at) __attribute__((always_inline)) {
        return _mm256_set_m128i(four_words(from, at + 4), four_words(from, at));
    });
}

// The 64 bits of each lane: their lower and their upper halves.
[[gnu::always_inline]] inline void gather_pairs(const char* from, const int32_t* offset, Ints& lower, Ints& upper) {
    offset = again(offset);
    const auto half = [&](const int32_t* at) __attribute__((always_inline)) { return four_pairs(from, at); };
    const Ints a = gathered(offset, half), b = gathered(offset + 2, half);
#if FASTIMG_LEVEL >= 4
    lower = (Ints)_mm512_shuffle_ps((__m512)a, (__m512)b, 0x88);
    upper = (Ints)_mm512_shuffle_ps((__m512)a, (__m512)b, 0xdd);
#else
    lower = (Ints)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88);
    upper = (Ints)_mm256_shuffle_ps((__m256)a, (__m256)b, 0xdd);
#endif
}

// The 128 bits of each lane, as four words.
[[gnu::always_inline]] inline void gather_quads(const char* from, const int32_t* offset, Ints* words) {
    offset = again(offset);
    const auto half = [&](const int32_t* at) __attribute__((always_inline)) {
        return _mm256_set_m128i(_mm_loadu_si128((const __m128i*)(from + at[4])),
                                _mm_loadu_si128((const __m128i*)(from + at[0])));
    };
    Ints v[4];  // each of every fourth lane
    for (int m = 0; m < 4; ++m) v[m] = gathered(offset + m, half);
#if FASTIMG_LEVEL >= 4
    const auto low = [&](Ints a, Ints b) { return _mm512_unpacklo_epi32((__m512i)a, (__m512i)b); };
    const auto high = [&](Ints a, Ints b) { return _mm512_unpackhi_epi32((__m512i)a, (__m512i)b); };
    const auto low_pairs = [&](__m512i a, __m512i b) { return (Ints)_mm512_unpacklo_epi64(a, b); };
    const auto high_pairs = [&](__m512i a, __m512i b) { return (Ints)_mm512_unpackhi_epi64(a, b); };
#else
    const auto low = [&](Ints a, Ints b) { return _mm256_unpacklo_epi32((__m256i)a, (__m256i)b); };
    const auto high = [&](Ints a, Ints b) { return _mm256_unpackhi_epi32((__m256i)a, (__m256i)b); };
    const auto low_pairs = [&](__m256i a, __m256i b) { return (Ints)_mm256_unpacklo_epi64(a, b); };
    const auto high_pairs = [&](__m256i a, __m256i b) { return (Ints)_mm256_unpackhi_epi64(a, b); };
#endif
    words[0] = low_pairs(low(v[0], v[1]), low(v[2], v[3]));
    words[1] = high_pairs(low(v[0], v[1]), low(v[2], v[3]));
    words[2] = low_pairs(high(v[0], v[1]), high(v[2], v[3]));
    words[3] = high_pairs(high(v[0], v[1]), high(v[2], v[3]));
}

#else

inline Ints gather_words(const char* from, const int32_t* offset) {
    int32_t words[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) std::memcpy(words + lane, from + offset[lane], 4);
    Ints v;
    std::memcpy(&v, words, sizeof v);
    return v;
}

inline void gather_pairs(const char* from, const int32_t* offset, Ints& lower, Ints& upper) {
    lower = gather_words(from, offset);
    upper = gather_words(from + 4, offset);
}

inline void gather_quads(const char* from, const int32_t* offset, Ints* words) {
    for (int word = 0; word < 4; ++word) words[word] = gather_words(from + 4 * word, offset);
}

#endif

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
