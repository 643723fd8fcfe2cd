// The micro-kernel of all convolutions, and the blocks of outputs that it computes.
//
// A register block is M outputs × V vectors along the image's width, M*V accumulators. Per tap it loads V vectors of
// input, unaligned, and M weights, each broadcast from memory, for M*V fused multiply-adds. Where a tap reads is one
// number in a list made once per call, so channel, row, column, dilation and stride cost nothing in the loop, and all
// kernels, 1×1 to 11×11, dilated or transposed, run the same instructions. AVX2: 4×3 = 12 accumulators, 3 inputs,
// 1 weight: all 16 registers; 7 loads to 12 FMAs. AVX-512: 8×3 = 24, 11 loads to 24, or 6×4, 10 loads. SSE: 4×2.
//
// Limits. Arithmetic: multiply-adds / (lanes × FMA units) cycles a core.

namespace fastimg::FASTIMG_TARGET {

// ---- micro-kernel -------------------------------------------------------------------------------------------------

#define FASTIMG_INLINE __attribute__((always_inline))

// Vectors of a register block, by the number of its outputs.
#if FASTIMG_LEVEL >= 4
constexpr int kBlockVectors[] = {0, 8, 8, 8, 6, 5, 4, 3, 3};
#elif FASTIMG_LEVEL >= 3
constexpr int kBlockVectors[] = {0, 8, 6, 4, 3};
#else
constexpr int kBlockVectors[] = {0, 8, 4, 3, 2};
#endif
constexpr int kMostOutputs = int(std::size(kBlockVectors)) - 1;

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

template <bool Dense, int M = 1>
RunBlock run_block_of(size_t outputs, ptrdiff_t vectors) {
    if constexpr (M < (Dense ? kMostOutputs : kCellBlockOutputs))
        if (outputs > M) return run_block_of<Dense, M + 1>(outputs, vectors);
    return run_block_of_vectors<Dense, M>(vectors);
}

// ---- programs -----------------------------------------------------------------------------------------------------

// Where a sample lies in staged input, in elements: (channel, row, remainder of its column by the step, column / step).
struct Layout {
    ptrdiff_t row_stride, phase_stride, channel_stride;
};

// The remainders by the step that the columns of taps have.
inline ptrdiff_t column_phases(const Convolution& layer) { return std::min(layer.step[1], layer.reach[1] + 1); }

// A pattern with the offsets that its taps have in staged input.
struct PatternProgram {
    std::vector<ptrdiff_t> offsets;
    std::vector<Segment> segments;
    size_t weights = 0;  // of one block
    bool dense = false;
};

inline PatternProgram program_of(const Pattern& pattern, const Convolution& layer, const Layout& layout) {
    PatternProgram program;
    for_each_tap(pattern, layer.inputs, [&](ptrdiff_t input, const Tap& tap) {
        const ptrdiff_t column = tap.column - layer.first[1];
        program.offsets.push_back(input * layout.channel_stride + (tap.row - layer.first[0]) * layout.row_stride +
                                  column % layer.step[1] * layout.phase_stride + column / layer.step[1]);
        const unsigned outputs = takers(tap);
        if (program.segments.empty() || program.segments.back().outputs != outputs)
            program.segments.push_back({outputs, 0});
        ++program.segments.back().taps;
        program.weights += size_t(__builtin_popcount(outputs));
    });
    const unsigned all = (1u << pattern.outputs.size()) - 1;
    if (program.segments.empty()) program.segments.push_back({all, 0});  // outputs that no weight reaches
    program.dense = program.segments.size() == 1 && program.segments[0].outputs == all;
    return program;
}

// ---- placed blocks ------------------------------------------------------------------------------------------------

// A block and where its outputs go: from the first output of the cell in the first channel.
struct PlacedBlock {
    BlockProgram program;
    size_t outputs;
    bool dense;
    CellPlace place[kBlockOutputs];
    ptrdiff_t out_offset[kBlockOutputs];
};

// The blocks of all groups, their outputs at distances of `channel`, `row` and `column` elements. `programs` are those of the
// layer's patterns, and stay.
inline std::vector<PlacedBlock> place_blocks(const Convolution& layer, const std::vector<PatternProgram>& programs,
                                             ptrdiff_t channel, ptrdiff_t row, ptrdiff_t column) {
    std::vector<PlacedBlock> blocks;
    size_t weight = 0;
    for (ptrdiff_t group = 0; group < layer.groups; ++group) {
        for (const Block& block : layer.blocks) {
            const Pattern& pattern = layer.patterns[block.pattern];
            const PatternProgram& program = programs[block.pattern];
            const size_t constants = blocks.size() * kBlockOutputs;
            PlacedBlock placed{{program.offsets.data(), program.segments.data(), ptrdiff_t(program.segments.size()),
                                layer.weights.data() + weight, layer.bias.data() + constants,
                                layer.slope.data() + constants, layer.activation},
                               pattern.outputs.size(),
                               program.dense,
                               {},
                               {}};
            for (size_t m = 0; m < placed.outputs; ++m) {
                CellPlace place = pattern.outputs[m];
                ptrdiff_t from = group * layer.outputs + block.channel[m];
                for (const ptrdiff_t r : layer.shuffles) {
                    place = {place.row * r + from / r % r, place.column * r + from % r};
                    from /= r * r;
                }
                placed.place[m] = place;
                placed.out_offset[m] = from * channel + place.row * row + place.column * column;
            }
            blocks.push_back(placed);
            weight += program.weights;
        }
    }
    return blocks;
}

// Where the cells of a register block may write.
struct Room {
    bool whole;                         // vectors, whatever lies behind the last cell
    ptrdiff_t cells;                    // of the block
    ptrdiff_t rows_left, columns_left;  // from the first cell's corner to the end of the image
    ptrdiff_t cell_columns, column_stride;
};

// Straight into the image where whole vectors fit, else by way of a buffer.
inline void run_placed(const PlacedBlock& block, const float* in, float* out, ptrdiff_t vectors, const Room& room) {
    const RunBlock run =
        block.dense ? run_block_of<true>(block.outputs, vectors) : run_block_of<false>(block.outputs, vectors);
    if (room.whole) {
        run(block.program, in, out, block.out_offset);
        return;
    }
    constexpr ptrdiff_t width = 8 * kLanes;
    float buffer[kBlockOutputs * width];
    static constexpr ptrdiff_t buffer_offset[] = {0,         width,     2 * width, 3 * width,
                                                  4 * width, 5 * width, 6 * width, 7 * width};
    run(block.program, in, buffer, buffer_offset);
    for (size_t m = 0; m < block.outputs; ++m) {
        const CellPlace place = block.place[m];
        if (place.row >= room.rows_left || place.column >= room.columns_left) continue;
        const ptrdiff_t n = std::min(room.cells, divide_up(room.columns_left - place.column, room.cell_columns));
        store_row(out + block.out_offset[m], buffer + buffer_offset[m], n, room.cell_columns * room.column_stride);
    }
}

}  // namespace fastimg::FASTIMG_TARGET
