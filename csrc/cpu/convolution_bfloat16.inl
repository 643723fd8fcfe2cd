// Convolutions of bfloat16: what stands in their windows, and what multiplies it.
//
// A window holds pairs of bfloat16 where a window of floats holds a float: two channels, the first in the lower half, so that
// one instruction multiplies and adds two channels at once; or, of the image, which deserves more than 8 bits, a sample as
// the sum of two bfloat16, whose weights are equal. Weights are pairs as well. Sums are float32.

#include "convolution_kernel.inl"

namespace fastimg::FASTIMG_TARGET {

// ---- pairs --------------------------------------------------------------------------------------------------------

// The bits of the nearest bfloat16, ties to even, in the upper half; of a NaN, one of a NaN.
inline Ints bfloat16_bits(Floats v) {
    const Ints bits = (Ints)v;
    const Ints rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return (v == v ? rounded : bits | 0x400000) & int32_t(0xffff0000);
}

inline Floats lower_half(Floats pairs) { return (Floats)((Ints)pairs << 16); }
inline Floats upper_half(Floats pairs) { return (Floats)((Ints)pairs & int32_t(0xffff0000)); }

inline Floats pairs_of(Ints lower_bits, Ints upper_bits) {
    typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
    return (Floats)((Ints)((Bits)lower_bits >> 16) | upper_bits);
}

// A sample as the sum of two bfloat16.
inline Floats split(Floats v) {
    const Ints nearest = bfloat16_bits(v);
    const Floats rest = v == (Floats)nearest ? Floats{} : v - (Floats)nearest;  // none of an infinity
    return pairs_of(nearest, bfloat16_bits(rest));
}

// ---- multipliers --------------------------------------------------------------------------------------------------

// Both halves as floats, on any processor.
struct WidenedPairs {
    static constexpr int kMostVectors = 2;
    static Floats multiply_add(float weights, Floats inputs, Floats sum) {
        int32_t bits;
        std::memcpy(&bits, &weights, sizeof bits);
        float lower, upper;
        const int32_t lower_bits = int32_t(uint32_t(bits) << 16), upper_bits = bits & int32_t(0xffff0000);
        std::memcpy(&lower, &lower_bits, sizeof lower);
        std::memcpy(&upper, &upper_bits, sizeof upper);
        return sum + lower * lower_half(inputs) + upper * upper_half(inputs);
    }
};

#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)

// AVX512-BF16: 32 multiply-adds to an instruction, as assembly because the target of these kernels goes without.
struct DotPairs {
    static constexpr int kMostVectors = 8;
    [[gnu::always_inline]] static Floats multiply_add(float weights, Floats inputs, Floats sum) {
        const Floats all = broadcast(weights);
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(inputs), "v"(all));
        return sum;
    }
};

// Lower halves before upper ones, rounded to nearest even.
inline Floats packed_pairs(Floats lower, Floats upper) {
    __m512i halves;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(lower), "v"(upper));
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (Floats)_mm512_permutexvar_epi16(order, halves);
}

struct AsPairs {
    static constexpr int kTogether = 2;
    [[gnu::always_inline]] static Floats packed(const Floats (&results)[2]) {
        return packed_pairs(results[0], results[1]);
    }
};

// AMX: a tile of 16 outputs × 16 pixels is added the product of weights, outputs × lines, and of lines × 16 pixels of pairs,
// in 16 cycles. Lines are rows of a window that follow one another: the planes of a row, and those of the rows below it, so
// that a column of the kernel is few products even of few channels.
struct [[gnu::packed]] TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

class Tiles {
public:
    ~Tiles() {
        if (outputs_ > 0) asm volatile("tilerelease");
    }

    // Tiles 0 to 3 are sums, 4 weights, 5 and 6 inputs.
    void configure(ptrdiff_t outputs, ptrdiff_t lines) {
        if (outputs == outputs_ && lines == lines_) return;
        outputs_ = outputs;
        lines_ = lines;
        TileConfig config;
        for (int sums = 0; sums < 4; ++sums) set(config, sums, outputs, 64);
        set(config, 4, outputs, 4 * lines);
        for (int inputs = 5; inputs < 7; ++inputs) set(config, inputs, lines, 64);
        asm volatile("ldtilecfg %0" : : "m"(config));
    }

private:
    static void set(TileConfig& config, int tile, ptrdiff_t rows, ptrdiff_t bytes) {
        config.rows[tile] = uint8_t(rows);
        config.bytes[tile] = uint16_t(bytes);
    }

    ptrdiff_t outputs_ = 0, lines_ = 0;
};

#define FASTIMG_TILE_ZERO(tile) asm volatile("tilezero %tmm" #tile)
#define FASTIMG_TILE_LOAD(tile, from, stride) \
    asm volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(stride) : "memory")
#define FASTIMG_TILE_STORE(tile, to, stride) \
    asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")
#define FASTIMG_TILE_ADD(sums, weights, inputs) asm volatile("tdpbf16ps %tmm" #inputs ", %tmm" #weights ", %tmm" #sums)

// 16 × N pixels of a block's outputs, as sums.
template <int N>
inline void multiply_tiles(const BlockProgram& block, ptrdiff_t outputs, const float* in, ptrdiff_t line_bytes,
                           float* sums) {
    FASTIMG_TILE_ZERO(0);
    if constexpr (N > 1) FASTIMG_TILE_ZERO(1);
    if constexpr (N > 2) FASTIMG_TILE_ZERO(2);
    if constexpr (N > 3) FASTIMG_TILE_ZERO(3);
    const float* weights = block.weights;
    const ptrdiff_t weights_stride = 64;
    for (ptrdiff_t chunk = 0; chunk < block.taps; ++chunk, weights += 16 * outputs) {
        const float* const x = in + block.offsets[chunk];
        FASTIMG_TILE_LOAD(4, weights, weights_stride);
        FASTIMG_TILE_LOAD(5, x, line_bytes);
        FASTIMG_TILE_ADD(0, 4, 5);
        if constexpr (N > 1) {
            FASTIMG_TILE_LOAD(6, x + 16, line_bytes);
            FASTIMG_TILE_ADD(1, 4, 6);
        }
        if constexpr (N > 2) {
            FASTIMG_TILE_LOAD(5, x + 32, line_bytes);
            FASTIMG_TILE_ADD(2, 4, 5);
        }
        if constexpr (N > 3) {
            FASTIMG_TILE_LOAD(6, x + 48, line_bytes);
            FASTIMG_TILE_ADD(3, 4, 6);
        }
    }
    const ptrdiff_t sums_stride = 64 * N;
    FASTIMG_TILE_STORE(0, sums, sums_stride);
    if constexpr (N > 1) FASTIMG_TILE_STORE(1, sums + 16, sums_stride);
    if constexpr (N > 2) FASTIMG_TILE_STORE(2, sums + 32, sums_stride);
    if constexpr (N > 3) FASTIMG_TILE_STORE(3, sums + 48, sums_stride);
}

#undef FASTIMG_TILE_ZERO
#undef FASTIMG_TILE_LOAD
#undef FASTIMG_TILE_STORE
#undef FASTIMG_TILE_ADD

// What a tile's sums become, and where: an output at out_offset[m] as floats, or an even one with the next at
// out_offset[m] as pairs.
template <int N, bool ToPairs, Activation A>
inline void hand_over_tiles(const BlockProgram& block, ptrdiff_t outputs, const float* sums, float* out,
                            const ptrdiff_t* out_offset) {
    const auto result = [&](ptrdiff_t m, int v) {
        return activated(load(sums + (m * N + v) * kLanes) + block.bias[m], A, block.slope[m]);
    };
    for (ptrdiff_t m = 0; m < outputs; m += 1 + ToPairs) {
        for (int v = 0; v < N; ++v) {
            float* const to = out + out_offset[m] + v * kLanes;
            if constexpr (ToPairs)
                store(to, packed_pairs(result(m, v), m + 1 < outputs ? result(m + 1, v) : Floats{}));
            else
                store(to, result(m, v));
        }
    }
}

template <int N, bool ToPairs>
inline void run_tiles(const BlockProgram& block, ptrdiff_t outputs, const float* in, ptrdiff_t line_bytes, float* out,
                      const ptrdiff_t* out_offset) {
    alignas(64) float sums[kBlockOutputs * 16 * N];
    multiply_tiles<N>(block, outputs, in, line_bytes, sums);
    switch (block.activation) {
        case Activation::relu:
            return hand_over_tiles<N, ToPairs, Activation::relu>(block, outputs, sums, out, out_offset);
        case Activation::slope:
            return hand_over_tiles<N, ToPairs, Activation::slope>(block, outputs, sums, out, out_offset);
        default: return hand_over_tiles<N, ToPairs, Activation::none>(block, outputs, sums, out, out_offset);
    }
}

// What run_block does, with tiles.
template <bool ToPairs>
void run_block_by_tiles(Tiles& tiles, const BlockProgram& block, ptrdiff_t outputs, const float* in,
                        ptrdiff_t line_stride, float* out, const ptrdiff_t* out_offset, ptrdiff_t vectors) {
    tiles.configure(outputs, block.lines);
    const ptrdiff_t line_bytes = line_stride * ptrdiff_t(sizeof(float));
    for (; vectors > 0; vectors -= 4, in += 4 * kLanes, out += 4 * kLanes) {
        switch (std::min<ptrdiff_t>(vectors, 4)) {
            case 1: run_tiles<1, ToPairs>(block, outputs, in, line_bytes, out, out_offset); break;
            case 2: run_tiles<2, ToPairs>(block, outputs, in, line_bytes, out, out_offset); break;
            case 3: run_tiles<3, ToPairs>(block, outputs, in, line_bytes, out, out_offset); break;
            default: run_tiles<4, ToPairs>(block, outputs, in, line_bytes, out, out_offset);
        }
    }
}

#endif

// visit(AsFloats or AsPairs)
template <class Visit>
void visit_results([[maybe_unused]] bool as_pairs, Visit&& visit) {
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
    if (as_pairs) return visit(AsPairs{});
#endif
    visit(AsFloats{});
}

}  // namespace fastimg::FASTIMG_TARGET
