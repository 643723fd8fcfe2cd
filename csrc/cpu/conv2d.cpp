#include "conv2d.hpp"

namespace fastimg {
namespace {

// A block of channels, all at one place: every tap feeds all of them. One pattern per block size.
void add_channel_blocks(Convolution& layer, const ConvolutionArguments& a, ptrdiff_t height, ptrdiff_t width) {
    ptrdiff_t channel = 0;
    for (const ptrdiff_t size : even_parts(layer.outputs, block_channels(layer.target))) {
        if (layer.patterns.empty() || layer.patterns.back().outputs.size() != size_t(size)) {
            std::vector<SingleTap> taps;
            for (ptrdiff_t u = 0; u < height; ++u)
                for (ptrdiff_t v = 0; v < width; ++v)
                    for (size_t m = 0; m < size_t(size); ++m)
                        taps.push_back(
                            {u * a.dilation[0] - a.padding[0], v * a.dilation[1] - a.padding[1], m, u * width + v});
            layer.patterns.push_back(make_pattern(std::vector<CellPlace>(size_t(size), CellPlace{0, 0}), taps));
        }
        Block block{layer.patterns.size() - 1, {}};
        for (ptrdiff_t m = 0; m < size; ++m) block.channel[size_t(m)] = channel++;
        layer.blocks.push_back(block);
    }
}

// A single output channel: a block of rows, which read mostly the same input.
void add_row_block(Convolution& layer, const ConvolutionArguments& a, ptrdiff_t height, ptrdiff_t width) {
    std::vector<CellPlace> rows;
    std::vector<SingleTap> taps;
    for (ptrdiff_t row = 0; row < kCellBlockOutputs; ++row) {
        rows.push_back({row, 0});
        for (ptrdiff_t u = 0; u < height; ++u)
            for (ptrdiff_t v = 0; v < width; ++v)
                taps.push_back({row * a.stride[0] + u * a.dilation[0] - a.padding[0], v * a.dilation[1] - a.padding[1],
                                size_t(row), u * width + v});
    }
    layer.patterns.push_back(make_pattern(rows, taps));
    layer.blocks.push_back({0, {}});
    layer.cell[0] = kCellBlockOutputs;
    layer.step[0] = kCellBlockOutputs * a.stride[0];
}

}  // namespace

Convolution make_conv2d(const Array& weight, const ConvolutionArguments& arguments, ptrdiff_t out_rows) {
    const ptrdiff_t height = weight.shape[2], width = weight.shape[3];
    Convolution layer{};
    layer.target = active_target();
    layer.cell = {1, 1};
    layer.step = arguments.stride;
    layer.inputs = weight.shape[1];
    layer.outputs = weight.shape[0] / arguments.groups;
    if (layer.outputs == 1 && layer.inputs >= 4 && height > 1 && out_rows > 1)
        add_row_block(layer, arguments, height, width);
    else
        add_channel_blocks(layer, arguments, height, width);
    complete(layer,
             {static_cast<const float*>(weight.data), layer.outputs * weight.stride[0], weight.stride[0],
              weight.stride[1], weight.stride[2], weight.stride[3], width},
             arguments);
    return layer;
}

void conv2d(const Array& x, const Array& weight, const ConvolutionArguments& arguments, const Array& out, int threads) {
    convolve(make_conv2d(weight, arguments, out.shape[2]), x, out, threads);
}

}  // namespace fastimg
