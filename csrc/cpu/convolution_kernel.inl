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
constexpr int kMostAccumulators = [] {
    int most = 0;
    for (int outputs = 1; outputs <= kMostOutputs; ++outputs) most = std::max(most, outputs * kBlockVectors[outputs]);
    return most;
}();  // of a block

inline ptrdiff_t most_outputs(const Convolution& layer) {
    ptrdiff_t most = 0;
    for (const Block& block : layer.blocks) most = std::max(most, block.outputs);
    return most;
}

// What the micro-kernel needs to know of a block of outputs.
struct BlockProgram {
    const ptrdiff_t* offsets;  // (taps): where each reads, from the input's address
    ptrdiff_t taps;            // or chunks, of so many lines
    ptrdiff_t lines;
    const float* weights;  // (taps, M), or (chunks, M, kChunkLines)
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

struct FloatProducts {
    static constexpr int kMostVectors = 8;
    [[gnu::always_inline]] static Floats multiply_add(float weight, Floats input, Floats sum) {
        return sum + weight * input;
    }
};

template <class Products, int M, int V>
[[gnu::always_inline]] inline void accumulate(Floats (&sums)[M][V], const float* in, const BlockProgram& block) {
    const float* weights = block.weights;
    for (ptrdiff_t tap = 0; tap < block.taps; ++tap, weights += M) {
        const float* const x = in + block.offsets[tap];
        if constexpr (V <= M) {
            Floats inputs[V];
            unrolled<V>([&](auto v) FASTIMG_INLINE { inputs[v] = load(x + v * kLanes); });
            unrolled<M>([&](auto m) FASTIMG_INLINE {
                const float weight = weights[m];
                unrolled<V>([&](auto v)
                                FASTIMG_INLINE { sums[m][v] = Products::multiply_add(weight, inputs[v], sums[m][v]); });
            });
        } else {
            unrolled<V>([&](auto v) FASTIMG_INLINE {
                const Floats input = load(x + v * kLanes);
                unrolled<M>([&](auto m)
                                FASTIMG_INLINE { sums[m][v] = Products::multiply_add(weights[m], input, sums[m][v]); });
            });
        }
    }
}

inline Floats activated(Floats sum, Activation activation, float slope) {
    switch (activation) {
        case Activation::relu: return max(Floats{}, sum);                  // of a NaN, the NaN
        case Activation::slope: return (Ints)sum < 0 ? slope * sum : sum;  // by the sign bit: one instruction
        default: return sum;
    }
}

// What results are stored as: of outputs one by one, or some that follow one another together.
struct AsFloats {
    static constexpr int kTogether = 1;
    [[gnu::always_inline]] static Floats packed(const Floats (&results)[1]) { return results[0]; }
};

// M outputs × V vectors: reads at `in`, writes at out + out_offset[m], whole vectors both.
template <class Products, class Results, int M, int V>
void run_block(const BlockProgram& block, const float* in, float* out, const ptrdiff_t* out_offset) {
    Floats sums[M][V];
    const auto each = [&](auto&& f) FASTIMG_INLINE {
        unrolled<M>([&](auto m) FASTIMG_INLINE { unrolled<V>([&](auto v) FASTIMG_INLINE { f(m, v, sums[m][v]); }); });
    };
    each([&](int m, int, Floats& sum) FASTIMG_INLINE { sum = block.bias[m] - Floats{}; });
    accumulate<Products>(sums, in, block);
    if (block.activation == Activation::relu) {
        each([&](int, int, Floats& sum) FASTIMG_INLINE { sum = activated(sum, Activation::relu, 0); });
    } else if (block.activation == Activation::slope) {
        each([&](int m, int, Floats& sum) FASTIMG_INLINE { sum = activated(sum, Activation::slope, block.slope[m]); });
    }
    constexpr int together = Results::kTogether;
    unrolled<(M + together - 1) / together>([&](auto i) FASTIMG_INLINE {
        constexpr int first = i * together;
        float* const to = out + out_offset[first];
        unrolled<V>([&](auto v) FASTIMG_INLINE {
            Floats results[together]{};
            unrolled<std::min(together, M - first)>([&](auto k) FASTIMG_INLINE { results[k] = sums[first + k][v]; });
            store(to + v * kLanes, Results::packed(results));
        });
    });
}

#undef FASTIMG_INLINE

using RunBlock = void (*)(const BlockProgram&, const float*, float*, const ptrdiff_t*);

template <class Products, int M>
constexpr int kVectorsOf = std::min(kBlockVectors[M], Products::kMostVectors);

template <class Products, class Results, int M, int V = 1>
RunBlock run_block_of_vectors(ptrdiff_t vectors) {
    if constexpr (V < kVectorsOf<Products, M>)
        if (vectors > V) return run_block_of_vectors<Products, Results, M, V + 1>(vectors);
    return run_block<Products, Results, M, V>;
}

template <class Products, class Results = AsFloats, int M = 1>
RunBlock run_block_of(ptrdiff_t outputs, ptrdiff_t vectors) {
    if constexpr (M < kMostOutputs)
        if (outputs > M) return run_block_of<Products, Results, M + 1>(outputs, vectors);
    return run_block_of_vectors<Products, Results, M>(vectors);
}

// ---- programs -----------------------------------------------------------------------------------------------------

// Where a sample lies in staged input, in elements: (plane, row, remainder of its column by the step, column / step).
struct Layout {
    ptrdiff_t plane_stride, row_stride, phase_stride;
};

// The remainders by the step that the columns of taps have.
inline ptrdiff_t column_phases(const Convolution& layer) { return std::min(layer.step[1], layer.reach[1] + 1); }

// Where the taps of a pattern read in staged input, in their order; or its chunks, if that is how they are multiplied.
inline std::vector<ptrdiff_t> offsets_of(const Pattern& pattern, const Convolution& layer, const Layout& layout) {
    std::vector<ptrdiff_t> offsets;
    const auto add = [&](ptrdiff_t plane, ptrdiff_t row, ptrdiff_t column) {
        column -= layer.first[1];
        offsets.push_back(plane * layout.plane_stride + (row - layer.first[0]) * layout.row_stride +
                          column % layer.step[1] * layout.phase_stride + column / layer.step[1]);
    };
    if (layer.multiplier == Multiplier::tiles)
        for (const Chunk& chunk : pattern.chunks) add(chunk.plane[0], chunk.row, chunk.column);
    else
        for_each_tap(pattern, planes_of(layer),
                     [&](ptrdiff_t plane, const Tap& tap) { add(plane, tap.row, tap.column); });
    return offsets;
}

}  // namespace fastimg::FASTIMG_TARGET
