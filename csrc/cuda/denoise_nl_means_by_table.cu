// Non-local means by whole weights from a table (csrc/cpu/denoise_nl_means.hpp has the formula): integers throughout, so
// that results equal the CPU's and OpenCV's. One launch, no memory beside the images, the table and the result.
//
// A block has THREADS / 4 rows of pixels of one plane, in as many columns as have their patches within kUnder. For each
// offset
//
//   sum_over_rows   differences, squared or absolute, under the patches of the block, summed over P rows, into shared
//                   memory: a thread has a column, whose sum takes in a row below and drops one above
//   add_partners    these sums, summed over P columns likewise; the weights, and what they weigh: a thread has a run of
//                   pixels in a row, whose sums stay in registers from the first offset on the first plane to the last
//
// with a barrier after each. Running sums of integers are exact, so that work grows with the patch only by the first sum
// of each run. dx runs innermost, and a thread's partners move along by a sample. Channels are packed, four of uint8 or
// two of uint16 to a register; those of uint8 are compared together, by vabsdiff4 and dp4a.
//
// PACKED, for patches up to 17 wide whose pixels in the guide fit a register each: a thread keeps what is under the
// patches of its column in registers, and the block what is under their partners for 7 x 24 offsets in shared memory,
// where strides and borders are settled. All else is read through L1, by tables of the rows of each dy.
//
// Per pixel and offset for patches of 7 x 7, one channel of uint8 takes 22 instructions of sm_90, three take 30: 5.5 and
// 7.5 cycles of an SM for 32 pixels. Shared memory takes as long: 4 cycles for accesses without a conflict (eight rows of
// four runs meet no bank twice: runs are odd, the pitch is 4 modulo 8), some 3.5 for the weights, whose table is there
// too if it is SHARED. For one channel 128 registers leave 16 warps to an SM, for three 168 leave 12.
//
// Macros: SAMPLE (uint8_t or uint16_t), ABSOLUTE (1: absolute differences, 0: squared), RADIUS (of the patch), CHANNELS
// (that a thread gathers, at most four), GUIDE_CHANNELS (0: known at run time), PACKED, SHARED (1 or 0), RUN (pixels of a
// thread, odd), THREADS (of a block), MIN_BLOCKS (to an SM).
#include "support/border.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kRuns = 4;                                  // across a block
__device__ constexpr int kRows = THREADS / kRuns;                    // of a block's pixels
__device__ constexpr int kPatch = 2 * RADIUS + 1;                    // along an axis
__device__ constexpr int kUnder = round_up(kPatch + 47, kWarp);      // columns under the patches of a block
__device__ constexpr int kColumns = kUnder - kPatch + 1;             // of a block's pixels
__device__ constexpr int kDown = kRows / (THREADS / kUnder);         // rows of a column that a thread sums up
__device__ constexpr int kWindow = kDown + kPatch - 1;               // rows under them
__device__ constexpr int kBeyond = kRuns * RUN - kColumns;           // pixels of the last run that another block has
__device__ constexpr int kPitch = kUnder + (kBeyond <= 4 ? 4 : 12);  // 4 modulo 8
__device__ constexpr int kUnderRows = kRows + kPatch - 1;            // rows under the patches of a block
__device__ constexpr int kUnrolled = kPatch <= 17 ? kPatch : 1;
__device__ constexpr int kInWord = 4 / sizeof(SAMPLE);  // samples
static_assert(kRows * kUnder <= kDown * THREADS && kBeyond >= 0 && kUnder + kBeyond <= kPitch, "all pixels have sums");

struct Parameters {
    View<5> image, guide, result;  // 1, planes, rows, columns, channels
    const uint32_t* weights;       // for sums >> shift; the last, at weights_end, for all beyond
    uint32_t weights_end;
    int32_t shift;
    int32_t planes, first_plane;  // of the images; the result's first of them
    int32_t rows, columns, channels, guide_channels;
    int32_t tiles, tiles_across;  // of a plane
    int32_t distance, temporal_distance;
};

// The samples of a pixel.
template <int Channels>
struct Colour {
    uint32_t words[Channels > 0 ? divide_up(Channels, kInWord) : 1];
};

template <int Channels>
__device__ Colour<Channels> load_colour(const SAMPLE* p, int64_t stride, int channels = Channels) {
    Colour<Channels> colour = {};
#pragma unroll
    for (int c = 0; c < Channels; ++c)
        if (c == 0 || c < channels)
            colour.words[c / kInWord] |= uint32_t(p[c * stride]) << 8 * int(sizeof(SAMPLE)) * (c % kInWord);
    return colour;
}

template <int Channels>
__device__ uint32_t channel_of(const Colour<Channels>& colour, int c) {
    const uint32_t word = colour.words[c / kInWord] >> 8 * int(sizeof(SAMPLE)) * (c % kInWord);
    return c == Channels - 1 || c % kInWord == kInWord - 1 ? word : SAMPLE(word);
}

// ---- sums of differences

__device__ uint32_t cost(uint32_t a, uint32_t b) {
    const int difference = int(a) - int(b);
    return uint32_t(ABSOLUTE ? abs(difference) : difference * difference);
}

template <int Channels>
__device__ uint32_t cost(const Colour<Channels>& a, const Colour<Channels>& b) {
    uint32_t sum = 0;
    if constexpr (sizeof(SAMPLE) == 1 && Channels > 1) {
        const uint32_t differences = __vabsdiffu4(a.words[0], b.words[0]);
        sum = __dp4a(differences, ABSOLUTE ? 0x01010101u : differences, 0u);
    } else {
#pragma unroll
        for (int c = 0; c < Channels; ++c) sum += cost(channel_of(a, c), channel_of(b, c));
    }
    return sum;
}

// Where a block's pixels begin, and how far those that are wanted go.
struct Place {
    int plane, top, left, rows, columns;
};

__device__ Place place_of_block(const Parameters& parameters) {
    const int tile = int(blockIdx.x) % parameters.tiles;
    const int top = tile / parameters.tiles_across * kRows, left = tile % parameters.tiles_across * kColumns;
    return {int(blockIdx.x) / parameters.tiles, top, left, min(kRows, parameters.rows - top),
            min(kRuns * RUN, round_up(parameters.columns - left, RUN))};
}

// What a thread sums up: `column` of those under the patches, from row `first` of the block on.
struct Strip {
    int column, first;
    bool wanted;
};

__device__ Strip strip_of_thread(const Place& place) {
    const int column = threadIdx.x % kUnder, first = threadIdx.x / kUnder * kDown;
    return {column, first, first < place.rows && column < place.columns + kPatch - 1};
}

// A plane of the guide, and how far the first of some offsets takes from a pixel to its partner.
struct Span {
    int plane, dy, dx;
};

__device__ int row_of_guide(const Place& place, int i, const Span& span, const Parameters& parameters) {
    return border_index(place.top - RADIUS + i + span.dy, parameters.rows, kMirror);
}

__device__ const SAMPLE* column_of_guide(const Place& place, int i, const Span& span, const Parameters& parameters) {
    const int x = border_index(place.left - RADIUS + i + span.dx, parameters.columns, kMirror);
    return parameters.guide.at<const SAMPLE>(0, span.plane, 0, x);
}

#if PACKED

__device__ constexpr int kSpanY = 7, kSpanX = 24;

// The pixels of the guide under the patches of a block, for a span of offsets.
struct Guide {
    Colour<GUIDE_CHANNELS> pixels[kUnderRows + kSpanY - 1][kUnder + kSpanX - 1];
};

__device__ void load_guide(Guide& guide, const Place& place, const Span& span, int down, int across,
                           const Parameters& parameters) {
    const int64_t* const stride = parameters.guide.stride;
    const int lane = threadIdx.x % kWarp, columns = kUnder + across - 1;
    for (int i = threadIdx.x / kWarp; i < kUnderRows + down - 1; i += THREADS / kWarp) {
        const int64_t row = row_of_guide(place, i, span, parameters) * stride[2];
        for (int j = lane; j < columns; j += kWarp)
            guide.pixels[i][j] =
                load_colour<GUIDE_CHANNELS>(column_of_guide(place, j, span, parameters) + row, stride[4]);
    }
}

// What is under the patches of a strip.
struct Own {
    Colour<GUIDE_CHANNELS> pixels[kWindow];
};

__device__ Own own_of_strip(Guide& guide, const Strip& strip, const Place& place, const Parameters& parameters) {
    load_guide(guide, place, {parameters.first_plane + place.plane, 0, 0}, 1, 1, parameters);
    __syncthreads();
    Own own;
#pragma unroll
    for (int i = 0; i < kWindow; ++i) own.pixels[i] = guide.pixels[strip.first + i][strip.column];
    __syncthreads();
    return own;
}

// Differences from the pixels `down` and `across` beyond the first of the span, summed over the rows of a patch.
__device__ void sum_over_rows(uint32_t (&sums)[kRows][kPitch], const Guide& guide, const Strip& strip, const Own& own,
                              const Place&, const Span&, int down, int across, const Parameters&) {
    uint32_t costs[kWindow], sum = 0;
#pragma unroll
    for (int i = 0; i < kWindow; ++i)
        costs[i] = cost(own.pixels[i], guide.pixels[strip.first + i + down][strip.column + across]);
#pragma unroll
    for (int i = 0; i < kWindow; ++i) {
        sum += costs[i];
        if (i >= kPatch) sum -= costs[i - kPatch];
        if (i >= kPatch - 1) sums[strip.first + i - kPatch + 1][strip.column] = sum;
    }
}

#else

__device__ constexpr int kSpanY = 1, kSpanX = 1 << 10;

// Where the rows of the guide under the patches of a block begin, and those of their partners.
struct Guide {
    int64_t own_rows[kUnderRows], partner_rows[kUnderRows];
};

__device__ void load_guide(Guide& guide, const Place& place, const Span& span, int, int, const Parameters& parameters) {
    const int i = threadIdx.x;
    if (i < kUnderRows) guide.partner_rows[i] = row_of_guide(place, i, span, parameters) * parameters.guide.stride[2];
}

// The column of a strip.
struct Own {
    const SAMPLE* column;
};

__device__ Own own_of_strip(Guide& guide, const Strip& strip, const Place& place, const Parameters& parameters) {
    const Span itself = {parameters.first_plane + place.plane, 0, 0};
    const int i = threadIdx.x;
    if (i < kUnderRows) guide.own_rows[i] = row_of_guide(place, i, itself, parameters) * parameters.guide.stride[2];
    return {column_of_guide(place, strip.column, itself, parameters)};
}

__device__ uint32_t cost_at(const SAMPLE* own, const SAMPLE* partner, const Parameters& parameters) {
    const int64_t stride = parameters.guide.stride[4];
    if constexpr (GUIDE_CHANNELS > 0)
        return cost(load_colour<GUIDE_CHANNELS>(own, stride), load_colour<GUIDE_CHANNELS>(partner, stride));
    uint32_t sum = 0;
    for (int c = 0; c < parameters.guide_channels; ++c) sum += cost(own[c * stride], partner[c * stride]);
    return sum;
}

// Differences from the pixels `across` beyond the first of the span, summed over the rows of a patch.
__device__ void sum_over_rows(uint32_t (&sums)[kRows][kPitch], const Guide& guide, const Strip& strip, const Own& own,
                              const Place& place, const Span& span, int, int across, const Parameters& parameters) {
    const SAMPLE* const partner = column_of_guide(place, strip.column + across, span, parameters);
    const auto cost_of_row = [&](int i) {
        return cost_at(own.column + guide.own_rows[strip.first + i], partner + guide.partner_rows[strip.first + i],
                       parameters);
    };
    uint32_t sum = 0;
    for (int i = 0; i < kPatch - 1; ++i) sum += cost_of_row(i);
    for (int i = 0; i < kDown; ++i) {
        sum += cost_of_row(i + kPatch - 1);
        sums[strip.first + i][strip.column] = sum;
        sum -= cost_of_row(i);
    }
}

#endif

struct Memory {
    uint32_t sums[kRows][kPitch];  // of differences over the rows of a patch
    Guide guide;
};

// ---- means

template <int Bytes>
struct TotalOf {
    typedef uint64_t type;
};
template <>
struct TotalOf<1> {
    typedef uint32_t type;
};
typedef TotalOf<sizeof(SAMPLE)>::type Total;

// A thread's pixels: a run of a row of its block.
struct Run {
    int row, column, first_channel, channels;
    bool wanted;
    Total weights[RUN], values[RUN][CHANNELS];
    Colour<CHANNELS> partners[RUN];  // at the offset
};

// A warp has eight rows of four runs.
__device__ Run run_of_thread(const Place& place, const Parameters& parameters) {
    Run run;
    run.row = threadIdx.x / kWarp * (kWarp / kRuns) + threadIdx.x % (kWarp / kRuns);
    run.column = threadIdx.x % kWarp / (kWarp / kRuns) * RUN;
    run.wanted = run.row < place.rows && run.column < place.columns;
    run.first_channel = int(blockIdx.y) * CHANNELS;
    run.channels = parameters.channels - run.first_channel;
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
        run.weights[j] = 0;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) run.values[j][c] = 0;
    }
    return run;
}

__device__ Colour<CHANNELS> partner_at(const SAMPLE* row, int x, const Run& run, const Parameters& parameters) {
    const int64_t* const stride = parameters.image.stride;
    return load_colour<CHANNELS>(row + border_index(x, parameters.columns, kMirror) * stride[3], stride[4],
                                 run.channels);
}

// The partners but for the last, before the first move to column `x`.
__device__ void begin_partners(Run& run, const SAMPLE* row, int x, const Parameters& parameters) {
#pragma unroll
    for (int j = 1; j < RUN; ++j) run.partners[j] = partner_at(row, x + j - 1, run, parameters);
}

// Moves the partners along by one, so that `x` is the column of the first pixel's.
__device__ void move_partners(Run& run, const SAMPLE* row, int x, const Parameters& parameters) {
#pragma unroll
    for (int j = 0; j < RUN - 1; ++j) run.partners[j] = run.partners[j + 1];
    run.partners[RUN - 1] = partner_at(row, x + RUN - 1, run, parameters);
}

// The table of weights: in shared memory, if it is SHARED, behind all else.
__device__ const uint32_t* table_of_weights(Memory* memory, const Parameters& parameters) {
    if constexpr (!SHARED) return parameters.weights;
    uint32_t* const table = reinterpret_cast<uint32_t*>(memory + 1);
    for (uint32_t i = threadIdx.x; i <= parameters.weights_end; i += THREADS) table[i] = parameters.weights[i];
    return table;
}

__device__ void add_partners(Run& run, const uint32_t (&sums_of_rows)[kRows][kPitch], const uint32_t* table,
                             const Parameters& parameters) {
    const uint32_t* const sums = sums_of_rows[run.row] + run.column;
    uint32_t sum = 0;
#pragma unroll kUnrolled
    for (int k = 0; k < kPatch - 1; ++k) sum += sums[k];
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
        sum += sums[j + kPatch - 1];
        const uint32_t weight = table[min(sum >> parameters.shift, parameters.weights_end)];
        run.weights[j] += weight;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) run.values[j][c] += Total(weight) * channel_of(run.partners[j], c);
        sum -= sums[j];
    }
}

// Quotients rounded half up; 0 where nothing weighs.
__device__ void store_means(const Run& run, const Place& place, const Parameters& parameters) {
    const int y = place.top + run.row;
    SAMPLE* const row = parameters.result.at<SAMPLE>(0, place.plane, y);
    const int64_t* const stride = parameters.result.stride;
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
        const int column = run.column + j, x = place.left + column;
        if (y >= parameters.rows || column >= kColumns || x >= parameters.columns) continue;
        const Total weights = run.weights[j];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            if (c == 0 || c < run.channels)
                row[x * stride[3] + (run.first_channel + c) * stride[4]] =
                    weights ? SAMPLE((run.values[j][c] + weights / 2) / weights) : 0;
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    denoise_nl_means_by_table(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(Memory, memory);
    const Place place = place_of_block(parameters);
    const Strip strip = strip_of_thread(place);
    Run run = run_of_thread(place, parameters);
    for (int i = threadIdx.x; i < kRows * kBeyond; i += THREADS)  // read for pixels that another block has
        memory->sums[i % kRows][kUnder + i / kRows] = 0;
    const uint32_t* const table = table_of_weights(memory, parameters);
    const Own own = own_of_strip(memory->guide, strip, place, parameters);

    const int plane = parameters.first_plane + place.plane, distance = parameters.distance;
    Span span;
    const int last_plane = min(plane + parameters.temporal_distance, parameters.planes - 1);
    for (span.plane = max(plane - parameters.temporal_distance, 0); span.plane <= last_plane; ++span.plane) {
        for (span.dy = -distance; span.dy <= distance; span.dy += kSpanY) {
            for (span.dx = -distance; span.dx <= distance; span.dx += kSpanX) {
                const int downs = min(kSpanY, distance + 1 - span.dy), acrosses = min(kSpanX, distance + 1 - span.dx);
                load_guide(memory->guide, place, span, downs, acrosses, parameters);
                __syncthreads();
                for (int down = 0; down < downs; ++down) {
                    const int y = border_index(place.top + run.row + span.dy + down, parameters.rows, kMirror);
                    const int x = place.left + run.column + span.dx;
                    const SAMPLE* const row = parameters.image.at<const SAMPLE>(0, span.plane, y, 0, run.first_channel);
                    begin_partners(run, row, x, parameters);
                    for (int across = 0; across < acrosses; ++across) {
                        if (strip.wanted)
                            sum_over_rows(memory->sums, memory->guide, strip, own, place, span, down, across,
                                          parameters);
                        move_partners(run, row, x + across, parameters);
                        __syncthreads();
                        if (run.wanted) add_partners(run, memory->sums, table, parameters);
                        __syncthreads();
                    }
                }
            }
        }
    }
    store_means(run, place, parameters);
}
