// One layer of convolution as the engine sees it: what conv2d and conv_transpose2d have in common.
//
// The output is cut into cells of `cell` rows × columns. Cell (i, j) covers the outputs (i * cell[0] + row,
// j * cell[1] + column) and reads the input around (i * step[0], j * step[1]):
//
//   convolution              cell (1, 1), step = stride
//   transposed convolution   cell = stride (or about all the output, if that is less), step (1, 1): each place in a cell
//                            is one phase of the stride and is an ordinary convolution of the input with every stride-th
//                            weight; no zero is ever inserted into the input
//
// A pattern says which inputs a place in the cell reads, through which weights. Outputs are computed in blocks of some
// channels at one place, held in registers together, so that a loaded input serves them all.
//
// One or two channels of output would leave registers empty, and one is what most networks of images end in. Such a layer
// is made two: a convolution along the columns alone, with a channel of output for every row of the kernel, and the sum of
// these channels, each taken from where its row lies.
//
// Kernels of three or five rows over many channels are computed four rows of outputs at a time, with a half or two fifths of
// the multiplications (convolution_winograd.inl).
// So are transposed ones of which that leaves few enough: their phases become the channels of one convolution, with zeros
// for weights that a phase lacks, and a pixel shuffle.
//
// Every output is bias + w[0] * x[0] + w[1] * x[1] + ... in the one order of its pattern, whatever the strip, the
// thread or the vector width it is computed in; of four rows, each is made of such sums in the one way.
#pragma once

#include "support/border.hpp"
#include "support/targets.hpp"
#include "support/view.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastimg {

enum class Activation { none, relu, slope };  // slope: x > 0 ? x : slope * x

// What stands for a layer's input while it is worked on: floats; or pairs of bfloat16, which are two channels, or a sample
// as the sum of two.
enum class Operands { floats, channel_pairs, split_samples };

// What multiplies: floats; or pairs of bfloat16, widened to floats, by AVX512-BF16, or by AMX.
enum class Multiplier { floats, widened, dot, tiles };

// Those of bfloat16 that run here on the active target, the fastest last.
std::vector<Multiplier> bfloat16_multipliers();

// The arguments of conv2d and conv_transpose2d that are not arrays of images: [0] along rows, [1] along columns.
struct ConvolutionArguments {
    std::array<ptrdiff_t, 2> stride;
    std::array<ptrdiff_t, 2> padding;  // before the first row and column; the output's shape tells the rest
    std::array<ptrdiff_t, 2> dilation;
    ptrdiff_t groups;
    BorderMode border;
    Activation activation;
    const float* bias;   // (output channels), or null
    const float* slope;  // (output channels), or null
    Operands operands = Operands::floats;
    Multiplier multiplier = Multiplier::floats;
};

constexpr int kBlockOutputs = 16;  // at most
constexpr int kRowsAtOnce = 4;     // by Winograd's algorithm
constexpr int kMostShuffled = 8;   // rows and columns of a cell whose places are channels of one convolution

// Channels of a block, at most. With 32 registers 8: as many multiply-adds as of 4, for half as many loads of input, most of
// which straddle two cache lines where vectors are as long as those. A tile has 16 rows.
constexpr int block_channels(Target target, Multiplier multiplier) {
    return multiplier == Multiplier::tiles ? kBlockOutputs : target == Target::v4 ? 8 : 4;
}

constexpr ptrdiff_t kEveryInput = -1;

// An input sample at (row, column) from the cell's corner, and its weight: an index into a kernel of height × width.
struct Tap {
    ptrdiff_t row, column, weight;
    ptrdiff_t input = kEveryInput;  // or one channel of the group
};

// Where in its cell an output lies.
struct CellPlace {
    ptrdiff_t row, column;
};

// Lines of a window that follow one another, in a column of the kernel: of each, the plane that it is and its weight.
constexpr ptrdiff_t kChunkLines = 16;  // at most
struct Chunk {
    ptrdiff_t row, column;  // of the first line
    std::array<ptrdiff_t, kChunkLines> plane;
    std::array<ptrdiff_t, kChunkLines> weight;  // index into the kernel; -1: none
};

struct Pattern {
    CellPlace place;
    std::vector<Tap> taps;      // in the order of their rows and columns
    std::vector<Chunk> chunks;  // the same for tiles, all of as many lines
    ptrdiff_t chunk_lines = 0;
};

// Channels channel, channel + 1, ... of a group, at the place of a pattern.
struct Block {
    size_t pattern;
    ptrdiff_t channel, outputs;
};

struct Convolution {
    Target target;  // that it is made for
    Multiplier multiplier;
    Operands operands;
    std::array<ptrdiff_t, 2> cell;
    std::array<ptrdiff_t, 2> step;
    std::array<ptrdiff_t, 2> first;     // the least row and column of all taps
    std::array<ptrdiff_t, 2> reach;     // the greatest less the least
    ptrdiff_t groups, inputs, outputs;  // channels per group
    std::vector<ptrdiff_t> shuffles;    // r: r² channels of a result become r × r samples of one; one after the other
    std::vector<size_t> added;          // layers of the chain whose input is added to the result
    std::vector<Pattern> patterns;      // one for each place in the cell
    ptrdiff_t points = 0;       // by Winograd's algorithm: all rows of the cell from one pattern at so many points
    std::vector<Block> blocks;  // of one group: channels by channels, all places of them
    BorderMode border;
    Activation activation;
    // [group][block][point, if there are][tap in its order][output], or [group][block][chunk][output][line]
    std::vector<float> weights;
    std::vector<float> bias;   // [group][block][kBlockOutputs]
    std::vector<float> slope;  // the same
};

// n things in as few parts as possible of at most `most`, as even as possible, larger parts first.
std::vector<ptrdiff_t> even_parts(ptrdiff_t n, ptrdiff_t most);

// What a group's input is in a window: a plane for every channel, or for two.
inline ptrdiff_t planes_of(const Convolution& layer) {
    return layer.operands == Operands::channel_pairs ? divide_up(layer.inputs, 2) : layer.inputs;
}

// The order in which a pattern's taps are summed, over all planes: visit(plane, tap). Taps of a row come together over a few
// planes, so that these stay in L1 meanwhile.
template <class Visit>
void for_each_tap(const Pattern& pattern, ptrdiff_t planes, Visit&& visit) {
    constexpr ptrdiff_t together = 8;
    const std::vector<Tap>& taps = pattern.taps;
    for (ptrdiff_t begin = 0; begin < planes; begin += together) {
        for (size_t first = 0, last; first < taps.size(); first = last) {
            for (last = first; last < taps.size() && taps[last].row == taps[first].row;) ++last;
            for (ptrdiff_t plane = begin; plane < planes && plane < begin + together; ++plane)
                for (size_t tap = first; tap < last; ++tap)
                    if (taps[tap].input == kEveryInput || taps[tap].input == plane) visit(plane, taps[tap]);
        }
    }
}

// A layer before its blocks are made. Its taps are those of its rows by those of its columns.
struct AxisTap {
    ptrdiff_t input, weight;
};
struct Axis {
    ptrdiff_t cell, step;
    ptrdiff_t kernel;                          // weights
    std::vector<std::vector<AxisTap>> places;  // in the cell: the taps of each
};
struct Geometry {
    Axis rows, columns;
    ptrdiff_t groups, inputs, outputs;
};

// Where a weight stands: of one group's output and input channel, at a row and a column of the kernel.
struct Kernels {
    const float* data;
    ptrdiff_t group, output, input, row, column;  // strides
};

// The layer, or those that it is best computed as, one after the other.
std::vector<Convolution> make_convolutions(const Geometry& geometry, const Kernels& kernels,
                                           ConvolutionArguments arguments);

// Rows and columns of the images between layers: of layer l's input at l, and of the result.
using Sizes = std::vector<std::array<ptrdiff_t, 2>>;

// Those between the parts that `make_convolutions` has made of a layer.
Sizes sizes_within(size_t parts, const std::array<ptrdiff_t, 2>& in, const std::array<ptrdiff_t, 2>& out);

// One layer, given as its parts, from (n, c, y, x) to (n, o, y, x).
void convolve_alone(const std::vector<Convolution>& parts, const Array& x, const Array& out, int threads);

// Multiply-adds of a cell, or of pairs.
double multiply_adds(const Convolution& layer);

// Layers one after the other, from and to uint8, uint16, float16 or float32; integers stand for [0, 1].
void convolve(const std::vector<Convolution>& layers, const Sizes& sizes, const Array& x, const Array& out,
              int threads);

}  // namespace fastimg
