// Direct convolution of one layer: stage a tile, run the micro-kernel over it.
//
// Tile. Everything irregular happens when a tile is staged: borders, strides of the input's memory, and the stride of
// the convolution, whose columns are sorted by remainder so that every tap of every column step reads side by side.
// A tile of all input channels with its halo takes kTileBytes, so that it stays in L2 with the weights, unless a single
// row of cells with its halo takes more (very many channels, a very large dilation); its columns are walked in register
// blocks, whose input (channels × kernel rows × V vectors) stays in L1 for all outputs.
//
// Limits. Memory: input + output once, when a tile's
// halo is small, and the output once more for being read before it is written.

#include "convolution_bfloat16.inl"
#include "convolution_results.inl"
#include "convolution_staging.inl"
#include "convolution_winograd.inl"

namespace fastimg::FASTIMG_TARGET {

// ---- tiles --------------------------------------------------------------------------------------------------------

constexpr ptrdiff_t kTileBytes = 256 << 10;
constexpr ptrdiff_t kWantedTasks = 16;

// The rows that lie between the first and the last that `rows` cells read.
inline ptrdiff_t staged_rows(const Convolution& layer, ptrdiff_t rows) {
    return (rows - 1) * layer.step[0] + layer.reach[0] + 1;
}

// Which of its staged rows a tile of `rows` rows of cells reads: not all, if step or dilation go beyond the kernel.
inline std::vector<bool> rows_read(const Convolution& layer, ptrdiff_t rows) {
    std::vector<bool> is_read(size_t(staged_rows(layer, rows)), layer.points > 0);
    for (const Pattern& pattern : layer.patterns)
        for (const Tap& tap : pattern.taps)
            for (ptrdiff_t row = 0; row < rows; ++row)
                is_read[size_t(row * layer.step[0] + tap.row - layer.first[0])] = true;
    return is_read;
}

// How the cells are cut into tiles.
struct Tiling : Layout {
    ptrdiff_t rows, columns;  // cells of a tile
    ptrdiff_t tiles[2];       // along the rows, along the columns
};

inline Tiling tiling_of(const Convolution& layer, ptrdiff_t rows, ptrdiff_t columns, const ptrdiff_t (&cells)[2]) {
    Tiling t{};
    t.rows = rows;
    t.columns = columns;
    t.tiles[0] = divide_up(cells[0], rows);
    t.tiles[1] = divide_up(cells[1], columns);
    t.phase_stride = round_up(columns, kLanes) + round_up(layer.reach[1] / layer.step[1], 4);
    t.row_stride = t.phase_stride * column_phases(layer);
    // An odd number of cache lines between channels, so that they do not all fall into one cache set.
    t.plane_stride = (divide_up(staged_rows(layer, rows) * t.row_stride, 16) | 1) * 16;
    return t;
}

// The tile within kTileBytes, output included, whose staging costs the least per cell. A row costs as much to begin with
// as so many samples: narrow tiles touch many pages of memory for little.
constexpr ptrdiff_t kRowCost = 48;

inline Tiling choose_tiling(const Convolution& layer, const ptrdiff_t (&cells)[2], ptrdiff_t block_columns) {
    Tiling best{};
    double least = 0;
    for (ptrdiff_t parts = 1;; ++parts) {
        const ptrdiff_t width = round_up(divide_up(cells[1], parts), block_columns);
        const ptrdiff_t columns = std::min(width, cells[1]);
        const ptrdiff_t row_floats = tiling_of(layer, 1, columns, cells).row_stride * layer.inputs;
        const ptrdiff_t out_floats = layer.outputs * layer.cell[0] * layer.cell[1] * columns;
        const ptrdiff_t room = kTileBytes / 4 - (layer.reach[0] + 1 - layer.step[0]) * row_floats;
        const ptrdiff_t rows = std::clamp<ptrdiff_t>(room / (layer.step[0] * row_floats + out_floats), 1, cells[0]);
        const Tiling tiling = tiling_of(layer, rows, columns, cells);
        const double cost =
            double(staged_rows(layer, rows)) * double(tiling.row_stride + kRowCost) / double(rows * columns);
        if (parts == 1 || cost < least) {
            best = tiling;
            least = cost;
        }
        if (width <= block_columns) return best;
    }
}

// ---- layer --------------------------------------------------------------------------------------------------------

class Layer {
public:
    Layer(const Convolution& layer, const View<float, 4>& x, const View<float, 4>& out)
        : layer_(layer), x_(x), out_(out) {
        for (int axis = 0; axis < 2; ++axis) cells_[axis] = divide_up(out.shape[2 + axis], layer.cell[size_t(axis)]);
        block_vectors_ = kBlockVectors[most_outputs(layer)];
        tiling_ = choose_tiling(layer, cells_, block_vectors_ * kLanes);
        const ptrdiff_t planes = x.shape[0] * layer.groups;
        const ptrdiff_t wanted = divide_up(kWantedTasks, std::max<ptrdiff_t>(1, planes * tiling_.tiles[1]));
        if (tiling_.tiles[0] < wanted) {
            const ptrdiff_t rows = divide_up(cells_[0], std::min(wanted, cells_[0]));
            tiling_ = tiling_of(layer, rows, tiling_.columns, cells_);
        }
        is_read_ = rows_read(layer, tiling_.rows);
        const ptrdiff_t tasks = planes * tiling_.tiles[0] * tiling_.tiles[1];
        if (layer.points > 0) points_ = layout_of_points(layer, layer.inputs, block_vectors_);
        const Layout& read = layer.points > 0 ? points_ : tiling_;
        for (const Pattern& pattern : layer.patterns) offsets_.push_back(offsets_of(pattern, layer, read));
        bunches_ = place_blocks(layer, offsets_, 0, out_strides(out));
        const ptrdiff_t of_group = ptrdiff_t(bunches_.size()) / layer.groups;
        shares_ = std::clamp<ptrdiff_t>(kWantedTasks / std::max<ptrdiff_t>(tasks, 1), 1, divide_up(of_group, 4));
    }

    void run(int threads) const {
        const ptrdiff_t tasks = x_.shape[0] * layer_.groups * tiling_.tiles[0] * tiling_.tiles[1] * shares_;
        const size_t tile = size_t(layer_.inputs * tiling_.plane_stride + (block_vectors_ + 1) * kLanes);
        const size_t sheet = sheet_size(bunches_, layer_.cell[1]), points = points_size(layer_, points_);
        parallel_for(
            tasks, threads, [=] { return Scratch<float>(tile + sheet + points); },
            [&](ptrdiff_t task, Scratch<float>& memory) {
                run_task(task, memory.data(), memory.data() + tile, memory.data() + tile + sheet);
            });
    }

private:
    void run_task(ptrdiff_t task, float* tile, float* sheet, float* points) const {
        const ptrdiff_t share = task % shares_;
        task /= shares_;
        const ptrdiff_t column = task % tiling_.tiles[1] * tiling_.columns;
        task /= tiling_.tiles[1];
        const ptrdiff_t row = task % tiling_.tiles[0] * tiling_.rows;
        task /= tiling_.tiles[0];
        const ptrdiff_t group = task % layer_.groups, image = task / layer_.groups;

        const ptrdiff_t rows = std::min(tiling_.rows, cells_[0] - row);
        const ptrdiff_t columns = std::min(tiling_.columns, cells_[1] - column);
        stage_tile(tile, image, group * layer_.inputs, row, column, rows, columns);

        const ptrdiff_t bunches = ptrdiff_t(bunches_.size()) / layer_.groups;
        const Bunch* const first = bunches_.data() + group * bunches + share * bunches / shares_;
        const Bunch* const last = bunches_.data() + group * bunches + (share + 1) * bunches / shares_;
        ptrdiff_t vector = 0;
        for (const ptrdiff_t vectors : even_parts(divide_up(columns, kLanes), block_vectors_)) {
            const ptrdiff_t begin = vector * kLanes;
            const ptrdiff_t count = std::min(vectors * kLanes, columns - begin);
            for (ptrdiff_t i = 0; i < rows; ++i) {
                float* const out = out_.at(image, 0, (row + i) * layer_.cell[0], (column + begin) * layer_.cell[1]);
                const float* in = tile + i * layer_.step[0] * tiling_.row_stride + begin;
                const ptrdiff_t rows_left = out_.shape[2] - (row + i) * layer_.cell[0];
                const ptrdiff_t columns_left = out_.shape[3] - (column + begin) * layer_.cell[1];
                const bool directly = count == vectors * kLanes && out_.stride[3] == 1 && layer_.cell[1] == 1 &&
                                      rows_left >= layer_.cell[0];
                if (layer_.points > 0) {
                    if (directly && i + 1 < rows)
                        for (const Bunch* bunch = first; bunch != last; ++bunch)
                            prefetch_results(*bunch, out + layer_.cell[0] * out_.stride[2], vectors);
                    transform_lines(layer_, points, points_, in, tiling_, layer_.inputs);
                    in = points;
                }
                const auto deliver = [&](const CellRow& r, const float* values) {
                    if (r.row < rows_left)
                        store_row(out + r.out_offset, values, std::min(count * layer_.cell[1], columns_left),
                                  out_.stride[3]);
                };
                const auto run = [&](const PlacedBlock& block, const float* x, float* to, const ptrdiff_t* offsets) {
                    if (layer_.points > 0)
                        run_block_at_points(layer_, block.program, block.outputs, vectors, x, points_,
                                            points + layer_.points * points_.row_stride, to, offsets);
                    else
                        run_block_of<FloatProducts>(block.outputs, vectors)(block.program, x, to, offsets);
                };
                for (const Bunch* bunch = first; bunch != last; ++bunch) {
                    if (directly)
                        run_directly(*bunch, run, in, out);
                    else
                        run_by_sheet(*bunch, run, in, sheet, vectors, layer_.cell[1], deliver);
                }
            }
            vector += vectors;
        }
    }

    static OutStrides out_strides(const View<float, 4>& out) {
        const ptrdiff_t channel_stride = out.stride[1];
        return {[=](ptrdiff_t channel) { return channel * channel_stride; }, out.stride[2], out.stride[3]};
    }

    // The samples that `rows` × `columns` cells from (row, column) on read, of a group's channels from `channel` on.
    void stage_tile(float* tile, ptrdiff_t image, ptrdiff_t channel, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows,
                    ptrdiff_t columns) const {
        const ptrdiff_t first_row = row * layer_.step[0] + layer_.first[0];
        for (ptrdiff_t phase = 0; phase < column_phases(layer_); ++phase) {
            const Span span = span_of(column * layer_.step[1] + layer_.first[1] + phase, layer_.step[1],
                                      columns + (layer_.reach[1] - phase) / layer_.step[1], x_.shape[3]);
            for (ptrdiff_t c = 0; c < layer_.inputs; ++c) {
                for (ptrdiff_t i = 0; i < staged_rows(layer_, rows); ++i) {
                    if (!is_read_[size_t(i)]) continue;
                    float* const to =
                        tile + c * tiling_.plane_stride + i * tiling_.row_stride + phase * tiling_.phase_stride;
                    const ptrdiff_t source = border_index(first_row + i, x_.shape[2], layer_.border);
                    if (source < 0)
                        std::fill_n(to, span.count, 0.0f);
                    else
                        stage_row(to, span, x_.at(image, channel + c, source), x_.shape[3], x_.stride[3],
                                  layer_.border);
                }
            }
        }
    }

    const Convolution& layer_;
    const View<float, 4>& x_;
    const View<float, 4>& out_;
    ptrdiff_t cells_[2];
    ptrdiff_t block_vectors_;
    Tiling tiling_;
    Layout points_{};                              // of a group's inputs at points
    std::vector<bool> is_read_;                    // by row of a staged tile
    ptrdiff_t shares_;                             // tasks that share a tile, each with some of the blocks
    std::vector<std::vector<ptrdiff_t>> offsets_;  // of each pattern's taps
    std::vector<Bunch> bunches_;                   // of all groups
};

inline void convolve_alone(const Convolution& layer, const View<float, 4>& x, const View<float, 4>& out, int threads) {
    Layer(layer, x, out).run(threads);
}

}  // namespace fastimg::FASTIMG_TARGET

#include "convolution_chain.inl"
