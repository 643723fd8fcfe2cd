// How the work is shaped
//
// The weight of a pair is symmetric, w(p, q) = w(q, p), so only one half of the offsets t = q - p is visited and each
// weight serves both pixels. The image is cut into tiles; a tile copies its source with the search's margin, as planes
// of float, into scratch that stays in L2 (this also settles dtypes, strides and borders, once per pixel), and then
// runs through the offsets, `kGroup` at a time, and for each group through its rows, P (the patch's width) at a time:
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

namespace fastimg::FASTIMG_TARGET {

constexpr int kTileRows = 96;
constexpr int kTileColumns = 192;
constexpr int kGroup = 2;  // so that a group is whole or single

// exp(-d * scale) where d = max(0, sum of squares - excess) <= cutoff, else 0 (and 0 where d is NaN). Relative error
// below 3e-6.
template <bool Excess>
struct WeightOfSum {
    explicit WeightOfSum(const NlMeans& parameters)
        : factor(-parameters.scale * 1.44269504f), excess(parameters.excess), cutoff(parameters.cutoff) {}

    Floats operator()(Floats sum_of_squares) const {
        constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: a float this large holds an integer in its low bits
        Floats d = sum_of_squares;
        if constexpr (Excess) d = max(Floats{}, d - excess);  // in this order NaN stays NaN
        const Floats shifted = d * factor + kMagic;
        const Floats f = d * factor - (shifted - kMagic);  // 2^(d * factor) = 2^integer * 2^f, |f| <= 1/2
        Floats power = f * 0.009582852f + 0.055906426f;
        power = power * f + 0.240240991f;
        power = power * f + 0.693124175f;
        power = power * f + 1.0f;
        using Words = VectorOf<uint32_t>::type;  // far beyond the cutoff the sum wraps round
        const Words bits = (Words)power + ((Words)shifted << 23);
        return (Floats)(bits & (Words)(d <= cutoff));
    }

    float factor, excess, cutoff;
};

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
template <int Channels, int Patch>
class TileDenoiser {
public:
    // For tiles of up to `rows` × `columns` pixels.
    TileDenoiser(const NlMeans& parameters, int channels, int rows, int columns)
        : parameters_(parameters),
          channels_(channels),
          patch_(parameters.patch_before + parameters.patch_after + 1),
          tile_rows_(rows),
          tile_columns_(columns),
          before_(parameters.distance + parameters.patch_before),
          after_(parameters.distance + parameters.patch_after),
          source_stride_(round_up(before_ + columns + after_ + 2 * kLanes, kLanes)),
          source_rows_(before_ + rows + after_ + patch_),
          stride_(round_up(columns + parameters.distance + patch_ - 1, kLanes)),
          ring_rows_(round_up(parameters.distance + patch_, patch_)),
          source_(size_t(channels * source_rows_ * source_stride_)),
          weights_(size_t(kGroup * ring_rows_ * stride_)),
          suffixes_(size_t(kGroup * patch_ * stride_)),
          sums_(size_t((patch_ + 1) * stride_ + patch_ + kLanes)),
          terms_(size_t((patch_ + 1) * stride_ + patch_ + kLanes)),
          totals_(size_t((channels + 1) * tile_rows_ * tile_columns_)) {
        std::fill_n(source_.data(), channels * source_rows_ * source_stride_, 0.0f);
        std::fill_n(sums_.data(), (patch_ + 1) * stride_ + patch_ + kLanes, 0.0f);
    }

    void operator()(const Array& source, const Array& result, const Tile& tile,
                    const std::vector<std::vector<Offset>>& groups) {
        visit(source.dtype, [&](auto type) { copy_source(view<typename decltype(type)::type, 3>(source), tile); });
        begin_totals(tile);
        for (const std::vector<Offset>& group : groups) {
            if (group.size() == kGroup)
                visit_offsets<kGroup>(group.data(), tile);
            else
                visit_offsets<1>(group.data(), tile);
        }
        visit(result.dtype, [&](auto type) { write_result(view<typename decltype(type)::type, 3>(result), tile); });
    }

private:
    int channels() const { return Channels ? Channels : channels_; }
    int patch() const { return Patch ? Patch : patch_; }

    // The source at a pixel of the tile, which may lie outside by the margin.
    float* source_at(int channel, ptrdiff_t row, ptrdiff_t column) {
        return source_.data() + (channel * source_rows_ + before_ + row) * source_stride_ + before_ + column;
    }
    float* total_at(int channel, ptrdiff_t row) {
        return totals_.data() + (channel * tile_rows_ + row) * tile_columns_;
    }
    float* weight_total_at(ptrdiff_t row) { return total_at(channels(), row); }

    template <class In>
    void copy_source(const View<In, 3>& source, const Tile& tile) {
        const ptrdiff_t width = source.shape[1];
        const ptrdiff_t left = tile.column - before_, right = tile.column + tile.columns + after_;
        const ptrdiff_t inner_left = std::max<ptrdiff_t>(left, 0), inner_right = std::min(right, width);
        for (int channel = 0; channel < channels(); ++channel) {
            for (ptrdiff_t y = -before_; y < tile.rows + after_; ++y) {
                const In* from = source.at(mirrored_index(tile.row + y, source.shape[0]), 0, channel);
                float* to = source_at(channel, y, 0) - tile.column;
                for (ptrdiff_t x = left; x < inner_left; ++x)
                    to[x] = load_float(from + mirrored_index(x, width) * source.stride[1]);
                load_row(to + inner_left, from + inner_left * source.stride[1], inner_right - inner_left,
                         source.stride[1]);
                for (ptrdiff_t x = inner_right; x < right; ++x)
                    to[x] = load_float(from + mirrored_index(x, width) * source.stride[1]);
            }
        }
    }

    // The centre pixel is an offset like all others; its distance is 0 and its weight 1.
    void begin_totals(const Tile& tile) {
        for (int row = 0; row < tile.rows; ++row) {
            for (int channel = 0; channel < channels(); ++channel)
                std::copy_n(source_at(channel, row, 0), tile_columns_, total_at(channel, row));
            std::fill_n(weight_total_at(row), tile_columns_, 1.0f);
        }
    }

    Floats squared_difference(const float* p, const float* q) const {
        const ptrdiff_t plane = source_rows_ * source_stride_;
        Floats d = load(p) - load(q);
        Floats sum = d * d;
        for (int channel = 1; channel < channels(); ++channel) {
            d = load(p + channel * plane) - load(q + channel * plane);
            sum += d * d;
        }
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
            w[g].stride = round_up(w[g].columns, kLanes);
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
                float* const weights = w[g].ring + slot * w[g].stride;
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
        float* ring;
        float* suffixes;
        const float* p;
    };

    // suffixes[j] = sum of the squared differences of rows j .. P-1 of the group of rows that begins at p.
    void begin_suffixes(const float* p, const float* q, float* suffixes, ptrdiff_t columns) const {
        for (ptrdiff_t x = 0; x < columns; x += kLanes) {
            Floats sum{};
            for (int j = patch() - 1; j >= 0; --j) {
                sum += squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                store(suffixes + j * columns + x, sum);
            }
        }
    }

    // sums[j] = suffix j of the group before + prefix j of this one: P consecutive rows, for j = 0 .. P-1.
    void sum_over_rows(const float* p, const float* q, float* suffixes, ptrdiff_t columns) {
        float* const sums = sums_.data();
        for (ptrdiff_t x = 0; x < columns; x += kLanes) {
            if constexpr (Patch != 0) {
                Floats d[Patch];
                for (int j = 0; j < Patch; ++j)
                    d[j] = squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                Floats prefix{};
                for (int j = 0; j < Patch; ++j) {
                    store(sums + j * columns + x, load(suffixes + j * columns + x) + prefix);
                    prefix += d[j];
                }
                Floats suffix{};
                for (int j = Patch - 1; j >= 0; --j) {
                    suffix += d[j];
                    store(suffixes + j * columns + x, suffix);
                }
            } else {
                Floats prefix{};
                for (int j = 0; j < patch(); ++j) {
                    store(sums + j * columns + x, load(suffixes + j * columns + x) + prefix);
                    prefix += squared_difference(p + j * source_stride_ + x, q + j * source_stride_ + x);
                }
            }
        }
        if constexpr (Patch == 0) begin_suffixes(p, q, suffixes, columns);
    }

    // weights[x] = weight of the sum of P neighbours from x on; rows follow each other without a gap.
    template <bool Excess>
    void weights_of_sums(float* weights, ptrdiff_t count) {
        const WeightOfSum<Excess> weight(parameters_);
        float* const sums = sums_.data();
        float* const terms = terms_.data();
        if constexpr (Patch == 6 || Patch == 7) {
            for (ptrdiff_t x = 0; x < count; x += kLanes)
                store(terms + x, load(sums + x) + load(sums + x + 1) + load(sums + x + 2));
            for (ptrdiff_t x = 0; x < count; x += kLanes) {
                Floats sum = load(terms + x) + load(terms + x + 3);
                if constexpr (Patch == 7) sum += load(sums + x + 6);
                store(weights + x, weight(sum));
            }
        } else {
            std::fill_n(terms, count, 0.0f);
            ptrdiff_t done = 0;
            for (int width = 1; width <= patch(); width *= 2) {  // sums[x] is the sum of `width` neighbours
                if (patch() & width) {
                    for (ptrdiff_t x = 0; x < count; x += kLanes)
                        store(terms + x, load(terms + x) + load(sums + x + done));
                    done += width;
                }
                for (ptrdiff_t x = 0; x < count; x += kLanes) store(sums + x, load(sums + x) + load(sums + x + width));
            }
            for (ptrdiff_t x = 0; x < count; x += kLanes) store(weights + x, weight(load(terms + x)));
        }
    }

    // ---- accumulation ----------------------------------------------------------------------------------------------

    template <int Count>
    void accumulate(const Weights* w, int row, ptrdiff_t here_row, ptrdiff_t there_row, int columns) {
        const float *here[Count], *there[Count], *after[Count], *before[Count];
        for (int g = 0; g < Count; ++g) {
            here[g] = w[g].ring + here_row * w[g].stride + w[g].left;
            there[g] = w[g].ring + there_row * w[g].stride + w[g].left - w[g].dx;
        }
        float* const weight_total = weight_total_at(row);
        for (int channel = 0; channel < channels(); ++channel) {
            const float* const pixel = source_at(channel, row, 0);
            float* const value_total = total_at(channel, row);
            for (int g = 0; g < Count; ++g) {
                after[g] = pixel + w[g].step;
                before[g] = pixel - w[g].step;
            }
            for (int x = 0; x < columns; x += kLanes) {
                Floats value = load(value_total + x), total = load(weight_total + x);
                for (int g = 0; g < Count; ++g) {
                    const Floats w_here = load(here[g] + x), w_there = load(there[g] + x);
                    value += w_here * load(after[g] + x);
                    value += w_there * load(before[g] + x);
                    total += w_here + w_there;
                }
                store(value_total + x, value);
                if (channel == 0) store(weight_total + x, total);
            }
        }
    }

    template <class Out>
    void write_result(const View<Out, 3>& result, const Tile& tile) {
        for (int channel = 0; channel < channels(); ++channel) {
            for (int row = 0; row < tile.rows; ++row) {
                float* value = total_at(channel, row);
                const float* weight = weight_total_at(row);
                for (int x = 0; x < tile.columns; x += kLanes)
                    store(value + x, load(value + x) / load(weight + x) * parameters_.gain);
                store_row(result.at(tile.row + row, tile.column, channel), value, tile.columns, result.stride[1]);
            }
        }
    }

    const NlMeans parameters_;
    const int channels_, patch_;
    const ptrdiff_t tile_rows_, tile_columns_;
    const ptrdiff_t before_, after_;  // the margin of the source's copy
    const ptrdiff_t source_stride_, source_rows_;
    const ptrdiff_t stride_, ring_rows_;  // the largest of weights and sums
    Scratch<float> source_;               // (channels, source_rows_, source_stride_)
    Scratch<float> weights_;              // (kGroup, ring_rows_, stride_)
    Scratch<float> suffixes_;             // (kGroup, patch_, stride_)
    Scratch<float> sums_;                 // (patch_, stride_) and what a shifted load may read beyond
    Scratch<float> terms_;                // (patch_, stride_)
    Scratch<float> totals_;               // (channels + 1, tile_rows_, tile_columns_): weighted sums, sums of weights
};

// The size of equal tiles that cover n pixels, at most `largest` each.
inline int tile_size(ptrdiff_t n, int largest) {
    const ptrdiff_t count = divide_up(n, largest);
    return int(std::min<ptrdiff_t>(largest, round_up(divide_up(n, count), 16)));
}

template <int Channels, int Patch>
void denoise_tiles(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    const ptrdiff_t height = source.shape[0], width = source.shape[1];
    const int tile_rows = tile_size(height, kTileRows), tile_columns = tile_size(width, kTileColumns);
    const ptrdiff_t across = divide_up(width, tile_columns);
    const ptrdiff_t down = divide_up(height, tile_rows);
    const auto groups = half_of_offsets(parameters.distance);
    using Denoiser = TileDenoiser<Channels, Patch>;
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

template <int Channels>
void denoise_channels(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    switch (parameters.patch_before + parameters.patch_after + 1) {
        case 6: return denoise_tiles<Channels, 6>(source, result, parameters, threads);
        case 7: return denoise_tiles<Channels, 7>(source, result, parameters, threads);
        default: return denoise_tiles<Channels, 0>(source, result, parameters, threads);
    }
}

inline void denoise_nl_means(const Array& source, const Array& result, const NlMeans& parameters, int threads) {
    switch (source.shape[2]) {
        case 1: return denoise_channels<1>(source, result, parameters, threads);
        case 3: return denoise_channels<3>(source, result, parameters, threads);
        default: return denoise_channels<0>(source, result, parameters, threads);
    }
}

}  // namespace fastimg::FASTIMG_TARGET
