// Gaussian filter: one separable pass over the image.
//
//     out[y, x] = sum over j of ty[|j|] * sum over i of tx[|i|] * image[y + j, x + i]
//
// Taps are symmetric, so samples at equal distance are added first: a radius r costs r additions and r + 1
// multiply-adds per axis and sample. Odd derivatives are antisymmetric: they are subtracted.
//
// Tiling: a task is a strip of columns within a band of rows. Rows come in groups of one vector's width: they are
// converted and padded (borders are samples like others from there on), transposed, filtered, transposed back and put
// into a window of rows, from which kRows rows of results at a time are filtered along y and stored. Transposed, the
// row filter is the column filter: whole vectors at whole distances, every load aligned and shared by kRows results,
// where a filter along the row would load across cache lines twice per tap. The window (2 ry + 64 rows of kStrip
// elements) stays in L2, all else in L1. The image is read once but for the strips' and bands' margins and written
// once. Channels interleaved in a row become planes in the transposition.
//
// Partition and order of summation follow from shapes alone: the result does not depend on the number of threads.

#include "support/arithmetic.inl"

namespace fastimg::FASTIMG_TARGET {
namespace {

template <class A>
constexpr int kStrip = 4096 / sizeof(A);  // elements of a row that are filtered at a time, at most
template <class A>
constexpr int kPitch = kStrip<A> + 64 / sizeof(A);  // between rows of the window; an odd number of cache lines
constexpr int kBlock = 8;                           // distances per pass
constexpr int kAhead = 4;                           // rows by which loads from the image are foreseen
constexpr int kRows = 4;                            // results that share their loads
constexpr ptrdiff_t kL1Bytes = 24 << 10;            // what is read again and again
constexpr ptrdiff_t kWindowBytes = 300 << 10;       // what the window may take of L2
constexpr ptrdiff_t kWantedTasks = 8;
constexpr ptrdiff_t kStreamedBytes = 16 << 20;  // results that no cache keeps

// ---- the inner loop -----------------------------------------------------------------------------------------------

template <class A>
struct Taps {
    std::vector<A> weights;  // at distance 0, 1, ..., radius
    bool odd;

    ptrdiff_t radius() const { return ptrdiff_t(weights.size()) - 1; }
};

// What a tap multiplies: the sample after and the one before at the same distance.
template <bool kOdd, class V>
V both(V after, V before) {
    return kOdd ? after - before : after + before;
}

// Adds the taps at distances before + 1 ... before + K to kRows neighbouring results, for `count` vectors:
//
//     y[r] = partial[r] + sum over k of taps[before + k] * (x[r + before + k] + x[r - before - k])
//
// where r counts rows of x, kDistance elements apart. With kFirst, the centre tap takes the place of partial sums. Each
// row is loaded once and used for up to kRows results; with all distances unrolled every address is a base and a
// constant.
template <class A, int K, int kDistance, bool kOdd, bool kFirst, class O>
void add_taps(const A* x, ptrdiff_t x_step, const A* partial, ptrdiff_t partial_pitch, O* y, ptrdiff_t y_pitch,
              ptrdiff_t y_step, ptrdiff_t count, const A* taps, ptrdiff_t before) {
    using V = Vector<A>;
    const A* low = x - (before + K) * kDistance;
    const A* high = x + (before + 1) * kDistance;
    const A* centre_tap = taps;
    const A* weights = taps + before;
    for (; count > 0; --count) {
        // Taps are broadcast from memory at each use: hoisted, they would be spilled.
        asm volatile("" : "+r"(weights), "+r"(centre_tap));
        V sum[kRows], above[K + kRows], below[K + kRows];
        for (int r = 0; r < kRows; ++r) {
            if constexpr (kFirst)
                sum[r] = load(x + r * kDistance) * *centre_tap;
            else
                sum[r] = load(partial + r * partial_pitch);
        }
#pragma GCC unroll 8
        for (int k = 1; k <= K; ++k) {
            if (k == 1) {
                for (int r = 1; r < kRows; ++r) {
                    above[K - 1 + r] = load(low + (K - 1 + r) * kDistance);
                    below[r - 1] = load(high + (r - 1) * kDistance);
                }
            }
            above[K - k] = load(low + (K - k) * kDistance);
            below[k + kRows - 2] = load(high + (k + kRows - 2) * kDistance);
            for (int r = 0; r < kRows; ++r) sum[r] += both<kOdd>(below[k - 1 + r], above[K - k + r]) * weights[k];
        }
        for (int r = 0; r < kRows; ++r) {
            store(y + r * y_pitch, sum[r]);
            // Down columns, rows of the image follow: their lines are fetched before they are written.
            if (kDistance == kPitch<A>) __builtin_prefetch(y + (r + kRows) * y_pitch, 1);
        }
        low += x_step;
        high += x_step;
        x += x_step;
        partial += y_step;
        y += y_step;
    }
}

// The same along a row, of neighbours kDistance elements apart: y[i] = sum over k of taps[k] * (x[i + k] + x[i - k]).
// For a few taps this beats the transposition, though loads straddle two cache lines. What stands `ahead` elements on is
// fetched meanwhile: rows end too soon for the processor to foresee the next.
template <class A, int K, int kDistance, bool kOdd>
void filter_row(const A* x, A* y, ptrdiff_t count, const A* taps, ptrdiff_t ahead) {
    using V = Vector<A>;
    constexpr int width = kWidth<A>, unroll = 2;
    for (ptrdiff_t i = 0; i < count; i += unroll * width) {
        asm volatile("" : "+r"(taps));
        V sum[unroll];
        for (int u = 0; u < unroll; ++u) sum[u] = load(x + i + u * width) * taps[0];
        for (int e = 0; e < unroll * width; e += 64 / int(sizeof(A))) __builtin_prefetch(x + i + ahead + e);
#pragma GCC unroll 12
        for (int k = 1; k <= K; ++k)
            for (int u = 0; u < unroll; ++u)
                sum[u] += both<kOdd>(load(x + i + u * width + k * kDistance), load(x + i + u * width - k * kDistance)) *
                          taps[k];
        for (int u = 0; u < unroll; ++u) store(y + i + u * width, sum[u]);
    }
}

constexpr int kRowRadius = 12, kRowChannels = 4;  // what filter_row takes
constexpr int kPixelRadius = 8;                   // and with several channels

template <class A, int kDistance, bool kOdd>
void filter_row(const A* x, A* y, ptrdiff_t count, const std::vector<A>& taps, ptrdiff_t ahead) {
    using Pass = void (*)(const A*, A*, ptrdiff_t, const A*, ptrdiff_t);
    static constexpr Pass kPasses[kRowRadius + 1] = {
        filter_row<A, 0, kDistance, kOdd>,  filter_row<A, 1, kDistance, kOdd>,  filter_row<A, 2, kDistance, kOdd>,
        filter_row<A, 3, kDistance, kOdd>,  filter_row<A, 4, kDistance, kOdd>,  filter_row<A, 5, kDistance, kOdd>,
        filter_row<A, 6, kDistance, kOdd>,  filter_row<A, 7, kDistance, kOdd>,  filter_row<A, 8, kDistance, kOdd>,
        filter_row<A, 9, kDistance, kOdd>,  filter_row<A, 10, kDistance, kOdd>, filter_row<A, 11, kDistance, kOdd>,
        filter_row<A, 12, kDistance, kOdd>,
    };
    kPasses[taps.size() - 1](x, y, count, taps.data(), ahead);
}

template <class A, int kDistance>
void filter_row(const A* x, A* y, ptrdiff_t count, const Taps<A>& taps, ptrdiff_t ahead) {
    if (taps.odd)
        filter_row<A, kDistance, true>(x, y, count, taps.weights, ahead);
    else
        filter_row<A, kDistance, false>(x, y, count, taps.weights, ahead);
}

// The first pass, of `radius` <= kBlock distances.
template <class A, int kDistance, bool kOdd, class O>
void add_first_taps(ptrdiff_t radius, const A* x, ptrdiff_t x_step, O* y, ptrdiff_t y_pitch, ptrdiff_t y_step,
                    ptrdiff_t count, const A* taps) {
    using Pass =
        void (*)(const A*, ptrdiff_t, const A*, ptrdiff_t, O*, ptrdiff_t, ptrdiff_t, ptrdiff_t, const A*, ptrdiff_t);
    static constexpr Pass kPasses[kBlock + 1] = {
        add_taps<A, 0, kDistance, kOdd, true, O>, add_taps<A, 1, kDistance, kOdd, true, O>,
        add_taps<A, 2, kDistance, kOdd, true, O>, add_taps<A, 3, kDistance, kOdd, true, O>,
        add_taps<A, 4, kDistance, kOdd, true, O>, add_taps<A, 5, kDistance, kOdd, true, O>,
        add_taps<A, 6, kDistance, kOdd, true, O>, add_taps<A, 7, kDistance, kOdd, true, O>,
        add_taps<A, 8, kDistance, kOdd, true, O>,
    };
    kPasses[radius](x, x_step, x, 0, y, y_pitch, y_step, count, taps, 0);
}

template <class A, int kDistance, bool kOdd, class O>
void filter(const A* x, ptrdiff_t x_step, A* partial, ptrdiff_t partial_pitch, O* y, ptrdiff_t y_pitch,
            ptrdiff_t y_step, ptrdiff_t count, const std::vector<A>& taps) {
    const ptrdiff_t radius = ptrdiff_t(taps.size()) - 1;
    if (radius <= kBlock) {
        add_first_taps<A, kDistance, kOdd>(radius, x, x_step, y, y_pitch, y_step, count, taps.data());
        return;
    }
    ptrdiff_t done = (radius - 1) % kBlock + 1;
    add_first_taps<A, kDistance, kOdd>(done, x, x_step, partial, partial_pitch, y_step, count, taps.data());
    for (; done < radius - kBlock; done += kBlock)
        add_taps<A, kBlock, kDistance, kOdd, false>(x, x_step, partial, partial_pitch, partial, partial_pitch, y_step,
                                                    count, taps.data(), done);
    add_taps<A, kBlock, kDistance, kOdd, false>(x, x_step, partial, partial_pitch, y, y_pitch, y_step, count,
                                                taps.data(), done);
}

// All taps for kRows results, in passes over `count` vectors, few enough for the partial sums to stay in L1.
template <class A, int kDistance, class O>
void filter(const A* x, ptrdiff_t x_step, A* partial, ptrdiff_t partial_pitch, O* y, ptrdiff_t y_pitch,
            ptrdiff_t y_step, ptrdiff_t count, const Taps<A>& taps) {
    if (taps.odd)
        filter<A, kDistance, true>(x, x_step, partial, partial_pitch, y, y_pitch, y_step, count, taps.weights);
    else
        filter<A, kDistance, false>(x, x_step, partial, partial_pitch, y, y_pitch, y_step, count, taps.weights);
}

// ---- rows of any element type -------------------------------------------------------------------------------------

// Whole cache lines go past the caches: a store that does not fetches its line first.
template <class A>
void stream_row(A* to, const A* from, ptrdiff_t n) {
    constexpr ptrdiff_t line = 64 / ptrdiff_t(sizeof(A));
    const ptrdiff_t head = std::min(n, ptrdiff_t(-reinterpret_cast<uintptr_t>(to) % 64 / sizeof(A)));
    std::memcpy(to, from, size_t(head) * sizeof(A));
    ptrdiff_t i = head;
    for (; i + line <= n; i += line) stream_line(to + i, from + i);
    std::memcpy(to + i, from + i, size_t(n - i) * sizeof(A));
}

constexpr ptrdiff_t round_down(ptrdiff_t n, ptrdiff_t unit) { return n / unit * unit; }

// ---- the whole image ----------------------------------------------------------------------------------------------

template <class T, class O, class A>
struct Job {
    const T* image;
    O* out;
    const Layout& layout;
    A cval;
    Taps<A> x_taps, y_taps;
    ptrdiff_t window_rows, strip, strips, bands;
    bool streams;  // whether results go past the caches

    Job(const Array& image, const Array& out, const Layout& layout, double cval, double scale)
        : image(static_cast<const T*>(image.data)),
          out(static_cast<O*>(out.data)),
          layout(layout),
          cval(A(cval)),
          x_taps(taps_of(layout.x.filter, 1.0)),
          // A single tap along x is a factor like others.
          y_taps(taps_of(layout.y.filter, layout.x.radius() == 0 ? scale * double(x_taps.weights[0]) : scale)) {
        streams = std::is_same_v<O, A> && bytes_of(out) >= kStreamedBytes;
        const ptrdiff_t radius = layout.y.radius();
        window_rows = 2 * radius + std::clamp<ptrdiff_t>(2 * radius, 32, 64);
        const ptrdiff_t fitting = round_down(kWindowBytes / ptrdiff_t(sizeof(A)) / window_rows, 64);
        strip = round_down(std::clamp<ptrdiff_t>(fitting, kStrip<A> / 4, kStrip<A>) / layout.channel.n, 8);
        bands = divide_up(layout.y.n, std::max<ptrdiff_t>(64, 16 * radius));
        strips = divide_up(layout.x.n, strip);
        // Work for many threads in a small image too: lower bands, whose margins are filtered along x in vain, then narrower
        // strips, whose every row has two edges.
        const ptrdiff_t narrowest = std::max<ptrdiff_t>(64, 2 * layout.x.radius());
        const ptrdiff_t lowest = std::max<ptrdiff_t>(32, 4 * radius);
        bands = std::clamp(wanted(strips), bands, std::max(bands, layout.y.n / lowest));
        strips = std::clamp(wanted(bands), strips, std::max(strips, layout.x.n / narrowest));
        strip = std::min(strip, round_up(divide_up(layout.x.n, strips), 8));
        strips = divide_up(layout.x.n, strip);
    }
    static ptrdiff_t bytes_of(const Array& array) {
        ptrdiff_t bytes = sizeof(O);
        for (int i = 0; i < array.ndim; ++i) bytes *= array.shape[i];
        return bytes;
    }
    static Taps<A> taps_of(const AxisFilter& filter, double scale) {
        Taps<A> taps{{}, filter.odd};
        for (double tap : filter.taps) taps.weights.push_back(A(tap * scale));
        if (taps.weights.empty()) taps.weights.push_back(A(scale));
        return taps;
    }
    // Of one kind of parts, to make enough tasks together with `others` of the other.
    ptrdiff_t wanted(ptrdiff_t others) const { return divide_up(kWantedTasks, layout.batch_count() * others); }
    ptrdiff_t count() const { return layout.batch_count() * bands * strips; }
};

// The scratch of one thread, and what it does for one task: a strip of columns within a band of rows.
template <class T, class O, class A>
class Worker {
    static constexpr int kLanes = kWidth<A>;

public:
    explicit Worker(const Job<T, O, A>& job)
        : job_(job),
          layout_(job.layout),
          channels_(job.layout.channel.n),
          radius_(job.layout.x.radius()),
          plain_in_(job.layout.outer.empty() && contiguous(job.layout.x.in, job.layout.channel.in)),
          plain_out_(contiguous(job.layout.x.out, job.layout.channel.out)),
          padded_pitch_(round_up((job.strip + 2 * radius_) * channels_, kLanes) + 4 * kLanes),
          padded_(size_t(kLanes * padded_pitch_)),
          transposed_(size_t(kLanes * (padded_pitch_ + kRows))),
          filtered_(size_t(kLanes * (kStrip<A> + kRows))),
          window_(size_t((job.window_rows + kRows) * kPitch<A>)),
          partial_(size_t(kRows * kStrip<A>)),
          results_(size_t((job.window_rows - 2 * job.layout.y.radius() + kRows) * kStrip<A>)) {}

    void run(ptrdiff_t task) {
        locate(task);
        in_place_ = plain_out_ && !job_.streams && y_end_ - y_begin_ >= kRows && elements_ >= kLanes;
        const ptrdiff_t reach = layout_.y.radius();
        ptrdiff_t base = y_begin_ - reach;  // the virtual row at the top of the window
        ptrdiff_t loaded = base;            // the next virtual row to come
        for (ptrdiff_t next = y_begin_; next < y_end_;) {
            const ptrdiff_t top = first_row(next) - reach;
            if (top > base) std::memmove(window(0), window(top - base), size_t((loaded - top) * kPitch<A>) * sizeof(A));
            base = top;
            for (; loaded < y_end_ + reach && loaded - base + kLanes <= job_.window_rows; loaded += kLanes)
                load_rows(loaded, std::min<ptrdiff_t>(kLanes, y_end_ + reach - loaded), window(loaded - base));
            const ptrdiff_t ready = std::min(y_end_, loaded - reach);
            const ptrdiff_t end = ready == y_end_ ? ready : next + round_down(ready - next, kRows);
            filter_rows(next, end, base);
            next = end;
        }
        if (job_.streams) stream_fence();
    }

private:
    struct Neighbour {  // a row of the filtered axes beyond x and y
        ptrdiff_t offset;
        A weight;
    };

    bool contiguous(ptrdiff_t x_stride, ptrdiff_t channel_stride) const {
        return x_stride == channels_ && (channels_ == 1 || channel_stride == 1);
    }

    A* window(ptrdiff_t row) { return window_.data() + row * kPitch<A>; }

    // The last rows of a band are computed together with some of those before them again.
    ptrdiff_t first_row(ptrdiff_t y) const { return in_place_ ? std::min(y, y_end_ - kRows) : y; }

    // Rows begin ... end - 1 of the result. Where many rows of the window are read for each, columns are taken a few at a
    // time, all rows before the next columns, so that those of the window are found in L1.
    void filter_rows(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t base) {
        const ptrdiff_t fitting = kL1Bytes / ptrdiff_t(sizeof(A)) / (2 * layout_.y.radius() + 2 * kRows);
        const ptrdiff_t columns = std::max<ptrdiff_t>(2, fitting / kLanes) * kLanes;
        const ptrdiff_t reach = layout_.y.radius();
        for (ptrdiff_t column = 0; column < elements_; column += columns) {
            const ptrdiff_t n = std::min(columns, elements_ - column);
            for (ptrdiff_t row = begin; row < end; row += kRows) {
                const ptrdiff_t y = first_row(row);
                const A* const x = window(y - base);
                if (in_place_) {
                    O* const out = out_ + y * layout_.y.out;
                    filter_columns(x, column, out, layout_.y.out, n / kLanes);
                    if (n % kLanes) filter_columns(x, elements_ - kLanes, out, layout_.y.out, 1);
                } else {
                    filter_columns(x, column, results_.data() + (row - begin) * kStrip<A>, kStrip<A>,
                                   divide_up(n, kLanes));
                }
            }
        }
        if (in_place_) return;
        for (ptrdiff_t y = begin; y < end; ++y)
            store_pixels(out_ + y * layout_.y.out, results_.data() + (y - begin) * kStrip<A>);
    }

    template <class P>
    void filter_columns(const A* x, ptrdiff_t begin, P* y, ptrdiff_t y_pitch, ptrdiff_t count) {
        filter<A, kPitch<A>>(x + begin, kLanes, partial_.data(), kStrip<A>, y + begin, y_pitch, kLanes, count,
                             job_.y_taps);
    }

    void locate(ptrdiff_t task) {
        const ptrdiff_t strip = task % job_.strips;
        const ptrdiff_t band = task / job_.strips % job_.bands;
        ptrdiff_t item = task / job_.strips / job_.bands;
        x_begin_ = std::min(strip * job_.strip, layout_.x.n);
        x_end_ = std::min(x_begin_ + job_.strip, layout_.x.n);
        y_begin_ = layout_.y.n * band / job_.bands;
        y_end_ = layout_.y.n * (band + 1) / job_.bands;
        elements_ = (x_end_ - x_begin_) * channels_;
        in_ = job_.image;
        out_ = job_.out + x_begin_ * layout_.x.out;
        for (const Axis& axis : layout_.batch) {
            in_ += item % axis.n * axis.in;
            out_ += item % axis.n * axis.out;
            item /= axis.n;
        }
        neighbours_ = {{0, A(1)}};
        double total = 1, inside = 1;
        for (const Axis& axis : layout_.outer) {
            total *= axis.filter.total();
            inside *= add_neighbours(axis, item % axis.n);
            out_ += item % axis.n * axis.out;
            item /= axis.n;
        }
        constant_ = total == inside ? A(0) : job_.cval * A(total - inside);
        outside_ = job_.cval * A(total);
        if (!filters_in_rows()) map_elements();
    }

    // Each neighbour so far, times the taps of one more axis around `position`; returns the sum of those that are inside.
    double add_neighbours(const Axis& axis, ptrdiff_t position) {
        std::vector<Neighbour> product;
        const std::vector<double>& taps = axis.filter.taps;
        const auto add = [&](ptrdiff_t offset, double tap) {
            const ptrdiff_t source = border_index(position + offset, axis.n, axis.filter.border);
            if (source < 0) return 0.0;
            for (const Neighbour& n : neighbours_) product.push_back({n.offset + source * axis.in, n.weight * A(tap)});
            return tap;
        };
        double inside = add(0, taps[0]);
        for (size_t k = 1; k < taps.size(); ++k) {
            const double after = add(ptrdiff_t(k), taps[k]);
            inside += after + add(-ptrdiff_t(k), axis.filter.odd ? -taps[k] : taps[k]);
        }
        neighbours_ = std::move(product);
        return inside;
    }

    // Where each element of a padded row stands in its transposed planes, one per channel, and back.
    void map_elements() {
        const auto fill = [&](std::vector<ptrdiff_t>& slots, ptrdiff_t plane) {
            const ptrdiff_t n = plane * channels_;
            slots.resize(size_t(n + kLanes));
            for (ptrdiff_t i = 0; i < ptrdiff_t(slots.size()); ++i)
                slots[size_t(i)] = (i < n ? i % channels_ * plane + i / channels_ : n) * kLanes;
        };
        fill(padded_slots_, x_end_ - x_begin_ + 2 * radius_);
        fill(slots_, x_end_ - x_begin_);
    }

    bool filters_in_rows() const {
        return radius_ <= (channels_ == 1 ? kRowRadius : kPixelRadius) && channels_ <= kRowChannels;
    }

    // Virtual rows y ... y + rows - 1, filtered along x, into the window.
    void load_rows(ptrdiff_t y, ptrdiff_t rows, A* to) {
        if (radius_ == 0) {
            for (ptrdiff_t i = 0; i < rows; ++i) load_padded(y + i, x_begin_, x_end_, to + i * kPitch<A>);
        } else if (filters_in_rows()) {
            for (ptrdiff_t i = 0; i < rows; ++i) load_filtered(y + i, to + i * kPitch<A>);
        } else {
            load_transposed(y, rows);
            const ptrdiff_t columns = x_end_ - x_begin_;
            for (ptrdiff_t c = 0; c < channels_; ++c) {
                const A* const x = transposed_.data() + (c * (columns + 2 * radius_) + radius_) * kLanes;
                A* const plane = filtered_.data() + c * columns * kLanes;
                const ptrdiff_t fitting = kL1Bytes / ptrdiff_t(sizeof(A)) / kLanes / 2 - 2 * radius_;
                const ptrdiff_t step = std::max<ptrdiff_t>(64, round_down(fitting, kRows));  // for passes within L1
                for (ptrdiff_t i = 0; i < columns; i += step)
                    filter<A, kLanes>(x + i * kLanes, kRows * kLanes, plane + i * kLanes, kLanes, plane + i * kLanes,
                                      kLanes, kRows * kLanes, divide_up(std::min(step, columns - i), kRows),
                                      job_.x_taps);
            }
            for (ptrdiff_t i = 0; i < elements_; i += kLanes) {
                Vector<A> v[kLanes];
                for (int k = 0; k < kLanes; ++k) v[k] = load(filtered_.data() + slots_[size_t(i + k)]);
                transpose<A>(v);
                for (int k = 0; k < kLanes; ++k) store(to + k * kPitch<A> + i, v[k]);
            }
        }
    }

    // One virtual row, filtered in the row itself: from the image where no conversion or border is in the way.
    void load_filtered(ptrdiff_t y, A* to) {
        ptrdiff_t first = x_begin_, last = x_begin_;
        if constexpr (std::is_same_v<T, A>) {
            const ptrdiff_t source = border_index(y, layout_.y.n, layout_.y.filter.border);
            if (plain_in_ && source >= 0) {
                constexpr ptrdiff_t step = 2 * kLanes;  // what filter_row writes at a time
                first = std::min(x_end_, x_begin_ + round_up(std::max<ptrdiff_t>(0, radius_ - x_begin_), step));
                last =
                    first + round_down(std::max<ptrdiff_t>(0, std::min(x_end_, layout_.x.n - radius_) - first), step);
                if (first < last) {
                    load_edge(y, x_begin_, first, to);
                    filter_any_row(in_ + source * layout_.y.in + first * channels_, to + (first - x_begin_) * channels_,
                                   (last - first) * channels_, kAhead * layout_.y.in);
                } else {
                    last = x_begin_;
                }
            }
        }
        load_edge(y, last, x_end_, to + (last - x_begin_) * channels_);
    }

    void load_edge(ptrdiff_t y, ptrdiff_t begin, ptrdiff_t end, A* to) {
        if (begin == end) return;
        load_padded(y, begin - radius_, end + radius_, padded_.data());
        filter_any_row(padded_.data() + radius_ * channels_, to, (end - begin) * channels_, 0);
    }

    void filter_any_row(const A* x, A* to, ptrdiff_t count, ptrdiff_t ahead) {
        switch (channels_) {
            case 1: return filter_row<A, 1>(x, to, count, job_.x_taps, ahead);
            case 2: return filter_row<A, 2>(x, to, count, job_.x_taps, ahead);
            case 3: return filter_row<A, 3>(x, to, count, job_.x_taps, ahead);
            default: return filter_row<A, 4>(x, to, count, job_.x_taps, ahead);
        }
    }

    // kLanes virtual rows with what the taps reach on both sides, one vector per element.
    void load_transposed(ptrdiff_t y, ptrdiff_t rows) {
        const ptrdiff_t begin = x_begin_ - radius_, end = x_end_ + radius_;
        const auto load_part = [&](ptrdiff_t from, ptrdiff_t to) {
            if (from == to) return;
            const A* pointers[kLanes];
            for (ptrdiff_t k = 0; k < kLanes; ++k) {
                A* const row = padded_.data() + k * padded_pitch_;
                if (k < rows) load_padded(y + k, from, to, row);
                pointers[k] = row;
            }
            transpose_rows(pointers, (to - from) * channels_, padded_slots_.data() + (from - begin) * channels_);
        };
        const T* pointers[kLanes];
        bool plain = plain_in_;
        const ptrdiff_t first = std::max<ptrdiff_t>(begin, 0);
        const ptrdiff_t last = first + round_down(std::min(end, layout_.x.n) - first, kLanes);
        for (ptrdiff_t k = 0; k < kLanes; ++k) {
            const ptrdiff_t source = border_index(y + std::min(k, rows - 1), layout_.y.n, layout_.y.filter.border);
            plain = plain && source >= 0;
            pointers[k] = in_ + source * layout_.y.in + first * channels_;
        }
        if (plain && first < last) {
            load_part(begin, first);
            transpose_rows(pointers, (last - first) * channels_, padded_slots_.data() + (first - begin) * channels_);
            load_part(last, end);
        } else {
            load_part(begin, end);
        }
    }

    template <class S>
    void transpose_rows(const S* const (&rows)[kLanes], ptrdiff_t n, const ptrdiff_t* slots) {
        for (ptrdiff_t i = 0; i < n; i += kLanes) {
            Vector<A> v[kLanes];
            for (int k = 0; k < kLanes; ++k) v[k] = load_vector<A>(rows[k] + i);
            transpose<A>(v);
            for (int k = 0; k < kLanes; ++k) store(transposed_.data() + slots[i + k], v[k]);
        }
    }

    // Virtual columns begin ... end - 1 of a virtual row, converted.
    void load_padded(ptrdiff_t y, ptrdiff_t begin, ptrdiff_t end, A* to) {
        const ptrdiff_t source = border_index(y, layout_.y.n, layout_.y.filter.border);
        const ptrdiff_t n = (end - begin) * channels_;
        if (source < 0) {
            std::fill_n(to, n, outside_);
            return;
        }
        const T* row = in_ + source * layout_.y.in;
        if (layout_.outer.empty()) {
            load_pixels(row, begin, end, to);
            return;
        }
        term_.resize(size_t(n));
        std::fill_n(to, n, constant_);
        for (const Neighbour& neighbour : neighbours_) {
            load_pixels(row + neighbour.offset, begin, end, term_.data());
            for (ptrdiff_t i = 0; i < n; ++i) to[i] += neighbour.weight * term_[size_t(i)];
        }
    }

    void load_pixels(const T* row, ptrdiff_t begin, ptrdiff_t end, A* to) {
        const ptrdiff_t first = std::clamp<ptrdiff_t>(0, begin, end);
        const ptrdiff_t last = std::clamp(layout_.x.n, first, end);
        const auto at = [&](ptrdiff_t x) { return to + (x - begin) * channels_; };
        if (channels_ == 1 || contiguous(layout_.x.in, layout_.channel.in)) {
            load_elements(at(first), row + first * layout_.x.in, (last - first) * channels_,
                          channels_ == 1 ? layout_.x.in : 1);
        } else {
            for (ptrdiff_t x = first; x < last; ++x)
                load_elements(at(x), row + x * layout_.x.in, channels_, layout_.channel.in);
        }
        const auto fill = [&](ptrdiff_t x) {
            const ptrdiff_t source = border_index(x, layout_.x.n, layout_.x.filter.border);
            if (source < 0)
                std::fill_n(at(x), channels_, job_.cval);
            else
                load_elements(at(x), row + source * layout_.x.in, channels_, layout_.channel.in);
        };
        for (ptrdiff_t x = begin; x < first; ++x) fill(x);
        for (ptrdiff_t x = last; x < end; ++x) fill(x);
    }

    void store_pixels(O* row, const A* from) {
        if constexpr (std::is_same_v<O, A>) {
            if (job_.streams && plain_out_) return stream_row(row, from, elements_);
        }
        if (channels_ == 1 || plain_out_) {
            store_elements(row, from, elements_, channels_ == 1 ? layout_.x.out : 1);
        } else {
            for (ptrdiff_t x = 0; x < x_end_ - x_begin_; ++x)
                store_elements(row + x * layout_.x.out, from + x * channels_, channels_, layout_.channel.out);
        }
    }

    const Job<T, O, A>& job_;
    const Layout& layout_;
    const ptrdiff_t channels_, radius_;
    const bool plain_in_, plain_out_;  // rows are contiguous, and nothing has to be added up
    const ptrdiff_t padded_pitch_;
    Scratch<A> padded_;      // kLanes rows with the columns that the taps reach
    Scratch<A> transposed_;  // the same, one vector per column, one plane per channel
    Scratch<A> filtered_;    // those, filtered along x
    Scratch<A> window_;      // rows filtered along x, as far as the taps of y reach
    Scratch<A> partial_;     // kRows rows, sums of some of the taps of y
    Scratch<A> results_;     // rows filtered along both
    std::vector<A> term_;
    std::vector<ptrdiff_t> padded_slots_, slots_;

    const T* in_ = nullptr;
    O* out_ = nullptr;
    bool in_place_ = false;  // results are written where they belong, without a row of their own
    ptrdiff_t x_begin_ = 0, x_end_ = 0, y_begin_ = 0, y_end_ = 0, elements_ = 0;
    std::vector<Neighbour> neighbours_;
    A constant_ = 0, outside_ = 0;  // what the outer axes' taps make of the constant: its share of a row, a whole row
};

template <class T, class O, class A>
void run(const Array& image, const Array& out, const Layout& layout, double cval, double scale, int threads) {
    const Job<T, O, A> job(image, out, layout, cval, scale);
    parallel_for(
        job.count(), threads, [&] { return Worker<T, O, A>(job); },
        [](ptrdiff_t task, Worker<T, O, A>& worker) { worker.run(task); });
}

}  // namespace

inline void gaussian(const Array& image, const Array& out, const Layout& layout, double cval, double scale,
                     int threads) {
    visit(image.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
        if (out.dtype == image.dtype) return run<T, T, A>(image, out, layout, cval, scale, threads);
        if constexpr (is_integer<T>) {
            if (out.dtype == DType::f32) return run<T, float, A>(image, out, layout, cval, scale, threads);
        }
        throw std::logic_error("fastimg: gaussian: unexpected dtype of the result");
    });
}

}  // namespace fastimg::FASTIMG_TARGET
