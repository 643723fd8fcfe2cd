// Resizing by separable interpolation, as MATLAB's imresize does it (csrc/cpu/resize.hpp has the formula).
//
// A small launch writes the weights of both axes to scratch memory, in double, because they decide where sums are
// rounded: 6,000 windows for a picture of 4K, a few microseconds. Nothing is kept between calls, so nothing depends on
// streams, and a captured graph holds all that it needs.
//
// Then one launch does both passes. A block makes 256 elements of a line (columns times channels) by up to 16 lines of
// the result; the pass that comes first fills a piece of shared memory, the second reads it.
//   Rows first: warps take the lines, lanes the input columns that the tile needs; the samples of a column's window
//   come straight from memory, each line of which serves several windows out of the first-level cache. Then a thread
//   has one column of the result, whose weights stay in its registers, and goes down the lines in shared memory.
//   Columns first: a thread has one column of the result in both passes, and no barrier is needed between them.
// Where a tile would need too much shared memory (shrinking by more than about 24), two launches do one pass each, with
// scratch memory between them.
//
// uint8 is computed in float, and again in 64 bits where a sum comes nearer to a half than its error could reach;
// uint16 in 64 bits throughout, weights being multiples of 2^-46: results are rounded as if sums were exact, as on the
// CPU. (A uint16 window of more than 8 samples may miss a sum of exactly a half, one in thousands of such sums.)
//
// From memory, each input and output sample once; the halo of tiles comes from the second-level cache. Issue slots for
// a sample of bicubic enlarging by 2 (sm_90): 43 for float, 64 for uint8 and uint16, of which 6 are multiply-adds and
// 12 what a block begins with.
//
// Macros: none for the weights; IN, OUT (types of samples) for a pass at a time; and for both passes CHANNELS (side by
// side in a tile: 1 to 4, else a part of them), DENSE (whether elements of the image's lines lie side by side),
// COLUMNS_FIRST, TAPS (samples of all windows if the same number along both axes and worth an own kernel, else 0).
#include "support/border.cuh"
#include "support/samples.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kFraction = 46;  // bits of exact weights

#ifndef IN

// ---- weights --------------------------------------------------------------------------------------------------------

enum Kernel { kBox, kTriangle, kCubic, kLanczos2, kLanczos3 };  // as resize.py numbers them

struct Axis {
    int32_t length, output_length;
    int32_t window, width;  // samples of a window, and of those within the image
    int32_t kernel, mode;
    double scale, stretch, radius;
    int32_t* first;  // by output sample
    float* weight;   // by sample of the window, then output sample
    double* exact;   // the same; at last, for integer results, as 64-bit multiples of 2^-kFraction
};

struct Parameters {
    Axis axes[2];
    int32_t integers;
};

// Exactly 0 at all integers but 0.
__device__ double sinc(double x) {
    const double nearest = rint(x);
    if (x == nearest) return x == 0 ? 1.0 : 0.0;
    const double pi = 3.14159265358979323846, y = pi * (x - nearest), y2 = y * y;  // |y| < pi / 2
    double series = 0;
#pragma unroll
    for (int k = 11; k >= 0; --k) series = 1 - y2 * series / ((2 * k + 2) * (2 * k + 3));
    const double sine = y * series;
    return ((int(nearest) & 1) ? -sine : sine) / (pi * x);
}

__device__ double kernel_value(int kernel, double x) {
    const double a = fabs(x);
    if (kernel == kBox) return x >= -0.5 && x < 0.5 ? 1.0 : 0.0;
    if (kernel == kTriangle) return fmax(1.0 - a, 0.0);
    if (kernel == kCubic) {
        if (a <= 1) return (1.5 * a - 2.5) * a * a + 1.0;
        return a < 2 ? ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0 : 0.0;
    }
    const double lobes = kernel == kLanczos2 ? 2.0 : 3.0;
    return a < lobes ? sinc(x) * sinc(x / lobes) : 0.0;
}

__device__ void write_window(const Axis& axis, int i, bool integers) {
    const int64_t n = axis.output_length;
    const double u = (double(i) + 0.5) / axis.scale - 0.5;
    // The first sample beyond u - radius; of a stretched box, whose ends count in full, also one that is on it.
    const int left = int(floor(u - axis.radius)) + (axis.kernel == kBox && axis.stretch < 1 ? 0 : 1);
    const int first = min(max(left, 0), axis.length - axis.width);  // where all samples are, folded back at borders
    double* const slots = axis.exact + i;
    for (int t = 0; t < axis.width; ++t) slots[t * n] = 0;
    double sum = 0;
    for (int p = left; p < left + axis.window; ++p) {
        const double value = kernel_value(axis.kernel, axis.stretch * (u - double(p)));
        const int t = border_index(p, axis.length, axis.mode) - first;
        if (t < 0 || t >= axis.width) continue;
        slots[t * n] += value;
        sum += value;
    }
    for (int t = 0; t < axis.width; ++t) {
        const double weight = slots[t * n] / sum;
        axis.weight[t * n + i] = float(weight);
        if (integers)
            reinterpret_cast<int64_t*>(slots)[t * n] = __double2ll_rn(weight * double(int64_t(1) << kFraction));
    }
    axis.first[i] = first;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128) resize_weights(const Parameters parameters) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x), rows = parameters.axes[0].output_length;
    if (i < rows)
        write_window(parameters.axes[0], i, parameters.integers);
    else if (i - rows < parameters.axes[1].output_length)
        write_window(parameters.axes[1], i - rows, parameters.integers);
}

#else

// ---- sums -----------------------------------------------------------------------------------------------------------

__device__ constexpr bool kWhole = is_integer<OUT>;        // sums are rounded, after each pass
__device__ constexpr bool kWide = is_same<OUT, uint16_t>;  // and exact
__device__ constexpr int64_t kHalf = (int64_t(1) << (kFraction - 1)) + (int64_t(1) << (kFraction - 28));  // and a tie

template <bool Wide>
struct Arithmetic {
    typedef float Value;
    typedef float Sum;
    typedef float Weight;
    typedef float Between;  // in memory between the passes
};
template <>
struct Arithmetic<true> {
    typedef uint32_t Value;
    typedef int64_t Sum;
    typedef int64_t Weight;
    typedef uint16_t Between;
};
typedef Arithmetic<kWide>::Value Value;
typedef Arithmetic<kWide>::Sum Sum;
typedef Arithmetic<kWide>::Weight Weight;
typedef Arithmetic<kWide>::Between Between;

// The windows of an axis, as resize_weights has left them.
struct Windows {
    const int32_t* first;
    const float* weight;
    const int64_t* exact;
    int32_t width;
    int32_t size;  // output samples
    float margin;  // what a sum may be off; 0 where it is exact
};

template <class T>
__device__ Value value_of(T x) {
    if constexpr (kWide)
        return Value(x);
    else
        return to_float(x);
}

__device__ Weight weight_of(const Windows& windows, int t, int i) {
    const int64_t at = int64_t(t) * windows.size + i;
    if constexpr (kWide)
        return windows.exact[at];
    else
        return windows.weight[at];
}

__device__ Sum add_product(Weight weight, Value value, Sum sum) {
    if constexpr (kWide)
        return sum + weight * int64_t(value);
    else
        return fmaf(weight, value, sum);
}

// Output sample i from samples that lie `step` apart, rounded half up as if the sum were exact.
template <class T>
__device__ float rounded_again(const T* samples, int64_t step, const Windows& windows, int i) {
    int64_t sum = kHalf;
    const int64_t* weight = windows.exact + i;
#pragma unroll 1
    for (int t = 0; t < windows.width; ++t, weight += windows.size, samples += step)
        sum += *weight * int64_t(value_of(*samples));
    return float(int(sum >> kFraction));
}

// What becomes of a sum: a whole number within the range of uint8 or uint16, or what it is.
template <class T, class S>
__device__ Value finished(S sum, const T* samples, int64_t step, const Windows& windows, int i) {
    if constexpr (is_same<S, int64_t>) {
        const int whole = int((sum + kHalf) >> kFraction);
        return Value(min(max(whole, 0), 65535));
    } else if constexpr (kWhole) {
        constexpr float kRound = 12582912.0f;  // 1.5 x 2^23: adding it rounds to whole numbers, half to even
        float whole = __fadd_rn(sum, kRound) - kRound;
        const float off = sum - whole;
        if (off == 0.5f) whole += 1.0f;
        if (fabsf(off) > 0.5f - windows.margin) whole = rounded_again(samples, step, windows, i);
        return fminf(fmaxf(whole, 0.0f), kTop<OUT>);
    } else {
        return sum;
    }
}

template <class T, class V>
__device__ T result_of(V value, float factor) {
    if constexpr (is_same<V, uint32_t>)
        return T(value);
    else if constexpr (is_integer<T>)  // the lowest byte of 2^23 + value is the value
        return T(__float_as_uint(value + 8388608.0f));
    else
        return from_float<T>(value * factor);
}

// ---- where things lie -----------------------------------------------------------------------------------------------

enum AxisNumber { kRow, kColumn, kChannel, kBatch };  // as resize.py orders axes
__device__ constexpr int kAxes = kBatch + 5;

struct Parameters {
    View<kAxes> image, result;
    Windows rows, columns;
    int32_t shape[kAxes];  // of the result
    int32_t batch_axes;
    int32_t tiles_across, tiles_down, channel_parts;
    int32_t tile_rows;
    int32_t pitch;  // of a line in shared memory
    int32_t axis;   // of a single pass
    float factor;   // of float results
};

// Moves both pointers to an image of the batch.
template <class From, class To>
__device__ void go_to_image(const From*& image, To*& result, const Parameters& parameters, unsigned index) {
    for (int axis = kBatch; axis < kBatch + parameters.batch_axes; ++axis) {
        const unsigned n = unsigned(parameters.shape[axis]), i = index % n;
        image += i * parameters.image.stride[axis];
        result += i * parameters.result.stride[axis];
        index /= n;
    }
}

#ifdef CHANNELS

// ---- both passes ----------------------------------------------------------------------------------------------------

__device__ constexpr int kThreads = 256, kWarps = kThreads / kWarp;
__device__ constexpr int kBlocks = COLUMNS_FIRST ? 2 : 3;  // to a multiprocessor at least: leaves registers enough
__device__ constexpr int kTileColumns = kThreads / CHANNELS;
__device__ constexpr int kGroup = kWide ? 2 : 4;       // results that a thread makes at a time
__device__ constexpr int kKept = TAPS > 0 ? TAPS : 1;  // weights in registers

struct Tile {
    const IN* image;  // at the first channel of the tile, row 0, column 0
    OUT* result;
    int row, end_row, column, end_column;  // of the result
    int channels;
};

__device__ Tile locate(const Parameters& parameters) {
    unsigned rest = blockIdx.x;
    Tile tile;
    tile.column = int(rest % parameters.tiles_across) * kTileColumns;
    rest /= parameters.tiles_across;
    tile.row = int(rest % parameters.tiles_down) * parameters.tile_rows;
    rest /= parameters.tiles_down;
    const int channel = int(rest % parameters.channel_parts) * CHANNELS;
    rest /= parameters.channel_parts;
    tile.end_column = min(tile.column + kTileColumns, parameters.shape[kColumn]);
    tile.end_row = min(tile.row + parameters.tile_rows, parameters.shape[kRow]);
    tile.channels = min(CHANNELS, parameters.shape[kChannel] - channel);
    tile.image = static_cast<const IN*>(parameters.image.data) + channel * parameters.image.stride[kChannel];
    tile.result = static_cast<OUT*>(parameters.result.data) + channel * parameters.result.stride[kChannel];
    go_to_image(tile.image, tile.result, parameters, rest);
    return tile;
}

// A column of the result and its channel: what a thread works at.
struct Column {
    int j, channel;
    bool inside;
    Weight weight[kKept];
};

__device__ Column column_of_thread(const Tile& tile, const Windows& columns) {
    Column column;
    const int e = int(threadIdx.x);
    column.j = tile.column + e / CHANNELS;
    column.channel = e % CHANNELS;
    column.inside = column.j < tile.end_column && column.channel < tile.channels;
    if (!column.inside) return column;
    if constexpr (TAPS > 0) {
#pragma unroll
        for (int t = 0; t < kKept; ++t) column.weight[t] = weight_of(columns, t, column.j);
    }
    return column;
}

// The sums of `kGroup` lines, `line` apart, over the thread's window along the columns.
template <class T>
__device__ void weigh_columns(Sum (&sums)[kGroup], const T* samples, int64_t line, int64_t step, int lines,
                              const Column& column, const Windows& columns) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) sums[k] = 0;
    if constexpr (TAPS > 0) {
#pragma unroll
        for (int k = 0; k < kGroup; ++k) {
            if (k >= lines) break;
#pragma unroll
            for (int t = 0; t < kKept; ++t)
                sums[k] = add_product(column.weight[t], value_of(samples[k * line + t * step]), sums[k]);
        }
    } else {
        for (int t = 0; t < columns.width; ++t, samples += step) {
            const Weight weight = weight_of(columns, t, column.j);
#pragma unroll
            for (int k = 0; k < kGroup; ++k)
                if (k < lines) sums[k] = add_product(weight, value_of(samples[k * line]), sums[k]);
        }
    }
}

#if COLUMNS_FIRST

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) resize(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(Between, between);  // a column to a thread, which no other thread sees
    const Windows &rows = parameters.rows, &columns = parameters.columns;
    const Tile tile = locate(parameters);
    const Column column = column_of_thread(tile, columns);
    if (!column.inside) return;
    const int begin = rows.first[tile.row], end = rows.first[tile.end_row - 1] + rows.width;
    const int64_t line = parameters.image.stride[kRow], step = DENSE ? CHANNELS : parameters.image.stride[kColumn];
    const IN* samples =
        tile.image + begin * line + columns.first[column.j] * step + column.channel * parameters.image.stride[kChannel];
    Between* const own = between + threadIdx.x;
    for (int y = 0; y < end - begin; y += kGroup, samples += kGroup * line) {
        const int lines = min(kGroup, end - begin - y);
        Sum sums[kGroup];
        weigh_columns(sums, samples, line, step, lines, column, columns);
#pragma unroll
        for (int k = 0; k < kGroup; ++k)
            if (k < lines)
                own[(y + k) * kThreads] = Between(finished(sums[k], samples + k * line, step, columns, column.j));
    }
    OUT* to = tile.result + tile.row * parameters.result.stride[kRow] + column.j * parameters.result.stride[kColumn] +
              column.channel * parameters.result.stride[kChannel];
    for (int i = tile.row; i < tile.end_row; ++i, to += parameters.result.stride[kRow]) {
        const Between* const window = own + (rows.first[i] - begin) * kThreads;
        const int width = TAPS > 0 ? TAPS : rows.width;
        Sum sum = 0;
#pragma unroll 4
        for (int t = 0; t < width; ++t) sum = add_product(weight_of(rows, t, i), value_of(window[t * kThreads]), sum);
        *to = result_of<OUT>(finished(sum, window, kThreads, rows, i), parameters.factor);
    }
}

#else

__device__ constexpr int kMostRows = 16;  // of a tile

// The windows of the tile's lines, where they are short.
struct RowWindows {
    Weight weight[kMostRows][kKept];
    int first[kMostRows];
};

__device__ void load_row_windows(RowWindows& windows, const Tile& tile, const Windows& rows) {
    for (int n = int(threadIdx.x); n < (tile.end_row - tile.row) * kKept; n += kThreads) {
        const int i = n / kKept, t = n % kKept;
        if (TAPS > 0) windows.weight[i][t] = weight_of(rows, t, tile.row + i);
        if (t == 0) windows.first[i] = rows.first[tile.row + i];
    }
}

// Elements of the lines between the passes from the rows of the image. A warp has a line, or a part of one where there
// are fewer lines than warps; a lane has `kGroup` elements at a time, a warp's width apart.
__device__ void weigh_rows(Between* between, const RowWindows& windows, const Tile& tile, int begin, int elements,
                           const Parameters& parameters) {
    const Windows& rows = parameters.rows;
    const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp, lines = tile.end_row - tile.row;
    const int at_once = min(kWarps, parameters.tile_rows), part = warp / at_once, parts = kWarps / at_once;
    const int64_t line = parameters.image.stride[kRow], column_stride = parameters.image.stride[kColumn];
    for (int e = lane + part * kGroup * kWarp; e < elements; e += parts * kGroup * kWarp) {
        int64_t offsets[kGroup];
        bool inside[kGroup];
#pragma unroll
        for (int k = 0; k < kGroup; ++k) {
            const int element = e + k * kWarp;
            inside[k] = element < elements;
            offsets[k] = k * kWarp;
            if (!DENSE) {
                inside[k] &= element % CHANNELS < tile.channels;
                offsets[k] =
                    element / CHANNELS * column_stride + element % CHANNELS * parameters.image.stride[kChannel];
            }
        }
        const IN* const column = tile.image + (DENSE ? begin * CHANNELS + e : begin * column_stride);
        for (int i = warp % at_once; i < lines; i += at_once) {
            const IN* const first = column + windows.first[i] * line;
            const IN* row = first;
            const int width = TAPS > 0 ? TAPS : rows.width;
            Sum sums[kGroup] = {};
#pragma unroll(TAPS > 0 ? TAPS : 2)
            for (int t = 0; t < width; ++t, row += line) {
                const Weight weight = TAPS > 0 ? windows.weight[i][t] : weight_of(rows, t, tile.row + i);
#pragma unroll
                for (int k = 0; k < kGroup; ++k)
                    sums[k] = add_product(weight, value_of(inside[k] ? row[offsets[k]] : IN{}), sums[k]);
            }
            Between* const to = between + i * parameters.pitch + e;
#pragma unroll
            for (int k = 0; k < kGroup; ++k)
                if (inside[k]) to[k * kWarp] = Between(finished(sums[k], first + offsets[k], line, rows, tile.row + i));
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) resize(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(Between, between);  // the tile's lines, `pitch` apart, of the input columns that it needs
    alignas(16) __shared__ RowWindows windows;
    const Windows& columns = parameters.columns;
    const Tile tile = locate(parameters);
    load_row_windows(windows, tile, parameters.rows);
    const int begin = columns.first[tile.column], end = columns.first[tile.end_column - 1] + columns.width;
    __syncthreads();
    weigh_rows(between, windows, tile, begin, (end - begin) * CHANNELS, parameters);
    __syncthreads();

    const Column column = column_of_thread(tile, columns);
    if (!column.inside) return;
    const int64_t line = parameters.result.stride[kRow];
    const Between* samples = between + (columns.first[column.j] - begin) * CHANNELS + column.channel;
    OUT* to = tile.result + tile.row * line + column.j * parameters.result.stride[kColumn] +
              column.channel * parameters.result.stride[kChannel];
    for (int i = tile.row; i < tile.end_row; i += kGroup, samples += kGroup * parameters.pitch, to += kGroup * line) {
        const int lines = min(kGroup, tile.end_row - i);
        Sum sums[kGroup];
        weigh_columns(sums, samples, parameters.pitch, CHANNELS, lines, column, columns);
#pragma unroll
        for (int k = 0; k < kGroup; ++k)
            if (k < lines)
                to[k * line] = result_of<OUT>(
                    finished(sums[k], samples + k * parameters.pitch, CHANNELS, columns, column.j), parameters.factor);
    }
}

#endif

#else

// ---- a pass at a time -----------------------------------------------------------------------------------------------

// One element of `result`, along `axis` the weighted sum of a window of `image`.
template <class From, class To>
__device__ void pass(const Parameters& parameters) {
    const int columns = parameters.shape[kColumn], channels = parameters.shape[kChannel];
    const int64_t e = int64_t(blockIdx.x % unsigned(parameters.tiles_across)) * blockDim.x + threadIdx.x;
    unsigned rest = blockIdx.x / unsigned(parameters.tiles_across);
    if (e >= int64_t(columns) * channels) return;
    const int row = int(rest % unsigned(parameters.shape[kRow]));
    const int column = int(e / channels), channel = int(e - int64_t(column) * channels);
    const From* samples = static_cast<const From*>(parameters.image.data);
    To* to = static_cast<To*>(parameters.result.data);
    go_to_image(samples, to, parameters, rest / unsigned(parameters.shape[kRow]));
    const bool across = parameters.axis == kRow;
    const Windows& windows = across ? parameters.rows : parameters.columns;
    const int i = across ? row : column, first = windows.first[i];
    samples += (across ? first : row) * parameters.image.stride[kRow] +
               (across ? column : first) * parameters.image.stride[kColumn] +
               channel * parameters.image.stride[kChannel];
    const int64_t step = across ? parameters.image.stride[kRow] : parameters.image.stride[kColumn];
    Sum sum = 0;
#pragma unroll 4
    for (int t = 0; t < windows.width; ++t)
        sum = add_product(weight_of(windows, t, i), value_of(samples[t * step]), sum);
    const Value value = finished(sum, samples, step, windows, i);
    to += row * parameters.result.stride[kRow] + column * parameters.result.stride[kColumn] +
          channel * parameters.result.stride[kChannel];
    *to = result_of<To>(value, parameters.factor);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) resize_first_pass(const Parameters parameters) {
    pass<IN, Between>(parameters);
}

extern "C" __global__ void __launch_bounds__(256) resize_second_pass(const Parameters parameters) {
    pass<Between, OUT>(parameters);
}

#endif
#endif
