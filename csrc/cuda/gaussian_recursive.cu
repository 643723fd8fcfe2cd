// Recursive Gaussian along one axis (csrc/cpu/gaussian_recursive.inl has the recursion, and what borders do to it).
//
// Lines are cut into blocks of 32 samples, a thread to each (after D. Nehab, A. Maximo, R. Lima, H. Hoppe, "GPU-efficient
// recursive filtering and summed-area tables", SIGGRAPH Asia 2011). Three launches for an axis:
//
// - gaussian_recursive_*_ends: the states that each block ends in, forward and backward, if they begin at nothing.
// - gaussian_recursive_scan: in place of them, the states that each block begins with. A thread takes a line and a pole,
//   finds what the borders begin with, and goes through the line's blocks once, both ways.
// - gaussian_recursive_*_filter: a block forward and backward, in registers. It may work in place.
//
// * is "columns" where neighbouring threads have neighbouring lines, "rows" where lines are dense in memory themselves: a
// warp brings the same block of 32 rows into shared memory, a row to an access, then takes a row to a thread. Interleaved
// channels, up to four, are lines of their own, of correspondingly fewer rows.
//
// Counts for a sample and axis (sm_90a): 24 multiply-adds for the ends in 32 issue slots along columns and 41 along rows,
// 36 for the filter in 58 and 74. 3 accesses of a sample to device memory; states, 48 bytes for a block, four times.
//
// Macros: IN, OUT (types of samples), CHANNELS (interleaved in a row; 1 for columns), AXES (that number lines, after
// merging; the last runs fastest, and is that of the channels if there are several).
#include "support/offset.cuh"
#include "support/samples.cuh"
#include "support/vector_access.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kThreads = 128, kWarps = kThreads / kWarp;
__device__ constexpr int kThreadsOfScan = 64;
__device__ constexpr int kPoles = 3;
__device__ constexpr int kBlock = 32;
__device__ constexpr int kChannel = AXES - 1, kAlong = AXES;  // strides of a view, after those of the lines

struct Complex {
    float re, im;
};

struct Parameters {
    View<AXES + 1> image, result;
    float* states;  // [forward, backward][pole][block][line][re, im]
    int64_t shape[AXES], lines;
    int32_t groups;  // of lines, one to a block of threads
    int32_t n, blocks;
    int32_t reach;                // whole blocks that count at a border, beside the outermost
    int32_t edge;                 // samples of the outermost block that count there, and of these
    int32_t skipped;              // those that do not, at the border
    float centre, sign, outside;  // the sign is that of what comes before a sample
    Complex poles[kPoles], residues[kPoles];
    Complex near[kPoles], far[kPoles];                  // what a border makes of the line's two ends
    Complex across_block[kPoles], across_last[kPoles];  // powers of the poles that lead from end to end
};

// factor * state + x
__device__ Complex carried(Complex factor, Complex state, Complex x) {
    return {fmaf(factor.re, state.re, fmaf(-factor.im, state.im, x.re)),
            fmaf(factor.re, state.im, fmaf(factor.im, state.re, x.im))};
}

__device__ Complex load_state(const float* states, int64_t i) {
    const Pack<float, 2> pack = load_pack<2>(states + 2 * i);
    return {pack.values[0], pack.values[1]};
}

__device__ void store_state(float* states, int64_t i, Complex state) {
    store_pack(states + 2 * i, Pack<float, 2>{{state.re, state.im}});
}

struct States {
    Complex of[kPoles] = {};

    __device__ void advance(const Parameters& by, float x) {
#pragma unroll
        for (int j = 0; j < kPoles; ++j) of[j] = carried(by.poles[j], of[j], {x, 0.0f});
    }
    __device__ float response(const Parameters& by) const {
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < kPoles; ++j)
            sum = fmaf(by.residues[j].re, of[j].re, fmaf(-by.residues[j].im, of[j].im, sum));
        return sum;
    }
};

// Which of all states is that of a block of a line.
__device__ int64_t place_of_states(const Parameters& parameters, int direction, int pole, int block, int64_t line) {
    return (int64_t(direction * kPoles + pole) * parameters.blocks + block) * parameters.lines + line;
}

// The work of both kinds of kernels. `Lines` tells which block of which line a thread has, if it has one, and how many
// samples that has; it loads them, zeros after the last, and stores them.
template <class Lines>
__device__ void find_ends(const Parameters& parameters, Lines&& lines) {
    float x[kBlock];
    lines.load(parameters, x);
    States ends[2];
#pragma unroll
    for (int k = 0; k < kBlock; ++k) {
        ends[0].advance(parameters, x[k]);
        ends[1].advance(parameters, x[kBlock - 1 - k]);
    }
    if (!lines.used) return;
#pragma unroll
    for (int direction = 0; direction < 2; ++direction)
#pragma unroll
        for (int j = 0; j < kPoles; ++j)
            store_state(parameters.states, place_of_states(parameters, direction, j, lines.block, lines.line),
                        ends[direction].of[j]);
}

template <class Lines>
__device__ void filter(const Parameters& parameters, Lines&& lines) {
    States states[2];
    if (lines.used)
#pragma unroll
        for (int direction = 0; direction < 2; ++direction)
#pragma unroll
            for (int j = 0; j < kPoles; ++j)
                states[direction].of[j] =
                    load_state(parameters.states, place_of_states(parameters, direction, j, lines.block, lines.line));
    float x[kBlock], y[kBlock];
    lines.load(parameters, x);
#pragma unroll
    for (int k = 0; k < kBlock; ++k) {
        y[k] = fmaf(parameters.sign, states[0].response(parameters), parameters.centre * x[k]);
        states[0].advance(parameters, x[k]);
    }
#pragma unroll
    for (int k = kBlock - 1; k >= 0; --k)
        if (k < lines.count) {
            y[k] += states[1].response(parameters);
            states[1].advance(parameters, x[k]);
        }
    lines.store(parameters, y);
}

// ---- neighbouring threads have neighbouring lines --------------------------------------------------------------------

struct Columns {
    int64_t line;
    int block, count;
    bool used;

    __device__ explicit Columns(const Parameters& parameters)
        : line(int64_t(int(blockIdx.x) % parameters.groups) * kThreads + threadIdx.x),
          block(int(blockIdx.x) / parameters.groups),
          count(min(kBlock, parameters.n - block * kBlock)),
          used(line < parameters.lines) {}

    template <class T>
    __device__ T* first(const Parameters& parameters, const View<AXES + 1>& view) const {
        return view.template at<T>() + offset_of<AXES>(line, parameters.shape, view.stride) +
               int64_t(block * kBlock) * view.stride[kAlong];
    }
    __device__ void load(const Parameters& parameters, float (&x)[kBlock]) const {
        const IN* in = first<IN>(parameters, parameters.image);
#pragma unroll
        for (int k = 0; k < kBlock; ++k, in += parameters.image.stride[kAlong])
            x[k] = used && k < count ? to_float(*in) : 0.0f;
    }
    __device__ void store(const Parameters& parameters, const float (&y)[kBlock]) const {
        OUT* out = first<OUT>(parameters, parameters.result);
#pragma unroll
        for (int k = 0; k < kBlock; ++k, out += parameters.result.stride[kAlong])
            if (used && k < count) *out = from_float<OUT>(y[k]);
    }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 8) gaussian_recursive_columns_ends(const Parameters parameters) {
    find_ends(parameters, Columns(parameters));
}

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    gaussian_recursive_columns_filter(const Parameters parameters) {
    filter(parameters, Columns(parameters));
}

// ---- lines are dense in memory ---------------------------------------------------------------------------------------

namespace {

__device__ constexpr int kRows = kWarp / CHANNELS, kLines = kRows * CHANNELS;  // of a warp
__device__ constexpr int kAhead = kRows < 16 ? kRows : 16;  // rows of which an element is under way at a time

// The same block of a warp's rows. The odd channels at the end of a row lead a warp's lanes to different banks.
struct Tile {
    float samples[kRows][kBlock * CHANNELS + CHANNELS];
    int64_t offset[kRows];  // of the rows in memory
};

struct Rows {
    Tile& tile;
    int lane;
    int64_t first_line, line;
    int block, count, rows;
    bool used;

    __device__ Rows(const Parameters& parameters, Tile& tile)
        : tile(tile),
          lane(int(threadIdx.x) % kWarp),
          first_line((int64_t(int(blockIdx.x) / parameters.blocks) * kWarps + threadIdx.x / kWarp) * kLines),
          line(first_line + lane),
          block(int(blockIdx.x) % parameters.blocks),
          count(min(kBlock, parameters.n - block * kBlock)),
          rows(int(min(int64_t(kLines), parameters.lines - first_line)) / CHANNELS),
          used(lane < kLines && line < parameters.lines) {}

    // Has `access` go through the tile: kAhead rows from `first`, of which this lane takes one element, if its sample is
    // there; where that lies in memory from the row's first.
    template <class Access>
    __device__ void for_tile(const Parameters& parameters, const View<AXES + 1>& view, Access&& access) const {
        if (lane < rows)
            tile.offset[lane] = offset_of<AXES>(first_line + lane * CHANNELS, parameters.shape, view.stride);
        __syncwarp();
#pragma unroll 1
        for (int part = 0; part < CHANNELS; ++part) {
            const int element = part * kWarp + lane, k = element / CHANNELS;
            const int64_t offset =
                int64_t(block * kBlock + k) * view.stride[kAlong] + element % CHANNELS * view.stride[kChannel];
#pragma unroll 1
            for (int first = 0; first < kRows; first += kAhead) access(first, element, k < count, offset);
        }
    }
    __device__ float& sample(int k) const { return tile.samples[lane / CHANNELS][k * CHANNELS + lane % CHANNELS]; }

    __device__ void load(const Parameters& parameters, float (&x)[kBlock]) const {
        const IN* const image = parameters.image.at<IN>();
        for_tile(parameters, parameters.image, [&](int first, int element, bool there, int64_t offset) {
            float brought[kAhead];
#pragma unroll
            for (int r = 0; r < kAhead; ++r)
                brought[r] = there && first + r < rows ? to_float(image[tile.offset[first + r] + offset]) : 0.0f;
#pragma unroll
            for (int r = 0; r < kAhead; ++r) tile.samples[first + r][element] = brought[r];
        });
        __syncwarp();
#pragma unroll
        for (int k = 0; k < kBlock; ++k) x[k] = used ? sample(k) : 0.0f;
    }
    __device__ void store(const Parameters& parameters, const float (&y)[kBlock]) const {
        if (used)
#pragma unroll
            for (int k = 0; k < kBlock; ++k) sample(k) = y[k];
        OUT* const result = parameters.result.at<OUT>();
        for_tile(parameters, parameters.result, [&](int first, int element, bool there, int64_t offset) {
#pragma unroll
            for (int r = 0; r < kAhead; ++r)
                if (there && first + r < rows)
                    result[tile.offset[first + r] + offset] = from_float<OUT>(tile.samples[first + r][element]);
        });
    }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 8) gaussian_recursive_rows_ends(const Parameters parameters) {
    __shared__ Tile tiles[kWarps];
    find_ends(parameters, Rows(parameters, tiles[threadIdx.x / kWarp]));
}

extern "C" __global__ void __launch_bounds__(kThreads, 5) gaussian_recursive_rows_filter(const Parameters parameters) {
    __shared__ Tile tiles[kWarps];
    filter(parameters, Rows(parameters, tiles[threadIdx.x / kWarp]));
}

// ---- between the two -------------------------------------------------------------------------------------------------

// What stands beyond a border repeats the line, its mirror image or a single sample for ever: the state there is a sum of
// two others, which start at nothing and run to the line's ends (or to the sample before), each times a factor.
extern "C" __global__ void __launch_bounds__(kThreadsOfScan) gaussian_recursive_scan(const Parameters parameters) {
    constexpr int kBlocks = 16;  // whose ends are under way at a time, in both directions
    const int64_t line = int64_t(blockIdx.x) * kThreadsOfScan + threadIdx.x;
    if (line >= parameters.lines) return;
    const int pole = int(blockIdx.y), n = parameters.n, last = parameters.blocks - 1;
    const Complex factor = parameters.poles[pole], across = parameters.across_block[pole];
    float* const forward = parameters.states + 2 * place_of_states(parameters, 0, pole, 0, line);
    float* const backward = parameters.states + 2 * place_of_states(parameters, 1, pole, 0, line);
    const IN* const image =
        parameters.image.at<IN>() + offset_of<AXES>(line, parameters.shape, parameters.image.stride);
    const auto sample = [&](int i) { return Complex{to_float(image[i * parameters.image.stride[kAlong]]), 0.0f}; };

    Complex head = {parameters.outside, 0.0f}, tail = head;
#pragma unroll 8
    for (int b = min(parameters.reach, last); b > 0; --b)
        head = carried(across, head, load_state(backward, b * parameters.lines));
#pragma unroll 8
    for (int b = max(last - parameters.reach, 0); b < last; ++b)
        tail = carried(across, tail, load_state(forward, b * parameters.lines));
#pragma unroll 8
    for (int i = min(parameters.edge, n) - 1; i >= parameters.skipped; --i) head = carried(factor, head, sample(i));
#pragma unroll 8
    for (int i = n - min(parameters.edge, n - last * kBlock); i < n - parameters.skipped; ++i)
        tail = carried(factor, tail, sample(i));
    const Complex near = parameters.near[pole], far = parameters.far[pole];
    Complex before = carried(near, head, carried(far, tail, {})), after = carried(near, tail, carried(far, head, {}));

    for (int first = 0; first <= last; first += kBlocks) {
        Complex ends[2][kBlocks];
#pragma unroll
        for (int k = 0; k < kBlocks; ++k)
            if (const int b = first + k; b <= last) {
                ends[0][k] = load_state(forward, b * parameters.lines);
                ends[1][k] = load_state(backward, (last - b) * parameters.lines);
            }
#pragma unroll
        for (int k = 0; k < kBlocks; ++k)
            if (const int b = first + k; b <= last) {
                store_state(forward, b * parameters.lines, before);
                store_state(backward, (last - b) * parameters.lines, after);
                before = carried(across, before, ends[0][k]);
                after = carried(b == 0 ? parameters.across_last[pole] : across, after, ends[1][k]);
            }
    }
}
