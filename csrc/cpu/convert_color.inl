// Colour conversion: one pass over the pixels, a vector of them at a time, a channel in each vector.
//
// Interleaved channels are pulled apart and put together again in registers; planes are loaded as they lie; all other
// layouts are gathered element by element. Nine multiply-adds per pixel against 6 (uint8) to 24 (float32) bytes of
// traffic: the shuffles bound the first, the memory the second.
//
// Integers of eight bits are computed in float, and again in double where a sum comes nearer to a half than its error
// could reach; those of sixteen are computed in double.

#include "support/arithmetic.inl"

namespace fastimg::FASTIMG_TARGET {

namespace coloring {

// ---- interleaved channels ------------------------------------------------------------------------------------------

// Channel C of the pixels whose elements lie in v[0], v[1], v[2], one after the other.
template <int C, class V, int... Lane>
inline V channel(const V* v, std::integer_sequence<int, Lane...>) {
    constexpr int n = sizeof...(Lane);
    const V low = __builtin_shufflevector(v[0], v[1], (3 * Lane + C < 2 * n ? 3 * Lane + C : 0)...);
    return __builtin_shufflevector(low, v[2], (3 * Lane + C < 2 * n ? Lane : 3 * Lane + C - n)...);
}

// The K-th vector of the elements of pixels whose channels are v[0], v[1], v[2].
template <int K, class V, int... Lane>
inline V interleaved(const V* v, std::integer_sequence<int, Lane...>) {
    constexpr int n = sizeof...(Lane);
    const V low = __builtin_shufflevector(
        v[0], v[1], ((K * n + Lane) % 3 == 2 ? 0 : (K * n + Lane) % 3 * n + (K * n + Lane) / 3)...);
    return __builtin_shufflevector(low, v[2], ((K * n + Lane) % 3 == 2 ? n + (K * n + Lane) / 3 : Lane)...);
}

// ---- pixels in memory ----------------------------------------------------------------------------------------------

// Pixels at a constant distance from each other.
template <class T>
struct Pixels {
    T* data;
    ptrdiff_t stride, channel_stride;

    bool planes() const { return stride == 1; }
    bool triples() const { return stride == 3 && (channel_stride == 1 || channel_stride == -1); }
    bool reversed() const { return channel_stride < 0; }
    T* triple(ptrdiff_t i) const { return data + 3 * i - (reversed() ? 2 : 0); }
};

template <class A, int Channels, class T>
inline void load_pixels(Vector<A>* v, const Pixels<T>& pixels, ptrdiff_t i, ptrdiff_t n) {
    using Lanes = std::make_integer_sequence<int, kWidth<A>>;
    if (n >= kWidth<A> && pixels.planes()) {
        for (int c = 0; c < Channels; ++c) v[c] = load_vector<A>(pixels.data + i + c * pixels.channel_stride);
        return;
    }
    if constexpr (Channels == 3) {
        if (n >= kWidth<A> && pixels.triples()) {
            Vector<A> parts[3];
            for (int k = 0; k < 3; ++k) parts[k] = load_vector<A>(pixels.triple(i) + k * kWidth<A>);
            v[0] = channel<0>(parts, Lanes{});
            v[1] = channel<1>(parts, Lanes{});
            v[2] = channel<2>(parts, Lanes{});
            if (pixels.reversed()) std::swap(v[0], v[2]);
            return;
        }
    }
    for (int c = 0; c < Channels; ++c) {
        A buffer[kWidth<A>] = {};
        for (ptrdiff_t k = 0; k < std::min<ptrdiff_t>(n, kWidth<A>); ++k) {
            const T* const p = pixels.data + (i + k) * pixels.stride + c * pixels.channel_stride;
            buffer[k] = load_scalar<A>(p);
        }
        v[c] = load(buffer);
    }
}

template <class A, int Channels, class T>
inline void store_pixels(const Pixels<T>& pixels, ptrdiff_t i, ptrdiff_t n, const Vector<A>* v) {
    using Lanes = std::make_integer_sequence<int, kWidth<A>>;
    if (n >= kWidth<A> && pixels.planes()) {
        for (int c = 0; c < Channels; ++c) store_vector(pixels.data + i + c * pixels.channel_stride, v[c]);
        return;
    }
    if constexpr (Channels == 3) {
        if (n >= kWidth<A> && pixels.triples()) {
            const bool reversed = pixels.reversed();
            const Vector<A> parts[3] = {v[reversed ? 2 : 0], v[1], v[reversed ? 0 : 2]};
            T* const p = pixels.triple(i);
            store_vector(p, interleaved<0>(parts, Lanes{}));
            store_vector(p + kWidth<A>, interleaved<1>(parts, Lanes{}));
            store_vector(p + 2 * kWidth<A>, interleaved<2>(parts, Lanes{}));
            return;
        }
    }
    for (int c = 0; c < Channels; ++c) {
        T buffer[kWidth<A>];
        store_vector(buffer, v[c]);
        for (ptrdiff_t k = 0; k < std::min<ptrdiff_t>(n, kWidth<A>); ++k)
            pixels.data[(i + k) * pixels.stride + c * pixels.channel_stride] = buffer[k];
    }
}

// ---- the map -------------------------------------------------------------------------------------------------------

// Rounds the sums of output channel `o` for integers in 0 .. top.
template <int From>
inline Floats rounded(Floats sum, const Floats* in, const ColorMap& map, int o, float margin, float top) {
    const Floats from_half = sum - floor(sum) - 0.5f;
    if (any((from_half < margin) & (from_half > -margin))) {
        for (int lane = 0; lane < kLanes; ++lane) {
            double exact = map.offset[o];
            for (int c = 0; c < From; ++c) exact += map.matrix[o][c] * double(in[c][lane]);
            sum[lane] = float(std::floor(exact + 0.5 + kTie));
        }
    } else {
        sum = floor(sum + 0.5f);
    }
    return min(max(sum, Floats{}), broadcast(top));
}

template <int From>
inline Doubles rounded(Doubles sum, const Doubles*, const ColorMap&, int, double, double top) {
    for (int lane = 0; lane < kDoubleLanes; ++lane)
        sum[lane] = std::min(std::max(std::floor(sum[lane] + 0.5 + kTie), 0.0), top);
    return sum;
}

template <class A, int From, int To, class In, class Out>
void convert_pixels(const Pixels<const In>& image, const Pixels<Out>& result, ptrdiff_t n, const ColorMap& map) {
    constexpr double kTop = sizeof(In) == 1 ? 255 : 65535;
    A matrix[To][From], offset[To], margin = 0;
    for (int o = 0; o < To; ++o) {
        double most = std::abs(map.offset[o]);
        for (int c = 0; c < From; ++c) {
            matrix[o][c] = A(map.matrix[o][c]);
            most += std::abs(map.matrix[o][c]) * kTop;
        }
        offset[o] = A(map.offset[o]);
        margin = std::max(margin, A(most * (From + 2) * 0x1p-24));
    }
    for (ptrdiff_t i = 0; i < n; i += kWidth<A>) {
        Vector<A> in[From], out[To];
        load_pixels<A, From>(in, image, i, n - i);
        for (int o = 0; o < To; ++o) {
            Vector<A> sum = Vector<A>{} + offset[o];
            for (int c = 0; c < From; ++c) sum += matrix[o][c] * in[c];
            out[o] = is_integer<Out> ? rounded<From>(sum, in, map, o, margin, A(kTop)) : sum;
        }
        store_pixels<A, To>(result, i, n - i, out);
    }
}

template <class A, int From, int To, class In, class Out>
void convert_color(const Array& image, const Array& result, const ColorMap& map, int threads) {
    Array from = image, to = result;
    const ptrdiff_t from_channel = from.stride[--from.ndim], to_channel = to.stride[--to.ndim];
    const fastimg::Rows<2> rows({&from, &to});
    const Segments<2> segments(rows);
    parallel_for(segments.count(), threads, [&](ptrdiff_t task) {
        segments.visit(task, [&](Segment s) {
            const In* const in = static_cast<const In*>(from.data) + rows.offset(0, s.row) + s.begin * rows.stride(0);
            Out* const out = static_cast<Out*>(to.data) + rows.offset(1, s.row) + s.begin * rows.stride(1);
            convert_pixels<A, From, To>(Pixels<const In>{in, rows.stride(0), from_channel},
                                        Pixels<Out>{out, rows.stride(1), to_channel}, s.length, map);
        });
    });
}

template <int From, int To>
void convert_channels(const Array& image, const Array& result, const ColorMap& map, int threads) {
    visit(image.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        if constexpr (is_integer<T>) {
            if (result.dtype == DType::f32)
                convert_color<float, From, To, T, float>(image, result, map, threads);
            else
                convert_color<std::conditional_t<sizeof(T) == 1, float, double>, From, To, T, T>(image, result, map,
                                                                                                 threads);
        } else {
            convert_color<std::conditional_t<std::is_same_v<T, double>, double, float>, From, To, T, T>(image, result,
                                                                                                        map, threads);
        }
    });
}

}  // namespace coloring

inline void convert_color(const Array& image, const Array& result, const ColorMap& map, int threads) {
    const ptrdiff_t from = image.shape[image.ndim - 1], to = result.shape[result.ndim - 1];
    if (from == 3 && to == 3) return coloring::convert_channels<3, 3>(image, result, map, threads);
    if (from == 3 && to == 1) return coloring::convert_channels<3, 1>(image, result, map, threads);
    coloring::convert_channels<1, 3>(image, result, map, threads);
}

}  // namespace fastimg::FASTIMG_TARGET
