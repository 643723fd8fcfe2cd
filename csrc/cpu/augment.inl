// Augment: one pass over each image, strip by strip.
//
// A strip is as many rows of the result as fit into the second-level cache as floats, as a rule the whole image. It is
// gathered tile by tile, so that a turned image is read from a small window, into lines of channels of their own; blurred
// in place, if its image drew that; and then goes to the result line by line, each of which passes through all steps
// while it lies in the first-level cache. The image and the result move through memory once.
//
// The colour map may depend on the mean colour, which is known when the strip is the whole image. Larger images that
// ask for it are gathered twice, once for the mean.
//
// What limits: of uint8 RGB, 16 pixels take 4 gathers of 8 lanes and about 100 instructions for the samples, 50 for
// the colours, and 3 vectors of normal numbers at about 40 each.

#include "support/philox.inl"
#include "warp.inl"

namespace fastimg::FASTIMG_TARGET {

namespace augmentation {

using warping::Image;
using warping::kTileColumns;
using warping::Places;

constexpr ptrdiff_t kStripFloats = ptrdiff_t(1) << 18;  // a megabyte
constexpr ptrdiff_t kCopyBytes = ptrdiff_t(1) << 20;

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

// How far beyond an image of `rows` and `columns` an affine map reaches with its taps, where the result is as large as told.
inline ptrdiff_t reach(const double* m, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t result_rows,
                       ptrdiff_t result_columns) {
    double beyond = 0;
    for (ptrdiff_t y : {ptrdiff_t(0), result_rows - 1}) {
        for (ptrdiff_t x : {ptrdiff_t(0), result_columns - 1}) {
            const double column = m[0] * double(x) + m[1] * double(y) + m[2];
            const double row = m[3] * double(x) + m[4] * double(y) + m[5];
            beyond = std::max({beyond, -column, -row, column - double(columns - 1), row - double(rows - 1)});
        }
    }
    return ptrdiff_t(std::min(beyond, 0x1p30)) + 2;
}

// An image and what its pixels' taps may be taken from without asking: `margin` pixels beyond it, which are there; or
// none, and those whose taps are inside. A pixel has `Channels` elements next to each other.
template <class T, int Channels>
struct Source {
    Image<const T> image;
    ptrdiff_t margin;
    int32_t first = 0, last_column = -1, last_row = -1;

    Source(const Image<const T>& image, ptrdiff_t margin) : image(image), margin(margin), first(int32_t(-margin)) {
        const double extent = double(std::abs(image.row_stride)) * double(image.rows + 2 * margin);
        if (!image.adjacent() || extent * sizeof(T) >= 0x1p31) return;
        const ptrdiff_t excess = margin > 0 ? 0 : warping::Gathered<T, 2, Channels>::excess(Channels);
        last_column = int32_t(image.columns + margin - 2 - excess);
        last_row = int32_t(image.rows + margin - 2);
    }
};

// A copy of an image with a margin of what stands beside it, and room to read a word beyond that.
template <class T>
Image<const T> with_margin(const Image<const T>& image, ptrdiff_t margin, const Border& border, T* to) {
    const ptrdiff_t channels = image.channels, pitch = (image.columns + 2 * margin) * channels;
    T constant;
    store_one(&constant, border.constant);  // exactly
    const auto pixel = [&](T* at, const T* row, ptrdiff_t x) {
        const ptrdiff_t index = border_index(x, image.columns, border.mode);
        for (ptrdiff_t c = 0; c < channels; ++c) at[c] = index < 0 ? constant : row[index * image.column_stride + c];
    };
    for (ptrdiff_t y = -margin; y < image.rows + margin; ++y) {
        T* const line = to + (y + margin) * pitch + margin * channels;
        const ptrdiff_t index = border_index(y, image.rows, border.mode);
        if (index < 0) {
            std::fill_n(line - margin * channels, pitch, constant);
            continue;
        }
        const T* const row = image.data + index * image.row_stride;
        if (image.adjacent())
            std::memcpy(line, row, size_t(image.columns * channels) * sizeof(T));
        else
            for (ptrdiff_t x = 0; x < image.columns; ++x) pixel(line + x * channels, row, x);
        for (ptrdiff_t k = 0; k < margin; ++k) {
            pixel(line - (k + 1) * channels, row, -(k + 1));
            pixel(line + (image.columns + k) * channels, row, image.columns + k);
        }
    }
    return {to + margin * (pitch + channels), image.rows, image.columns, channels, pitch, channels, 1};
}

[[gnu::always_inline]] inline Floats between(Floats a, Floats b, Floats t) {
    return t == 0 ? a : a + t * (b - a);  // a NaN does not count where its weight is 0
}

template <class Taps>
[[gnu::always_inline]] inline Floats interpolated(Floats right, Floats down, const Taps& taps, ptrdiff_t channel) {
    return between(between(taps(0, 0, channel), taps(0, 1, channel), right),
                   between(taps(1, 0, channel), taps(1, 1, channel), right), down);
}

inline Ints clamped(Ints v, int32_t low, int32_t high) {
    v = v < low ? Ints{} + low : v;
    return v > high ? Ints{} + high : v;
}

// Of whole vectors of n pixels at `places`: lines[c * pitch + i].
template <class T, int Channels>
void sample(const Source<T, Channels>& source, const Places<float>& places, ptrdiff_t n, const Border& border,
            float* lines, ptrdiff_t pitch) {
    const Image<const T>& image = source.image;
    for (ptrdiff_t i = 0; i < n; i += kLanes) {
        const Floats right = load(places.right + i), down = load(places.down + i);
        Ints column, row;
        std::memcpy(&column, places.column + i, sizeof column);
        std::memcpy(&row, places.row + i, sizeof row);
        const auto put = [&](const auto& taps) __attribute__((always_inline)) {
            for (int c = 0; c < Channels; ++c)
                store(lines + c * pitch + i, interpolated(right, down, taps, c) * border.unit);
        };
        if (source.margin > 0) {
            column = clamped(column, source.first, source.last_column);
            row = clamped(row, source.first, source.last_row);
            put(warping::Gathered<T, 2, Channels>(image, column, row));
        } else if (!any((column < 0) | (column > source.last_column) | (row < 0) | (row > source.last_row))) {
            put(warping::Gathered<T, 2, Channels>(image, column, row));
        } else {
            put(warping::Fetched<float, T, 2>(image, places, i, 0, border.mode, border.constant));
        }
    }
}

// Rows first .. first + count - 1 of a result of so many `rows`; those beyond its border are its mirror image. `room` is
// for a copy of the image of kCopyBytes.
template <class T>
void gather(const Array& array, const double* matrix, ptrdiff_t first, ptrdiff_t count, ptrdiff_t rows,
            const Border& border, const Field& field, void* room) {
    const Image<const T> image = warping::image_of<const T>(array, 0);
    const bool together = image.channels == 3 && image.adjacent();
    const ptrdiff_t channels = together ? 3 : 1, planes = image.channels / channels;
    // A constant, and pixels that are repeated, are the same from the margin on.
    const bool endless = border.mode == BorderMode::constant || border.mode == BorderMode::nearest;
    ptrdiff_t margin = endless ? 2 : reach(matrix, image.rows, image.columns, rows, field.columns);
    const double elements = double(image.rows + 2 * margin) * double(image.columns + 2 * margin) * double(channels);
    if ((elements + 8) * double(planes * ptrdiff_t(sizeof(T))) > double(kCopyBytes)) margin = 0;

    const auto source_of = [&](ptrdiff_t plane, auto count) {
        constexpr int n = decltype(count)::value;
        const Image<const T> own{image.data + plane * image.channel_stride,
                                 image.rows,
                                 image.columns,
                                 n,
                                 image.row_stride,
                                 image.column_stride,
                                 image.channel_stride};
        if (margin == 0) return Source<T, n>(own, 0);
        T* const to = static_cast<T*>(room) + plane * (ptrdiff_t(elements) + 8);
        return Source<T, n>(with_margin(own, margin, border, to), margin);
    };
    const auto go_through = [&](const auto& sources) {
        Places<float> places;
        for (ptrdiff_t x = 0; x < field.columns; x += kTileColumns) {
            const warping::Products products(matrix, x);
            const ptrdiff_t n = std::min(kTileColumns, field.columns - x), whole = round_up(n, kLanes);
            for (ptrdiff_t row = 0; row < count; ++row) {
                warping::places_of(matrix, products, mirrored_index(first + row, rows), whole, 0.0, places);
                for (ptrdiff_t i = n; i < whole; ++i) {  // what is not wanted is taken from where something is
                    places.column[i] = places.column[n - 1];
                    places.row[i] = places.row[n - 1];
                }
                for (size_t k = 0; k < sources.size(); ++k)
                    sample(sources[k], places, whole, border, field.line(row, ptrdiff_t(k)) + x, field.pitch);
            }
        }
    };
    if (together) return go_through(std::array{source_of(0, std::integral_constant<int, 3>{})});
    std::vector<Source<T, 1>> sources;
    for (ptrdiff_t plane = 0; plane < planes; ++plane)
        sources.push_back(source_of(plane, std::integral_constant<int, 1>{}));
    go_through(sources);
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

    static ptrdiff_t room(ptrdiff_t columns) { return round_up(columns, kChunk) + 2 * kChunk; }

    Draws(Fill fill, uint64_t key, Sample* room) : fill_(fill), key_(key), samples_(room) {}

    // Samples from number `first` on, n of them; what follows may be read as far as a vector goes.
    const Sample* at(ptrdiff_t first, ptrdiff_t n) {
        const ptrdiff_t begin = first / kChunk * kChunk, end = round_up(first + n, kChunk);
        const ptrdiff_t kept = begin >= begin_ && begin < end_ ? end_ - begin : 0;
        std::memmove(samples_, samples_ + (begin - begin_) * (kept > 0), size_t(kept) * sizeof(Sample));
        if (begin + kept < end) fill_(samples_ + kept, begin + kept, end - begin - kept, key_);
        begin_ = begin;
        end_ = std::max(end, begin + kept);
        return samples_ + (first - begin);
    }

private:
    Fill fill_;
    uint64_t key_;
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

// A line in the units of the result, next to each other in memory: n floats. The last of them go by way of another
// vector, so that none is stored one by one.
template <class Out>
void put_line(Out* to, const float* from, ptrdiff_t n, float scale, float offset) {
    ptrdiff_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i) * scale + offset);
    Out rest[kLanes];
    store(rest, load(from + i) * scale + offset);
    std::memcpy(to + i, rest, size_t(n - i) * sizeof(Out));
}

template <class Out>
void deliver(const Field& field, ptrdiff_t row, const Image<Out>& result, ptrdiff_t y, const Finish& finish,
             float* room) {
    Out* const to = result.data + y * result.row_stride;
    const bool interleaved = field.channels > 1 && result.adjacent();
    for (ptrdiff_t c = 0; c < field.channels; ++c) {
        float* const line = field.line(row, c);
        if (!interleaved && result.column_stride == 1) {
            put_line(to + c * result.channel_stride, line, field.columns, finish.scale[c], finish.offset[c]);
            continue;
        }
        put_line(line, line, field.columns, finish.scale[c], finish.offset[c]);
        if (!interleaved) store_row(to + c * result.channel_stride, line, field.columns, result.column_stride);
    }
    if (!interleaved) return;
    interleave_lines(room, field.line(row, 0), field.pitch, field.channels, divide_up(field.columns, kLanes));
    put_line(to, room, field.columns * field.channels, 1.0f, 0.0f);
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
    size_t scratch_floats() const { return field_floats() + line_floats() + size_t(kCopyBytes) / sizeof(float); }

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
        const ptrdiff_t draws_room = Draws<float>::room(columns_);
        std::vector<Draws<float>> noise;
        for (ptrdiff_t c = 0; c < channels_; ++c)
            noise.emplace_back(fill_normals, what.noise_key, normals + c * draws_room);
        Draws<uint32_t> impulses(fill_words, what.impulse_key, (uint32_t*)(normals + channels_ * draws_room));
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
                deliver(field, row, warping::image_of<Out>(result_, image), y, finish_, room);
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
