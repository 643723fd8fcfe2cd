#include "conv_transpose2d.hpp"

#include <algorithm>

namespace fastimg {
namespace {

// The (input, weight) pairs that the output at `place` of a cell takes along one axis.
struct AxisTap {
    ptrdiff_t input, weight;
};

std::vector<AxisTap> taps_along(int axis, ptrdiff_t place, ptrdiff_t kernel, const ConvolutionArguments& a) {
    const size_t i = size_t(axis);
    std::vector<AxisTap> taps;
    for (ptrdiff_t u = 0; u < kernel; ++u) {
        const ptrdiff_t distance = place + a.padding[i] - u * a.dilation[i];
        if (distance % a.stride[i] == 0) taps.push_back({distance / a.stride[i], u});
    }
    return taps;
}

Pattern pattern_of(const std::vector<CellPlace>& outputs, const ConvolutionArguments& a, ptrdiff_t height,
                   ptrdiff_t width) {
    std::vector<SingleTap> taps;
    for (size_t m = 0; m < outputs.size(); ++m)
        for (const AxisTap row : taps_along(0, outputs[m].row, height, a))
            for (const AxisTap column : taps_along(1, outputs[m].column, width, a))
                taps.push_back({row.input, column.input, m, row.weight * width + column.weight});
    Pattern pattern = make_pattern(outputs, taps);
    // Taps with the same takers side by side: one loop runs through them.
    std::stable_sort(pattern.taps.begin(), pattern.taps.end(),
                     [](const Tap& a, const Tap& b) { return takers(a) > takers(b); });
    return pattern;
}

// Few channels: blocks of places in the cell, channel by channel. The phases of one pixel read mostly the same input.
void add_place_blocks(Convolution& layer, const ConvolutionArguments& a, ptrdiff_t height, ptrdiff_t width) {
    const ptrdiff_t rows = std::max<ptrdiff_t>(1, kCellBlockOutputs / (layer.cell[0] * layer.cell[1]));
    layer.cell[0] *= rows;
    layer.step[0] = rows;
    ptrdiff_t place = 0;
    for (const ptrdiff_t size : even_parts(layer.cell[0] * layer.cell[1], kCellBlockOutputs)) {
        std::vector<CellPlace> outputs;
        for (ptrdiff_t m = 0; m < size; ++m, ++place) outputs.push_back({place / layer.cell[1], place % layer.cell[1]});
        layer.patterns.push_back(pattern_of(outputs, a, height, width));
        for (ptrdiff_t channel = 0; channel < layer.outputs; ++channel)
            layer.blocks.push_back({layer.patterns.size() - 1, {channel, channel, channel, channel}});
    }
}

// Many channels: blocks of channels, phase by phase; within a phase every tap feeds all of them.
void add_channel_blocks(Convolution& layer, const ConvolutionArguments& a, ptrdiff_t height, ptrdiff_t width) {
    for (ptrdiff_t row = 0; row < layer.cell[0]; ++row) {
        for (ptrdiff_t column = 0; column < layer.cell[1]; ++column) {
            ptrdiff_t channel = 0, previous = 0;
            for (const ptrdiff_t size : even_parts(layer.outputs, block_channels(layer.target))) {
                if (size != previous)
                    layer.patterns.push_back(
                        pattern_of(std::vector<CellPlace>(size_t(size), CellPlace{row, column}), a, height, width));
                previous = size;
                Block block{layer.patterns.size() - 1, {}};
                for (ptrdiff_t m = 0; m < size; ++m) block.channel[size_t(m)] = channel++;
                layer.blocks.push_back(block);
            }
        }
    }
}

}  // namespace

Convolution make_conv_transpose2d(const Array& weight, const ConvolutionArguments& arguments,
                                  const std::array<ptrdiff_t, 2>& out_size) {
    const ptrdiff_t height = weight.shape[2], width = weight.shape[3];
    Convolution layer{};
    layer.target = active_target();
    for (size_t axis = 0; axis < 2; ++axis) layer.cell[axis] = std::min(arguments.stride[axis], out_size[axis]);
    layer.step = {1, 1};
    layer.inputs = weight.shape[0] / arguments.groups;
    layer.outputs = weight.shape[1];
    if (layer.outputs < 3)
        add_place_blocks(layer, arguments, height, width);
    else
        add_channel_blocks(layer, arguments, height, width);
    complete(layer,
             {static_cast<const float*>(weight.data), layer.inputs * weight.stride[0], weight.stride[1],
              weight.stride[0], weight.stride[2], weight.stride[3], width},
             arguments);
    return layer;
}

void conv_transpose2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out,
                      int threads) {
    convolve(make_conv_transpose2d(weight, arguments, {out.shape[2], out.shape[3]}), x, out, threads);
}

}  // namespace fastimg
