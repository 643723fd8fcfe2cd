// The transposed map of `warp`: every pixel of a gradient is shared among the pixels that it was interpolated from, by
// the same weights.
//
// A task is a band of rows of one image, for which it goes through the whole gradient, line by line of a tile as `warp`
// does, and skips the lines that come from elsewhere. It adds up in memory of its own, which has one more row and one
// more column for what falls outside, so that a pixel takes no branch; sums are stored at the end. Bands are cut by shape
// alone, and each adds in the order of the gradient: results do not depend on the number of threads.
//
// What limits: N x N loads, multiply-adds and stores for each pixel, of four channels at a time, or of the only one.
// Neighbouring pixels meet in the same memory, so that each would wait for the one before: four parts of the line are
// gone through in turns.
//
// Included by warp.inl, so it has no include guard.

namespace fastimg::FASTIMG_TARGET {

namespace warping {

constexpr ptrdiff_t kLeastBands = 8;          // of a batch, so that several threads find work
constexpr ptrdiff_t kBandElements = 1 << 20;  // of a task's sums, more or less
constexpr ptrdiff_t kParts = 4;               // of a line

// Rows of the image that a task sums up: row y at (y - begin) * pitch, what falls outside behind the others.
struct Band {
    ptrdiff_t begin, end, pitch;

    ptrdiff_t size() const { return (end - begin + 1) * pitch; }
};

// Where the pixels of a tile's line go, and with what weights.
template <class A, int N>
struct Shares {
    alignas(64) uint32_t row[N][kTileColumns], column[N][kTileColumns];  // their sum is the place in the band
    alignas(64) A down[N][kTileColumns], right[N][kTileColumns];
};

struct Range {
    int32_t low, high;

    Range(const int32_t* of, ptrdiff_t n) {  // whole vectors
        Ints least, most;
        std::memcpy(&least, of, sizeof least);
        most = least;
        for (ptrdiff_t i = 0; i < n; i += kLanes) {
            Ints v;
            std::memcpy(&v, of + i, sizeof v);
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
        low = least[0];
        high = most[0];
        for (int lane = 1; lane < kLanes; ++lane) {
            low = std::min(low, int32_t(least[lane]));
            high = std::max(high, int32_t(most[lane]));
        }
    }
};

template <int N, class V>
[[gnu::always_inline]] inline V weight_of(const Weights<N, V>& weights, int k) {
    if constexpr (N == 1)
        return V{} + 1;
    else if constexpr (N == 2)
        return k == 0 ? 1 - weights.value[0] : weights.value[0];
    else
        return weights.value[k];
}

// Whether a tap of a line may lie in the band.
template <int N>
bool touches(const Range& places, ptrdiff_t rows, BorderMode border, const Band& band) {
    ptrdiff_t from = places.low + kFirst<N>, to = places.high + kLast<N>;
    if (border == BorderMode::nearest || border == BorderMode::constant) {
        from = std::clamp<ptrdiff_t>(from, 0, rows - 1);
        to = std::clamp<ptrdiff_t>(to, 0, rows - 1);
    } else if (from < 0 || to >= rows) {
        return true;
    }
    return from < band.end && to >= band.begin;
}

template <class A, int N>
void share(const Places<A>& places, ptrdiff_t n, const Range& places_down, ptrdiff_t rows, ptrdiff_t columns,
           BorderMode border, const Band& band, Shares<A, N>& shares) {
    for (ptrdiff_t i = 0; i < n; i += kWidth<A>) {
        const auto right = Weights<N, Vector<A>>::at(load(places.right + i));
        const auto down = Weights<N, Vector<A>>::at(load(places.down + i));
        for (int k = 0; k < N; ++k) {
            store(shares.right[k] + i, weight_of(right, k));
            store(shares.down[k] + i, weight_of(down, k));
        }
    }
    const auto fill = [&](auto&& column_of, auto&& row_of) {
        const uint32_t begin = uint32_t(band.begin), n_rows = uint32_t(band.end - band.begin),
                       pitch = uint32_t(band.pitch);
        for (int k = 0; k < N; ++k) {
            for (ptrdiff_t i = 0; i < n; ++i) {
                shares.column[k][i] = std::min(uint32_t(column_of(i, k)), pitch - 1);
                shares.row[k][i] = std::min(uint32_t(row_of(i, k)) - begin, n_rows) * pitch;
            }
        }
    };
    const auto inside = [](const Range& range, ptrdiff_t length) {
        return range.low + kFirst<N> >= 0 && range.high + kLast<N> < length;
    };
    const auto at = [](int32_t place, int k) { return place + int32_t(kFirst<N>) + k; };
    const auto at_border = [&](int32_t place, int k, ptrdiff_t length) {  // -1 is beyond all
        return place == kNowhere ? -1 : int32_t(folded(place + kFirst<N> + k, length, border));
    };
    if (inside(places_down, rows) && inside({places.column, n}, columns))
        fill([&](ptrdiff_t i, int k) { return at(places.column[i], k); },
             [&](ptrdiff_t i, int k) { return at(places.row[i], k); });
    else
        fill([&](ptrdiff_t i, int k) { return at_border(places.column[i], k, columns); },
             [&](ptrdiff_t i, int k) { return at_border(places.row[i], k, rows); });
}

// Of pixels with `Channels` channels each.
template <class A, int N, int Channels>
void add(const Shares<A, N>& shares, const A* gradient, ptrdiff_t n, A* __restrict sums) {
    typedef A Pixel __attribute__((vector_size(Channels * sizeof(A))));
    const Pixel* const from = reinterpret_cast<const Pixel*>(gradient);
    Pixel* const to = reinterpret_cast<Pixel*>(sums);
    const ptrdiff_t part = n / kParts;
    for (ptrdiff_t i = 0; i < part; ++i) {
        for (ptrdiff_t p = i; p < n; p += part) {
            for (int j = 0; j < N; ++j) {
                const Pixel share = from[p] * shares.down[j][p];
                for (int k = 0; k < N; ++k)
                    to[size_t(shares.row[j][p]) + shares.column[k][p]] += share * shares.right[k][p];
            }
        }
    }
}

template <class A, class T, int N, int Channels>
void warp_adjoint(const Array& gradient, const Array& result, const Map& map, const Sampling& sampling, int threads) {
    const ptrdiff_t images = images_in(result);
    const Image<T> shape = image_of<T>(result, 0);
    const ptrdiff_t rows = shape.rows, columns = shape.columns, channels = shape.channels, pitch = columns + 1;
    const ptrdiff_t groups = divide_up(channels, Channels), row_elements = groups * Channels * pitch;
    const ptrdiff_t least = std::max(divide_up(kLeastBands, images), divide_up(rows * row_elements, kBandElements));
    const ptrdiff_t band_rows = divide_up(rows, std::min(least, rows)), bands = divide_up(rows, band_rows);

    parallel_for(
        images * bands, threads, [&] { return Scratch<A>(size_t((band_rows + 1) * row_elements)); },
        [&](ptrdiff_t task, Scratch<A>& scratch) {
            const ptrdiff_t index = task / bands, begin = task % bands * band_rows;
            const Band band{begin, std::min(begin + band_rows, rows), pitch};
            const ptrdiff_t group_elements = band.size() * Channels;
            const Image<const T> from = image_of<const T>(gradient, index);
            const Image<T> to = image_of<T>(result, index);
            A* const sums = scratch.data();
            std::fill_n(sums, groups * group_elements, A(0));
            Places<A> places;
            Shares<A, N> shares;
            alignas(64) A line[kTileColumns * Channels];
            const auto add_line = [&](ptrdiff_t y, ptrdiff_t x, ptrdiff_t n, ptrdiff_t whole) {
                for (ptrdiff_t group = 0; group < groups; ++group) {
                    std::fill_n(line, whole * Channels, A(0));
                    for (ptrdiff_t d = 0; d < std::min<ptrdiff_t>(Channels, channels - group * Channels); ++d) {
                        const T* const p = from.data + y * from.row_stride + x * from.column_stride +
                                           (group * Channels + d) * from.channel_stride;
                        for (ptrdiff_t i = 0; i < n; ++i)
                            line[i * Channels + d] = load_scalar<A>(p + i * from.column_stride);
                    }
                    add<A, N, Channels>(shares, line, whole, sums + group * group_elements);
                }
            };
            with_places<A>(map, index, images, from.rows, sampling.kernel, [&](auto&& locate) {
                for (ptrdiff_t x = 0; x < from.columns; x += kTileColumns) {
                    const ptrdiff_t n = std::min(kTileColumns, from.columns - x), whole = round_up(n, kLanes);
                    const auto locate_line = locate(x, n);
                    for (ptrdiff_t y = 0; y < from.rows; ++y) {
                        locate_line(y, places);
                        places.pad(n, whole);
                        const Range range(places.row, whole);
                        if (!touches<N>(range, rows, sampling.border, band)) continue;
                        share<A, N>(places, whole, range, rows, columns, sampling.border, band, shares);
                        add_line(y, x, n, whole);
                    }
                }
            });
            for (ptrdiff_t y = band.begin; y < band.end; ++y) {
                for (ptrdiff_t c = 0; c < channels; ++c) {
                    const A* const row =
                        sums + c / Channels * group_elements + c % Channels + (y - band.begin) * pitch * Channels;
                    T* const p = to.data + y * to.row_stride + c * to.channel_stride;
                    for (ptrdiff_t x = 0; x < columns; ++x) {
                        if constexpr (std::is_same_v<A, double>)
                            p[x * to.column_stride] = row[x * Channels];
                        else
                            store_one(p + x * to.column_stride, row[x * Channels]);
                    }
                }
            }
        });
}

template <class A, class T, int N>
void warp_adjoint(const Array& gradient, const Array& result, const Map& map, const Sampling& sampling, int threads) {
    const bool grey = gradient.shape[gradient.ndim - 1] == 1;
    (grey ? warp_adjoint<A, T, N, 1> : warp_adjoint<A, T, N, 4>)(gradient, result, map, sampling, threads);
}

}  // namespace warping

inline void warp_adjoint(const Array& gradient, const Array& result, const Map& map, const Sampling& sampling,
                         int threads) {
    visit(gradient.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using warping::warp_adjoint;
        using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
        if constexpr (!is_integer<T>) {
            switch (sampling.kernel) {
                case Interpolation::nearest: return warp_adjoint<A, T, 1>(gradient, result, map, sampling, threads);
                case Interpolation::bilinear: return warp_adjoint<A, T, 2>(gradient, result, map, sampling, threads);
                case Interpolation::bicubic: return warp_adjoint<A, T, 4>(gradient, result, map, sampling, threads);
                default: return warp_adjoint<A, T, 6>(gradient, result, map, sampling, threads);
            }
        }
    });
}

}  // namespace fastimg::FASTIMG_TARGET
