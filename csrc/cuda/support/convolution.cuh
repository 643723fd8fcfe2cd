// What conv2d and conv_transpose2d share: one layer of convolution, as csrc/cpu/convolution.hpp sees it.
//
// The output is cut into cells of places. Cell (i, j) covers the outputs (i * Y::kPlaces + place, j * X::kPlaces + place)
// and reads the input from (first[0] + i * Y::kStep, first[1] + j * X::kStep) on. An axis, Y or X, is a type that says at
// compile time which tap of the kernel a place has for which of the inputs read:
//   kPlaces, kStep, kReach       outputs of a cell, inputs from cell to cell, the last input read less the first
//   kTaps                        of the kernel
//   position(place, tap)         where the tap reads, from the cell's first input; -1 where the place lacks that tap
//   kReads, read_position(read), read_tap(place, read)   the same the other way round, over the inputs that are read
//
// A block takes a tile of 32 cells along x by `bands` times 4 kRuns along y, for `sets` times kOutputs channels; warp
// (set, band) its part of it; a lane kRuns runs of 4 cells, four rows of cells apart. All its outputs are sums in
// registers. Channel by channel the inputs of a run are loaded from shared memory (16 bytes a lane, 8 lanes one after
// the other: no bank conflicts where kStep is 1) and multiplied by weights that all lanes read alike. The input,
// continued beyond its borders, and the weights come into shared memory by asynchronous copies, kChannels channels at a
// time, while those before are computed with: each input once per block, and margins of kReach.
//
// Every output is bias + w[0] * x[0] + w[1] * x[1] + ..., channel by channel, in the order of reads, then of taps,
// whatever the tile.
#pragma once

#include "async_copy.cuh"
#include "border.cuh"
#include "view.cuh"

namespace fastimg {

enum Activation { kNoActivation, kRelu, kSlope };  // as convolution.py numbers them

struct ConvolutionParameters {
    View<4> x, out;        // image, channel, y, x
    View<4> weight;        // output channel, input channel, y, x
    int64_t weight_group;  // from group to group
    const float* bias;     // (output channels), or null
    const float* slope;
    int32_t size[2], out_size[2];     // rows and columns
    int32_t groups, inputs, outputs;  // channels of a group
    int32_t first[2];
    int32_t tiles[2], output_tiles;  // the grid: blocks along y, x and the outputs of a group
    int32_t sets, bands;             // the block's warps
    int32_t border, activation;
    int32_t x_vectors, out_vectors;  // whether rows may be read from the tile's first column, and written, by 16 bytes
    // What the kernels for any arguments need besides.
    int32_t phases[2], taps[2], stride[2], padding[2], dilation[2];
};

// Where a block works.
struct ConvolutionPlace {
    int image, group, phase[2], tile[2], output_tile;
};

__device__ inline int take_digit(unsigned& number, int base) {
    const unsigned digit = number % unsigned(base);
    number /= unsigned(base);
    return int(digit);
}

__device__ inline ConvolutionPlace locate(const ConvolutionParameters& parameters) {
    unsigned rest = blockIdx.x;
    ConvolutionPlace place;
    place.output_tile = take_digit(rest, parameters.output_tiles);  // first, so that neighbours read the same inputs
    place.tile[1] = take_digit(rest, parameters.tiles[1]);
    place.tile[0] = take_digit(rest, parameters.tiles[0]);
    place.phase[1] = take_digit(rest, parameters.phases[1]);
    place.phase[0] = take_digit(rest, parameters.phases[0]);
    place.group = take_digit(rest, parameters.groups);
    place.image = int(rest);
    return place;
}

// The bias and the slope of an output channel.
struct ChannelConstants {
    float bias, slope;
};

__device__ inline ChannelConstants constants_of(const ConvolutionParameters& parameters, int64_t channel) {
    return {parameters.bias ? parameters.bias[channel] : 0.0f, parameters.slope ? parameters.slope[channel] : 0.0f};
}

// A NaN stays one.
__device__ inline float activated(float x, int activation, float slope) {
    if (activation == kNoActivation) return x;
    return x < 0 ? (activation == kRelu ? 0.0f : slope * x) : x;
}

// ---- in tiles through shared memory -------------------------------------------------------------------------------

template <class Y, class X, int kOutputs, int kRuns, int kChannels>
struct TiledConvolution {
    static constexpr int kCells = 4;                   // of a run
    static constexpr int kLanesX = 8;                  // runs side by side in a warp
    static constexpr int kLanesY = kWarp / kLanesX;    // and one below the other
    static constexpr int kTileX = kCells * kLanesX;    // cells of a tile
    static constexpr int kBandRows = kRuns * kLanesY;  // rows of cells of a warp
    static constexpr int kColumns = round_up((kTileX - 1) * X::kStep + X::kReach + 1, 4);  // of the tile's input
    static constexpr int kRead = round_up((kCells - 1) * X::kStep + X::kReach + 1, 4);     // inputs of a run
    static constexpr int kRowWeights = X::kTaps * kOutputs;                                // of a row of the kernel
    static constexpr int kWeightPitch = round_up(kRowWeights, 4);  // each tap's outputs together
    static constexpr int kWeights = Y::kTaps * kWeightPitch;       // of a set and a channel

    typedef float Sums[kOutputs][Y::kPlaces][X::kPlaces][kRuns][kCells];

    const ConvolutionParameters& parameters;
    float* const shared;
    const ConvolutionPlace place;
    const int set, band;  // of this warp
    const int row, cell;  // this thread's first cell within the tile
    const int tile_rows;  // of the tile's input
    Sums sums;

    __device__ TiledConvolution(const ConvolutionParameters& parameters, float* shared)
        : parameters(parameters),
          shared(shared),
          place(locate(parameters)),
          set(int(threadIdx.x) / kWarp / parameters.bands),
          band(int(threadIdx.x) / kWarp % parameters.bands),
          row(band * kBandRows + int(threadIdx.x) % kWarp / kLanesX),
          cell(int(threadIdx.x) % kLanesX * kCells),
          tile_rows((parameters.bands * kBandRows - 1) * Y::kStep + Y::kReach + 1) {}

    __device__ void run() {
        const bool needed = first_output() < parameters.outputs &&
                            (place.tile[0] * parameters.bands + band) * kBandRows * Y::kPlaces < parameters.out_size[0];
        start_sums();
        stage(0);
        for (int begin = 0, stage_number = 0; begin < parameters.inputs; begin += kChannels, stage_number ^= 1) {
            async_wait<0>();
            __syncthreads();  // the copies of all threads have landed, and nobody reads what the next ones overwrite
            if (begin + kChannels < parameters.inputs) stage(begin + kChannels);
            if (!needed) continue;
            const int channels = min(kChannels, parameters.inputs - begin);
            const float* const inputs = tile(stage_number) + (row * Y::kStep * kColumns + cell * X::kStep);
            const float* const weights = weights_of(stage_number) + set * kWeights;
#pragma unroll 1
            for (int c = 0; c < channels; ++c)
                accumulate(inputs + c * tile_rows * kColumns, weights + c * parameters.sets * kWeights);
        }
        if (needed) store();
    }

    // ---- staging

    __device__ int stage_size() const { return kChannels * (tile_rows * kColumns + parameters.sets * kWeights); }
    __device__ float* tile(int stage_number) const { return shared + stage_number * stage_size(); }
    __device__ float* weights_of(int stage_number) const {
        return tile(stage_number) + kChannels * tile_rows * kColumns;
    }

    // Inputs and weights of the channels from `begin` on.
    __device__ void stage(int begin) const {
        const int channels = min(kChannels, parameters.inputs - begin), stage_number = begin / kChannels % 2;
        stage_inputs(tile(stage_number), begin, channels);
        stage_weights(weights_of(stage_number), begin, channels);
        async_commit();
    }

    __device__ void stage_inputs(float* to, int begin, int channels) const {
        const View<4>& x = parameters.x;
        const float* const image = x.at<const float>(place.image, int64_t(place.group) * parameters.inputs + begin);
        const int top = parameters.first[0] + place.tile[0] * parameters.bands * kBandRows * Y::kStep;
        const int left = parameters.first[1] + place.tile[1] * kTileX * X::kStep;
        const int width = parameters.x_vectors ? 4 : 1, pieces = kColumns / 4 * (4 / width);
        for (int i = int(threadIdx.x); i < tile_rows * pieces; i += int(blockDim.x)) {
            const int tile_row = parameters.x_vectors ? i / (kColumns / 4) : i / kColumns;
            const int column = (i - tile_row * pieces) * width;
            const int y = border_index(top + tile_row, parameters.size[0], parameters.border);
            const float* const source_row = image + max(y, 0) * x.stride[2];
            float* const target = to + tile_row * kColumns + column;
            if (parameters.x_vectors && left + column >= 0 && left + column + 4 <= parameters.size[1])
                copy<16>(target, source_row + (left + column), channels, y >= 0);
            else
                for (int k = 0; k < width; ++k) {
                    const int x_index = border_index(left + column + k, parameters.size[1], parameters.border);
                    copy<4>(target + k, source_row + max(x_index, 0) * x.stride[3], channels, y >= 0 && x_index >= 0);
                }
        }
    }

    template <int Bytes>
    __device__ void copy(float* to, const float* from, int channels, bool inside) const {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
            if (c < channels)
                async_copy<Bytes>(to + c * tile_rows * kColumns, from + c * parameters.x.stride[1], inside);
        }
    }

    // Zeros for outputs beyond the last.
    __device__ void stage_weights(float* to, int begin, int channels) const {
        constexpr int taps = Y::kTaps * X::kTaps;
        const View<4>& weight = parameters.weight;
        const float* const from = weight.at<const float>(0, begin) + place.group * parameters.weight_group;
        const int first = place.output_tile * parameters.sets * kOutputs;
        for (int i = int(threadIdx.x); i < parameters.sets * kOutputs * kChannels * taps; i += int(blockDim.x)) {
            const int tap_x = i % X::kTaps, tap_y = i / X::kTaps % Y::kTaps;
            const int c = i / taps % kChannels, output = i / (taps * kChannels);
            if (c >= channels) continue;
            const bool inside = first + output < parameters.outputs;
            const int64_t offset = (inside ? first + output : 0) * weight.stride[0] + c * weight.stride[1] +
                                   tap_y * weight.stride[2] + tap_x * weight.stride[3];
            const int which = (c * parameters.sets + output / kOutputs) * Y::kTaps + tap_y;
            async_copy<4>(to + which * kWeightPitch + tap_x * kOutputs + output % kOutputs, from + offset, inside);
        }
    }

    // ---- sums

    __device__ int first_output() const { return (place.output_tile * parameters.sets + set) * kOutputs; }
    __device__ int64_t channel_of(int output) const { return int64_t(place.group) * parameters.outputs + output; }

    __device__ void start_sums() {
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) {
            const int output = min(first_output() + o, parameters.outputs - 1);
            const float bias = constants_of(parameters, channel_of(output)).bias;
#pragma unroll
            for (int i = 0; i < Y::kPlaces * X::kPlaces * kRuns * kCells; ++i)
                sums[o][i / (kCells * kRuns * X::kPlaces)][i / (kCells * kRuns) % X::kPlaces][i / kCells % kRuns]
                    [i % kCells] = bias;
        }
    }

    // One input channel.
    __device__ void accumulate(const float* inputs, const float* weights) {
#pragma unroll(Y::kPlaces == 1 ? 1 : Y::kReads)
        for (int read = 0; read < Y::kReads; ++read) {
            float x[kRuns][kRead];
#pragma unroll
            for (int run = 0; run < kRuns; ++run)
                load_run(x[run], inputs + (Y::read_position(read) + run * kLanesY * Y::kStep) * kColumns);
#pragma unroll
            for (int place_y = 0; place_y < Y::kPlaces; ++place_y) {
                const int tap_y = Y::read_tap(place_y, read);
                if (tap_y >= 0) accumulate_row(place_y, x, weights + tap_y * kWeightPitch);
            }
        }
    }

    __device__ static void load_run(float (&x)[kRead], const float* from) {
#pragma unroll
        for (int i = 0; i < kRead; i += 4) {
            const Pack<float, 4> pack = load_pack<4>(from + i);
#pragma unroll
            for (int k = 0; k < 4; ++k) x[i + k] = pack.values[k];
        }
    }

    __device__ void accumulate_row(int place_y, const float (&x)[kRuns][kRead], const float* weights) {
#pragma unroll
        for (int i = 0; i < kRowWeights; i += 4) {
            Pack<float, 4> pack;
            if (i + 4 <= kRowWeights)
                pack = load_pack<4>(weights + i);
            else
                for (int k = 0; k < kRowWeights - i; ++k) pack.values[k] = weights[i + k];
#pragma unroll
            for (int k = 0; k < 4; ++k)
                if (i + k < kRowWeights)
                    accumulate_tap(place_y, (i + k) / kOutputs, (i + k) % kOutputs, x, pack.values[k]);
        }
    }

    __device__ void accumulate_tap(int place_y, int tap_x, int output, const float (&x)[kRuns][kRead], float weight) {
#pragma unroll
        for (int place_x = 0; place_x < X::kPlaces; ++place_x) {
            const int position = X::position(place_x, tap_x);
            if (position < 0) continue;
#pragma unroll
            for (int run = 0; run < kRuns; ++run) {
#pragma unroll
                for (int i = 0; i < kCells; ++i) {
                    float& sum = sums[output][place_y][place_x][run][i];
                    sum = fmaf(weight, x[run][position + i * X::kStep], sum);
                }
            }
        }
    }

    // ---- results

    __device__ void store() const {
        const int left = (place.tile[1] * kTileX + cell) * X::kPlaces;
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) {
            if (first_output() + o >= parameters.outputs) break;
            const int64_t channel = channel_of(first_output() + o);
            const float slope = constants_of(parameters, channel).slope;
            float* const plane = parameters.out.at<float>(place.image, channel);
#pragma unroll
            for (int run = 0; run < kRuns; ++run) {
#pragma unroll
                for (int place_y = 0; place_y < Y::kPlaces; ++place_y) {
                    const int cell_row = place.tile[0] * parameters.bands * kBandRows + row + run * kLanesY;
                    const int y = cell_row * Y::kPlaces + place_y;
                    if (y < parameters.out_size[0])
                        store_row(plane + y * parameters.out.stride[2], left, sums[o][place_y], run, slope);
                }
            }
        }
    }

    // The outputs of a run in one row: kCells cells of X::kPlaces.
    __device__ void store_row(float* to, int left, const float (&row_sums)[X::kPlaces][kRuns][kCells], int run,
                              float slope) const {
        constexpr int count = kCells * X::kPlaces;
        float results[count];
#pragma unroll
        for (int i = 0; i < count; ++i)
            results[i] = activated(row_sums[i % X::kPlaces][run][i / X::kPlaces], parameters.activation, slope);
        if (parameters.out_vectors && left + count <= parameters.out_size[1]) {
#pragma unroll
            for (int i = 0; i < count; i += 4)
                store_pack(to + left + i, Pack<float, 4>{{results[i], results[i + 1], results[i + 2], results[i + 3]}});
        } else {
#pragma unroll
            for (int i = 0; i < count; ++i)
                if (left + i < parameters.out_size[1]) to[(left + i) * parameters.out.stride[3]] = results[i];
        }
    }
};

// ---- any arguments ------------------------------------------------------------------------------------------------

// The taps that the outputs of a phase have along an axis: tap first + i * step reads the input start + i * distance, from
// its cell's first one.
struct PhaseTaps {
    int first, step, start, distance;
};

// For kernels, strides and dilations of any size: straight from memory, every input as often as it is used. A block of
// four warps takes 32 cells along x by 4 kRows along y of one phase, and kOutputs channels; a lane kRows cells.
template <int kOutputs, int kRows>
__device__ void convolve_any(const ConvolutionParameters& parameters, const ConvolutionPlace& place,
                             const PhaseTaps (&taps)[2], const int (&cell_stride)[2]) {
    const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
    const int rows_at_once = int(blockDim.x) / kWarp;
    const int cell_x = place.tile[1] * kWarp + lane;
    const int cell_y = place.tile[0] * rows_at_once * kRows + warp;  // and every rows_at_once-th below
    const int first_output = place.output_tile * kOutputs;
    const float* const image = parameters.x.at<const float>(place.image, int64_t(place.group) * parameters.inputs);
    const float* const weights = parameters.weight.at<const float>() + place.group * parameters.weight_group;

    float sums[kOutputs][kRows];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
        const int output = min(first_output + o, parameters.outputs - 1);
        const float bias = constants_of(parameters, int64_t(place.group) * parameters.outputs + output).bias;
#pragma unroll
        for (int r = 0; r < kRows; ++r) sums[o][r] = bias;
    }

    for (int c = 0; c < parameters.inputs; ++c) {
        int from_y = taps[0].start;
        for (int tap_y = taps[0].first; tap_y < parameters.taps[0]; tap_y += taps[0].step) {
            int y[kRows];
#pragma unroll
            for (int r = 0; r < kRows; ++r)
                y[r] = border_index((cell_y + r * rows_at_once) * cell_stride[0] + from_y, parameters.size[0],
                                    parameters.border);
            from_y += taps[0].distance;
            int from_x = taps[1].start;
            for (int tap_x = taps[1].first; tap_x < parameters.taps[1]; tap_x += taps[1].step) {
                const int x = border_index(cell_x * cell_stride[1] + from_x, parameters.size[1], parameters.border);
                from_x += taps[1].distance;
                float inputs[kRows];
#pragma unroll
                for (int r = 0; r < kRows; ++r)
                    inputs[r] = x < 0 || y[r] < 0 ? 0.0f
                                                  : image[c * parameters.x.stride[1] + y[r] * parameters.x.stride[2] +
                                                          x * parameters.x.stride[3]];
#pragma unroll
                for (int o = 0; o < kOutputs; ++o) {
                    const int output = min(first_output + o, parameters.outputs - 1);
                    const View<4>& weight = parameters.weight;
                    const float w = weights[output * weight.stride[0] + c * weight.stride[1] +
                                            tap_y * weight.stride[2] + tap_x * weight.stride[3]];
#pragma unroll
                    for (int r = 0; r < kRows; ++r) sums[o][r] = fmaf(w, inputs[r], sums[o][r]);
                }
            }
        }
    }

    const int64_t x = int64_t(cell_x) * parameters.phases[1] + place.phase[1];
    if (x >= parameters.out_size[1]) return;
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
        if (first_output + o >= parameters.outputs) break;
        const int64_t channel = int64_t(place.group) * parameters.outputs + first_output + o;
        const float slope = constants_of(parameters, channel).slope;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int64_t y = int64_t(cell_y + r * rows_at_once) * parameters.phases[0] + place.phase[0];
            if (y < parameters.out_size[0])
                *parameters.out.at<float>(place.image, channel, y, x) =
                    activated(sums[o][r], parameters.activation, slope);
        }
    }
}

}  // namespace fastimg
