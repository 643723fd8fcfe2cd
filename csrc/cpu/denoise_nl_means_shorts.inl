// Non-local means of uint8 in 16 bits, for processors with AVX2 and more: by exponentials, or by a table of whole weights.

namespace fastimg::FASTIMG_TARGET {

#if FASTIMG_LEVEL >= 4
#define FASTIMG_MM(operation) _mm512_##operation
using Bits = __m512i;
#elif FASTIMG_LEVEL >= 3
#define FASTIMG_MM(operation) _mm256_##operation
using Bits = __m256i;
#endif

#if FASTIMG_LEVEL >= 3
// For uint8 to uint8: twice as many samples to a vector. Squares of differences fit into 16 bits, and sums saturate:
// where the cutoff, too, fits, whatever saturates weighs nothing. For greater strengths squares lose their last bits,
// which are then less than 4 % of h^2 each and cancel in the sum. Weights have up to 14 bits. The error of a mean stays
// far below half a level, but where a distance so near to the cutoff that it falls on its other side decides over a
// pixel that hardly any other resembles.
struct ShortArithmetic : OneChannel {
    using Sample = uint16_t;
    using Vector = VectorOf<uint16_t>::type;
    using Total = uint32_t;
    static constexpr int Lanes = kVectorBytes / 2;

    static constexpr bool kSumsOfRegisters = false;
    static constexpr bool kWeighsPatches = false;
    static constexpr int kMostSquares = 256;      // in a sum: more would lose more of their bits
    static constexpr int kMostOffsets = 63 * 63;  // so many weights of 12 bits times 255 fit into 32 bits

    // Patches that are compared on so many planes.
    static bool serves(const NlMeans& parameters, int planes) {
        const int width = patch_width(parameters);
        return offsets_of(parameters) <= kMostOffsets && width * width * planes <= kMostSquares &&
               parameters.excess <= 3 * parameters.cutoff && parameters.centre < 0;
    }

    static double offsets_of(const NlMeans& parameters) {
        double offsets = 1;
        for (int distance :
             {parameters.distance, parameters.distance, parameters.outer[0].distance, parameters.outer[1].distance})
            offsets *= 2.0 * distance + 1;
        return offsets;
    }

    ShortArithmetic() = default;
    explicit ShortArithmetic(const NlMeans& parameters) {
        int squares_shift = 0, sum_shift = 0;
        const double largest = double(parameters.cutoff) + double(parameters.excess);
        while (largest > std::ldexp(65534.0, squares_shift) && squares_shift < 16) ++squares_shift;
        const double unit = std::ldexp(1.0, squares_shift);  // of a sum
        const double last = std::floor(std::min(parameters.cutoff / unit, 65534.0));
        while (last > 0 && std::ldexp(last, sum_shift + 1) <= 65535) ++sum_shift;
        while (std::ldexp(255 * offsets_of(parameters), weight_bits) > 0x1p32) --weight_bits;

        rounding = all(unit > 1 ? std::min(unit / 2, 32768.0) : 0.0);
        shift_squares = _mm_cvtsi32_si128(squares_shift);
        excess = all(std::min(std::nearbyint(parameters.excess / unit), 65535.0));
        cutoff = all(last);
        shift_sum = _mm_cvtsi32_si128(sum_shift);
        const double log2_of_e = 1.4426950408889634;
        factor =
            all(std::min(std::nearbyint(std::ldexp(parameters.scale * unit * log2_of_e, 27 - sum_shift)), 65535.0));
        powers_of_two = table_of_powers();
    }

    template <class F>
    static void visit_dtype(DType, F&& f) {
        f(Type<uint8_t>{});
    }

    static Bits all(double value) { return FASTIMG_MM(set1_epi16)(int16_t(uint16_t(value))); }
    static Bits bits(Vector v) { return (Bits)v; }
    static Bits low_bytes() {  // of each short, twice
        return repeated(_mm_set_epi64x(0x0E0E0C0C0A0A0808, 0x0606040402020000));
    }

    Vector cost(Vector a, Vector b) const {
        const Vector difference = a - b;
        return (Vector)FASTIMG_MM(srl_epi16)(FASTIMG_MM(adds_epu16)(bits(difference * difference), rounding),
                                             shift_squares);
    }
    static Vector add(Vector a, Vector b) { return (Vector)FASTIMG_MM(adds_epu16)(bits(a), bits(b)); }
    static Vector scaled(Vector a, float) { return a; }  // by 1
    static Vector load_samples(const uint16_t* p) {
        Vector v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }

    // 2^-x for x = d * scale * log2(e) in units of 2^-11: a cubic for the fraction of x (error 1e-4), times
    // 2^(weight_bits - integer) from a table of bytes.
    template <bool Excess>
    struct Weight {
        explicit Weight(const ShortArithmetic& a)
            : excess(a.excess), cutoff(a.cutoff), factor(a.factor), table(a.powers_of_two), shift(a.shift_sum) {}

        Vector operator()(Vector sum_of_squares, ptrdiff_t) const {
            Bits d = bits(sum_of_squares);
            if constexpr (Excess) d = FASTIMG_MM(subs_epu16)(d, excess);
            const Bits near = FASTIMG_MM(min_epu16)(d, cutoff);
            const Bits x = FASTIMG_MM(mulhi_epu16)(FASTIMG_MM(sll_epi16)(near, shift), factor);
            const Bits f = FASTIMG_MM(slli_epi16)(x, 4) & FASTIMG_MM(set1_epi16)(0x7ff0);
            Bits power = FASTIMG_MM(set1_epi16)(-1294);  // 2^-f in units of 2^-15
            for (int16_t coefficient : {int16_t(7563), int16_t(-22653), int16_t(32766)})
                power = FASTIMG_MM(add_epi16)(FASTIMG_MM(mulhrs_epi16)(power, f), FASTIMG_MM(set1_epi16)(coefficient));
            const Bits twice = FASTIMG_MM(shuffle_epi8)(FASTIMG_MM(srli_epi16)(x, 11), low_bytes());
            const Bits places = twice ^ FASTIMG_MM(set1_epi16)(0x0008);
            const Bits weight = FASTIMG_MM(mulhrs_epi16)(power, FASTIMG_MM(shuffle_epi8)(table, places));
            return (Vector)where_equal(d, near, weight);
        }

        const Bits excess, cutoff, factor, table;
        const __m128i shift;
    };

    // 2^(weight_bits - n) for n <= weight_bits is the byte at n above the byte at n ^ 8.
    Bits table_of_powers() const {
        uint8_t bytes[16] = {};
        for (int n = 0; n <= 10; ++n) {
            const int power = 1 << (weight_bits - n);
            bytes[n] |= uint8_t(power >> 8);
            bytes[n ^ 8] |= uint8_t(power);
        }
        __m128i table;
        std::memcpy(&table, bytes, sizeof table);
        return repeated(table);
    }

    Vector weight_of_centre() const { return (Vector)all(1 << weight_bits); }

    // Of every eight pixels the first four and the last four: as shorts are unpacked, in each 16 bytes for themselves.
    struct Means {
        Words low, high;
        void load_from(const uint32_t* p) {
            std::memcpy(&low, p, sizeof low);
            std::memcpy(&high, p + Lanes / 2, sizeof high);
        }
        void store_to(uint32_t* p) const {
            std::memcpy(p, &low, sizeof low);
            std::memcpy(p + Lanes / 2, &high, sizeof high);
        }
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            const Bits a = bits(w_here), b = bits(w_there), x = bits(after), y = bits(before);
            low += (Words)FASTIMG_MM(madd_epi16)(FASTIMG_MM(unpacklo_epi16)(a, b), FASTIMG_MM(unpacklo_epi16)(x, y));
            high += (Words)FASTIMG_MM(madd_epi16)(FASTIMG_MM(unpackhi_epi16)(a, b), FASTIMG_MM(unpackhi_epi16)(x, y));
        }
        void add_weights(Vector w_here, Vector w_there) {
            const Bits one = FASTIMG_MM(set1_epi16)(1);
            low += (Words)FASTIMG_MM(madd_epi16)(FASTIMG_MM(unpacklo_epi16)(bits(w_here), bits(w_there)), one);
            high += (Words)FASTIMG_MM(madd_epi16)(FASTIMG_MM(unpackhi_epi16)(bits(w_here), bits(w_there)), one);
        }
    };

    static void divide(const uint32_t* values, const uint32_t* weights, float gain, float* means) {
        Means value, weight;
        value.load_from(values);
        weight.load_from(weights);
        store_in_order(
            means, __builtin_convertvector(value.low, Floats) / __builtin_convertvector(weight.low, Floats) * gain,
            __builtin_convertvector(value.high, Floats) / __builtin_convertvector(weight.high, Floats) * gain);
    }

    // What belongs to the low and high halves of every eight pixels.
    static void store_in_order(float* to, Floats low, Floats high) {
#if FASTIMG_LEVEL >= 4
        const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        _mm512_storeu_ps(to, _mm512_permutex2var_ps((__m512)low, first, (__m512)high));
        _mm512_storeu_ps(to + Lanes / 2, _mm512_permutex2var_ps((__m512)low, second, (__m512)high));
#else
        _mm256_storeu_ps(to, _mm256_permute2f128_ps((__m256)low, (__m256)high, 0x20));
        _mm256_storeu_ps(to + Lanes / 2, _mm256_permute2f128_ps((__m256)low, (__m256)high, 0x31));
#endif
    }

    static Bits repeated(__m128i bytes) {
#if FASTIMG_LEVEL >= 4
        return _mm512_broadcast_i32x4(bytes);
#else
        return _mm256_broadcastsi128_si256(bytes);
#endif
    }

    // `value` where a and b are equal, else 0.
    static Bits where_equal(Bits a, Bits b, Bits value) {
#if FASTIMG_LEVEL >= 4
        return _mm512_maskz_mov_epi16(_mm512_cmpeq_epi16_mask(a, b), value);
#else
        return _mm256_and_si256(value, _mm256_cmpeq_epi16(a, b));
#endif
    }

    int weight_bits = 14;
    Bits rounding, excess, cutoff, factor, powers_of_two;
    __m128i shift_squares, shift_sum;
};
#endif

#if FASTIMG_LEVEL >= 3
// Whole weights from a table, for squared differences of uint8 where all sums that weigh anything fit into 16 bits.
struct ShortTableArithmetic : ShortArithmetic {
    static bool serves(const WeightTable& table) {
        const int64_t weighing = int64_t(table.weights.size() - 1) << table.shift;
        return !table.absolute && weighing <= 65535 && table.weights[0] <= 32767;
    }

    explicit ShortTableArithmetic(const WeightTable& table) : weights(table), shift(_mm_cvtsi32_si128(table.shift)) {}

    Vector cost(Vector a, Vector b) const {
        const Vector difference = a - b;
        return difference * difference;
    }

    template <bool>
    struct Weight {
        explicit Weight(const ShortTableArithmetic& a) : weights(a.weights), shift(a.shift) {}

        Vector operator()(Vector sum_of_squares, ptrdiff_t) const {
            const Bits zero{}, index = FASTIMG_MM(srl_epi16)(bits(sum_of_squares), shift);
            const Words low = weights((Words)FASTIMG_MM(unpacklo_epi16)(index, zero));
            const Words high = weights((Words)FASTIMG_MM(unpackhi_epi16)(index, zero));
            return (Vector)FASTIMG_MM(packus_epi32)((Bits)low, (Bits)high);
        }

        const WeightLookup<32> weights;
        const __m128i shift;
    };

    Vector weight_of_centre() const { return (Vector)all(weights.first()); }

    static void divide(const uint32_t* values, const uint32_t* weights, float, float* means) {
        uint32_t quotients[Lanes];
        store_quotients(values, weights, Lanes, quotients);
        Means in_halves;
        in_halves.load_from(quotients);
        store_in_order(means, __builtin_convertvector(in_halves.low, Floats),
                       __builtin_convertvector(in_halves.high, Floats));
    }

    WeightLookup<32> weights;
    __m128i shift;
};
#endif

#undef FASTIMG_MM

}  // namespace fastimg::FASTIMG_TARGET
