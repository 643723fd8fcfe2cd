#include "convolution.hpp"

#include "support/border.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <cstdlib>
#include <iterator>
#include <tuple>

#define FASTIMG_KERNELS "convolution.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

std::vector<ptrdiff_t> even_parts(ptrdiff_t n, ptrdiff_t most) {
    const ptrdiff_t count = divide_up(n, most);
    std::vector<ptrdiff_t> parts(static_cast<size_t>(count));
    for (ptrdiff_t i = 0; i < count; ++i) parts[size_t(i)] = n / count + (i < n % count);
    return parts;
}

Pattern make_pattern(std::vector<CellPlace> outputs, std::vector<SingleTap> taps) {
    Pattern pattern{std::move(outputs), {}};
    std::sort(taps.begin(), taps.end(), [](const SingleTap& a, const SingleTap& b) {
        return std::tie(a.row, a.column, a.output) < std::tie(b.row, b.column, b.output);
    });
    for (const SingleTap& tap : taps) {
        if (pattern.taps.empty() || pattern.taps.back().row != tap.row || pattern.taps.back().column != tap.column) {
            pattern.taps.push_back({tap.row, tap.column, {}});
            pattern.taps.back().weight.fill(-1);
        }
        pattern.taps.back().weight[tap.output] = tap.weight;
    }
    return pattern;
}

unsigned takers(const Tap& tap) {
    unsigned outputs = 0;
    for (size_t m = 0; m < kBlockOutputs; ++m) outputs |= unsigned(tap.weight[m] >= 0) << m;
    return outputs;
}

namespace {

void find_reach(Convolution& layer) {
    std::array<ptrdiff_t, 2> least{PTRDIFF_MAX, PTRDIFF_MAX}, greatest{PTRDIFF_MIN, PTRDIFF_MIN};
    for (const Pattern& pattern : layer.patterns) {
        for (const Tap& tap : pattern.taps) {
            least = {std::min(least[0], tap.row), std::min(least[1], tap.column)};
            greatest = {std::max(greatest[0], tap.row), std::max(greatest[1], tap.column)};
        }
    }
    layer.first = least;
    layer.reach = {greatest[0] - least[0], greatest[1] - least[1]};
}

}  // namespace

void complete(Convolution& layer, const Kernels& kernels, const ConvolutionArguments& arguments) {
    layer.border = arguments.border;
    layer.activation = arguments.activation;
    layer.groups = arguments.groups;
    find_reach(layer);
    for (ptrdiff_t group = 0; group < layer.groups; ++group) {
        for (const Block& block : layer.blocks) {
            const Pattern& pattern = layer.patterns[block.pattern];
            const size_t outputs = pattern.outputs.size();
            for (size_t m = 0; m < kBlockOutputs; ++m) {
                const ptrdiff_t channel = group * layer.outputs + block.channel[m < outputs ? m : 0];
                layer.bias.push_back(arguments.bias != nullptr ? arguments.bias[channel] : 0.0f);
                layer.slope.push_back(arguments.slope != nullptr ? arguments.slope[channel] : 0.0f);
            }
            for_each_tap(pattern, layer.inputs, [&](ptrdiff_t input, const Tap& tap) {
                const float* const kernel = kernels.data + group * kernels.group + input * kernels.input;
                for (size_t m = 0; m < outputs; ++m)
                    if (tap.weight[m] >= 0)
                        layer.weights.push_back(
                            kernel[block.channel[m] * kernels.output + tap.weight[m] / kernels.width * kernels.row +
                                   tap.weight[m] % kernels.width * kernels.column]);
            });
        }
    }
}

void convolve(const Convolution& layer, const Array& x, const Array& out, int threads) {
    FASTIMG_DISPATCH_TO(layer.target, convolve, layer, view<float, 4>(x), view<float, 4>(out), threads);
}

void convolve_chain(const std::vector<Convolution>& layers, const std::vector<std::array<ptrdiff_t, 2>>& sizes,
                    const Array& x, const Array& out, int threads) {
    FASTIMG_DISPATCH_TO(layers[0].target, convolve_chain, layers, sizes, view<float, 4>(x), view<float, 4>(out),
                        threads);
}

}  // namespace fastimg
