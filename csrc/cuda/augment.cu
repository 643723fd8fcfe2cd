// Augmentation: what a batch of pictures is trained with, as the host has drawn it (csrc/cpu/augment.hpp).
//
// `augment` takes a warp through 128 pixels of an image at a time, numbered along the rows of the result:
//   1. Each lane finds the places of its four pixels, one after the other, gathers and interpolates them, and changes
//      their colours; values go to shared memory, channel by channel.
//   2. Noise and impulses are drawn for them where they lie. 128 pixels are two chunks of the random field, whose blocks of
//      words take one lane each; the second and third channel of an image whose pixels are no multiple of 64 lie
//      across three chunks, and take two turns.
//   3. Rectangles are filled; values go out in the result's units, in pieces of 16 bytes where rows follow each other
//      without gaps, pixel by pixel or plane by plane.
// Nothing waits for another warp. A pixel at a time keeps code short, so that instructions come from the nearest caches,
// and registers few; warps enough to hide latency do the rest.
//
// Places are sums of 2^-40 pixels in 64 bits, from a matrix rounded to that: they miss less than 2^-25 pixels in images
// of up to 32,768 pixels a side. Beyond 2^22 pixels each is found in double. Pixels whose taps are all inside the image
// gather words (support/gather.cuh), others tap by tap, as all do of images of layouts without a fast way.
//
// What needs to know more than the place of a pixel has launches before:
//   - the mean colour, of the images that ask for it: `augment_sums` gathers, for sums of 4096 pixels, in an order that
//     the launch's shape alone decides; `augment_offsets` adds them, and makes of the mean an offset of the colours.
//   - a blur, of the images that have drawn one: `augment_gather` leaves float planes, `augment_blur` blurs them, and
//     `augment` takes those for the image.
// `augment_blur` takes 8 rows of 256 columns: along columns, a thread slides down one with eight sums, into shared
// memory with what rows need beside them; then along rows.
//
// `augment_mix` blends each image with its predecessor in place. A thread takes some samples of all images, from the last
// to the first, so that it reads each before it is changed.
//
// Through memory go the image and the result once, 200 bytes of numbers an image, and 16 bytes for each sample of an
// image that is blurred. Counts of instructions in docs/cuda/augment.md.
//
// Macros: IN (type of samples), CHANNELS (1, or 3, of a thread), WAY (to the image's pixels), for the result OUT; IN and
// AXES (of an image, after merging) for mixing; none for the blur and the offsets.
#include "support/border.cuh"
#include "support/gather.cuh"
#include "support/offset.cuh"
#include "support/philox.cuh"
#include "support/sums.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// As csrc/cpu/augment.hpp has them.
struct Augmentation {
    double matrix[9];
    uint64_t noise_key, impulse_key;
    float color[9], mean_color[9], offset[3];
    float blur, noise, salt, pepper;
    int32_t recolored, about_mean;
};

struct Rectangle {
    int32_t top, left, bottom, right;
};

// Where an image lies.
struct Image {
    const void* data;
    int64_t stride[3];  // of rows, columns and channels
    int32_t rows, columns;
    int32_t number;  // of its result
    int32_t far;     // whether places are beyond what 64 bits hold
};

struct Parameters {
    View<4> result;  // image, row, column, channel
    const Augmentation* augmentations;
    const Image* images;
    const Rectangle* rectangles;  // [image][rectangle]
    const float* fill;            // [rectangle][channel]
    const float *scale, *offset;  // [channel], to the units of the result
    float* field;                 // [image][channel][pixel], before the blur
    float* blurred;               // and after it
    float* sums;                  // [image][part][channel]
    float* offsets;               // [image][3], of colours, with what the mean gives
    int32_t rows, columns;        // of the result
    int32_t channels;
    int32_t parts;     // of an image, a block each
    int32_t of_image;  // rectangles
    int32_t mode;
    int32_t layout;       // of the result
    int32_t in_pieces;    // whether it may be written in pieces of 16 bytes
    int32_t most_radius;  // of blurs
    float constant;       // beyond the border, in the image's units
    float unit;           // what takes them to [0, 1]
};

#ifdef CHANNELS

enum Ways { kPacked, kPlanes, kAnywhere, kBlurred };  // as augment.py numbers them: of pixels side by side, of samples
enum Layouts { kInterleaved, kByPlanes, kStrided };   // likewise: rows without gaps in the first two

__device__ constexpr int kPiece = 128;  // pixels that a warp takes at a time
__device__ constexpr int kPieces = 4;   // of a warp
__device__ constexpr int kBlocks = 4;   // to a multiprocessor at least

// What a block works at, in shared memory: an image, or a channel of it.
struct Work {
    Augmentation drawn;
    Image image;
    float scale[CHANNELS], offset[CHANNELS];
    int32_t salted, chosen;  // the largest word, of 31 bits, for salt, and for either
    int64_t place[2];        // column and row of the first pixel in the image, in 2^-40 pixels
    int64_t across[2], down[2];
    int64_t step[2], wrap[2];       // to the lane's next pixel; and if that lies beyond the row
    int32_t columns, right, below;  // of the result, and where the next pixel is in it
};

// Where a block is.
struct Part {
    int slot;     // of the image in this launch
    int channel;  // its first
    int number;   // of so many parts
};

__device__ Part part_of(const Parameters& parameters) {
    const int groups = parameters.channels / CHANNELS;
    const int plane = int(blockIdx.x) / parameters.parts;
    return {plane / groups, plane % groups * CHANNELS, int(blockIdx.x) % parameters.parts};
}

// All threads of the block come here.
__device__ void prepare(Work& work, const Part& part, const Parameters& parameters) {
    const int thread = int(threadIdx.x);
    if (thread == 0) work.drawn = parameters.augmentations[part.slot];
    if (thread == kWarp) work.image = parameters.images[part.slot];
    __syncthreads();
    if (thread < 2) {
        const double* const m = work.drawn.matrix + 3 * thread;
        const auto units = [&](double x) { return work.image.far ? 0 : __double2ll_rn(x * 0x1p40); };
        const int64_t across = units(m[0]), down = units(m[1]);
        work.place[thread] = units(m[2]);
        work.across[thread] = across;
        work.down[thread] = down;
        work.step[thread] = kWarp % parameters.columns * across + kWarp / parameters.columns * down;
        work.wrap[thread] = down - parameters.columns * across;
    }
    if (thread == kWarp) {
        work.columns = parameters.columns;
        work.right = kWarp % parameters.columns;
        work.below = kWarp / parameters.columns;
        const double salt = double(work.drawn.salt), both = salt + double(work.drawn.pepper);
        work.salted = int(int64_t(salt * 0x1p31 + 0.5) - 1);
        work.chosen = int(int64_t(both * 0x1p31 + 0.5) - 1);
    }
    if (thread >= 2 * kWarp && thread < 2 * kWarp + CHANNELS) {
        const int c = thread - 2 * kWarp;
        work.scale[c] = parameters.scale[part.channel + c];
        work.offset[c] = parameters.offset[part.channel + c];
#ifdef OUT
        if (work.drawn.about_mean) work.drawn.offset[c] = parameters.offsets[3 * part.slot + c];
#endif
    }
    __syncthreads();
}

// ---- gather ---------------------------------------------------------------------------------------------------------

struct Color {
    float channel[CHANNELS];
};

struct Coordinate {
    int whole;
    float rest;
};

__device__ Coordinate split(int64_t units) {
    return {int(units >> 40), __uint2float_rn(uint32_t(units >> 8)) * 0x1p-32f};
}

__device__ Coordinate split(double place) {
    const double near = fmin(fmax(place, -0x1p30), 0x1p30), below = floor(near);
    return {int(below), float(near - below)};
}

// The pixels of a lane, one after the other.
struct Pixel {
    int number;  // of the image
    int column, row;
    int64_t place[2];  // in the image

    __device__ Pixel(int number, const Parameters& parameters, const Work& work)
        : number(number), row(number / parameters.columns) {
        column = number - row * parameters.columns;
        if (WAY == kBlurred) return;
#pragma unroll
        for (int i = 0; i < 2; ++i) place[i] = work.place[i] + column * work.across[i] + row * work.down[i];
    }

    __device__ void next(const Work& work) {
        number += kWarp;
        if (WAY == kBlurred) return;
        column += work.right;
        row += work.below;
        const bool beyond = column >= work.columns;
        if (beyond) {
            column -= work.columns;
            ++row;
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) place[i] += work.step[i] + (beyond ? work.wrap[i] : 0);
    }
};

// Taps one by one: beside the image, and of any layout. Rolled up, so that they keep no registers from the others.
__device__ Color fetched(const Parameters& parameters, const Image& image, int channel, const Coordinate& column,
                         const Coordinate& row) {
    Color color = {};
    const IN* const from = static_cast<const IN*>(image.data) + channel * image.stride[2];
#pragma unroll 1
    for (int tap = 0; tap < 4; ++tap) {
        const int right = tap % 2, down = tap / 2;
        const float weight = (right ? column.rest : 1 - column.rest) * (down ? row.rest : 1 - row.rest);
        if (weight == 0) continue;  // a NaN does not count
        const int u = border_index(column.whole + right, image.columns, parameters.mode);
        const int v = border_index(row.whole + down, image.rows, parameters.mode);
        const IN* const at = from + (v * image.stride[0] + u * image.stride[1]);
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            const float value = u < 0 || v < 0 ? parameters.constant : to_float(at[c * image.stride[2]]);
            color.channel[c] = fmaf(weight, value, color.channel[c]);
        }
    }
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) color.channel[c] *= parameters.unit;
    return color;
}

// Whether no tap is in the image, so that its constant border is all there is to see.
__device__ bool is_outside(const Image& image, const Coordinate& column, const Coordinate& row) {
    return unsigned(column.whole + 1) > unsigned(image.columns) || unsigned(row.whole + 1) > unsigned(image.rows);
}

__device__ constexpr int kTogether = WAY == kPacked ? CHANNELS : 1;  // channels that lie side by side
using Taps = Run<IN, 2, kTogether>;

__device__ bool is_inside(const Image& image, const Coordinate& column, const Coordinate& row) {
    const unsigned columns = max(image.columns - (1 + Taps::kBefore + Taps::kAfter), 0);
    return (unsigned(column.whole) - unsigned(Taps::kBefore) < columns) &
           (unsigned(row.whole) < unsigned(image.rows - 1));
}

__device__ Color sampled(const Parameters& parameters, const Work& work, const Part& part, const Pixel& pixel) {
    Color color;
    if constexpr (WAY == kBlurred) {
        const int64_t pixels = int64_t(parameters.rows) * parameters.columns;
        const float* const from =
            parameters.blurred + (int64_t(part.slot) * parameters.channels + part.channel) * pixels;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) color.channel[c] = from[c * pixels + pixel.number];
        return color;
    } else {
        const Image& image = work.image;
        Coordinate column, row;
        if (image.far) {
            const double* const m = work.drawn.matrix;
            column = split(m[0] * pixel.column + (m[1] * pixel.row + m[2]));
            row = split(m[3] * pixel.column + (m[4] * pixel.row + m[5]));
        } else {
            column = split(pixel.place[0]);
            row = split(pixel.place[1]);
        }
        if (parameters.mode == kConstant && is_outside(image, column, row)) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) color.channel[c] = parameters.constant * parameters.unit;
            return color;
        }
        if (WAY == kAnywhere || !is_inside(image, column, row))
            return fetched(parameters, image, part.channel, column, row);
        const int row_stride = int(image.stride[0]);
        const IN* from = static_cast<const IN*>(image.data) + int64_t(row.whole) * row_stride +
                         column.whole * kTogether + part.channel * image.stride[2];
        Taps upper[CHANNELS / kTogether], lower[CHANNELS / kTogether];
#pragma unroll
        for (int i = 0; i < CHANNELS / kTogether; ++i, from += image.stride[2]) {
            upper[i].load(from);
            lower[i].load(from + row_stride);
        }
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            const auto of_row = [&](const Taps& taps) {
                return between<IN>(taps.value(c % kTogether), taps.value(kTogether + c % kTogether), column.rest,
                                   Taps::kBias);
            };
            const float above = of_row(upper[c / kTogether]), below = of_row(lower[c / kTogether]);
            color.channel[c] = between<IN>(above, below, row.rest, 0) * parameters.unit;
        }
        return color;
    }
}

// Calls `f` with the pixels of this thread and their colours.
template <class F>
__device__ void for_all(const Parameters& parameters, const Work& work, const Part& part, int first, int count,
                        const F& f) {
    const int lane = int(threadIdx.x) % kWarp;
    Pixel pixel(first + lane, parameters, work);
#pragma unroll 1
    for (int i = lane; i < count; i += kWarp) {
        const Work& again = (&work)[opaque(0)];  // read anew for every pixel, not kept in registers
        f(i, sampled(parameters, again, part, pixel));
        pixel.next(again);
    }
}

// The number of the i-th piece's first pixel, of this warp.
__device__ int64_t first_of(const Part& part, int i) {
    return ((int64_t(part.number) * kPieces + i) * kWarps + int(threadIdx.x) / kWarp) * kPiece;
}

__device__ int pixels_of(const Parameters& parameters) { return parameters.rows * parameters.columns; }

#ifdef OUT

// ---- colours, noise, rectangles -------------------------------------------------------------------------------------

__device__ float clipped(float v) {
    if (is_integer<IN>) return __saturatef(v);
    v = v < 0.0f ? 0.0f : v;  // NaN stays
    return v > 1.0f ? 1.0f : v;
}

__device__ Color recolored(const Color& v, const Augmentation& drawn) {
    Color changed;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        float sum = drawn.offset[c];
#pragma unroll
        for (int k = 0; k < CHANNELS; ++k) sum = fmaf(drawn.color[3 * c + k], v.channel[k], sum);
        changed.channel[c] = clipped(sum);
    }
    return changed;
}

// What a warp changes: `count` values of each channel, kPiece apart, from pixel `first` of the image on.
struct Values {
    float* values;
    int first, count;
};

// Calls `f(i, j)` where word j of this lane's block is that of value i, for all that serve `count` samples from number
// `sample` on; `draw` makes the words of a block.
template <class Draw, class Put>
__device__ void for_draws(uint64_t sample, int count, const Draw& draw, const Put& put) {
    const int beside = int(sample % kChunk);  // samples of the first chunk that are not wanted
    const int blocks = divide_up(beside + count, kChunk) * kChunkBlocks;
#pragma unroll 1
    for (int block = int(threadIdx.x) % kWarp; block < blocks; block += kWarp) {
        const auto drawn = draw(sample / kChunk * kChunkBlocks + block);
        const int begin = block / kChunkBlocks * kChunk + block % kChunkBlocks - beside;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int i = begin + j * kChunkBlocks;
            if (unsigned(i) < unsigned(count)) put(i, drawn.word[j]);
        }
    }
}

__device__ void add_noise(const Values& piece, int channel, const Parameters& parameters, const Augmentation& drawn) {
#pragma unroll 1
    for (int c = 0; c < CHANNELS; ++c) {
        const auto normals = [&](uint64_t block) {
            PhiloxWords words = philox(block, 0, 0, drawn.noise_key);
            float numbers[4];
            normal_numbers(words, numbers);
#pragma unroll
            for (int j = 0; j < 4; ++j) words.word[j] = __float_as_uint(numbers[j]);
            return words;
        };
        float* const line = piece.values + c * kPiece;
        for_draws(uint64_t(channel + c) * pixels_of(parameters) + piece.first, piece.count, normals,
                  [&](int i, uint32_t bits) { line[i] = clipped(fmaf(drawn.noise, __uint_as_float(bits), line[i])); });
    }
}

__device__ void put_impulses(const Values& piece, const Work& work) {
    const auto words = [&](uint64_t block) { return philox(block, 0, 0, work.drawn.impulse_key); };
    for_draws(uint64_t(piece.first), piece.count, words, [&](int i, uint32_t bits) {
        const int word = int(bits >> 1);
        if (word > work.chosen) return;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) piece.values[c * kPiece + i] = word <= work.salted ? 1.0f : 0.0f;
    });
}

__device__ void fill_rectangles(const Values& piece, const Part& part, const Parameters& parameters) {
    const int columns = parameters.columns, lane = int(threadIdx.x) % kWarp;
    const int top = piece.first / columns, bottom = (piece.first + piece.count - 1) / columns;
#pragma unroll 1
    for (int k = 0; k < parameters.of_image; ++k) {
        const Rectangle r = parameters.rectangles[int64_t(part.slot) * parameters.of_image + k];
        if (bottom < r.top || top >= r.bottom) continue;
#pragma unroll 1
        for (int i = lane; i < piece.count; i += kWarp) {
            const int y = (piece.first + i) / columns, x = piece.first + i - y * columns;
            if (y < r.top || y >= r.bottom || x < r.left || x >= r.right) continue;
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
                piece.values[c * kPiece + i] = parameters.fill[k * parameters.channels + part.channel + c];
        }
    }
}

// ---- on the way out -------------------------------------------------------------------------------------------------

__device__ constexpr int kLength = 16 / int(sizeof(OUT));  // samples that are written at once

// n samples that lie side by side, of kStep channels in turn from channel `channel` on.
template <int kStep>
__device__ void write_run(OUT* to, const Values& piece, int n, const Work& work, int channel, bool in_pieces) {
    const int lane = int(threadIdx.x) % kWarp, whole = in_pieces ? n / kLength * kLength : 0;
#pragma unroll 1
    for (int begin = lane * kLength; begin < whole; begin += kWarp * kLength) {
        const float* from[kStep];
        float scale[kStep], offset[kStep];
#pragma unroll
        for (int i = 0; i < kStep; ++i) {
            const int pixel = (begin + i) / kStep, c = channel + (begin + i) % kStep;
            from[i] = piece.values + c * kPiece + pixel;
            scale[i] = work.scale[c];
            offset[i] = work.offset[c];
        }
        Pack<OUT, kLength> pack;
#pragma unroll
        for (int j = 0; j < kLength; ++j)
            pack.values[j] = from_float<OUT>(fmaf(from[j % kStep][j / kStep], scale[j % kStep], offset[j % kStep]));
        store_pack(to + begin, pack);
    }
#pragma unroll 1
    for (int i = whole + lane; i < n; i += kWarp) {
        const int c = channel + i % kStep;
        to[i] = from_float<OUT>(fmaf(piece.values[c * kPiece + i / kStep], work.scale[c], work.offset[c]));
    }
}

__device__ void write(const Values& piece, const Work& work, const Part& part, const Parameters& parameters) {
    const View<4>& result = parameters.result;
    OUT* const to = result.at<OUT>(work.image.number, 0, 0, part.channel);
    if (CHANNELS > 1 && parameters.layout == kInterleaved) {
        write_run<CHANNELS>(to + int64_t(piece.first) * CHANNELS, piece, piece.count * CHANNELS, work, 0,
                            parameters.in_pieces);
    } else if (parameters.layout == kByPlanes) {
#pragma unroll 1
        for (int c = 0; c < CHANNELS; ++c)
            write_run<1>(to + c * result.stride[3] + piece.first, piece, piece.count, work, c, parameters.in_pieces);
    } else {
#pragma unroll 1
        for (int i = int(threadIdx.x) % kWarp; i < piece.count; i += kWarp) {
            const int y = (piece.first + i) / parameters.columns, x = piece.first + i - y * parameters.columns;
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
                to[y * result.stride[1] + x * result.stride[2] + c * result.stride[3]] =
                    from_float<OUT>(fmaf(piece.values[c * kPiece + i], work.scale[c], work.offset[c]));
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) augment(const Parameters parameters) {
    __shared__ Work work;
    __shared__ float values[kWarps][CHANNELS * kPiece];
    const Part part = part_of(parameters);
    prepare(work, part, parameters);
    const Augmentation& drawn = work.drawn;
#pragma unroll 1
    for (int i = 0; i < kPieces; ++i) {
        const int64_t first = first_of(part, i);
        if (first >= pixels_of(parameters)) return;
        const Values piece = {values[threadIdx.x / kWarp], int(first), min(kPiece, pixels_of(parameters) - int(first))};
        for_all(parameters, work, part, piece.first, piece.count, [&](int at, Color color) {
            if (drawn.recolored) color = recolored(color, drawn);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) piece.values[c * kPiece + at] = color.channel[c];
        });
        __syncwarp();
        if (drawn.noise > 0) {
            add_noise(piece, part.channel, parameters, drawn);
            __syncwarp();
        }
        if (drawn.salt + drawn.pepper > 0) {
            put_impulses(piece, work);
            __syncwarp();
        }
        if (parameters.of_image > 0) {
            fill_rectangles(piece, part, parameters);
            __syncwarp();
        }
        write(piece, work, part, parameters);
        __syncwarp();
    }
}

#else
}  // namespace

// The pixels of images that are to be blurred.
extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) augment_gather(const Parameters parameters) {
    __shared__ Work work;
    const Part part = part_of(parameters);
    prepare(work, part, parameters);
    const int64_t pixels = pixels_of(parameters);
    float* const to = parameters.field + (int64_t(part.slot) * parameters.channels + part.channel) * pixels;
#pragma unroll 1
    for (int i = 0; i < kPieces; ++i) {
        const int64_t first = first_of(part, i);
        if (first >= pixels) return;
        for_all(parameters, work, part, int(first), min(kPiece, int(pixels - first)), [&](int at, const Color& color) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) to[c * pixels + first + at] = color.channel[c];
        });
    }
}

// Of the pixels of a part, where the mean is asked for.
extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) augment_sums(const Parameters parameters) {
    __shared__ Work work;
    __shared__ float of_warps[CHANNELS][kWarps];
    const Part part = part_of(parameters);
    if (!parameters.augmentations[part.slot].about_mean) return;  // the whole block
    prepare(work, part, parameters);
    float sums[CHANNELS] = {};
#pragma unroll 1
    for (int i = 0; i < kPieces; ++i) {
        const int64_t first = first_of(part, i), count = min(int64_t(kPiece), pixels_of(parameters) - first);
        if (count <= 0) break;
        for_all(parameters, work, part, int(first), int(count), [&](int, const Color& color) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) sums[c] += color.channel[c];
        });
    }
    __syncwarp();
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) sums[c] += __shfl_down_sync(kFullWarp, sums[c], lanes);
        if (threadIdx.x % kWarp == 0) of_warps[c][threadIdx.x / kWarp] = sums[c];
    }
    __syncthreads();
    if (threadIdx.x >= CHANNELS) return;
    float total = 0;
    for (int warp = 0; warp < kWarps; ++warp) total += of_warps[threadIdx.x][warp];
    parameters.sums[(int64_t(part.slot) * parameters.parts + part.number) * CHANNELS + threadIdx.x] = total;
}

#endif

#elif defined(AXES)

// ---- mixing ---------------------------------------------------------------------------------------------------------

__device__ constexpr int kMostAxes = 3;

struct Mixing {
    View<kMostAxes> images;  // of the first; rows, columns and channels, merged
    int64_t shape[kMostAxes];
    int64_t samples;   // of an image
    int64_t distance;  // of images
    const float* weights;
    int32_t count;      // of images
    int32_t in_pieces;  // whether samples lie side by side, aligned
};

__device__ constexpr int kLength = 4;  // samples that are read at once
__device__ constexpr int kAhead = 4;   // images that are read before one is written, so that bytes enough are under way

template <int N>
__device__ void mix(IN* last, const Mixing& mixing) {  // N samples of the last image, and of all
    const int64_t distance = mixing.distance;
    const Pack<IN, N> kept = load_pack<N>(last);
    Pack<IN, N> own = kept;
#pragma unroll 1
    for (int begin = mixing.count - 1; begin >= 0; begin -= kAhead, last -= kAhead * distance) {
        Pack<IN, N> before[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) before[i] = begin - i > 0 ? load_pack<N>(last - (i + 1) * distance) : kept;
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            if (begin - i < 0) break;
            const float weight = mixing.weights[begin - i];
            if (weight != 1.0f) {
                Pack<IN, N> mixed;
#pragma unroll
                for (int k = 0; k < N; ++k) {
                    const float a = to_float(before[i].values[k]);
                    mixed.values[k] = from_float<IN>(fmaf(weight, to_float(own.values[k]) - a, a));
                }
                store_pack(last - i * distance, mixed);
            }
            own = before[i];
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) augment_mix(const Mixing mixing) {
    const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    IN* const last = static_cast<IN*>(mixing.images.data) + (mixing.count - 1) * mixing.distance;
    if (mixing.in_pieces) {
        if (thread * kLength < mixing.samples) mix<kLength>(last + thread * kLength, mixing);
    } else if (thread < mixing.samples) {
        mix<1>(last + offset_of<AXES>(thread, mixing.shape, mixing.images.stride), mixing);
    }
}

#else

// ---- the mean -------------------------------------------------------------------------------------------------------

}  // namespace

// Of the sums of an image's parts the offset of its colours: a block to an image, a warp to a channel.
extern "C" __global__ void __launch_bounds__(3 * kWarp) augment_offsets(const Parameters parameters) {
    __shared__ float mean[3];
    const Augmentation& drawn = parameters.augmentations[blockIdx.x];
    if (!drawn.about_mean) return;  // the whole block
    const int c = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, channels = parameters.channels;
    const float* const sums = parameters.sums + int64_t(blockIdx.x) * parameters.parts * channels;
    double sum = 0;
    if (c < channels)
        for (int part = lane; part < parameters.parts; part += kWarp) sum += double(sums[part * channels + c]);
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) sum += __shfl_down_sync(kFullWarp, sum, lanes);
    if (lane == 0) mean[c] = float(sum / (double(parameters.rows) * parameters.columns));
    __syncthreads();
    if (threadIdx.x >= 3) return;
    float offset = drawn.offset[threadIdx.x];
    for (int k = 0; k < 3; ++k) offset = fmaf(drawn.mean_color[3 * threadIdx.x + k], mean[k], offset);
    parameters.offsets[3 * blockIdx.x + threadIdx.x] = offset;
}

// ---- blur -----------------------------------------------------------------------------------------------------------

namespace {

__device__ constexpr int kBlurRows = 8;
__device__ constexpr int kMostRadius = 400;

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) augment_blur(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(float, middle);  // [kBlurRows][pitch]
    __shared__ float tap[2 * (kMostRadius + kBlurRows)];
    __shared__ float total;
    const int rows = parameters.rows, columns = parameters.columns, thread = int(threadIdx.x);
    const int across = divide_up(columns, kThreads), down = divide_up(rows, kBlurRows);
    const int plane = int(blockIdx.x) / (across * down), tile = int(blockIdx.x) % (across * down);
    const float sigma = parameters.augmentations[plane / parameters.channels].blur;
    const int radius = int(4 * double(sigma) + 0.5);
    const int left = tile % across * kThreads, top = tile / across * kBlurRows;

    // Taps, with zeros on both sides, so that a row that counts for none of some sums is added like others.
    const int taps = 2 * radius + 1, first = kBlurRows - 1;
    float sum = 0;
    for (int i = thread; i < taps + 2 * first; i += kThreads) {
        const float distance = float(i - first - radius) / sigma;
        const float value =
            fabsf(float(i - first - radius)) <= float(radius) ? expf(-0.5f * distance * distance) : 0.0f;
        tap[i] = value;
        sum += value;
    }
    sum = sum_of_block(sum);
    if (thread == 0) total = 1 / sum;
    __syncthreads();
    const float normalised = total;

    const int width = min(kThreads, columns - left), pitch = kThreads + 2 * parameters.most_radius;
    const int64_t offset = int64_t(plane) * rows * columns;
#pragma unroll 1
    for (int i = thread; i < width + 2 * radius; i += kThreads) {
        const float* const from = parameters.field + offset + border_index(left + i - radius, columns, kMirror);
        float sums[kBlurRows] = {}, window[kBlurRows] = {};  // taps that the row has for each of the sums
#pragma unroll 4
        for (int j = 0; j < taps + first; ++j) {
#pragma unroll
            for (int k = kBlurRows - 1; k > 0; --k) window[k] = window[k - 1];
            window[0] = tap[first + j];
            const float value = from[int64_t(border_index(top + j - radius, rows, kMirror)) * columns];
#pragma unroll
            for (int k = 0; k < kBlurRows; ++k) sums[k] = fmaf(window[k], value, sums[k]);
        }
#pragma unroll
        for (int k = 0; k < kBlurRows; ++k) middle[k * pitch + i] = sums[k] * normalised;
    }
    __syncthreads();
    if (thread >= width) return;
    float sums[kBlurRows] = {};
#pragma unroll 2
    for (int j = 0; j < taps; ++j) {
        const float weight = tap[first + j];
#pragma unroll
        for (int k = 0; k < kBlurRows; ++k) sums[k] = fmaf(weight, middle[k * pitch + thread + j], sums[k]);
    }
    for (int k = 0; k < kBlurRows && top + k < rows; ++k)
        parameters.blurred[offset + int64_t(top + k) * columns + left + thread] = sums[k] * normalised;
}

#endif
