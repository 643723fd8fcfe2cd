#include "convolution.hpp"

#include "convolution_plan.hpp"

#include "support/border.hpp"
#include "support/scratch.hpp"
#include "support/thread_pool.hpp"

#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>

#define FASTIMG_KERNELS "convolution.inl"
#include "support/foreach_target.hpp"

namespace fastimg {

std::vector<ptrdiff_t> even_parts(ptrdiff_t n, ptrdiff_t most) {
    const ptrdiff_t count = divide_up(n, most);
    std::vector<ptrdiff_t> parts(static_cast<size_t>(count));
    for (ptrdiff_t i = 0; i < count; ++i) parts[size_t(i)] = n / count + (i < n % count);
    return parts;
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

// Of bfloat16 whole pairs of channels, which the next layer may want.
std::vector<ptrdiff_t> block_sizes(const Convolution& layer) {
    const ptrdiff_t most = block_channels(layer.target, layer.multiplier);
    if (layer.multiplier == Multiplier::floats) return even_parts(layer.outputs, most);
    std::vector<ptrdiff_t> sizes = even_parts(divide_up(layer.outputs, 2), most / 2);
    for (ptrdiff_t& size : sizes) size *= 2;
    sizes.back() -= layer.outputs % 2;
    return sizes;
}

void add_blocks(Convolution& layer) {
    ptrdiff_t channel = 0;
    for (const ptrdiff_t outputs : block_sizes(layer)) {
        for (size_t pattern = 0; pattern < layer.patterns.size(); ++pattern)
            layer.blocks.push_back({pattern, channel, outputs});
        channel += outputs;
    }
}

// A pattern's taps column by column, as chunks. Where rows are adjacent, chunks go on from a row to the one below it; the last
// one of some lines begins early, if it must, with lines that have had their weights.
void add_chunks(Pattern& pattern, ptrdiff_t planes, bool rows_are_adjacent) {
    struct Run {
        std::vector<Tap> taps;  // one below the other
    };
    std::vector<Tap> taps = pattern.taps;
    std::stable_sort(taps.begin(), taps.end(), [](const Tap& a, const Tap& b) { return a.column < b.column; });
    std::vector<Run> runs;
    for (const Tap& tap : taps) {
        const Tap* const above = runs.empty() ? nullptr : &runs.back().taps.back();
        const bool goes_on = above && rows_are_adjacent && above->column == tap.column && above->row + 1 == tap.row;
        if (!goes_on) runs.emplace_back();
        runs.back().taps.push_back(tap);
    }
    ptrdiff_t least = runs.empty() ? 1 : PTRDIFF_MAX;
    for (const Run& run : runs) least = std::min(least, ptrdiff_t(run.taps.size()) * planes);
    pattern.chunk_lines = divide_up(least, divide_up(least, kChunkLines));
    for (const Run& run : runs) {
        const ptrdiff_t lines = ptrdiff_t(run.taps.size()) * planes;
        for (ptrdiff_t begin = 0; begin < lines; begin += pattern.chunk_lines) {
            const ptrdiff_t first = std::min(begin, lines - pattern.chunk_lines);
            Chunk chunk{run.taps[0].row + first / planes, run.taps[0].column, {}, {}};
            for (ptrdiff_t i = 0; i < kChunkLines; ++i) {
                const bool counts = i < pattern.chunk_lines && first + i >= begin;
                chunk.plane[size_t(i)] = (first + i) % planes;
                chunk.weight[size_t(i)] = counts ? run.taps[size_t((first + i) / planes)].weight : -1;
            }
            pattern.chunks.push_back(chunk);
        }
    }
}

uint32_t bfloat16_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  // of finite values
}

// The weights of a group as they stand before its inputs: a plane's, at a place in the kernel.
class WeightsOf {
public:
    WeightsOf(const Convolution& layer, const Kernels& kernels, ptrdiff_t kernel_columns, ptrdiff_t group)
        : layer_(layer), kernels_(kernels), columns_(kernel_columns), data_(kernels.data + group * kernels.group) {}

    // Of the weight with an index into the kernel.
    ptrdiff_t place(ptrdiff_t weight) const {
        return weight / columns_ * kernels_.row + weight % columns_ * kernels_.column;
    }

    float operator()(ptrdiff_t output, ptrdiff_t plane, ptrdiff_t place) const {
        if (layer_.operands == Operands::floats) return at(output, plane, place);
        uint32_t lower, upper;
        if (layer_.operands == Operands::split_samples) {
            lower = upper = bfloat16_bits(at(output, plane, place));
        } else {
            lower = bfloat16_bits(at(output, 2 * plane, place));
            upper = 2 * plane + 1 < layer_.inputs ? bfloat16_bits(at(output, 2 * plane + 1, place)) : 0;
        }
        const uint32_t bits = lower | upper << 16;
        float pair;
        std::memcpy(&pair, &bits, sizeof pair);
        return pair;
    }

private:
    float at(ptrdiff_t output, ptrdiff_t input, ptrdiff_t place) const {
        return data_[output * kernels_.output + input * kernels_.input + place];
    }

    const Convolution& layer_;
    const Kernels& kernels_;
    const ptrdiff_t columns_;
    const float* const data_;
};

// G of csrc/cpu/convolution_winograd.inl, for kernels of so many rows: of each finite point p its powers over the product of
// p - q for all others q; at ∞ the last weight alone.
template <ptrdiff_t Rows>
using TransformOfKernels = std::array<std::array<double, Rows>, Rows + kRowsAtOnce - 1>;

template <ptrdiff_t Rows>
TransformOfKernels<Rows> transform_of_kernels() {
    const double all_points[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    const size_t finite = size_t(Rows + kRowsAtOnce - 2);
    TransformOfKernels<Rows> transform{};
    for (size_t i = 0; i < finite; ++i) {
        double power = 1;
        for (size_t j = 0; j < finite; ++j)
            if (j != i) power /= all_points[i] - all_points[j];
        for (double& coefficient : transform[i]) {
            coefficient = power;
            power *= all_points[i];
        }
    }
    transform[finite][Rows - 1] = 1;
    return transform;
}

// Of a block, at all points. Sums are of doubles, so that weights are rounded once.
template <ptrdiff_t Rows>
void add_weights_at_points(Convolution& layer, const Block& block, const Kernels& kernels, ptrdiff_t group,
                           const std::vector<AxisTap>& rows) {
    static const TransformOfKernels<Rows> transform = transform_of_kernels<Rows>();
    const ptrdiff_t outputs = block.outputs;
    const Pattern& pattern = layer.patterns[block.pattern];
    const ptrdiff_t taps = ptrdiff_t(pattern.taps.size()) * layer.inputs;
    const size_t begin = layer.weights.size();
    layer.weights.resize(begin + size_t(taps * outputs) * transform.size());
    float* weight = layer.weights.data() + begin;
    const float* const first = kernels.data + group * kernels.group + block.channel * kernels.output;
    for_each_tap(pattern, layer.inputs, [&](ptrdiff_t input, const Tap& tap) {
        const float* const column = first + input * kernels.input + tap.weight * kernels.column;
        double kernel[Rows][kBlockOutputs];
        for (size_t row = 0; row < Rows; ++row)
            for (ptrdiff_t m = 0; m < outputs; ++m)
                kernel[row][m] = double(column[m * kernels.output + rows[row].weight * kernels.row]);
        for (size_t point = 0; point < transform.size(); ++point) {
            for (ptrdiff_t m = 0; m < outputs; ++m) {
                double sum = 0;
                for (size_t row = 0; row < Rows; ++row) sum += transform[point][row] * kernel[row][m];
                weight[ptrdiff_t(point) * taps * outputs + m] = float(sum);
            }
        }
        weight += outputs;
    });
}

void add_weights(Convolution& layer, const Kernels& kernels, const Geometry& geometry,
                 const ConvolutionArguments& arguments) {
    layer.weights.reserve(size_t(multiply_adds(layer)));
    for (ptrdiff_t group = 0; group < layer.groups; ++group) {
        const WeightsOf weight_of(layer, kernels, geometry.columns.kernel, group);
        for (const Block& block : layer.blocks) {
            for (ptrdiff_t m = 0; m < kBlockOutputs; ++m) {
                const ptrdiff_t channel = group * layer.outputs + block.channel + (m < block.outputs ? m : 0);
                layer.bias.push_back(arguments.bias != nullptr ? arguments.bias[channel] : 0.0f);
                layer.slope.push_back(arguments.slope != nullptr ? arguments.slope[channel] : 0.0f);
            }
            const Pattern& pattern = layer.patterns[block.pattern];
            if (layer.multiplier == Multiplier::tiles) {
                for (const Chunk& chunk : pattern.chunks)
                    for (ptrdiff_t m = 0; m < block.outputs; ++m)
                        for (size_t i = 0; i < kChunkLines; ++i)
                            layer.weights.push_back(chunk.weight[i] < 0 ? 0
                                                                        : weight_of(block.channel + m, chunk.plane[i],
                                                                                    weight_of.place(chunk.weight[i])));
                continue;
            }
            if (layer.points > 0) {
                (layer.points == 6 ? add_weights_at_points<3> : add_weights_at_points<5>)(layer, block, kernels, group,
                                                                                          geometry.rows.places[0]);
                continue;
            }
            for_each_tap(pattern, planes_of(layer), [&](ptrdiff_t plane, const Tap& tap) {
                const ptrdiff_t place = weight_of.place(tap.weight);
                for (ptrdiff_t m = 0; m < block.outputs; ++m)
                    layer.weights.push_back(weight_of(block.channel + m, plane, place));
            });
        }
    }
}

Convolution make_convolution(const Geometry& geometry, const Kernels& kernels, const ConvolutionArguments& arguments,
                             std::vector<Pattern> patterns, ptrdiff_t points = 0) {
    Convolution layer{};
    layer.points = points;
    layer.target = active_target();
    layer.cell = {geometry.rows.cell, geometry.columns.cell};
    layer.step = {geometry.rows.step, geometry.columns.step};
    layer.groups = geometry.groups;
    layer.inputs = geometry.inputs;
    layer.outputs = geometry.outputs;
    layer.border = arguments.border;
    layer.activation = arguments.activation;
    layer.operands = arguments.operands;
    layer.multiplier = arguments.multiplier;
    layer.patterns = std::move(patterns);
    if (layer.multiplier == Multiplier::tiles)
        for (Pattern& pattern : layer.patterns) add_chunks(pattern, planes_of(layer), layer.groups == 1);
    find_reach(layer);
    if (points > 0) layer.reach[0] = points - 1;
    add_blocks(layer);
    add_weights(layer, kernels, geometry, arguments);
    return layer;
}

std::vector<Pattern> patterns_of(const Axis& rows, const Axis& columns) {
    std::vector<Pattern> patterns;
    for (ptrdiff_t row = 0; row < rows.cell; ++row) {
        for (ptrdiff_t column = 0; column < columns.cell; ++column) {
            patterns.push_back({{row, column}, {}, {}});
            for (const AxisTap y : rows.places[size_t(row)])
                for (const AxisTap x : columns.places[size_t(column)])
                    patterns.back().taps.push_back({y.input, x.input, y.weight * columns.kernel + x.weight});
        }
    }
    return patterns;
}

// ---- four rows at once -------------------------------------------------------------------------------------------

constexpr ptrdiff_t kFewestByPoints = 12;  // channels that make up for the transforms
constexpr ptrdiff_t kFewestColumns = 20;   // of all kernels of an input, which make up for its transform

bool is_better_by_points(const Geometry& g, const ConvolutionArguments& arguments) {
    const ptrdiff_t kernel = g.rows.kernel;
    if (arguments.multiplier != Multiplier::floats || g.inputs < kFewestByPoints || g.outputs < kFewestByPoints)
        return false;
    if ((kernel != 3 && kernel != 5) || g.rows.cell * g.columns.cell * g.rows.step * g.columns.step != 1) return false;
    const std::vector<AxisTap>& taps = g.rows.places[0];
    return taps[1].input - taps[0].input == 1;
}

Convolution make_by_points(const Geometry& g, const Kernels& kernels, const ConvolutionArguments& arguments) {
    const Axis first{1, 1, 1, {{{g.rows.places[0][0].input, 0}}}};
    const Axis fours{kRowsAtOnce, kRowsAtOnce, g.rows.kernel, g.rows.places};
    return make_convolution({fours, g.columns, g.groups, g.inputs, g.outputs}, kernels, arguments,
                            patterns_of(first, g.columns), g.rows.kernel + kRowsAtOnce - 1);
}

// ---- transposed, four rows at once --------------------------------------------------------------------------------

// The inputs that the places of an axis read, one behind the other; where a stride is larger than a kernel, perhaps none.
struct Union {
    ptrdiff_t first, count;
};

Union union_of(const Axis& axis) {
    ptrdiff_t least = PTRDIFF_MAX, greatest = PTRDIFF_MIN;
    for (const std::vector<AxisTap>& taps : axis.places) {
        for (const AxisTap tap : taps) {
            least = std::min(least, tap.input);
            greatest = std::max(greatest, tap.input);
        }
    }
    return least <= greatest ? Union{least, greatest - least + 1} : Union{0, 0};
}

ptrdiff_t taps_of(const Axis& axis) {
    ptrdiff_t taps = 0;
    for (const std::vector<AxisTap>& place : axis.places) taps += ptrdiff_t(place.size());
    return taps;
}

// Rows of a kernel that has them, and can be computed four rows at once; 0 where none can.
ptrdiff_t kernel_by_points(ptrdiff_t rows) { return rows < 2 ? 0 : rows <= 3 ? 3 : rows <= 5 ? 5 : 0; }

// The places of a cell as channels of one convolution, which a pixel shuffle puts where they belong. Kernels are filled up
// with zeros, and may be by so many that nothing is won.
bool is_better_shuffled(const Geometry& g, const ConvolutionArguments& arguments) {
    const ptrdiff_t factor = g.rows.cell;
    if (arguments.multiplier != Multiplier::floats || g.inputs < kFewestByPoints) return false;
    if (factor < 2 || factor > kMostShuffled || g.columns.cell != factor) return false;
    const ptrdiff_t rows = kernel_by_points(union_of(g.rows).count);
    if (rows == 0) return false;
    const ptrdiff_t columns = union_of(g.columns).count * factor * factor * g.outputs;
    const double products = double((rows + kRowsAtOnce - 1) * columns) / kRowsAtOnce;
    const double direct = double(taps_of(g.rows) * taps_of(g.columns) * g.outputs);
    return columns >= kFewestColumns && products < 0.7 * direct;
}

Convolution make_shuffled(const Geometry& g, const Kernels& kernels, ConvolutionArguments arguments) {
    const Union rows = union_of(g.rows), columns = union_of(g.columns);
    const ptrdiff_t factor = g.rows.cell, kernel_rows = kernel_by_points(rows.count);
    const auto axis = [](ptrdiff_t first, ptrdiff_t kernel) {
        std::vector<AxisTap> taps;
        for (ptrdiff_t u = 0; u < kernel; ++u) taps.push_back({first + u, u});
        return Axis{1, 1, kernel, {taps}};
    };
    const Geometry shuffled{axis(rows.first, kernel_rows), axis(columns.first, columns.count), g.groups, g.inputs,
                            g.outputs * factor * factor};
    const ptrdiff_t per_input = kernel_rows * columns.count, per_output = g.inputs * per_input;
    std::vector<float> weights(size_t(g.groups * shuffled.outputs * per_output)), bias, slope;
    const Kernels all{weights.data(), shuffled.outputs * per_output, per_output, per_input, columns.count, 1};
    for (ptrdiff_t channel = 0; channel < g.groups * shuffled.outputs; ++channel) {
        const ptrdiff_t group = channel / shuffled.outputs, output = channel / (factor * factor);
        bias.push_back(arguments.bias != nullptr ? arguments.bias[output] : 0.0f);
        slope.push_back(arguments.slope != nullptr ? arguments.slope[output] : 0.0f);
        for (ptrdiff_t input = 0; input < g.inputs; ++input)
            for (const AxisTap y : g.rows.places[size_t(channel / factor % factor)])
                for (const AxisTap x : g.columns.places[size_t(channel % factor)])
                    weights[size_t(channel * all.output + input * all.input + (y.input - rows.first) * all.row +
                                   x.input - columns.first)] =
                        kernels.data[group * kernels.group + output % g.outputs * kernels.output +
                                     input * kernels.input + y.weight * kernels.row + x.weight * kernels.column];
    }
    arguments.bias = bias.data();
    arguments.slope = slope.data();
    Convolution layer = make_by_points(shuffled, all, arguments);
    layer.shuffles.push_back(factor);
    return layer;
}

// ---- bfloat16 or not ----------------------------------------------------------------------------------------------

ConvolutionArguments in_floats(ConvolutionArguments arguments) {
    arguments.operands = Operands::floats;
    arguments.multiplier = Multiplier::floats;
    return arguments;
}

// Where `dot`, which multiplies two at once, has no fewer instructions: for samples split in two, and where four rows at once
// leave two fifths of the products. Of three rows they leave a half, too, but have their points to make and to add.
bool is_better_in_floats(const Geometry& g, const ConvolutionArguments& arguments) {
    return arguments.operands == Operands::split_samples ||
           (g.rows.kernel == 5 && is_better_by_points(g, in_floats(arguments)));
}

// ---- few output channels ------------------------------------------------------------------------------------------

Axis pixel() { return {1, 1, 1, {{{0, 0}}}}; }

bool is_better_by_rows(const Geometry& g) {
    return g.outputs <= 2 && g.inputs >= 4 && g.rows.kernel > 1 && g.rows.step == 1;
}

// Along the columns alone, to channels [group][output][row of the kernel].
Convolution make_rows(const Geometry& g, const Kernels& kernels, ConvolutionArguments arguments) {
    const ptrdiff_t outputs = g.outputs * g.rows.kernel;
    std::vector<float> weights;
    for (ptrdiff_t group = 0; group < g.groups; ++group)
        for (ptrdiff_t input = 0; input < g.inputs; ++input)
            for (ptrdiff_t output = 0; output < g.outputs; ++output)
                for (ptrdiff_t row = 0; row < g.rows.kernel; ++row)
                    for (ptrdiff_t column = 0; column < g.columns.kernel; ++column)
                        weights.push_back(
                            kernels.data[group * kernels.group + input * kernels.input + output * kernels.output +
                                         row * kernels.row + column * kernels.column]);
    const ptrdiff_t per_input = outputs * g.columns.kernel;
    arguments.activation = Activation::none;
    arguments.bias = arguments.slope = nullptr;
    return make_convolution({pixel(), g.columns, g.groups, g.inputs, outputs},
                            {weights.data(), g.inputs * per_input, g.columns.kernel, per_input, 0, 1}, arguments,
                            patterns_of(pixel(), g.columns));
}

Convolution make_sum_of_rows(const Geometry& g, const ConvolutionArguments& arguments) {
    std::vector<Pattern> patterns = patterns_of(g.rows, pixel());
    for (Pattern& pattern : patterns)
        for (Tap& tap : pattern.taps) tap.input = tap.weight;
    const float one = 1;
    return make_convolution({g.rows, pixel(), g.groups * g.outputs, g.rows.kernel, 1}, {&one, 0, 0, 0, 0, 0},
                            in_floats(arguments), std::move(patterns));
}

}  // namespace

std::vector<Convolution> make_convolutions(const Geometry& g, const Kernels& kernels, ConvolutionArguments arguments) {
    if (arguments.multiplier == Multiplier::dot && is_better_in_floats(g, arguments)) arguments = in_floats(arguments);
    if (is_better_shuffled(g, arguments)) return {make_shuffled(g, kernels, arguments)};
    if (is_better_by_rows(g)) return {make_rows(g, kernels, arguments), make_sum_of_rows(g, arguments)};
    if (is_better_by_points(g, arguments)) return {make_by_points(g, kernels, arguments)};
    return {make_convolution(g, kernels, arguments, patterns_of(g.rows, g.columns))};
}

std::vector<Multiplier> bfloat16_multipliers() {
    std::vector<Multiplier> multipliers{Multiplier::widened};
#if FASTIMG_X86_TARGETS && !defined(FASTIMG_EMULATE_AVX512)
    if (active_target() == Target::v4 && has_avx512_bf16()) {
        multipliers.push_back(Multiplier::dot);
        if (has_amx_bf16()) multipliers.push_back(Multiplier::tiles);
    }
#endif
    return multipliers;
}

double multiply_adds(const Convolution& layer) {
    double taps = 0;
    for (const Pattern& pattern : layer.patterns)
        for_each_tap(pattern, planes_of(layer), [&](ptrdiff_t, const Tap&) { ++taps; });
    return taps * double(layer.outputs * layer.groups * std::max<ptrdiff_t>(layer.points, 1));
}

Sizes sizes_within(size_t parts, const std::array<ptrdiff_t, 2>& in, const std::array<ptrdiff_t, 2>& out) {
    if (parts == 1) return {in, out};
    return {in, {in[0], out[1]}, out};
}

void convolve_alone(const std::vector<Convolution>& parts, const Array& x, const Array& out, int threads) {
    const Sizes sizes = sizes_within(parts.size(), {x.shape[2], x.shape[3]}, {out.shape[2], out.shape[3]});
    convolve(parts, sizes, x, out, threads);
}

void convolve(const std::vector<Convolution>& layers, const Sizes& sizes, const Array& x, const Array& out,
              int threads) {
    FASTIMG_DISPATCH_TO(layers[0].target, convolve, layers, sizes, x, out, threads);
}

}  // namespace fastimg
