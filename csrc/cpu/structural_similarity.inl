// Structural similarity in one pass over both images.
//
// Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural similarity. 2004.
// With s = x + y and d = x - y, local means u and variances v, their index is
//
//     (us^2 - ud^2 + 2 c1) (vs - vd + 2 c2) / ((us^2 + ud^2 + 2 c1) (vs + vd + 2 c2)),
//
// which needs the local means of four images, s, d, s^2, d^2, not five, gives exactly 1 where x = y, and loses nothing
// to cancellation where they nearly are. Arithmetic is in double: variances are differences of large numbers.
//
// A tile is a strip of columns; its rows' four moments enter a ring of 2 r + 1 rows (about 30 KB at r = 3: the L1
// cache), from which each output row takes its vertical, then its horizontal means, both folded about the centre:
// 16 r additions, 8 r + 8 multiply-adds and some 20 more operations per pixel, against 2 to 16 bytes of traffic: bound
// by arithmetic. Images of more than two axes sum over neighbours along the further ones as rows enter the ring.
// No memory but the rings; each tile has its own partial sum, so threads do not change the result.

namespace fastimg::FASTIMG_TARGET {

constexpr ptrdiff_t kSimilarityColumns = 128, kSimilarityRows = 64;  // of a tile
constexpr int kMoments = 4;                                          // s, d, s^2, d^2

// A row of one plane: what to add to the images' pointers, and the weight of the row in its moments.
struct Neighbour {
    ptrdiff_t a, b;
    double weight;
};

struct SimilarityTile {
    ptrdiff_t first_row, end_row, first_column, end_column;
};

// The images as planes x further axes x rows x columns; rows of a one-dimensional image have no neighbours.
class SimilarityGrid {
public:
    SimilarityGrid(const Array& a, const Array& b, const SimilarityWindow& window, bool everywhere)
        : a_(a), b_(b), window_(window), radius_(ptrdiff_t(window.weights.size()) - 1) {
        const int last = a.ndim - 1;
        has_rows_ = last >= 2;
        further_ = has_rows_ ? last - 2 : 0;
        columns_ = a.shape[last];
        rows_ = has_rows_ ? a.shape[last - 1] : 1;
        margin_ = everywhere ? 0 : window.margin;
        for (int axis = 1; axis <= further_; ++axis) slices_ *= a.shape[axis] - 2 * margin_;
        bands_ = divide_up(rows_ - 2 * row_margin(), kSimilarityRows);
        strips_ = divide_up(columns_ - 2 * margin_, kSimilarityColumns);
    }

    ptrdiff_t count() const { return a_.shape[0] * slices_ * bands_ * strips_; }
    ptrdiff_t radius() const { return radius_; }
    ptrdiff_t row_radius() const { return has_rows_ ? radius_ : 0; }
    ptrdiff_t rows() const { return rows_; }
    ptrdiff_t columns() const { return columns_; }
    ptrdiff_t row_stride(const Array& array) const { return has_rows_ ? array.stride[array.ndim - 2] : 0; }

    SimilarityTile tile(ptrdiff_t task) const {
        const ptrdiff_t row = row_margin() + task / strips_ % bands_ * kSimilarityRows;
        const ptrdiff_t column = margin_ + task % strips_ * kSimilarityColumns;
        return {row, std::min(row + kSimilarityRows, rows_ - row_margin()), column,
                std::min(column + kSimilarityColumns, columns_ - margin_)};
    }

    // Where the task's plane and slice begin in an array of this shape.
    ptrdiff_t offset(const Array& array, ptrdiff_t task) const {
        ptrdiff_t offset = plane(task) * array.stride[0];
        for_each_further_index(task, [&](int axis, ptrdiff_t index) { offset += index * array.stride[axis]; });
        return offset;
    }

    // The slices that the task's window covers.
    std::vector<Neighbour> neighbours(ptrdiff_t task) const {
        std::vector<Neighbour> list{{plane(task) * a_.stride[0], plane(task) * b_.stride[0], 1.0}};
        for_each_further_index(task, [&](int axis, ptrdiff_t index) {
            std::vector<Neighbour> wider;
            for (const Neighbour& n : list) {
                for (ptrdiff_t k = -radius_; k <= radius_; ++k) {
                    const ptrdiff_t at = border_index(index + k, a_.shape[axis], BorderMode::reflect);
                    wider.push_back({n.a + at * a_.stride[axis], n.b + at * b_.stride[axis],
                                     n.weight * window_.weights[size_t(k < 0 ? -k : k)]});
                }
            }
            list.swap(wider);
        });
        return list;
    }

    // Whether the task's slice counts for the mean.
    bool slice_counts(ptrdiff_t task) const {
        bool counts = true;
        for_each_further_index(task, [&](int axis, ptrdiff_t index) {
            counts &= index >= window_.margin && index < a_.shape[axis] - window_.margin;
        });
        return counts;
    }

    double pixels_counted() const {
        double n = double(a_.shape[0]);
        for (int axis = 1; axis < a_.ndim; ++axis) n *= double(a_.shape[axis] - 2 * window_.margin);
        return n;
    }

private:
    ptrdiff_t row_margin() const { return has_rows_ ? margin_ : 0; }
    ptrdiff_t plane(ptrdiff_t task) const { return task / (strips_ * bands_ * slices_); }

    template <class F>
    void for_each_further_index(ptrdiff_t task, F&& f) const {
        ptrdiff_t slice = task / (strips_ * bands_) % slices_;
        for (int axis = further_; axis >= 1; --axis) {
            const ptrdiff_t n = a_.shape[axis] - 2 * margin_;
            f(axis, slice % n + margin_);
            slice /= n;
        }
    }

    const Array &a_, &b_;
    const SimilarityWindow& window_;
    ptrdiff_t radius_, margin_ = 0, rows_ = 1, columns_ = 1, slices_ = 1, bands_ = 1, strips_ = 1;
    int further_ = 0;
    bool has_rows_ = false;
};

// What a thread needs for one tile at a time. Rows have room for whole vectors.
struct SimilarityScratch {
    explicit SimilarityScratch(ptrdiff_t radius)
        : pitch((kSimilarityColumns + 2 * radius + 2 * kDoubleLanes) / kDoubleLanes * kDoubleLanes),
          memory(size_t(pitch * ((2 * radius + 1) * kMoments + kMoments + 3) + pitch)) {
        std::fill_n(memory.data(), size_t(pitch * ((2 * radius + 1) * kMoments + kMoments + 3) + pitch), 0.0);
        ring = memory.data();
        means = ring + pitch * (2 * radius + 1) * kMoments;
        x = means + pitch * kMoments;
        y = x + pitch;
        index = y + pitch;
        floats = reinterpret_cast<float*>(index + pitch);
    }

    ptrdiff_t pitch;
    Scratch<double> memory;
    double *ring, *means, *x, *y, *index;
    float* floats;
};

// Columns `begin` .. `end` - 1 of a row of n, continued beyond its ends.
template <class T>
void load_continued(double* to, float* floats, const T* row, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end,
                    ptrdiff_t n) {
    const ptrdiff_t first = std::max<ptrdiff_t>(begin, 0), last = std::min(end, n);
    if constexpr (std::is_same_v<T, double>) {
        for (ptrdiff_t i = first; i < last; ++i) to[i - begin] = row[i * stride];
    } else {
        load_row(floats, row + first * stride, last - first, stride);
        for (ptrdiff_t i = 0; i < last - first; ++i) to[first - begin + i] = floats[i];
    }
    const auto beyond = [&](ptrdiff_t i) {
        to[i - begin] = load_double(row + border_index(i, n, BorderMode::reflect) * stride);
    };
    for (ptrdiff_t i = begin; i < first; ++i) beyond(i);
    for (ptrdiff_t i = last; i < end; ++i) beyond(i);
}

// The moments of n pixels, weighted; set, or added to those of other slices.
inline void add_moments(double* moments, ptrdiff_t pitch, const double* x, const double* y, ptrdiff_t n, double weight,
                        bool set) {
    for (ptrdiff_t i = 0; i < n; i += kDoubleLanes) {
        const Doubles s = load(x + i) + load(y + i), d = load(x + i) - load(y + i);
        const Doubles values[kMoments] = {s, d, s * s, d * d};
        for (int m = 0; m < kMoments; ++m) {
            double* to = moments + m * pitch + i;
            store(to, set ? weight * values[m] : load(to) + weight * values[m]);
        }
    }
}

// Means over 2 r + 1 rows, given by pointers in order.
inline void means_of_rows(double* to, const double* const* rows, ptrdiff_t radius, const double* weights, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += 2 * kDoubleLanes) {
        const double* centre = rows[radius] + i;
        Doubles first = weights[0] * load(centre), second = weights[0] * load(centre + kDoubleLanes);
        for (ptrdiff_t k = 1; k <= radius; ++k) {
            const double *above = rows[radius - k] + i, *below = rows[radius + k] + i;
            first += weights[k] * (load(above) + load(below));
            second += weights[k] * (load(above + kDoubleLanes) + load(below + kDoubleLanes));
        }
        store(to + i, first);
        store(to + i + kDoubleLanes, second);
    }
}

// The index at n pixels from vertical means, whose rows begin `radius` columns before.
inline void similarity_row(double* index, const double* means, ptrdiff_t pitch, ptrdiff_t radius, ptrdiff_t n,
                           const SimilarityWindow& window) {
    const double* weights = window.weights.data();
    for (ptrdiff_t i = 0; i < n; i += kDoubleLanes) {
        Doubles mean[kMoments];
        for (int m = 0; m < kMoments; ++m) {
            const double* centre = means + m * pitch + radius + i;
            mean[m] = weights[0] * load(centre);
            for (ptrdiff_t k = 1; k <= radius; ++k) mean[m] += weights[k] * (load(centre - k) + load(centre + k));
        }
        const Doubles us2 = mean[0] * mean[0], ud2 = mean[1] * mean[1];
        const Doubles vs = window.covariance_factor * (mean[2] - us2), vd = window.covariance_factor * (mean[3] - ud2);
        const double c1 = 2 * window.c1, c2 = 2 * window.c2;
        store(index + i, ((us2 - ud2 + c1) * (vs - vd + c2)) / ((us2 + ud2 + c1) * (vs + vd + c2)));
    }
}

inline double sum_of(const double* values, ptrdiff_t n) {
    Doubles sums{};
    ptrdiff_t i = 0;
    for (; i + kDoubleLanes <= n; i += kDoubleLanes) sums += load(values + i);
    double total = sum(sums);
    for (; i < n; ++i) total += values[i];
    return total;
}

inline void store_index(const Array& map, ptrdiff_t offset, const double* index, ptrdiff_t n) {
    const ptrdiff_t stride = map.stride[map.ndim - 1];
    if (map.dtype == DType::f64) {
        double* to = static_cast<double*>(map.data) + offset;
        for (ptrdiff_t i = 0; i < n; ++i) to[i * stride] = index[i];
    } else {
        float* to = static_cast<float*>(map.data) + offset;
        for (ptrdiff_t i = 0; i < n; ++i) to[i * stride] = float(index[i]);
    }
}

template <class T>
double similarity_of_tile(const Array& a, const Array& b, const Array* map, const SimilarityWindow& window,
                          const SimilarityGrid& grid, ptrdiff_t task, SimilarityScratch& scratch) {
    const SimilarityTile tile = grid.tile(task);
    const std::vector<Neighbour> neighbours = grid.neighbours(task);
    const bool slice_counts = grid.slice_counts(task);
    const ptrdiff_t radius = grid.radius(), row_radius = grid.row_radius(), taps = 2 * row_radius + 1;
    const ptrdiff_t width = tile.end_column - tile.first_column, pitch = scratch.pitch;
    const ptrdiff_t begin = tile.first_column - radius, end = tile.end_column + radius;
    const ptrdiff_t a_stride = a.stride[a.ndim - 1], b_stride = b.stride[b.ndim - 1];
    const ptrdiff_t row_margin = a.ndim > 2 ? window.margin : 0;
    const ptrdiff_t first_counted = std::max(tile.first_column, window.margin);
    const ptrdiff_t end_counted = std::min(tile.end_column, grid.columns() - window.margin);
    const auto ring_row = [&](ptrdiff_t row) { return scratch.ring + (row + row_radius) % taps * kMoments * pitch; };
    std::vector<const double*> rows(static_cast<size_t>(taps));
    double total = 0;
    for (ptrdiff_t entering = tile.first_row - row_radius; entering < tile.end_row + row_radius; ++entering) {
        const ptrdiff_t source = border_index(entering, grid.rows(), BorderMode::reflect);
        for (const Neighbour& n : neighbours) {
            load_continued(scratch.x, scratch.floats, static_cast<const T*>(a.data) + n.a + source * grid.row_stride(a),
                           a_stride, begin, end, grid.columns());
            load_continued(scratch.y, scratch.floats, static_cast<const T*>(b.data) + n.b + source * grid.row_stride(b),
                           b_stride, begin, end, grid.columns());
            add_moments(ring_row(entering), pitch, scratch.x, scratch.y, end - begin, n.weight, &n == &neighbours[0]);
        }
        const ptrdiff_t row = entering - row_radius;
        if (row < tile.first_row) continue;
        const double* means = ring_row(row);
        if (row_radius > 0) {
            for (int m = 0; m < kMoments; ++m) {
                for (ptrdiff_t k = 0; k < taps; ++k) rows[size_t(k)] = ring_row(row - row_radius + k) + m * pitch;
                means_of_rows(scratch.means + m * pitch, rows.data(), row_radius, window.weights.data(), end - begin);
            }
            means = scratch.means;
        }
        similarity_row(scratch.index, means, pitch, radius, width, window);
        if (map != nullptr)
            store_index(
                *map,
                grid.offset(*map, task) + row * grid.row_stride(*map) + tile.first_column * map->stride[map->ndim - 1],
                scratch.index, width);
        if (slice_counts && row >= row_margin && row < grid.rows() - row_margin && first_counted < end_counted)
            total += sum_of(scratch.index + (first_counted - tile.first_column), end_counted - first_counted);
    }
    return total;
}

inline double structural_similarity(const Array& a, const Array& b, const Array* map, const SimilarityWindow& window,
                                    int threads) {
    const SimilarityGrid grid(a, b, window, map != nullptr);
    std::vector<double> sums(size_t(grid.count()), 0.0);
    visit(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        parallel_for(
            grid.count(), threads, [&] { return SimilarityScratch(grid.radius()); },
            [&](ptrdiff_t task, SimilarityScratch& scratch) {
                sums[size_t(task)] = similarity_of_tile<T>(a, b, map, window, grid, task, scratch);
            });
    });
    double total = 0;
    for (double share : sums) total += share;
    return total / grid.pixels_counted();
}

}  // namespace fastimg::FASTIMG_TARGET
