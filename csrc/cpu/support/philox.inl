// Philox in vectors, and the normal distribution. For kernels: include from an .inl, after support/philox.hpp.
//
// The random field of an image: samples are numbered in C order of the logical array. Number i belongs to chunk
// i / 64; within a chunk, word j of block b serves sample 16 j + b, so that words of neighbouring blocks, which one
// vector computes together, serve neighbouring samples on every vector width up to 16.

namespace fastimg::FASTIMG_TARGET {

using Words = VectorOf<uint32_t>::type;

constexpr ptrdiff_t kChunk = 64;        // samples of a chunk
constexpr ptrdiff_t kChunkBlocks = 16;  // Philox blocks of a chunk, four words each

struct WideProduct {
    Words high, low;
};

inline WideProduct multiply_wide(Words a, uint32_t factor) {
#if FASTIMG_LEVEL >= 4
    const __m512i f = _mm512_set1_epi64(factor);
    const __m512i even = _mm512_mul_epu32((__m512i)a, f);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), f);
    return {(Words)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd),
            (Words)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32))};
#elif FASTIMG_LEVEL >= 3
    const __m256i f = _mm256_set1_epi64x(factor);
    const __m256i even = _mm256_mul_epu32((__m256i)a, f);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), f);
    return {(Words)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA),
            (Words)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)};
#elif FASTIMG_X86_TARGETS
    const __m128i f = _mm_set1_epi32(int(factor));
    const __m128i even = _mm_mul_epu32((__m128i)a, f);
    const __m128i odd = _mm_mul_epu32(_mm_srli_epi64((__m128i)a, 32), f);
    const __m128i even_halves = _mm_shuffle_epi32(even, _MM_SHUFFLE(3, 1, 2, 0));  // low, low, high, high
    const __m128i odd_halves = _mm_shuffle_epi32(odd, _MM_SHUFFLE(3, 1, 2, 0));
    return {(Words)_mm_unpackhi_epi32(even_halves, odd_halves), (Words)_mm_unpacklo_epi32(even_halves, odd_halves)};
#else
    WideProduct product{};
    for (int i = 0; i < kLanes; ++i) {
        const uint64_t wide = uint64_t(a[i]) * factor;
        product.high[i] = uint32_t(wide >> 32);
        product.low[i] = uint32_t(wide);
    }
    return product;
#endif
}

struct RandomWords {
    Words word[4];
};

// kLanes consecutive blocks from `first_block` on, which is a multiple of kLanes.
inline RandomWords philox_blocks(uint64_t first_block, uint64_t key) {
    Words lane{};
    for (int i = 0; i < kLanes; ++i) lane[i] = uint32_t(i);
    Words c0 = lane + uint32_t(first_block), c1 = Words{} + uint32_t(first_block >> 32), c2{}, c3{};
    uint32_t key0 = uint32_t(key), key1 = uint32_t(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
        const WideProduct product0 = multiply_wide(c0, kPhiloxMultiplier0);
        const WideProduct product1 = multiply_wide(c2, kPhiloxMultiplier1);
        c0 = product1.high ^ c1 ^ key0;
        c1 = product1.low;
        c2 = product0.high ^ c3 ^ key1;
        c3 = product0.low;
        key0 += kPhiloxWeyl0;
        key1 += kPhiloxWeyl1;
    }
    return {{c0, c1, c2, c3}};
}

inline Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }

// sqrt(-2 ln u) for u = (word / 2 + 1/2) / 2^31 in (0, 1]: the radius of a pair of normal numbers, at most 6.7.
inline Floats normal_radius(Words word) {
    const Floats scaled = to_floats((Ints)(word >> 1)) + 0.5f;  // u * 2^31
    const Ints bits = (Ints)scaled;
    const Ints exponent = (bits - 0x3f3504f3) >> 23;  // of u * 2^31, its fraction in [sqrt 1/2, sqrt 2)
    const Floats f = (Floats)(bits - (exponent << 23)) - 1.0f;
    const Floats e = to_floats(exponent - 31);
    const Floats f2 = f * f;
    Floats p = 7.0376836292e-2f * f - 1.1514610310e-1f;  // the minimax polynomial of Cephes
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * f2 - 2.12194440e-4f * e - 0.5f * f2;  // ln 2 = 0.693359375 - 0.000212194440
    const Floats log = 0.693359375f * e + (f + p);
    return sqrt(max(-2.0f * log, Floats{}));  // rounding may put the logarithm of 1 above 0
}

struct Direction {
    Floats cosine, sine;
};

// Of the angle word / 2^31 * pi. The quadrant is taken off in integers, so no accuracy is lost to the reduction.
inline Direction direction(Words word) {
    const Ints quadrant = (Ints)(word + (1u << 29)) >> 30;
    const Floats x = to_floats((Ints)(word - ((Words)quadrant << 30))) * 1.4629180792671596e-9f;  // pi/2 / 2^30
    const Floats x2 = x * x;
    const Floats sine = x + x * x2 * (-1.6666654611e-1f + x2 * (8.3321608736e-3f + x2 * -1.9515295891e-4f));
    const Floats cosine =
        1.0f - 0.5f * x2 +
        x2 * x2 * (4.166664568298827e-2f + x2 * (-1.388731625493765e-3f + x2 * 2.443315711809948e-5f));
    const Ints odd = -(quadrant & 1);  // a quarter turn swaps them
    const Ints c = ((Ints)sine & odd) | ((Ints)cosine & ~odd);
    const Ints s = ((Ints)cosine & odd) | ((Ints)sine & ~odd);
    const Words cosine_sign = ((Words)(quadrant + 1) & 2u) << 30, sine_sign = ((Words)quadrant & 2u) << 30;
    return {(Floats)((Words)c ^ cosine_sign), (Floats)((Words)s ^ sine_sign)};
}

// `n` words from sample number `first`, both multiples of kChunk.
inline void fill_words(uint32_t* to, ptrdiff_t first, ptrdiff_t n, uint64_t key) {
    for (ptrdiff_t i = 0; i < n; i += kChunk) {
        for (ptrdiff_t block = 0; block < kChunkBlocks; block += kLanes) {
            const RandomWords random = philox_blocks(uint64_t((first + i) / 4 + block), key);
            for (int j = 0; j < 4; ++j) std::memcpy(to + i + j * kChunkBlocks + block, &random.word[j], sizeof(Words));
        }
    }
}

// `n` standard normal numbers from sample number `first`, both multiples of kChunk: words 0 and 1 of a block make the
// numbers at their places by the method of Box and Muller, words 2 and 3 likewise.
inline void fill_normals(float* to, ptrdiff_t first, ptrdiff_t n, uint64_t key) {
    for (ptrdiff_t i = 0; i < n; i += kChunk) {
        for (ptrdiff_t block = 0; block < kChunkBlocks; block += kLanes) {
            const RandomWords random = philox_blocks(uint64_t((first + i) / 4 + block), key);
            for (int j = 0; j < 4; j += 2) {
                const Floats radius = normal_radius(random.word[j]);
                const Direction d = direction(random.word[j + 1]);
                store(to + i + j * kChunkBlocks + block, radius * d.cosine);
                store(to + i + (j + 1) * kChunkBlocks + block, radius * d.sine);
            }
        }
    }
}

}  // namespace fastimg::FASTIMG_TARGET
