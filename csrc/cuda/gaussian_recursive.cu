// Recursive Gaussian along one axis (csrc/cpu/gaussian_recursive.inl has the recursion, and what borders do to it).
//
// A thread takes a segment of a line: forward, leaving partial results in memory, then backward over the same samples.
// The segments of a line do not wait for each other: each runs its states over the `life` samples before it first, after
// which what came earlier counts for nothing.
//
// - gaussian_recursive_columns: neighbouring threads have neighbouring lines; samples are loaded eight ahead.
// - gaussian_recursive_rows: lines are dense in memory themselves. A warp has 32 rows, of which it brings 32 elements at a
//   time into a tile: a row to an access, then a row to a thread. Interleaved channels, up to four, are lines of one
//   thread.
//
// Counts for a sample and axis (sm_90a): 36 multiply-adds in 56 issue slots along columns and 111 along rows, where each
// sample goes through shared memory; the states' runs before a segment come on top. 4 accesses of a float to device memory
// (the source twice, partial results out and in) and the result's.
//
// Macros: IN, OUT (types of samples), CHANNELS (interleaved in a row; 1 for columns), AXES (that number lines, after
// merging; the last runs fastest).
#include "support/border.cuh"
#include "support/offset.cuh"
#include "support/samples.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kThreads = 128, kWarps = kThreads / kWarp;
__device__ constexpr int kPoles = 3;
__device__ constexpr int kChannel = AXES, kAlong = AXES + 1;  // strides of a view beside those of the lines

struct Parameters {
    View<AXES + 2> image, partial, result;
    int64_t shape[AXES], lines;
    int32_t blocks;  // of lines
    int32_t n, segment;
    int32_t life;     // samples after which a state has forgotten
    int32_t warm_up;  // samples beyond a border that a state runs over, before it is multiplied by `closing`
    int32_t mode;
    float centre, sign, outside;  // the sign is that of what comes before a sample
    float poles[kPoles][2], residues[kPoles][2], closing[kPoles][2];
};

struct States {
    float re[kPoles] = {}, im[kPoles] = {};

    __device__ void advance(const Parameters& by, float x) {
#pragma unroll
        for (int j = 0; j < kPoles; ++j) {
            const float turned = re[j];
            re[j] = fmaf(by.poles[j][0], turned, fmaf(-by.poles[j][1], im[j], x));
            im[j] = fmaf(by.poles[j][0], im[j], by.poles[j][1] * turned);
        }
    }
    __device__ float response(const Parameters& of) const {
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < kPoles; ++j) sum = fmaf(of.residues[j][0], re[j], fmaf(-of.residues[j][1], im[j], sum));
        return sum;
    }
    __device__ void close(const Parameters& by) {
#pragma unroll
        for (int j = 0; j < kPoles; ++j) {
            const float turned = re[j];
            re[j] = by.closing[j][0] * turned - by.closing[j][1] * im[j];
            im[j] = by.closing[j][0] * im[j] + by.closing[j][1] * turned;
        }
    }
};

template <int N>
struct Count {
    static constexpr int value = N;
};

__device__ int lane() { return int(threadIdx.x) % kWarp; }

// The samples that a block takes of its lines.
struct Segment {
    int first, last;

    __device__ explicit Segment(const Parameters& parameters)
        : first(int(blockIdx.x) / parameters.blocks * parameters.segment),
          last(min(first + parameters.segment, parameters.n) - 1) {}
};

// Brings states from nothing to before sample `first`. `run` lets them run over samples: from which, how many, which way.
template <class Run, class Close>
__device__ void start(const Parameters& parameters, int first, int step, Run&& run, Close&& close) {
    const int edge = step > 0 ? 0 : parameters.n - 1;
    const int before = abs(first - edge);
    if (before < parameters.life) {
        run(edge - step * parameters.warm_up, parameters.warm_up, step);
        close();
    }
    const int inside = min(before, parameters.life);
    run(first - step * inside, inside, step);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 8) gaussian_recursive_columns(const Parameters parameters) {
    constexpr int kAhead = 8;
    const int64_t line = int64_t(int(blockIdx.x) % parameters.blocks) * kThreads + threadIdx.x;
    if (line >= parameters.lines) return;
    const IN* const image =
        parameters.image.at<IN>() + offset_of<AXES>(line, parameters.shape, parameters.image.stride);
    float* const partial =
        parameters.partial.at<float>() + offset_of<AXES>(line, parameters.shape, parameters.partial.stride);
    OUT* const result = parameters.result.at<OUT>() + offset_of<AXES>(line, parameters.shape, parameters.result.stride);
    const int64_t step_in = parameters.image.stride[kAlong], step_partial = parameters.partial.stride[kAlong],
                  step_out = parameters.result.stride[kAlong];

    States states;
    const auto run = [&](int first, int count, int step) {
#pragma unroll 4
        for (int k = 0; k < count; ++k) {
            const int i = border_index(first + step * k, parameters.n, parameters.mode);
            states.advance(parameters, i < 0 ? parameters.outside : to_float(image[i * step_in]));
        }
    };
    const auto close = [&] { states.close(parameters); };
    const Segment segment(parameters);

    // As many samples as there are loads under way at a time, then what is left one by one.
    const IN* in = image + segment.first * step_in;
    float* between = partial + segment.first * step_partial;
    const auto forward = [&](auto count) {
        float x[count.value];
#pragma unroll
        for (int k = 0; k < count.value; ++k, in += step_in) x[k] = to_float(*in);
#pragma unroll
        for (int k = 0; k < count.value; ++k, between += step_partial) {
            *between = fmaf(parameters.sign, states.response(parameters), parameters.centre * x[k]);
            states.advance(parameters, x[k]);
        }
    };
    OUT* out = result + segment.last * step_out;
    const auto backward = [&](auto count) {
        float x[count.value], y[count.value];
#pragma unroll
        for (int k = 0; k < count.value; ++k) {
            x[k] = to_float(*(in -= step_in));
            y[k] = *(between -= step_partial);
        }
#pragma unroll
        for (int k = 0; k < count.value; ++k, out -= step_out) {
            *out = from_float<OUT>(y[k] + states.response(parameters));
            states.advance(parameters, x[k]);
        }
    };
    const int samples = segment.last + 1 - segment.first;

    start(parameters, segment.first, 1, run, close);
    for (int k = 0; k < samples / kAhead; ++k) forward(Count<kAhead>());
    for (int k = 0; k < samples % kAhead; ++k) forward(Count<1>());
    states = States();
    start(parameters, segment.last, -1, run, close);
    for (int k = 0; k < samples / kAhead; ++k) backward(Count<kAhead>());
    for (int k = 0; k < samples % kAhead; ++k) backward(Count<1>());
}

namespace {

__device__ constexpr int kSamples = kWarp / CHANNELS, kElements = kSamples * CHANNELS;  // of a row in a tile

// What a warp works on: a tile of 32 rows, elements in the order in which states take them, and where the rows lie.
struct Rows {
    float tile[kWarp][kWarp + 1];
    int64_t image[kWarp], partial[kWarp], result[kWarp];
};

// Where the element of this lane lies in a row, for the sample that many steps from `first`.
struct Element {
    int sample, channel;

    __device__ Element(int first, int step) : sample(first + step * (lane() / CHANNELS)), channel(lane() % CHANNELS) {}
    template <class V>
    __device__ int64_t offset(const V& view, int i) const {
        return i * view.stride[kAlong] + channel * view.stride[kChannel];
    }
};

// Samples first, first + step, ... of all rows, also beyond the borders.
__device__ void load_tile(Rows& rows, const Parameters& parameters, int first, int step) {
    const Element element(first, step);
    const int i = border_index(element.sample, parameters.n, parameters.mode);
    const int64_t offset = element.offset(parameters.image, i);
    __syncwarp();
#pragma unroll 8
    for (int r = 0; r < kWarp; ++r)
        if (lane() < kElements)
            rows.tile[r][lane()] =
                i < 0 ? parameters.outside : to_float(parameters.image.at<IN>()[rows.image[r] + offset]);
    __syncwarp();
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, CHANNELS < 4 ? 8 : 6)
    gaussian_recursive_rows(const Parameters parameters) {
    __shared__ Rows all[kWarps];
    Rows& rows = all[threadIdx.x / kWarp];
    const int64_t first_line = (int64_t(int(blockIdx.x) % parameters.blocks) * kWarps + threadIdx.x / kWarp) * kWarp;
    const int lines = int(min(int64_t(kWarp), parameters.lines - first_line));  // of this warp; the last one repeats
    if (lines <= 0) return;
    const int64_t line = first_line + min(lane(), lines - 1);
    rows.image[lane()] = offset_of<AXES>(line, parameters.shape, parameters.image.stride);
    rows.partial[lane()] = offset_of<AXES>(line, parameters.shape, parameters.partial.stride);
    rows.result[lane()] = offset_of<AXES>(line, parameters.shape, parameters.result.stride);

    States states[CHANNELS];
    float* const mine = rows.tile[lane()];
    const auto run = [&](int first, int count, int step) {
        for (int done = 0; done < count; done += kSamples) {
            load_tile(rows, parameters, first + step * done, step);
            for (int k = 0; k < min(kSamples, count - done); ++k)
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c) states[c].advance(parameters, mine[k * CHANNELS + c]);
        }
    };
    const auto close = [&] {
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) states[c].close(parameters);
    };
    const Segment segment(parameters);

    start(parameters, segment.first, 1, run, close);
    for (int i = segment.first; i <= segment.last; i += kSamples) {
        load_tile(rows, parameters, i, 1);
#pragma unroll 4
        for (int k = 0; k < kSamples; ++k)
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                const float x = mine[k * CHANNELS + c];
                mine[k * CHANNELS + c] = fmaf(parameters.sign, states[c].response(parameters), parameters.centre * x);
                states[c].advance(parameters, x);
            }
        __syncwarp();
        const Element element(i, 1);
        const int64_t offset = element.offset(parameters.partial, element.sample);
#pragma unroll 8
        for (int r = 0; r < kWarp; ++r)
            if (lane() < kElements && element.sample <= segment.last && r < lines)
                parameters.partial.at<float>()[rows.partial[r] + offset] = rows.tile[r][lane()];
    }
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) states[c] = States();
    start(parameters, segment.last, -1, run, close);
    for (int i = segment.last; i >= segment.first; i -= kSamples) {
        load_tile(rows, parameters, i, -1);
#pragma unroll 4
        for (int k = 0; k < kSamples; ++k)
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                const float x = mine[k * CHANNELS + c];
                mine[k * CHANNELS + c] = states[c].response(parameters);
                states[c].advance(parameters, x);
            }
        __syncwarp();
        const Element element(i, -1);
        const int64_t of_partial = element.offset(parameters.partial, element.sample);
        const int64_t of_result = element.offset(parameters.result, element.sample);
#pragma unroll 8
        for (int r = 0; r < kWarp; ++r)
            if (lane() < kElements && element.sample >= segment.first && r < lines)
                parameters.result.at<OUT>()[rows.result[r] + of_result] = from_float<OUT>(
                    parameters.partial.at<float>()[rows.partial[r] + of_partial] + rows.tile[r][lane()]);
    }
}
