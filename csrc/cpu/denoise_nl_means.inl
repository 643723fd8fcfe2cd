// How the work is shaped
//
// The weight of a pair is symmetric, w(p, q) = w(q, p), so only one half of the offsets t = q - p is visited and each
// weight serves both pixels. The image is cut into tiles; a tile copies its source with the search's margin, as planes
// of float or of shorts, into scratch that stays in L2 (this also settles dtypes, strides and borders, once per pixel),
// and then runs through the offsets, `kGroup` at a time, and for each group through its rows, P (the patch's width) at
// a time:
//
//   sum_over_rows     squared differences, summed over P rows by prefixes and suffixes of groups of P rows (van Herk;
//                     Gil and Werman): no subtraction, so no drift, and a NaN stays where it is
//   weights_of_sums   sums over P columns by shifted additions; exp by a polynomial; into a ring of rows, in L1
//   accumulate        sum(p) += w_t(p) x(p + t) + w_t(p - t) x(p - t), for the offsets of the group at once, while the
//                     sums are in registers
//
// Cost per vector of pixels and pair of offsets, whatever the patch (P = 6): about 24 arithmetic operations (5 to sum
// over rows, 3 over columns, 10 for exp, 6 to accumulate), 14 loads, half of which cross a cache line, and 5 stores. At
// two loads a cycle that is about 10 cycles. For a search of 21 x 21 there are 220 pairs: 220 * 10 / 8 = 275 cycles a
// pixel with vectors of 8. Memory is no limit: a tile's source is read about 1.5 times, the result written once.
//
// In shorts, for uint8, the same vector of 32 bytes holds 16 pixels: about 33 operations (7, 3, 17 and 12 with the
// widening to 32 bits), 16 loads and 8 stores for twice as many pixels.

namespace fastimg::FASTIMG_TARGET {

constexpr int kTileRows = 96;
template <class Sample>
constexpr int kTileColumns = 768 / int(sizeof(Sample));
constexpr int kGroup = 2;                    // so that a group is whole or single
constexpr ptrdiff_t kTileBytes = 768 << 10;  // of a tile's copies of its source

// ---- arithmetic ------------------------------------------------------------------------------------------------------
//
// The tile's work is written once, over one of two arithmetics. Each has vectors of `Lanes` samples; sums of squared
// differences (`add`); the weight of a sum; and `Means`, the weighted sum and the sum of weights of a vector of pixels.

// For every image. Sums of uint8 and small sums of uint16 are whole numbers below 2^24, and so exact.
struct FloatArithmetic {
    using Sample = float;
    using Vector = Floats;
    using Total = float;
    static constexpr int Lanes = kLanes;
    static constexpr bool kSumsOfRegisters = FASTIMG_LEVEL >= 4;
    static constexpr bool kWeighsPatches = true;  // patches with taps, and every weighting

    explicit FloatArithmetic(const NlMeans& parameters) : parameters(parameters) {}

    template <class F>
    static void visit_dtype(DType dtype, F&& f) {
        visit(dtype, f);
    }

    Vector cost(Vector difference) const { return difference * difference; }
    static Vector add(Vector a, Vector b) { return a + b; }
    static Vector scaled(Vector a, float factor) { return a * factor; }
    static Vector load_samples(const float* p) { return load(p); }

#if FASTIMG_LEVEL >= 4
    // Each lane and the P - 1 behind it, of two neighbouring vectors.
    template <int P>
    static Vector sum_of_columns(Vector a, Vector b) {
        const Vector pairs = a + shifted<1>(a, b), pairs_behind = b + shifted<1>(b, b);
        Vector sum = pairs + shifted<2>(pairs, pairs_behind);  // P = 4
        if constexpr (P >= 6) sum += shifted<4>(pairs, pairs_behind);
        if constexpr (P == 7) sum += shifted<6>(a, b);
        return sum;
    }
    template <int N>
    static Vector shifted(Vector a, Vector b) {
        return (Vector)_mm512_alignr_epi32((__m512i)b, (__m512i)a, N);
    }
#endif

#if FASTIMG_LEVEL >= 4
    using Mask = __mmask16;
    static Mask at_most(Vector d, float bound) {
        return _mm512_cmp_ps_mask((__m512)d, _mm512_set1_ps(bound), _CMP_LE_OQ);
    }
#else
    using Mask = Ints;
    static Mask at_most(Vector d, float bound) { return d <= bound; }
#endif

    // 2^(d * factor) where `counts`, else 0. Relative error below 3e-6.
    template <class Factor>
    static Vector power_of_two(Vector d, Factor factor, Mask counts) {
        constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: a float this large holds an integer in its low bits
        const Vector shifted = d * factor + kMagic;
        const Vector f = d * factor - (shifted - kMagic);  // 2^(d * factor) = 2^integer * 2^f, |f| <= 1/2
        Vector power = f * 0.009582852f + 0.055906426f;
        power = power * f + 0.240240991f;
        power = power * f + 0.693124175f;
        power = power * f + 1.0f;
        using Words = VectorOf<uint32_t>::type;  // far beyond the cutoff the sum wraps round
        const Words exponent = (Words)shifted << 23;
#if FASTIMG_LEVEL >= 4
        return (Vector)_mm512_maskz_add_epi32(counts, (__m512i)power, (__m512i)exponent);
#else
        return (Vector)(((Words)power + exponent) & (Words)counts);
#endif
    }

    // exp(-d * scale) where d = max(0, sum of squares - excess) <= cutoff, else 0 (and 0 where d is NaN).
    template <bool Excess>
    struct Weight {
        explicit Weight(const FloatArithmetic& a)
            : factor(-a.parameters.scale * kLog2e), excess(a.parameters.excess), cutoff(a.parameters.cutoff) {}

        Vector operator()(Vector sum_of_squares, ptrdiff_t) const {
            Vector d = sum_of_squares;
            if constexpr (Excess) d = max(Floats{}, d - excess);  // in this order NaN stays NaN
            return power_of_two(d, factor, at_most(d, cutoff));
        }

        float factor, excess, cutoff;
    };

    // Any weighting, with a scale and an excess for each pixel.
    template <bool Welsch>
    struct WeightByMaps {
        WeightByMaps(const FloatArithmetic& a, const float* scales, const float* excesses)
            : scales(scales), excesses(excesses), cutoff(a.parameters.cutoff * a.parameters.scale) {
            if (a.parameters.weighting == Weighting::bisquare) squarings = 1;
            if (a.parameters.weighting == Weighting::modified_bisquare) squarings = 3;
        }

        Vector operator()(Vector sum_of_squares, ptrdiff_t x) const {
            const Vector t = max(Floats{}, sum_of_squares - load(excesses + x)) * load(scales + x);
            if constexpr (Welsch) return power_of_two(t, -kLog2e, at_most(t, cutoff));
            Vector power = max(1.0f - t, Floats{});  // in this order 0 where t is NaN
            for (int i = 0; i < squarings; ++i) power *= power;
            return power;
        }

        const float *scales, *excesses;
        float cutoff;
        int squarings = 0;
    };

    static constexpr float kLog2e = 1.44269504f;

    // The centre pixel is an offset like all others; its distance is 0 and its weight 1.
    Vector weight_of_centre() const { return broadcast(1.0f); }

    struct Means {
        Vector sum;
        void load_from(const float* p) { sum = load(p); }
        void store_to(float* p) const { store(p, sum); }
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            sum += w_here * after;
            sum += w_there * before;
        }
        void add_weights(Vector w_here, Vector w_there) { sum += w_here + w_there; }
    };

    // means[x] = values[x] / weights[x] * gain for a vector of pixels.
    static void divide(const float* values, const float* weights, float gain, float* means) {
        store(means, load(values) / load(weights) * gain);
    }

    const NlMeans parameters;
};

// quotients[i] = values[i] / weights[i], rounded half up; 0 where nothing weighs.
template <class T>
void store_quotients(const T* values, const T* weights, int n, uint32_t* quotients) {
    for (int i = 0; i < n; ++i) quotients[i] = weights[i] ? uint32_t((values[i] + weights[i] / 2) / weights[i]) : 0;
}

// Whole weights from a table for all else: sums of differences in 32 bits; those of weighted uint16 in 64.
template <class Value, bool Absolute>
struct WholeArithmetic {
    using Sample = uint32_t;
    using Vector = VectorOf<uint32_t>::type;
    using Total = std::conditional_t<sizeof(Value) == 1, uint32_t, uint64_t>;
    static constexpr int Lanes = kLanes;
    static constexpr bool kSumsOfRegisters = false;
    static constexpr bool kWeighsPatches = false;

    explicit WholeArithmetic(const WeightTable& table) : weights(table.weights), shift(table.shift) {
        weights.push_back(0);
    }

    template <class F>
    static void visit_dtype(DType, F&& f) {
        f(Type<Value>{});
    }

    Vector cost(Vector difference) const {
        if constexpr (!Absolute) return difference * difference;
        const Ints d = (Ints)difference;
        return (Vector)(d < 0 ? -d : d);
    }
    static Vector add(Vector a, Vector b) { return a + b; }
    static Vector scaled(Vector a, float) { return a; }  // by 1
    static Vector load_samples(const uint32_t* p) {
        Vector v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }

    template <bool>
    struct Weight {
        explicit Weight(const WholeArithmetic& a)
            : table(a.weights.data()), shift(a.shift), end(uint32_t(a.weights.size()) - 1) {}

        Vector operator()(Vector sum, ptrdiff_t) const {
            const Vector index = sum >> shift, within = index < end ? index : Vector{} + end;
#if FASTIMG_LEVEL >= 4
            return (Vector)_mm512_i32gather_epi32((__m512i)within, table, 4);
#elif FASTIMG_LEVEL >= 3
            return (Vector)_mm256_i32gather_epi32(table, (__m256i)within, 4);
#else
            Vector weights;
            for (int i = 0; i < Lanes; ++i) weights[i] = uint32_t(table[within[i]]);
            return weights;
#endif
        }

        const int32_t* table;
        int shift;
        uint32_t end;
    };

    Vector weight_of_centre() const { return Vector{} + uint32_t(weights[0]); }

    struct Means {
        typedef Total Totals __attribute__((vector_size(Lanes * sizeof(Total))));
        Totals sum;
        void load_from(const Total* p) { std::memcpy(&sum, p, sizeof sum); }
        void store_to(Total* p) const { std::memcpy(p, &sum, sizeof sum); }
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            sum += __builtin_convertvector(w_here, Totals) * __builtin_convertvector(after, Totals);
            sum += __builtin_convertvector(w_there, Totals) * __builtin_convertvector(before, Totals);
        }
        void add_weights(Vector w_here, Vector w_there) {
            sum += __builtin_convertvector(w_here, Totals) + __builtin_convertvector(w_there, Totals);
        }
    };

    static void divide(const Total* values, const Total* weights, float, float* means) {
        uint32_t quotients[Lanes];
        store_quotients(values, weights, Lanes, quotients);
        for (int i = 0; i < Lanes; ++i) means[i] = float(quotients[i]);
    }

    std::vector<int32_t> weights;
    int shift;
};

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
struct ShortArithmetic {
    using Sample = uint16_t;
    using Vector = VectorOf<uint16_t>::type;
    using Total = uint32_t;
    using Words = VectorOf<uint32_t>::type;
    static constexpr int Lanes = kVectorBytes / 2;

    static constexpr bool kSumsOfRegisters = false;
    static constexpr bool kWeighsPatches = false;
    static constexpr int kMostSquares = 256;      // in a sum: more would lose more of their bits
    static constexpr int kMostOffsets = 63 * 63;  // so many weights of 12 bits times 255 fit into 32 bits

    static bool serves(const NlMeans& parameters, ptrdiff_t channels) {
        const ptrdiff_t width = parameters.patch_before + parameters.patch_after + 1;
        ptrdiff_t squares = width * width * channels;
        for (const NlMeans::Outer& outer : parameters.outer) squares *= outer.in_patch ? width : 1;
        return offsets_of(parameters) <= kMostOffsets && squares <= kMostSquares &&
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

    Vector cost(Vector difference) const {
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
        const int64_t weighing = int64_t(table.weights.size()) << table.shift;
        return !table.absolute && weighing <= 65535 && (table.weights.empty() || table.weights[0] <= 32767);
    }

    explicit ShortTableArithmetic(const WeightTable& table)
        : weights(table.weights), shift(_mm_cvtsi32_si128(table.shift)), end(all(double(table.weights.size()))) {
        weights.push_back(0);
    }

    Vector cost(Vector difference) const { return difference * difference; }

    template <bool>
    struct Weight {
        explicit Weight(const ShortTableArithmetic& a) : table(a.weights.data()), shift(a.shift), end(a.end) {}

        Vector operator()(Vector sum_of_squares, ptrdiff_t) const {
            const Bits zero{};
            const Bits index = FASTIMG_MM(min_epu16)(FASTIMG_MM(srl_epi16)(bits(sum_of_squares), shift), end);
            const Bits low = gathered(FASTIMG_MM(unpacklo_epi16)(index, zero));
            const Bits high = gathered(FASTIMG_MM(unpackhi_epi16)(index, zero));
            return (Vector)FASTIMG_MM(packus_epi32)(low, high);
        }

        Bits gathered(Bits index) const {
#if FASTIMG_LEVEL >= 4
            return _mm512_i32gather_epi32(index, table, 4);
#else
            return _mm256_i32gather_epi32(table, index, 4);
#endif
        }

        const int32_t* table;
        const __m128i shift;
        const Bits end;
    };

    Vector weight_of_centre() const { return (Vector)all(weights[0]); }

    static void divide(const uint32_t* values, const uint32_t* weights, float, float* means) {
        uint32_t quotients[Lanes];
        store_quotients(values, weights, Lanes, quotients);
        Means in_halves;
        in_halves.load_from(quotients);
        store_in_order(means, __builtin_convertvector(in_halves.low, Floats),
                       __builtin_convertvector(in_halves.high, Floats));
    }

    std::vector<int32_t> weights;
    __m128i shift;
    Bits end;
};
#endif

#undef FASTIMG_MM

// ---- tiles -----------------------------------------------------------------------------------------------------------

struct Offset {
    int dy, dx;
};

// Offsets of a plane in groups of one dy. Of a pixel's own plane those that come after it in raster order, if each weight
// is to serve two pixels, or all but the pixel itself; of another plane all.
enum class Offsets { half, all_but_centre, all };

inline std::vector<std::vector<Offset>> groups_of_offsets(int distance, Offsets which) {
    std::vector<std::vector<Offset>> groups;
    for (int dy = which == Offsets::half ? 0 : -distance; dy <= distance; ++dy) {
        for (int dx = which == Offsets::half && dy == 0 ? 1 : -distance; dx <= distance; ++dx) {
            if (which == Offsets::all_but_centre && dy == 0 && dx == 0) continue;
            if (groups.empty() || groups.back().size() == kGroup || groups.back()[0].dy != dy) groups.emplace_back();
            groups.back().push_back({dy, dx});
        }
    }
    return groups;
}

// The images of a call.
struct NlMeansImages {
    const Array &image, &guide;
    const NlMeansMaps& maps;
    const Array& result;

    bool guided() const { return &guide != &image; }
    int channels() const { return int(image.shape[4]); }
    int guide_channels() const { return int(guide.shape[4]); }
    bool mapped() const { return maps.h.data || maps.sigma.data; }
};

// Where a tile lies in the image.
struct Tile {
    ptrdiff_t plane[2], row, column;
    int rows, columns;
};

// Planes that a tile holds along an outer axis, from `before` ahead of its own to `after` behind it.
struct OuterPlanes {
    OuterPlanes(const NlMeans& parameters, int axis)
        : before(parameters.outer[axis].distance + (parameters.outer[axis].in_patch ? parameters.patch_before : 0)),
          after(parameters.outer[axis].distance + (parameters.outer[axis].in_patch ? parameters.patch_after : 0)) {}
    int count() const { return before + after + 1; }
    int before, after;
};

inline int patch_width(const NlMeans& parameters) { return parameters.patch_before + parameters.patch_after + 1; }

// Planes of the guide that patches are compared on.
inline int planes_in_patch(const NlMeans& parameters, const NlMeansImages& images) {
    int planes = images.guide_channels();
    for (const NlMeans::Outer& outer : parameters.outer) planes *= outer.in_patch ? patch_width(parameters) : 1;
    return planes;
}

// Whether every weight is a plain exponential of a plain sum: not so with taps, another weighting, or maps.
inline bool is_plain(const NlMeans& parameters, const NlMeansImages& images) {
    return parameters.taps.empty() && parameters.weighting == Weighting::welsch && !images.mapped();
}

// One thread's scratch, and the work on one tile. `Planes` (of the guide that patches are compared on: channels, and the
// planes of a volume) and `Patch` are 0 where they are only known at run time; only if both are may patches have taps, and
// weights be other than plain.
template <class Arithmetic, int Planes, int Patch>
class TileDenoiser {
    using Sample = typename Arithmetic::Sample;
    using Vector = typename Arithmetic::Vector;
    using Total = typename Arithmetic::Total;
    using Means = typename Arithmetic::Means;
    static constexpr int Lanes = Arithmetic::Lanes;
    static constexpr bool kGeneral = Planes == 0 && Patch == 0 && Arithmetic::kWeighsPatches;

    static Vector load(const Sample* p) { return Arithmetic::load_samples(p); }
    static void store(Sample* p, Vector v) { std::memcpy(p, &v, sizeof v); }
    static Vector add(Vector a, Vector b) { return Arithmetic::add(a, b); }

public:
    // For tiles of up to `rows` × `columns` pixels.
    TileDenoiser(const Arithmetic& arithmetic, const NlMeans& parameters, const NlMeansImages& images, int rows,
                 int columns)
        : arithmetic_(arithmetic),
          parameters_(parameters),
          images_(images),
          channels_(images.channels()),
          guide_channels_(images.guide_channels()),
          patch_(parameters.patch_before + parameters.patch_after + 1),
          planes_{{parameters, 0}, {parameters, 1}},
          tile_rows_(rows),
          tile_columns_(columns),
          before_(parameters.distance + parameters.patch_before),
          after_(parameters.distance + parameters.patch_after),
          source_stride_(round_up(before_ + columns + after_ + 2 * Lanes, Lanes)),
          source_rows_(before_ + rows + after_ + patch_),
          plane_size_(source_rows_ * source_stride_),
          stride_(round_up(columns + parameters.distance + patch_ - 1, Lanes)),
          ring_rows_(round_up(parameters.distance + patch_, patch_)),
          image_planes_(images.guided() ? guide_channels_ * planes_[0].count() * planes_[1].count() : 0),
          source_(size_t(image_planes_ + channels_ * planes_[0].count() * planes_[1].count()) * size_t(plane_size_)),
          weights_(size_t(kGroup * ring_rows_ * stride_)),
          suffixes_(size_t(kGroup * patch_ * stride_)),
          sums_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          terms_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          differences_(size_t(patch_ * Lanes)),
          maps_(kGeneral ? size_t(2 * (rows + patch_) * stride_) : 0),
          totals_(size_t((channels_ + 2) * tile_rows_ * tile_columns_)) {
        const ptrdiff_t source_size =
            (image_planes_ + channels_ * planes_[0].count() * planes_[1].count()) * plane_size_;
        std::fill_n(source_.data(), source_size, Sample(0));
        std::fill_n(sums_.data(), (patch_ + 1) * stride_ + patch_ + Lanes, Sample(0));
        find_terms();
        own_offsets_ = groups_of_offsets(parameters.distance, one_sided() ? Offsets::all_but_centre : Offsets::half);
        if (planes_[0].count() * planes_[1].count() > 1)
            offsets_ = groups_of_offsets(parameters.distance, Offsets::all);
    }

    void operator()(const Tile& tile) {
        copy_planes(images_.image, image_planes_, tile);
        if (images_.guided()) copy_planes(images_.guide, 0, tile);
        if constexpr (kGeneral) copy_maps(tile);
        begin_totals(tile);
        const auto& outer = parameters_.outer;
        for (int a = -outer[0].distance; a <= outer[0].distance; ++a) {
            for (int z = -outer[1].distance; z <= outer[1].distance; ++z) {
                if (a == 0 && z == 0)
                    visit_plane(a, z, own_offsets_, one_sided(), tile);
                else if (takes_part(0, tile.plane[0] + a) && takes_part(1, tile.plane[1] + z))
                    visit_plane(a, z, offsets_, true, tile);
            }
        }
        Arithmetic::visit_dtype(images_.result.dtype, [&](auto type) {  //
            write_result(view<typename decltype(type)::type, 5>(images_.result), tile);
        });
    }

private:
    int patch() const { return Patch ? Patch : patch_; }
    // Whether w(p, q) is not w(q, p).
    bool one_sided() const { return images_.mapped(); }
    bool takes_part(int axis, ptrdiff_t plane) const {
        return !parameters_.outer[axis].truncated || (plane >= 0 && plane < images_.image.shape[axis]);
    }

    // ---- the tile's memory -----------------------------------------------------------------------------------------

    // A plane of the tile's own plane of the image (or of the guide); may lie outside the tile by the margin.
    Sample* source_at(ptrdiff_t plane, ptrdiff_t row, ptrdiff_t column) {
        return source_.data() + plane * plane_size_ + (before_ + row) * source_stride_ + before_ + column;
    }
    // The first channel of a plane beside the tile's own.
    ptrdiff_t plane_at(int a, int z, int channels) const {
        return ((a + planes_[0].before) * planes_[1].count() + z + planes_[1].before) * ptrdiff_t(channels);
    }
    ptrdiff_t guide_plane(int a, int z) const { return plane_at(a, z, guide_channels_); }
    ptrdiff_t image_plane(int a, int z) const { return image_planes_ + plane_at(a, z, channels_); }

    Total* total_at(int channel, ptrdiff_t row) {
        return totals_.data() + (channel * tile_rows_ + row) * tile_columns_;
    }
    Total* weight_total_at(ptrdiff_t row) { return total_at(channels_, row); }
    Total* largest_at(ptrdiff_t row) { return total_at(channels_ + 1, row); }

    void copy_planes(const Array& image, ptrdiff_t first, const Tile& tile) {
        const int n = int(image.shape[4]);
        Arithmetic::visit_dtype(image.dtype, [&](auto type) {
            const auto from = view<typename decltype(type)::type, 5>(image);
            for (int a = -planes_[0].before; a <= planes_[0].after; ++a) {
                for (int z = -planes_[1].before; z <= planes_[1].after; ++z) {
                    const ptrdiff_t outer0 = mirrored_index(tile.plane[0] + a, image.shape[0]);
                    const ptrdiff_t outer1 = mirrored_index(tile.plane[1] + z, image.shape[1]);
                    for (int channel = 0; channel < n; ++channel)
                        copy_plane(from.at(outer0, outer1, 0, 0, channel), from, first + plane_at(a, z, n) + channel,
                                   tile);
                }
            }
        });
    }

    template <class In>
    void copy_plane(const In* image, const View<In, 5>& view, ptrdiff_t plane, const Tile& tile) {
        const ptrdiff_t height = view.shape[2], width = view.shape[3], stride = view.stride[3];
        const ptrdiff_t left = tile.column - before_, right = tile.column + tile.columns + after_;
        const ptrdiff_t inner_left = std::max<ptrdiff_t>(left, 0), inner_right = std::min(right, width);
        for (ptrdiff_t y = -before_; y < tile.rows + after_; ++y) {
            const In* from = image + mirrored_index(tile.row + y, height) * view.stride[2];
            Sample* to = source_at(plane, y, 0) - tile.column;
            for (ptrdiff_t x = left; x < inner_left; ++x)
                to[x] = Sample(load_float(from + mirrored_index(x, width) * stride));
            copy_samples(to + inner_left, from + inner_left * stride, inner_right - inner_left, stride);
            for (ptrdiff_t x = inner_right; x < right; ++x)
                to[x] = Sample(load_float(from + mirrored_index(x, width) * stride));
        }
    }

    template <class In>
    static void copy_samples(float* to, const In* from, ptrdiff_t n, ptrdiff_t stride) {
        load_row(to, from, n, stride);
    }
    template <class Whole, class In>
    static void copy_samples(Whole* to, const In* from, ptrdiff_t n, ptrdiff_t stride) {
        for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i * stride];
    }

    // The scale and the excess of each of the tile's pixels, in rows as those of one-sided weights.
    float* scales_at(ptrdiff_t row, ptrdiff_t stride) { return maps_.data() + row * stride; }
    float* excesses_at(ptrdiff_t row, ptrdiff_t stride) {
        return scales_at(tile_rows_ + patch_, stride_) + row * stride;
    }

    void copy_maps(const Tile& tile) {
        const ptrdiff_t count = (tile_rows_ + patch_) * stride_, stride = round_up(tile.columns + patch() - 1, Lanes);
        std::fill_n(scales_at(0, stride), count, parameters_.scale);
        std::fill_n(excesses_at(0, stride_), count, parameters_.excess);
        for (int row = 0; row < tile.rows; ++row) {
            float* const scales = scales_at(row, stride);
            float* const excesses = excesses_at(row, stride);
            for_each_of_map(images_.maps.h, tile, row,
                            [&](int x, float h) { scales[x] = parameters_.scale / (h * h); });
            for_each_of_map(images_.maps.sigma, tile, row,
                            [&](int x, float sigma) { excesses[x] = parameters_.excess * sigma * sigma; });
        }
    }

    template <class F>
    void for_each_of_map(const Array& map, const Tile& tile, int row, F&& f) {
        if (!map.data) return;
        visit(map.dtype, [&](auto type) {
            const auto values = view<typename decltype(type)::type, 4>(map);
            for (int x = 0; x < tile.columns; ++x)
                f(x, load_float(values.at(tile.plane[0], tile.plane[1] - parameters_.first_plane, tile.row + row,
                                          tile.column + x)));
        });
    }

    void begin_totals(const Tile& tile) {
        const Vector one = parameters_.centre < 0 ? arithmetic_.weight_of_centre() : Vector{};
        const ptrdiff_t centre = image_plane(0, 0);
        for (int row = 0; row < tile.rows; ++row) {
            for (ptrdiff_t x = 0; x < tile_columns_; x += Lanes) {
                Means weights{};
                weights.add_weights(one, Vector{});
                weights.store_to(weight_total_at(row) + x);
                for (int channel = 0; channel < channels_; ++channel) {
                    Means values{};
                    if (parameters_.centre < 0)
                        values.add_products(one, load(source_at(centre + channel, row, x)), Vector{}, Vector{});
                    values.store_to(total_at(channel, row) + x);
                }
            }
        }
        if (parameters_.centre >= 0) std::fill_n(largest_at(0), tile_rows_ * tile_columns_, Total(0));
    }

    // ---- differences -----------------------------------------------------------------------------------------------

    // A plane of the guide that patches cover, and its tap.
    struct Term {
        ptrdiff_t step;
        float tap;
    };

    void find_terms() {
        const int before = parameters_.patch_before, after = parameters_.patch_after;
        const auto [in0, in1] = std::array{parameters_.outer[0].in_patch, parameters_.outer[1].in_patch};
        const auto tap = [&](bool in_patch, int i) {
            return in_patch && !parameters_.taps.empty() ? parameters_.taps[size_t(before + i)] : 1.0f;
        };
        for (int a = in0 ? -before : 0; a <= (in0 ? after : 0); ++a)
            for (int z = in1 ? -before : 0; z <= (in1 ? after : 0); ++z)
                for (int channel = 0; channel < guide_channels_; ++channel)
                    patch_planes_.push_back(
                        {(guide_plane(a, z) - guide_plane(0, 0) + channel) * plane_size_, tap(in0, a) * tap(in1, z)});
    }

    // The squared differences of a vector of pixels; summed over the planes of a patch.
    Vector squared_difference(const Sample* p, const Sample* q) const {
        const auto of_plane = [&](const Term& term) {
            const Vector squares = arithmetic_.cost(load(p + term.step) - load(q + term.step));
            return kGeneral ? Arithmetic::scaled(squares, term.tap) : squares;
        };
        const size_t planes = Planes ? size_t(Planes) : patch_planes_.size();
        Vector sum = of_plane(patch_planes_[0]);
        for (size_t i = 1; i < planes; ++i) sum = add(sum, of_plane(patch_planes_[i]));
        return sum;
    }

    // ---- weights ---------------------------------------------------------------------------------------------------

    // What the offsets of one plane have in common.
    struct Partner {
        ptrdiff_t guide_step, image_step;  // from the tile's own plane to it
        bool one_sided;                    // weights serve the tile's pixels alone, not their partners
    };

    void visit_plane(int a, int z, const std::vector<std::vector<Offset>>& groups, bool one_sided, const Tile& tile) {
        const Partner partner{(guide_plane(a, z) - guide_plane(0, 0)) * plane_size_,
                              (image_plane(a, z) - image_plane(0, 0)) * plane_size_, one_sided};
        for (const std::vector<Offset>& group : groups) {
            if (group.size() == kGroup)
                visit_offsets<kGroup>(group.data(), partner, tile);
            else
                visit_offsets<1>(group.data(), partner, tile);
        }
    }

    // Weights and sums of a group of offsets of one dy, P rows at a time. Weights are wanted for the tile's pixels and, if
    // they serve partners too, for those that reach it by an offset, up to dy rows above; they stay in a ring of rows
    // until both have used them.
    template <int Count>
    void visit_offsets(const Offset* group, const Partner& partner, const Tile& tile) {
        const int dy = group[0].dy, rows_above = partner.one_sided ? 0 : dy;
        const ptrdiff_t ring_rows = round_up(rows_above + patch(), patch());
        Weights w[Count];
        for (int g = 0; g < Count; ++g) {
            const int dx = group[g].dx, left = partner.one_sided ? 0 : std::max(dx, 0);
            const int margin = partner.one_sided ? 0 : std::abs(dx);
            w[g].left = left;
            w[g].columns = tile.columns + margin;
            w[g].stride = round_up(w[g].columns + patch() - 1, Lanes);
            w[g].ring = weights_.data() + g * ring_rows_ * stride_;
            w[g].suffixes = suffixes_.data() + g * patch() * stride_;
            w[g].p =
                source_at(guide_plane(0, 0), -rows_above - parameters_.patch_before, -left - parameters_.patch_before);
            w[g].step = dy * source_stride_ + dx;
            w[g].dy = dy;
            w[g].dx = dx;
            begin_suffixes(w[g].p, w[g].p + w[g].step + partner.guide_step, w[g].suffixes, w[g].stride);
        }
        ptrdiff_t slot = 0;
        for (int row = -rows_above; row < tile.rows; row += patch()) {
            for (int g = 0; g < Count; ++g) {
                w[g].p += patch() * source_stride_;
                Sample* const weights = w[g].ring + slot * w[g].stride;
                find_weights(w[g], w[g].p + w[g].step + partner.guide_step, weights, row);
                if (parameters_.truncated) drop_weights_outside(w[g], weights, row, tile);
            }
            for (int y = std::max(row, 0); y < std::min(row + patch(), tile.rows); ++y) {
                const ptrdiff_t here_row = slot + y - row;
                if (partner.one_sided) {
                    accumulate_one_sided<Count>(w, y, here_row, partner.image_step, tile.columns);
                } else {
                    const ptrdiff_t there_row = here_row >= dy ? here_row - dy : here_row - dy + ring_rows;
                    accumulate<Count>(w, y, here_row, there_row, tile.columns);
                }
            }
            slot += patch();
            if (slot == ring_rows) slot = 0;
        }
    }

    struct Weights {
        ptrdiff_t left;             // columns at the left of the tile's
        ptrdiff_t columns, stride;  // of a row
        ptrdiff_t step;             // from a pixel to its partner in the same plane
        int dy, dx;
        Sample* ring;
        Sample* suffixes;
        const Sample* p;
    };

    // Weights of P rows, from `row` of the tile on.
    void find_weights(const Weights& w, const Sample* q, Sample* weights, int row) {
        const ptrdiff_t count = patch() * w.stride;
        if constexpr (kGeneral) {
            if (parameters_.taps.empty())
                sum_over_rows(w.p, q, w.suffixes, w.stride);
            else
                sum_over_rows_with_taps(w.p, q, w.suffixes, w.stride);
            // With maps weights are one-sided, so that rows are of one length; without, any of its constants will do.
            const ptrdiff_t first = images_.mapped() ? row : 0;
            const float* const scales = scales_at(first, w.stride);
            const float* const excesses = excesses_at(first, w.stride);
            if (parameters_.weighting == Weighting::welsch)
                weights_of_sums(weights, count,
                                typename Arithmetic::template WeightByMaps<true>(arithmetic_, scales, excesses));
            else
                weights_of_sums(weights, count,
                                typename Arithmetic::template WeightByMaps<false>(arithmetic_, scales, excesses));
        } else {
            const auto find = [&](const auto& weight) {
                if constexpr (Arithmetic::kSumsOfRegisters && Patch != 0) {
                    weights_of_rows<Patch>(w.p, q, w.suffixes, w.stride, weights, weight);
                } else {
                    sum_over_rows(w.p, q, w.suffixes, w.stride);
                    weights_of_sums(weights, count, weight);
                }
            };
            if (parameters_.excess > 0)
                find(typename Arithmetic::template Weight<true>(arithmetic_));
            else
                find(typename Arithmetic::template Weight<false>(arithmetic_));
        }
    }

    // suffixes[j] = sum of the squared differences of rows j .. P-1 of the group of rows that begins at p. With taps the
    // differences themselves.
    void begin_suffixes(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns) const {
        const bool summed = !kGeneral || parameters_.taps.empty();
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            Vector sum{};
            for (int j = patch() - 1; j >= 0; --j) {
                const Vector d = squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                sum = summed ? add(sum, d) : d;
                store(suffixes + j * columns + x, sum);
            }
        }
    }

    // sums[j] = suffix j of the group before + prefix j of this one: P consecutive rows, for j = 0 .. P-1.
    void sum_over_rows(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns) {
        Sample* const sums = sums_.data();
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            if constexpr (Patch != 0) {
                Vector of_rows[Patch];
                add_rows(p + x, q + x, suffixes + x, columns, of_rows);
                for (int j = 0; j < Patch; ++j) store(sums + j * columns + x, of_rows[j]);
            } else {
                Sample* const differences = differences_.data();
                Vector prefix{};
                for (int j = 0; j < patch(); ++j) {
                    store(sums + j * columns + x, add(load(suffixes + j * columns + x), prefix));
                    const Vector d = squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                    store(differences + j * Lanes, d);
                    prefix = add(prefix, d);
                }
                Vector suffix{};
                for (int j = patch() - 1; j >= 0; --j) {
                    suffix = add(suffix, load(differences + j * Lanes));
                    store(suffixes + j * columns + x, suffix);
                }
            }
        }
    }

    // The same for one vector of columns; the suffixes become those of this group.
    template <int P>
    void add_rows(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns, Vector (&sums)[P]) {
        Vector d[P];
        for (int j = 0; j < P; ++j) d[j] = squared_difference(p + j * source_stride_, q + j * source_stride_);
        Vector prefix{};
        for (int j = 0; j < P; ++j) {
            sums[j] = add(load(suffixes + j * columns), prefix);
            prefix = add(prefix, d[j]);
        }
        Vector suffix{};
        for (int j = P - 1; j >= 0; --j) {
            suffix = add(suffix, d[j]);
            store(suffixes + j * columns, suffix);
        }
    }

    // Sums over rows and columns and their weights at once, with the sums over rows of two neighbouring vectors of columns
    // in registers.
    template <int P, class Weight>
    void weights_of_rows(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns, Sample* weights,
                         const Weight& weight) {
        Vector here[P], next[P];
        add_rows(p, q, suffixes, columns, here);
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            if (x + Lanes < columns) add_rows(p + x + Lanes, q + x + Lanes, suffixes + x + Lanes, columns, next);
            for (int j = 0; j < P; ++j) {
                store(weights + j * columns + x, weight(Arithmetic::template sum_of_columns<P>(here[j], next[j]), x));
                here[j] = next[j];
            }
        }
    }

    // sums[j] = taps times rows j .. P-1 of the group before, and 0 .. j-1 of this one.
    void sum_over_rows_with_taps(const Sample* p, const Sample* q, Sample* differences, ptrdiff_t columns) {
        Sample* const sums = sums_.data();
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            for (int j = 0; j < patch(); ++j) {
                Vector sum{};
                for (int k = j; k < patch(); ++k)
                    sum = add(sum,
                              Arithmetic::scaled(load(differences + k * columns + x), parameters_.taps[size_t(k - j)]));
                store(sums + j * columns + x, sum);
            }
        }
        begin_suffixes(p, q, differences, columns);
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            for (int j = 1; j < patch(); ++j) {
                Vector sum = load(sums + j * columns + x);
                for (int k = 0; k < j; ++k)
                    sum = add(sum, Arithmetic::scaled(load(differences + k * columns + x),
                                                      parameters_.taps[size_t(patch() - j + k)]));
                store(sums + j * columns + x, sum);
            }
        }
    }

    // weights[x] = weight of the sum of P neighbours from x on; rows follow each other without a gap.
    template <class Weight>
    void weights_of_sums(Sample* weights, ptrdiff_t count, const Weight& weight) {
        Sample* const sums = sums_.data();
        Sample* const terms = terms_.data();
        if constexpr (Patch == 6 || Patch == 7) {
            for (ptrdiff_t x = 0; x < count; x += Lanes)
                store(terms + x, add(add(load(sums + x), load(sums + x + 1)), load(sums + x + 2)));
            for (ptrdiff_t x = 0; x < count; x += Lanes) {
                Vector sum = add(load(terms + x), load(terms + x + 3));
                if constexpr (Patch == 7) sum = add(sum, load(sums + x + 6));
                store(weights + x, weight(sum, x));
            }
            return;
        }
        if (kGeneral && !parameters_.taps.empty()) {
            for (ptrdiff_t x = 0; x < count; x += Lanes) {
                Vector sum{};
                for (int k = 0; k < patch(); ++k)
                    sum = add(sum, Arithmetic::scaled(load(sums + x + k), parameters_.taps[size_t(k)]));
                store(weights + x, weight(sum, x));
            }
            return;
        }
        std::fill_n(terms, count, Sample(0));
        ptrdiff_t done = 0;
        for (int width = 1; width <= patch(); width *= 2) {  // sums[x] is the sum of `width` neighbours
            if (patch() & width) {
                for (ptrdiff_t x = 0; x < count; x += Lanes)
                    store(terms + x, add(load(terms + x), load(sums + x + done)));
                done += width;
            }
            for (ptrdiff_t x = 0; x < count; x += Lanes) store(sums + x, add(load(sums + x), load(sums + x + width)));
        }
        for (ptrdiff_t x = 0; x < count; x += Lanes) store(weights + x, weight(load(terms + x), x));
    }

    // Weights of P rows become 0 where a pixel or its partner is outside the image.
    void drop_weights_outside(const Weights& w, Sample* weights, int row, const Tile& tile) const {
        const ptrdiff_t height = images_.image.shape[2], width = images_.image.shape[3];
        const ptrdiff_t first_column = tile.column - w.left;  // of a row of weights
        const auto within = [&](ptrdiff_t column) {
            return std::clamp<ptrdiff_t>(column - first_column, 0, w.columns);
        };
        const ptrdiff_t begin = within(std::max(0, -w.dx)), end = std::max(begin, within(width - std::max(0, w.dx)));
        for (int j = 0; j < patch(); ++j, weights += w.stride) {
            const ptrdiff_t y = tile.row + row + j;
            const bool inside = std::min(y, y + w.dy) >= 0 && std::max(y, y + w.dy) < height;
            std::fill(weights, weights + (inside ? begin : w.columns), Sample(0));
            std::fill(weights + (inside ? end : w.columns), weights + w.columns, Sample(0));
        }
    }

    // ---- accumulation ----------------------------------------------------------------------------------------------

    template <int Count>
    void accumulate(const Weights* w, int row, ptrdiff_t here_row, ptrdiff_t there_row, ptrdiff_t columns) {
        const Sample *here[Count], *there[Count], *after[Count], *before[Count];
        for (int g = 0; g < Count; ++g) {
            here[g] = w[g].ring + here_row * w[g].stride + w[g].left;
            there[g] = w[g].ring + there_row * w[g].stride + w[g].left - w[g].dx;
            if constexpr (Arithmetic::kWeighsPatches) {
                keep_largest(here[g], row, columns);
                keep_largest(there[g], row, columns);
            }
        }
        Total* const weight_total = weight_total_at(row);
        const auto add_channel = [&](int channel, auto with_weights) {
            const Sample* const pixel = source_at(image_plane(0, 0) + channel, row, 0);
            Total* const value_total = total_at(channel, row);
            for (int g = 0; g < Count; ++g) {
                after[g] = pixel + w[g].step;
                before[g] = pixel - w[g].step;
            }
            for (ptrdiff_t x = 0; x < columns; x += Lanes) {
                Means values, weights;
                values.load_from(value_total + x);
                if (with_weights) weights.load_from(weight_total + x);
                for (int g = 0; g < Count; ++g) {
                    const Vector w_here = load(here[g] + x), w_there = load(there[g] + x);
                    values.add_products(w_here, load(after[g] + x), w_there, load(before[g] + x));
                    if (with_weights) weights.add_weights(w_here, w_there);
                }
                values.store_to(value_total + x);
                if (with_weights) weights.store_to(weight_total + x);
            }
        };
        add_channel(0, std::true_type{});
        for (int channel = 1; channel < channels_; ++channel) add_channel(channel, std::false_type{});
    }

    // Pairs of offsets of one pixel take the places of a pixel's two partners.
    template <int Count>
    void accumulate_one_sided(const Weights* w, int row, ptrdiff_t here_row, ptrdiff_t image_step, ptrdiff_t columns) {
        const Sample* here[Count];
        for (int g = 0; g < Count; ++g) {
            here[g] = w[g].ring + here_row * w[g].stride;
            if constexpr (Arithmetic::kWeighsPatches) keep_largest(here[g], row, columns);
        }
        Total* const weight_total = weight_total_at(row);
        for (int channel = 0; channel < channels_; ++channel) {
            const Sample* const pixel = source_at(image_plane(0, 0) + channel, row, 0) + image_step;
            Total* const value_total = total_at(channel, row);
            for (ptrdiff_t x = 0; x < columns; x += Lanes) {
                Means values, weights;
                values.load_from(value_total + x);
                weights.load_from(weight_total + x);
                for (int g = 0; g < Count; g += 2) {
                    const Vector first = load(here[g] + x), second = g + 1 < Count ? load(here[g + 1] + x) : Vector{};
                    values.add_products(first, load(pixel + w[g].step + x), second,
                                        g + 1 < Count ? load(pixel + w[g + 1].step + x) : Vector{});
                    weights.add_weights(first, second);
                }
                values.store_to(value_total + x);
                if (channel == 0) weights.store_to(weight_total + x);
            }
        }
    }

    void keep_largest(const Sample* weights, int row, ptrdiff_t columns) {
        if (parameters_.centre < 0) return;
        Total* const largest = largest_at(row);
        for (ptrdiff_t x = 0; x < columns; ++x) largest[x] = std::max<Total>(largest[x], weights[x]);
    }

    // The pixel itself, where its weight depends on the others'. Where those are all 0 it stays as it is.
    void add_centre(const Tile& tile) {
        for (int row = 0; row < tile.rows; ++row) {
            for (int x = 0; x < tile.columns; ++x) {
                const Total weight =
                    std::max<Total>(Total(parameters_.centre) * largest_at(row)[x], std::numeric_limits<Total>::min());
                weight_total_at(row)[x] += weight;
                for (int channel = 0; channel < channels_; ++channel)
                    total_at(channel, row)[x] += weight * *source_at(image_plane(0, 0) + channel, row, x);
            }
        }
    }

    template <class Out>
    void write_result(const View<Out, 5>& result, const Tile& tile) {
        if constexpr (Arithmetic::kWeighsPatches)
            if (parameters_.centre >= 0) add_centre(tile);
        float means[kTileColumns<Sample>];
        for (int channel = 0; channel < channels_; ++channel) {
            for (int row = 0; row < tile.rows; ++row) {
                for (ptrdiff_t x = 0; x < tile.columns; x += Lanes)
                    Arithmetic::divide(total_at(channel, row) + x, weight_total_at(row) + x, parameters_.gain,
                                       means + x);
                Out* const to = result.at(tile.plane[0], tile.plane[1] - parameters_.first_plane, tile.row + row,
                                          tile.column, channel);
                store_row(to, means, tile.columns, result.stride[3]);
            }
        }
    }

    const Arithmetic& arithmetic_;
    const NlMeans& parameters_;
    const NlMeansImages& images_;
    const int channels_, guide_channels_, patch_;
    const OuterPlanes planes_[2];
    const ptrdiff_t tile_rows_, tile_columns_;
    const ptrdiff_t before_, after_;  // the margin of the source's copy
    const ptrdiff_t source_stride_, source_rows_, plane_size_;
    const ptrdiff_t stride_, ring_rows_;  // the largest of weights and sums
    const ptrdiff_t image_planes_;  // where the planes of the image begin: behind those of the guide, if there is one
    Scratch<Sample> source_;        // (planes, source_rows_, source_stride_)
    Scratch<Sample> weights_;       // (kGroup, ring_rows_, stride_)
    Scratch<Sample> suffixes_;      // (kGroup, patch_, stride_)
    Scratch<Sample> sums_;          // (patch_, stride_) and what a shifted load may read beyond
    Scratch<Sample> terms_;         // (patch_, stride_)
    Scratch<Sample> differences_;   // (patch_, Lanes)
    Scratch<float> maps_;           // (2, tile_rows_ + patch_, stride_): scales and excesses
    Scratch<Total> totals_;         // (channels + 2, tile_rows_, tile_columns_): sums, sums of weights, largest weights
    std::vector<Term> patch_planes_;
    std::vector<std::vector<Offset>> own_offsets_, offsets_;  // of a pixel's own plane, and of others
};

// The size of equal tiles that cover n pixels, at most `largest` each, in multiples of `unit`.
inline int tile_size(ptrdiff_t n, int largest, int unit) {
    const ptrdiff_t count = divide_up(n, largest);
    return int(std::min<ptrdiff_t>(largest, round_up(divide_up(n, count), unit)));
}

// A tile that keeps many planes is smaller.
template <class Sample>
std::array<int, 2> largest_tile(const NlMeans& parameters, const NlMeansImages& images) {
    std::array<int, 2> size{kTileRows, kTileColumns<Sample>};
    const ptrdiff_t planes = ptrdiff_t(OuterPlanes(parameters, 0).count()) * OuterPlanes(parameters, 1).count() *
                             (images.channels() + (images.guided() ? images.guide_channels() : 0));
    const int margin = 2 * parameters.distance + parameters.patch_before + parameters.patch_after;
    const auto bytes = [&] { return planes * (size[0] + margin) * (size[1] + margin) * ptrdiff_t(sizeof(Sample)); };
    for (int axis = 0; bytes() > kTileBytes && std::max(size[0], size[1]) > 32; axis = 1 - axis)
        if (size[axis] > 32) size[axis] /= 2;
    return size;
}

template <class Arithmetic, int Planes, int Patch>
void denoise_tiles(const Arithmetic& arithmetic, const NlMeansImages& images, const NlMeans& parameters, int threads) {
    const Array& result = images.result;
    const ptrdiff_t height = result.shape[2], width = result.shape[3];
    const auto [largest_rows, largest_columns] = largest_tile<typename Arithmetic::Sample>(parameters, images);
    const int tile_rows = tile_size(height, largest_rows, 16),
              tile_columns = tile_size(width, largest_columns, Arithmetic::Lanes);
    const ptrdiff_t down = divide_up(height, tile_rows), across = divide_up(width, tile_columns);
    using Denoiser = TileDenoiser<Arithmetic, Planes, Patch>;
    parallel_for(
        result.shape[0] * result.shape[1] * down * across, threads,
        [&] { return Denoiser(arithmetic, parameters, images, tile_rows, tile_columns); },
        [&](ptrdiff_t i, Denoiser& denoise) {
            const ptrdiff_t plane = i / (down * across), row = i / across % down * tile_rows;
            const ptrdiff_t column = i % across * tile_columns;
            denoise(Tile{{plane / result.shape[1], parameters.first_plane + plane % result.shape[1]},
                         row,
                         column,
                         int(std::min<ptrdiff_t>(tile_rows, height - row)),
                         int(std::min<ptrdiff_t>(tile_columns, width - column))});
        });
}

// Kernels of their own for the usual planes (grey, colour; 4 are a grey volume with patches as wide) and patches.
template <class Arithmetic, int Planes, int Patch, int... Patches>
void denoise_patches(const Arithmetic& arithmetic, const NlMeansImages& images, const NlMeans& parameters,
                     int threads) {
    if (Patch == 0 || patch_width(parameters) == Patch)
        return denoise_tiles<Arithmetic, Planes, Patch>(arithmetic, images, parameters, threads);
    if constexpr (sizeof...(Patches) > 0)
        return denoise_patches<Arithmetic, Planes, Patches...>(arithmetic, images, parameters, threads);
    denoise_tiles<Arithmetic, 0, 0>(arithmetic, images, parameters, threads);
}

inline void denoise_in_floats(const NlMeansImages& images, const NlMeans& parameters, int threads) {
    const FloatArithmetic floats(parameters);
    const int planes = is_plain(parameters, images) ? planes_in_patch(parameters, images) : 0;
    switch (planes) {
        case 1: return denoise_patches<FloatArithmetic, 1, 4, 6, 7, 0>(floats, images, parameters, threads);
        case 3: return denoise_patches<FloatArithmetic, 3, 4, 6, 7, 0>(floats, images, parameters, threads);
        case 4: return denoise_patches<FloatArithmetic, 4, 4>(floats, images, parameters, threads);
        default: return denoise_tiles<FloatArithmetic, 0, 0>(floats, images, parameters, threads);
    }
}

template <class Arithmetic>
void denoise_in_shorts(const Arithmetic& shorts, const NlMeansImages& images, const NlMeans& parameters, int threads) {
    switch (planes_in_patch(parameters, images)) {
        case 1: return denoise_patches<Arithmetic, 1, 6, 7>(shorts, images, parameters, threads);
        case 3: return denoise_patches<Arithmetic, 3, 6, 7>(shorts, images, parameters, threads);
        default: return denoise_tiles<Arithmetic, 0, 0>(shorts, images, parameters, threads);
    }
}

inline void denoise_nl_means(const Array& image, const Array& guide, const NlMeansMaps& maps, const Array& result,
                             const NlMeans& parameters, int threads) {
    const NlMeansImages images{image, guide, maps, result};
#if FASTIMG_LEVEL >= 3
    if (image.dtype == DType::u8 && guide.dtype == DType::u8 && result.dtype == DType::u8 &&
        is_plain(parameters, images) && ShortArithmetic::serves(parameters, guide.shape[4]))
        return denoise_in_shorts(ShortArithmetic(parameters), images, parameters, threads);
#endif
    denoise_in_floats(images, parameters, threads);
}

inline void denoise_nl_means_by_table(const Array& image, const Array& guide, const Array& result,
                                      const NlMeans& parameters, const WeightTable& table, int threads) {
    const NlMeansMaps no_maps;
    const NlMeansImages images{image, guide, no_maps, result};
    const auto denoise = [&](const auto& arithmetic) {
        denoise_tiles<std::decay_t<decltype(arithmetic)>, 0, 0>(arithmetic, images, parameters, threads);
    };
#if FASTIMG_LEVEL >= 3
    if (image.dtype == DType::u8 && ShortTableArithmetic::serves(table))
        return denoise_in_shorts(ShortTableArithmetic(table), images, parameters, threads);
#endif
    if (image.dtype == DType::u16)
        denoise(WholeArithmetic<uint16_t, true>(table));
    else if (table.absolute)
        denoise(WholeArithmetic<uint8_t, true>(table));
    else
        denoise(WholeArithmetic<uint8_t, false>(table));
}

}  // namespace fastimg::FASTIMG_TARGET
