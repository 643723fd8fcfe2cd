// Augment: one pass over each image, strip by strip.
//
// A strip is as many rows of the result as fit into the second-level cache as floats, as a rule the whole image. It is
// gathered into lines of channels of their own; blurred in place, if its image drew that; and then goes to the result line
// by line, each of which passes through all steps while it lies in the first-level cache. The image and the result move
// through memory once.
//
// Strips are gathered tile by tile. Of each the window of the image that it shows is copied first, with what stands
// beyond the border, so that whatever the layout and the border all samples are gathered alike, without a branch.
//
// The colour map may depend on the mean colour, which is known when the strip is the whole image. Larger images that
// ask for it are gathered twice, once for the mean.
//
// What limits: of uint8 RGB, 16 pixels take 32 loads and about 130 instructions for the samples, 50 for
// the colours, and 3 vectors of normal numbers at about 90 each.

#include "support/gather.inl"
#include "support/interleave.inl"
#include "support/philox.inl"

namespace fastimg::FASTIMG_TARGET {

namespace augmentation {

constexpr ptrdiff_t kStripFloats = ptrdiff_t(1) << 18;  // a megabyte
constexpr ptrdiff_t kTile = 128;                        // rows and columns, a multiple of every vector
constexpr ptrdiff_t kWindowBytes = ptrdiff_t(1) << 22;  // of which a tile that is not shrunk takes little

// What stands beside an image, in its units, and what takes them to [0, 1].
struct Border {
    BorderMode mode;
    float constant, unit;
};

// Where a strip lies while it is worked on: its lines, channel by channel, row by row.
struct Field {
    float* data;
    ptrdiff_t columns, channels, pitch;

    float* line(ptrdiff_t row, ptrdiff_t channel) const { return data + (row * channels + channel) * pitch; }
};

// ---- gather --------------------------------------------------------------------------------------------------------

// Of an axis of an image: the pixels begin .. begin + length - 1, which hold both taps of all places from `begin` to `last`.
struct Range {
    ptrdiff_t begin, last, length;

    // For places from `low` to `high`. What is beyond an axis of n pixels is told by two of them if it is `endless`: the
    // same everywhere.
    Range(double low, double high, ptrdiff_t n, bool endless) {
        const double least = endless ? -2 : -0x1p30, most = endless ? double(n) : 0x1p30;
        begin = ptrdiff_t(std::clamp(std::floor(low) - 1, least, most));  // one more on either side: places are rounded
        last = ptrdiff_t(std::clamp(std::floor(high) + 1, least, most));
        length = last - begin + 2;
    }
};

// A tile of the result: columns x .. x + columns - 1 of `count` rows, whose numbers `row` gives.
struct Tile {
    ptrdiff_t x, columns, count;
    const ptrdiff_t* row;
};

// Where a tile lies in the image.
struct Window {
    Range columns, rows;

    Window(const double* m, const Tile& tile, ptrdiff_t image_rows, ptrdiff_t image_columns, bool endless)
        : columns(range(m, tile, image_columns, endless)), rows(range(m + 3, tile, image_rows, endless)) {}

    static Range range(const double* m, const Tile& tile, ptrdiff_t n, bool endless) {
        const auto [first, last] = std::minmax_element(tile.row, tile.row + tile.count);
        double low = 0x1p60, high = -0x1p60;
        for (ptrdiff_t x : {tile.x, tile.x + tile.columns - 1}) {
            for (ptrdiff_t y : {*first, *last}) {
                const double place = m[0] * double(x) + m[1] * double(y) + m[2];
                low = std::min(low, place);
                high = std::max(high, place);
            }
        }
        return Range(low, high, n, endless);
    }
    double elements() const { return double(columns.length) * double(rows.length); }
};

// The pixels of a window one after the other, `kChannels` from `channel` on of each.
template <int kChannels, class T>
void copy_window(const View<const T, 3>& image, ptrdiff_t channel, const Window& window, const Border& border, T* to) {
    const ptrdiff_t rows = image.shape[0], columns = image.shape[1];
    const ptrdiff_t inside = std::clamp<ptrdiff_t>(window.columns.begin, 0, columns);  // columns that are in the image
    const ptrdiff_t outside = std::clamp<ptrdiff_t>(window.columns.begin + window.columns.length, inside, columns);
    const bool adjacent = image.stride[1] == kChannels && (kChannels == 1 || image.stride[2] == 1);
    T constant;
    store_one(&constant, border.constant);  // exactly
    for (ptrdiff_t i = 0; i < window.rows.length; ++i) {
        T* at = to + i * window.columns.length * kChannels;
        const ptrdiff_t y = border_index(window.rows.begin + i, rows, border.mode);
        if (y < 0) {
            std::fill_n(at, window.columns.length * kChannels, constant);
            continue;
        }
        const T* const row = image.at(y, 0, channel);
        const auto put = [&](ptrdiff_t x) {
            for (ptrdiff_t c = 0; c < kChannels; ++c) *at++ = row[x * image.stride[1] + c * image.stride[2]];
        };
        const auto put_beside = [&](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t x = begin; x < end; ++x) {
                const ptrdiff_t index = border_index(x, columns, border.mode);
                if (index >= 0)
                    put(index);
                else
                    for (ptrdiff_t c = 0; c < kChannels; ++c) *at++ = constant;
            }
        };
        const ptrdiff_t end = window.columns.begin + window.columns.length;
        put_beside(window.columns.begin, std::min<ptrdiff_t>(end, inside));
        if (adjacent) {
            std::memcpy(at, row + inside * kChannels, size_t((outside - inside) * kChannels) * sizeof(T));
            at += (outside - inside) * kChannels;
        } else {
            for (ptrdiff_t x = inside; x < outside; ++x) put(x);
        }
        put_beside(std::max(outside, window.columns.begin), end);
    }
}

// Two neighbouring pixels of each lane.
template <class T, int kChannels>
struct Pair {
    static constexpr int kWords = (2 * kChannels * int(sizeof(T)) + 3) / 4;
    Ints words[kWords];

    [[gnu::always_inline]] Pair(const T* from, const int32_t* offset) {
        for (int word = 0; word + 1 < kWords; word += 2)
            gather_pairs((const char*)from + 4 * word, offset, words[word], words[word + 1]);
        if constexpr (kWords % 2 == 1) words[kWords - 1] = gather_words((const char*)from + 4 * (kWords - 1), offset);
    }
    [[gnu::always_inline]] Floats operator()(int k, int channel) const {
        const int byte = (k * kChannels + channel) * int(sizeof(T));
        return element_of<T>(words[byte / 4], 8 * (byte % 4));
    }
};

[[gnu::always_inline]] inline Floats between(Floats a, Floats b, Floats t) {
    return t == 0 ? a : a + t * (b - a);  // a NaN does not count where its weight is 0
}

// Places begin + step i of the lanes i from x on, as pixels of a range, within it, and what is between them. Where the
// first of them is, is computed in double, and how far the others are from there in float.
struct Places {
    Ints whole;
    Floats rest;

    [[gnu::always_inline]] Places(double begin, double step, ptrdiff_t x, const Range& range) {
        const double last = double(range.last - range.begin);
        const double first = begin - double(range.begin) + step * double(x);
        const double below = std::clamp(std::floor(first), -0x1p21, 0x1p21);  // the sums below stay below 2^22
        Floats lane;
        for (int i = 0; i < kLanes; ++i) lane[i] = float(i);
        Floats place = lane * float(step) + float(first - below);
        place = min(max(place, broadcast(float(-below))), broadcast(float(last - below)));
        const Floats under = floor_of(place);
        rest = place - under;
        whole = __builtin_convertvector(under, Ints) + int32_t(below);
    }

    [[gnu::always_inline]] static Floats floor_of(Floats x) {
#if FASTIMG_LEVEL >= 4 && !defined(FASTIMG_EMULATE_AVX512)
        return (Floats)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif FASTIMG_LEVEL == 3
        return (Floats)_mm256_floor_ps((__m256)x);
#else
        return floor(x);
#endif
    }
};

// A tile from its window, channels from `channel` on; row i goes to row i of the field.
template <int kChannels, class T>
void sample(const T* pixels, const Window& window, const double* m, const Tile& tile, float unit, const Field& field,
            ptrdiff_t channel) {
    constexpr int32_t pixel_bytes = kChannels * int32_t(sizeof(T));
    const int32_t row_bytes = int32_t(window.columns.length) * pixel_bytes;
    const T* const below = pixels + window.columns.length * kChannels;
    alignas(64) int32_t offset[kTile];  // of a row at a time, so that it has left the registers when lanes are loaded
    alignas(64) float right[kTile], down[kTile];
    for (ptrdiff_t i = 0; i < tile.count; ++i) {
        const double y = double(tile.row[i]);
        for (ptrdiff_t x = 0; x < tile.columns; x += kLanes) {
            const Places column(m[1] * y + m[2], m[0], tile.x + x, window.columns);
            const Places row(m[4] * y + m[5], m[3], tile.x + x, window.rows);
            const Ints bytes = row.whole * row_bytes + column.whole * pixel_bytes;
            std::memcpy(offset + x, &bytes, sizeof bytes);
            store(right + x, column.rest);
            store(down + x, row.rest);
        }
        for (ptrdiff_t x = 0; x < tile.columns; x += kLanes) {
            const Pair<T, kChannels> upper(pixels, offset + x), lower(below, offset + x);
            for (int c = 0; c < kChannels; ++c) {
                const Floats a = between(upper(0, c), upper(1, c), load(right + x));
                const Floats b = between(lower(0, c), lower(1, c), load(right + x));
                store(field.line(i, channel + c) + tile.x + x, between(a, b, load(down + x)) * unit);
            }
        }
    }
}

// The same one by one, for windows that are larger than they may be: of tiles that shrink the image very much.
template <class T>
void fetch(const View<const T, 3>& image, const double* m, const Tile& tile, const Border& border, const Field& field) {
    const auto clamped = [](double place) { return std::clamp(place, -0x1p30, 0x1p30); };
    for (ptrdiff_t i = 0; i < tile.count; ++i) {
        for (ptrdiff_t x = tile.x; x < tile.x + tile.columns; ++x) {
            const double y = double(tile.row[i]);
            const double column = clamped(m[0] * double(x) + (m[1] * y + m[2]));
            const double row = clamped(m[3] * double(x) + (m[4] * y + m[5]));
            const auto left = ptrdiff_t(std::floor(column)), top = ptrdiff_t(std::floor(row));
            const auto right = float(column - double(left)), down = float(row - double(top));
            for (ptrdiff_t c = 0; c < field.channels; ++c) {
                const auto tap = [&](ptrdiff_t j, ptrdiff_t k) {
                    const ptrdiff_t v = border_index(top + j, image.shape[0], border.mode);
                    const ptrdiff_t u = border_index(left + k, image.shape[1], border.mode);
                    return u < 0 || v < 0 ? border.constant : load_float(image.at(v, u, c));
                };
                const auto mixed = [](float a, float b, float t) { return t == 0 ? a : a + t * (b - a); };
                const float value = mixed(mixed(tap(0, 0), tap(0, 1), right), mixed(tap(1, 0), tap(1, 1), right), down);
                field.line(i, c)[x] = value * border.unit;
            }
        }
    }
}

// Rows first .. first + count - 1 of a result of so many `rows`; those beyond its border are its mirror image. `room` is
// for kWindowBytes.
template <class T>
void gather(const Array& array, const double* matrix, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows,
            const Border& border, const Field& field, void* room) {
    const View<const T, 3> image = view<const T, 3>(array);
    const bool endless = border.mode == BorderMode::constant || border.mode == BorderMode::nearest;
    T* const pixels = static_cast<T*>(room);
    for (ptrdiff_t row = 0; row < count; row += kTile) {
        ptrdiff_t numbers[kTile];
        const ptrdiff_t tile_rows = std::min(kTile, count - row);
        for (ptrdiff_t i = 0; i < tile_rows; ++i) numbers[i] = mirrored_index(first + row + i, rows);
        const Field part{field.line(row, 0), field.columns, field.channels, field.pitch};
        for (ptrdiff_t x = 0; x < field.columns; x += kTile) {
            const Tile tile{x, std::min(kTile, field.columns - x), tile_rows, numbers};
            const Window window(matrix, tile, image.shape[0], image.shape[1], endless);
            const auto show = [&](auto channels, ptrdiff_t channel) {
                copy_window<channels>(image, channel, window, border, pixels);
                sample<channels>(pixels, window, matrix, tile, border.unit, part, channel);
            };
            const bool together = image.shape[2] == 3;
            if (window.elements() * double((together ? 3 : 1) * sizeof(T)) + 8 > double(kWindowBytes)) {
                fetch(image, matrix, tile, border, part);
            } else if (together) {
                show(std::integral_constant<int, 3>{}, 0);
            } else {
                for (ptrdiff_t c = 0; c < image.shape[2]; ++c) show(std::integral_constant<int, 1>{}, c);
            }
        }
    }
}

// ---- blur ----------------------------------------------------------------------------------------------------------

inline ptrdiff_t blur_radius(float sigma) { return ptrdiff_t(4 * double(sigma) + 0.5); }

inline std::vector<float> blur_taps(float sigma) {  // at distances 0, 1, ...; their sum with their mirror image is 1
    std::vector<double> taps(size_t(blur_radius(sigma)) + 1);
    double total = 0;
    for (size_t k = 0; k < taps.size(); ++k) {
        taps[k] = std::exp(-0.5 * double(k * k) / (double(sigma) * double(sigma)));
        total += k == 0 ? taps[k] : 2 * taps[k];
    }
    std::vector<float> normalised;
    for (double tap : taps) normalised.push_back(float(tap / total));
    return normalised;
}

// The field holds `radius` rows more on either side; afterwards row 0 is the first that counts. `line` has room for
// one line and `radius` places on either side.
inline void blur(const Field& field, ptrdiff_t rows, const std::vector<float>& taps, float* line) {
    const ptrdiff_t radius = ptrdiff_t(taps.size()) - 1, columns = field.columns;
    float* const middle = line + round_up(radius, kLanes);
    for (ptrdiff_t row = 0; row < rows; ++row) {
        for (ptrdiff_t c = 0; c < field.channels; ++c) {
            for (ptrdiff_t x = 0; x < columns; x += kLanes) {
                Floats sum = taps[0] * load(field.line(row + radius, c) + x);
                for (ptrdiff_t k = 1; k <= radius; ++k)
                    sum += taps[size_t(k)] *
                           (load(field.line(row + radius - k, c) + x) + load(field.line(row + radius + k, c) + x));
                store(middle + x, sum);
            }
            for (ptrdiff_t k = 1; k <= radius; ++k) {
                middle[-k] = middle[mirrored_index(-k, columns)];
                middle[columns - 1 + k] = middle[mirrored_index(columns - 1 + k, columns)];
            }
            for (ptrdiff_t x = 0; x < columns; x += kLanes) {
                Floats sum = taps[0] * load(middle + x);
                for (ptrdiff_t k = 1; k <= radius; ++k)
                    sum += taps[size_t(k)] * (load(middle + x - k) + load(middle + x + k));
                store(field.line(row, c) + x, sum);
            }
        }
    }
}

// ---- colours and noise, line by line -------------------------------------------------------------------------------

inline Floats clipped(Floats v) { return min(broadcast(1.0f), max(Floats{}, v)); }  // NaN stays

using Color = std::array<double, 3>;

inline Color sum_of(const Field& field, ptrdiff_t rows) {
    Color sum{};
    for (ptrdiff_t row = 0; row < rows; ++row) {
        for (ptrdiff_t c = 0; c < field.channels; ++c) {
            const float* const line = field.line(row, c);
            Floats total{};
            ptrdiff_t x = 0;
            for (; x + kLanes <= field.columns; x += kLanes) total += load(line + x);
            float rest = 0;
            for (; x < field.columns; ++x) rest += line[x];
            for (int lane = 0; lane < kLanes; ++lane) rest += total[lane];
            sum[size_t(c)] += double(rest);
        }
    }
    return sum;
}

inline void recolor(const Field& field, ptrdiff_t row, const Augmentation& what, const Color& mean) {
    float offset[3];
    for (int c = 0; c < 3; ++c) {
        offset[c] = what.offset[c];
        for (int k = 0; k < 3; ++k) offset[c] += what.mean_color[3 * c + k] * float(mean[size_t(k)]);
    }
    const float* const m = what.color;
    float* const red = field.line(row, 0);
    if (field.channels == 1) {
        for (ptrdiff_t x = 0; x < field.columns; x += kLanes) store(red + x, clipped(m[0] * load(red + x) + offset[0]));
        return;
    }
    float *const green = field.line(row, 1), *const blue = field.line(row, 2);
    for (ptrdiff_t x = 0; x < field.columns; x += kLanes) {
        const Floats r = load(red + x), g = load(green + x), b = load(blue + x);
        store(red + x, clipped(m[0] * r + m[1] * g + m[2] * b + offset[0]));
        store(green + x, clipped(m[3] * r + m[4] * g + m[5] * b + offset[1]));
        store(blue + x, clipped(m[6] * r + m[7] * g + m[8] * b + offset[2]));
    }
}

// A window of a random field that moves from line to line, so that no sample is drawn twice.
template <class Sample>
class Draws {
public:
    using Fill = void (*)(Sample* to, ptrdiff_t first, ptrdiff_t n, uint64_t key);

    static ptrdiff_t room(ptrdiff_t columns) { return round_up(columns, kChunk) + kWindow; }

    // Samples up to number `last` will be wanted.
    Draws(Fill fill, uint64_t key, ptrdiff_t last, Sample* room)
        : fill_(fill), key_(key), last_(round_up(last, kChunk)), samples_(room) {}

    // Samples from number `first` on, n of them; what follows may be read as far as a vector goes.
    const Sample* at(ptrdiff_t first, ptrdiff_t n) {
        if (first + n > end_) {
            const ptrdiff_t begin = first / kChunk * kChunk, kept = std::max<ptrdiff_t>(end_ - begin, 0);
            if (kept > 0) std::memmove(samples_, samples_ + (begin - begin_), size_t(kept) * sizeof(Sample));
            begin_ = begin;
            end_ = std::min(last_, std::max(round_up(first + n, kChunk), begin + kWindow / 2));
            fill_(samples_ + kept, begin + kept, end_ - begin - kept, key_);
        }
        return samples_ + (first - begin_);
    }

private:
    static constexpr ptrdiff_t kWindow = 2048;

    Fill fill_;
    uint64_t key_;
    ptrdiff_t last_;
    Sample* samples_;
    ptrdiff_t begin_ = 0, end_ = 0;
};

inline void add_noise(float* line, ptrdiff_t columns, const float* normals, float deviation) {
    for (ptrdiff_t x = 0; x < columns; x += kLanes)
        store(line + x, clipped(load(line + x) + deviation * load(normals + x)));
}

// 31 bits of each word, so that words and thresholds compare as signed integers.
inline void put_impulses(float* line, ptrdiff_t columns, const uint32_t* words, float salt, float pepper) {
    const auto threshold = [](double share) { return int32_t(int64_t(share * 0x1p31 + 0.5) - 1); };
    const int32_t salted = threshold(double(salt)), chosen = threshold(double(salt) + double(pepper));
    for (ptrdiff_t x = 0; x < columns; x += kLanes) {
        Words drawn;
        std::memcpy(&drawn, words + x, sizeof drawn);
        const Ints word = (Ints)(drawn >> 1);
        const Floats peppered = word <= chosen ? Floats{} : load(line + x);
        store(line + x, word <= salted ? broadcast(1.0f) : peppered);
    }
}

// n floats in the units of the result. The last vector overlaps the one before, so that none is stored one by one; a line
// shorter than a vector goes by way of another.
template <class Out>
void put_line(Out* to, const float* from, ptrdiff_t n, float scale, float offset) {
    const auto put = [&](Out* at, ptrdiff_t i) { store(at, load(from + i) * scale + offset); };
    for (ptrdiff_t i = 0; i + kLanes <= n; i += kLanes) put(to + i, i);
    if (n % kLanes == 0) return;
    if (n > kLanes) return put(to + n - kLanes, n - kLanes);
    Out rest[kLanes];
    put(rest, 0);
    std::memcpy(to, rest, size_t(n) * sizeof(Out));
}

// A row of the field to row y of an image of the result.
template <class Out>
void deliver(const Field& field, ptrdiff_t row, const View<Out, 4>& result, ptrdiff_t image, ptrdiff_t y,
             const Finish& finish, float* room) {
    const ptrdiff_t step = result.stride[2];
    const bool interleaved = field.channels > 1 && step == field.channels && result.stride[3] == 1;
    for (ptrdiff_t c = 0; c < field.channels; ++c) {
        float* const line = field.line(row, c);
        if (!interleaved && step == 1) {
            put_line(result.at(image, y, 0, c), line, field.columns, finish.scale[c], finish.offset[c]);
            continue;
        }
        for (ptrdiff_t x = 0; x < field.columns; x += kLanes)
            store(line + x, load(line + x) * finish.scale[c] + finish.offset[c]);
        if (!interleaved) store_row(result.at(image, y, 0, c), line, field.columns, step);
    }
    if (!interleaved) return;
    interleave_lines(room, field.line(row, 0), field.pitch, field.channels, divide_up(field.columns, kLanes));
    put_line(result.at(image, y, 0, 0), room, field.columns * field.channels, 1.0f, 0.0f);
}

// ---- the whole -----------------------------------------------------------------------------------------------------

// Calls `f` with one of the types that images may have here.
template <class F>
void visit_image(DType dtype, F&& f) {
    visit(dtype, [&](auto type) {
        if constexpr (!std::is_same_v<typename decltype(type)::type, double>) f(type);
    });
}

class Batch {
public:
    Batch(const std::vector<Array>& images, const Array& result, const Augmentation* augmentations,
          const Finish& finish)
        : images_(images), result_(result), augmentations_(augmentations), finish_(finish) {
        rows_ = result.shape[1];
        columns_ = result.shape[2];
        channels_ = result.shape[3];
        pitch_ = round_up(columns_, kChunk);
        strips_ = divide_up(rows_, std::max<ptrdiff_t>(kStripFloats / (pitch_ * channels_), 1));
        strip_rows_ = divide_up(rows_, strips_);
        float sigma = 0;
        for (size_t i = 0; i < images.size(); ++i) sigma = std::max(sigma, augmentations[i].blur);
        most_radius_ = blur_radius(sigma);
    }

    void run(int threads) const {
        const ptrdiff_t images = ptrdiff_t(images_.size());
        const std::vector<Color> sums = strips_ == 1 ? std::vector<Color>() : sums_of_strips(threads);
        parallel_for(
            images * strips_, threads, [&] { return Scratch<float>(scratch_floats()); },
            [&](ptrdiff_t task, Scratch<float>& scratch) {
                const ptrdiff_t image = task / strips_, first = task % strips_ * strip_rows_;
                const Field field = gathered(image, first, scratch);
                Color mean{};
                if (augmentations_[image].about_mean)
                    mean = strips_ == 1 ? divided(sum_of(field, rows_)) : mean_of(sums, image);
                finish(image, first, field, mean, scratch.data() + field_floats());
            });
    }

private:
    size_t field_floats() const { return size_t((strip_rows_ + 2 * most_radius_) * channels_ * pitch_); }

    // One line of all channels, interleaved, and the random numbers of such a line and of impulses; or, before that, the
    // line of a blur.
    size_t line_floats() const {
        const ptrdiff_t finishing = channels_ * pitch_ + (channels_ + 1) * Draws<float>::room(columns_);
        const ptrdiff_t blurring = pitch_ + 2 * round_up(most_radius_ + kLanes, kLanes);
        return size_t(round_up(std::max(finishing, blurring), kChunk));  // what follows is aligned
    }

    // The field, what is put beside it in turn, and the copy of the image.
    size_t scratch_floats() const { return field_floats() + line_floats() + size_t(kWindowBytes) / sizeof(float); }

    ptrdiff_t rows_of(ptrdiff_t first) const { return std::min(strip_rows_, rows_ - first); }

    Field gathered(ptrdiff_t image, ptrdiff_t first, Scratch<float>& scratch) const {
        const Field field{scratch.data(), columns_, channels_, pitch_};
        const Augmentation& what = augmentations_[image];
        const ptrdiff_t radius = blur_radius(what.blur), count = rows_of(first);
        float* const beside = scratch.data() + field_floats();
        visit_image(images_[size_t(image)].dtype, [&](auto type) {
            using T = typename decltype(type)::type;
            const float top = is_integer<T> ? (sizeof(T) == 1 ? 255.0f : 65535.0f) : 1.0f;
            T constant;  // in the image's dtype, where it may come to lie beside the image
            store_one(&constant, finish_.constant * top);
            const Border border{finish_.border, load_float(&constant), 1 / top};
            gather<T>(images_[size_t(image)], what.matrix, first - radius, count + 2 * radius, rows_, border, field,
                      beside + line_floats());
        });
        if (radius > 0) blur(field, count, blur_taps(what.blur), beside);
        return field;
    }

    std::vector<Color> sums_of_strips(int threads) const {
        std::vector<Color> sums(images_.size() * size_t(strips_));
        parallel_for(
            ptrdiff_t(sums.size()), threads, [&] { return Scratch<float>(scratch_floats()); },
            [&](ptrdiff_t task, Scratch<float>& scratch) {
                const ptrdiff_t image = task / strips_, first = task % strips_ * strip_rows_;
                if (augmentations_[image].about_mean)
                    sums[size_t(task)] = sum_of(gathered(image, first, scratch), rows_of(first));
            });
        return sums;
    }

    Color mean_of(const std::vector<Color>& sums, ptrdiff_t image) const {
        Color total{};
        for (ptrdiff_t strip = 0; strip < strips_; ++strip)
            for (size_t c = 0; c < 3; ++c) total[c] += sums[size_t(image * strips_ + strip)][c];
        return divided(total);
    }

    Color divided(Color sum) const {
        for (double& channel : sum) channel /= double(rows_ * columns_);
        return sum;
    }

    void finish(ptrdiff_t image, ptrdiff_t first, const Field& field, const Color& mean, float* room) const {
        const Augmentation& what = augmentations_[image];
        float* const normals = room + channels_ * pitch_;
        const ptrdiff_t draws_room = Draws<float>::room(columns_), last = (first + rows_of(first)) * columns_;
        std::vector<Draws<float>> noise;
        for (ptrdiff_t c = 0; c < channels_; ++c)
            noise.emplace_back(fill_normals, what.noise_key, c * rows_ * columns_ + last, normals + c * draws_room);
        Draws<uint32_t> impulses(fill_words, what.impulse_key, last, (uint32_t*)(normals + channels_ * draws_room));
        for (ptrdiff_t row = 0; row < rows_of(first); ++row) {
            const ptrdiff_t y = first + row;
            if (what.recolored) recolor(field, row, what, mean);
            if (what.noise > 0)
                for (ptrdiff_t c = 0; c < channels_; ++c)
                    add_noise(field.line(row, c), columns_, noise[size_t(c)].at((c * rows_ + y) * columns_, columns_),
                              what.noise);
            if (what.salt + what.pepper > 0) {
                const uint32_t* const words = impulses.at(y * columns_, columns_);
                for (ptrdiff_t c = 0; c < channels_; ++c)
                    put_impulses(field.line(row, c), columns_, words, what.salt, what.pepper);
            }
            for (ptrdiff_t k = 0; k < finish_.rectangles; ++k) {
                const Rectangle& r = finish_.rectangle[image * finish_.rectangles + k];
                if (y < r.top || y >= r.bottom) continue;
                for (ptrdiff_t c = 0; c < channels_; ++c)
                    std::fill(field.line(row, c) + r.left, field.line(row, c) + std::max(r.left, r.right),
                              finish_.fill[k * channels_ + c]);
            }
            visit_image(result_.dtype, [&](auto type) {
                using Out = typename decltype(type)::type;
                deliver(field, row, view<Out, 4>(result_), image, y, finish_, room);
            });
        }
    }

    const std::vector<Array>& images_;
    const Array& result_;
    const Augmentation* augmentations_;
    const Finish& finish_;
    ptrdiff_t rows_, columns_, channels_, pitch_, strips_, strip_rows_, most_radius_;
};

// ---- mixing --------------------------------------------------------------------------------------------------------

constexpr ptrdiff_t kMixed = 1024;  // elements of an image that are mixed together

// For all images, from the last on, in place: each reads a predecessor that has not been changed but the first, for
// which the last has been kept.
template <class T>
void mix(const Array& images, const float* weights, int threads) {
    Array first = images;  // without the axis of images
    --first.ndim;
    for (int axis = 0; axis < first.ndim; ++axis) {
        first.shape[axis] = images.shape[axis + 1];
        first.stride[axis] = images.stride[axis + 1];
    }
    const Rows<1> rows({&first});
    const ptrdiff_t count = images.shape[0], pieces = divide_up(rows.length(), kMixed), stride = rows.stride(0);
    parallel_for(rows.count() * pieces, threads, [&](ptrdiff_t task) {
        const ptrdiff_t begin = task % pieces * kMixed, n = std::min(kMixed, rows.length() - begin);
        T* const from = static_cast<T*>(images.data) + rows.offset(0, task / pieces) + begin * stride;
        float last[kMixed], lines[2][kMixed];
        load_row(last, from + (count - 1) * images.stride[0], n, stride);
        const float* own = last;
        for (ptrdiff_t i = count - 1; i >= 0; --i) {
            float* const line = lines[i % 2];
            if (i > 0) load_row(line, from + (i - 1) * images.stride[0], n, stride);
            const float* const before = i > 0 ? line : last;
            if (weights[i] != 1) {
                float mixed[kMixed];
                for (ptrdiff_t k = 0; k < n; ++k) mixed[k] = before[k] + weights[i] * (own[k] - before[k]);
                store_row(from + i * images.stride[0], mixed, n, stride);
            }
            own = before;
        }
    });
}

}  // namespace augmentation

inline void augment(const std::vector<Array>& images, const Array& result, const Augmentation* augmentations,
                    const Finish& finish, int threads) {
    augmentation::Batch(images, result, augmentations, finish).run(threads);
}

inline void mix(const Array& images, const float* weights, int threads) {
    augmentation::visit_image(
        images.dtype, [&](auto type) { augmentation::mix<typename decltype(type)::type>(images, weights, threads); });
}

}  // namespace fastimg::FASTIMG_TARGET
