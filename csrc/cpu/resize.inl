// Resize: two passes over a tile that stays in the cache.
//
// The pass over rows is a weighted sum of whole lines: lanes are neighbouring elements of a line. The pass along a line
// would need gathers; so the lines of one block, as many as a vector has lanes, are transposed first: lanes are then
// lines, every tap is one aligned load and one fused multiply-add whatever the scale and the number of channels, and
// the results are transposed back when stored.
//
// A task is a block of output lines of one image of the batch. It goes through the columns tile by tile, so its
// scratch (the lines between the passes, their transpose, the results) is bounded by the tile, and there is never an
// intermediate image. Work: (taps of the rows + taps of the columns) fused multiply-adds per output element when
// enlarging, 4 + 4 for bicubic; per input element when shrinking.
//
// uint8 is computed in float. Where the weights are binary fractions (scales of a power of two) that is exact; else a
// sum that comes nearer to a half than its error could reach is computed again in double, so that results are always
// rounded as if the arithmetic were exact. uint16 is computed in double throughout.

#include "support/arithmetic.inl"

namespace fastimg::FASTIMG_TARGET {

namespace resizing {

constexpr ptrdiff_t kTileElements = 512;     // of one line in a tile: its transpose is half of a first-level cache
constexpr ptrdiff_t kBlockElements = 65536;  // of all lines between the passes, when columns come first
constexpr ptrdiff_t kBlockLines = 32;        // output lines of a task, when columns come first

// ---- lines in memory -----------------------------------------------------------------------------------------------

// Some lines of an image: element e of line r stands at data[r * stride + e], or with a table of positions at
// data[r * stride + position[e]].
template <class T>
struct Lines {
    T* data;
    ptrdiff_t stride;
    const ptrdiff_t* position;

    Lines from(ptrdiff_t line, ptrdiff_t element) const {
        if (position) return {data + line * stride, stride, position + element};
        return {data + line * stride + element, stride, nullptr};
    }
};

// kWidth<A> elements from e on, of which n exist; the others are 0.
template <class A, class T>
inline Vector<A> load_elements(const Lines<T>& lines, ptrdiff_t line, ptrdiff_t e, ptrdiff_t n) {
    T* const p = lines.data + line * lines.stride;
    if (!lines.position && n >= kWidth<A>) return load_vector<A>(p + e);
    A buffer[kWidth<A>] = {};
    for (ptrdiff_t k = 0; k < std::min<ptrdiff_t>(n, kWidth<A>); ++k)
        buffer[k] = load_scalar<A>(p + (lines.position ? lines.position[e + k] : e + k));
    return load(buffer);
}

template <class A, class T>
inline void store_elements(const Lines<T>& lines, ptrdiff_t line, ptrdiff_t e, ptrdiff_t n, Vector<A> v) {
    T* const p = lines.data + line * lines.stride;
    if (!lines.position && n >= kWidth<A>) return store_vector(p + e, v);
    T buffer[kWidth<A>];
    store_vector(buffer, v);
    for (ptrdiff_t k = 0; k < std::min<ptrdiff_t>(n, kWidth<A>); ++k)
        p[lines.position ? lines.position[e + k] : e + k] = buffer[k];
}

// ---- what becomes of a sum -----------------------------------------------------------------------------------------

template <class A>
const A* weights_of(const Taps& taps) {
    if constexpr (std::is_same_v<A, float>)
        return taps.weight.data();
    else
        return taps.exact.data();
}

// Of A, the type of arithmetic: a sum becomes an integer in 0 .. top if Whole, and is multiplied by `factor` if not.
template <class A, bool Whole>
struct Finish {
    A top, factor;

    // How wrong a sum may be. 0 where it is exact, and where it is not to be rounded.
    A margin(const Taps& taps) const {
        if (!Whole || std::is_same_v<A, double> || taps.binary) return 0;
        return A((double(taps.width) + 2) * 0x1p-24 * taps.gain * double(top));
    }

    // `again(part)` computes the part-th half of the lanes in double.
    template <class Again>
    Vector<A> operator()(Vector<A> sum, A margin, Again&& again) const {
        if constexpr (!Whole) {
            return sum * factor;
        } else if constexpr (std::is_same_v<A, float>) {
            if (margin != 0) {
                const Floats from_half = sum - floor(sum) - 0.5f;
                if (any((from_half < margin) & (from_half > -margin))) {
                    double exact[kLanes];
                    for (int part = 0; part < 2; ++part) store(exact + part * kDoubleLanes, again(part));
                    for (int lane = 0; lane < kLanes; ++lane) sum[lane] = float(std::floor(exact[lane] + 0.5 + kTie));
                    return min(max(sum, Floats{}), broadcast(top));
                }
            }
            return min(max(floor(sum + 0.5f), Floats{}), broadcast(top));
        } else {
            sum = floor(sum + (0.5 + kTie));
            sum = sum > 0 ? sum : Doubles{};
            return sum < top ? sum : Doubles{} + top;
        }
    }
};

// ---- the passes ----------------------------------------------------------------------------------------------------

// Output lines i0 <= i < i1 of `n` elements from the input lines, of which the first is line `origin`.
template <class A, class In, class Out, bool Whole>
void resize_across(const Lines<In>& in, ptrdiff_t origin, const Taps& taps, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t n,
                   const Lines<Out>& out, const Finish<A, Whole>& finish) {
    constexpr int kGroup = 4;
    constexpr ptrdiff_t step = kWidth<A>;
    const A margin = finish.margin(taps);
    for (ptrdiff_t i = i0; i < i1; ++i) {
        const ptrdiff_t first = taps.first[size_t(i)] - origin;
        const A* const weight = weights_of<A>(taps) + i * taps.width;
        const double* const exact = &taps.exact[size_t(i * taps.width)];
        const auto finish_and_store = [&](Vector<A> sum, ptrdiff_t e) {
            const Vector<A> value = finish(sum, margin, [&](int part) {
                Doubles total = {};
                const ptrdiff_t from = e + part * kDoubleLanes;
                for (ptrdiff_t t = 0; t < taps.width; ++t)
                    total += exact[t] * load_elements<double>(in, first + t, from, n - from);
                return total;
            });
            store_elements<A>(out, i - i0, e, n - e, value);
        };
        ptrdiff_t e = 0;
        if (!in.position) {
            for (; e + kGroup * step <= n; e += kGroup * step) {
                Vector<A> sum[kGroup];
                for (Vector<A>& s : sum) s = Vector<A>{};
                const In* p = in.data + first * in.stride + e;
                for (ptrdiff_t t = 0; t < taps.width; ++t, p += in.stride)
                    for (int k = 0; k < kGroup; ++k) sum[k] += weight[t] * load_vector<A>(p + k * step);
                for (int k = 0; k < kGroup; ++k) finish_and_store(sum[k], e + k * step);
            }
        }
        for (; e < n; e += step) {
            Vector<A> sum = {};
            for (ptrdiff_t t = 0; t < taps.width; ++t) sum += weight[t] * load_elements<A>(in, first + t, e, n - e);
            finish_and_store(sum, e);
        }
    }
}

// Some output columns, and the input columns that they need.
struct Tile {
    ptrdiff_t j0, j1, begin, end;
};

// The columns of a tile, transposed: results[element][line] from columns[element][line]. `Width` is the number of taps
// if known when compiling, else 0.
template <class A, int Width, bool Whole>
void weigh(const A* columns, ptrdiff_t channels, const Taps& taps, const Tile& tile, const Finish<A, Whole> finish,
           A* results) {
    constexpr ptrdiff_t step = kWidth<A>;
    const ptrdiff_t width = Width > 0 ? Width : taps.width, begin = tile.begin, end = tile.j1;
    const ptrdiff_t* const first = taps.first.data();
    const A* weight = weights_of<A>(taps) + tile.j0 * width;
    const double* exact = taps.exact.data() + tile.j0 * width;
    const A margin = finish.margin(taps);
    for (ptrdiff_t j = tile.j0; j < end; ++j, weight += width, exact += width) {
        const A* window = columns + (first[j] - begin) * channels * step;
        for (ptrdiff_t c = 0; c < channels; ++c, window += step, results += step) {
            Vector<A> sum = {};  // from 0 on, so that both passes, and all layouts, round alike
            for (ptrdiff_t t = 0; t < width; ++t) sum += weight[t] * load(window + t * channels * step);
            store(results, finish(sum, margin, [&](int part) {
                      Doubles total = {};
                      for (ptrdiff_t t = 0; t < width; ++t)
                          total += exact[t] * load_doubles(window + t * channels * step + part * kDoubleLanes);
                      return total;
                  }));
        }
    }
}

// The columns of a tile of up to kWidth<A> lines. The input begins with column tile.begin.
template <class A, class In, class Out, bool Whole>
void resize_along(const Lines<In>& in, ptrdiff_t lines, ptrdiff_t channels, const Taps& taps, const Tile& tile,
                  const Lines<Out>& out, const Finish<A, Whole>& finish, A* columns, A* results) {
    constexpr ptrdiff_t step = kWidth<A>;
    const ptrdiff_t n = (tile.end - tile.begin) * channels, n_results = (tile.j1 - tile.j0) * channels;
    Vector<A> square[step];
    for (ptrdiff_t e = 0; e < n; e += step) {
        if (lines == step && !in.position && e + step <= n)
            for (ptrdiff_t r = 0; r < step; ++r) square[r] = load_vector<A>(in.data + r * in.stride + e);
        else
            for (ptrdiff_t r = 0; r < step; ++r) square[r] = load_elements<A>(in, std::min(r, lines - 1), e, n - e);
        transpose<A>(square);
        for (ptrdiff_t r = 0; r < step; ++r) store(columns + (e + r) * step, square[r]);
    }
    switch (taps.width) {
        case 1: weigh<A, 1>(columns, channels, taps, tile, finish, results); break;
        case 2: weigh<A, 2>(columns, channels, taps, tile, finish, results); break;
        case 4: weigh<A, 4>(columns, channels, taps, tile, finish, results); break;
        case 6: weigh<A, 6>(columns, channels, taps, tile, finish, results); break;
        case 8: weigh<A, 8>(columns, channels, taps, tile, finish, results); break;
        default: weigh<A, 0>(columns, channels, taps, tile, finish, results); break;
    }
    for (ptrdiff_t e = 0; e < n_results; e += step) {
        for (ptrdiff_t r = 0; r < step; ++r) square[r] = load(results + (e + r) * step);
        transpose<A>(square);
        if (lines == step && !out.position && e + step <= n_results)
            for (ptrdiff_t r = 0; r < step; ++r) store_vector(out.data + r * out.stride + e, square[r]);
        else
            for (ptrdiff_t r = 0; r < lines; ++r) store_elements<A>(out, r, e, n_results - e, square[r]);
    }
}

// ---- the whole -----------------------------------------------------------------------------------------------------

// Cuts the output columns so that no tile has more than `limit` elements of input or output unless a single column does.
inline std::vector<Tile> cut(const Taps& columns, ptrdiff_t channels, ptrdiff_t limit) {
    std::vector<Tile> tiles;
    for (ptrdiff_t j = 0; j < columns.size(); ++j) {
        const ptrdiff_t first = columns.first[size_t(j)], end = first + columns.width;
        if (!tiles.empty()) {
            Tile& tile = tiles.back();
            const ptrdiff_t begin = std::min(tile.begin, first), last = std::max(tile.end, end);
            if (std::max(last - begin, j + 1 - tile.j0) * channels <= limit) {
                tile = {tile.j0, j + 1, begin, last};
                continue;
            }
        }
        tiles.push_back({j, j + 1, first, end});
    }
    return tiles;
}

// The positions of a line's elements where they are not simply one after the other.
inline std::vector<ptrdiff_t> positions(const Array& a) {
    const ptrdiff_t columns = a.shape[a.ndim - 2], channels = a.shape[a.ndim - 1];
    const ptrdiff_t column_stride = a.stride[a.ndim - 2], channel_stride = a.stride[a.ndim - 1];
    const bool adjacent = (channels == 1 || channel_stride == 1) && (columns == 1 || column_stride == channels);
    std::vector<ptrdiff_t> table;
    if (adjacent) return table;
    for (ptrdiff_t x = 0; x < columns; ++x)
        for (ptrdiff_t c = 0; c < channels; ++c) table.push_back(x * column_stride + c * channel_stride);
    return table;
}

// n rounded up to a number that every vector divides.
inline ptrdiff_t whole_vectors(ptrdiff_t n) { return round_up(n, kLanes); }

// The lines of image `index` of a batch.
template <class T>
Lines<T> lines_of(const Array& a, ptrdiff_t index, const std::vector<ptrdiff_t>& position) {
    T* data = static_cast<T*>(a.data);
    for (int axis = a.ndim - 4; axis >= 0; --axis) {
        data += index % a.shape[axis] * a.stride[axis];
        index /= a.shape[axis];
    }
    return {data, a.stride[a.ndim - 3], position.empty() ? nullptr : position.data()};
}

template <class A, class In, class Out>
void resize(const Array& image, const Array& result, const Taps& rows, const Taps& columns, bool columns_first,
            int threads) {
    constexpr ptrdiff_t step = kWidth<A>;
    const ptrdiff_t channels = image.shape[image.ndim - 1];
    const A top = is_integer<Out> ? A(sizeof(Out) == 1 ? 255 : 65535) : A(0);
    const A in_top = is_integer<In> ? A(sizeof(In) == 1 ? 255 : 65535) : A(1);
    const Finish<A, is_integer<Out>> between{top, A(1)}, last{top, A(1) / (is_integer<Out> ? A(1) : in_top)};

    const ptrdiff_t images = images_in(image);
    const ptrdiff_t block = columns_first ? kBlockLines : step;
    const ptrdiff_t blocks = divide_up(rows.size(), block);

    // The input lines i0 .. that the block of output lines from b on needs.
    const auto needed = [&](ptrdiff_t b) {
        std::pair<ptrdiff_t, ptrdiff_t> range = {rows.first[size_t(b)], 0};
        for (ptrdiff_t i = b; i < std::min(b + block, rows.size()); ++i)
            range = {std::min(range.first, rows.first[size_t(i)]),
                     std::max(range.second, rows.first[size_t(i)] + rows.width)};
        return range;
    };
    ptrdiff_t between_lines = step, limit = kTileElements;
    if (columns_first) {
        for (ptrdiff_t b = 0; b < blocks; ++b)
            between_lines = std::max(between_lines, needed(b * block).second - needed(b * block).first);
        limit = std::max<ptrdiff_t>(64, std::min(kTileElements, kBlockElements / between_lines));
    }
    const std::vector<Tile> tiles = cut(columns, channels, limit);
    ptrdiff_t input_width = 0, output_width = 0;
    for (const Tile& tile : tiles) {
        input_width = std::max(input_width, whole_vectors((tile.end - tile.begin) * channels));
        output_width = std::max(output_width, whole_vectors((tile.j1 - tile.j0) * channels));
    }
    const ptrdiff_t between_width = columns_first ? output_width : input_width;
    const std::vector<ptrdiff_t> image_positions = positions(image), result_positions = positions(result);

    parallel_for(
        images * blocks, threads,
        [&] { return Scratch<A>(size_t(between_lines * between_width + (input_width + output_width) * step)); },
        [&](ptrdiff_t task, Scratch<A>& scratch) {
            A* const columns_scratch = scratch.data() + between_lines * between_width;
            A* const results_scratch = columns_scratch + input_width * step;
            const ptrdiff_t i0 = task % blocks * block, i1 = std::min(i0 + block, rows.size());
            const auto [from, to] = needed(i0);
            const Lines<const In> in = lines_of<const In>(image, task / blocks, image_positions);
            const Lines<Out> out = lines_of<Out>(result, task / blocks, result_positions);
            const Lines<A> middle{scratch.data(), between_width, nullptr};
            for (const Tile& tile : tiles) {
                const Lines<const In> source = in.from(from, tile.begin * channels);
                const Lines<Out> target = out.from(i0, tile.j0 * channels);
                if (columns_first) {
                    for (ptrdiff_t r = 0; r < to - from; r += step)
                        resize_along<A>(source.from(r, 0), std::min(step, to - from - r), channels, columns, tile,
                                        middle.from(r, 0), between, columns_scratch, results_scratch);
                    resize_across<A>(middle, from, rows, i0, i1, (tile.j1 - tile.j0) * channels, target, last);
                } else {
                    resize_across<A>(source, from, rows, i0, i1, (tile.end - tile.begin) * channels, middle, between);
                    resize_along<A>(middle, i1 - i0, channels, columns, tile, target, last, columns_scratch,
                                    results_scratch);
                }
            }
        });
}

}  // namespace resizing

inline void resize(const Array& image, const Array& result, const Taps& rows, const Taps& columns, bool columns_first,
                   int threads) {
    visit(image.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using resizing::resize;
        if constexpr (is_integer<T>) {
            if (result.dtype == DType::f32)
                resize<float, T, float>(image, result, rows, columns, columns_first, threads);
            else
                resize<std::conditional_t<sizeof(T) == 1, float, double>, T, T>(image, result, rows, columns,
                                                                                columns_first, threads);
        } else {
            resize<std::conditional_t<std::is_same_v<T, double>, double, float>, T, T>(image, result, rows, columns,
                                                                                       columns_first, threads);
        }
    });
}

}  // namespace fastimg::FASTIMG_TARGET
