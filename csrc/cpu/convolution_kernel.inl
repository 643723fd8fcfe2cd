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

inline ptrdiff_t most_outputs(const Convolution& layer) {
    ptrdiff_t most = 0;
    for (const Block& block : layer.blocks) most = std::max(most, block.outputs);
    return most;
}

// What the micro-kernel needs to know of a block of outputs.
struct BlockProgram {
    const ptrdiff_t* offsets;  // (taps): where each reads, from the input's address
    ptrdiff_t taps;
    const float* weights;  // (taps, M)
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

template <int M, int V>
[[gnu::always_inline]] inline void accumulate(Floats (&sums)[M][V], const float* in, const BlockProgram& block) {
    const float* weights = block.weights;
    for (ptrdiff_t tap = 0; tap < block.taps; ++tap, weights += M) {
        const float* const x = in + block.offsets[tap];
        if constexpr (V <= M) {
            Floats inputs[V];
            unrolled<V>([&](auto v) FASTIMG_INLINE { inputs[v] = load(x + v * kLanes); });
            unrolled<M>([&](auto m) FASTIMG_INLINE {
                const float weight = weights[m];
                unrolled<V>([&](auto v) FASTIMG_INLINE { sums[m][v] += weight * inputs[v]; });
            });
        } else {
            unrolled<V>([&](auto v) FASTIMG_INLINE {
                const Floats input = load(x + v * kLanes);
                unrolled<M>([&](auto m) FASTIMG_INLINE { sums[m][v] += weights[m] * input; });
            });
        }
    }
}

// M outputs × V vectors: reads at `in`, writes at out + out_offset[m], whole vectors both.
template <int M, int V>
void run_block(const BlockProgram& block, const float* in, float* out, const ptrdiff_t* out_offset) {
    Floats sums[M][V];
    const auto each = [&](auto&& f) FASTIMG_INLINE {
        unrolled<M>([&](auto m) FASTIMG_INLINE { unrolled<V>([&](auto v) FASTIMG_INLINE { f(m, v, sums[m][v]); }); });
    };
    each([&](int m, int, Floats& sum) FASTIMG_INLINE { sum = block.bias[m] - Floats{}; });
    accumulate(sums, in, block);
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

template <int M, int V = 1>
RunBlock run_block_of_vectors(ptrdiff_t vectors) {
    if constexpr (V < kBlockVectors[M])
        if (vectors > V) return run_block_of_vectors<M, V + 1>(vectors);
    return run_block<M, V>;
}

template <int M = 1>
RunBlock run_block_of(ptrdiff_t outputs, ptrdiff_t vectors) {
    if constexpr (M < kMostOutputs)
        if (outputs > M) return run_block_of<M + 1>(outputs, vectors);
    return run_block_of_vectors<M>(vectors);
}

// ---- programs -----------------------------------------------------------------------------------------------------

// Where a sample lies in staged input, in elements: (channel, row, remainder of its column by the step, column / step).
struct Layout {
    ptrdiff_t row_stride, phase_stride, channel_stride;
};

// The remainders by the step that the columns of taps have.
inline ptrdiff_t column_phases(const Convolution& layer) { return std::min(layer.step[1], layer.reach[1] + 1); }

// Where the taps of a pattern read in staged input, in their order.
inline std::vector<ptrdiff_t> offsets_of(const Pattern& pattern, const Convolution& layer, const Layout& layout) {
    std::vector<ptrdiff_t> offsets;
    for_each_tap(pattern, layer.inputs, [&](ptrdiff_t input, const Tap& tap) {
        const ptrdiff_t column = tap.column - layer.first[1];
        offsets.push_back(input * layout.channel_stride + (tap.row - layer.first[0]) * layout.row_stride +
                          column % layer.step[1] * layout.phase_stride + column / layer.step[1]);
    });
    return offsets;
}

}  // namespace fastimg::FASTIMG_TARGET
