// A chain of convolutions, carried out as planned (convolution_plan.hpp).
//
// Every output is summed as if its layer ran alone (convolution.hpp), so that results depend neither on strips and bands nor
// on threads. Integers stand for [0, 1]: they are scaled as the image is staged, and rounded and clipped as the last layer
// hands over its rows.
//
// A window is staged input (convolution_staging.inl) that the layer before has written: borders are filled in beside what it
// has computed. Everything irregular happens there: borders, strides of the image's memory, and the stride of the
// convolution, whose columns are sorted by remainder so that every tap of every column step reads side by side.

#include "convolution_bfloat16.inl"
#include "convolution_results.inl"
#include "convolution_staging.inl"
#include "convolution_winograd.inl"

namespace fastimg::FASTIMG_TARGET {

// Multiply-adds per cycle, of pairs where operands are.
inline double products_per_cycle(Multiplier multiplier) {
    switch (multiplier) {
        case Multiplier::widened: return 0.3 * kLanes;
        case Multiplier::tiles: return 6 * kLanes;
        default: return 1.5 * kLanes;
    }
}

class Chain {
public:
    Chain(const std::vector<Convolution>& layers, const Sizes& sizes, const Array& x, const Array& out, int threads)
        : layers_(layers),
          sizes_(sizes),
          x_(x),
          out_(out),
          plan_(layers, sizes, x.shape[0], out.shape[1], threads, costs()),
          stages_(layers.size()) {
        for (size_t l = 0; l < stages_.size(); ++l) {
            Stage& stage = stages_[l];
            stage.layout = layout_of(l, plan_.columns()[l]);
            stage.begin = windows_size_;
            windows_size_ += plan_.rows()[l] * stage.layout.row_stride + 8 * kLanes;
        }
        for (size_t l = 0; l < stages_.size(); ++l) place(l);
    }

    void run(int threads) const {
        parallel_for(
            plan_.tasks(), threads, [this] { return Walk(*this); },
            [&](ptrdiff_t task, Walk& walk) { walk.run(plan_.task(task)); });
    }

private:
    // A layer and its window.
    struct Stage {
        Layout layout;
        ptrdiff_t begin;  // of the window among a thread's windows
        ptrdiff_t block_vectors;
        Layout points;                                // of the inputs at points
        std::vector<std::vector<ptrdiff_t>> offsets;  // of each pattern's taps
        std::vector<Bunch> bunches;
        bool packs;  // pairs for the next window, in registers
    };

    Costs costs() const {
        const bool by_tiles = layers_[0].multiplier == Multiplier::tiles;
        return {by_tiles ? 4 * kLanes : kLanes,
                [this](size_t l) { return multiply_adds(layers_[l]) / products_per_cycle(layers_[l].multiplier); },
                [this](size_t l, ptrdiff_t rows, ptrdiff_t columns) {
                    return rows * layout_of(l, columns).row_stride * ptrdiff_t(sizeof(float));
                }};
    }

    ptrdiff_t planes(size_t l) const { return layers_[l].groups * planes_of(layers_[l]); }
    bool holds_pairs(size_t l) const { return layers_[l].operands == Operands::channel_pairs; }

    // The plane of a window that a channel is in, and which half of its pairs it is.
    ptrdiff_t plane_of(size_t l, ptrdiff_t channel) const {
        const Convolution& layer = layers_[l];
        if (!holds_pairs(l)) return channel;
        return channel / layer.inputs * planes_of(layer) + channel % layer.inputs / 2;
    }
    bool is_upper_half(size_t l, ptrdiff_t channel) const { return channel % layers_[l].inputs % 2 == 1; }

    // Rows of planes of rows: lines that follow one another.
    Layout layout_of(size_t l, ptrdiff_t columns) const {
        const ptrdiff_t step = layers_[l].step[1];
        Layout layout{};
        layout.phase_stride = round_up(divide_up(columns, step), kLanes) + kLanes;
        const ptrdiff_t unsorted = l > 0 ? round_up(columns, kLanes) + kLanes : 0;
        const ptrdiff_t line = std::max(layout.phase_stride * column_phases(layers_[l]), unsorted);
        layout.plane_stride = (divide_up(line, 16) | 1) * 16;  // an odd number of cache lines, for the cache's sets
        layout.row_stride = planes(l) * layout.plane_stride;
        return layout;
    }

    void place(size_t l) {
        const Convolution& layer = layers_[l];
        Stage& stage = stages_[l];
        const int most_vectors = layer.multiplier == Multiplier::widened ? WidenedPairs::kMostVectors : 8;
        stage.block_vectors =
            layer.multiplier == Multiplier::tiles ? 8 : std::min(kBlockVectors[most_outputs(layer)], most_vectors);
        if (layer.points > 0) stage.points = layout_of_points(layer, planes(l), stage.block_vectors);
        const Layout& read = layer.points > 0 ? stage.points : stage.layout;
        for (const Pattern& pattern : layer.patterns) stage.offsets.push_back(offsets_of(pattern, layer, read));
        points_size_ = std::max(points_size_, points_size(layer, stage.points));
        const bool is_last = l + 1 == stages_.size();
        OutStrides stride{[=](ptrdiff_t channel) { return channel * out_.stride[1]; }, out_.stride[2], out_.stride[3]};
        if (!is_last) {
            const Layout& next = stages_[l + 1].layout;
            stride = {[=](ptrdiff_t channel) { return plane_of(l + 1, channel) * next.plane_stride; }, next.row_stride,
                      1};
        }
        stage.bunches = place_blocks(layer, stage.offsets, planes_of(layer) * read.plane_stride, stride);
        const auto has_whole_pairs = [](ptrdiff_t groups, ptrdiff_t channels) {
            return groups == 1 || channels % 2 == 0;
        };
        const auto begins_with_pair = [](const Block& block) { return block.channel % 2 == 0; };
        stage.packs = !is_last && holds_pairs(l + 1) && layers_[l + 1].multiplier != Multiplier::widened &&
                      layer.added.empty() && cell_size(layer, 1) == 1 &&
                      std::all_of(layer.blocks.begin(), layer.blocks.end(), begins_with_pair) &&
                      has_whole_pairs(layer.groups, layer.outputs) &&
                      has_whole_pairs(layers_[l + 1].groups, layers_[l + 1].inputs);
        sheet_size_ = std::max(sheet_size_, sheet_size(stage.bunches, cell_size(layer, 1)));
    }

    // One thread's windows, without numbers at first that would make arithmetic slow.
    class Walk {
    public:
        explicit Walk(const Chain& chain)
            : chain_(chain),
              memory_(size_t(chain.windows_size_)),
              sheet_(chain.sheet_size_),
              points_(chain.points_size_),
              windows_(chain.stages_.size()) {
            std::fill_n(memory_.data(), chain.windows_size_, 0.0f);
        }

        void run(const Plan::Task& task) {
            const Chain& c = chain_;
            image_ = task.image;
            columns_ = c.plan_.extents(1, task.columns);
            Schedule rows(c.plan_, task.rows);
            for (size_t l = 0; l < windows_.size(); ++l) {
                Window& w = windows_[l];
                w.data = memory_.data() + c.stages_[l].begin;
                w.column = c.plan_.origin(l, 1, columns_);
                w.row = w.filled = w.bordered = rows.end[l];
                find_columns_beside(l);
            }
            while (rows.advance()) {
                make_room(0, rows);
                stage_image(rows);
                for (size_t l = 0; l < windows_.size(); ++l) {
                    if (l + 1 < windows_.size()) make_room(l + 1, rows);
                    compute(l, rows.next[l], rows.target[l]);
                    if (l + 1 < windows_.size()) fill_borders(l + 1, rows);
                }
            }
        }

    private:
        struct Window {
            float* data;
            ptrdiff_t row, column;                                // that it begins with
            ptrdiff_t filled;                                     // rows up to here are there
            ptrdiff_t bordered;                                   // and up to here those beyond the border
            std::vector<std::pair<ptrdiff_t, ptrdiff_t>> beside;  // columns beyond the border, and which stand there
        };

        float* at(size_t l, ptrdiff_t plane, ptrdiff_t row) const {
            const Layout& layout = chain_.stages_[l].layout;
            return windows_[l].data + plane * layout.plane_stride + (row - windows_[l].row) * layout.row_stride;
        }

        // Rows that no cell reads any more give way if the step's would not fit.
        void make_room(size_t l, const Schedule& rows) {
            Window& w = windows_[l];
            if (rows.end[l] - w.row <= chain_.plan_.rows()[l]) return;
            const ptrdiff_t kept = std::min(rows.kept[l], w.filled);
            const size_t bytes = size_t((w.filled - kept) * chain_.stages_[l].layout.row_stride) * sizeof(float);
            std::memmove(w.data, at(l, 0, kept), bytes);
            w.row = kept;
        }

        void stage_image(const Schedule& rows) {
            visit(chain_.x_.dtype, [&](auto type) {
                using T = typename decltype(type)::type;
                if constexpr (!std::is_same_v<T, double>) stage_samples(view<T, 4>(chain_.x_), rows);
            });
            windows_[0].filled = std::max(windows_[0].filled, rows.end[0]);
        }

        template <class T>
        void stage_samples(const View<T, 4>& x, const Schedule& rows) {
            const Convolution& layer = chain_.layers_[0];
            const Interval read = columns_[0].read;
            for (ptrdiff_t phase = 0; phase < column_phases(layer); ++phase) {
                const Span span = span_of(read.begin + phase, layer.step[1],
                                          divide_up(read.size() - phase, layer.step[1]), x.shape[3]);
                for (ptrdiff_t channel = 0; channel < chain_.planes(0); ++channel) {
                    for (ptrdiff_t row = windows_[0].filled; row < rows.end[0]; ++row) {
                        prefetch_row(x, channel, row + chain_.plan_.step_rows() * layer.step[0]);
                        float* const to = at(0, channel, row) + phase * chain_.stages_[0].layout.phase_stride;
                        const ptrdiff_t source = border_index(row, x.shape[2], layer.border);
                        if (source < 0)
                            std::fill_n(to, span.count, 0.0f);
                        else
                            stage_row(to, span, x.at(image_, channel, source), x.shape[3], x.stride[3], layer.border);
                        if (layer.operands == Operands::split_samples)
                            for (ptrdiff_t i = 0; i < span.count; i += kLanes) store(to + i, split(load(to + i)));
                    }
                }
            }
        }

        // For the next step: few strips are so wide that the processor would see the rows coming.
        template <class T>
        void prefetch_row(const View<T, 4>& x, ptrdiff_t channel, ptrdiff_t row) const {
            const Interval read = columns_[0].read;
            if (row < 0 || row >= x.shape[2] || x.stride[3] != 1) return;
            const T* const from = x.at(image_, channel, row);
            const ptrdiff_t in_line = 64 / ptrdiff_t(sizeof(T));
            for (ptrdiff_t i = std::max<ptrdiff_t>(read.begin, 0); i < std::min(read.end, x.shape[3]); i += in_line)
                __builtin_prefetch(from + i, 0);
        }

        // Rows of cells, over the strip's columns.
        void compute(size_t l, ptrdiff_t begin, ptrdiff_t end) {
            const Stage& stage = chain_.stages_[l];
            const Convolution& layer = chain_.layers_[l];
            const Interval cells = columns_[l].cells;
            ptrdiff_t column = cells.begin;
            for (const ptrdiff_t vectors : even_parts(divide_up(cells.size(), kLanes), stage.block_vectors)) {
                const ptrdiff_t in_column =
                    (column * layer.step[1] + layer.first[1] - windows_[l].column) / layer.step[1];
                const ptrdiff_t count = std::min(vectors * kLanes, cells.end - column);
                for (ptrdiff_t row = begin; row < end; ++row) {
                    const float* in = at(l, 0, row * layer.step[0] + layer.first[0]) + in_column;
                    if (layer.points > 0) {
                        if (l + 1 == windows_.size() && row + 1 < end) prefetch_results_of(row + 1, column, vectors);
                        transform_lines(layer, points_.data(), stage.points, in, stage.layout, chain_.planes(l));
                        in = points_.data();
                    }
                    run_blocks(l, in, row, column, vectors, count);
                }
                column += vectors * kLanes;
            }
        }

        // Of the last layer.
        void prefetch_results_of(ptrdiff_t row, ptrdiff_t column, ptrdiff_t vectors) const {
            if (chain_.out_.dtype != DType::f32 || cell_size(chain_.layers_.back(), 1) != 1) return;
            const float* const out = image_at<float>({row * cell_size(chain_.layers_.back(), 0), column});
            for (const Bunch& bunch : chain_.stages_.back().bunches) prefetch_results(bunch, out, vectors);
        }

        void run_blocks(size_t l, const float* in, ptrdiff_t row, ptrdiff_t column, ptrdiff_t vectors,
                        ptrdiff_t count) {
            const Convolution& layer = chain_.layers_[l];
            const ptrdiff_t cell_rows = cell_size(layer, 0), cell_columns = cell_size(layer, 1);
            const CellPlace out{row * cell_rows, column * cell_columns};
            const auto [height, width] = chain_.sizes_[l + 1];
            const bool is_last = l + 1 == windows_.size();
            const bool fits =
                is_last ? (count == vectors * kLanes && chain_.out_.dtype == DType::f32 && chain_.out_.stride[3] == 1)
                        : !chain_.holds_pairs(l + 1) || chain_.stages_[l].packs;
            const auto run_as = [&](auto results) {
                return
                    [this, l, vectors](const PlacedBlock& block, const float* x, float* to, const ptrdiff_t* offsets) {
                        run_block<decltype(results)>(l, block, x, to, offsets, vectors);
                    };
            };
            const ptrdiff_t rows = height - out.row, columns = std::min(count * cell_columns, width - out.column);
            if (fits && cell_columns == 1 && rows >= cell_rows && layer.added.empty()) {
                float* const to = is_last ? image_at<float>(out) : window_at(l + 1, out);
                visit_results(chain_.stages_[l].packs, [&](auto results) {
                    for (const Bunch& bunch : chain_.stages_[l].bunches) run_directly(bunch, run_as(results), in, to);
                });
                return;
            }
            for (const Bunch& bunch : chain_.stages_[l].bunches) {
                run_by_sheet(bunch, run_as(AsFloats{}), in, sheet_.data(), vectors, cell_columns,
                             [&](const CellRow& r, float* values) {
                                 if (r.row >= rows) return;
                                 for (const size_t from : layer.added)
                                     add(values, from, {out.row + r.row, out.column}, r.channel, columns);
                                 if (is_last)
                                     hand_over(r, values, columns, out);
                                 else if (chain_.holds_pairs(l + 1))
                                     store_halves(window_at(l + 1, out) + r.out_offset, values, columns,
                                                  chain_.is_upper_half(l + 1, r.channel));
                                 else
                                     store_row(window_at(l + 1, out) + r.out_offset, values, columns, 1);
                             });
            }
        }

        template <class Results>
        void run_block(size_t l, const PlacedBlock& block, const float* in, float* out, const ptrdiff_t* out_offset,
                       ptrdiff_t vectors) {
            const Convolution& layer = chain_.layers_[l];
            const auto run = [&](RunBlock kernel) { kernel(block.program, in, out, out_offset); };
            if (layer.points > 0) {
                const Layout& points = chain_.stages_[l].points;
                float* const sums = points_.data() + layer.points * points.row_stride;
                run_block_at_points<Results>(layer, block.program, block.outputs, vectors, in, points, sums, out,
                                             out_offset);
                return;
            }
            switch (layer.multiplier) {
                case Multiplier::floats: run(run_block_of<FloatProducts, Results>(block.outputs, vectors)); break;
                case Multiplier::widened: run(run_block_of<WidenedPairs>(block.outputs, vectors)); break;
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
                case Multiplier::dot: run(run_block_of<DotPairs, Results>(block.outputs, vectors)); break;
                case Multiplier::tiles:
                    run_block_by_tiles<std::is_same_v<Results, AsPairs>>(tiles_, block.program, block.outputs, in,
                                                                         chain_.stages_[l].layout.plane_stride, out,
                                                                         out_offset, vectors);
                    break;
#endif
                default: throw std::logic_error("fastimg: a multiplier that this target does not have");
            }
        }

        // What a window shows of a channel.
        void add(float* values, size_t from, const CellPlace& place, ptrdiff_t channel, ptrdiff_t n) const {
            const float* const x = window_at(from, place, chain_.plane_of(from, channel));
            const Operands operands = chain_.layers_[from].operands;
            const bool upper = chain_.is_upper_half(from, channel);
            for (ptrdiff_t i = 0; i < n; i += kLanes) {
                Floats other = load(x + i);
                if (operands == Operands::split_samples) other = lower_half(other) + upper_half(other);
                if (operands == Operands::channel_pairs) other = upper ? upper_half(other) : lower_half(other);
                store(values + i, load(values + i) + other);
            }
        }

        static void store_halves(float* pairs, const float* values, ptrdiff_t n, bool upper) {
            for (ptrdiff_t i = 0; i < n; i += kLanes) {
                const Ints bits = bfloat16_bits(load(values + i)), other = (Ints)load(pairs + i);
                const Ints upper_bits = other & int32_t(0xffff0000);
                store(pairs + i, upper ? pairs_of(other << 16, bits) : pairs_of(bits, upper_bits));
            }
        }

        // To the image.
        void hand_over(const CellRow& r, float* values, ptrdiff_t columns, const CellPlace& out) {
            visit(chain_.out_.dtype, [&](auto type) {
                using T = typename decltype(type)::type;
                if constexpr (is_integer<T>)
                    for (ptrdiff_t i = 0; i < columns; ++i) values[i] *= float(std::numeric_limits<T>::max());
                if constexpr (!std::is_same_v<T, double>)
                    store_row(image_at<T>(out) + r.out_offset, values, columns, chain_.out_.stride[3]);
            });
        }

        template <class T>
        T* image_at(const CellPlace& place) const {
            return view<T, 4>(chain_.out_).at(image_, 0, place.row, place.column);
        }
        float* window_at(size_t l, const CellPlace& place, ptrdiff_t plane = 0) const {
            return at(l, plane, place.row) + place.column - windows_[l].column;
        }

        void find_columns_beside(size_t l) {
            const ptrdiff_t width = chain_.sizes_[l][1];
            const Interval read = columns_[l].read;
            windows_[l].beside.clear();
            for (ptrdiff_t column = read.begin; column < read.end; ++column)
                if (column < 0 || column >= width)
                    windows_[l].beside.emplace_back(column, border_index(column, width, chain_.layers_[l].border));
        }

        // What stands beside the image that a window shows, beside the rows that have just been computed.
        void fill_borders(size_t l, const Schedule& rows) {
            const Convolution& layer = chain_.layers_[l];
            const Layout& layout = chain_.stages_[l].layout;
            Window& w = windows_[l];
            const ptrdiff_t height = chain_.sizes_[l][0];
            const ptrdiff_t cell = cell_size(chain_.layers_[l - 1], 0);
            const Interval computed{rows.next[l - 1] * cell, rows.rows_computed(l - 1)};
            const bool reads = rows.target[l] > rows.next[l];
            const ptrdiff_t needed = reads ? read_by(layer, 0, {rows.next[l], rows.target[l]}).end : w.bordered;
            const ptrdiff_t first = std::max(w.bordered, rows.kept[l]);  // rows that gave way have no place any more
            const Interval above{first, std::min<ptrdiff_t>(needed, 0)}, below{std::max(first, height), needed};
            for (ptrdiff_t plane = 0; plane < chain_.planes(l); ++plane) {
                for (ptrdiff_t row = computed.begin; row < computed.end; ++row) {
                    float* const line = at(l, plane, row) - w.column;
                    for (const auto [column, source] : w.beside) line[column] = source < 0 ? 0.0f : line[source];
                    if (layer.step[1] > 1) sort_columns(l, line + w.column);
                }
                const auto fill_row = [&](ptrdiff_t row) {
                    float* const to = at(l, plane, row);
                    const ptrdiff_t source = border_index(row, height, layer.border);
                    if (source < 0)
                        std::fill_n(to, layout.plane_stride, 0.0f);
                    else
                        std::memcpy(to, at(l, plane, source), size_t(layout.plane_stride) * sizeof(float));
                };
                for (ptrdiff_t row = above.begin; row < above.end; ++row) fill_row(row);
                for (ptrdiff_t row = below.begin; row < below.end; ++row) fill_row(row);
            }
            w.bordered = std::max(w.bordered, needed);
            w.filled = std::max(w.filled, rows.end[l]);
        }

        // By their remainders by the step, as `stage_row` does.
        void sort_columns(size_t l, float* row) {
            const Convolution& layer = chain_.layers_[l];
            const Layout& layout = chain_.stages_[l].layout;
            unsorted_.assign(row, row + layout.plane_stride);
            const ptrdiff_t step = layer.step[1], columns = columns_[l].read.end - windows_[l].column;
            for (ptrdiff_t phase = 0; phase < column_phases(layer); ++phase)
                for (ptrdiff_t i = phase; i < columns; i += step)
                    row[phase * layout.phase_stride + i / step] = unsorted_[size_t(i)];
        }

        const Chain& chain_;
        Scratch<float> memory_, sheet_, points_;
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
        Tiles tiles_;
#endif
        std::vector<float> unsorted_;
        std::vector<Window> windows_;
        std::vector<Extent> columns_;
        ptrdiff_t image_ = 0;
    };

    const std::vector<Convolution>& layers_;
    const Sizes& sizes_;
    const Array &x_, &out_;
    const Plan plan_;
    std::vector<Stage> stages_;
    ptrdiff_t windows_size_ = 0;
    size_t sheet_size_ = 0, points_size_ = 0;
};

inline void convolve(const std::vector<Convolution>& layers, const Sizes& sizes, const Array& x, const Array& out,
                     int threads) {
    Chain(layers, sizes, x, out, threads).run(threads);
}

}  // namespace fastimg::FASTIMG_TARGET
