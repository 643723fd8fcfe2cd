// What non-local means computes with: the work on a tile (denoise_nl_means_tile.inl) is written once, over one of these.
//
// Each has vectors of `Lanes` samples; the cost of a difference and sums of costs (`add`); the weight of a sum; and `Means`,
// the weighted sum or the sum of weights of a vector of pixels.
//
// A sample has `kChannels` of a pixel's channels; `channel` makes one of them a factor of a weight.

#include "denoise_nl_means_weights.inl"

namespace fastimg::FASTIMG_TARGET {

inline int patch_width(const NlMeans& parameters) { return parameters.patch_before + parameters.patch_after + 1; }

// The vector that begins N elements behind a, where b follows it; elements of 32 bits.
template <int N, class V>
V shifted(V a, V b) {
#if FASTIMG_LEVEL >= 4
    return (V)_mm512_alignr_epi32((__m512i)b, (__m512i)a, N);
#else
    V v;
    for (int i = 0; i < kLanes; ++i) v[i] = i + N < kLanes ? a[i + N] : b[i + N - kLanes];
    return v;
#endif
}

// Each lane and the P - 1 behind it, of two neighbouring vectors.
template <int P, class V>
V sum_of_columns(V a, V b) {
    const V pairs = a + shifted<1>(a, b), pairs_behind = b + shifted<1>(b, b);
    V sum = pairs + shifted<2>(pairs, pairs_behind);  // P = 4
    if constexpr (P >= 6) sum += shifted<4>(pairs, pairs_behind);
    if constexpr (P == 7) sum += shifted<6>(a, b);
    return sum;
}

struct OneChannel {
    static constexpr int kChannels = 1;
    template <int, class V>
    static V channel(V v) {
        return v;
    }
};

// For every image. Sums of uint8 and small sums of uint16 are whole numbers below 2^24, and so exact.
struct FloatArithmetic : OneChannel {
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

    Vector cost(Vector a, Vector b) const {
        const Vector difference = a - b;
        return difference * difference;
    }
    static Vector add(Vector a, Vector b) { return a + b; }
    static Vector scaled(Vector a, float factor) { return a * factor; }
    static Vector load_samples(const float* p) { return load(p); }

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

    // What a function is to weigh, with a scale and an excess for each pixel.
    struct DistanceByMaps {
        Vector operator()(Vector sum_of_squares, ptrdiff_t x) const {
            return max(Floats{}, sum_of_squares - load(excesses + x)) * load(scales + x);
        }

        const float *scales, *excesses;
    };

    // Any other weighting.
    template <bool Welsch>
    struct WeightByMaps {
        WeightByMaps(const FloatArithmetic& a, const DistanceByMaps& distance)
            : distance(distance), cutoff(a.parameters.cutoff * a.parameters.scale) {
            if (a.parameters.weighting == Weighting::bisquare) squarings = 1;
            if (a.parameters.weighting == Weighting::modified_bisquare) squarings = 3;
        }

        Vector operator()(Vector sum_of_squares, ptrdiff_t x) const {
            const Vector t = distance(sum_of_squares, x);
            if constexpr (Welsch) return power_of_two(t, -kLog2e, at_most(t, cutoff));
            Vector power = max(1.0f - t, Floats{});  // in this order 0 where t is NaN
            for (int i = 0; i < squarings; ++i) power *= power;
            return power;
        }

        DistanceByMaps distance;
        float cutoff;
        int squarings = 0;
    };

    static constexpr float kLog2e = 1.44269504f;

    // The centre pixel is an offset like all others; its distance is 0 and its weight 1, unless a function says otherwise.
    // It is never quite 0, so that a pixel that nothing weighs stays as it is.
    Vector weight_of_centre() const {
        if (parameters.weighting != Weighting::function) return broadcast(1.0f);
        float weight = 0;
        parameters.function(&weight, 1, parameters.function_parameters);
        return broadcast(std::max(weight, 1e-30f));
    }

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

// Of both halves of each element, numbers of 16 bits with a sign: the products, added. A third of the time of a product
// of 32 bits.
template <class V>
V sum_of_products(V a, V b) {
#if FASTIMG_LEVEL >= 4
    return (V)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif FASTIMG_LEVEL >= 3
    return (V)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    const Ints x = (Ints)a, y = (Ints)b;
    return (V)((x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16));
#endif
}

// Whole weights from a table for all else: sums of differences in 32 bits; those of weighted uint16 in 64.
template <class Value, bool Absolute>
struct WholeArithmetic : OneChannel {
    using Sample = uint32_t;
    using Vector = VectorOf<uint32_t>::type;
    using Total = std::conditional_t<sizeof(Value) == 1, uint32_t, uint64_t>;
    static constexpr int Lanes = kLanes;
    static constexpr bool kSumsOfRegisters = FASTIMG_LEVEL >= 4;
    static constexpr bool kWeighsPatches = false;

    explicit WholeArithmetic(const WeightTable& table) : weights(table), shift(table.shift) {}

    template <class F>
    static void visit_dtype(DType, F&& f) {
        f(Type<Value>{});
    }

    Vector cost(Vector a, Vector b) const {
        const Ints d = (Ints)(a - b), size = d < 0 ? -d : d;
        if constexpr (Absolute) return (Vector)size;
        return sizeof(Value) == 1 ? sum_of_products((Vector)size, (Vector)size) : (Vector)(size * size);
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
        explicit Weight(const WholeArithmetic& a) : weights(a.weights), shift(a.shift) {}

        Vector operator()(Vector sum, ptrdiff_t) const { return weights(sum >> shift); }

        const WeightLookup<64> weights;
        const int shift;
    };

    Vector weight_of_centre() const { return Vector{} + weights.first(); }

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

    WeightLookup<64> weights;
    int shift;
};

// OpenCV's chroma: two channels of uint8 in one sample, 16 bits each, so that one instruction squares and adds the
// differences of both. Weights have up to 15 bits, with nothing above them.
struct PairArithmetic : WholeArithmetic<uint8_t, false> {
    static constexpr int kChannels = 2;

    using WholeArithmetic::WholeArithmetic;

    static bool serves(const WeightTable& table, int channels) {
        return channels == 2 && !table.absolute && table.weights[0] <= 32767;
    }

    static Sample sample(uint8_t first, uint8_t second) { return Sample(first) | Sample(second) << 16; }

    template <int C>
    static Vector channel(Vector pair) {
        return C == 0 ? pair : pair >> 16;  // the second may stand above the first: there, a weight is 0
    }

    Vector cost(Vector a, Vector b) const {
        using Shorts = VectorOf<int16_t>::type;
        const Vector differences = (Vector)((Shorts)a - (Shorts)b);
        return sum_of_products(differences, differences);
    }

    struct Means : WholeArithmetic::Means {
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            sum += sum_of_products(w_here, after) + sum_of_products(w_there, before);
        }
    };
};

}  // namespace fastimg::FASTIMG_TARGET
