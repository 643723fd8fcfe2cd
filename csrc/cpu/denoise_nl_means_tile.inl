// Non-local means of one tile: how, denoise_nl_means.inl tells.

namespace fastimg::FASTIMG_TARGET {

constexpr int kTileRows = 96;
template <class Sample>
constexpr int kTileColumns = 768 / int(sizeof(Sample));
constexpr int kGroup = 2;                    // so that a group is whole or single
constexpr ptrdiff_t kTileBytes = 768 << 10;  // of a tile's copies of its source

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
    static constexpr int kChannels = Arithmetic::kChannels;
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
          image_samples_(images.channels() / kChannels),
          guide_samples_(images.guide_channels() / kChannels),
          patch_(patch_width(parameters)),
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
          image_planes_(images.guided() ? guide_samples_ * planes_[0].count() * planes_[1].count() : 0),
          source_(size_t(image_planes_ + image_samples_ * planes_[0].count() * planes_[1].count()) *
                  size_t(plane_size_)),
          weights_(size_t(kGroup * ring_rows_ * stride_)),
          suffixes_(size_t(kGroup * patch_ * stride_)),
          sums_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          terms_(size_t((patch_ + 1) * stride_ + patch_ + Lanes)),
          differences_(size_t(patch_ * Lanes)),
          maps_(kGeneral ? size_t(2 * (rows + patch_) * stride_) : 0),
          totals_(size_t((channels_ + 2) * tile_rows_ * tile_columns_)) {
        const ptrdiff_t source_size =
            (image_planes_ + image_samples_ * planes_[0].count() * planes_[1].count()) * plane_size_;
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
    // The first sample of the pixels of a plane beside the tile's own.
    ptrdiff_t plane_at(int a, int z, int samples) const {
        return ((a + planes_[0].before) * planes_[1].count() + z + planes_[1].before) * ptrdiff_t(samples);
    }
    ptrdiff_t guide_plane(int a, int z) const { return plane_at(a, z, guide_samples_); }
    ptrdiff_t image_plane(int a, int z) const { return image_planes_ + plane_at(a, z, image_samples_); }

    Total* total_at(int channel, ptrdiff_t row) {
        return totals_.data() + (channel * tile_rows_ + row) * tile_columns_;
    }
    Total* values_at(int sample, ptrdiff_t row) { return total_at(sample * kChannels, row); }
    ptrdiff_t total_step() const { return tile_rows_ * tile_columns_; }  // from channel to channel
    Total* weight_total_at(ptrdiff_t row) { return total_at(channels_, row); }
    Total* largest_at(ptrdiff_t row) { return total_at(channels_ + 1, row); }

    void copy_planes(const Array& image, ptrdiff_t first, const Tile& tile) {
        const int n = int(image.shape[4]) / kChannels;
        Arithmetic::visit_dtype(image.dtype, [&](auto type) {
            const auto from = view<typename decltype(type)::type, 5>(image);
            for (int a = -planes_[0].before; a <= planes_[0].after; ++a) {
                for (int z = -planes_[1].before; z <= planes_[1].after; ++z) {
                    const ptrdiff_t outer0 = mirrored_index(tile.plane[0] + a, image.shape[0]);
                    const ptrdiff_t outer1 = mirrored_index(tile.plane[1] + z, image.shape[1]);
                    for (int sample = 0; sample < n; ++sample)
                        copy_plane(from.at(outer0, outer1, 0, 0, sample * kChannels), from,
                                   first + plane_at(a, z, n) + sample, tile);
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
                to[x] = sample_of(from + mirrored_index(x, width) * stride, view);
            copy_samples(to + inner_left, from + inner_left * stride, inner_right - inner_left, view);
            for (ptrdiff_t x = inner_right; x < right; ++x)
                to[x] = sample_of(from + mirrored_index(x, width) * stride, view);
        }
    }

    template <class In>
    static Sample sample_of(const In* pixel, const View<In, 5>& view) {
        if constexpr (kChannels == 2)
            return Arithmetic::sample(pixel[0], pixel[view.stride[4]]);
        else if constexpr (std::is_integral_v<Sample>)
            return *pixel;
        else
            return load_float(pixel);
    }

    template <class In>
    static void copy_samples(Sample* to, const In* from, ptrdiff_t n, const View<In, 5>& view) {
        if constexpr (std::is_integral_v<Sample>)
            for (ptrdiff_t i = 0; i < n; ++i) to[i] = sample_of(from + i * view.stride[3], view);
        else
            load_row(to, from, n, view.stride[3]);
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
                for (int sample = 0; sample < image_samples_; ++sample) {
                    Values values{};
                    if (parameters_.centre < 0)
                        values.add_products(one, load(source_at(centre + sample, row, x)), Vector{}, Vector{});
                    values.store_to(values_at(sample, row) + x, total_step());
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
                for (int sample = 0; sample < guide_samples_; ++sample)
                    patch_planes_.push_back(
                        {(guide_plane(a, z) - guide_plane(0, 0) + sample) * plane_size_, tap(in0, a) * tap(in1, z)});
    }

    // The squared differences of a vector of pixels; summed over the planes of a patch.
    Vector squared_difference(const Sample* p, const Sample* q) const {
        const auto of_plane = [&](const Term& term) {
            const Vector squares = arithmetic_.cost(load(p + term.step), load(q + term.step));
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
            const typename Arithmetic::DistanceByMaps distance{scales_at(first, w.stride),
                                                               excesses_at(first, w.stride)};
            if (parameters_.weighting == Weighting::function) {
                weights_of_sums(weights, count, distance);
                parameters_.function(weights, count, parameters_.function_parameters);
            } else if (parameters_.weighting == Weighting::welsch) {
                weights_of_sums(weights, count,
                                typename Arithmetic::template WeightByMaps<true>(arithmetic_, distance));
            } else {
                weights_of_sums(weights, count,
                                typename Arithmetic::template WeightByMaps<false>(arithmetic_, distance));
            }
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
                store(weights + j * columns + x, weight(sum_of_columns<P>(here[j], next[j]), x));
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

    // The weighted sums of a sample's channels.
    struct Values {
        Means of[kChannels];

        void load_from(const Total* p, ptrdiff_t step) {
            for (int channel = 0; channel < kChannels; ++channel) of[channel].load_from(p + channel * step);
        }
        void store_to(Total* p, ptrdiff_t step) const {
            for (int channel = 0; channel < kChannels; ++channel) of[channel].store_to(p + channel * step);
        }
        template <int C = 0>
        void add_products(Vector w_here, Vector after, Vector w_there, Vector before) {
            of[C].add_products(w_here, Arithmetic::template channel<C>(after), w_there,
                               Arithmetic::template channel<C>(before));
            if constexpr (C + 1 < kChannels) add_products<C + 1>(w_here, after, w_there, before);
        }
    };

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
        const auto add_sample = [&](int sample, auto with_weights) {
            const Sample* const pixel = source_at(image_plane(0, 0) + sample, row, 0);
            Total* const value_total = values_at(sample, row);
            for (int g = 0; g < Count; ++g) {
                after[g] = pixel + w[g].step;
                before[g] = pixel - w[g].step;
            }
            for (ptrdiff_t x = 0; x < columns; x += Lanes) {
                Values values;
                Means weights;
                values.load_from(value_total + x, total_step());
                if (with_weights) weights.load_from(weight_total + x);
                for (int g = 0; g < Count; ++g) {
                    const Vector w_here = load(here[g] + x), w_there = load(there[g] + x);
                    values.add_products(w_here, load(after[g] + x), w_there, load(before[g] + x));
                    if (with_weights) weights.add_weights(w_here, w_there);
                }
                values.store_to(value_total + x, total_step());
                if (with_weights) weights.store_to(weight_total + x);
            }
        };
        add_sample(0, std::true_type{});
        for (int sample = 1; sample < image_samples_; ++sample) add_sample(sample, std::false_type{});
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
        for (int sample = 0; sample < image_samples_; ++sample) {
            const Sample* const pixel = source_at(image_plane(0, 0) + sample, row, 0) + image_step;
            Total* const value_total = values_at(sample, row);
            for (ptrdiff_t x = 0; x < columns; x += Lanes) {
                Values values;
                Means weights;
                values.load_from(value_total + x, total_step());
                weights.load_from(weight_total + x);
                for (int g = 0; g < Count; g += 2) {
                    const Vector first = load(here[g] + x), second = g + 1 < Count ? load(here[g + 1] + x) : Vector{};
                    values.add_products(first, load(pixel + w[g].step + x), second,
                                        g + 1 < Count ? load(pixel + w[g + 1].step + x) : Vector{});
                    weights.add_weights(first, second);
                }
                values.store_to(value_total + x, total_step());
                if (sample == 0) weights.store_to(weight_total + x);
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
    const int channels_, image_samples_, guide_samples_, patch_;  // samples of a pixel
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

}  // namespace fastimg::FASTIMG_TARGET
