// Warp: lanes are neighbouring pixels of the result, whose taps are gathered from the image.
//
// A task is some rows of the result, gone through tile by tile, so that a turned image is read from a small window that
// stays in the cache. Of a line of a tile the places are computed first, for all maps alike: whole coordinates and the
// fractions between them; a line ahead, so that the memory that it reads and goes to is on its way while another is
// sampled. Then vectors of pixels are sampled, of those lanes whose taps are all inside: a load of up to 128 bits for
// each lane brings as many channels, and neighbouring taps, as fit in (one the two taps of five bytes in a row). The few
// other lanes are fetched tap by tap afterwards; vectors that are all outside are not sampled. Channels come out as lines
// of their own and are interleaved on their way to memory. Of floats with three or four channels a load brings a tap, or
// two neighbours of more than two, and pixels come out whole.
//
// What limits: for 16 pixels a linear sample of a grey image takes 32 loads, 16 to 32 more of where they are, 28
// instructions that put them together, and about 10 of arithmetic, 20 of bytes; the places another 40. The image and the
// result move through memory once, if the map keeps neighbours together.
//
// Coordinates are sums of rounded products, never fused: they are the same for every instruction set, so that the
// nearest pixel is.

#include "support/arithmetic.inl"
#include "support/gather.inl"
#include "support/interleave.inl"

namespace fastimg::FASTIMG_TARGET {

namespace warping {

constexpr ptrdiff_t kTileColumns = 128;  // a multiple of every vector
constexpr ptrdiff_t kTaskRows = 32;

constexpr double kFar = 0x1p30;  // how far coordinates count
constexpr int32_t kNowhere = std::numeric_limits<int32_t>::min();

// Where the pixels of a line lie: a column and a row, and how far to the next of them.
template <class A>
struct Places {
    alignas(64) int32_t column[kTileColumns], row[kTileColumns];
    alignas(64) A right[kTileColumns], down[kTileColumns];

    // Repeats the last of n until there are as many as told.
    void pad(ptrdiff_t n, ptrdiff_t whole) {
        for (ptrdiff_t i = n; i < whole; ++i) {
            column[i] = column[n - 1];
            row[i] = row[n - 1];
            right[i] = right[n - 1];
            down[i] = down[n - 1];
        }
    }
};

template <int... J>
[[gnu::always_inline]] inline Ints lower_halves(Ints a, Ints b, std::integer_sequence<int, J...>) {
    return __builtin_shufflevector(a, b, (2 * J)...);
}
// Of the 64-bit lanes of a and b.
[[gnu::always_inline]] inline Ints lower_halves(Ints a, Ints b) {
    return lower_halves(a, b, std::make_integer_sequence<int, kLanes>{});
}

using Unsigned = VectorOf<uint32_t>::type;

inline Ints load_ints(const int32_t* from) {
    Ints v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
inline void store_ints(int32_t* to, Ints v) { std::memcpy(to, &v, sizeof v); }

inline Doubles whole_below(Doubles x) {  // for |x| <= 2^31
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
    return (Doubles)_mm512_roundscale_pd((__m512d)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif FASTIMG_LEVEL == 3
    return (Doubles)_mm256_floor_pd((__m256d)x);
#else
    typedef int32_t Whole __attribute__((vector_size(kDoubleLanes * sizeof(int32_t))));
    const Doubles whole = __builtin_convertvector(__builtin_convertvector(x, Whole), Doubles);
    return x < whole ? whole - 1.0 : whole;
#endif
}

// For interpolation in float coordinates are rounded to multiples of 2^-24, if they are near. The sum with kFixed is a
// fixed-point number then: its lower 24 bits are the fraction, those above the whole, and its exponent is always the same.
constexpr double kNear = 0x1p27;
constexpr double kFixed = 0x1.8p28;
constexpr int kFractionBits = 24;

// Splits n coordinates so; `at(i)` gives those from i on, and something beyond n. False if one is not near: nothing is
// of use then.
template <class At>
[[gnu::always_inline]] inline bool split_near(ptrdiff_t n, At&& at, int32_t* whole, float* rest) {
    typedef uint64_t Bits __attribute__((vector_size(kVectorBytes)));
    constexpr uint64_t exponent = uint64_t(1023 + 28) << 52, zero = exponent + (uint64_t(1) << 51);  // kFixed, as bits
    Bits differ{};
    for (ptrdiff_t i = 0; i < n; i += kLanes) {
        const Bits a = (Bits)(at(i) + kFixed), b = (Bits)(at(i + kDoubleLanes) + kFixed);
        differ |= (a ^ exponent) | (b ^ exponent);
        const Ints above = lower_halves((Ints)(a >> kFractionBits), (Ints)(b >> kFractionBits)) -
                           int32_t(uint32_t(zero >> kFractionBits));
        const Ints below = lower_halves((Ints)a, (Ints)b) & ((1 << kFractionBits) - 1);
        store_ints(whole + i, above);
        store(rest + i, __builtin_convertvector(below, Floats) * 0x1p-24f);
    }
    return !any((Ints)(differ >> 52 != 0));
}

// Splits n coordinates; `at(i)` gives those from i on, and `is_near(at)` whether all are known to be below kFar. With a
// `shift` nothing but their wholes matters.
template <class A, class At, class IsNear>
[[gnu::always_inline]] inline void split(ptrdiff_t n, double shift, At&& at, IsNear&& is_near, int32_t* whole,
                                         A* rest) {
    typedef int32_t Whole __attribute__((vector_size(kDoubleLanes * sizeof(int32_t))));
    typedef A Rest __attribute__((vector_size(kDoubleLanes * sizeof(A))));
    constexpr bool is_float = std::is_same_v<A, float>;
    if constexpr (is_float)
        if (shift == 0 && split_near(n, at, whole, rest)) return;
    const bool anything = !is_near(at);
    for (ptrdiff_t i = 0; i < n; i += kDoubleLanes) {
        Doubles coordinate = at(i) + shift;
        if (is_float && shift == 0) {
            const Doubles rounded = coordinate + kFixed - kFixed;
            coordinate = coordinate >= -kNear && coordinate < kNear ? rounded : coordinate;
        }
        Doubles near = coordinate;
        if (anything) {
            near = near > -kFar ? near : Doubles{} - kFar;  // NaN goes
            near = near < kFar ? near : Doubles{} + kFar;
        }
        Doubles below = whole_below(near);
        const Rest fraction = __builtin_convertvector(near - below, Rest);
        if (anything) below = coordinate - coordinate == 0 ? below : Doubles{} + double(kNowhere);
        const Whole index = __builtin_convertvector(below, Whole);
        std::memcpy(whole + i, &index, sizeof index);
        std::memcpy(rest + i, &fraction, sizeof fraction);
    }
}

constexpr auto unknown = [](const auto&) { return false; };  // for coordinates that may be anything

// The products of a matrix with the columns of a tile. They pass through memory, so no compiler fuses them into the sums.
struct Products {
    double column[kTileColumns], row[kTileColumns], divisor[kTileColumns];

    Products(const double* m, ptrdiff_t x) {
        for (ptrdiff_t i = 0; i < kTileColumns; ++i) {
            column[i] = m[0] * double(x + i);
            row[i] = m[3] * double(x + i);
            divisor[i] = m[6] * double(x + i);
        }
        __asm__ volatile("" : : "r"(this) : "memory");
    }
};

inline bool is_affine(const double* m) { return m[6] == 0 && m[7] == 0 && m[8] == 1; }

// The places of n pixels of row y; `shift` is a half where they are to be rounded.
template <class A>
void places_of(const double* m, const Products& products, ptrdiff_t y, ptrdiff_t n, double shift, Places<A>& places) {
    volatile double product[3];
    for (int k = 0; k < 3; ++k) product[k] = m[3 * k + 1] * double(y);
    const double down[3] = {product[0], product[1], product[2]};
    const auto column = [&](ptrdiff_t i) { return load(products.column + i) + down[0] + m[2]; };
    const auto row = [&](ptrdiff_t i) { return load(products.row + i) + down[1] + m[5]; };
    const auto divisor = [&](ptrdiff_t i) { return load(products.divisor + i) + down[2] + m[8]; };
    if (is_affine(m)) {  // along a line coordinates lie between those of its ends
        const auto is_near = [&](const auto& at) {
            const double begin = at(0)[0], end = at(kTileColumns - kDoubleLanes)[kDoubleLanes - 1];
            return std::abs(begin) < kFar && std::abs(end) < kFar;
        };
        split(n, shift, column, is_near, places.column, places.right);
        split(n, shift, row, is_near, places.row, places.down);
    } else {
        split(n, shift, [&](ptrdiff_t i) { return column(i) / divisor(i); }, unknown, places.column, places.right);
        split(n, shift, [&](ptrdiff_t i) { return row(i) / divisor(i); }, unknown, places.row, places.down);
    }
}

// The same from a line of a table.
template <class A, class S>
void places_of(const S* rows, const S* columns, ptrdiff_t stride, ptrdiff_t n, double shift, Places<A>& places) {
    const auto line = [&](const S* from) {
        return [=](ptrdiff_t i) {
            if (stride == 1 && i + kDoubleLanes <= n) return load_doubles(from + i);
            Doubles v{};
            for (ptrdiff_t lane = 0; lane < std::min<ptrdiff_t>(n - i, kDoubleLanes); ++lane)
                v[lane] = double(from[(i + lane) * stride]);
            return v;
        };
    };
    split(n, shift, line(columns), unknown, places.column, places.right);
    split(n, shift, line(rows), unknown, places.row, places.down);
}

// ---- an image and its taps -----------------------------------------------------------------------------------------

template <class T>
struct Image {
    T* data;
    ptrdiff_t rows, columns, channels;
    ptrdiff_t row_stride, column_stride, channel_stride;

    bool adjacent() const {
        return (channels == 1 || channel_stride == 1) && (columns == 1 || column_stride == channels);
    }
};

// Image `index` of a batch.
template <class T>
Image<T> image_of(const Array& a, ptrdiff_t index) {
    T* data = static_cast<T*>(a.data);
    for (int axis = a.ndim - 4; axis >= 0; --axis) {
        data += index % a.shape[axis] * a.stride[axis];
        index /= a.shape[axis];
    }
    const int n = a.ndim - 3;
    return {data, a.shape[n], a.shape[n + 1], a.shape[n + 2], a.stride[n], a.stride[n + 1], a.stride[n + 2]};
}

// Asks for the memory of n elements. Inlined, as what follows: g++ takes a function that only prefetches for one without
// effect.
template <class T>
[[gnu::always_inline]] inline void announce(const T* from, ptrdiff_t n, ptrdiff_t stride) {
    for (ptrdiff_t i = 0; i < n; i += 64 / ptrdiff_t(sizeof(T))) __builtin_prefetch(from + i * stride);
}

// Asks for what the taps first .. last of n places need and those of the line before did not: what lies farthest in the
// direction that places move in from line to line.
template <class A, class T>
[[gnu::always_inline]] inline void announce(const Image<const T>& image, const Places<A>& places,
                                            const Places<A>& before, ptrdiff_t n, ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t pixel = std::abs(image.column_stride) * ptrdiff_t(sizeof(T));
    const ptrdiff_t step = std::clamp<ptrdiff_t>(64 / std::max<ptrdiff_t>(pixel, 1), 1, 64);
    const ptrdiff_t right = places.column[0] < before.column[0] ? first : last;
    const ptrdiff_t down = places.row[0] < before.row[0] ? first : last;
    for (ptrdiff_t i = 0; i < n; i += step) {
        const ptrdiff_t x = places.column[i] + right, y = places.row[i] + down;
        if (size_t(x) < size_t(image.columns) && size_t(y) < size_t(image.rows))
            __builtin_prefetch(image.data + x * image.column_stride + y * image.row_stride);
    }
}

// Calls `go_through` with what gives the places of one of so many images of the result: `locate(x, n)`, for n columns
// from x on, gives a function of the row that fills them in.
template <class A, class GoThrough>
void with_places(const Map& map, ptrdiff_t index, ptrdiff_t images, ptrdiff_t rows, Interpolation kernel,
                 GoThrough&& go_through) {
    const double shift = kernel == Interpolation::nearest ? 0.5 : 0.0;
    const auto by_table = [&](auto type) {
        using S = typename decltype(type)::type;
        const View<const S, 3> table = view<const S, 3>(map.table);
        go_through([&](ptrdiff_t x, ptrdiff_t n) {
            return [&, x, n](ptrdiff_t y, Places<A>& places) {
                places_of(table.at(0, y, x), table.at(1, y, x), table.stride[2], n, shift, places);
                const ptrdiff_t ahead = std::min(y + 2, rows - 1);
                announce(table.at(0, ahead, x), n, table.stride[2]);
                announce(table.at(1, ahead, x), n, table.stride[2]);
            };
        });
    };
    if (map.matrices) {
        const double* const m = map.matrices + index / (images / map.count) * 9;
        go_through([&](ptrdiff_t x, ptrdiff_t n) {
            return [&, n, products = Products(m, x)](ptrdiff_t y, Places<A>& places) {
                places_of(m, products, y, n, shift, places);
            };
        });
    } else if (map.function) {
        go_through([&](ptrdiff_t x, ptrdiff_t n) {
            return [&, x, n](ptrdiff_t y, Places<A>& places) {
                double line[2 * kTileColumns];
                map.function(y, x, n, line, map.parameters);
                places_of(line, line + n, 1, n, shift, places);
            };
        });
    } else if (map.table.dtype == DType::f32) {
        by_table(Type<float>{});
    } else {
        by_table(Type<double>{});
    }
}

// A row of N taps of pixels that all lie inside, gathered. `Channels` if known when compiling, else 0.
template <class T, int N, int Channels>
struct Gathered {
    // 128 bits at a time, then 64 and 32 if they are enough; tap by tap where the number of channels is not known.
    static constexpr int kBytes = N * Channels * int(sizeof(T));
    static constexpr int kWords = std::max((kBytes + 3) / 4, 1);
    static constexpr bool kPacked = Channels > 0;

    // Pixels beyond the taps that are read.
    static ptrdiff_t excess(ptrdiff_t channels) {
        return divide_up(kPacked ? 4 * kWords - kBytes : 4 - int(sizeof(T)), channels * ptrdiff_t(sizeof(T)));
    }

    const char* row;  // the image's, to which `offset` is added
    const int32_t* offset;
    ptrdiff_t pixel_bytes;
    Ints words[kWords];

    [[gnu::always_inline]] Gathered(const char* row, const int32_t* offset, ptrdiff_t pixel_bytes)
        : row(row), offset(offset), pixel_bytes(pixel_bytes) {
        if constexpr (kPacked) {
            constexpr int quads = kWords / 4, rest = kWords % 4;
            for (int k = 0; k < quads; ++k) gather_quads(row + 16 * k, offset, words + 4 * k);
            if constexpr (rest >= 2) gather_pairs(row + 16 * quads, offset, words[4 * quads], words[4 * quads + 1]);
            if constexpr (rest % 2 == 1) words[kWords - 1] = gather_words(row + 4 * (kWords - 1), offset);
        }
    }

    [[gnu::always_inline]] Floats operator()(int k, ptrdiff_t channel) const {
        if constexpr (kPacked) {
            const int byte = (k * Channels + int(channel)) * int(sizeof(T));
            return element_of<T>(words[byte / 4], 8 * (byte % 4));
        } else {
            return element_of<T>(gather_words(row + k * pixel_bytes + channel * ptrdiff_t(sizeof(T)), offset), 0);
        }
    }
};

// `border_index`, without a division where one reflection or one step to the other side is enough.
inline ptrdiff_t folded(ptrdiff_t i, ptrdiff_t n, BorderMode border) {
    if (i >= 0 && i < n) return i;
    ptrdiff_t once = -1;
    switch (border) {
        case BorderMode::reflect: once = i < 0 ? -1 - i : 2 * n - 1 - i; break;
        case BorderMode::mirror: once = i < 0 ? -i : 2 * n - 2 - i; break;
        case BorderMode::wrap: once = i < 0 ? i + n : i - n; break;
        default: break;
    }
    return once >= 0 && once < n ? once : border_index(i, n, border);
}

// Some lanes of a vector.
struct Lanes {
    int count = 0;
    int lane[kLanes];

    void add(int i) { lane[count++] = i; }
    const int* begin() const { return lane; }
    const int* end() const { return lane + count; }
};

// N by N taps of pixels that lie anywhere, fetched one by one for some lanes; the others are 0.
template <class A, class T, int N>
struct Fetched {
    static constexpr ptrdiff_t kOutside = std::numeric_limits<ptrdiff_t>::min();
    const Image<const T>& image;
    const Lanes& lanes;
    A constant;
    ptrdiff_t column[N][kWidth<A>], row[N][kWidth<A>];
    bool outside[kWidth<A>];  // all taps, so that the sum is the constant however the weights are rounded

    Fetched(const Image<const T>& image, const Places<A>& places, ptrdiff_t i, const Lanes& lanes, ptrdiff_t first,
            BorderMode border, A constant)
        : image(image), lanes(lanes), constant(constant) {
        const auto offset = [&](int32_t place, ptrdiff_t tap, ptrdiff_t length, ptrdiff_t stride) {
            const ptrdiff_t index = place == kNowhere ? -1 : folded(place + first + tap, length, border);
            return index < 0 ? kOutside : index * stride;
        };
        for (int lane : lanes) {
            bool column_inside = false, row_inside = false;
            for (int k = 0; k < N; ++k) {
                column[k][lane] = offset(places.column[i + lane], k, image.columns, image.column_stride);
                row[k][lane] = offset(places.row[i + lane], k, image.rows, image.row_stride);
                column_inside |= column[k][lane] != kOutside;
                row_inside |= row[k][lane] != kOutside;
            }
            outside[lane] = !column_inside || !row_inside;
        }
    }

    Vector<A> operator()(int j, int k, ptrdiff_t channel) const {
        A values[kWidth<A>] = {};
        const T* const data = image.data + channel * image.channel_stride;
        for (int lane : lanes) {
            const ptrdiff_t x = column[k][lane], y = row[j][lane];
            values[lane] = x == kOutside || y == kOutside ? constant : load_scalar<A>(data + (x + y));
        }
        return load(values);
    }
};

// ---- interpolation -------------------------------------------------------------------------------------------------

// Of N taps at a fraction `t` between the inner two: what is computed of it once for all channels.
template <int N, class V>
struct Weights;

template <class V>
struct Weights<1, V> {
    V value[1];

    static Weights at(V) { return {}; }
    template <class At>
    [[gnu::always_inline]] V sum(At&& at) const {
        return at(0);
    }
};

template <class V>
struct Weights<2, V> {
    V value[1];

    static Weights at(V t) { return {{t}}; }
    template <class At>
    [[gnu::always_inline]] V sum(At&& at) const {
        const V a = at(0), b = at(1), t = value[0];
        return t == 0 ? a : a + t * (b - a);  // a NaN does not count where its weight is 0
    }
};

// Sums from 0 on, so that whatever fetches the taps, products are fused into sums alike: rows first, then even and odd
// columns apart.
template <int N, class V>
struct Sum {
    V value[N];

    template <class At>
    [[gnu::always_inline]] V sum(At&& at) const {
        V total = {};
        for (int k = 0; k < N; ++k) total += value[k] * at(k);
        return total;
    }
    template <class At>
    [[gnu::always_inline]] V sum_in_pairs(At&& at) const {
        V even = {}, odd = {};
        for (int k = 0; k < N; k += 2) {
            even += value[k] * at(k);
            odd += value[k + 1] * at(k + 1);
        }
        return even + odd;
    }
};

template <class V>
struct Weights<4, V> : Sum<4, V> {
    static Weights at(V t) {
        return {{{((1 - 0.5f * t) * t - 0.5f) * t, (1.5f * t - 2.5f) * t * t + 1, ((2 - 1.5f * t) * t + 0.5f) * t,
                  (0.5f * t - 0.5f) * t * t}}};
    }
};

// sin(pi x / 3) / x for x in [0, 1]: Taylor's series, to the precision of V's elements.
template <class V>
inline V sine_of_third(V x) {
    constexpr bool is_double = sizeof(V{}[0]) == sizeof(double);
    constexpr int terms = is_double ? 10 : 6;
    using E = std::conditional_t<is_double, double, float>;
    constexpr std::array<double, terms> coefficient = [] {
        constexpr double third = 1.04719755119659774615;  // of pi
        std::array<double, terms> c{};
        double term = third;
        for (int n = 0; n < terms; ++n) {
            c[size_t(n)] = term;
            term *= -third * third / double((2 * n + 2) * (2 * n + 3));
        }
        return c;
    }();
    V total = V{} + E(coefficient[terms - 1]);
    for (int n = terms - 2; n >= 0; --n) total = total * (x * x) + E(coefficient[size_t(n)]);
    return total;
}

// sinc(x) sinc(x / 3) at x = t + 2, t + 1, t, u, u + 1, u + 2, with u = 1 - t, over their sum. sin(pi x) is sin(pi t) in
// all of them but for the sign and cancels, and sin(pi (x + 1) / 3) = sin(pi t / 3) + sin(pi u / 3); all are taken times
// t u, so that nothing is divided by 0.
template <class V>
struct Weights<6, V> : Sum<6, V> {
    static Weights at(V t) {
        const V u = 1 - t, beside_t = sine_of_third(t), beside_u = sine_of_third(u);
        const V sine_t = t * beside_t, sine_u = u * beside_u, both = t * u;
        Weights w;
        w.value[0] = both * sine_u / ((t + 2) * (t + 2));
        w.value[1] = -both * (sine_t + sine_u) / ((t + 1) * (t + 1));
        w.value[2] = u * beside_t;
        w.value[3] = t * beside_u;
        w.value[4] = -both * (sine_t + sine_u) / ((u + 1) * (u + 1));
        w.value[5] = both * sine_t / ((u + 2) * (u + 2));
        V total = w.value[0];
        for (int k = 1; k < 6; ++k) total += w.value[k];
        for (V& value : w.value) value /= total;
        return w;
    }
};

typedef float Pixel __attribute__((vector_size(4 * sizeof(float))));
typedef float TwoPixels __attribute__((vector_size(8 * sizeof(float))));  // side by side, and what follows them

// To low .. high; NaN stays, as what `min` and `max` are given second.
template <class V>
[[gnu::always_inline]] inline V clipped(V v, V low, V high) {
    if constexpr (std::is_same_v<V, Floats>)
        return min(high, max(low, v));
    else if constexpr (std::is_same_v<V, Pixel>)
        return (V)_mm_min_ps((__m128)high, _mm_max_ps((__m128)low, (__m128)v));
    v = v < low ? low : v;
    return v > high ? high : v;
}

template <class A>
struct Finish {
    A constant, low, high, factor;
    A beside;  // the constant, as a result
    BorderMode border;

    template <int N, class V>
    [[gnu::always_inline]] V apply(V v) const {
        if constexpr (N > 2) v = clipped(v, V{} + low, V{} + high);
        return v * factor;
    }
};

template <int N>
constexpr ptrdiff_t kFirst = 1 - (N + 1) / 2;  // of N taps, from a place on
template <int N>
constexpr ptrdiff_t kLast = N - 1 + kFirst<N>;

// Whether pixels of 3 or 4 channels come out whole.
template <class T, int Channels>
constexpr bool kWholePixels = std::is_same_v<T, float> && Channels >= 3;

// The weights of a line's pixels: those of neighbouring columns side by side, of rows apart. Written long before they
// are loaded one by one.
template <int N>
struct LineWeights {
    alignas(64) float right[N / 2][2 * kTileColumns], down[N][kTileColumns];

    LineWeights(const Places<float>& places, ptrdiff_t n) {
        for (ptrdiff_t i = 0; i < n; i += kLanes) {
            const auto across = Weights<N, Floats>::at(load(places.right + i));
            const auto along = Weights<N, Floats>::at(load(places.down + i));
            for (int k = 0; k < N; k += 2) {
                const Floats pair[2] = {across.value[k], across.value[k + 1]};
                store(right[k / 2] + 2 * i, interleaved<2, 0>(pair, std::make_integer_sequence<int, kLanes>{}));
                store(right[k / 2] + 2 * i + kLanes,
                      interleaved<2, 1>(pair, std::make_integer_sequence<int, kLanes>{}));
            }
            for (int k = 0; k < N; ++k) store(down[k] + i, along.value[k]);
        }
    }
};

template <>
struct LineWeights<2> {
    const Places<float>& places;

    LineWeights(const Places<float>& places, ptrdiff_t) : places(places) {}
};
template <>
struct LineWeights<1> {
    LineWeights(const Places<float>&, ptrdiff_t) {}
};

// A pixel of 3 or 4 channels, whose first tap is at `from`. Four or eight floats are read at a time.
template <int N, int Channels>
[[gnu::always_inline]] inline Pixel sample_pixel(const char* from, ptrdiff_t row_bytes, const LineWeights<N>& weights,
                                                 ptrdiff_t i) {
    const auto read = [&](int j, int k, auto& taps) __attribute__((always_inline)) {
        std::memcpy(&taps, from + j * row_bytes + k * Channels * ptrdiff_t(sizeof(float)), sizeof taps);
    };
    if constexpr (N <= 2) {
        const auto tap = [&](int j, int k) __attribute__((always_inline)) {
            Pixel v;
            read(j, k, v);
            return v;
        };
        if constexpr (N == 1) {
            return tap(0, 0);
        } else {
            const Weights<2, Pixel> right{{Pixel{} + weights.places.right[i]}};
            const Weights<2, Pixel> down{{Pixel{} + weights.places.down[i]}};
            return down.sum([&](int j) __attribute__((always_inline)) {
                return right.sum([&](int k) __attribute__((always_inline)) { return tap(j, k); });
            });
        }
    } else {
        typedef double Pairs __attribute__((vector_size(4 * sizeof(double))));
        TwoPixels total = {};  // of even columns and of odd ones
        for (int k = 0; k < N; k += 2) {
            TwoPixels sum = {};
            for (int j = 0; j < N; ++j) {
                TwoPixels taps;
                read(j, k, taps);
                sum += weights.down[j][i] * taps;
            }
            double pair;
            std::memcpy(&pair, weights.right[k / 2] + 2 * i, sizeof pair);
            const TwoPixels both = (TwoPixels)Pairs{pair, pair, pair, pair};
            total += __builtin_shufflevector(both, both, 0, 0, 0, Channels == 3, 5, 5, 5, 5) * sum;
        }
        return __builtin_shufflevector(total, total, 0, 1, 2, 3) +
               __builtin_shufflevector(total, total, Channels, Channels + 1, Channels + 2, Channels + 3);
    }
}

// Of which first taps all N by N are loaded without a look: of so many columns and rows of the image.
struct Reach {
    uint32_t columns = 0, rows = 0;
};

template <class T, int N, int Channels>
Reach reach_of(const Image<const T>& image) {
    const double extent = double(std::abs(image.row_stride)) * double(image.rows) +
                          double(image.columns) * double(image.channels);  // in elements
    if (!image.adjacent() || extent * double(sizeof(T)) >= 0x1p31) return {};
    const ptrdiff_t excess =
        kWholePixels<T, Channels> ? Channels == 3 : Gathered<T, N, Channels>::excess(image.channels);
    const ptrdiff_t columns = image.columns - N + 1 - excess, rows = image.rows - N + 1;
    return columns > 0 && rows > 0 ? Reach{uint32_t(columns), uint32_t(rows)} : Reach{};
}

// The first taps of n places, whole vectors of them.
template <class T, int N>
struct FirstTaps {
    const Image<const T>& image;
    const Places<float>& places;
    const Reach reach;
    const bool fades;                          // beyond the border is a constant
    alignas(64) int32_t offset[kTileColumns];  // in bytes; 0 beyond the reach
    uint32_t touched = 0, empty = 0;           // vectors of which something is beyond the reach; all of the image

    FirstTaps(const Image<const T>& image, const Places<float>& places, ptrdiff_t n, Reach reach, bool fades)
        : image(image), places(places), reach(reach), fades(fades) {
        const auto row_bytes = uint32_t(image.row_stride * ptrdiff_t(sizeof(T)));
        const auto pixel_bytes = uint32_t(image.channels * ptrdiff_t(sizeof(T)));
        for (ptrdiff_t i = 0, bit = 1; i < n; i += kLanes, bit *= 2) {
            const Unsigned x = column(i), y = row(i);
            const Ints far = (x >= reach.columns) | (y >= reach.rows);
            store_ints(offset + i, (Ints)(y * row_bytes + x * pixel_bytes) & ~far);
            if (any(far)) (any(~beyond_image(i)) ? touched : empty) |= uint32_t(bit);
        }
    }

    Unsigned column(ptrdiff_t i) const { return (Unsigned)load_ints(places.column + i) + uint32_t(kFirst<N>); }
    Unsigned row(ptrdiff_t i) const { return (Unsigned)load_ints(places.row + i) + uint32_t(kFirst<N>); }

    Ints beyond_reach(ptrdiff_t i) const { return (column(i) >= reach.columns) | (row(i) >= reach.rows); }

    // Lanes that show nothing but the constant.
    Ints beyond_image(ptrdiff_t i) const {
        if (!fades) return Ints{};
        return (column(i) + uint32_t(N - 1) >= uint32_t(image.columns + N - 1)) |
               (row(i) + uint32_t(N - 1) >= uint32_t(image.rows + N - 1));
    }
};

// Of n pixels at `places`, whole vectors of them: channel c of pixel i at lines[c * kTileColumns + i], or of whole pixels
// at lines[i * Channels + c].
template <class A, class T, int N, int Channels>
void sample(const Image<const T>& image, const Places<A>& places, ptrdiff_t n, const Finish<A>& finish, A* lines) {
    using V = Vector<A>;
    constexpr bool whole_pixels = kWholePixels<T, Channels>;
    const ptrdiff_t channels = Channels > 0 ? Channels : image.channels;
    const auto at = [&](ptrdiff_t c, ptrdiff_t i) -> A& {
        return lines[whole_pixels ? i * Channels + c : c * kTileColumns + i];
    };
    const auto fetch = [&](ptrdiff_t i, const Lanes& lanes) __attribute__((noinline)) {
        const auto right = Weights<N, V>::at(load(places.right + i)), down = Weights<N, V>::at(load(places.down + i));
        const Fetched<A, T, N> taps(image, places, i, lanes, kFirst<N>, finish.border, finish.constant);
        for (ptrdiff_t c = 0; c < channels; ++c) {
            V values;
            if constexpr (N > 2)
                values = right.sum_in_pairs([&](int k) { return down.sum([&](int j) { return taps(j, k, c); }); });
            else
                values = down.sum([&](int j) { return right.sum([&](int k) { return taps(j, k, c); }); });
            values = finish.template apply<N>(values);
            for (int lane : lanes) at(c, i + lane) = taps.outside[lane] ? finish.beside : values[lane];
        }
    };
    const Reach reach = std::is_same_v<A, float> ? reach_of<T, N, Channels>(image) : Reach{};
    if (reach.columns == 0) {
        Lanes all;
        for (int lane = 0; lane < kWidth<A>; ++lane) all.add(lane);
        for (ptrdiff_t i = 0; i < n; i += kWidth<A>) fetch(i, all);
        return;
    }
    if constexpr (std::is_same_v<A, float>) {
        const LineWeights<whole_pixels ? N : 1> weights(places, n);
        const FirstTaps<T, N> first(image, places, n, reach, finish.border == BorderMode::constant);
        const ptrdiff_t row_bytes = image.row_stride * ptrdiff_t(sizeof(T));
        const ptrdiff_t pixel_bytes = channels * ptrdiff_t(sizeof(T));
        for (ptrdiff_t i = 0, bit = 1; i < n; i += kLanes, bit *= 2) {
            if (first.empty & uint32_t(bit)) {
                for (ptrdiff_t c = 0; c < channels; ++c)
                    for (int lane = 0; lane < kLanes; ++lane) at(c, i + lane) = finish.beside;
                continue;
            }
            const char* const data = (const char*)image.data;
            if constexpr (whole_pixels) {
                const Finish<A> kept = finish;  // not read again after each store
                for (ptrdiff_t lane = i; lane < i + kLanes; ++lane) {
                    const Pixel pixel = kept.template apply<N>(
                        sample_pixel<N, Channels>(data + first.offset[lane], row_bytes, weights, lane));
                    std::memcpy(&at(0, lane), &pixel, sizeof pixel);
                }
                continue;
            }
            const auto right = Weights<N, V>::at(load(places.right + i));
            const auto down = Weights<N, V>::at(load(places.down + i));
            const int32_t* const offset = first.offset + i;
            constexpr int together = std::max(Channels, 1);
            for (ptrdiff_t c = 0; c < channels; c += together) {
                V sums[N][together] = {};  // row by row: what is gathered of all would not fit into registers
                for (int j = 0; j < N; ++j) {
                    const Gathered<T, N, Channels> taps(data + j * row_bytes, offset, pixel_bytes);
                    for (int d = 0; d < together; ++d) {
                        const auto tap = [&](int k) __attribute__((always_inline)) { return taps(k, c + d); };
                        if constexpr (N > 2)
                            for (int k = 0; k < N; ++k) sums[k][d] += down.value[j] * tap(k);
                        else
                            sums[j][d] = right.sum(tap);
                    }
                }
                for (int d = 0; d < together; ++d) {
                    const auto sum_of = [&](int i) __attribute__((always_inline)) { return sums[i][d]; };
                    V values;
                    if constexpr (N > 2)
                        values = right.sum_in_pairs(sum_of);
                    else
                        values = down.sum(sum_of);
                    store(&at(c + d, i), finish.template apply<N>(values));
                }
            }
        }
        for (uint32_t touched = first.touched; touched != 0; touched &= touched - 1) {
            const ptrdiff_t i = __builtin_ctz(touched) * kLanes;
            const Ints is_beyond_reach = first.beyond_reach(i), is_beyond_image = first.beyond_image(i);
            Lanes lanes;
            for (int lane = 0; lane < kLanes; ++lane) {
                if (is_beyond_image[lane])
                    for (ptrdiff_t c = 0; c < channels; ++c) at(c, i + lane) = finish.beside;
                else if (is_beyond_reach[lane])
                    lanes.add(lane);
            }
            fetch(i, lanes);
        }
    }
}

template <class A, class T>
struct Sampler {
    void (*sample)(const Image<const T>&, const Places<A>&, ptrdiff_t, const Finish<A>&, A*);
    bool whole_pixels;
    ptrdiff_t first, last;
};

template <class A, class T, int N>
Sampler<A, T> sampler_for(const Image<const T>& image) {
    if constexpr (std::is_same_v<A, float>) {
        if (image.channels == 1) return {sample<A, T, N, 1>, false, kFirst<N>, kLast<N>};
        if (image.channels == 3) return {sample<A, T, N, 3>, kWholePixels<T, 3>, kFirst<N>, kLast<N>};
        if (image.channels == 4) return {sample<A, T, N, 4>, kWholePixels<T, 4>, kFirst<N>, kLast<N>};
    }
    return {sample<A, T, N, 0>, false, kFirst<N>, kLast<N>};
}

template <class A, class T>
Sampler<A, T> sampler_for(const Image<const T>& image, Interpolation kernel) {
    switch (kernel) {
        case Interpolation::nearest: return sampler_for<A, T, 1>(image);
        case Interpolation::bilinear: return sampler_for<A, T, 2>(image);
        case Interpolation::bicubic: return sampler_for<A, T, 4>(image);
        default: return sampler_for<A, T, 6>(image);
    }
}

// ---- the whole -----------------------------------------------------------------------------------------------------

// n pixels, whole or from the lines of their channels; `room` is for them interleaved.
template <class A, class Out>
void deliver(const A* lines, bool whole_pixels, ptrdiff_t n, const Image<Out>& result, ptrdiff_t y, ptrdiff_t x,
             A* room) {
    Out* const to = result.data + y * result.row_stride + x * result.column_stride;
    const ptrdiff_t channels = result.channels;
    if constexpr (std::is_same_v<A, float>) {
        if (channels > 1 && result.adjacent()) {
            if (!whole_pixels) interleave_lines(room, lines, kTileColumns, channels, divide_up(n, kLanes));
            return store_row(to, whole_pixels ? lines : room, n * channels, 1);
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        const A* line = lines + c * kTileColumns;
        if (whole_pixels) {
            for (ptrdiff_t i = 0; i < n; ++i) room[i] = lines[i * channels + c];
            line = room;
        }
        store_elements(to + c * result.channel_stride, line, n, result.column_stride);
    }
}

template <class A, class In, class Out>
void warp(const Array& image, const Array& result, const Map& map, const Sampling& sampling, int threads) {
    const A top = is_integer<In> && !is_integer<Out> ? A(sizeof(In) == 1 ? 255 : 65535) : A(1);
    const Finish<A> finish{
        A(sampling.constant), A(sampling.low), A(sampling.high), A(1) / top, A(sampling.constant / double(top)),
        sampling.border};
    const Sampler<A, In> sampler = sampler_for<A, In>(image_of<const In>(image, 0), sampling.kernel);

    const ptrdiff_t images = images_in(image);
    const ptrdiff_t rows = result.shape[result.ndim - 3], columns = result.shape[result.ndim - 2];
    const ptrdiff_t channels = result.shape[result.ndim - 1], strips = divide_up(rows, kTaskRows);

    parallel_for(
        images * strips, threads, [&] { return Scratch<A>(size_t(2 * channels * kTileColumns)); },
        [&](ptrdiff_t task, Scratch<A>& scratch) {
            A *const lines = scratch.data(), *const room = lines + channels * kTileColumns;
            const ptrdiff_t index = task / strips, y0 = task % strips * kTaskRows;
            const Image<const In> from = image_of<const In>(image, index);
            const Image<Out> to = image_of<Out>(result, index);
            const ptrdiff_t y1 = std::min(y0 + kTaskRows, rows);
            Places<A> places[2];
            const auto go_through = [&](auto&& locate) {
                for (ptrdiff_t x = 0; x < columns; x += kTileColumns) {
                    const ptrdiff_t n = std::min(kTileColumns, columns - x), whole = round_up(n, kWidth<A>);
                    const auto locate_line = locate(x, n);
                    const auto prepare = [&](ptrdiff_t y, const Places<A>& before) {
                        Places<A>& line = places[y % 2];
                        locate_line(y, line);
                        line.pad(n, whole);
                        announce(from, line, before, n, sampler.first, sampler.last);
                        if (to.adjacent())
                            announce(to.data + y * to.row_stride + x * to.column_stride, n * channels, 1);
                    };
                    prepare(y0, places[y0 % 2]);
                    for (ptrdiff_t y = y0; y < y1; ++y) {
                        if (y + 1 < y1) prepare(y + 1, places[y % 2]);
                        sampler.sample(from, places[y % 2], whole, finish, lines);
                        deliver(lines, sampler.whole_pixels, n, to, y, x, room);
                    }
                }
            };
            with_places<A>(map, index, images, rows, sampling.kernel, go_through);
        });
}

}  // namespace warping

inline void warp(const Array& image, const Array& result, const Map& map, const Sampling& sampling, int threads) {
    visit(image.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using warping::warp;
        using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
        if constexpr (is_integer<T>) {
            if (result.dtype == DType::f32) return warp<A, T, float>(image, result, map, sampling, threads);
        }
        warp<A, T, T>(image, result, map, sampling, threads);
    });
}

}  // namespace fastimg::FASTIMG_TARGET

#include "warp_adjoint.inl"
