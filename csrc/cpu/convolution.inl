// Direct convolution of one layer: stage a tile, run the micro-kernel over it.
//
// Micro-kernel. A register block is M outputs × V vectors along the image's width, M*V accumulators. Per tap it loads
// V vectors of input, unaligned, and M weights, each broadcast from memory, for M*V fused multiply-adds. Where a tap
// reads is one number in a list made once per call, so channel, row, column, dilation and stride cost nothing in the
// loop, and all kernels, 1×1 to 11×11, dilated or transposed, run the same instructions. AVX2: 4×3 = 12 accumulators,
// 3 inputs, 1 weight: all 16 registers; 7 loads to 12 FMAs. AVX-512: 4×6 = 24, 10 loads to 24. SSE: 4×2.
//
// Tile. Everything irregular happens when a tile is staged: borders, strides of the input's memory, and the stride of
// the convolution, whose columns are sorted by remainder so that every tap of every column step reads side by side.
// A tile of all input channels with its halo takes kTileBytes, so that it stays in L2 with the weights, unless a single
// row of cells with its halo takes more (very many channels, a very large dilation); its columns are walked in register
// blocks, whose input (channels × kernel rows × V vectors) stays in L1 for all outputs.
//
// Limits. Arithmetic: multiply-adds / (lanes × FMA units) cycles a core. Memory: input + output once, when a tile's
// halo is small, and the output once more for being read before it is written.

namespace fastimg::FASTIMG_TARGET {

// ---- micro-kernel -------------------------------------------------------------------------------------------------

#define FASTIMG_INLINE __attribute__((always_inline))

// Vectors of a register block, by the number of its outputs.
#if FASTIMG_LEVEL >= 4
constexpr int kBlockVectors[kBlockOutputs + 1] = {0, 8, 8, 8, 6};
#elif FASTIMG_LEVEL >= 3
constexpr int kBlockVectors[kBlockOutputs + 1] = {0, 8, 6, 4, 3};
#else
constexpr int kBlockVectors[kBlockOutputs + 1] = {0, 8, 4, 3, 2};
#endif

// Consecutive taps that feed the same outputs, given as a set of bits.
struct Segment {
    unsigned outputs;
    ptrdiff_t taps;
};

// What the micro-kernel needs to know of a block of outputs.
struct BlockProgram {
    const ptrdiff_t* offsets;  // (taps): where each reads, from the input's address
    const Segment* segments;   // (segment_count)
    ptrdiff_t segment_count;
    const float* weights;  // by tap: one for each output of its segment
    const float* bias;     // (M)
    const float* slope;    // (M)
    Activation activation;
};

// f(0), ..., f(N - 1) with constants, so that an array indexed by them stays in registers.
template <int N, class F>
[[gnu::always_inline]] inline void unrolled(F&& f) {
    if constexpr (N > 0) {
        unrolled<N - 1>(f);
        f(std::integral_constant<int, N - 1>{});
    }
}

template <int M, int V, unsigned Outputs>
[[gnu::always_inline]] inline void accumulate(Floats (&sums)[M][V], const float* in, const ptrdiff_t*& offsets,
                                              const float*& weights, ptrdiff_t taps) {
    constexpr auto before = [](int m) { return __builtin_popcount(Outputs & ((1u << m) - 1)); };
    const ptrdiff_t* const end = offsets + taps;
    for (; offsets != end; ++offsets, weights += before(M)) {
        const float* const x = in + *offsets;
        if constexpr (V <= M) {
            Floats inputs[V];
            unrolled<V>([&](auto v) FASTIMG_INLINE { inputs[v] = load(x + v * kLanes); });
            unrolled<M>([&](auto m) FASTIMG_INLINE {
                if constexpr (Outputs >> m & 1) {
                    const float weight = weights[before(m)];
                    unrolled<V>([&](auto v) FASTIMG_INLINE { sums[m][v] += weight * inputs[v]; });
                }
            });
        } else {
            unrolled<V>([&](auto v) FASTIMG_INLINE {
                const Floats input = load(x + v * kLanes);
                unrolled<M>([&](auto m) FASTIMG_INLINE {
                    if constexpr (Outputs >> m & 1) sums[m][v] += weights[before(m)] * input;
                });
            });
        }
    }
}

template <int M, int V, unsigned Outputs = 1>
[[gnu::always_inline]] inline void accumulate_segment(Floats (&sums)[M][V], const float* in, const ptrdiff_t*& offsets,
                                                      const float*& weights, const Segment& segment) {
    if constexpr (Outputs < 1u << M) {
        if (segment.outputs == Outputs)
            accumulate<M, V, Outputs>(sums, in, offsets, weights, segment.taps);
        else
            accumulate_segment<M, V, Outputs + 1>(sums, in, offsets, weights, segment);
    }
}

// M outputs × V vectors: reads at `in`, writes at out + out_offset[m], whole vectors both.
template <int M, int V, bool Dense>
void run_block(const BlockProgram& block, const float* in, float* out, const ptrdiff_t* out_offset) {
    Floats sums[M][V];
    const auto each = [&](auto&& f) FASTIMG_INLINE {
        unrolled<M>([&](auto m) FASTIMG_INLINE { unrolled<V>([&](auto v) FASTIMG_INLINE { f(m, v, sums[m][v]); }); });
    };
    each([&](int m, int, Floats& sum) FASTIMG_INLINE { sum = block.bias[m] - Floats{}; });
    const ptrdiff_t* offsets = block.offsets;
    const float* weights = block.weights;
    if constexpr (Dense) {
        accumulate<M, V, (1u << M) - 1>(sums, in, offsets, weights, block.segments->taps);
    } else {
        for (ptrdiff_t s = 0; s < block.segment_count; ++s)
            accumulate_segment<M, V>(sums, in, offsets, weights, block.segments[s]);
    }
    if (block.activation == Activation::relu) {
        each([&](int, int, Floats& sum) FASTIMG_INLINE { sum = max(Floats{}, sum); });  // of a NaN, the NaN
    } else if (block.activation == Activation::slope) {
        each([&](int m, int, Floats& sum) FASTIMG_INLINE {
            sum = (Ints)sum < 0 ? block.slope[m] * sum : sum;  // by the sign bit: one instruction
        });
    }
    each([&](int m, int v, Floats& sum) FASTIMG_INLINE { store(out + out_offset[m] + v * kLanes, sum); });
}

#undef FASTIMG_INLINE

using RunBlock = void (*)(const BlockProgram&, const float*, float*, const ptrdiff_t*);

template <bool Dense, int M, int V = 1>
RunBlock run_block_of_vectors(ptrdiff_t vectors) {
    if constexpr (V < kBlockVectors[M])
        if (vectors > V) return run_block_of_vectors<Dense, M, V + 1>(vectors);
    return run_block<M, V, Dense>;
}

template <bool Dense>
RunBlock run_block_of(size_t outputs, ptrdiff_t vectors) {
    switch (outputs) {
        case 1: return run_block_of_vectors<Dense, 1>(vectors);
        case 2: return run_block_of_vectors<Dense, 2>(vectors);
        case 3: return run_block_of_vectors<Dense, 3>(vectors);
        default: return run_block_of_vectors<Dense, 4>(vectors);
    }
}

// ---- tiles --------------------------------------------------------------------------------------------------------

constexpr ptrdiff_t kTileBytes = 256 << 10;
constexpr ptrdiff_t kWantedTasks = 16;

// The rows that lie between the first and the last that `rows` cells read.
inline ptrdiff_t staged_rows(const Convolution& layer, ptrdiff_t rows) {
    return (rows - 1) * layer.step[0] + layer.reach[0] + 1;
}

// The remainders by the step that the columns of taps have.
inline ptrdiff_t column_phases(const Convolution& layer) { return std::min(layer.step[1], layer.reach[1] + 1); }

// Which of its staged rows a tile of `rows` rows of cells reads: not all, if step or dilation go beyond the kernel.
inline std::vector<bool> rows_read(const Convolution& layer, ptrdiff_t rows) {
    std::vector<bool> is_read(size_t(staged_rows(layer, rows)));
    for (const Pattern& pattern : layer.patterns)
        for (const Tap& tap : pattern.taps)
            for (ptrdiff_t row = 0; row < rows; ++row)
                is_read[size_t(row * layer.step[0] + tap.row - layer.first[0])] = true;
    return is_read;
}

// How the cells are cut into tiles, and where in a staged tile an input sample lies:
// ((channel, row, remainder of its column by the step, column / step)).
struct Tiling {
    ptrdiff_t rows, columns;                             // cells of a tile
    ptrdiff_t tiles[2];                                  // along the rows, along the columns
    ptrdiff_t row_stride, phase_stride, channel_stride;  // of a staged tile, in elements
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
    t.channel_stride = (divide_up(staged_rows(layer, rows) * t.row_stride, 16) | 1) * 16;
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

// Samples first, first + step, ... of a row: those in [begin, end) lie inside the image.
struct Span {
    ptrdiff_t first, step, count, begin, end;
};

inline Span span_of(ptrdiff_t first, ptrdiff_t step, ptrdiff_t count, ptrdiff_t width) {
    const ptrdiff_t begin = std::clamp<ptrdiff_t>(divide_up(std::max<ptrdiff_t>(-first, 0), step), 0, count);
    const ptrdiff_t end = std::clamp<ptrdiff_t>(first < width ? divide_up(width - first, step) : 0, begin, count);
    return {first, step, count, begin, end};
}

// n floats, the last vector overlapping the one before it.
inline void copy_row(float* to, const float* from, ptrdiff_t n) {
    if (n < kLanes) {
        for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i];
        return;
    }
    for (ptrdiff_t i = 0; i < n - kLanes; i += kLanes) store(to + i, load(from + i));
    store(to + n - kLanes, load(from + n - kLanes));
}

inline void stage_row(float* to, const Span& span, const float* row, ptrdiff_t width, ptrdiff_t stride,
                      BorderMode border) {
    const auto outside = [&](ptrdiff_t i) {
        const ptrdiff_t column = border_index(span.first + i * span.step, width, border);
        return column < 0 ? 0.0f : row[column * stride];
    };
    for (ptrdiff_t i = 0; i < span.begin; ++i) to[i] = outside(i);
    const float* const from = row + (span.first + span.begin * span.step) * stride;
    if (stride * span.step == 1)
        copy_row(to + span.begin, from, span.end - span.begin);
    else
        for (ptrdiff_t i = 0; i < span.end - span.begin; ++i) to[span.begin + i] = from[i * stride * span.step];
    for (ptrdiff_t i = span.end; i < span.count; ++i) to[i] = outside(i);
}

// ---- programs -----------------------------------------------------------------------------------------------------

// A pattern with the offsets that its taps have in a staged tile.
struct PatternProgram {
    std::vector<ptrdiff_t> offsets;
    std::vector<Segment> segments;
    size_t weights = 0;  // of one block
    bool dense = false;
};

inline PatternProgram program_of(const Pattern& pattern, const Convolution& layer, const Tiling& tiling) {
    PatternProgram program;
    for_each_tap(pattern, layer.inputs, [&](ptrdiff_t input, const Tap& tap) {
        const ptrdiff_t column = tap.column - layer.first[1];
        program.offsets.push_back(input * tiling.channel_stride + (tap.row - layer.first[0]) * tiling.row_stride +
                                  column % layer.step[1] * tiling.phase_stride + column / layer.step[1]);
        const unsigned outputs = takers(tap);
        if (program.segments.empty() || program.segments.back().outputs != outputs)
            program.segments.push_back({outputs, 0});
        ++program.segments.back().taps;
        program.weights += size_t(__builtin_popcount(outputs));
    });
    program.dense = program.segments.size() == 1 && program.segments[0].outputs == (1u << pattern.outputs.size()) - 1;
    return program;
}

// ---- layer --------------------------------------------------------------------------------------------------------

class Layer {
public:
    Layer(const Convolution& layer, const View<float, 4>& x, const View<float, 4>& out)
        : layer_(layer), x_(x), out_(out) {
        for (int axis = 0; axis < 2; ++axis) cells_[axis] = divide_up(out.shape[2 + axis], layer.cell[size_t(axis)]);
        size_t most = 1;
        for (const Pattern& pattern : layer.patterns) most = std::max(most, pattern.outputs.size());
        block_vectors_ = kBlockVectors[most];
        tiling_ = choose_tiling(layer, cells_, block_vectors_ * kLanes);
        const ptrdiff_t planes = x.shape[0] * layer.groups;
        const ptrdiff_t wanted = divide_up(kWantedTasks, std::max<ptrdiff_t>(1, planes * tiling_.tiles[1]));
        if (tiling_.tiles[0] < wanted) {
            const ptrdiff_t rows = divide_up(cells_[0], std::min(wanted, cells_[0]));
            tiling_ = tiling_of(layer, rows, tiling_.columns, cells_);
        }
        is_read_ = rows_read(layer, tiling_.rows);
        const ptrdiff_t tasks = planes * tiling_.tiles[0] * tiling_.tiles[1];
        const ptrdiff_t blocks = ptrdiff_t(layer.blocks.size());
        shares_ = std::clamp<ptrdiff_t>(kWantedTasks / std::max<ptrdiff_t>(tasks, 1), 1, divide_up(blocks, 4));
        for (const Pattern& pattern : layer.patterns) programs_.push_back(program_of(pattern, layer, tiling_));
        prepare_blocks();
    }

    void run(int threads) const {
        const ptrdiff_t tasks = x_.shape[0] * layer_.groups * tiling_.tiles[0] * tiling_.tiles[1] * shares_;
        const size_t floats = size_t(layer_.inputs * tiling_.channel_stride + block_vectors_ * kLanes);
        parallel_for(
            tasks, threads, [floats] { return Scratch<float>(floats); },
            [&](ptrdiff_t task, Scratch<float>& tile) { run_task(task, tile.data()); });
    }

private:
    struct PlacedBlock {
        BlockProgram program;
        const Pattern* pattern;
        bool dense;
        ptrdiff_t out_offset[kBlockOutputs];  // from the first output of the cell in the group's first channel
    };

    void prepare_blocks() {
        size_t weight = 0;
        for (ptrdiff_t group = 0; group < layer_.groups; ++group) {
            for (const Block& block : layer_.blocks) {
                const Pattern& pattern = layer_.patterns[block.pattern];
                const PatternProgram& program = programs_[block.pattern];
                const size_t constants = blocks_.size() * kBlockOutputs;
                PlacedBlock placed{{program.offsets.data(), program.segments.data(), ptrdiff_t(program.segments.size()),
                                    layer_.weights.data() + weight, layer_.bias.data() + constants,
                                    layer_.slope.data() + constants, layer_.activation},
                                   &pattern,
                                   program.dense,
                                   {}};
                for (size_t m = 0; m < pattern.outputs.size(); ++m)
                    placed.out_offset[m] = block.channel[m] * out_.stride[1] + pattern.outputs[m].row * out_.stride[2] +
                                           pattern.outputs[m].column * out_.stride[3];
                blocks_.push_back(placed);
                weight += program.weights;
            }
        }
    }

    void run_task(ptrdiff_t task, float* tile) const {
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

        const ptrdiff_t blocks = ptrdiff_t(layer_.blocks.size());
        const PlacedBlock* const first = blocks_.data() + group * blocks + share * blocks / shares_;
        const PlacedBlock* const last = blocks_.data() + group * blocks + (share + 1) * blocks / shares_;
        ptrdiff_t vector = 0;
        for (const ptrdiff_t vectors : even_parts(divide_up(columns, kLanes), block_vectors_)) {
            const ptrdiff_t begin = vector * kLanes;
            const ptrdiff_t count = std::min(vectors * kLanes, columns - begin);
            for (ptrdiff_t i = 0; i < rows; ++i) {
                float* const out = out_.at(image, group * layer_.outputs, (row + i) * layer_.cell[0],
                                           (column + begin) * layer_.cell[1]);
                const float* const in = tile + i * layer_.step[0] * tiling_.row_stride + begin;
                const ptrdiff_t rows_left = out_.shape[2] - (row + i) * layer_.cell[0];
                const ptrdiff_t columns_left = out_.shape[3] - (column + begin) * layer_.cell[1];
                for (const PlacedBlock* block = first; block != last; ++block)
                    run_placed(*block, in, out, vectors, count, rows_left, columns_left);
            }
            vector += vectors;
        }
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
                        tile + c * tiling_.channel_stride + i * tiling_.row_stride + phase * tiling_.phase_stride;
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

    // Straight into the image where whole vectors fit, else by way of a buffer.
    void run_placed(const PlacedBlock& block, const float* in, float* out, ptrdiff_t vectors, ptrdiff_t count,
                    ptrdiff_t rows_left, ptrdiff_t columns_left) const {
        const size_t outputs = block.pattern->outputs.size();
        const RunBlock run = block.dense ? run_block_of<true>(outputs, vectors) : run_block_of<false>(outputs, vectors);
        const bool whole = count == vectors * kLanes && out_.stride[3] == 1 && layer_.cell[1] == 1;
        if (whole && rows_left >= layer_.cell[0]) {
            run(block.program, in, out, block.out_offset);
            return;
        }
        constexpr ptrdiff_t room = 8 * kLanes;
        float buffer[kBlockOutputs * room];
        static constexpr ptrdiff_t buffer_offset[kBlockOutputs] = {0, room, 2 * room, 3 * room};
        run(block.program, in, buffer, buffer_offset);
        const ptrdiff_t stride = layer_.cell[1] * out_.stride[3];
        for (size_t m = 0; m < outputs; ++m) {
            const CellPlace place = block.pattern->outputs[m];
            if (place.row >= rows_left || place.column >= columns_left) continue;
            const ptrdiff_t n = std::min(count, divide_up(columns_left - place.column, layer_.cell[1]));
            store_row(out + block.out_offset[m], buffer + buffer_offset[m], n, stride);
        }
    }

    const Convolution& layer_;
    const View<float, 4>& x_;
    const View<float, 4>& out_;
    ptrdiff_t cells_[2];
    ptrdiff_t block_vectors_;
    Tiling tiling_;
    std::vector<bool> is_read_;  // by row of a staged tile
    ptrdiff_t shares_;           // tasks that share a tile, each with some of the blocks
    std::vector<PatternProgram> programs_;
    std::vector<PlacedBlock> blocks_;  // of all groups
};

inline void convolve(const Convolution& layer, const View<float, 4>& x, const View<float, 4>& out, int threads) {
    Layer(layer, x, out).run(threads);
}

}  // namespace fastimg::FASTIMG_TARGET
