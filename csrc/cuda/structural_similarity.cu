// Structural similarity in one pass over both images (csrc/cpu/structural_similarity.inl has the formula and its
// source: with s = x + y and d = x - y, it needs the local means of s, d, s^2 and d^2).
//
// One or two axes, windows of up to 21 samples: a block makes a strip of up to 120 columns, in steps of 8 rows. A
// thread has one column, of the strip or beside it: the last rows' s and d stay in its registers, each sample is loaded
// once, and its vertical sums of a step go to shared memory (16 KB). Then a thread sums four neighbouring outputs along
// their row from vector loads of 16 bytes, and leaves four indices. Even windows share the sums
// of 2 and of 4 samples: of a 7 x 7 window about 4 additions for a moment and output along either axis, instead of 6.
// Any other number of axes, and wider windows: a thread walks through the whole window of a pixel.
//
// Arithmetic is in float. So that variances, differences of large numbers, do not lose what matters, samples are taken
// relative to one in the middle of the tile (of the window, in the second kernel), and the square of a mean is
// subtracted with its rounding error. Sums of uint8 under even weights of 7 x 7 are exact. Where both images are equal
// the index is exactly 1. Each block adds up its own indices, four in float, then in double; another launch adds up the
// blocks.
//
// From memory: each sample once but for the halo (2 r columns of 120, 2 r rows of a band). Issue slots per pixel
// (sm_90, float): 125 for 7 x 7, of which 35 are additions and multiplications of the window, 190 for 11 x 11 weighted.
//
// Macros: IN (type of samples), MAP (whether the map is wanted), WEIGHTED (or even weights); for the first kernel
// RADIUS, ROW_RADIUS (0 for one axis).
#include "support/border.cuh"
#include "support/sums.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

enum Axis { kColumn, kRow, kPlane, kFurther };  // as structural_similarity.py orders axes
__device__ constexpr int kAxes = kFurther + 6;
#ifdef RADIUS
__device__ constexpr int kInlineWeights = RADIUS + 1;
#else
__device__ constexpr int kInlineWeights = 1;
#endif

struct Parameters {
    View<kAxes> a, b, map;
    int32_t shape[kAxes];
    int32_t further;        // axes
    int32_t origin;         // the first pixel along every axis that is wanted, as many are left out at the end
    int32_t margin;         // the same for those that count
    int32_t strips, bands;  // the grid
    int32_t band;           // rows
    int32_t rows;           // whether there is an axis of rows
    int32_t radius;
    double* result;  // a sum to a block
    double divisor;
    float mean_scale,
        variance_scale;  // to a mean from a sum; to a variance from sum of weights * sum of squares - sum^2
    float total_weight;
    float c1, c2;                          // doubled
    const float* weights;                  // from the centre on
    float inline_weights[kInlineWeights];  // where the radius is known
};

struct Moments {
    float s, d, s2, d2;
};

// total_weight * squares - sum^2, of which only the difference is rounded.
__device__ float scaled_variance(float sum, float squares, const Parameters& parameters) {
    const float square = __fmul_rn(sum, sum), rest = fmaf(sum, sum, -square);
    return parameters.variance_scale * (fmaf(parameters.total_weight, squares, -square) - rest);
}

// The index from weighted sums of moments around the centre (s, d).
__device__ float similarity(const Moments& sums, float s, float d, const Parameters& parameters) {
    const float us = fmaf(sums.s, parameters.mean_scale, s), ud = fmaf(sums.d, parameters.mean_scale, d);
    const float us2 = __fmul_rn(us, us), ud2 = __fmul_rn(ud, ud);
    const float vs = scaled_variance(sums.s, sums.s2, parameters), vd = scaled_variance(sums.d, sums.d2, parameters);
    return __fdiv_rn(us2 - ud2 + parameters.c1, us2 + ud2 + parameters.c1) *
           __fdiv_rn(vs - vd + parameters.c2, vs + vd + parameters.c2);
}

// Around what samples are taken: 0 for what is not finite, so that it stays where it is.
__device__ float centre_of(float sample) { return sample - sample == 0.0f ? sample : 0.0f; }

__device__ bool counts(int i, int n, int margin) { return i >= margin && i < n - margin; }

#ifdef RADIUS

// ---- one or two axes ------------------------------------------------------------------------------------------------

__device__ constexpr int kThreads = 128, kWarps = kThreads / kWarp;
__device__ constexpr int kStep = 8;                                             // rows
__device__ constexpr int kAcross = 4;                                           // outputs of a thread along a row
__device__ constexpr int kWidth = (kThreads - 2 * RADIUS) / kAcross * kAcross;  // columns of a strip
__device__ constexpr int kReach = kStep + 2 * ROW_RADIUS;                       // rows that a step looks at
__device__ constexpr int kSpan = round_up(kAcross + 2 * RADIUS, 4);

// Adds to each of N sums the parts of a window of `Width` samples that are `Length` long or longer, the first of them
// at `At`; parts[i] is the sum of `Length` samples from i on.
template <int Width, int Length, int At, int N, int Size>
__device__ void add_parts(float (&sums)[N], float (&parts)[Size]) {
    if constexpr (Width & Length) {
#pragma unroll
        for (int i = 0; i < N; ++i) sums[i] = At == 0 ? parts[i] : sums[i] + parts[i + At];
    }
    if constexpr (2 * Length <= Width) {
#pragma unroll
        for (int i = 0; i + 2 * Length <= N + Width - 1; ++i) parts[i] += parts[i + Length];
        add_parts<Width, 2 * Length, (Width & Length) ? At + Length : At>(sums, parts);
    }
}

// Sums over `Width` neighbours for each of N places, weighted or even; even ones of their parts of 1, 2, 4, ...
// samples.
template <int Width, int N, int Size>
__device__ void window_sums(float (&sums)[N], float (&values)[Size], const float* weights) {
    static_assert(Size >= N + Width - 1, "values for all windows");
    if constexpr (WEIGHTED && Width > 1) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sums[i] = weights[Width / 2] * values[i];
#pragma unroll
            for (int k = 1; k < Width; ++k)
                sums[i] = fmaf(weights[k < Width / 2 ? Width / 2 - k : k - Width / 2], values[i + k], sums[i]);
        }
    } else {
        add_parts<Width, 1, 0>(sums, values);
    }
}

// Where a block works.
struct Place {
    int column, row, end_row;  // the first column and row of its results
    const IN *a, *b;           // its plane
    float* map;
};

__device__ Place locate(const Parameters& parameters) {
    unsigned rest = blockIdx.x;
    Place place;
    place.column = parameters.origin + int(rest % parameters.strips) * kWidth;
    rest /= parameters.strips;
    const int row_origin = parameters.rows ? parameters.origin : 0;
    place.row = row_origin + int(rest % parameters.bands) * parameters.band;
    place.end_row = min(place.row + parameters.band, parameters.shape[kRow] - row_origin);
    rest /= parameters.bands;
    place.a = parameters.a.at<const IN>(0, 0, rest);
    place.b = parameters.b.at<const IN>(0, 0, rest);
    place.map = MAP ? parameters.map.at<float>(0, 0, rest) : nullptr;
    return place;
}

// A thread's column of both images, continued beyond the border, around the tile's centre.
struct Column {
    const IN *a, *b;
    int64_t a_stride, b_stride;
    int rows;
    float a_centre, b_centre;

    __device__ void load(float& s, float& d, int row) const {
        const int64_t y = border_index(row, rows, kReflect);
        const float x = to_float(a[y * a_stride]) - a_centre, other = to_float(b[y * b_stride]) - b_centre;
        s = x + other;
        d = x - other;
    }
};

__device__ Column column_of_thread(const Place& place, const Parameters& parameters) {
    const int columns = parameters.shape[kColumn];
    Column column = {place.a, place.b, parameters.a.stride[kRow], parameters.b.stride[kRow], parameters.shape[kRow],
                     0,       0};
    const int64_t middle_x = min(place.column + kWidth / 2, columns - 1);
    const int64_t middle_y = (place.row + place.end_row) / 2;
    const int64_t a_middle = middle_x * parameters.a.stride[kColumn] + middle_y * column.a_stride;
    const int64_t b_middle = middle_x * parameters.b.stride[kColumn] + middle_y * column.b_stride;
    column.a_centre = centre_of(to_float(place.a[a_middle]));
    column.b_centre = centre_of(to_float(place.b[b_middle]));
    const int64_t x = border_index(place.column - RADIUS + int(threadIdx.x), columns, kReflect);
    column.a += x * parameters.a.stride[kColumn];
    column.b += x * parameters.b.stride[kColumn];
    return column;
}

// A step's vertical sums: the four moments of rows of columns.
typedef float Sums[4][kStep][kThreads];

__device__ void sum_columns(Sums& sums, const float (&s)[kReach], const float (&d)[kReach],
                            const Parameters& parameters) {
    constexpr int kTaps = 2 * ROW_RADIUS + 1;
    const float* const weights = parameters.inline_weights;
    float moment[kReach], of_rows[kStep];
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int y = 0; y < kReach; ++y) moment[y] = m == 0 ? s[y] : m == 1 ? d[y] : m == 2 ? s[y] * s[y] : d[y] * d[y];
        window_sums<kTaps>(of_rows, moment, weights);
#pragma unroll
        for (int y = 0; y < kStep; ++y) sums[m][y][threadIdx.x] = of_rows[y];
    }
}

// The indices of four neighbours in row `y` of a step, from column 4 * group of the strip on.
__device__ void sum_row(float (&indices)[kAcross], const Sums& sums, int y, int group, const Column& column,
                        const Parameters& parameters) {
    constexpr int kTaps = 2 * RADIUS + 1;
    float moments[4][kAcross];
#pragma unroll
    for (int m = 0; m < 4; ++m) {
        float values[kSpan];
#pragma unroll
        for (int i = 0; i < kSpan; i += 4) {
            const Pack<float, 4> pack = load_pack<4>(&sums[m][y][group * kAcross + i]);
#pragma unroll
            for (int k = 0; k < 4; ++k) values[i + k] = pack.values[k];
        }
        window_sums<kTaps>(moments[m], values, parameters.inline_weights);
    }
    const float s = column.a_centre + column.b_centre, d = column.a_centre - column.b_centre;
#pragma unroll
    for (int i = 0; i < kAcross; ++i)
        indices[i] = similarity({moments[0][i], moments[1][i], moments[2][i], moments[3][i]}, s, d, parameters);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) structural_similarity(const Parameters parameters) {
    alignas(16) __shared__ Sums sums;
    const Place place = locate(parameters);
    const Column column = column_of_thread(place, parameters);
    const int end_column = parameters.shape[kColumn] - parameters.origin;
    const int group = int(threadIdx.x) % kWarp, x = place.column + group * kAcross;
    const int row_margin = parameters.rows ? parameters.margin : 0;
    float s[kReach], d[kReach];
#pragma unroll
    for (int y = 0; y < 2 * ROW_RADIUS; ++y) column.load(s[y], d[y], place.row - ROW_RADIUS + y);
    double total = 0;
    for (int first = place.row; first < place.end_row; first += kStep) {
#pragma unroll
        for (int y = 2 * ROW_RADIUS; y < kReach; ++y) column.load(s[y], d[y], first - ROW_RADIUS + y);
        sum_columns(sums, s, d, parameters);
#pragma unroll
        for (int y = 0; y < 2 * ROW_RADIUS; ++y) {
            s[y] = s[y + kStep];
            d[y] = d[y + kStep];
        }
        __syncthreads();
        for (int y = int(threadIdx.x) / kWarp; y < kStep; y += kWarps) {
            if (first + y >= place.end_row || group >= kWidth / kAcross || x >= end_column) continue;
            float indices[kAcross], sum = 0;
            sum_row(indices, sums, y, group, column, parameters);
            const bool row_counts = counts(first + y, parameters.shape[kRow], row_margin);
#pragma unroll
            for (int i = 0; i < kAcross; ++i) {
                if (x + i >= end_column) break;
                if (MAP)
                    place.map[(first + y) * parameters.map.stride[kRow] + (x + i) * parameters.map.stride[kColumn]] =
                        indices[i];
                if (!MAP || (row_counts && counts(x + i, parameters.shape[kColumn], parameters.margin)))
                    sum += indices[i];
            }
            total += double(sum);
        }
        __syncthreads();
    }
    total = sum_of_block(total);
    if (threadIdx.x == 0) parameters.result[blockIdx.x] = total / parameters.divisor;
}

#else

// ---- any number of axes ---------------------------------------------------------------------------------------------

__device__ float weight_at(int distance, const Parameters& parameters) {
    return WEIGHTED ? parameters.weights[distance < 0 ? -distance : distance] : 1.0f;
}

// A slice of the window along the further axes: where it lies in both images, and its weight.
struct Slice {
    const IN *a, *b;
    float weight;
};

__device__ Slice slice_of(int64_t number, const int (&index)[kAxes], Slice slice, const Parameters& parameters) {
    const int taps = 2 * parameters.radius + 1;
#pragma unroll
    for (int k = 0; k < kAxes - kFurther; ++k) {
        if (k >= parameters.further) break;
        const int axis = kFurther + k, distance = int(number % taps) - parameters.radius;
        number /= taps;
        const int64_t at = border_index(index[axis] + distance, parameters.shape[axis], kReflect);
        slice.a += at * parameters.a.stride[axis];
        slice.b += at * parameters.b.stride[axis];
        slice.weight *= weight_at(distance, parameters);
    }
    return slice;
}

__device__ void add(Moments& sums, float weight, const Moments& moments) {
    sums.s = fmaf(weight, moments.s, sums.s);
    sums.d = fmaf(weight, moments.d, sums.d);
    sums.s2 = fmaf(weight, moments.s2, sums.s2);
    sums.d2 = fmaf(weight, moments.d2, sums.d2);
}

// The moments of the window around a pixel, summed row by row.
__device__ Moments sum_window(const int (&index)[kAxes], const Slice& plane, float x, float y,
                              const Parameters& parameters) {
    const int radius = parameters.radius, row_radius = parameters.rows ? radius : 0;
    int64_t slices = 1;
    for (int k = 0; k < parameters.further; ++k) slices *= 2 * radius + 1;
    Moments sums = {0, 0, 0, 0};
    for (int64_t n = 0; n < slices; ++n) {
        const Slice slice = slice_of(n, index, plane, parameters);
        for (int j = -row_radius; j <= row_radius; ++j) {
            const int64_t row = border_index(index[kRow] + j, parameters.shape[kRow], kReflect);
            const IN* const a = slice.a + row * parameters.a.stride[kRow];
            const IN* const b = slice.b + row * parameters.b.stride[kRow];
            Moments of_row = {0, 0, 0, 0};
            for (int i = -radius; i <= radius; ++i) {
                const int64_t column = border_index(index[kColumn] + i, parameters.shape[kColumn], kReflect);
                const float dx = to_float(a[column * parameters.a.stride[kColumn]]) - x;
                const float dy = to_float(b[column * parameters.b.stride[kColumn]]) - y;
                const float s = dx + dy, d = dx - dy;
                add(of_row, weight_at(i, parameters), {s, d, s * s, d * d});
            }
            add(sums, slice.weight * (parameters.rows ? weight_at(j, parameters) : 1.0f), of_row);
        }
    }
    return sums;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) structural_similarity_any(const Parameters parameters) {
    int64_t rest = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    int index[kAxes] = {};
    bool counted = true;
    Slice plane = {static_cast<const IN*>(parameters.a.data), static_cast<const IN*>(parameters.b.data), 1.0f};
    int64_t a = 0, b = 0, map = 0;  // where the pixel lies
#pragma unroll
    for (int k = 0; k < kAxes; ++k) {
        const int axis = k < 2 ? k : k < kAxes - 1 ? k + 1 : int(kPlane);  // planes last
        if (axis >= kFurther + parameters.further) continue;
        const bool spans = axis != kPlane && (axis != kRow || parameters.rows);  // whether the window spans this axis
        const int origin = spans ? parameters.origin : 0, n = parameters.shape[axis] - 2 * origin;
        const int64_t quotient = rest / n;
        index[axis] = int(rest - quotient * n) + origin;
        rest = quotient;
        counted &= counts(index[axis], parameters.shape[axis], spans ? parameters.margin : 0);
        a += index[axis] * parameters.a.stride[axis];
        b += index[axis] * parameters.b.stride[axis];
        map += index[axis] * parameters.map.stride[axis];
        if (axis == kPlane) {
            plane.a += index[axis] * parameters.a.stride[axis];
            plane.b += index[axis] * parameters.b.stride[axis];
        }
    }
    double total = 0;
    if (rest == 0) {  // within the last plane
        const float x = centre_of(to_float(static_cast<const IN*>(parameters.a.data)[a]));
        const float y = centre_of(to_float(static_cast<const IN*>(parameters.b.data)[b]));
        const float value = similarity(sum_window(index, plane, x, y, parameters), x + y, x - y, parameters);
        if (MAP) static_cast<float*>(parameters.map.data)[map] = value;
        if (counted) total = double(value);
    }
    total = sum_of_block(total);
    if (threadIdx.x == 0) parameters.result[blockIdx.x] = total / parameters.divisor;
}

#endif

extern "C" __global__ void __launch_bounds__(1024) mean_of_shares(const Shares shares) { add_shares(shares); }
