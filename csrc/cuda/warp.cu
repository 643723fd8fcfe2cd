// Warping: every pixel of the result shows the image at the place that a map gives it (csrc/cpu/warp.hpp).
//
// A warp makes 32 columns of 16 rows of the result (8 or 4 where pixels are large), the eight warps of a block 64
// columns of four times as many rows. Its lanes are 16 columns of 2 rows, so that what they read together lies together
// even if the image is turned; a thread takes a pixel of each such part. Of some pixels at a time it finds the places,
// loads all taps, and then interpolates. A row of taps of all channels comes in as words of 32 bits, whatever byte it
// begins at, if they are fewer than its samples. Results are put side by side in shared memory and leave in pieces of
// 16 bytes.
//   Where a pixel's taps are not all inside, or lie where a word would reach beyond the row, they are fetched one by
//   one. So are those of images whose pixels do not lie side by side, or have other than 1, 3 or 4 channels, which
//   leave as they come.
//
// Places are numbers of 2^-32 pixels in 64 bits: the whole coordinate is the upper word, the fraction the lower, and
// adding one is two instructions, where double has 1/64 of float's rate on many devices.
//   Affine maps: in double for a thread's first pixel, as the CPU's; to the others by steps rounded to 2^-32, eight at
//   most. They miss less than 2^-29 pixels and 2^-49 of the largest coordinate, of which double itself misses a part.
//   Projective maps: by a reciprocal of the divisor in float, refined once in double: 2^-44 of the coordinate.
//   Coordinates from a table are floats, split exactly.
//   A function, which Numba compiles and the linker makes part of the kernel, gives coordinates in double.
// A nearest pixel depends on which side of a half a place is: an affine place that is nearer to one than it may miss is
// found again in double, with the CPU's roundings, and so are all of a projective map. Nearest pixels are the CPU's,
// ties and all.
//
// For cubic samples that are clipped, a first launch leaves the extremes of 256 parts of the image in scratch memory,
// from which every warp finds those of the image: nothing waits for them.
//
// Through memory goes each pixel once, in and out, if the map keeps neighbours together, and 8 bytes of a table; what
// neighbouring tiles share comes from the caches. Counts of instructions in docs/cuda/warp.md.
//
// Macros: IN (type of samples); AXES (of samples, after merging) for the extremes; for the result OUT (type of
// samples), CHANNELS (1, 3 or 4 that lie side by side, else 0), TAPS (along an axis: 1, 2, 4 or 6), MAP.
#include "support/border.cuh"
#include "support/gather.cuh"
#include "support/offset.cuh"
#include "support/view.cuh"

using namespace fastimg;

// The row and column of the image that pixel (row, column) of the result shows, if the map is a function of them and of
// parameters.
extern "C" __device__ double fastimg_place(double* column_out, double row, double column, const double* parameters);

namespace {

struct Extremes {
    float low, high;  // NaN where there is nothing but NaN
};

__device__ Extremes merged(Extremes a, Extremes b) { return {fminf(a.low, b.low), fmaxf(a.high, b.high)}; }

__device__ Extremes extremes_of_warp(Extremes own) {
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2)
        own = merged(own, {__shfl_xor_sync(kFullWarp, own.low, lanes), __shfl_xor_sync(kFullWarp, own.high, lanes)});
    return own;
}

__device__ constexpr int kParts = 256;  // of an image, for its extremes

#ifdef AXES

// ---- the range of an image ------------------------------------------------------------------------------------------

__device__ constexpr int kThreads = 1024, kMostAxes = 8;
__device__ constexpr int kLength = 16 / int(sizeof(IN));  // samples that are loaded in one piece

struct Parameters {
    View<kMostAxes> image;
    int64_t shape[kMostAxes];
    int64_t samples;
    int64_t pieces;  // of 16 bytes, where all samples lie side by side
    Extremes* parts;
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) warp_extremes(const Parameters parameters) {
    __shared__ Extremes of_warps[kWarp];
    const IN* const image = static_cast<const IN*>(parameters.image.data);
    const int64_t first = int64_t(blockIdx.x) * kThreads + threadIdx.x, step = int64_t(kParts) * kThreads;
    Extremes extremes = {__uint_as_float(0x7fffffff), __uint_as_float(0x7fffffff)};
    for (int64_t i = first; i < parameters.pieces; i += step) {
        const Pack<IN, kLength> piece = load_pack<kLength>(image + i * kLength);
#pragma unroll
        for (int k = 0; k < kLength; ++k)
            extremes = merged(extremes, {to_float(piece.values[k]), to_float(piece.values[k])});
    }
    for (int64_t i = parameters.pieces * kLength + first; i < parameters.samples; i += step) {
        const float x = to_float(image[offset_of<AXES>(i, parameters.shape, parameters.image.stride)]);
        extremes = merged(extremes, {x, x});
    }
    extremes = extremes_of_warp(extremes);
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = extremes;
    __syncthreads();
    if (threadIdx.x >= kWarp) return;
    extremes = extremes_of_warp(of_warps[threadIdx.x]);
    if (threadIdx.x == 0) parameters.parts[blockIdx.x] = extremes;
}

#else

// ---- where things lie -----------------------------------------------------------------------------------------------

enum Maps { kAffine, kProjective, kExact, kTable, kFunction };  // as warp.py numbers them
enum AxisNumber { kRow, kColumn, kChannel, kBatch };            // as warp.py orders axes
__device__ constexpr int kAxes = kBatch + 5;
__device__ constexpr int kMatrices = 32;

__device__ constexpr int kWarpsAcross = 2, kWarpsDown = 4, kWarps = kWarpsAcross * kWarpsDown;
__device__ constexpr int kThreads = kWarps * kWarp;
__device__ constexpr int kLanesAcross = 16, kLanesDown = kWarp / kLanesAcross;
__device__ constexpr int kTileColumns = 32;  // of a warp
__device__ constexpr int kPixelBytes = CHANNELS * int(sizeof(OUT));
__device__ constexpr int kTileRows = kPixelBytes <= 4 ? 16 : kPixelBytes < 12 ? 8 : 4;
__device__ constexpr int kAcross = kTileColumns / kLanesAcross;        // pixels of a thread
__device__ constexpr int kSteps = kAcross * (kTileRows / kLanesDown);  // all of them
// Of them loaded at a time: as many as registers hold.
__device__ constexpr int kTogether = TAPS > 2 || MAP == kExact || MAP == kFunction            ? 1
                                     : CHANNELS * int(sizeof(IN)) >= 12 || MAP == kProjective ? 2
                                                                                              : 4;
__device__ constexpr int kBlocks =
    TAPS > 2 || MAP == kFunction ? 2 : 4;  // to a multiprocessor at least: leaves registers enough

struct Parameters {
    View<kAxes> image, result;
    View<3> table;                // rows, then columns of places, by row and column of the result
    const Extremes* parts;        // of the image, if samples are clipped
    double matrix[kMatrices][9];  // or the parameters of a function
    uint64_t margin;              // what an affine place may be off, in its units
    int32_t matrices;             // one, or one for each image of the first axis of the batch
    int32_t rows, columns;        // of the image
    int32_t shape[kAxes];         // of the result
    int32_t batch_axes;
    int32_t tiles_across, tiles_down;
    int32_t mode;
    int32_t result_vectors;  // whether tiles may be written in pieces of 16 bytes
    float constant;          // in the image's units
    float beside;            // the constant, as a result
    float factor;            // of float results
};

// What a warp works at.
struct Tile {
    const IN* image;
    OUT* result;  // pixel (0, 0)
    const double* matrix;
    int row, column;        // of its first pixel in the result
    int my_row, my_column;  // of the thread's first
};

__device__ Tile locate(const Parameters& parameters) {
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    unsigned rest = blockIdx.x;
    Tile tile;
    tile.column = (int(rest % parameters.tiles_across) * kWarpsAcross + warp % kWarpsAcross) * kTileColumns;
    rest /= parameters.tiles_across;
    tile.row = (int(rest % parameters.tiles_down) * kWarpsDown + warp / kWarpsAcross) * kTileRows;
    rest /= parameters.tiles_down;
    tile.my_column = tile.column + lane % kLanesAcross;
    tile.my_row = tile.row + lane / kLanesAcross;
    tile.image = static_cast<const IN*>(parameters.image.data);
    tile.result = static_cast<OUT*>(parameters.result.data);
    tile.matrix = parameters.matrix[parameters.matrices > 1 ? rest % parameters.shape[kBatch] : 0];
    for (int axis = kBatch; axis < kBatch + parameters.batch_axes; ++axis) {
        const unsigned n = unsigned(parameters.shape[axis]), i = rest % n;
        tile.image += i * parameters.image.stride[axis];
        tile.result += i * parameters.result.stride[axis];
        rest /= n;
    }
    return tile;
}

// ---- places ---------------------------------------------------------------------------------------------------------

__device__ constexpr double kUnit = 0x1p32, kFar = 0x1p30;  // of a place; how far coordinates count
__device__ constexpr int kNowhere = -0x7fffffff - 1;        // of coordinates that are not finite
__device__ constexpr int kUnknown = kNowhere + 1;           // of those to be found in double
__device__ constexpr bool kNearest = TAPS == 1, kOvershoots = TAPS > 2;

// Whole coordinates, and the fractions beyond them; of nearest pixels only the former.
struct Place {
    int column, row;
    float right, down;
};

struct Coordinate {
    int whole;
    float rest;
};

__device__ Coordinate split(double x) {
    const double near = fmin(fmax(x, -kFar), kFar), below = floor(near);
    return {x - x == 0 ? int(below) : kNowhere, float(near - below)};
}

__device__ Coordinate split(float x) {
    const float near = fminf(fmaxf(x, -float(kFar)), float(kFar)), below = floorf(near), rest = near - below;
    return {x - x == 0 ? int(below) + (kNearest && rest >= 0.5f) : kNowhere, rest};
}

__device__ Coordinate split(int64_t units) { return {int(units >> 32), __uint2float_rn(uint32_t(units)) * 0x1p-32f}; }

// Whether a place is so near to the border of two pixels that rounding decides between them.
__device__ bool is_doubtful(int64_t units, uint32_t margin) { return uint32_t(units) + margin < 2 * margin; }

__device__ double sum_of_products(const double* m, int x, int y) {  // never fused, as on the CPU
    return __dadd_rn(__dadd_rn(__dmul_rn(m[0], double(x)), __dmul_rn(m[1], double(y))), m[2]);
}

// In double, as on the CPU.
__device__ Place exact_place(const double* m, int x, int y) {
    const double divisor = sum_of_products(m + 6, x, y), shift = kNearest ? 0.5 : 0.0;
    const Coordinate column = split(__dadd_rn(sum_of_products(m, x, y) / divisor, shift));
    const Coordinate row = split(__dadd_rn(sum_of_products(m + 3, x, y) / divisor, shift));
    return {column.whole, row.whole, column.rest, row.rest};
}

// The places of a thread's pixels, which lie so many of the warp's parts to the right of its first and below.
template <int Kind>
struct Map;

template <>
struct Map<kAffine> {
    const Parameters& parameters;
    const Tile& tile;
    int64_t column, row;  // of the first pixel
    int64_t across[2], down[2];

    __device__ static int64_t units(double x) { return __double2ll_rn(x * kUnit); }

    __device__ Map(const Parameters& parameters, const Tile& tile) : parameters(parameters), tile(tile) {
        const double* const m = tile.matrix;
        const int64_t half = kNearest ? int64_t(1) << 31 : 0;
        column = units(sum_of_products(m, tile.my_column, tile.my_row)) + half;
        row = units(sum_of_products(m + 3, tile.my_column, tile.my_row)) + half;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            across[i] = units(m[3 * i] * kLanesAcross);
            down[i] = units(m[3 * i + 1] * kLanesDown);
        }
    }

    __device__ Place at(int right, int below) const {
        const int64_t x = column + right * across[0] + below * down[0];
        const int64_t y = row + right * across[1] + below * down[1];
        const bool doubtful =
            is_doubtful(x, uint32_t(parameters.margin)) || is_doubtful(y, uint32_t(parameters.margin));
        const Coordinate column = split(x), row = split(y);
        return {kNearest && doubtful ? kUnknown : column.whole, row.whole, column.rest, row.rest};
    }
};

template <>
struct Map<kProjective> {
    const Tile& tile;

    __device__ Map(const Parameters&, const Tile& tile) : tile(tile) {}

    __device__ Place at(int right, int below) const {
        const int x = tile.my_column + right * kLanesAcross, y = tile.my_row + below * kLanesDown;
        const double* const m = tile.matrix;
        const double divisor = sum_of_products(m + 6, x, y);
        const float about = float(divisor);
        double reciprocal = 1.0f / about;
        reciprocal = fma(reciprocal, fma(-divisor, reciprocal, 1.0), reciprocal) * kUnit;
        const int64_t column = __double2ll_rn(fma(m[0], double(x), fma(m[1], double(y), m[2])) * reciprocal);
        const int64_t row = __double2ll_rn(fma(m[3], double(x), fma(m[4], double(y), m[5])) * reciprocal);
        const Coordinate h = split(column), v = split(row);
        constexpr unsigned kNear = 1u << 30;  // kFar; what fits no 64 bits is the first or last that does
        const bool is_far = unsigned(h.whole) + kNear >= 2 * kNear || unsigned(v.whole) + kNear >= 2 * kNear;
        return {fabsf(about) > 0x1p-100f && !is_far ? h.whole : kUnknown, v.whole, h.rest, v.rest};
    }
};

template <>
struct Map<kExact> {
    const Tile& tile;

    __device__ Map(const Parameters&, const Tile& tile) : tile(tile) {}

    __device__ Place at(int right, int below) const {
        return exact_place(tile.matrix, tile.my_column + right * kLanesAcross, tile.my_row + below * kLanesDown);
    }
};

template <>
struct Map<kTable> {
    const Parameters& parameters;
    const Tile& tile;

    __device__ Map(const Parameters& parameters, const Tile& tile) : parameters(parameters), tile(tile) {}

    __device__ Place at(int right, int below) const {
        const int x = min(tile.my_column + right * kLanesAcross, parameters.shape[kColumn] - 1);
        const int y = min(tile.my_row + below * kLanesDown, parameters.shape[kRow] - 1);
        const float* const at = parameters.table.at<const float>(0, y, x);
        const Coordinate row = split(at[0]), column = split(at[parameters.table.stride[0]]);
        return {column.whole, row.whole, column.rest, row.rest};
    }
};

template <>
struct Map<kFunction> {
    const Parameters& parameters;
    const Tile& tile;

    __device__ Map(const Parameters& parameters, const Tile& tile) : parameters(parameters), tile(tile) {}

    __device__ Place at(int right, int below) const {
        const int x = tile.my_column + right * kLanesAcross, y = tile.my_row + below * kLanesDown;
        double column = 0;
        const double row = fastimg_place(&column, double(y), double(x), parameters.matrix[0]);
        const double shift = kNearest ? 0.5 : 0.0;
        const Coordinate h = split(__dadd_rn(column, shift)), v = split(__dadd_rn(row, shift));
        return {h.whole, v.whole, h.rest, v.rest};
    }
};

// The same, those in double that a map does not know.
__device__ Place known_place(const Map<MAP>& map, const Tile& tile, int right, int below) {
    const Place place = map.at(right, below);
    constexpr bool kMayBeUnknown = MAP == kProjective || (MAP == kAffine && kNearest);
    if (!kMayBeUnknown || place.column != kUnknown) return place;
    return exact_place(tile.matrix, tile.my_column + right * kLanesAcross, tile.my_row + below * kLanesDown);
}

// ---- interpolation --------------------------------------------------------------------------------------------------

// Of N taps at the fraction `t` between the inner two; `at(k)` is a tap and `bias`, exactly.
template <int N>
struct Weights;

template <>
struct Weights<1> {
    __device__ explicit Weights(float) {}
    __device__ float operator[](int) const { return 1; }
    template <class At>
    __device__ float sum(const At& at, float bias) const {
        return at(0) - bias;
    }
};

template <>
struct Weights<2> {
    float t;
    __device__ explicit Weights(float t) : t(t) {}
    __device__ float operator[](int i) const { return i == 0 ? 1 - t : t; }
    template <class At>
    __device__ float sum(const At& at, float bias) const {
        return between<IN>(at(0), at(1), t, bias);
    }
};

template <int N>
struct Products {
    float weight[N];
    template <class At>
    __device__ float sum(const At& at, float bias) const {
        float total = 0;
#pragma unroll
        for (int k = 0; k < N; ++k) total = fmaf(weight[k], at(k) - bias, total);
        return total;
    }
    __device__ float operator[](int i) const {  // by comparisons: registers have no index
        float chosen = weight[0];
#pragma unroll
        for (int k = 1; k < N; ++k) chosen = i == k ? weight[k] : chosen;
        return chosen;
    }
};

template <>
struct Weights<4> : Products<4> {
    __device__ explicit Weights(float t)
        : Products{((1 - 0.5f * t) * t - 0.5f) * t, (1.5f * t - 2.5f) * t * t + 1, ((2 - 1.5f * t) * t + 0.5f) * t,
                   (0.5f * t - 0.5f) * t * t} {}
};

// sin(pi x / 3) / x for x in [0, 1], by Taylor's series.
__device__ float sine_of_third(float x) {
    const float x2 = x * x;
    float sum = -4.1606298e-8f;
    sum = fmaf(sum, x2, 4.1734434e-6f);
    sum = fmaf(sum, x2, -2.7401213e-4f);
    sum = fmaf(sum, x2, 1.0494502e-2f);
    sum = fmaf(sum, x2, -1.9139677e-1f);
    return fmaf(sum, x2, 1.0471976f);
}

// As csrc/cpu/warp.inl has them: a sine of one third and of the other serve all six. Their sum is divided out of all but
// the third, which is what is left to 1: so it is 1 exactly where t is 0.
template <>
struct Weights<6> : Products<6> {
    __device__ explicit Weights(float t) {
        const float u = 1 - t, beside_t = sine_of_third(t), beside_u = sine_of_third(u);
        const float sine_t = t * beside_t, sine_u = u * beside_u, both = t * u;
        const auto part = [](float sine, float distance) { return __fdividef(sine, distance * distance); };
        weight[0] = both * part(sine_u, t + 2);
        weight[1] = -both * part(sine_t + sine_u, t + 1);
        weight[2] = u * beside_t;
        weight[3] = t * beside_u;
        weight[4] = -both * part(sine_t + sine_u, u + 1);
        weight[5] = both * part(sine_t, u + 2);
        const float others = weight[0] + weight[1] + weight[3] + weight[4] + weight[5];
        const float factor = __fdividef(1.0f, others + weight[2]);
#pragma unroll
        for (int k = 0; k < 6; ++k) weight[k] *= factor;
        weight[2] = 1 - factor * others;
    }
};

// What becomes of a sum.
struct Finish {
    Extremes clip;
    float factor;

    __device__ explicit Finish(const Parameters& parameters) : factor(parameters.factor) {
        if (!kOvershoots || parameters.parts == nullptr) return;
        clip = parameters.parts[threadIdx.x % kWarp];
        for (int part = kWarp; part < kParts; part += kWarp)
            clip = merged(clip, parameters.parts[part + threadIdx.x % kWarp]);
        clip = extremes_of_warp(clip);
        if (parameters.mode == kConstant) clip = merged(clip, {parameters.constant, parameters.constant});
    }

    __device__ float apply(float x, const Parameters& parameters) const {
        if (kOvershoots && parameters.parts != nullptr) {  // not by `fminf` and `fmaxf`, so that NaN stays
            x = x < clip.low ? clip.low : x;
            x = x > clip.high ? clip.high : x;
        }
        return is_integer<IN> && !is_integer<OUT> ? x * factor : x;
    }
};

// ---- taps one by one ------------------------------------------------------------------------------------------------

__device__ constexpr int kFirst = TAPS == 1 ? 0 : 1 - TAPS / 2;  // tap, from the whole coordinate

// Whether one of the taps from `first` on is in an axis of n.
__device__ bool meets(int first, int n) { return first > -TAPS && first < n; }

// All channels of a pixel at any place, `step` apart.
__device__ void sample_anywhere(const Parameters& parameters, const Tile& tile, const Place& place,
                                const Finish& finish, OUT* to, int64_t step) {
    const bool finite = place.column != kNowhere && place.row != kNowhere;
    const int left = finite ? place.column + kFirst : 0, above = finite ? place.row + kFirst : 0;
    // Beside the image stands the constant, however weights are rounded.
    const bool somewhere =
        finite && (parameters.mode != kConstant || (meets(left, parameters.columns) && meets(above, parameters.rows)));
    constexpr int kRows = TAPS == 6 ? 0 : TAPS;  // found once for all channels, which costs registers
    int column[TAPS], row[kRows + 1];
#pragma unroll
    for (int k = 0; k < TAPS; ++k) column[k] = border_index(left + k, parameters.columns, parameters.mode);
#pragma unroll
    for (int k = 0; k < kRows; ++k) row[k] = border_index(above + k, parameters.rows, parameters.mode);
    const Weights<TAPS> right(place.right), down(place.down);
    const View<kAxes>& image = parameters.image;
    const IN* from = tile.image;
#pragma unroll 1
    for (int c = 0; c < parameters.shape[kChannel]; ++c, from += image.stride[kChannel], to += step) {
        const auto of_row = [&](int v) {
            const auto tap = [&](int k) {
                if (column[k] < 0 || v < 0) return parameters.constant;
                return to_float(from[v * image.stride[kRow] + column[k] * image.stride[kColumn]]);
            };
            return right.sum(tap, 0);
        };
        float value = parameters.beside;
        if (somewhere) {
            if (kRows > 0) {
                value = down.sum([&](int j) { return of_row(row[j]); }, 0);
            } else {
                value = 0;
#pragma unroll 1
                for (int j = 0; j < TAPS; ++j)
                    value = fmaf(down[j], of_row(border_index(above + j, parameters.rows, parameters.mode)), value);
            }
            value = finish.apply(value, parameters);
        }
        *to = from_float<OUT>(value);
    }
}

#if CHANNELS

// ---- taps all inside ------------------------------------------------------------------------------------------------

using Run = fastimg::Run<IN, TAPS, CHANNELS>;

__device__ bool is_inside(const Place& place, const Parameters& parameters) {
    constexpr int kMargins = Run::kBefore + Run::kAfter;
    const unsigned columns = max(parameters.columns - (TAPS - 1 + kMargins), 0);
    const unsigned rows = max(parameters.rows - (TAPS - 1), 0);
    return (unsigned(place.column) + unsigned(kFirst - Run::kBefore) < columns) &
           (unsigned(place.row) + unsigned(kFirst) < rows);
}

__device__ const IN* first_tap(const Parameters& parameters, const Tile& tile, const Place& place) {
    const int row_stride = int(parameters.image.stride[kRow]);
    return tile.image + int64_t(place.row + kFirst) * row_stride + unsigned(place.column + kFirst) * CHANNELS;
}

struct Taps {
    Run rows[TAPS];

    __device__ void load(const Parameters& parameters, const Tile& tile, const Place& place) {
        const IN* from = first_tap(parameters, tile, place);
#pragma unroll
        for (int j = 0; j < TAPS; ++j, from += int(parameters.image.stride[kRow])) rows[j].load(from);
    }
};

template <class T>
__device__ T rounded(float x) {
    if constexpr (is_integer<T>) {
        if (kOvershoots) x = fminf(fmaxf(x, 0.0f), kTop<T>);  // others stay between samples
        return T(__float_as_uint(x + 12582912.0f));           // 1.5 x 2^23: the lowest bits are the whole number
    } else {
        return from_float<T>(x);
    }
}

struct Sums {
    float channel[CHANNELS];
};

__device__ Sums sums_of(const Taps& taps, const Place& place) {
    const Weights<TAPS> right(place.right), down(place.down);
    Sums sums;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        const auto row = [&](int j) {
            return right.sum([&](int k) { return taps.rows[j].value(k * CHANNELS + c); }, Run::kBias);
        };
        sums.channel[c] = down.sum(row, 0);
    }
    return sums;
}

// The same, row by row as they are loaded: for more taps than registers hold.
__device__ Sums sums_by_rows(const Parameters& parameters, const Tile& tile, const Place& place) {
    const Weights<TAPS> right(place.right), down(place.down);
    const IN* from = first_tap(parameters, tile, place);
    Sums sums = {};
#pragma unroll
    for (int j = 0; j < TAPS; ++j, from += int(parameters.image.stride[kRow])) {
        Run row;
        row.load(from);
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            const auto tap = [&](int k) { return row.value(k * CHANNELS + c); };
            sums.channel[c] = fmaf(down[j], right.sum(tap, Run::kBias), sums.channel[c]);
        }
    }
    return sums;
}

__device__ void put(const Sums& sums, const Finish& finish, const Parameters& parameters, OUT* to) {
    Pack<OUT, CHANNELS == 4 ? 4 : 1> pixel;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        const OUT value = rounded<OUT>(finish.apply(sums.channel[c], parameters));
        if constexpr (CHANNELS == 4)
            pixel.values[c] = value;
        else
            to[c] = value;
    }
    if constexpr (CHANNELS == 4) store_pack(to, pixel);
}

// ---- a tile on its way out ------------------------------------------------------------------------------------------

__device__ constexpr int kPiece = 16 / int(sizeof(OUT));  // samples that are written at once
// Of a row in shared memory: half the banks beyond a multiple of all, so that the lanes' two rows do not conflict.
__device__ constexpr int kRowBytes = kTileColumns * kPixelBytes;
__device__ constexpr int kPitch = (round_up(kRowBytes + 64, 128) - 64) / int(sizeof(OUT));

__device__ void write_tile(const OUT* staged, const Parameters& parameters, const Tile& tile) {
    const int lane = int(threadIdx.x) % kWarp;
    const int rows = min(kTileRows, parameters.shape[kRow] - tile.row);
    const int columns = min(kTileColumns, parameters.shape[kColumn] - tile.column);
    const int64_t row_stride = parameters.result.stride[kRow], column_stride = parameters.result.stride[kColumn];
    OUT* const to = tile.result + tile.row * row_stride + tile.column * column_stride;
    if (parameters.result_vectors && columns == kTileColumns) {
        constexpr int kPieces = kTileColumns * CHANNELS / kPiece;
        for (int i = lane; i < rows * kPieces; i += kWarp) {
            const int row = i / kPieces, sample = i % kPieces * kPiece;
            store_pack(to + row * row_stride + sample, load_pack<kPiece>(staged + row * kPitch + sample));
        }
    } else {
        for (int row = 0; row < rows; ++row) {
            for (int i = lane; i < columns * CHANNELS; i += kWarp)
                to[row * row_stride + i / CHANNELS * column_stride +
                   i % CHANNELS * parameters.result.stride[kChannel]] = staged[row * kPitch + i];
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) warp(const Parameters parameters) {
    alignas(16) __shared__ OUT staged[kWarps][kTileRows * kPitch];
    const Tile tile = locate(parameters);
    if (tile.row >= parameters.shape[kRow] || tile.column >= parameters.shape[kColumn]) return;  // the whole warp
    const Map<MAP> map(parameters, tile);
    const Finish finish(parameters);
    OUT* const of_warp = staged[threadIdx.x / kWarp];
    OUT* const own = of_warp + (tile.my_row - tile.row) * kPitch + (tile.my_column - tile.column) * CHANNELS;
    const auto slot = [&](int step) {
        return own + step / kAcross * kLanesDown * kPitch + step % kAcross * kLanesAcross * CHANNELS;
    };
    const int steps = min(kSteps, divide_up(parameters.shape[kRow] - tile.row, kLanesDown) * kAcross);
#pragma unroll 1
    for (int step = 0; step < steps; step += kTogether) {
        const int first = kTogether % kAcross == 0 ? step / kAcross * kAcross : step;  // the same, known to divide
        Place places[kTogether];
        bool inside = true;
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
            places[i] = map.at(first % kAcross + i % kAcross, first / kAcross + i / kAcross);
            inside &= is_inside(places[i], parameters);
        }
        if (inside && TAPS == 6) {
            put(sums_by_rows(parameters, tile, places[0]), finish, parameters, slot(first));
        } else if (inside) {
            Taps taps[kTogether];
#pragma unroll
            for (int i = 0; i < kTogether; ++i) taps[i].load(parameters, tile, places[i]);
#pragma unroll
            for (int i = 0; i < kTogether; ++i) put(sums_of(taps[i], places[i]), finish, parameters, slot(first + i));
        } else {
#pragma unroll 1
            for (int i = first; i < first + kTogether; ++i)
                sample_anywhere(parameters, tile, known_place(map, tile, i % kAcross, i / kAcross), finish, slot(i), 1);
        }
    }
    __syncwarp();
    write_tile(of_warp, parameters, tile);
}

#else

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) warp(const Parameters parameters) {
    const Tile tile = locate(parameters);
    if (tile.row >= parameters.shape[kRow] || tile.column >= parameters.shape[kColumn]) return;  // the whole warp
    const Map<MAP> map(parameters, tile);
    const Finish finish(parameters);
#pragma unroll 1
    for (int step = 0; step < kSteps; ++step) {
        const int across = step % kAcross, below = step / kAcross;
        const int column = tile.my_column + across * kLanesAcross, row = tile.my_row + below * kLanesDown;
        if (column >= parameters.shape[kColumn] || row >= parameters.shape[kRow]) continue;
        OUT* const to = tile.result + row * parameters.result.stride[kRow] + column * parameters.result.stride[kColumn];
        const Place place = known_place(map, tile, across, below);
        sample_anywhere(parameters, tile, place, finish, to, parameters.result.stride[kChannel]);
    }
}

#endif
#endif
