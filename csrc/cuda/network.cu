// A network of few channels in one launch, on tensor cores: fp16 operands, fp32 sums.
//
//   stage i      out[y, x, o] = f(bias[o] + sum over u, v, c of weight[o, c, u, v] * in[y + u - above, x + v - left,
//                c]), then any number of 1 x 1 layers
//   last stage   a convolution, or a transposed one of stride s (or a convolution and a pixel shuffle): s * s results
//                per pixel, each an ordinary convolution with its own taps, so that no zero is ever inserted
//
// A block owns a strip of COLUMNS columns and marches down it, ROWS rows at a time. Of every stage's input it keeps a
// window in shared memory: the ROWS newest rows, and the rows above them that the stage still reaches. A step moves the
// kept rows up, loads new rows of the image, and lets each stage in turn make ROWS rows of the next window, a few rows
// behind. So rows are computed once per strip and only columns twice, at the seams of strips; nothing but image,
// weights and result touches device memory. The first steps of a strip fill the windows.
//
// A stage is a matrix product: 16 outputs by K = taps x channels, K by 8 pixels. What a step along K takes of a pixel
// lies at an offset in the window; the table of offsets is made by fastimg/backends/cuda/network.py together with the
// weights, which it lays out as the lanes hold them. Two ways to gather:
//   narrow   few channels: K in pieces of 4 halves, one 64-bit load per lane and piece (K may be permuted at will as
//            long as the weights are). 12 channels are 3 pieces, a row of three taps 9: nothing is padded but the end
//            of K, where the bias is the weight of ones. One channel: each pixel's record holds 4 pixels from it to the
//            right and 4 from it downwards, so that 5 x 5 taps are 7 pieces.
//   wide     pieces of 8 halves by ldmatrix, from pixels an odd number of 16 bytes apart: no bank conflicts. A warp
//            makes several rows at once: each row of the window is loaded once for all rows of the kernel.
// 1 x 1 layers never see memory: the sums of one product, activated, packed and transposed, are operands of the next.
// The last stage has few outputs, so there it is 16 cells by K, K by 8 outputs of a cell, and cells are several pixels
// wide, so that those 8 are filled. Columns of its window are stored by their remainder, which puts neighbouring cells
// side by side. Warps share cells by splitting K; the parts are summed when the result is written.
//
// Borders are those of layer after layer: when a window has new rows, what lies outside the image is overwritten, by
// the nearest pixel inside or by zeros. Only strips at the border do this.
//
// FSRCNN x2 on sm_90, per pixel: 9.3 products of m16n8k16, 78 issue slots, 29.5 passes through shared memory and cache,
// which are the limit; 21 bytes of device memory. See docs/cuda/network.md.
//
// Macros: IN, OUT the samples; BUFFERS, STAGES, CHAINED the tables below; ROWS, COLUMNS the step; WARPS of a block,
// BLOCKS on a multiprocessor; CHANNELS_IN, CHANNELS_OUT; STRIDE the enlargement; SPLITS of K in the last stage; RECORDS
// the pieces in a pixel's record, 0 for images of several channels; INTERLEAVED_IN, INTERLEAVED_OUT whether the channels
// of a pixel lie together in device memory, in pieces of 16 bytes of the image, in any of the result; RAW_AT, PARTIAL_AT, STRIP_AT, WEIGHTS_BYTES the use
// of shared memory, where weights lie first if WEIGHTS_SHARED.
#include "support/half2.cuh"
#include "support/mma.cuh"
#include "support/view.cuh"

using namespace fastimg;

namespace {

enum Activation { kLinear, kRelu, kSlope };

// The window of a stage's input. Column x of a row lies at x % split * (columns / split) + x / split.
struct Buffer {
    int columns, split;
    int pitch, channels;  // halves from pixel to pixel; halves in use, a multiple of 4
    int above, below;     // rows that the stage reaches
    int left;             // columns before the strip's first
    int replicate;        // what stands outside the image: the nearest pixel, or zeros
    int at;               // byte in shared memory
};

struct Stage {
    int wide;
    int steps;           // of 16 along K, of one row of taps if wide
    int tap_rows, rows;  // wide: rows of taps, rows made at once; else 1
    int tiles, passes;   // of 16 outputs (of 8 in the last stage), made at once; and how often
    int activation;
    int offsets, weights, bias, slope;  // bytes in the weights
    int ones;                           // narrow: the bias is the weight of ones, in this piece of the last step
    int chained_begin, chained_end;
};

// A 1 x 1 layer on the sums of a stage.
struct Chained {
    int steps, tiles, activation;
    int weights, slope;
    int ones;  // the bias is the weight of ones, in this place along K
};

__device__ constexpr Buffer kBuffers[] = {BUFFERS};
__device__ constexpr Stage kStages[] = {STAGES};
__device__ constexpr Chained kChained[] = {CHAINED};
__device__ constexpr int kLast = int(sizeof kStages / sizeof kStages[0]) - 1;
__device__ constexpr int kThreads = kWarp * WARPS;

__device__ constexpr int reach(int stage) { return kBuffers[stage].above + kBuffers[stage].below; }

// Rows by which a stage is ahead of the last one, rows above the strip that it must have made, rows to fill windows.
__device__ constexpr int ahead_of(int stage) {
    int rows = 0;
    for (int i = stage + 1; i <= kLast; ++i) rows += kBuffers[i].below;
    return rows;
}
__device__ constexpr int behind_of(int stage) {
    int rows = 0;
    for (int i = stage + 1; i <= kLast; ++i) rows += kBuffers[i].above;
    return rows;
}
__device__ constexpr int warm_up() {
    int rows = 0;
    for (int i = 0; i <= kLast; ++i) rows += reach(i);
    return round_up(rows, ROWS);
}

struct Parameters {
    View<4> image;   // batch, channels, rows, columns
    View<4> result;  // the same
    const unsigned char* weights;
    int32_t height, width;
    int32_t result_height, result_width;
    int32_t strips_across, strips_down;
    int32_t strip_rows;  // a multiple of ROWS
    float image_scale, result_scale;
};

// The part of an image that a block makes. It lies in shared memory, because registers are scarce in the stages.
struct Strip {
    int n, left, top, bottom;
};

__device__ Strip& strip_in(unsigned char* shared) { return *reinterpret_cast<Strip*>(shared + STRIP_AT); }

// ---- windows --------------------------------------------------------------------------------------------------------

template <int I>
__device__ half* window(unsigned char* shared) {
    return reinterpret_cast<half*>(shared + kBuffers[I].at);
}

// Where a pixel of a window lies, in halves.
template <int I>
__device__ int pixel_at(int row, int column) {
    constexpr Buffer b = kBuffers[I];
    const int place = b.split == 1 ? column : column % b.split * (b.columns / b.split) + column / b.split;
    return (row * b.columns + place) * b.pitch;
}

// Moves the rows that are still needed to the top.
__device__ void keep_rows(unsigned char* rows, int row_bytes, int kept) {
    uint2* const to = reinterpret_cast<uint2*>(rows);
    const uint2* const from = reinterpret_cast<const uint2*>(rows + ROWS * row_bytes);
    for (int i = opaque(threadIdx.x); i < kept * row_bytes / 8; i += kThreads) to[i] = from[i];
}

__device__ constexpr int kRawPitch =
    round_up(kBuffers[0].columns + 3, 4);  // halves in a row of the image of one channel

template <int I>
__device__ void keep_rows_from(unsigned char* shared) {
    if constexpr (I == 0 && RECORDS > 0)
        keep_rows(shared + RAW_AT, kRawPitch * 2, reach(0));
    else
        keep_rows(shared + kBuffers[I].at, kBuffers[I].columns * kBuffers[I].pitch * 2, reach(I));
    if constexpr (I < kLast) keep_rows_from<I + 1>(shared);
}

// New rows of an image whose pixels are as they lie in the window: all channels together, in halves.
__device__ void load_interleaved(unsigned char* shared, const Parameters& parameters, int first_row, int first_column) {
    constexpr Buffer b = kBuffers[0];
    constexpr int kPieces = CHANNELS_IN / 8, kCount = ROWS * b.columns * kPieces;
    constexpr int kAtOnce = 4;  // loads of a thread under way
#pragma unroll 1
    for (int begin = opaque(threadIdx.x); begin < kCount; begin += kAtOnce * kThreads) {
        Pack<uint32_t, 4> words[kAtOnce] = {};
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
            const int i = begin + k * kThreads, piece = i % kPieces, pixel = i / kPieces;
            const int row = first_row + pixel / b.columns, column = first_column + pixel % b.columns;
            const int near_row = min(max(row, 0), parameters.height - 1);
            const int near_column = min(max(column, 0), parameters.width - 1);
            if (i < kCount && (b.replicate || (row == near_row && column == near_column))) {
                const half* const from =
                    parameters.image.at<const half>(strip_in(shared).n, 8 * piece, near_row, near_column);
                words[k] = load_pack<4>(reinterpret_cast<const uint32_t*>(from));
            }
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
            const int i = begin + k * kThreads, piece = i % kPieces, pixel = i / kPieces;
            half* const to = window<0>(shared) + pixel_at<0>(reach(0) + pixel / b.columns, pixel % b.columns);
            if (i < kCount) store_pack(reinterpret_cast<uint32_t*>(to + 8 * piece), words[k]);
        }
    }
}

// New rows of the image as halves, when the last stage makes rows from y.
__device__ void load_image(unsigned char* shared, const Parameters& parameters, int y) {
    const int n = strip_in(shared).n, first_row = y + ahead_of(-1),
              first_column = strip_in(shared).left - kBuffers[0].left;
    constexpr Buffer b = kBuffers[0];
    if constexpr (INTERLEAVED_IN) return load_interleaved(shared, parameters, first_row, first_column);
    constexpr int kColumns = RECORDS > 0 ? b.columns + 3 : b.columns;
    half* const raw = reinterpret_cast<half*>(shared + RAW_AT);
    for (int i = opaque(threadIdx.x); i < ROWS * kColumns; i += kThreads) {
        const int row = i / kColumns, column = i % kColumns;
        const int image_row = first_row + row, image_column = first_column + column;
        const int near_row = min(max(image_row, 0), parameters.height - 1);
        const int near_column = min(max(image_column, 0), parameters.width - 1);
        const bool is_there = b.replicate || (image_row == near_row && image_column == near_column);
#pragma unroll
        for (int c = 0; c < CHANNELS_IN; ++c) {
            float value = 0;
            if (is_there) value = to_float(*parameters.image.at<const IN>(n, c, near_row, near_column));
            const half sample = to_half(value * parameters.image_scale);
            if constexpr (RECORDS > 0)
                raw[(reach(0) + row) * kRawPitch + column] = sample;
            else
                window<0>(shared)[pixel_at<0>(reach(0) + row, column) + c] = sample;
        }
    }
}

// Records of 4 pixels to the right and, if there are two pieces, of 4 below.
__device__ void make_records(unsigned char* shared) {
    constexpr Buffer b = kBuffers[0];
    constexpr int kRows = ROWS + reach(0), kPieces = RECORDS > 0 ? RECORDS : 1;
    const half* const raw = reinterpret_cast<const half*>(shared + RAW_AT);
    for (int i = opaque(threadIdx.x); i < kRows * b.columns; i += kThreads) {
        const int row = i / b.columns, column = i % b.columns;
        Pack<half, 4 * kPieces> record;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            record.values[k] = raw[row * kRawPitch + column + k];
            if constexpr (kPieces == 2)
                record.values[4 + k] = row + k < kRows ? raw[(row + k) * kRawPitch + column] : half{0};
        }
        store_pack(window<0>(shared) + (row * b.columns + column) * b.pitch, record);
    }
}

// Overwrites what lies outside the image in a window whose row 0 is row `first_row` of the image.
template <int I>
__device__ void continue_beyond_border(unsigned char* shared, const Parameters& parameters, int first_row,
                                       int first_column) {
    constexpr Buffer b = kBuffers[I];
    constexpr int kRows = ROWS + reach(I);
    half* const pixels = window<I>(shared);
    for (int i = opaque(threadIdx.x); i < kRows * b.columns; i += kThreads) {
        const int row = i / b.columns, column = i % b.columns;
        int near_row = min(max(row, -first_row), parameters.height - 1 - first_row);
        const int near_column = min(max(column, -first_column), parameters.width - 1 - first_column);
        if (row == near_row && column == near_column) continue;
        near_row = max(near_row, 0);      // a row below the image that was continued before
        if (near_row >= kRows) continue;  // the image is yet to come
        if (row == near_row && column == near_column) continue;
        const int to = pixel_at<I>(row, column), from = pixel_at<I>(near_row, near_column);
#pragma unroll
        for (int c = 0; c < b.channels; c += 4) {
            Pack<half, 4> values = {};
            if constexpr (b.replicate) values = load_pack<4>(pixels + from + c);
            store_pack(pixels + to + c, values);
        }
    }
}

// ---- weights --------------------------------------------------------------------------------------------------------

// N matrices of weights of which this lane holds Words registers each: the A of a product (4) or its B (2). In
// registers or, if they are many, read when wanted.
template <int Words, int N, bool Kept>
class Fragments {
public:
    __device__ Fragments(const unsigned char* weights, int lane)
        : source_(reinterpret_cast<const uint32_t*>(weights) + Words * lane) {
        if constexpr (Kept) {
#pragma unroll
            for (int i = 0; i < N; ++i) kept_[i] = load_pack<Words>(source_ + i * Words * kWarp);
        }
    }
    __device__ void get(uint32_t (&words)[Words], int i) const {
        const Pack<uint32_t, Words> pack = Kept ? kept_[Kept ? i : 0] : load_pack<Words>(source_ + i * Words * kWarp);
#pragma unroll
        for (int word = 0; word < Words; ++word) words[word] = pack.values[word];
    }

private:
    const uint32_t* source_;
    Pack<uint32_t, Words> kept_[Kept ? N : 1];
};

// The activation of N tiles of 16 outputs. This lane has sums of outputs g and g + 8 of each, for g = lane / 4.
template <int N, int Activation>
class Activated {
public:
    __device__ Activated(const unsigned char* slope, int lane) {
        if constexpr (Activation == kSlope) {
#pragma unroll
            for (int i = 0; i < 2 * N; ++i) less_slope_[i] = reinterpret_cast<const half2*>(slope)[8 * i + lane / 4];
        }
    }
    // The sums of 16 outputs of 8 pixels, as halves after the activation: outputs 2 q, 2 q + 1 and 8 + 2 q, 9 + 2 q of
    // pixel lane / 4, for q = lane % 4, which is a B with the outputs along K.
    __device__ void finish(uint32_t (&values)[2], const float (&sums)[4], int tile) const {
        const half2 zero = {0};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            half2 x = pack_half2(sums[2 * i], sums[2 * i + 1]);
            if constexpr (Activation == kRelu) x = larger(x, zero);
            if constexpr (Activation == kSlope) x = multiply_add(smaller(x, zero), less_slope_[2 * tile + i], x);
            values[i] = transpose_matrix(x.bits);
        }
    }

private:
    half2 less_slope_[Activation == kSlope ? 2 * N : 1];  // slope - 1: x below zero becomes x + (slope - 1) x
};

// ---- stages but the last: 16 outputs by K, times K by 8 pixels ------------------------------------------------------

__device__ constexpr int kGroups = 2;  // of 8 pixels: independent products
__device__ constexpr uint32_t kTwoOnes =
    0x3c003c00u;  // a pair of halves, for the two halves of a bias among the weights

// What a stage works on: shared memory, the weights, and this thread's place. Made anew for each stage, so that nothing
// is kept in registers from one to the next.
struct Place {
    unsigned char* shared;
    const unsigned char* weights;
    int warp, lane;

    __device__ Place(unsigned char* shared, const unsigned char* weights) : shared(shared), weights(weights) {
        const int thread = opaque(threadIdx.x);
        warp = thread / kWarp;
        lane = thread % kWarp;
    }
};

// Where the operands of stage I begin for pixel `pixel` (or cell) of its next rows, counted along rows of `Across`;
// rows are made kStages[I].rows at a time.
template <int I, int Across>
__device__ const unsigned char* operands_of(unsigned char* shared, int pixel) {
    constexpr Stage s = kStages[I];
    const int near = min(pixel, Across * (ROWS / s.rows) - 1);
    const int at = (near / Across * s.rows * kBuffers[I].columns + near % Across) * kBuffers[I].pitch;
    return shared + kBuffers[I].at + at * 2;
}

// Writes the outputs of 8 pixels to the window of stage I; this lane has those of one pixel, in its row `row`.
template <int I, int N, int Rows>
__device__ void store_values(const Place& place, const uint32_t (&values)[N][2], int pixel, int row,
                             int first_channel) {
    constexpr Buffer b = kBuffers[I];
    if (pixel >= b.columns * (ROWS / Rows)) return;
    const int channel = first_channel + place.lane % 4 * 2;
    const int y = reach(I) + pixel / b.columns * Rows + row;
    half* const to = window<I>(place.shared) + pixel_at<I>(y, pixel % b.columns) + channel;
#pragma unroll
    for (int i = 0; i < 2 * N; ++i) {
        if (channel + 8 * i < b.channels) store_pack(to + 8 * i, bits_as<Pack<half, 2>>(values[i / 2][i % 2]));
    }
}

// The 1 x 1 layers Next .. End - 1 on the outputs of kGroups times 8 pixels, then to the window of stage I.
template <int I, int Next, int End, int N, int Rows>
__device__ void chain(const Place& place, const uint32_t (&values)[kGroups][N][2], const int (&pixels)[kGroups],
                      int row, int first_channel) {
    if constexpr (Next < End) {
        constexpr Chained c = kChained[Next];
        static_assert(c.steps == N || c.steps == N + 1, "the layer takes what the one before it gives");
        const Fragments<4, c.steps * c.tiles, false> fragments(place.weights + c.weights, place.lane);
        const Activated<c.tiles, c.activation> activated(place.weights + c.slope, place.lane);
        uint32_t b[kGroups][c.steps][2];
#pragma unroll
        for (int i = 0; i < kGroups; ++i) {
#pragma unroll
            for (int k = 0; k < c.steps; ++k) {
#pragma unroll
                for (int part = 0; part < 2; ++part) {
                    b[i][k][part] = k < N ? values[i][k < N ? k : 0][part] : 0;
                    if (k == c.ones / 16 && part == c.ones % 16 / 8 && place.lane % 4 == c.ones % 8 / 2)
                        b[i][k][part] = kTwoOnes;
                }
            }
        }
        uint32_t results[kGroups][c.tiles][2];
#pragma unroll
        for (int t = 0; t < c.tiles; ++t) {
            float sums[kGroups][4] = {};
#pragma unroll
            for (int k = 0; k < c.steps; ++k) {
                uint32_t a[4];
                fragments.get(a, k * c.tiles + t);
#pragma unroll
                for (int i = 0; i < kGroups; ++i) mma(sums[i], a, b[i][k], sums[i]);
            }
#pragma unroll
            for (int i = 0; i < kGroups; ++i) activated.finish(results[i][t], sums[i], t);
        }
        chain<I, Next + 1, End, c.tiles, Rows>(place, results, pixels, row, first_channel);
    } else {
#pragma unroll
        for (int i = 0; i < kGroups; ++i) store_values<I, N, Rows>(place, values[i], pixels[i], row, first_channel);
    }
}

// ROWS rows of stage I, of pass `pass` over its outputs, and of the 1 x 1 layers after it, to the window of the next.
// A task is kGroups times 8 pixels.
template <int I>
class InnerStage {
public:
    __device__ InnerStage(const Place& place, int pass)
        : place_(place),
          offsets_(reinterpret_cast<const int32_t*>(place.weights + s.offsets)),
          fragments_(place.weights + s.weights + pass * kMatrices * kWarp * 16, place.lane),
          bias_(reinterpret_cast<const float*>(place.weights + s.bias) + 16 * s.tiles * pass + place.lane / 4),
          activated_(place.weights + s.slope + 16 * s.tiles * pass * 4, place.lane),
          first_channel_(16 * s.tiles * pass) {
        if constexpr (kKept) {
#pragma unroll
            for (int k = 0; k < s.steps; ++k) kept_offset_[k] = offset(k);
        }
    }

    __device__ void run() const {
        constexpr int kTasks = divide_up(kPixels, 8 * kGroups);
#pragma unroll 1
        for (int task = place_.warp; task < kTasks; task += WARPS) {
            float sums[s.rows][s.tiles][kGroups][4] = {};
            if constexpr (s.wide) {
                start(sums);
                multiply_wide(sums, task);
            } else {
                multiply_narrow(sums[0], task);
            }
            int pixels[kGroups];
#pragma unroll
            for (int i = 0; i < kGroups; ++i) pixels[i] = 8 * (kGroups * task + i) + place_.lane / 4;
#pragma unroll
            for (int row = 0; row < s.rows; ++row) {
                uint32_t values[kGroups][s.tiles][2];
#pragma unroll
                for (int i = 0; i < kGroups; ++i) {
#pragma unroll
                    for (int t = 0; t < s.tiles; ++t) activated_.finish(values[i][t], sums[row][t][i], t);
                }
                chain<I + 1, s.chained_begin, s.chained_end, s.tiles, s.rows>(place_, values, pixels, row,
                                                                              first_channel_);
            }
        }
    }

private:
    static constexpr Stage s = kStages[I];
    static constexpr int kAcross = kBuffers[I + 1].columns, kPixels = kAcross * (ROWS / s.rows);
    static constexpr int kMatrices = s.steps * s.tap_rows * s.tiles;
    static constexpr bool kKept = !s.wide && s.passes == 1 && kMatrices <= 8;

    // Narrow: the lane's piece of four of a step. Wide: its piece of two.
    __device__ int offset(int step) const {
        return offsets_[s.wide ? 2 * step + place_.lane / 8 % 2 : 4 * step + place_.lane % 4];
    }

    __device__ void start(float (&sums)[s.rows][s.tiles][kGroups][4]) const {
#pragma unroll
        for (int t = 0; t < s.tiles; ++t) {
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const float bias = bias_[16 * t + part / 2 * 8];
#pragma unroll
                for (int row = 0; row < s.rows; ++row) {
#pragma unroll
                    for (int i = 0; i < kGroups; ++i) sums[row][t][i][part] = bias;
                }
            }
        }
    }

    __device__ void multiply_narrow(float (&sums)[s.tiles][kGroups][4], int task) const {
        const unsigned char* from[kGroups];
#pragma unroll
        for (int i = 0; i < kGroups; ++i)
            from[i] = operands_of<I, kAcross>(place_.shared, 8 * (kGroups * task + i) + place_.lane / 4);
        constexpr int kUnrolled = kKept ? s.steps : 2;
#pragma unroll kUnrolled
        for (int k = 0; k < s.steps; ++k) {
            const int at = kKept ? kept_offset_[kKept ? k : 0] : offset(k);
            uint32_t b[kGroups][2];
#pragma unroll
            for (int i = 0; i < kGroups; ++i) {
                const auto piece = load_pack<2>(reinterpret_cast<const uint32_t*>(from[i] + at));
                b[i][0] = k == s.steps - 1 && place_.lane % 4 == s.ones ? kTwoOnes : piece.values[0];
                b[i][1] = piece.values[1];
            }
#pragma unroll
            for (int t = 0; t < s.tiles; ++t) {
                uint32_t a[4];
                fragments_.get(a, k * s.tiles + t);
#pragma unroll
                for (int i = 0; i < kGroups; ++i) mma(sums[t][i], a, b[i], sums[t][i]);
            }
        }
    }

    // Every row of the window serves all rows of taps.
    __device__ void multiply_wide(float (&sums)[s.rows][s.tiles][kGroups][4], int task) const {
        constexpr int kRowPitch = kBuffers[I].columns * kBuffers[I].pitch * 2, kRows = s.rows + s.tap_rows - 1;
        const int pixel = 16 * task + place_.lane / 16 * 8 + place_.lane % 8;
        const unsigned char* const from = operands_of<I, kAcross>(place_.shared, pixel);
#pragma unroll 1
        for (int k = 0; k < s.steps; ++k) {
            const int at = offset(k);
            uint32_t b[kRows][4];
#pragma unroll
            for (int row = 0; row < kRows; ++row) load_matrices(b[row], from + at + row * kRowPitch);
#pragma unroll
            for (int u = 0; u < s.tap_rows; ++u) {
#pragma unroll
                for (int t = 0; t < s.tiles; ++t) {
                    uint32_t a[4];
                    fragments_.get(a, (k * s.tap_rows + u) * s.tiles + t);
#pragma unroll
                    for (int row = 0; row < s.rows; ++row) {
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            const uint32_t pixels[2] = {b[row + u][2 * i], b[row + u][2 * i + 1]};
                            mma(sums[row][t][i], a, pixels, sums[row][t][i]);
                        }
                    }
                }
            }
        }
    }

    Place place_;
    const int32_t* offsets_;
    int32_t kept_offset_[kKept ? s.steps : 1];
    Fragments<4, kMatrices, kKept> fragments_;
    const float* bias_;
    Activated<s.tiles, s.activation> activated_;
    int first_channel_;
};

// The stages before the last, whose first row is y.
template <int I>
__device__ void run_stages(unsigned char* shared, const unsigned char* weights, const Parameters& parameters, int y) {
    if constexpr (I < kLast) {
        const int first_row = y + ahead_of(I);
        if (first_row + ROWS > strip_in(shared).top - behind_of(I)) {
#pragma unroll 1
            for (int pass = 0; pass < kStages[I].passes; ++pass) InnerStage<I>(Place(shared, weights), pass).run();
            __syncthreads();
            const int window_row = first_row - reach(I + 1);
            const int window_column = strip_in(shared).left - kBuffers[I + 1].left;
            if (window_row < 0 || first_row + ROWS > parameters.height || window_column < 0 ||
                window_column + kBuffers[I + 1].columns > parameters.width) {
                continue_beyond_border<I + 1>(shared, parameters, window_row, window_column);
                __syncthreads();
            }
        }
        run_stages<I + 1>(shared, weights, parameters, y);
    }
}

// ---- the last stage: 16 cells by K, times K by 8 outputs of a cell --------------------------------------------------

__device__ constexpr Stage kLastStage = kStages[kLast];
__device__ constexpr int kCell = kBuffers[kLast].split;  // pixels in a cell
__device__ constexpr int kCellsAcross = COLUMNS / kCell;
__device__ constexpr int kOutputs = 8 * kLastStage.tiles * kLastStage.passes;  // of a cell

__device__ void multiply_last_wide(float (&sums)[kLastStage.rows][kLastStage.tiles][4], const Place& place, int tile,
                                   int pass, int first_step, int last_step) {
    constexpr Stage s = kLastStage;
    constexpr int kRowPitch = kBuffers[kLast].columns * kBuffers[kLast].pitch * 2, kRows = s.rows + s.tap_rows - 1;
    constexpr int kMatrices = s.steps * s.tap_rows * s.tiles;
    const int32_t* const offsets = reinterpret_cast<const int32_t*>(place.weights + s.offsets) + place.lane / 16;
    const Fragments<2, 1, false> fragments(place.weights + s.weights + pass * kMatrices * kWarp * 8, place.lane);
    const unsigned char* const from = operands_of<kLast, kCellsAcross>(place.shared, 16 * tile + place.lane % 16);
#pragma unroll 1
    for (int k = first_step; k < last_step; ++k) {
        const int at = offsets[2 * k];
        uint32_t a[kRows][4];
#pragma unroll
        for (int row = 0; row < kRows; ++row) load_matrices(a[row], from + at + row * kRowPitch);
#pragma unroll
        for (int u = 0; u < s.tap_rows; ++u) {
#pragma unroll
            for (int t = 0; t < s.tiles; ++t) {
                uint32_t b[2];
                fragments.get(b, (k * s.tap_rows + u) * s.tiles + t);
#pragma unroll
                for (int row = 0; row < s.rows; ++row) mma(sums[row][t], a[row + u], b, sums[row][t]);
            }
        }
    }
}

__device__ void multiply_last_narrow(float (&sums)[kLastStage.tiles][4], const Place& place, int tile, int pass) {
    constexpr Stage s = kLastStage;
    const int32_t* const offsets = reinterpret_cast<const int32_t*>(place.weights + s.offsets) + place.lane % 4;
    const Fragments<2, 1, false> fragments(place.weights + s.weights + pass * s.steps * s.tiles * kWarp * 8,
                                           place.lane);
    const unsigned char* from[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        from[i] = operands_of<kLast, kCellsAcross>(place.shared, 16 * tile + 8 * i + place.lane / 4);
#pragma unroll 2
    for (int k = 0; k < s.steps; ++k) {
        const int at = offsets[4 * k];
        uint32_t a[4];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const auto piece = load_pack<2>(reinterpret_cast<const uint32_t*>(from[i] + at));
            a[i] = piece.values[0];
            a[2 + i] = piece.values[1];
        }
#pragma unroll
        for (int t = 0; t < s.tiles; ++t) {
            uint32_t b[2];
            fragments.get(b, k * s.tiles + t);
            mma(sums[t], a, b, sums[t]);
        }
    }
}

// The sums of ROWS rows of the last stage, in SPLITS parts: [part][row][cell][output].
__device__ void run_last_stage(const Place& place) {
    constexpr Stage s = kLastStage;
    constexpr int kCount = kCellsAcross * (ROWS / s.rows), kTiles = divide_up(kCount, 16);
    float* const parts = reinterpret_cast<float*>(place.shared + PARTIAL_AT);
#pragma unroll 1
    for (int task = place.warp; task < kTiles * SPLITS * s.passes; task += WARPS) {
        const int tile = task % kTiles, part = task / kTiles % SPLITS, pass = task / (kTiles * SPLITS);
        float sums[s.rows][s.tiles][4] = {};
        if constexpr (s.wide)
            multiply_last_wide(sums, place, tile, pass, part * s.steps / SPLITS, (part + 1) * s.steps / SPLITS);
        else
            multiply_last_narrow(sums[0], place, tile, pass);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int cell = 16 * tile + place.lane / 4 + 8 * i;
            if (cell >= kCount) continue;
            const int y = part * ROWS + cell / kCellsAcross * s.rows;
            float* const to = parts + (y * kCellsAcross + cell % kCellsAcross) * kOutputs + place.lane % 4 * 2;
#pragma unroll
            for (int row = 0; row < s.rows; ++row) {
#pragma unroll
                for (int t = 0; t < s.tiles; ++t)
                    store_pack(to + row * kCellsAcross * kOutputs + (pass * s.tiles + t) * 8,
                               Pack<float, 2>{sums[row][t][2 * i], sums[row][t][2 * i + 1]});
            }
        }
    }
}

// Adds the parts up and writes the result, of rows from y, in pixels before the enlargement.
__device__ void store_result(unsigned char* shared, const unsigned char* weights, const Parameters& parameters, int y) {
    const int n = strip_in(shared).n, x = strip_in(shared).left;
    constexpr Stage s = kStages[kLast];
    constexpr int kWidth = COLUMNS * STRIDE, kCellWidth = kCell * STRIDE;
    const float* const parts = reinterpret_cast<const float*>(shared + PARTIAL_AT);
    for (int i = opaque(threadIdx.x); i < ROWS * STRIDE * CHANNELS_OUT * kWidth; i += kThreads) {
        // Neighbouring threads have what lies together.
        const int c = INTERLEAVED_OUT ? i % CHANNELS_OUT : i / (kWidth * ROWS * STRIDE);
        const int pixel = INTERLEAVED_OUT ? i / CHANNELS_OUT : i % (kWidth * ROWS * STRIDE);
        const int column = pixel % kWidth, row = pixel / kWidth;
        const int to_row = y * STRIDE + row, to_column = x * STRIDE + column;
        if (to_row >= parameters.result_height || to_column >= parameters.result_width) continue;
        const int output = (row % STRIDE * CHANNELS_OUT + c) * kCellWidth + column % kCellWidth;
        const float* const part = parts + (row / STRIDE * kCellsAcross + column / kCellWidth) * kOutputs + output;
        const int phase = (row % STRIDE * CHANNELS_OUT + c) * STRIDE + column % STRIDE;
        float value = reinterpret_cast<const float*>(weights + s.bias)[phase];
#pragma unroll
        for (int k = 0; k < SPLITS; ++k) value += part[k * ROWS * kCellsAcross * kOutputs];
        if constexpr (s.activation == kRelu) value = value < 0 ? 0 : value;
        if constexpr (s.activation == kSlope)
            value = value > 0 ? value : value * reinterpret_cast<const float*>(weights + s.slope)[phase];
        *parameters.result.at<OUT>(n, c, to_row, to_column) = from_float<OUT>(value * parameters.result_scale);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, BLOCKS) network(const Parameters parameters) {
    FASTIMG_DYNAMIC_SHARED(unsigned char, shared);
    // Zeros, because what no weight counts must still be a number.
    constexpr int kCopied = WEIGHTS_SHARED ? WEIGHTS_BYTES : 0;
#pragma unroll 1
    for (int i = threadIdx.x * 16; i < STRIP_AT; i += kThreads * 16) {
        Pack<uint32_t, 4> words = {};
        if (i < kCopied) words = load_pack<4>(reinterpret_cast<const uint32_t*>(parameters.weights + i));
        store_pack(reinterpret_cast<uint32_t*>(shared + i), words);
    }
    const unsigned char* const weights = WEIGHTS_SHARED ? shared : parameters.weights;

    const int down = blockIdx.x / parameters.strips_across;
    const int top = down % parameters.strips_down * parameters.strip_rows;
    const int bottom = min(top + parameters.strip_rows, divide_up(parameters.result_height, STRIDE));
    if (threadIdx.x == 0)
        strip_in(shared) = {down / parameters.strips_down, int(blockIdx.x) % parameters.strips_across * COLUMNS, top,
                            bottom};
    __syncthreads();

#pragma unroll 1
    for (int y = top - warm_up(); y < strip_in(shared).bottom; y += ROWS) {
        load_image(shared, parameters, y);
        __syncthreads();
        if constexpr (RECORDS > 0) {
            make_records(shared);
            __syncthreads();
        }
        run_stages<0>(shared, weights, parameters, y);
        if (y >= strip_in(shared).top) {
            run_last_stage(Place(shared, weights));
            __syncthreads();
            store_result(shared, weights, parameters, y);
        }
        keep_rows_from<0>(shared);
        __syncthreads();
    }
}
