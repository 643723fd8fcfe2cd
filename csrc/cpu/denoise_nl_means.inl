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
constexpr int kGroup = 2;  // so that a group is whole or single

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

    explicit FloatArithmetic(const NlMeans& parameters) : parameters(parameters) {}

    template <class F>
    static void visit_dtype(DType dtype, F&& f) {
        visit(dtype, f);
    }

    Vector squared(Vector difference) const { return difference * difference; }
    static Vector add(Vector a, Vector b) { return a + b; }
    static Vector load_samples(const float* p) { return load(p); }

    // exp(-d * scale) where d = max(0, sum of squares - excess) <= cutoff, else 0 (and 0 where d is NaN). Relative
    // error below 3e-6.
    template <bool Excess>
    struct Weight {
        explicit Weight(const FloatArithmetic& a)
            : factor(-a.parameters.scale * 1.44269504f), excess(a.parameters.excess), cutoff(a.parameters.cutoff) {}

        Vector operator()(Vector sum_of_squares) const {
            constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: a float this large holds an integer in its low bits
            Vector d = sum_of_squares;
            if constexpr (Excess) d = max(Floats{}, d - excess);  // in this order NaN stays NaN
            const Vector shifted = d * factor + kMagic;
            const Vector f = d * factor - (shifted - kMagic);  // 2^(d * factor) = 2^integer * 2^f, |f| <= 1/2
            Vector power = f * 0.009582852f + 0.055906426f;
            power = power * f + 0.240240991f;
            power = power * f + 0.693124175f;
            power = power * f + 1.0f;
            using Words = VectorOf<uint32_t>::type;  // far beyond the cutoff the sum wraps round
            const Words bits = (Words)power + ((Words)shifted << 23);
            return (Vector)(bits & (Words)(d <= cutoff));
        }

        float factor, excess, cutoff;
    };

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

#if FASTIMG_LEVEL >= 3
// For uint8 to uint8: 16 samples to a vector of 32 bytes. Squares of differences fit into 16 bits, and sums saturate:
// where the cutoff, too, fits, whatever saturates weighs nothing. For greater strengths squares lose their last bits,
// which are then less than 4 % of h^2 each and cancel in the sum. Weights have up to 14 bits. The error of a mean stays
// far below half a level, but where a distance so near to the cutoff that it falls on its other side decides over a
// pixel that hardly any other resembles.
struct ShortArithmetic {
    using Sample = uint16_t;
    typedef uint16_t Vector __attribute__((vector_size(32)));
    using Total = uint32_t;
    typedef uint32_t Words __attribute__((vector_size(32)));
    static constexpr int Lanes = 16;

    static constexpr int kMostSquares = 256;  // in a sum: more would lose more of their bits
    static constexpr int kMostDistance = 31;  // 63 * 63 weights of 12 bits times 255 fit into 32 bits

    static bool serves(const NlMeans& parameters, ptrdiff_t channels) {
        const ptrdiff_t width = parameters.patch_before + parameters.patch_after + 1;
        return parameters.distance <= kMostDistance && width * width * channels <= kMostSquares &&
               parameters.excess <= 3 * parameters.cutoff;
    }

    explicit ShortArithmetic(const NlMeans& parameters) {
        int squares_shift = 0, sum_shift = 0;
        const double largest = double(parameters.cutoff) + double(parameters.excess);
        while (largest > std::ldexp(65534.0, squares_shift) && squares_shift < 16) ++squares_shift;
        const double unit = std::ldexp(1.0, squares_shift);  // of a sum
        const double last = std::floor(std::min(parameters.cutoff / unit, 65534.0));
        while (last > 0 && std::ldexp(last, sum_shift + 1) <= 65535) ++sum_shift;
        const double offsets = (2.0 * parameters.distance + 1) * (2.0 * parameters.distance + 1);
        while (std::ldexp(255 * offsets, weight_bits) > 0x1p32) --weight_bits;

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

    static __m256i all(double value) { return _mm256_set1_epi16(int16_t(uint16_t(value))); }
    static __m256i bits(Vector v) { return (__m256i)v; }
    static __m256i low_bytes() {  // of each short, twice
        return _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0E0E0C0C0A0A0808, 0x0606040402020000));
    }

    Vector squared(Vector difference) const {
        return (Vector)_mm256_srl_epi16(_mm256_adds_epu16(bits(difference * difference), rounding), shift_squares);
    }
    static Vector add(Vector a, Vector b) { return (Vector)_mm256_adds_epu16(bits(a), bits(b)); }
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

        Vector operator()(Vector sum_of_squares) const {
            __m256i d = bits(sum_of_squares);
            if constexpr (Excess) d = _mm256_subs_epu16(d, excess);
            const __m256i near = _mm256_min_epu16(d, cutoff);
            const __m256i x = _mm256_mulhi_epu16(_mm256_sll_epi16(near, shift), factor);
            const __m256i f = _mm256_and_si256(_mm256_slli_epi16(x, 4), _mm256_set1_epi16(0x7ff0));
            __m256i power = _mm256_set1_epi16(-1294);  // 2^-f in units of 2^-15
            for (int16_t coefficient : {int16_t(7563), int16_t(-22653), int16_t(32766)})
                power = _mm256_add_epi16(_mm256_mulhrs_epi16(power, f), _mm256_set1_epi16(coefficient));
            const __m256i twice = _mm256_shuffle_epi8(_mm256_srli_epi16(x, 11), low_bytes());
            const __m256i places = _mm256_xor_si256(twice, _mm256_set1_epi16(0x0008));
            const __m256i weight = _mm256_mulhrs_epi16(power, _mm256_shuffle_epi8(table, places));
            return (Vector)_mm256_and_si256(weight, _mm256_cmpeq_epi16(d, near));
        }

        const __m256i excess, cutoff, factor, table;
        const __m128i shift;
    };

    // 2^(weight_bits - n) for n <= weight_bits is the byte at n above the byte at n ^ 8.
    __m256i table_of_powers() const {
        uint8_t bytes[16] = {};
        for (int n = 0; n <= 10; ++n) {
            const int power = 1 << (weight_bits - n);
            bytes[n] |= uint8_t(power >> 8);
            bytes[n ^ 8] |= uint8_t(power);
        }
        __m128i table;
        std::memcpy(&table, bytes, sizeof table);
        return _mm256_broadcastsi128_si256(table);
    }

    Vector weight_of_centre() const { return (Vector)all(1 << weight_bits); }

    // Pixels 0-3 and 8-11 of a vector, then 4-7 and 12-15: the order in which shorts are unpacked.
    struct Means {
        Words low, high;
        void load_from(const uint32_t* p) {
            std::memcpy(&low, p, sizeof low);
            std::memcpy(&high, p + 8, sizeof high);
        }
        void store_to(uint32_t* p) const {
            std::memcpy(p, &low, sizeof low);
            std::memcpy(p + 8, &high, sizeof high);
        }
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            const __m256i a = bits(w_here), b = bits(w_there), x = bits(after), y = bits(before);
            low += (Words)_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), _mm256_unpacklo_epi16(x, y));
            high += (Words)_mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), _mm256_unpackhi_epi16(x, y));
        }
        void add_weights(Vector w_here, Vector w_there) {
            const __m256i one = _mm256_set1_epi16(1);
            low += (Words)_mm256_madd_epi16(_mm256_unpacklo_epi16(bits(w_here), bits(w_there)), one);
            high += (Words)_mm256_madd_epi16(_mm256_unpackhi_epi16(bits(w_here), bits(w_there)), one);
        }
    };

    static void divide(const uint32_t* values, const uint32_t* weights, float gain, float* means) {
        typedef float Eight __attribute__((vector_size(32)));
        Means value, weight;
        value.load_from(values);
        weight.load_from(weights);
        const Eight low = __builtin_convertvector(value.low, Eight) / __builtin_convertvector(weight.low, Eight) * gain;
        const Eight high =
            __builtin_convertvector(value.high, Eight) / __builtin_convertvector(weight.high, Eight) * gain;
        _mm256_storeu_ps(means, _mm256_permute2f128_ps((__m256)low, (__m256)high, 0x20));
        _mm256_storeu_ps(means + 8, _mm256_permute2f128_ps((__m256)low, (__m256)high, 0x31));
    }

    int weight_bits = 14;
    __m256i rounding, excess, cutoff, factor, powers_of_two;
    __m128i shift_squares, shift_sum;
};
#endif

// ---- tiles -----------------------------------------------------------------------------------------------------------

struct Offset {
    int dy, dx;
};

// The half of the search window that comes after its centre in raster order, in groups of one dy.
inline std::vector<std::vector<Offset>> half_of_offsets(int distance) {
    std::vector<std::vector<Offset>> groups;
    for (int dy = 0; dy <= distance; ++dy) {
        for (int dx = dy == 0 ? 1 : -distance; dx <= distance; ++dx) {
            if (groups.empty() || groups.back().size() == kGroup || groups.back()[0].dy != dy) groups.emplace_back();
            groups.back().push_back({dy, dx});
        }
    }
    return groups;
}

// Where a tile lies in the image.
struct Tile {
    ptrdiff_t row, column;
    int rows, columns;
};

// One thread's scratch, and the work on one tile. `Channels` and `Patch` are 0 where they are only known at run time.
template <class Arithmetic, int Channels, int Patch>
class TileDenoiser {
    using Sample = typename Arithmetic::Sample;
    using Vector = typename Arithmetic::Vector;
    using Total = typename Arithmetic::Total;
    using Means = typename Arithmetic::Means;
    static constexpr int Lanes = Arithmetic::Lanes;

    static Vector load(const Sample* p) { return Arithmetic::load_samples(p); }
    static void store(Sample* p, Vector v) { std::memcpy(p, &v, sizeof v); }
    static Vector add(Vector a, Vector b) { return Arithmetic::add(a, b); }

public:
    // For tiles of up to `rows` × `columns` pixels.
    TileDenoiser(const NlMeans& parameters, int channels, int rows, int columns)
        : arithmetic_(parameters),
          parameters_(parameters),
          channels_(channels),
          patch_(parameters.patch_before + parameters.patch_after + 1),
          tile_rows_(rows),
          tile_columns_(columns),
          before_(parameters.distance + parameters.patch_before),
          after_(parameters.distance + parameters.patch_after),
          source_stride_(round_up(before_ + columns + after_ + 2 * Lanes, Lanes)),
          source_rows_(before_ + rows + after_ + patch_),
          stride_(round_up(columns + parameters.distance + patch_ - 1, Lanes)),
          ring_rows_(round_up(parameters.distance + patch_, patch_)),
          source_(size_t(channels * source_rows_ * source_stride_)),
          weights_(size_t(kGroup * ring_rows_ * stride_)),
          suffixes_(size_t(kGroup * patch_ * stride_)),
          sums_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          terms_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          totals_(size_t((channels + 1) * tile_rows_ * tile_columns_)) {
        std::fill_n(source_.data(), channels * source_rows_ * source_stride_, Sample(0));
        std::fill_n(sums_.data(), (patch_ + 1) * stride_ + patch_ + Lanes, Sample(0));
    }

    void operator()(const Array& source, const Array& result, const Tile& tile,
                    const std::vector<std::vector<Offset>>& groups) {
        Arithmetic::visit_dtype(source.dtype, [&](auto type) {  //
            copy_source(view<typename decltype(type)::type, 3>(source), tile);
        });
        begin_totals(tile);
        for (const std::vector<Offset>& group : groups) {
            if (group.size() == kGroup)
                visit_offsets<kGroup>(group.data(), tile);
            else
                visit_offsets<1>(group.data(), tile);
        }
        Arithmetic::visit_dtype(result.dtype, [&](auto type) {  //
            write_result(view<typename decltype(type)::type, 3>(result), tile);
        });
    }

private:
    int channels() const { return Channels ? Channels : channels_; }
    int patch() const { return Patch ? Patch : patch_; }

    // The source at a pixel of the tile, which may lie outside by the margin.
    Sample* source_at(int channel, ptrdiff_t row, ptrdiff_t column) {
        return source_.data() + (channel * source_rows_ + before_ + row) * source_stride_ + before_ + column;
    }
    Total* total_at(int channel, ptrdiff_t row) {
        return totals_.data() + (channel * tile_rows_ + row) * tile_columns_;
    }
    Total* weight_total_at(ptrdiff_t row) { return total_at(channels(), row); }

    template <class In>
    void copy_source(const View<In, 3>& source, const Tile& tile) {
        const ptrdiff_t width = source.shape[1];
        const ptrdiff_t left = tile.column - before_, right = tile.column + tile.columns + after_;
        const ptrdiff_t inner_left = std::max<ptrdiff_t>(left, 0), inner_right = std::min(right, width);
        for (int channel = 0; channel < channels(); ++channel) {
            for (ptrdiff_t y = -before_; y < tile.rows + after_; ++y) {
                const In* from = source.at(mirrored_index(tile.row + y, source.shape[0]), 0, channel);
                Sample* to = source_at(channel, y, 0) - tile.column;
                for (ptrdiff_t x = left; x < inner_left; ++x)
                    to[x] = Sample(load_float(from + mirrored_index(x, width) * source.stride[1]));
                copy_samples(to + inner_left, from + inner_left * source.stride[1], inner_right - inner_left,
                             source.stride[1]);
                for (ptrdiff_t x = inner_right; x < right; ++x)
                    to[x] = Sample(load_float(from + mirrored_index(x, width) * source.stride[1]));
            }
        }
    }

    template <class In>
    static void copy_samples(float* to, const In* from, ptrdiff_t n, ptrdiff_t stride) {
        load_row(to, from, n, stride);
    }
    static void copy_samples(uint16_t* to, const uint8_t* from, ptrdiff_t n, ptrdiff_t stride) {
        for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i * stride];
    }

    void begin_totals(const Tile& tile) {
        const Vector one = arithmetic_.weight_of_centre();
        for (int row = 0; row < tile.rows; ++row) {
            for (ptrdiff_t x = 0; x < tile_columns_; x += Lanes) {
                Means weights{};
                weights.add_weights(one, Vector{});
                weights.store_to(weight_total_at(row) + x);
                for (int channel = 0; channel < channels(); ++channel) {
                    Means values{};
                    values.add_products(one, load(source_at(channel, row, x)), Vector{}, Vector{});
                    values.store_to(total_at(channel, row) + x);
                }
            }
        }
    }

    Vector squared_difference(const Sample* p, const Sample* q) const {
        const ptrdiff_t plane = source_rows_ * source_stride_;
        Vector sum = arithmetic_.squared(load(p) - load(q));
        for (int channel = 1; channel < channels(); ++channel)
            sum = add(sum, arithmetic_.squared(load(p + channel * plane) - load(q + channel * plane)));
        return sum;
    }

    // ---- weights ---------------------------------------------------------------------------------------------------

    // Weights and sums of a group of offsets of one dy, P rows at a time. Weights are wanted for the tile's pixels and
    // for those that reach it by an offset, up to dy rows above; they stay in a ring of rows until both have used them.
    template <int Count>
    void visit_offsets(const Offset* group, const Tile& tile) {
        const int dy = group[0].dy;
        const ptrdiff_t ring_rows = round_up(dy + patch(), patch());
        Weights w[Count];
        for (int g = 0; g < Count; ++g) {
            const int dx = group[g].dx, left = std::max(dx, 0);
            w[g].left = left;
            w[g].columns = tile.columns + std::abs(dx) + patch() - 1;
            w[g].stride = round_up(w[g].columns, Lanes);
            w[g].ring = weights_.data() + g * ring_rows_ * stride_;
            w[g].suffixes = suffixes_.data() + g * patch() * stride_;
            w[g].p = source_at(0, -dy - parameters_.patch_before, -left - parameters_.patch_before);
            w[g].step = dy * source_stride_ + dx;
            w[g].dx = dx;
            begin_suffixes(w[g].p, w[g].p + w[g].step, w[g].suffixes, w[g].stride);
        }
        ptrdiff_t slot = 0;
        for (int row = -dy; row < tile.rows; row += patch()) {
            for (int g = 0; g < Count; ++g) {
                w[g].p += patch() * source_stride_;
                sum_over_rows(w[g].p, w[g].p + w[g].step, w[g].suffixes, w[g].stride);
                Sample* const weights = w[g].ring + slot * w[g].stride;
                if (parameters_.excess > 0)
                    weights_of_sums<true>(weights, patch() * w[g].stride);
                else
                    weights_of_sums<false>(weights, patch() * w[g].stride);
            }
            for (int y = std::max(row, 0); y < std::min(row + patch(), tile.rows); ++y) {
                const ptrdiff_t here_row = slot + y - row;
                const ptrdiff_t there_row = here_row >= dy ? here_row - dy : here_row - dy + ring_rows;
                accumulate<Count>(w, y, here_row, there_row, tile.columns);
            }
            slot += patch();
            if (slot == ring_rows) slot = 0;
        }
    }

    struct Weights {
        ptrdiff_t left, columns, stride;
        ptrdiff_t step;  // from a pixel of the source to its partner
        int dx;
        Sample* ring;
        Sample* suffixes;
        const Sample* p;
    };

    // suffixes[j] = sum of the squared differences of rows j .. P-1 of the group of rows that begins at p.
    void begin_suffixes(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns) const {
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            Vector sum{};
            for (int j = patch() - 1; j >= 0; --j) {
                sum = add(sum, squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x));
                store(suffixes + j * columns + x, sum);
            }
        }
    }

    // sums[j] = suffix j of the group before + prefix j of this one: P consecutive rows, for j = 0 .. P-1.
    void sum_over_rows(const Sample* p, const Sample* q, Sample* suffixes, ptrdiff_t columns) {
        Sample* const sums = sums_.data();
        for (ptrdiff_t x = 0; x < columns; x += Lanes) {
            if constexpr (Patch != 0) {
                Vector d[Patch];
                for (int j = 0; j < Patch; ++j)
                    d[j] = squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                Vector prefix{};
                for (int j = 0; j < Patch; ++j) {
                    store(sums + j * columns + x, add(load(suffixes + j * columns + x), prefix));
                    prefix = add(prefix, d[j]);
                }
                Vector suffix{};
                for (int j = Patch - 1; j >= 0; --j) {
                    suffix = add(suffix, d[j]);
                    store(suffixes + j * columns + x, suffix);
                }
            } else {
                Vector prefix{};
                for (int j = 0; j < patch(); ++j) {
                    store(sums + j * columns + x, add(load(suffixes + j * columns + x), prefix));
                    prefix = add(prefix, squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x));
                }
            }
        }
        if constexpr (Patch == 0) begin_suffixes(p, q, suffixes, columns);
    }

    // weights[x] = weight of the sum of P neighbours from x on; rows follow each other without a gap.
    template <bool Excess>
    void weights_of_sums(Sample* weights, ptrdiff_t count) {
        const typename Arithmetic::template Weight<Excess> weight(arithmetic_);
        Sample* const sums = sums_.data();
        Sample* const terms = terms_.data();
        if constexpr (Patch == 6 || Patch == 7) {
            for (ptrdiff_t x = 0; x < count; x += Lanes)
                store(terms + x, add(add(load(sums + x), load(sums + x + 1)), load(sums + x + 2)));
            for (ptrdiff_t x = 0; x < count; x += Lanes) {
                Vector sum = add(load(terms + x), load(terms + x + 3));
                if constexpr (Patch == 7) sum = add(sum, load(sums + x + 6));
                store(weights + x, weight(sum));
            }
        } else {
            std::fill_n(terms, count, Sample(0));
            ptrdiff_t done = 0;
            for (int width = 1; width <= patch(); width *= 2) {  // sums[x] is the sum of `width` neighbours
                if (patch() & width) {
                    for (ptrdiff_t x = 0; x < count; x += Lanes)
                        store(terms + x, add(load(terms + x), load(sums + x + done)));
                    done += width;
                }
                for (ptrdiff_t x = 0; x < count; x += Lanes)
                    store(sums + x, add(load(sums + x), load(sums + x + width)));
            }
            for (ptrdiff_t x = 0; x < count; x += Lanes) store(weights + x, weight(load(terms + x)));
        }
    }

    // ---- accumulation ----------------------------------------------------------------------------------------------

    template <int Count>
    void accumulate(const Weights* w, int row, ptrdiff_t here_row, ptrdiff_t there_row, ptrdiff_t columns) {
        const Sample *here[Count], *there[Count], *after[Count], *before[Count];
        for (int g = 0; g < Count; ++g) {
            here[g] = w[g].ring + here_row * w[g].stride + w[g].left;
            there[g] = w[g].ring + there_row * w[g].stride + w[g].left - w[g].dx;
        }
        Total* const weight_total = weight_total_at(row);
        for (int channel = 0; channel < channels(); ++channel) {
            const Sample* const pixel = source_at(channel, row, 0);
            Total* const value_total = total_at(channel, row);
            for (int g = 0; g < Count; ++g) {
                after[g] = pixel + w[g].step;
                before[g] = pixel - w[g].step;
            }
            for (ptrdiff_t x = 0; x < columns; x += Lanes) {
                Means values, weights;
                values.load_from(value_total + x);
                weights.load_from(weight_total + x);
                for (int g = 0; g < Count; ++g) {
                    const Vector w_here = load(here[g] + x), w_there = load(there[g] + x);
                    values.add_products(w_here, load(after[g] + x), w_there, load(before[g] + x));
                    weights.add_weights(w_here, w_there);
                }
                values.store_to(value_total + x);
                if (channel == 0) weights.store_to(weight_total + x);
            }
        }
    }

    template <class Out>
    void write_result(const View<Out, 3>& result, const Tile& tile) {
        float means[kTileColumns<Sample>];
        for (int channel = 0; channel < channels(); ++channel) {
            for (int row = 0; row < tile.rows; ++row) {
                for (ptrdiff_t x = 0; x < tile.columns; x += Lanes)
                    Arithmetic::divide(total_at(channel, row) + x, weight_total_at(row) + x, parameters_.gain,
                                       means + x);
                store_row(result.at(tile.row + row, tile.column, channel), means, tile.columns, result.stride[1]);
            }
        }
    }

    const Arithmetic arithmetic_;
    const NlMeans parameters_;
    const int channels_, patch_;
    const ptrdiff_t tile_rows_, tile_columns_;
    const ptrdiff_t before_, after_;  // the margin of the source's copy
    const ptrdiff_t source_stride_, source_rows_;
    const ptrdiff_t stride_, ring_rows_;  // the largest of weights and sums
    Scratch<Sample> source_;              // (channels, source_rows_, source_stride_)
    Scratch<Sample> weights_;             // (kGroup, ring_rows_, stride_)
    Scratch<Sample> suffixes_;            // (kGroup, patch_, stride_)
    Scratch<Sample> sums_;                // (patch_, stride_) and what a shifted load may read beyond
    Scratch<Sample> terms_;               // (patch_, stride_)
    Scratch<Total> totals_;               // (channels + 1, tile_rows_, tile_columns_): weighted sums, sums of weights
};

// The size of equal tiles that cover n pixels, at most `largest` each.
inline int tile_size(ptrdiff_t n, int largest) {
    const ptrdiff_t count = divide_up(n, largest);
    return int(std::min<ptrdiff_t>(largest, round_up(divide_up(n, count), 16)));
}

template <class Arithmetic, int Channels, int Patch>
void denoise_tiles(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    const ptrdiff_t height = source.shape[0], width = source.shape[1];
    const int tile_rows = tile_size(height, kTileRows);
    const int tile_columns = tile_size(width, kTileColumns<typename Arithmetic::Sample>);
    const ptrdiff_t across = divide_up(width, tile_columns);
    const ptrdiff_t down = divide_up(height, tile_rows);
    const auto groups = half_of_offsets(parameters.distance);
    using Denoiser = TileDenoiser<Arithmetic, Channels, Patch>;
    parallel_for(
        across * down, threads, [&] { return Denoiser(parameters, int(source.shape[2]), tile_rows, tile_columns); },
        [&](ptrdiff_t i, Denoiser& denoise) {
            const ptrdiff_t row = i / across * tile_rows, column = i % across * tile_columns;
            denoise(source, result,
                    Tile{row, column, int(std::min<ptrdiff_t>(tile_rows, height - row)),
                         int(std::min<ptrdiff_t>(tile_columns, width - column))},
                    groups);
        });
}

template <class Arithmetic, int Channels>
void denoise_channels(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    switch (parameters.patch_before + parameters.patch_after + 1) {
        case 6: return denoise_tiles<Arithmetic, Channels, 6>(source, result, parameters, threads);
        case 7: return denoise_tiles<Arithmetic, Channels, 7>(source, result, parameters, threads);
        default: return denoise_tiles<Arithmetic, Channels, 0>(source, result, parameters, threads);
    }
}

template <class Arithmetic>
void denoise(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    switch (source.shape[2]) {
        case 1: return denoise_channels<Arithmetic, 1>(source, result, parameters, threads);
        case 3: return denoise_channels<Arithmetic, 3>(source, result, parameters, threads);
        default: return denoise_channels<Arithmetic, 0>(source, result, parameters, threads);
    }
}

inline void denoise_nl_means(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
#if FASTIMG_LEVEL >= 3
    if (source.dtype == DType::u8 && result.dtype == DType::u8 && ShortArithmetic::serves(parameters, source.shape[2]))
        return denoise<ShortArithmetic>(source, result, parameters, threads);
#endif
    denoise<FloatArithmetic>(source, result, parameters, threads);
}

}  // namespace fastimg::FASTIMG_TARGET
