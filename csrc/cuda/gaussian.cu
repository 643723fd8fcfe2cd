// Gaussian filter, separable (csrc/cpu/gaussian.hpp):
//
//     result[y, x] = sum over j of ty[|j|] * sum over i of tx[|i|] * image[y + j, x + i]
//
// where taps before the result, j < 0 or i < 0, are negative if the filter is odd: a first or third derivative.
//
// `gaussian` filters one or two axes in one launch. A block of four warps goes down a strip of 128 samples, within a band
// of rows, 32 rows at a time:
//   1. The rows, with what the taps of x reach on both sides, come into `tile`, in the image's own type, by asynchronous
//      copies of 16 bytes. They are issued before step 3 of the rows before, which hides their latency.
//   2. Along x: lane l filters row l, warp w samples 32 w .. 32 w + 31, from `tile` into `window`, a ring of rows that
//      holds as many as the taps of y reach.
//   3. Along y: lane l takes samples 4 l .. 4 l + 3, warp w eight rows, from `window` to the result.
// Each filter keeps its sums in registers and adds each sample it loads to all sums that it belongs to, so every address
// and every tap is a constant of the code. Adding samples at equal distance before multiplying would save nothing here:
// 2 r + 1 multiply-adds become r additions and r + 1 multiply-adds, which take the same 2 r + 1 cycles, and both samples
// of a pair would have to be at hand.
//
// Channels interleaved in a row are samples like others to steps 1 and 3; in step 2 taps stand DISTANCE samples apart.
// Borders are resolved when the tile is filled; only columns outside the image, and images whose rows cannot be read in
// pieces of 16 bytes, are filled sample by sample.
//
// Through device memory goes each sample once, and once more for the strips' and bands' margins: 2 r DISTANCE / 128 and
// 2 r / band, mostly found in L2. Counts per sample in docs/cuda/gaussian.md. Shared memory: odd pitches in units of 16
// bytes make 8 rows fall into different banks, so no access conflicts.
//
// `gaussian_rows` and `gaussian_columns` filter one axis with any radius, segment by segment: a block of eight warps has
// 64 results along the axis and 128 across; 32 samples along the axis by 128 across come into shared memory as floats,
// with the 95 taps that may stand between them and the results; each thread adds them to its 8 × 4 sums, 8 × 8 × 4
// multiply-adds for 12 loads of 16 bytes. Work is linear in the radius, shared memory does not depend on it.
//
// Macros: IN, OUT (types of samples). X_RADIUS, Y_RADIUS, DISTANCE (between samples of a channel in a row) and TILE (IN,
// or float where a constant that IN cannot hold stands outside) give `gaussian`, X_ODD and Y_ODD (1) its odd filters;
// without them come the other kernels.
#include "support/async_copy.cuh"
#include "support/border.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

// As gaussian.py numbers them.
enum Axis { kY, kX, kChannel, kBatch };
__device__ constexpr int kAxes = kBatch + 6;

struct Parameters {
    View<kAxes> image, result;
    int32_t shape[kAxes];
    int32_t batch_axes;
    int32_t strips, bands;  // the grid, along x and y
    int32_t band;           // rows of a band
    int32_t y_mode, x_mode;
    float cval;
    int32_t image_vectors, result_vectors;  // whether rows may be accessed in pieces of 16 bytes and 4 samples
#ifdef X_RADIUS
    float x_taps[25], y_taps[25];
#else
    int32_t radius, odd;
    const float* far_taps;  // all of them, where `taps` has no room
    float taps[256];
#endif
};

// Where a block works: its part of the grid, and the images of its item of the batch.
struct Place {
    int strip, band;
    const IN* image;
    OUT* result;
};

__device__ Place locate(const Parameters& parameters) {
    unsigned rest = blockIdx.x;
    Place place;
    place.strip = int(rest % parameters.strips);
    rest /= parameters.strips;
    place.band = int(rest % parameters.bands);
    rest /= parameters.bands;
    int64_t image = 0, result = 0;
    for (int axis = kBatch; axis < kBatch + parameters.batch_axes; ++axis) {
        const int64_t i = rest % parameters.shape[axis];
        rest /= parameters.shape[axis];
        image += i * parameters.image.stride[axis];
        result += i * parameters.result.stride[axis];
    }
    place.image = static_cast<const IN*>(parameters.image.data) + image;
    place.result = static_cast<OUT*>(parameters.result.data) + result;
    return place;
}

__device__ int lane() { return int(threadIdx.x) % kWarp; }
__device__ int warp() { return int(threadIdx.x) / kWarp; }

// Between integers and floats by way of 2^23 + x and 3 2^22 + x, which hold x in their lowest bits: a permutation of
// bytes and an addition for each sample, where conversions go to a unit of a quarter of the rate.
template <class T, int N>
__device__ void to_floats(float (&x)[N], const Pack<T, N>& pack) {
    constexpr int kPerWord = 4 / int(sizeof(T));
    if constexpr (is_integer<T> && N % kPerWord == 0) {
        const Pack<uint32_t, N / kPerWord> words = bits_as<Pack<uint32_t, N / kPerWord>>(pack);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const unsigned bytes = is_same<T, uint8_t> ? 0x7440 + i % 4 : i % 2 ? 0x7432 : 0x7410;
            x[i] = __uint_as_float(__byte_perm(words.values[i / kPerWord], 0x4b000000, bytes)) - 8388608.0f;
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) x[i] = to_float(pack.values[i]);
    }
}

template <int N>
__device__ Pack<OUT, N> rounded(const float (&sums)[N]) {
    Pack<OUT, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if constexpr (is_integer<OUT>)
            pack.values[i] = OUT(__float_as_uint(fminf(fmaxf(sums[i], 0.0f), kTop<OUT>) + 12582912.0f));
        else
            pack.values[i] = from_float<OUT>(sums[i]);
    }
    return pack;
}

#ifdef X_RADIUS

#ifndef X_ODD
#define X_ODD 0
#endif
#ifndef Y_ODD
#define Y_ODD 0
#endif

// ---- both axes in one launch --------------------------------------------------------------------------------------

__device__ constexpr int kWarps = 4;
__device__ constexpr int kThreads = kWarps * kWarp;
__device__ constexpr int kStrip = 128;                              // samples of a row that a block filters
__device__ constexpr int kRows = kWarp;                             // at a time
__device__ constexpr int kPack = 16 / int(sizeof(TILE));            // samples in 16 bytes
__device__ constexpr int kReach = X_RADIUS * DISTANCE;              // of the taps of x, in samples
__device__ constexpr int kMargin = round_up(kReach, kPack);         // of the tile, on both sides
__device__ constexpr int kPieces = (kStrip + 2 * kMargin) / kPack;  // of 16 bytes, in a row of the tile
__device__ constexpr int kTilePitch = (kPieces | 1) * kPack;        //
__device__ constexpr int kRun =
    X_RADIUS <= (DISTANCE > 1 ? 16 : 8) ? 32 : 16;                // samples that a thread filters at a time along x
__device__ constexpr int kHeight = 8;                             // and rows along y
__device__ constexpr int kWidth = 4;                              // of so many samples
__device__ constexpr int kLag = round_up(2 * Y_RADIUS, kHeight);  // rows of the window before those that come
__device__ constexpr int kGroups = (kRows + kLag) / kHeight;      // of rows in the window
__device__ constexpr int kPitch = kStrip + 4;                     // of the window
__device__ constexpr bool kConverts = !is_same<TILE, IN>;

// The columns of the tile that are read in whole pieces; the others are filled one by one.
struct Columns {
    int first, last;
};

__device__ Columns whole_pieces(const Parameters& parameters, int left) {
    if (!parameters.image_vectors) return {0, 0};
    const int samples = parameters.shape[kX] * DISTANCE;
    const int first = max(0, -left), last = min(kPieces * kPack, (samples - left) / kPack * kPack);
    return first < last ? Columns{first, last} : Columns{0, 0};
}

template <class T>
__device__ Pack<T, 16 / sizeof(T)> filled(T value) {
    Pack<T, 16 / sizeof(T)> pack;
#pragma unroll
    for (int i = 0; i < 16 / int(sizeof(T)); ++i) pack.values[i] = value;
    return pack;
}

template <class T>
__device__ TILE tile_sample(T x) {
    if constexpr (is_same<T, TILE>)
        return x;
    else
        return from_float<TILE>(to_float(x));
}

__device__ void load_piece(TILE* to, const IN* from) {
    if constexpr (kConverts) {
        const Pack<IN, kPack> pack = load_pack<kPack>(from);
        Pack<TILE, kPack> converted;
#pragma unroll
        for (int i = 0; i < kPack; ++i) converted.values[i] = tile_sample(pack.values[i]);
        store_pack(to, converted);
    } else {
        async_copy<16>(to, from);
    }
}

// Rows top .. top + 31 of the image, from sample `left` on, into the tile. Warp w takes rows w, w + 4, ...
__device__ void load_tile(TILE* tile, const Parameters& parameters, const IN* image, int left, int top) {
    constexpr int kTurns = divide_up(kPieces, kWarp);
    const Columns whole = whole_pieces(parameters, left);
    const int64_t y_stride = parameters.image.stride[kY];
    const bool all_inside = top >= 0 && top + kRows <= parameters.shape[kY];
    const int my_row = all_inside ? top + lane() : border_index(top + lane(), parameters.shape[kY], parameters.y_mode);

    const int column = lane() * kPack;
    bool wanted[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
        const int first = column + turn * kWarp * kPack;
        wanted[turn] = first >= whole.first && first < whole.last;
    }
    TILE* const to = tile + warp() * kTilePitch + column;
    const IN* const from = image + left + column;
    if (all_inside) {
        const IN* row_from = from + (top + warp()) * y_stride;
#pragma unroll
        for (int row = 0; row < kRows; row += kWarps) {
#pragma unroll
            for (int turn = 0; turn < kTurns; ++turn) {
                const int i = turn * kWarp * kPack;
                if (wanted[turn]) load_piece(to + row * kTilePitch + i, row_from + i);
            }
            row_from += kWarps * y_stride;
        }
    } else {
#pragma unroll 1
        for (int row = 0; row < kRows; row += kWarps) {
            const int y = __shfl_sync(kFullWarp, my_row, row + warp());
            const IN* const row_from = from + y * y_stride;
#pragma unroll
            for (int turn = 0; turn < kTurns; ++turn) {
                const int i = turn * kWarp * kPack;
                if (!wanted[turn]) continue;
                if (y < 0)
                    store_pack(to + row * kTilePitch + i, filled(from_float<TILE>(parameters.cval)));
                else
                    load_piece(to + row * kTilePitch + i, row_from + i);
            }
        }
    }

    const int singles = kPieces * kPack - (whole.last - whole.first);
#pragma unroll 1
    for (int begin = 0; begin < singles; begin += kWarp) {
        const int i = begin + lane();
        const int at = i < whole.first ? i : i + whole.last - whole.first;
        const int sample = left + at;
        const int pixel = (sample - (sample < 0 ? DISTANCE - 1 : 0)) / DISTANCE;
        const int x = border_index(pixel, parameters.shape[kX], parameters.x_mode);
        const int64_t offset =
            x * parameters.image.stride[kX] + (sample - pixel * DISTANCE) * parameters.image.stride[kChannel];
        IN samples[kRows / kWarps];
        unsigned outside = 0;
#pragma unroll
        for (int r = 0; r < kRows / kWarps; ++r) {
            const int y = __shfl_sync(kFullWarp, my_row, r * kWarps + warp());
            if (x < 0 || y < 0)
                outside |= 1u << r;
            else if (i < singles)
                samples[r] = image[y * y_stride + offset];
        }
        if (i >= singles) continue;
#pragma unroll
        for (int r = 0; r < kRows / kWarps; ++r)
            tile[(r * kWarps + warp()) * kTilePitch + at] =
                outside >> r & 1 ? from_float<TILE>(parameters.cval) : tile_sample(samples[r]);
    }
}

// Each row of the tile along x; `window` is where row 0 goes, and later ones of the ring go before it.
__device__ void filter_along_x(const TILE* tile, float* window, int slot, const float* taps) {
    slot += lane();
    if (slot >= kGroups * kHeight) slot -= kGroups * kHeight;
    const TILE* const from = tile + lane() * kTilePitch;
    float* const to = window + slot * kPitch;
#pragma unroll 1
    for (int begin = warp() * kRun; begin < kStrip; begin += kWarps * kRun) {
        float sums[kRun] = {};
#pragma unroll
        for (int piece = 0; piece < divide_up(kRun + kMargin + kReach, kPack); ++piece) {
            float samples[kPack];
            to_floats(samples, load_pack<kPack>(from + begin + piece * kPack));
#pragma unroll
            for (int i = 0; i < kPack; ++i) {
                const int sample = piece * kPack + i - kMargin;
#pragma unroll
                for (int r = (sample + kMargin * DISTANCE) % DISTANCE; r < kRun; r += DISTANCE) {
                    const int distance = sample < r ? r - sample : sample - r;
                    if (distance > kReach) continue;
                    const float tap = taps[distance / DISTANCE];
                    sums[r] = fmaf(X_ODD && sample < r ? -tap : tap, samples[i], sums[r]);
                }
            }
        }
#pragma unroll
        for (int r = 0; r < kRun; r += 4)
            store_pack(to + begin + r, Pack<float, 4>{{sums[r], sums[r + 1], sums[r + 2], sums[r + 3]}});
    }
}

// Eight rows of four samples along y; the first stands in group `group` of the window, `count` are wanted.
__device__ void filter_along_y(const float* window, int group, const float* taps, float (&sums)[kHeight][kWidth]) {
    const float* from = nullptr;
#pragma unroll
    for (int row = 0; row < kHeight + 2 * Y_RADIUS; ++row) {
        if (row % kHeight == 0) {
            from = window + group * (kHeight * kPitch) + lane() * kWidth;
            group = group + 1 == kGroups ? 0 : group + 1;
        }
        const Pack<float, kWidth> x = load_pack<kWidth>(from + row % kHeight * kPitch);
#pragma unroll
        for (int r = 0; r < kHeight; ++r) {
            const int distance = row - r - Y_RADIUS;
            if (distance < -Y_RADIUS || distance > Y_RADIUS) continue;
            const float tap = taps[distance < 0 ? -distance : distance];
#pragma unroll
            for (int c = 0; c < kWidth; ++c)
                sums[r][c] = fmaf(Y_ODD && distance < 0 ? -tap : tap, x.values[c], sums[r][c]);
        }
    }
}

// Up to eight rows of four samples, from `sample` on.
__device__ void store_rows(const float (&sums)[kHeight][kWidth], const Parameters& parameters, OUT* row, int sample,
                           int rows) {
    const int samples = parameters.shape[kX] * DISTANCE;
    const int64_t y_stride = parameters.result.stride[kY];
    if (parameters.result_vectors && sample + kWidth <= samples) {
        row += sample;
#pragma unroll
        for (int r = 0; r < kHeight; ++r) {
            if (r < rows) store_pack(row, rounded(sums[r]));
            row += y_stride;
        }
        return;
    }
#pragma unroll
    for (int c = 0; c < kWidth; ++c) {
        if (sample + c >= samples) continue;
        OUT* to = row + (sample + c) / DISTANCE * parameters.result.stride[kX] +
                  (sample + c) % DISTANCE * parameters.result.stride[kChannel];
#pragma unroll
        for (int r = 0; r < kHeight; ++r) {
            if (r < rows) *to = from_float<OUT>(sums[r][c]);
            to += y_stride;
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 4) gaussian(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(float, window);  // kGroups * kHeight rows of kPitch floats, then the tile
    TILE* const tile = reinterpret_cast<TILE*>(window + kGroups * kHeight * kPitch);

    const Place place = locate(parameters);
    const int left = place.strip * kStrip - kMargin;
    const int begin = place.band * parameters.band;
    const int rows = min(parameters.band, parameters.shape[kY] - begin);
    const int top = begin - Y_RADIUS;

    // Turns of kRows: rows come into the tile while those before them, the window's newest, are filtered along y.
    int newest = 0;  // the group of the window that the tile's rows go to
    for (int first = -kLag - kRows; first < rows; first += kRows) {  // the first result of this turn
        if (first >= -kLag) {
            async_wait<0>();
            __syncthreads();
            filter_along_x(tile, window, newest * kHeight, parameters.x_taps);
            newest += kRows / kHeight;
            if (newest >= kGroups) newest -= kGroups;
            __syncthreads();
        }
        if (first + kRows < rows) load_tile(tile, parameters, place.image, left, top + first + kLag + kRows);
        async_commit();

        const int row = first + warp() * kHeight;
        if (row < 0 || row >= rows) continue;  // a whole warp
        int group = newest + warp();           // the oldest, and as many later as rows are later
        if (group >= kGroups) group -= kGroups;
        float sums[kHeight][kWidth] = {};
        filter_along_y(window, group, parameters.y_taps, sums);
        store_rows(sums, parameters, place.result + (begin + row) * parameters.result.stride[kY],
                   place.strip * kStrip + lane() * kWidth, rows - row);
    }
}

#else  // one axis, any radius

// ---- one axis, any radius -----------------------------------------------------------------------------------------

__device__ constexpr int kWarps = 8;
__device__ constexpr int kThreads = kWarps * kWarp;
__device__ constexpr int kAlong = 8, kAcross = 4;      // results of a thread, along the axis and across
__device__ constexpr int kResults = kWarps * kAlong;   // of a block, along the axis
__device__ constexpr int kLines = kWarp * kAcross;     // and across
__device__ constexpr int kSegment = 32;                // samples along the axis that come at a time
__device__ constexpr int kTaps = kResults + kSegment;  // that stand between them and the results
__device__ constexpr int kTurns = kSegment / kWarps;   // packs that a thread brings of a segment
static_assert(kSegment * kLines == kTurns * kThreads * 4, "a pack is four samples");

// How the taps stand: tap number t belongs to samples t - `centre` behind the result, t from `first` to `last`.
struct Taps {
    int centre, first, last;
};

// Adds eight samples to eight results: number t + 8 of `taps` counts where a sample stands t places behind a result.
// A tap that is not there must not touch a sum: 0 times an infinity is no 0.
template <bool kAll>
__device__ void add_samples(float (&sums)[kAlong][kAcross], const float (&samples)[8][kAcross], const float (&taps)[16],
                            int first, int last) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int r = 0; r < kAlong; ++r) {
            const int t = i - r;
            if (!kAll && (t < first || t > last)) continue;
#pragma unroll
            for (int c = 0; c < kAcross; ++c) sums[r][c] = fmaf(taps[t + 8], samples[i][c], sums[r][c]);
        }
    }
}

// A segment's part of a thread's sums: eight samples at a time, read by `load(from, samples)`, kStep floats from the
// next eight. Segment number n begins 32 n places behind the block's first result.
template <int kStep, class Load>
__device__ void add_segment(float (&sums)[kAlong][kAcross], int number, const float* from, const float* segment_taps,
                            const Taps& taps, const Load& load) {
    int behind = number * kSegment - warp() * kAlong;  // how far, of the first of eight samples
    const float* near = segment_taps + kResults - 8 - warp() * kAlong;
#pragma unroll 1
    for (int i = 0; i < kSegment; i += 8) {
        if (behind + 7 >= taps.first && behind - 7 <= taps.last) {
            float weights[16], samples[8][kAcross];
#pragma unroll
            for (int k = 0; k < 16; k += 4) {
                const Pack<float, 4> pack = load_pack<4>(near + k);
#pragma unroll
                for (int j = 0; j < 4; ++j) weights[k + j] = pack.values[j];
            }
            load(from, samples);
            if (behind - 7 >= taps.first && behind + 7 <= taps.last)
                add_samples<true>(sums, samples, weights, 0, 0);
            else
                add_samples<false>(sums, samples, weights, taps.first - behind, taps.last - behind);
        }
        behind += 8;
        near += 8;
        from += kStep;
    }
}

// The tap that thread number i puts in place i of the taps of a segment.
__device__ float segment_tap(const Parameters& parameters, const Taps& taps, int number) {
    const int t = number * kSegment - kResults + int(threadIdx.x);
    if (int(threadIdx.x) >= kTaps || t < taps.first || t > taps.last) return 0.0f;
    const int distance = t < taps.centre ? taps.centre - t : t - taps.centre;
    const float tap = parameters.far_taps ? parameters.far_taps[distance] : parameters.taps[distance];
    return parameters.odd && t < taps.centre ? -tap : tap;
}

__device__ Pack<float, 4> as_floats(const Pack<IN, 4>& pack) {
    Pack<float, 4> floats;
    to_floats(floats.values, pack);
    return floats;
}

// Four results of a row from `x` on, those inside the image.
__device__ void store_results(OUT* row, const Parameters& parameters, int x, const float (&results)[4]) {
    const int width = parameters.shape[kX];
    if (parameters.result_vectors && x + 4 <= width) {
        store_pack(row + x, rounded(results));
        return;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c)
        if (x + c < width) row[(x + c) * parameters.result.stride[kX]] = from_float<OUT>(results[c]);
}

}  // namespace

// Along y. A segment is 32 rows of 128 samples; lane l has samples 4 l .. 4 l + 3 of 8 rows of results.
extern "C" __global__ void __launch_bounds__(kThreads, 2) gaussian_columns(const Parameters parameters) {
    alignas(16) __shared__ float segments[2][kSegment][kLines];
    alignas(16) __shared__ float taps[2][kTaps];

    const Place place = locate(parameters);
    const int width = parameters.shape[kX], height = parameters.shape[kY];
    const int x = place.strip * kLines + lane() * kAcross;
    const int begin = place.band * kResults;
    const bool vectors = parameters.image_vectors && x + kAcross <= width;
    const IN* const column = place.image + x * parameters.image.stride[kX];
    const Taps all = {parameters.radius, 0, 2 * parameters.radius};
    const int numbers = divide_up(kResults + 2 * parameters.radius, kSegment);

    float sums[kAlong][kAcross] = {};
    Pack<IN, 4> ahead[kTurns];
    float tap_ahead = 0.0f;
    for (int number = -1; number < numbers; ++number) {
        const int next = number + 1;
        const int top = begin - parameters.radius + next * kSegment + warp();
        if (next < numbers) {
            tap_ahead = segment_tap(parameters, all, next);
#pragma unroll
            for (int turn = 0; turn < kTurns; ++turn) {
                const int y = border_index(top + turn * kWarps, height, parameters.y_mode);
                const IN* const from = column + y * parameters.image.stride[kY];
                if (y >= 0 && vectors) {
                    ahead[turn] = load_pack<4>(from);
                } else {
#pragma unroll
                    for (int c = 0; c < 4; ++c)
                        ahead[turn].values[c] =
                            y >= 0 && x + c < width ? from[c * parameters.image.stride[kX]] : from_float<IN>(0.0f);
                }
            }
        }
        if (number >= 0) {
            const float* const from = &segments[number % 2][0][lane() * kAcross];
            add_segment<8 * kLines>(sums, number, from, taps[number % 2], all,
                                    [](const float* from, float (&samples)[8][kAcross]) {
#pragma unroll
                                        for (int i = 0; i < 8; ++i) {
                                            const Pack<float, 4> pack = load_pack<4>(from + i * kLines);
#pragma unroll
                                            for (int c = 0; c < kAcross; ++c) samples[i][c] = pack.values[c];
                                        }
                                    });
        }
        if (next < numbers) {
            if (int(threadIdx.x) < kTaps) taps[next % 2][threadIdx.x] = tap_ahead;
#pragma unroll
            for (int turn = 0; turn < kTurns; ++turn) {
                const bool outside =
                    parameters.y_mode == kConstant && unsigned(top + turn * kWarps) >= unsigned(height);
                const float k = parameters.cval;
                store_pack(&segments[next % 2][turn * kWarps + warp()][lane() * kAcross],
                           outside ? Pack<float, 4>{{k, k, k, k}} : as_floats(ahead[turn]));
            }
        }
        __syncthreads();
    }
    OUT* row = place.result + (begin + warp() * kAlong) * parameters.result.stride[kY];
#pragma unroll
    for (int r = 0; r < kAlong; ++r) {
        if (begin + warp() * kAlong + r < height) store_results(row, parameters, x, sums[r]);
        row += parameters.result.stride[kY];
    }
}

// Along x. A segment is 32 samples of 128 lines, which are rows, or channels of rows; lane l has 8 results of lines l,
// l + 32, l + 64 and l + 96.
extern "C" __global__ void __launch_bounds__(kThreads, 2) gaussian_rows(const Parameters parameters) {
    constexpr int kSegmentPitch = kSegment + 4, kResultPitch = kResults + 4;
    constexpr int kPacks = kSegment / 4;  // of a line of a segment
    alignas(16) __shared__ float shared[2 * kLines * kSegmentPitch];
    alignas(16) __shared__ float taps[2][kTaps];
    static_assert(kLines * kResultPitch <= 2 * kLines * kSegmentPitch, "results take the place of the segments");

    const Place place = locate(parameters);
    const int width = parameters.shape[kX], channels = parameters.shape[kChannel];
    const int lines = parameters.shape[kY] * channels;
    const int begin = place.strip * kResults, first_line = place.band * kLines;
    const int64_t x_stride = parameters.image.stride[kX];
    // The first segment starts at a multiple of four samples.
    const int before = round_up(parameters.radius, 4), unused = before - parameters.radius;
    const Taps all = {before, unused, before + parameters.radius};
    const int numbers = divide_up(kResults + before + parameters.radius, kSegment);

    const int my_line = int(threadIdx.x) / kPacks, my_pack = int(threadIdx.x) % kPacks * 4;
    const IN* from[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
        const int line = min(first_line + my_line + turn * (kThreads / kPacks), lines - 1);
        from[turn] = place.image + line / channels * parameters.image.stride[kY] +
                     line % channels * parameters.image.stride[kChannel];
    }

    float sums[kAlong][kAcross] = {};
    Pack<IN, 4> ahead[kTurns];
    float tap_ahead = 0.0f;
    for (int number = -1; number < numbers; ++number) {
        const int next = number + 1;
        const int x = begin - before + next * kSegment + my_pack;
        if (next < numbers) {
            tap_ahead = segment_tap(parameters, all, next);
            if (parameters.image_vectors && x >= 0 && x + 4 <= width) {
#pragma unroll
                for (int turn = 0; turn < kTurns; ++turn) ahead[turn] = load_pack<4>(from[turn] + x);
            } else {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int source = border_index(x + i, width, parameters.x_mode);
#pragma unroll
                    for (int turn = 0; turn < kTurns; ++turn)
                        ahead[turn].values[i] = source >= 0 ? from[turn][source * x_stride] : from_float<IN>(0.0f);
                }
            }
        }
        if (number >= 0) {
            const float* const from = shared + number % 2 * (kLines * kSegmentPitch) + lane() * kSegmentPitch;
            add_segment<8>(sums, number, from, taps[number % 2], all,
                           [](const float* from, float (&samples)[8][kAcross]) {
#pragma unroll
                               for (int c = 0; c < kAcross; ++c) {
#pragma unroll
                                   for (int i = 0; i < 8; i += 4) {
                                       const Pack<float, 4> pack = load_pack<4>(from + c * (kWarp * kSegmentPitch) + i);
#pragma unroll
                                       for (int j = 0; j < 4; ++j) samples[i + j][c] = pack.values[j];
                                   }
                               }
                           });
        }
        if (next < numbers) {
            if (int(threadIdx.x) < kTaps) taps[next % 2][threadIdx.x] = tap_ahead;
            float* const to = shared + next % 2 * (kLines * kSegmentPitch) + my_line * kSegmentPitch + my_pack;
#pragma unroll
            for (int turn = 0; turn < kTurns; ++turn) {
                Pack<float, 4> pack = as_floats(ahead[turn]);
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    if (parameters.x_mode == kConstant && unsigned(x + i) >= unsigned(width))
                        pack.values[i] = parameters.cval;
                store_pack(to + turn * (kThreads / kPacks) * kSegmentPitch, pack);
            }
        }
        __syncthreads();
    }
    // Through shared memory, so that a warp writes whole lines.
#pragma unroll
    for (int c = 0; c < kAcross; ++c) {
        float* const to = shared + (lane() + c * kWarp) * kResultPitch + warp() * kAlong;
        store_pack(to, Pack<float, 4>{{sums[0][c], sums[1][c], sums[2][c], sums[3][c]}});
        store_pack(to + 4, Pack<float, 4>{{sums[4][c], sums[5][c], sums[6][c], sums[7][c]}});
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kLines * kResults / 4; i += kThreads) {
        const int line = i / (kResults / 4), x = i % (kResults / 4) * 4;
        if (first_line + line >= lines) break;
        OUT* const row = place.result + (first_line + line) / channels * parameters.result.stride[kY] +
                         (first_line + line) % channels * parameters.result.stride[kChannel];
        store_results(row, parameters, begin + x, load_pack<4>(shared + line * kResultPitch + x).values);
    }
}

// ---- taps of very large radii -------------------------------------------------------------------------------------

struct SomeTaps {
    float* to;
    int32_t count;
    float taps[960];
};

// Taps into device memory: in the arguments of a kernel they need no buffer that outlives the call on the host's side.
extern "C" __global__ void gaussian_taps(const SomeTaps some) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < some.count) some.to[i] = some.taps[i];
}

#endif
