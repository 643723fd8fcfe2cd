// Non-local means: csrc/cpu/denoise_nl_means.hpp has the formula. One launch, no memory beside the image and the
// result.
//
// Samples are scaled such that the sum of a patch's squared differences is the logarithm of the weight to base 1/2: a
// weight takes one comparison with the cutoff and one ex2.
//
// denoise_nl_means_strips, for patches up to 16 wide and up to three channels. A thread owns a strip of ROWS x COLUMNS
// pixels; a warp lies across the image, the block's warps below each other. The samples under the patches of a thread's
// pixels, p, and the sums of its results stay in registers from the first offset to the last. The block keeps the
// samples that a span of offsets needs in shared memory; for each dx a thread runs through dy with its window q on
// them, in registers too: the next dy needs one new row. For each offset
//
//   sum_over_rows      squared differences, summed over P rows by suffixes and prefixes of groups of P rows (van Herk;
//                      Gil and Werman): no subtraction, so no drift, and a NaN stays where it is
//   sum_over_columns   sums over P columns, from parts of sums that neighbouring lanes pass on by shuffles
//   add_weighed        the weight, and what it weighs
//
// Instructions of sm_90 per pixel and offset for patches of 6 x 6 and one channel, in strips of 5 x 4:
//
//   squared differences 4.0, sums over rows 0.8, over columns 2.5 and 1.25 shuffles, weight 2, results 2, samples from
//   shared memory 0.2, moves of the window 0.8 (every third offset), loops 0.3: together 13.9 (14.9 with an excess)
//
// Their issue is the limit: 3.5 cycles of an SM for 32 pixels, beside 1.5 of shared memory for loads and shuffles and 2
// of ex2. 30 of 32 lanes have results. 168 registers: 12 warps to an SM. Device memory: a block of 20 x 120 pixels
// reads 47 x 151 samples once for 23 x 24 offsets, against some 6000 instructions a pixel. Weights are symmetric, w(p,
// q) = w(q, p), but to use each twice takes three accesses to shared memory, barriers, and weights for a margin of half
// the search: 21 instructions a pair in place of 28 before any stall, for twice the code.
//
// PACKED: from uint8 to uint8 a register holds two pixels as halves, in which the same work is done; a column of
// offsets is summed in halves, all columns in floats. 8.8 instructions per pixel and offset, 8 of the cycles in which a
// scheduler could issue one go to ex2. Halves have 11 bits: means are off by some hundredths of a level. Where a sum
// overflows it is infinite, and weighs nothing.
//
// denoise_nl_means_any, for all other patches and channels: a block has 64 x 64 pixels and, offset after offset, sums
// over rows into shared memory, from there over columns to weights, and adds partners up, for three channels at a time.
// A patch of any size costs a few additions; larger ones have more margin around the block, which costs three times as
// much at 127 as at 17.
//
// Macros: IN, OUT (types of samples); STRIPS (1 or 0: which kernel); EXCESS (1 where there is one to subtract). For
// strips PACKED, CHANNELS, BEFORE and AFTER (of the patch), COLUMNS, ROWS, STEPS (offsets between moves of the window),
// SPAN_Y and SPAN_X (offsets that a tile serves), MIN_BLOCKS (to an SM).
#include "support/border.cuh"
#include "support/half2.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

struct Parameters {
    View<3> image, result;  // rows, columns, channels
    int32_t rows, columns, channels;
    int32_t tiles_across;
    int32_t patch_before, patch_after, distance;
    float to_units;    // from samples to what squares are taken of
    float from_units;  // and back, times the gain
    float gain;
    float excess, cutoff;  // of a sum of squares; strips take the excess from every column of a patch: a P-th of it
};

__device__ int mirrored(int i, int n) { return border_index(i, n, kMirror); }

__device__ float sample_at(const Parameters& parameters, int y, int x, int channel) {
    return to_float(*parameters.image.at<const IN>(y, x, channel));
}

__device__ void store_at(const Parameters& parameters, int y, int x, int channel, float value) {
    *parameters.result.at<OUT>(y, x, channel) = from_float<OUT>(value);
}

#if STRIPS

__device__ constexpr int kWarps = 4;
__device__ constexpr int kThreads = kWarps * kWarp;
__device__ constexpr int kPatch = BEFORE + AFTER + 1;
__device__ constexpr int kColumns = COLUMNS;                   // of a thread
__device__ constexpr int kRows = ROWS;                         // of a thread
__device__ constexpr int kWindow = kRows + kPatch - 1;         // rows under the patches of a thread's pixels
__device__ constexpr int kLeft = divide_up(BEFORE, kColumns);  // lanes at the left whose patches are not whole
__device__ constexpr int kRight = divide_up(AFTER, kColumns);  // and at the right
__device__ constexpr int kLanes = kWarp - kLeft - kRight;      // with results
__device__ constexpr int kPhase = kWarp + divide_up(SPAN_X, kColumns);
__device__ constexpr int kPitch = kPhase * kColumns;
__device__ constexpr int kTileRows = kWarps * kRows + kPatch - 1 + SPAN_Y - 1;

// What registers and the tile hold: a value of one pixel, or those of two in halves, the second kBelow rows below the
// first.
__device__ constexpr int kPixels = PACKED ? 2 : 1;
__device__ constexpr int kBelow = kWarps * kRows;
__device__ constexpr float kMiddle = PACKED ? 128.0f : 0.0f;  // taken from samples, so that halves are more exact
#if PACKED
typedef half2 Word;
__device__ Word word_of(float first, float second) { return pack_half2(first, second); }
__device__ float first_of(Word word) { return low_float(word); }
__device__ float second_of(Word word) { return high_float(word); }
#else
typedef float Word;
__device__ Word word_of(float first, float) { return first; }
__device__ float first_of(Word word) { return word; }
__device__ float add(float a, float b) { return a + b; }
__device__ float subtract(float a, float b) { return a - b; }
__device__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ float negative(float x) { return -x; }
#endif

typedef Word Samples[CHANNELS][kColumns];  // of one row of a strip

// The samples that a block needs for a span of offsets. Column x of a row stands at place x / COLUMNS of phase
// x % COLUMNS, so that lanes, which step by COLUMNS, find theirs side by side at any offset.
struct Tile {
    Word samples[CHANNELS][kTileRows][kPitch];
};

__device__ int place_of(int column) { return column % kColumns * kPhase + column / kColumns; }

__device__ bool is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }

// The samples of a pixel, and of the one below, which may lie outside the image.
__device__ Word word_at(const Parameters& parameters, int y, int x, int channel) {
    const auto value = [&](int row) {
        return (sample_at(parameters, mirrored(row, parameters.rows), x, channel) - kMiddle) * parameters.to_units;
    };
    return word_of(value(y), PACKED ? value(y + kBelow) : 0.0f);
}

// Loads `rows` x `columns` samples, the first at a row and column of the image. True if what this thread saw is finite.
__device__ bool load_tile(Tile& tile, const Parameters& parameters, int top, int left, int rows, int columns) {
    bool finite = true;
    const int lane = threadIdx.x % kWarp;
    for (int row = threadIdx.x / kWarp; row < rows; row += kWarps) {
        const int y = mirrored(top + row, parameters.rows);
#pragma unroll
        for (int first = 0; first < kPitch; first += kWarp) {
            const int column = first + lane;
            if (column >= columns) continue;
            const int x = mirrored(left + column, parameters.columns);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                if constexpr (!is_integer<IN>) finite = finite && is_finite(sample_at(parameters, y, x, c));
                tile.samples[c][row][place_of(column)] = word_at(parameters, top + row, x, c);
            }
        }
    }
    return finite;
}

// A sum minus the squared difference of two rows' samples in column k. Sums are negative: ex2 takes them as they are.
__device__ Word minus_square(Word sum, const Samples& p, const Samples& q, int k) {
    Word squares = CHANNELS == 1 ? sum : Word{};
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        const Word difference = subtract(q[c][k], p[c][k]);
        squares = multiply_add(negative(difference), difference, squares);
    }
    return CHANNELS == 1 ? squares : add(sum, squares);
}

// sums[r] = start - squared differences of rows r .. r + P-1 of column k: a suffix of a group of P rows and a prefix of
// the next.
__device__ void sum_over_rows(Word (&sums)[kRows][kColumns], const Samples (&p)[kWindow], const Samples* q, int k,
                              Word start) {
#pragma unroll
    for (int group = 0; group < kRows; group += kPatch) {
        Word suffix = start, prefix = {};
#pragma unroll
        for (int row = group + kPatch - 1; row >= group; --row) {
            suffix = minus_square(suffix, p[row], q[row], k);
            if (row < kRows) sums[row][k] = suffix;
        }
#pragma unroll
        for (int row = group + 1; row < min(group + kPatch, kRows); ++row) {
            prefix = minus_square(prefix, p[row + kPatch - 1], q[row + kPatch - 1], k);
            sums[row][k] = add(sums[row][k], prefix);
        }
    }
}

// sums[j] = sum of the values of columns j - BEFORE .. j + AFTER, some of which are those of other lanes.
__device__ void sum_over_columns(Word (&sums)[kColumns], const Word (&values)[kColumns]) {
    Word from_first[kColumns], to_last[kColumns];  // sums of this lane's columns: 0 .. k and k .. COLUMNS-1
    from_first[0] = values[0];
    to_last[kColumns - 1] = values[kColumns - 1];
#pragma unroll
    for (int k = 1; k < kColumns; ++k) {
        from_first[k] = add(from_first[k - 1], values[k]);
        to_last[kColumns - 1 - k] = add(values[kColumns - 1 - k], to_last[kColumns - k]);
    }
    to_last[0] = from_first[kColumns - 1];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
        const int first = max(j - BEFORE, 0), last = min(j + AFTER, kColumns - 1);
        sums[j] = first == 0 ? from_first[last] : last == kColumns - 1 ? to_last[first] : values[first];
        if (first == 0 || last == kColumns - 1) continue;
#pragma unroll
        for (int k = first + 1; k <= last; ++k) sums[j] = add(sums[j], values[k]);
    }
#pragma unroll
    for (int lanes = 1; lanes <= kRight; ++lanes) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
            // Patches of pixels j that end at column k of that lane, or beyond the lane.
            const int ends_at_k = lanes * kColumns + k - AFTER;
            const int least = max(ends_at_k, 0), most = min(k == kColumns - 1 ? k : ends_at_k, kColumns - 1);
            if (least > most) continue;
            const Word part = bits_as<Word>(__shfl_down_sync(kFullWarp, bits_as<uint32_t>(from_first[k]), lanes));
#pragma unroll
            for (int j = least; j <= most; ++j) sums[j] = add(sums[j], part);
        }
    }
#pragma unroll
    for (int lanes = 1; lanes <= kLeft; ++lanes) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
            // Patches that begin at column k of that lane, or before the lane.
            const int begins_at_k = k - lanes * kColumns + BEFORE;
            const int least = max(k == 0 ? 0 : begins_at_k, 0), most = min(begins_at_k, kColumns - 1);
            if (least > most) continue;
            const Word part = bits_as<Word>(__shfl_up_sync(kFullWarp, bits_as<uint32_t>(to_last[k]), lanes));
#pragma unroll
            for (int j = least; j <= most; ++j) sums[j] = add(sums[j], part);
        }
    }
}

// Sums over offsets for the pixels of a strip.
template <class T>
struct Sums {
    T values[kRows][CHANNELS][kColumns];
    T weights[kRows][kColumns];
};

// Adds a partner to the sums of pixel k of row r; its weight is given by its logarithm.
__device__ void add_weighed(Sums<Word>& sums, int r, int k, Word logarithm, const Samples& partner,
                            const Parameters& parameters) {
#if PACKED
    const Word counts = at_least(logarithm, broadcast_half2(-parameters.cutoff));
    if constexpr (EXCESS) logarithm = smaller(logarithm, Word{});
    const Word weight = multiply(power_of_two(logarithm), counts);
    sums.weights[r][k] = add(sums.weights[r][k], weight);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) sums.values[r][c][k] = multiply_add(weight, partner[c][k], sums.values[r][c][k]);
#else
    const bool counts = logarithm >= -parameters.cutoff;  // not where it is NaN
    const float weight = exp2f(EXCESS ? fminf(logarithm, 0.0f) : logarithm);
    if (counts) sums.weights[r][k] += weight;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
        if (counts) sums.values[r][c][k] = fmaf(weight, partner[c][k], sums.values[r][c][k]);
#endif
}

// Adds one offset; p and q are the samples under the patches of the strip's pixels and of their partners.
__device__ void add_offset(Sums<Word>& sums, const Samples (&p)[kWindow], const Samples* q,
                           const Parameters& parameters) {
    Word over_rows[kRows][kColumns], start = {};
    if constexpr (EXCESS) start = word_of(parameters.excess, parameters.excess);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) sum_over_rows(over_rows, p, q, k, start);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        Word logarithms[kColumns];
        sum_over_columns(logarithms, over_rows[r]);
#pragma unroll
        for (int k = 0; k < kColumns; ++k) add_weighed(sums, r, k, logarithms[k], q[r + BEFORE], parameters);
    }
}

#if PACKED
// Adds what halves have gathered.
__device__ void add_halves(Sums<float> (&totals)[kPixels], const Sums<half2>& sums) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
            totals[0].weights[r][k] += first_of(sums.weights[r][k]);
            totals[1].weights[r][k] += second_of(sums.weights[r][k]);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                totals[0].values[r][c][k] += first_of(sums.values[r][c][k]);
                totals[1].values[r][c][k] += second_of(sums.values[r][c][k]);
            }
        }
    }
}
#endif

// Adds the `down` x `across` offsets that the tile serves.
__device__ void add_offsets(Sums<float> (&totals)[kPixels], const Samples (&p)[kWindow], const Tile& tile, int down,
                            int across, const Parameters& parameters) {
    const int lane = threadIdx.x % kWarp, top = threadIdx.x / kWarp * kRows;
    for (int dx = 0; dx < across; ++dx) {
        const Word* column[kColumns];
#pragma unroll
        for (int k = 0; k < kColumns; ++k) column[k] = &tile.samples[0][top][lane + place_of(k + dx)];
        const auto load_row = [&](Samples& samples, int row) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
                for (int k = 0; k < kColumns; ++k) samples[c][k] = column[k][(c * kTileRows + row) * kPitch];
            }
        };
#if PACKED
        Sums<half2> sums = {};  // of a column of offsets: in more of them halves would lose too much
#else
        Sums<float>& sums = totals[0];
#endif
        Samples q[kWindow + STEPS - 1];
#pragma unroll
        for (int row = 0; row < kWindow - 1; ++row) load_row(q[row], row);
        for (int dy = 0; dy < down; dy += STEPS) {
#pragma unroll
            for (int step = 0; step < STEPS; ++step) {
                if (dy + step >= down) break;
                load_row(q[kWindow - 1 + step], kWindow - 1 + step);
                add_offset(sums, p, q + step, parameters);
            }
#pragma unroll
            for (int row = 0; row < kWindow - 1; ++row) {
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
                    for (int k = 0; k < kColumns; ++k) q[row][c][k] = q[row + STEPS][c][k];
                }
            }
#pragma unroll
            for (int k = 0; k < kColumns; ++k) column[k] += STEPS * kPitch;
        }
#if PACKED
        add_halves(totals, sums);
#endif
    }
}

// Where a sample in the search window is not finite, so is the result, though its weight is 0.
__device__ void add_non_finite(Sums<float>& sums, const Tile& tile, int down, int across) {
    const int lane = threadIdx.x % kWarp, top = threadIdx.x / kWarp * kRows + BEFORE;
    for (int dy = 0; dy < down; ++dy) {
        for (int dx = 0; dx < across; ++dx) {
#pragma unroll
            for (int k = 0; k < kColumns; ++k) {
                const int place = lane + place_of(k + dx);
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
#pragma unroll
                    for (int c = 0; c < CHANNELS; ++c)
                        sums.values[r][c][k] += 0.0f * first_of(tile.samples[c][top + r + dy][place]);
                }
            }
        }
    }
}

// Rows of the result from `top` on.
__device__ void store_means(const Sums<float>& sums, int top, int left, const Parameters& parameters) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
            const int y = top + r, x = left + k;
            if (y >= parameters.rows || x >= parameters.columns) continue;
            const float weights = sums.weights[r][k];
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                const float values = sums.values[r][c][k];
                const float mean = values / weights * parameters.from_units + kMiddle * parameters.gain;
                const float itself = (sample_at(parameters, y, x, c) + values) * parameters.gain;
                store_at(parameters, y, x, c, weights > 0.0f ? mean : itself);
            }
        }
    }
}

#else

__device__ constexpr int kThreads = 512;
__device__ constexpr int kSide = 64;                             // of a block's square of pixels
__device__ constexpr int kPerThread = kSide * kSide / kThreads;  // pixels
__device__ constexpr int kRun = 8;                               // neighbours in a row that a thread weighs
__device__ constexpr int kChannels = 3;                          // that a block gathers

// sums[r][x] = squared differences of the P rows under the patches of row r of the block, for the columns under them.
// A thread has a column of a group of P rows: suffixes of the group, then prefixes of the next.
__device__ void sum_over_rows(float* sums, int pitch, int patch, int top, int left, int dy, int dx,
                              const Parameters& parameters) {
    const int columns = kSide + patch - 1;
    const int count = divide_up(kSide, patch) * columns;
    for (int i = threadIdx.x; i < count; i += kThreads) {
        const int column = i % columns, group = i / columns * patch;
        const int x = mirrored(left + column, parameters.columns);
        const int partner_x = mirrored(left + column + dx, parameters.columns);
        const auto with_square = [&](float sum, int row) {
            const int y = mirrored(top + row, parameters.rows), partner_y = mirrored(top + row + dy, parameters.rows);
            for (int c = 0; c < parameters.channels; ++c) {
                const float difference =
                    (sample_at(parameters, partner_y, partner_x, c) - sample_at(parameters, y, x, c)) *
                    parameters.to_units;
                sum = fmaf(difference, difference, sum);
            }
            return sum;
        };
        float suffix = 0.0f, prefix = 0.0f;
        for (int row = group + patch - 1; row >= group; --row) {
            suffix = with_square(suffix, row);
            if (row < kSide) sums[row * pitch + column] = suffix;
        }
        for (int row = group + 1; row < min(group + patch, kSide); ++row) {
            prefix = with_square(prefix, row + patch - 1);
            sums[row * pitch + column] += prefix;
        }
    }
}

// sums[j] = values[j] + .. + values[j + P-1].
__device__ void sum_over_columns(float (&sums)[kRun], const float* values, int patch) {
#pragma unroll
    for (int j = 0; j < kRun; ++j) sums[j] = 0.0f;
    if (patch < kRun) {
        for (int k = 0; k < patch; ++k) {
#pragma unroll
            for (int j = 0; j < kRun; ++j) sums[j] += values[k + j];
        }
        return;
    }
    float suffix = 0.0f, prefix = 0.0f;
    for (int k = kRun - 1; k < patch; ++k) suffix += values[k];  // what all have in common
#pragma unroll
    for (int j = kRun - 1; j >= 0; --j) {
        if (j < kRun - 1) suffix += values[j];
        sums[j] = suffix;
    }
#pragma unroll
    for (int j = 1; j < kRun; ++j) {
        prefix += values[patch + j - 1];
        sums[j] += prefix;
    }
}

__device__ float weight_of(float sum_of_squares, const Parameters& parameters) {
    const float d = EXCESS ? sum_of_squares - parameters.excess : sum_of_squares;
    return d <= parameters.cutoff ? exp2f(-fmaxf(d, 0.0f)) : 0.0f;
}

// In place of sums, weights: those of a row's pixels at its beginning. Lanes have a row each, warps a run of columns.
__device__ void weigh(float* sums, int pitch, int patch, const Parameters& parameters) {
    const int warp = threadIdx.x / kWarp, run = warp % (kSide / kRun);
    const int row = warp / (kSide / kRun) * kWarp + threadIdx.x % kWarp;
    float* const values = sums + row * pitch + run * kRun;
    float weights[kRun];
    sum_over_columns(weights, values, patch);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kRun; ++j) values[j] = weight_of(weights[j], parameters);
}

#endif

}  // namespace

#if STRIPS
extern "C" __global__ void __launch_bounds__(kThreads, MIN_BLOCKS)
    denoise_nl_means_strips(const Parameters parameters) {
    __shared__ Tile tile;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int block_top = int(blockIdx.x / parameters.tiles_across) * (kPixels * kBelow);
    const int block_left = int(blockIdx.x % parameters.tiles_across) * (kLanes * kColumns) - kLeft * kColumns;
    const int top = block_top + warp * kRows, left = block_left + lane * kColumns;

    Samples p[kWindow];
#pragma unroll
    for (int r = 0; r < kWindow; ++r) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
            const int x = mirrored(left + k, parameters.columns);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) p[r][c][k] = word_at(parameters, top + r - BEFORE, x, c);
        }
    }

    Sums<float> totals[kPixels] = {};
    const int offsets = 2 * parameters.distance + 1;
    for (int dy = 0; dy < offsets; dy += SPAN_Y) {
        for (int dx = 0; dx < offsets; dx += SPAN_X) {
            const int down = min(SPAN_Y, offsets - dy), across = min(SPAN_X, offsets - dx);
            const bool finite = load_tile(tile, parameters, block_top - BEFORE - parameters.distance + dy,
                                          block_left - parameters.distance + dx, kTileRows - SPAN_Y + down,
                                          kWarp * kColumns + across - 1);
            const bool all_finite = __syncthreads_and(finite);
            add_offsets(totals, p, tile, down, across, parameters);
            if (!is_integer<IN> && !all_finite) add_non_finite(totals[0], tile, down, across);
            __syncthreads();
        }
    }

    if (lane < kLeft || lane >= kWarp - kRight) return;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) store_means(totals[i], top + i * kBelow, left, parameters);
}
#else
extern "C" __global__ void __launch_bounds__(kThreads, 1) denoise_nl_means_any(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(float, sums);
    const int patch = parameters.patch_before + parameters.patch_after + 1;
    const int pitch = (kSide + patch - 1) | 1;  // odd: lanes that have a row each meet no bank twice
    const int top = int(blockIdx.x / parameters.tiles_across) * kSide;
    const int left = int(blockIdx.x % parameters.tiles_across) * kSide;
    const int first_channel = int(blockIdx.y) * kChannels;
    const int channels = min(kChannels, parameters.channels - first_channel);
    const int column = threadIdx.x % kSide, first_row = threadIdx.x / kSide, step = kThreads / kSide;
    const int x = mirrored(left + column, parameters.columns);

    float values[kPerThread][kChannels] = {}, weights[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const int y = mirrored(top + first_row + i * step, parameters.rows);
        weights[i] = 1.0f;
#pragma unroll
        for (int c = 0; c < kChannels; ++c)
            if (c < channels) values[i][c] = sample_at(parameters, y, x, first_channel + c);
    }

    for (int dy = -parameters.distance; dy <= parameters.distance; ++dy) {
        for (int dx = -parameters.distance; dx <= parameters.distance; ++dx) {
            if (dy == 0 && dx == 0) continue;
            __syncthreads();
            sum_over_rows(sums, pitch, patch, top - parameters.patch_before, left - parameters.patch_before, dy, dx,
                          parameters);
            __syncthreads();
            weigh(sums, pitch, patch, parameters);
            __syncthreads();
            const int partner_x = mirrored(left + column + dx, parameters.columns);
#pragma unroll
            for (int i = 0; i < kPerThread; ++i) {
                const int row = first_row + i * step;
                const int y = mirrored(top + row + dy, parameters.rows);
                const float weight = sums[row * pitch + column];
                weights[i] += weight;
#pragma unroll
                for (int c = 0; c < kChannels; ++c)
                    if (c < channels)
                        values[i][c] =
                            fmaf(weight, sample_at(parameters, y, partner_x, first_channel + c), values[i][c]);
            }
        }
    }

#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const int y = top + first_row + i * step;
        if (y >= parameters.rows || left + column >= parameters.columns) continue;
#pragma unroll
        for (int c = 0; c < kChannels; ++c)
            if (c < channels)
                store_at(parameters, y, x, first_channel + c, values[i][c] / weights[i] * parameters.gain);
    }
}
#endif
