// Four rows of a convolution at once by Winograd's algorithm along the columns of its kernel.
//
// Four outputs y, one below the other, of a kernel column g of r weights read r + 3 inputs d. As products of polynomials,
// evaluated at r + 3 points, they take r + 3 multiplications instead of 4 r:
//
//   y = A (G g · B d)         r = 3: points 0, 1, -1, 2, -2, ∞; 6 instead of 12
//                             r = 5: and 1/2, -1/2; 8 instead of 20
//
// (S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980; for whole kernels A. Lavin, S. Gray, "Fast Algorithms for
// Convolutional Neural Networks", CVPR 2016.) Weights are transformed by G once. Inputs are transformed by B for some columns
// of all channels into a buffer of one line for each point and channel, which stays in L2; for each point the micro-kernel
// sums over all channels and columns of the kernel, as if the line were a row of the image; A makes four rows of the sums.
// Along the width nothing changes, so that vectors, columns and borders are those of a direct convolution.
//
// Rows come together by their number in the image, so that every output is rounded in the one way, however the image is cut.

namespace fastimg::FASTIMG_TARGET {

// B d: of each finite point p the product of x - q over the others q, its coefficients times d; at ∞ over all.
inline void transform_inputs(Floats (&v)[6], const Floats (&d)[6]) {
    const Floats even1 = d[4] - 4 * d[2], odd1 = d[3] - 4 * d[1];
    const Floats even2 = d[4] - d[2], odd2 = d[3] - d[1];
    v[0] = 4 * d[0] - 5 * d[2] + d[4];
    v[1] = even1 + odd1;
    v[2] = even1 - odd1;
    v[3] = even2 + 2 * odd2;
    v[4] = even2 - 2 * odd2;
    v[5] = 4 * d[1] - 5 * d[3] + d[5];
}

inline void transform_inputs(Floats (&v)[8], const Floats (&d)[8]) {
    const Floats even1 = d[6] + d[2] - 4.25f * d[4], odd1 = d[5] + d[1] - 4.25f * d[3];
    const Floats even2 = d[6] + 0.25f * d[2] - 1.25f * d[4], odd2 = d[5] + 0.25f * d[1] - 1.25f * d[3];
    const Floats even3 = d[6] + 4 * d[2] - 5 * d[4], odd3 = d[5] + 4 * d[1] - 5 * d[3];
    v[0] = d[6] - d[0] + 5.25f * (d[2] - d[4]);
    v[1] = even1 + odd1;
    v[2] = even1 - odd1;
    v[3] = even2 + 2 * odd2;
    v[4] = even2 - 2 * odd2;
    v[5] = even3 + 0.5f * odd3;
    v[6] = even3 - 0.5f * odd3;
    v[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}

// A m: of row k the powers p^k, at ∞ those of the last row alone. At the point 1 all are 1: its sum is where the bias belongs.
constexpr ptrdiff_t kPointOfBias = 1;

inline void transform_sums(Floats (&y)[kRowsAtOnce], const Floats (&m)[6]) {
    const Floats even1 = m[1] + m[2], odd1 = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
    y[0] = m[0] + even1 + even2;
    y[1] = odd1 + 2 * odd2;
    y[2] = even1 + 4 * even2;
    y[3] = odd1 + 8 * odd2 + m[5];
}

inline void transform_sums(Floats (&y)[kRowsAtOnce], const Floats (&m)[8]) {
    const Floats even1 = m[1] + m[2], odd1 = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
    const Floats even3 = m[5] + m[6], odd3 = m[5] - m[6];
    y[0] = m[0] + even1 + even2 + even3;
    y[1] = odd1 + 2 * odd2 + 0.5f * odd3;
    y[2] = even1 + 4 * even2 + 0.25f * even3;
    y[3] = odd1 + 8 * odd2 + 0.125f * odd3 + m[7];
}

// Of inputs at points: lines of some columns, a plane's behind another's.
inline Layout layout_of_points(const Convolution& layer, ptrdiff_t planes, ptrdiff_t vectors) {
    Layout layout{};
    layout.plane_stride = vectors * kLanes + round_up(layer.reach[1], kLanes);
    layout.row_stride = planes * layout.plane_stride;
    return layout;
}

// Of floats: a layer's inputs at points, and behind them the sums of a block.
inline size_t points_size(const Convolution& layer, const Layout& points) {
    return layer.points == 0 ? 0 : size_t(layer.points * (points.row_stride + kMostAccumulators * kLanes));
}

template <int Points>
void transform_lines(float* to, Layout points, const float* from, Layout rows, ptrdiff_t planes) {
    for (ptrdiff_t plane = 0; plane < planes; ++plane) {
        for (ptrdiff_t column = 0; column < points.plane_stride; column += kLanes) {
            Floats d[Points], v[Points];
            for (int i = 0; i < Points; ++i) d[i] = load(from + i * rows.row_stride + column);
            transform_inputs(v, d);
            for (int i = 0; i < Points; ++i) store(to + i * points.row_stride + column, v[i]);
        }
        from += rows.plane_stride;
        to += points.plane_stride;
    }
}

inline void transform_lines(const Convolution& layer, float* to, const Layout& points, const float* from,
                            const Layout& rows, ptrdiff_t planes) {
    (layer.points == 6 ? transform_lines<6> : transform_lines<8>)(to, points, from, rows, planes);
}

// A block's sums at all points, one below the other, and its rows of outputs made of them.
template <int Points, class Results>
void run_block_at_points(const BlockProgram& block, ptrdiff_t outputs, ptrdiff_t vectors, const float* in,
                         ptrdiff_t point_stride, float* sums, float* out, const ptrdiff_t* out_offset) {
    static constexpr float no_bias[kBlockOutputs]{};
    const ptrdiff_t line = vectors * kLanes;
    ptrdiff_t lines[kBlockOutputs];
    for (ptrdiff_t m = 0; m < outputs; ++m) lines[m] = m * line;
    BlockProgram at_point = block;
    at_point.activation = Activation::none;
    const RunBlock run = run_block_of<FloatProducts>(outputs, vectors);
    for (ptrdiff_t point = 0; point < Points; ++point) {
        at_point.bias = point == kPointOfBias ? block.bias : no_bias;
        run(at_point, in + point * point_stride, sums + point * outputs * line, lines);
        at_point.weights += block.taps * outputs;
    }
    const Activation activation = block.activation;
    constexpr int together = Results::kTogether;
    for (ptrdiff_t m = 0; m < outputs; m += together) {
        // Here, because what is stored might change them where they stand.
        float slope[together];
        for (int k = 0; k < together && m + k < outputs; ++k) slope[k] = block.slope[m + k];
        float* rows[kRowsAtOnce];
        for (int row = 0; row < kRowsAtOnce; ++row) rows[row] = out + out_offset[row * outputs + m];
        for (ptrdiff_t column = 0; column < line; column += kLanes) {
            Floats results[kRowsAtOnce][together]{};
            for (int k = 0; k < together && m + k < outputs; ++k) {
                Floats s[Points], y[kRowsAtOnce];
                for (int i = 0; i < Points; ++i) s[i] = load(sums + (i * outputs + m + k) * line + column);
                transform_sums(y, s);
                for (int row = 0; row < kRowsAtOnce; ++row) results[row][k] = activated(y[row], activation, slope[k]);
            }
            for (int row = 0; row < kRowsAtOnce; ++row) store(rows[row] + column, Results::packed(results[row]));
        }
    }
}

template <class Results>
void run_block_at_points(const Convolution& layer, const BlockProgram& block, ptrdiff_t outputs, ptrdiff_t vectors,
                         const float* in, const Layout& points, float* sums, float* out, const ptrdiff_t* out_offset) {
    (layer.points == 6 ? run_block_at_points<6, Results> : run_block_at_points<8, Results>)(block, outputs, vectors, in,
                                                                                            points.row_stride, sums,
                                                                                            out, out_offset);
}

}  // namespace fastimg::FASTIMG_TARGET
