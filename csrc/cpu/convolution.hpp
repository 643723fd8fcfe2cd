// One layer of convolution as the engine sees it: what conv2d and conv_transpose2d have in common.
//
// The output is cut into cells of `cell` rows × columns. Cell (i, j) covers the outputs (i * cell[0] + row,
// j * cell[1] + column) and reads the input around (i * step[0], j * step[1]):
//
//   convolution              cell (1, 1), step = stride
//   transposed convolution   cell = stride (or all the output, if that is less), step (1, 1): each output of a cell is
//                            one phase of the stride and is an ordinary convolution of the input with every stride-th
//                            weight; no zero is ever inserted
//   one output channel       cells of several rows, so that a loaded input serves several outputs all the same
//
// Outputs are computed in blocks, held in registers together. A block takes its outputs from the channels (dense: every
// tap feeds all of them) or from the cell (a tap feeds those outputs that it has a weight for). Which inputs a block reads, in which order, and who takes which weight, is its pattern.
//
// Every output is bias + w[0] * x[0] + w[1] * x[1] + ... in the one order of its pattern, whatever the tile, the
// thread or the vector width it is computed in.
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
};

constexpr int kBlockOutputs = 8;      // at most
constexpr int kCellBlockOutputs = 4;  // of a block that takes them from the cell

// Channels of a block, at most. With 32 registers 8: as many multiply-adds as of 4, for half as many loads of input, most of
// which straddle two cache lines where vectors are as long as those.
constexpr int block_channels(Target target) { return target == Target::v4 ? 8 : 4; }

// An input sample at (row, column) from the cell's corner, and the weight that each output of the block has for it.
struct Tap {
    ptrdiff_t row, column;
    std::array<ptrdiff_t, kBlockOutputs> weight;  // index into a kernel of height × width; -1: none
};

// Where in its cell an output lies.
struct CellPlace {
    ptrdiff_t row, column;
};

struct Pattern {
    std::vector<CellPlace> outputs;  // at most kBlockOutputs
    std::vector<Tap> taps;           // of one input channel
};

struct Block {
    size_t pattern;
    std::array<ptrdiff_t, kBlockOutputs> channel;  // of each output, in its group
};

struct Convolution {
    Target target;  // that it is made for
    std::array<ptrdiff_t, 2> cell;
    std::array<ptrdiff_t, 2> step;
    std::array<ptrdiff_t, 2> first;     // the least row and column of all taps
    std::array<ptrdiff_t, 2> reach;     // the greatest less the least
    ptrdiff_t groups, inputs, outputs;  // channels per group
    std::vector<ptrdiff_t> shuffles;    // r: r² channels of a result become r × r samples of one; one after the other
    std::vector<Pattern> patterns;
    std::vector<Block> blocks;  // of one group
    BorderMode border;
    Activation activation;
    std::vector<float> weights;  // [group][block][tap in its order][output that takes part]
    std::vector<float> bias;     // [group][block][kBlockOutputs]
    std::vector<float> slope;    // the same
};

// n things in as few parts as possible of at most `most`, as even as possible, larger parts first.
std::vector<ptrdiff_t> even_parts(ptrdiff_t n, ptrdiff_t most);

// One weight of one output of a block, before those that read the same input are brought together.
struct SingleTap {
    ptrdiff_t row, column;
    size_t output;
    ptrdiff_t weight;
};

// Taps in the order of their rows and columns.
Pattern make_pattern(std::vector<CellPlace> outputs, std::vector<SingleTap> taps);

// The outputs that take part in a tap, as a set of bits.
unsigned takers(const Tap& tap);

// The order in which a pattern's taps are summed, over all input channels: visit(input, tap). Taps of a row with the same
// takers come together over a few channels, so that the micro-kernel has long loops and the channels stay in L1 meanwhile.
// An output of a convolution is so summed in one order, whether its block takes outputs from the channels or from the cell.
template <class Visit>
void for_each_tap(const Pattern& pattern, ptrdiff_t inputs, Visit&& visit) {
    constexpr ptrdiff_t together = 8;
    const std::vector<Tap>& taps = pattern.taps;
    for (ptrdiff_t begin = 0; begin < inputs; begin += together) {
        for (size_t first = 0, last; first < taps.size(); first = last) {
            const auto alike = [&](const Tap& tap) {
                return tap.row == taps[first].row && takers(tap) == takers(taps[first]);
            };
            for (last = first; last < taps.size() && alike(taps[last]);) ++last;
            for (ptrdiff_t input = begin; input < inputs && input < begin + together; ++input)
                for (size_t tap = first; tap < last; ++tap) visit(input, taps[tap]);
        }
    }
}

// Where a weight stands: of one group's output and input channel, at a row and a column of the kernel.
struct Kernels {
    const float* data;
    ptrdiff_t group, output, input, row, column;  // strides
    ptrdiff_t width;                              // of a kernel: weight = row * width + column
};

// Fills in what follows from patterns and blocks: the reach of the taps, and weights and constants in order of use.
void complete(Convolution& layer, const Kernels& kernels, const ConvolutionArguments& arguments);

// From (n, c, y, x) to (n, o, y, x): float32 arrays of any strides.
void convolve(const Convolution& layer, const Array& x, const Array& out, int threads);

// The same through layers one after the other; `sizes` are rows and columns of the images between, x and out included.
void convolve_chain(const std::vector<Convolution>& layers, const std::vector<std::array<ptrdiff_t, 2>>& sizes,
                    const Array& x, const Array& out, int threads);

}  // namespace fastimg
