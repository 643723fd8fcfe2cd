// Non-local means: csrc/cpu/denoise_nl_means.hpp has the formula. One launch, no memory beside the images and the
// result. A block has a part of one plane; the planes that it searches come one after another.
//
// denoise_nl_means_strips: for plain patches within a plane, up to 16 wide, up to three channels, exponential weights,
// and a search in the mirror image too. Samples are scaled such that the sum of a patch's squared differences is the
// logarithm of the weight to base 1/2: a weight takes one comparison with the cutoff and one ex2. A thread owns a strip
// of ROWS x COLUMNS pixels; a warp lies across the image, the block's warps below each other. The samples under the
// patches of a thread's pixels, p, and the sums of its results stay in registers from the first offset to the last, on
// whatever plane. The block keeps the samples that a span of offsets needs in shared memory; for each dx a thread runs
// through dy with its window q on them, in registers too: the next dy needs one new row. For each offset
//
//   sum_over_rows      squared differences, summed over P rows by suffixes and prefixes of groups of P rows (van Herk;
//                      Gil and Werman): no subtraction, so no drift, and a NaN stays where it is
//   sum_over_columns   sums over P columns, from parts of sums that neighbouring lanes pass on by shuffles
//   add_weighed        the weight, and what it weighs
//
// Instructions of sm_90 per pixel and offset for patches of 6 x 6 and one channel, in strips of 5 x 4:
//
//   squared differences 4.0, sums over rows 0.8, over columns 2.5 and 1.25 shuffles, weight 2, results 2, samples from
//   shared memory 0.2, moves of the window 0.9 (every third offset), loops 0.4: together 14.1 (15.1 with an excess)
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
// denoise_nl_means_any: for everything else. A block has 64 x 64 pixels, a thread 8 of them below each other, whose
// sums stay in registers. For each offset
//
//   find_squares       squared differences, summed over the channels of the guide and the planes under a patch, for all
//                      pixels under the patches of the block: each is found once, into shared memory
//   sum_over_columns   sums over P columns, by a thread for 8 neighbours in a row, into shared memory
//   add_partners       sums over P rows, for a thread's own pixels; their weights, and what these weigh
//
// with a barrier after each of the first two. Images are read through L1, in any layout; borders are settled by tables
// of offsets in shared memory, which are made anew for each row that is searched. Sums are suffixes and prefixes as
// above, or products with taps, in which a thread's 8 sums share what they read.
//
// Instructions of sm_90 per pixel and offset for patches of 6 x 6 and one channel: squares 20.7 (1.16 for each pixel,
// 13 each, the rest to begin), sums over columns 8.6, partners 21.7 (sums over rows 4.5, weights 7, results 2, loads
// and addresses 8): together 51. A plane more under the patch costs 14, a channel more 15; taps, for a patch of 7 x 7,
// 15. 64 registers: 32 warps to an SM; up to 128, for more channels and whatever else is kept for each pixel: 16. Where
// 64 KiB do not hold the squares under all patches of the block, from P = 34 on, they come in BANDs of rows.
//
// Macros: STRIPS (1 or 0: which kernel); IN, OUT (types of samples); CHANNELS (that a thread sums up); BEFORE and AFTER
// (of the patch); MIN_BLOCKS (to an SM). For strips PACKED, EXCESS (1 where there is one to subtract), COLUMNS, ROWS,
// STEPS (offsets between moves of the window), SPAN_Y and SPAN_X (offsets that a tile serves). For any GUIDE (type of
// its samples), GUIDE_CHANNELS (0: known at run time), BAND; and 1 or 0: OUTER0, OUTER1 (patches reach along an outer
// axis), TAPS (they have taps), MAPS (pixels have scales or excesses of their own), WELSCH (weights are exponential),
// CENTRE (a pixel's own weight follows from the others'), TRUNCATED (the search ends at the borders of a plane), FUNCTION
// (weights are those of a function that is linked in).
#include "support/border.cuh"
#include "support/half2.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

// What a distance weighs, at least 0; compiled by Numba.
extern "C" __device__ float fastimg_weight(float distance, const double* parameters);

namespace {

__device__ constexpr int kMostTaps = 127, kMostOfFunction = 28;

// The planes of the image along an outer axis, and the search along it.
struct OuterAxis {
    int32_t planes, distance, truncated;
};

struct Parameters {
    View<5> image, guide, result;  // outer, outer, rows, columns, channels
    View<4> h, sigma;              // outer, outer, rows, columns, the planes those of the result; absent: no data
    OuterAxis outer[2];
    int32_t first_plane, result_planes;  // along the second outer axis
    int32_t rows, columns, channels, guide_channels;
    int32_t tiles, tiles_across;  // of a plane
    int32_t distance;
    int32_t halves_h, halves_sigma;  // whether the maps are halves, not floats
    int32_t squarings;               // of max(0, 1 - t)
    float to_units;                  // strips: from samples to what squares are taken of
    float from_units;                // and back, times the gain
    float gain;
    float excess;  // of a sum of squares; strips take it from every column of a patch: a P-th of it
    float cutoff;  // of the rest; where a patch has taps or a pixel its own scale, of the rest times the scale
    float scale, centre;
    float taps[kMostTaps];
#if FUNCTION
    double of_function[kMostOfFunction];
#endif
};

__device__ int mirrored(int i, int n) { return border_index(i, n, kMirror); }

// The plane that a block denoises, along each outer axis, and the steps from it to the one that it searches. They are
// computed anew wherever they are wanted: registers are for sums.
struct Planes {
    int own[2], step[2];
};

__device__ Planes planes_of_block(const Parameters& parameters) {
    const int plane = opaque(int(blockIdx.x)) / parameters.tiles;
    return {{plane / parameters.result_planes, parameters.first_plane + plane % parameters.result_planes}, {}};
}

__device__ int steps(const OuterAxis& axis) { return 2 * axis.distance + 1; }

// Steps to the i-th of the planes that are searched; false where the search has ended before it.
__device__ bool step_to(Planes& planes, int i, const Parameters& parameters) {
    const int along_second = steps(parameters.outer[1]);
    planes.step[0] = i / along_second - parameters.outer[0].distance;
    planes.step[1] = i % along_second - parameters.outer[1].distance;
    bool takes_part = true;
    for (int axis = 0; axis < 2; ++axis) {
        const OuterAxis& outer = parameters.outer[axis];
        if (outer.truncated && unsigned(planes.own[axis] + planes.step[axis]) >= unsigned(outer.planes))
            takes_part = false;
    }
    return takes_part;
}

// The plane of the image that is searched.
__device__ const IN* plane_of(const Planes& planes, const Parameters& parameters) {
    return parameters.image.at<const IN>(mirrored(planes.own[0] + planes.step[0], parameters.outer[0].planes),
                                         mirrored(planes.own[1] + planes.step[1], parameters.outer[1].planes));
}

__device__ float sample_at(const IN* plane, int y, int x, int channel, const Parameters& parameters) {
    const int64_t* const stride = parameters.image.stride + 2;
    return to_float(plane[y * stride[0] + x * stride[1] + channel * stride[2]]);
}

__device__ void store_at(const Planes& planes, int y, int x, int channel, float value, const Parameters& parameters) {
    *parameters.result.at<OUT>(planes.own[0], planes.own[1] - parameters.first_plane, y, x, channel) =
        from_float<OUT>(value);
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
__device__ Word word_at(const IN* plane, int y, int x, int channel, const Parameters& parameters) {
    const auto value = [&](int row) {
        return (sample_at(plane, mirrored(row, parameters.rows), x, channel, parameters) - kMiddle) *
               parameters.to_units;
    };
    return word_of(value(y), PACKED ? value(y + kBelow) : 0.0f);
}

// Where a block's pixels begin.
struct Place {
    int top, left;
};

__device__ Place place_of_block(const Parameters& parameters) {
    const int tile = opaque(int(blockIdx.x)) % parameters.tiles;
    return {tile / parameters.tiles_across * (kPixels * kBelow),
            tile % parameters.tiles_across * (kLanes * kColumns) - kLeft * kColumns};
}

// Offsets that a tile serves, dy .. dy + down-1 and dx .. dx + across-1 on a plane that is searched; none where the
// search has ended before that plane.
struct Span {
    const IN* plane;
    int dy, dx, down, across;
};

__device__ int count_spans(const Parameters& parameters) {
    const int offsets = 2 * parameters.distance + 1;
    return steps(parameters.outer[0]) * steps(parameters.outer[1]) * divide_up(offsets, SPAN_Y) *
           divide_up(offsets, SPAN_X);
}

__device__ Span span_at(int i, const Parameters& parameters) {
    const int offsets = 2 * parameters.distance + 1;
    const int along = divide_up(offsets, SPAN_X), of_plane = divide_up(offsets, SPAN_Y) * along;
    Planes planes = planes_of_block(parameters);
    if (!step_to(planes, i / of_plane, parameters)) return {};
    const int y = i % of_plane / along * SPAN_Y, x = i % along * SPAN_X;
    return {plane_of(planes, parameters), y - parameters.distance, x - parameters.distance, min(SPAN_Y, offsets - y),
            min(SPAN_X, offsets - x)};
}

// Loads the samples that a span needs. True if what this thread saw is finite.
__device__ bool load_tile(Tile& tile, const Span& span, const Parameters& parameters) {
    bool finite = true;
    const Place place = place_of_block(parameters);
    const int top = place.top - BEFORE + span.dy, left = place.left + span.dx;
    const int rows = kTileRows - SPAN_Y + span.down, columns = kWarp * kColumns + span.across - 1;
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
                if constexpr (!is_integer<IN>) finite = finite && is_finite(sample_at(span.plane, y, x, c, parameters));
                tile.samples[c][row][place_of(column)] = word_at(span.plane, top + row, x, c, parameters);
            }
        }
    }
    return finite;
}

// The samples under the patches of a thread's pixels, by way of the tile, whose loop is short and settles borders.
__device__ void load_window(Samples (&p)[kWindow], Tile& tile, const Parameters& parameters) {
    load_tile(tile, {plane_of(planes_of_block(parameters), parameters), 0, 0, 1, 1}, parameters);
    __syncthreads();
    const int lane = threadIdx.x % kWarp, top = threadIdx.x / kWarp * kRows;
#pragma unroll
    for (int r = 0; r < kWindow; ++r) {
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
            for (int k = 0; k < kColumns; ++k) p[r][c][k] = tile.samples[c][top + r][lane + place_of(k)];
        }
    }
    __syncthreads();
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
                if (step > 0 && dy + step >= down) break;
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

// Rows of the result, `below` the first.
__device__ void store_means(const Sums<float>& sums, int below, const Parameters& parameters) {
    const Place place = place_of_block(parameters);
    const int top = place.top + below + threadIdx.x / kWarp * kRows;
    const int left = place.left + threadIdx.x % kWarp * kColumns;
    const Planes planes = planes_of_block(parameters);
    const IN* const plane = plane_of(planes, parameters);
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
                const float itself = (sample_at(plane, y, x, c, parameters) + values) * parameters.gain;
                store_at(planes, y, x, c, weights > 0.0f ? mean : itself, parameters);
            }
        }
    }
}

#else

__device__ constexpr int kThreads = 512;
__device__ constexpr int kPatch = BEFORE + AFTER + 1;
__device__ constexpr int kSide = 64;                      // of a block's square of pixels
__device__ constexpr int kUnder = kSide + kPatch - 1;     // of what is under their patches
__device__ constexpr int kRun = 8;                        // neighbours that a thread sums up, and pixels that it has
__device__ constexpr int kTracks = kThreads / kUnder;     // rows of squares that are found at a time
__device__ constexpr int kSquaresPitch = kUnder | 1;      // odd: lanes that have a row each meet no bank twice
__device__ constexpr int kSumsPitch = kSide | 1;          // likewise
__device__ constexpr int kPlanes0 = OUTER0 ? kPatch : 1;  // of a patch, along the outer axes
__device__ constexpr int kPlanes1 = OUTER1 ? kPatch : 1;
__device__ constexpr bool kFlat = !OUTER0 && !OUTER1;
__device__ constexpr int kRowsAtOnce = kFlat && GUIDE_CHANNELS == 1 ? 2 : 1;  // more would take registers
__device__ constexpr int kChannelsAtOnce = GUIDE_CHANNELS > 0 ? GUIDE_CHANNELS : 1;
static_assert(kTracks > 0, "a row of squares takes a thread each");

// Squared differences of BAND rows, and sums of them over the columns of a patch.
struct Memory {
    float squares[BAND][kSquaresPitch];
    float sums[kUnder][kSumsPitch];
};

// Offsets in the guide, in bytes: of what is under a patch, and of what is under its partner's.
struct Pair {
    int64_t own, partner;
};

__device__ Pair operator+(const Pair& a, const Pair& b) { return {a.own + b.own, a.partner + b.partner}; }

// What a block's threads look up while they search a row of a plane.
struct Partners {
    Pair along_first[kPlanes0], along_second[kPlanes1];  // planes, along each outer axis
    Pair rows[kUnder];
    int64_t columns[kUnder];                       // under the patches; their partners' depend on dx
    int64_t plane_of_image, rows_of_image[kSide];  // those of the partners in the image
};

// Where a block's pixels begin, and how many rows and columns of them there are, in whole runs.
struct Place {
    int top, left, rows, columns;
};

__device__ Place place_of_block(const Parameters& parameters) {
    const int tile = opaque(int(blockIdx.x)) % parameters.tiles;
    const int top = tile / parameters.tiles_across * kSide, left = tile % parameters.tiles_across * kSide;
    return {top, left, round_up(min(kSide, parameters.rows - top), kRun),
            round_up(min(kSide, parameters.columns - left), kRun)};
}

// ---- distances

__device__ int64_t bytes_of(const Parameters& parameters, int axis) {
    return parameters.guide.stride[axis] * int64_t(sizeof(GUIDE));
}

// The planes `i` beyond those of a block and of its partners.
__device__ Pair planes_under(const Planes& planes, int axis, int i, const Parameters& parameters) {
    const int plane = planes.own[axis] + i, n = parameters.outer[axis].planes;
    const int64_t step = bytes_of(parameters, axis);
    return {mirrored(plane, n) * step, mirrored(plane + planes.step[axis], n) * step};
}

// The planes and columns under the patches of a block.
__device__ void find_planes(Partners& partners, const Planes& planes, const Place& place,
                            const Parameters& parameters) {
    const int i = threadIdx.x;
    if (i < kPlanes0) partners.along_first[i] = planes_under(planes, 0, OUTER0 ? i - BEFORE : 0, parameters);
    if (i < kPlanes1) partners.along_second[i] = planes_under(planes, 1, OUTER1 ? i - BEFORE : 0, parameters);
    if (i < kUnder)
        partners.columns[i] = mirrored(place.left - BEFORE + i, parameters.columns) * bytes_of(parameters, 3);
    if (i == 0)
        partners.plane_of_image = reinterpret_cast<const char*>(plane_of(planes, parameters)) -
                                  static_cast<const char*>(parameters.image.data);
}

// The rows under the patches of a block, and under those dy rows below.
__device__ void find_rows(Partners& partners, const Place& place, int dy, const Parameters& parameters) {
    const int i = threadIdx.x;
    if (i >= kUnder) return;
    const int y = place.top - BEFORE + i, n = parameters.rows;
    const int partner_y = mirrored(y + dy, n);
    partners.rows[i] = {mirrored(y, n) * bytes_of(parameters, 2), partner_y * bytes_of(parameters, 2)};
    if (i >= BEFORE && i < BEFORE + kSide)
        partners.rows_of_image[i - BEFORE] = partner_y * parameters.image.stride[2] * int64_t(sizeof(IN));
}

__device__ float squared_difference(const Pair& at, const Parameters& parameters) {
    const char* const data = static_cast<const char*>(parameters.guide.data);
    const GUIDE* p = reinterpret_cast<const GUIDE*>(data + at.own);
    const GUIDE* q = reinterpret_cast<const GUIDE*>(data + at.partner);
    const int channels = GUIDE_CHANNELS > 0 ? GUIDE_CHANNELS : parameters.guide_channels;
    float sum = 0.0f;
#pragma unroll kChannelsAtOnce
    for (int c = 0; c < channels; ++c) {
        const float difference = to_float(*q) - to_float(*p);
        sum = fmaf(difference, difference, sum);
        p += parameters.guide.stride[4];
        q += parameters.guide.stride[4];
    }
    return sum;
}

// The same, summed over the planes of a patch.
__device__ float squared_difference_of_planes(const Pair& at, const Partners& partners, const Parameters& parameters) {
    float sum = 0.0f;
#pragma unroll 1
    for (int i = 0; i < kPlanes0; ++i) {
        const Pair first = at + partners.along_first[i];
#pragma unroll 2
        for (int j = 0; j < kPlanes1; ++j) {
            const float squares = squared_difference(first + partners.along_second[j], parameters);
            const float tap = TAPS ? (OUTER0 ? parameters.taps[i] : 1.0f) * (OUTER1 ? parameters.taps[j] : 1.0f) : 1.0f;
            sum = fmaf(tap, squares, sum);
        }
    }
    return sum;
}

// Finds the squares of the band of rows that begins at row `first` of those under the patches. Threads have a column.
__device__ void find_squares(Memory& memory, const Partners& partners, const Place& place, int first, int dx,
                             const Parameters& parameters) {
    const int column = threadIdx.x % kUnder, track = threadIdx.x / kUnder;
    if (track >= kTracks || column >= place.columns + kPatch - 1) return;
    const int partner_x = mirrored(place.left - BEFORE + column + dx, parameters.columns);
    Pair at = {partners.columns[column], partner_x * bytes_of(parameters, 3)};
    if constexpr (kFlat) at = at + partners.along_first[0] + partners.along_second[0];
    const int rows = min(BAND, place.rows + kPatch - 1 - first);
#pragma unroll kRowsAtOnce
    for (int row = track; row < rows; row += kTracks) {
        const Pair here = at + partners.rows[first + row];
        if constexpr (kFlat)
            memory.squares[row][column] = squared_difference(here, parameters);
        else
            memory.squares[row][column] = squared_difference_of_planes(here, partners, parameters);
    }
}

// sums[j] = values j .. j + P-1, times the taps of the patch; `Step` places from one to the next.
template <int Step>
__device__ void sum_neighbours(float (&sums)[kRun], const float* values, const Parameters& parameters) {
#if TAPS
    float window[kRun];
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
        sums[j] = 0.0f;
        if (j < kRun - 1) window[j] = values[j * Step];
    }
#pragma unroll kRun
    for (int k = 0; k < kPatch; ++k) {
        window[kRun - 1] = values[(k + kRun - 1) * Step];
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            sums[j] = fmaf(parameters.taps[k], window[j], sums[j]);
            if (j < kRun - 1) window[j] = window[j + 1];
        }
    }
#else
#pragma unroll
    for (int group = 0; group < kRun; group += kPatch) {
        const int last = group + kPatch - 1;
        float suffix = 0.0f, prefix = 0.0f;
#pragma unroll
        for (int k = last; k >= group; --k) {
            suffix = k == last ? values[k * Step] : suffix + values[k * Step];
            if (k < kRun) sums[k] = suffix;
        }
#pragma unroll
        for (int k = group + 1; k <= min(last, kRun - 1); ++k) {
            const float value = values[(k + kPatch - 1) * Step];
            prefix = k == group + 1 ? value : prefix + value;
            sums[k] += prefix;
        }
    }
#endif
}

// Sums of a band's squares over the columns of a patch. Lanes have a row each.
__device__ void sum_over_columns(Memory& memory, const Place& place, int first, const Parameters& parameters) {
    for (int i = threadIdx.x; i < BAND * (kSide / kRun); i += kThreads) {
        const int row = i % BAND, column = i / BAND * kRun;
        if (first + row >= place.rows + kPatch - 1 || column >= place.columns) continue;
        float sums[kRun];
        sum_neighbours<1>(sums, memory.squares[row] + column, parameters);
#pragma unroll
        for (int j = 0; j < kRun; ++j) memory.sums[first + row][column + j] = sums[j];
    }
}

__device__ constexpr int kMostSquarings = 3;

// 0 where the sum is NaN.
__device__ float weight_of(float sum_of_squares, float scale, float excess, const Parameters& parameters) {
    const float beyond = sum_of_squares - excess;
    const float d = beyond < 0.0f ? 0.0f : beyond;  // fmaxf would lose a NaN
    const float t = d * scale;
#if FUNCTION
    return fastimg_weight(t, parameters.of_function);
#elif WELSCH
    if constexpr (TAPS || MAPS) return t <= parameters.cutoff ? exp2f(-1.44269504f * t) : 0.0f;
    return d <= parameters.cutoff ? exp2f(-t) : 0.0f;  // the scale is that of powers of two
#else
    float power = fmaxf(1.0f - t, 0.0f);
#pragma unroll
    for (int i = 0; i < kMostSquarings; ++i)
        if (i < parameters.squarings) power *= power;
    return power;
#endif
}

// A function may give 0; with less than anything else, a pixel that nothing weighs stays as it is.
__device__ float weight_of_centre(const Parameters& parameters) {
#if FUNCTION
    return fmaxf(fastimg_weight(0.0f, parameters.of_function), 1e-30f);
#else
    return 1.0f;
#endif
}

// ---- means

// A thread's pixels, below each other, and the channels of them that its block gathers.
struct Pixels {
    int y, x, first_channel, channels;
};

__device__ Pixels pixels_of_thread(const Place& place, const Parameters& parameters) {
    const int thread = opaque(int(threadIdx.x)), first_channel = int(blockIdx.y) * CHANNELS;
    return {place.top + thread / kSide * kRun, place.left + thread % kSide, first_channel,
            CHANNELS == 1 ? 1 : parameters.channels - first_channel};
}

struct Means {
    float values[kRun][CHANNELS], weights[kRun];
    float largest[CENTRE ? kRun : 1];                          // weight
    float scales[MAPS ? kRun : 1], excesses[MAPS ? kRun : 1];  // of each pixel
};

// A map's values for a thread's pixels.
template <class T>
__device__ void read_map(float (&values)[kRun], const View<4>& map, const Pixels& pixels,
                         const Parameters& parameters) {
    const Planes planes = planes_of_block(parameters);
    const T* const column = map.at<const T>(planes.own[0], planes.own[1] - parameters.first_plane, 0,
                                            min(pixels.x, parameters.columns - 1));
#pragma unroll
    for (int r = 0; r < kRun; ++r) values[r] = to_float(column[min(pixels.y + r, parameters.rows - 1) * map.stride[2]]);
}

__device__ void read_map(float (&values)[kRun], const View<4>& map, bool halves, const Pixels& pixels,
                         const Parameters& parameters) {
    if (halves)
        read_map<half>(values, map, pixels, parameters);
    else
        read_map<float>(values, map, pixels, parameters);
}

__device__ void read_maps(Means& means, const Pixels& pixels, const Parameters& parameters) {
    float values[kRun];
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
        means.scales[r] = parameters.scale;
        means.excesses[r] = parameters.excess;
    }
    if (parameters.h.data) {
        read_map(values, parameters.h, parameters.halves_h, pixels, parameters);
#pragma unroll
        for (int r = 0; r < kRun; ++r) means.scales[r] = parameters.scale / (values[r] * values[r]);
    }
    if (parameters.sigma.data) {
        read_map(values, parameters.sigma, parameters.halves_sigma, pixels, parameters);
#pragma unroll
        for (int r = 0; r < kRun; ++r) means.excesses[r] = parameters.excess * values[r] * values[r];
    }
}

// Sums of the pixels themselves, unless their weights follow from the others'.
__device__ void begin(Means& means, const Pixels& pixels, const Parameters& parameters) {
    const float own = weight_of_centre(parameters);
    const IN* const plane = plane_of(planes_of_block(parameters), parameters);
    const int x = min(pixels.x, parameters.columns - 1);
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
        const int y = min(pixels.y + r, parameters.rows - 1);
        means.weights[r] = CENTRE ? 0.0f : own;
        if constexpr (CENTRE) means.largest[r] = 0.0f;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            means.values[r][c] = 0.0f;
            if (!CENTRE && c < pixels.channels)
                means.values[r][c] = own * sample_at(plane, y, x, pixels.first_channel + c, parameters);
        }
    }
}

// Adds the partners at one offset; `sums` are those of the squares under their patches' columns.
__device__ void add_partners(Means& means, const float* sums, const Partners& partners, const Pixels& pixels, int dy,
                             int dx, const Parameters& parameters) {
    const int x = mirrored(pixels.x + dx, parameters.columns);
    if (TRUNCATED && x != pixels.x + dx) return;
    float sums_of_squares[kRun];
    sum_neighbours<kSumsPitch>(sums_of_squares, sums, parameters);
    const int64_t* const stride = parameters.image.stride;
    const int64_t* const rows = partners.rows_of_image + threadIdx.x / kSide * kRun;
    const char* const column = static_cast<const char*>(parameters.image.data) + partners.plane_of_image +
                               (x * stride[3] + pixels.first_channel * stride[4]) * int64_t(sizeof(IN));
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
        float weight = weight_of(sums_of_squares[r], MAPS ? means.scales[r] : parameters.scale,
                                 MAPS ? means.excesses[r] : parameters.excess, parameters);
        if (TRUNCATED && unsigned(pixels.y + r + dy) >= unsigned(parameters.rows)) weight = 0.0f;
        means.weights[r] += weight;
        if constexpr (CENTRE) means.largest[r] = fmaxf(means.largest[r], weight);
        const IN* const partner = reinterpret_cast<const IN*>(column + rows[r]);
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            if (c == 0 || c < pixels.channels)
                means.values[r][c] = fmaf(weight, to_float(partner[c * stride[4]]), means.values[r][c]);
    }
}

// A pixel that no other resembles stays as it is, if its weight follows from theirs.
__device__ void store_means(const Means& means, const Parameters& parameters) {
    const Pixels pixels = pixels_of_thread(place_of_block(parameters), parameters);
    const Planes planes = planes_of_block(parameters);
    const IN* const plane = plane_of(planes, parameters);
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
        const int y = pixels.y + r, x = pixels.x;
        if (y >= parameters.rows || x >= parameters.columns) continue;
        const float centre = CENTRE ? parameters.centre * means.largest[r] : 0.0f;
        const float weights = means.weights[r] + centre;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            if (c >= pixels.channels) continue;
            const int channel = pixels.first_channel + c;
            float mean = means.values[r][c] / weights;
            if constexpr (CENTRE) {
                const float itself = sample_at(plane, y, x, channel, parameters);
                const float values = fmaf(centre, itself, means.values[r][c]);
                mean = weights > 0.0f ? values / weights : itself + values;
            }
            store_at(planes, y, x, channel, mean * parameters.gain, parameters);
        }
    }
}

#endif

}  // namespace

#if STRIPS
extern "C" __global__ void __launch_bounds__(kThreads, MIN_BLOCKS)
    denoise_nl_means_strips(const Parameters parameters) {
    __shared__ Tile tile;
    const int lane = threadIdx.x % kWarp;
    Samples p[kWindow];
    load_window(p, tile, parameters);
    Sums<float> totals[kPixels] = {};
    for (int i = 0; i < count_spans(parameters); ++i) {
        const Span span = span_at(i, parameters);
        if (span.down == 0) continue;
        const bool finite = load_tile(tile, span, parameters);
        const bool all_finite = __syncthreads_and(finite);
        add_offsets(totals, p, tile, span.down, span.across, parameters);
        if (!is_integer<IN> && !all_finite) add_non_finite(totals[0], tile, span.down, span.across);
        __syncthreads();
    }

    if (lane < kLeft || lane >= kWarp - kRight) return;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) store_means(totals[i], i * kBelow, parameters);
}
#else
extern "C" __global__ void __launch_bounds__(kThreads, MIN_BLOCKS) denoise_nl_means_any(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(Memory, memory);
    __shared__ Partners partners;
    const Place place = place_of_block(parameters);
    const Pixels pixels = pixels_of_thread(place, parameters);
    const int row = pixels.y - place.top, column = pixels.x - place.left;

    Means means;
    begin(means, pixels, parameters);
    if constexpr (MAPS) read_maps(means, pixels, parameters);
    for (int i = 0; i < steps(parameters.outer[0]) * steps(parameters.outer[1]); ++i) {
        Planes planes = planes_of_block(parameters);
        if (!step_to(planes, i, parameters)) continue;
        const bool own_plane = planes.step[0] == 0 && planes.step[1] == 0;
        __syncthreads();  // others may still look up those of the plane before
        find_planes(partners, planes, place, parameters);
        for (int dy = -parameters.distance; dy <= parameters.distance; ++dy) {
            __syncthreads();
            find_rows(partners, place, dy, parameters);
            __syncthreads();
            for (int dx = -parameters.distance; dx <= parameters.distance; ++dx) {
                if (own_plane && dy == 0 && dx == 0) continue;
                for (int first = 0; first < kUnder; first += BAND) {
                    find_squares(*memory, partners, place, first, dx, parameters);
                    __syncthreads();
                    sum_over_columns(*memory, place, first, parameters);
                    __syncthreads();
                }
                if (row < place.rows && column < place.columns)
                    add_partners(means, memory->sums[row] + column, partners, pixels, dy, dx, parameters);
            }
        }
    }
    store_means(means, parameters);
}
#endif
