// Non-local means, Gaussian filters, warping and networks of the CPU on images of odd sizes and dtypes, for a sanitizer to watch: all
// instruction sets, one thread and several, whose results must be equal. Ends with 0 if all is well.
#include "conv2d.hpp"
#include "conv_transpose2d.hpp"
#include "denoise_nl_means.hpp"
#include "gaussian.hpp"
#include "gaussian_recursive.hpp"
#include "support/targets.hpp"
#include "warp.hpp"

#include <cstdio>
#include <cstring>
#include <random>
#include <string>

using namespace fastimg;

namespace {

// An image in memory of exactly its size, so that what is read or written beside it is seen.
class Image {
public:
    Image(DType dtype, std::vector<ptrdiff_t> shape) : dtype_(dtype), shape_(std::move(shape)) {
        size_t count = 1;
        for (ptrdiff_t n : shape_) count *= size_t(n);
        memory_.resize(count * size_of(dtype));
        std::mt19937 random{unsigned(count)};
        for (size_t i = 0; i < count; ++i) put(i, float(random() % 256) / (is_whole() ? 1.0f : 255.0f));
    }

    Array array() {
        Array a{memory_.data(), dtype_, int(shape_.size()), {}, {}};
        ptrdiff_t stride = 1;
        for (int axis = a.ndim - 1; axis >= 0; --axis) {
            a.shape[axis] = shape_[size_t(axis)];
            a.stride[axis] = stride;
            stride *= a.shape[axis];
        }
        return a;
    }

    bool operator==(const Image& other) const { return memory_ == other.memory_; }

private:
    static size_t size_of(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::u16 ? 2 : 4; }
    bool is_whole() const { return dtype_ != DType::f32; }
    void put(size_t i, float value) {
        if (dtype_ == DType::u8)
            memory_[i] = uint8_t(value);
        else if (dtype_ == DType::u16) {
            const uint16_t whole = uint16_t(value * 257);
            std::memcpy(&memory_[2 * i], &whole, 2);
        } else
            std::memcpy(&memory_[4 * i], &value, 4);
    }

    DType dtype_;
    std::vector<ptrdiff_t> shape_;
    std::vector<uint8_t> memory_;
};

int failures = 0;

// Runs f(threads, result) with one thread and with four.
template <class F>
void compare_threads(const std::string& what, const Image& like, F&& f) {
    Image one = like, four = like;
    f(1, one.array());
    f(4, four.array());
    if (one == four) return;
    std::printf("%s: the result depends on the number of threads\n", what.c_str());
    ++failures;
}

NlMeans parameters(int patch, int distance, float unit) {
    NlMeans p{};
    p.patch_before = (patch - 1) / 2;
    p.patch_after = patch / 2;
    p.distance = distance;
    p.scale = 1 / (0.2f * unit * unit * float(patch * patch));
    p.excess = 0.01f / p.scale;
    p.cutoff = 5 / p.scale;
    p.gain = 1;
    return p;
}

void denoise(const std::string& target) {
    const NlMeansMaps no_maps;
    for (DType dtype : {DType::u8, DType::u16, DType::f32}) {
        const float unit = dtype == DType::u8 ? 255.0f : dtype == DType::u16 ? 65535.0f : 1.0f;
        for (const auto& shape : std::vector<std::vector<ptrdiff_t>>{{1, 1, 1, 1, 1},
                                                                     {1, 1, 5, 3, 1},
                                                                     {1, 1, 99, 200, 1},
                                                                     {1, 1, 21, 33, 3},
                                                                     {1, 1, 9, 17, 4},
                                                                     {1, 4, 7, 18, 1}}) {
            Image image(dtype, shape);
            for (int patch : {4, 7, 9}) {
                for (bool general : {false, true}) {
                    NlMeans p = parameters(patch, 1, unit);
                    if (shape[1] > 1) p.outer[1] = {general, 1, !general};
                    p.truncated = general;
                    if (general) {
                        p.taps.assign(size_t(patch), 1.0f / float(patch));
                        p.weighting = Weighting::bisquare;
                        p.centre = 0.5f;
                    }
                    const Array from = image.array();
                    compare_threads(target + " denoise_nl_means", image, [&](int threads, const Array& result) {
                        denoise_nl_means(from, from, no_maps, result, p, threads);
                    });
                }
                if (dtype == DType::f32) continue;
                const WeightTable table{{19096, 9000, 400, 30, 0}, patch == 7 ? 6 : 3, 0.0, dtype == DType::u16};
                const Array from = image.array();
                NlMeans p = parameters(patch, 1, unit);
                compare_threads(target + " denoise_nl_means_by_table", image, [&](int threads, const Array& result) {
                    denoise_nl_means_by_table(from, from, result, p, table, threads);
                });
            }
        }
        Image image(dtype, {1, 1, 40, 50, 1}), h(DType::f32, {1, 1, 40, 50}), guide(DType::f32, {1, 1, 40, 50, 2});
        const Array from = image.array(), compared = guide.array();
        NlMeansMaps maps;
        maps.h = maps.sigma = h.array();
        compare_threads(target + " denoise_nl_means with maps", image, [&](int threads, const Array& result) {
            denoise_nl_means(from, compared, maps, result, parameters(6, 1, 1.0f), threads);
        });
        NlMeans by_function = parameters(6, 1, unit);
        const double width = 0.5;
        by_function.weighting = Weighting::function;
        by_function.function = [](float* distances, int64_t n, const double* width) {
            for (int64_t i = 0; i < n; ++i) distances[i] = float(1 / (1 + distances[i] / *width));
        };
        by_function.function_parameters = &width;
        compare_threads(target + " denoise_nl_means by a function", image, [&](int threads, const Array& result) {
            denoise_nl_means(from, from, no_maps, result, by_function, threads);
        });
    }
}

const BorderMode kBorders[] = {BorderMode::nearest, BorderMode::reflect, BorderMode::mirror, BorderMode::wrap,
                               BorderMode::constant};

void blur(const std::string& target) {
    for (DType dtype : {DType::u8, DType::u16, DType::f32}) {
        for (const auto& shape :
             std::vector<std::vector<ptrdiff_t>>{{1, 1}, {3, 2}, {71, 203}, {37, 40, 3}, {5, 4, 7}}) {
            for (int radius : {1, 4, 20}) {
                for (BorderMode border : kBorders) {
                    const AxisFilter filter{std::vector<double>(size_t(radius) + 1, 1.0 / (2 * radius + 1)), false,
                                            border};
                    std::vector<AxisFilter> filters(shape.size());
                    for (size_t axis = 0; axis < std::min<size_t>(shape.size(), 3); ++axis) filters[axis] = filter;
                    Image image(dtype, shape);
                    const Array from = image.array();
                    compare_threads(target + " gaussian", image, [&](int threads, const Array& result) {
                        gaussian(from, result, filters, 0.5, 1.0, threads);
                    });
                }
            }
        }
    }
}

void blur_recursively(const std::string& target) {
    for (DType dtype : {DType::u8, DType::u16, DType::f32}) {
        for (const auto& shape : std::vector<std::vector<ptrdiff_t>>{
                 {1, 1}, {3, 2}, {71, 203}, {600, 33}, {37, 40, 3}, {37, 3, 200}, {5, 4, 7}}) {
            for (BorderMode border : kBorders) {
                const RecursiveFilter filter{
                    0.2, {{0.7, 0.1}, {0.6, 0.3}, {0.5, 0.4}}, {{0.2, 0.5}, {-0.1, -0.1}, {0.1, 0.0}}, false, border};
                std::vector<RecursiveFilter> filters(shape.size(), filter);
                if (shape[0] == 600) filters[1] = {};
                Image image(dtype, shape);
                const Array from = image.array();
                compare_threads(target + " gaussian_recursive", image, [&](int threads, const Array& result) {
                    gaussian_recursive(from, result, filters, 0.5, 1.0, threads);
                });
            }
        }
    }
}

// By an affine map, a projective one that reaches infinity, and coordinates of which some are far beyond the image.
void warp_images(const std::string& target) {
    const double matrices[] = {0.9, -0.3, 4.25, 0.3, 0.9, -7.5, 0,    0, 1,  // and
                               1.1, 0.2,  -3.7, 0,   0.8, 4.4,  0.02, 0, -1};
    for (DType dtype : {DType::u8, DType::u16, DType::f32}) {
        for (const auto& shape : std::vector<std::vector<ptrdiff_t>>{
                 {1, 1, 1}, {3, 2, 1}, {71, 203, 1}, {37, 40, 3}, {41, 140, 4}, {9, 33, 2}}) {
            Image image(dtype, shape), coordinates(DType::f32, {2, shape[0], shape[1]});
            const Array from = image.array(), table = coordinates.array();
            float* const places = static_cast<float*>(table.data);
            for (ptrdiff_t i = 0; i < 2 * shape[0] * shape[1]; ++i)
                places[i] = places[i] == 0 ? 1e30f : places[i] * 1.5f * float(shape[0]);
            for (Interpolation kernel :
                 {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic, Interpolation::lanczos3}) {
                for (BorderMode border : kBorders) {
                    const Sampling sampling{kernel, border, 0.5, 0.0, 255.0};
                    for (const double* matrix : {matrices, matrices + 9})
                        compare_threads(target + " warp", image, [&](int threads, const Array& result) {
                            warp(from, result, matrix, 1, sampling, threads);
                        });
                    compare_threads(target + " remap", image, [&](int threads, const Array& result) {
                        remap(from, result, table, sampling, threads);
                    });
                }
            }
        }
    }
}

// A chain with layers that compute four rows at once, a stride, a deconvolution, a sum and a pixel shuffle, by all that
// multiplies; and its first layers and a large deconvolution alone.
void convolve(const std::string& target) {
    Image first(DType::f32, {15, 1, 5, 5}), wide(DType::f32, {17, 15, 3, 3}), second(DType::f32, {9, 17, 3, 3}),
        third(DType::f32, {9, 2, 4, 4}), fourth(DType::f32, {2, 2, 3, 3}), fifth(DType::f32, {4, 2, 3, 3}),
        large(DType::f32, {15, 1, 9, 9});
    std::vector<Multiplier> multipliers = bfloat16_multipliers();
    multipliers.push_back(Multiplier::floats);
    for (const Multiplier multiplier : multipliers) {
        std::vector<Convolution> layers;
        Sizes sizes;
        const auto append = [&](const std::vector<Convolution>& parts, const std::array<ptrdiff_t, 2>& size) {
            const Sizes within = sizes_within(parts.size(), sizes.back(), size);
            sizes.insert(sizes.end(), within.begin() + 1, within.end());
            layers.insert(layers.end(), parts.begin(), parts.end());
        };
        for (const BorderMode border : {BorderMode::nearest, BorderMode::mirror, BorderMode::constant}) {
            const auto arguments = [&](ptrdiff_t stride, ptrdiff_t padding, Activation activation) {
                ConvolutionArguments a{{stride, stride}, {padding, padding}, {1, 1},  1,
                                       border,           activation,         nullptr, nullptr};
                a.multiplier = multiplier;
                if (multiplier != Multiplier::floats)
                    a.operands = layers.empty() ? Operands::split_samples : Operands::channel_pairs;
                return a;
            };
            constexpr ptrdiff_t any = PTRDIFF_MAX;
            for (const auto& [rows, columns] : std::vector<std::array<ptrdiff_t, 2>>{{5, 7}, {31, 18}, {70, 333}}) {
                const std::array<ptrdiff_t, 2> half{(rows - 1) / 2 + 1, (columns - 1) / 2 + 1},
                    whole{2 * half[0], 2 * half[1]};
                layers.clear();
                sizes = {{rows, columns}};
                append(make_conv2d(first.array(), arguments(1, 2, Activation::slope)), {rows, columns});
                append(make_conv2d(wide.array(), arguments(1, 1, Activation::relu)), {rows, columns});
                append(make_conv2d(second.array(), arguments(2, 1, Activation::relu)), half);
                append(make_conv_transpose2d(third.array(), arguments(2, 1, Activation::none), {any, any}), whole);
                const size_t lender = layers.size();
                append(make_conv2d(fourth.array(), arguments(1, 1, Activation::none)), whole);
                layers.back().added = {lender};
                append(make_conv2d(fifth.array(), arguments(1, 1, Activation::none)), {2 * whole[0], 2 * whole[1]});
                layers.back().shuffles = {2};
                Image image(DType::u8, {2, 1, rows, columns}), result(DType::u16, {2, 1, 2 * whole[0], 2 * whole[1]});
                const Array from = image.array();
                compare_threads(target + " network", result, [&](int threads, const Array& to) {
                    fastimg::convolve(layers, sizes, from, to, threads);
                });
                if (multiplier != Multiplier::floats) continue;
                Image floats(DType::f32, {2, 1, rows, columns}), features(DType::f32, {2, 15, rows, columns}),
                    more(DType::f32, {2, 17, rows, columns});
                const Array x = floats.array(), y = features.array();
                compare_threads(target + " convolution", features, [&](int threads, const Array& to) {
                    fastimg::convolve_alone({layers[0]}, x, to, threads);
                });
                compare_threads(target + " convolution of four rows", more, [&](int threads, const Array& to) {
                    fastimg::convolve_alone({layers[1]}, y, to, threads);
                });
                Image enlarged(DType::f32, {2, 1, 2 * rows, 2 * columns});
                const std::vector<Convolution> deconvolution =
                    make_conv_transpose2d(large.array(), arguments(2, 4, Activation::none), {2 * rows, 2 * columns});
                compare_threads(target + " deconvolution of four rows", enlarged, [&](int threads, const Array& to) {
                    fastimg::convolve_alone(deconvolution, y, to, threads);
                });
            }
        }
    }
}

}  // namespace

int main() {
    for (Target target : supported_targets()) {
        select_target(target_name(target));
        denoise(target_name(target));
        blur(target_name(target));
        blur_recursively(target_name(target));
        warp_images(target_name(target));
        convolve(target_name(target));
        std::printf("%s: done\n", target_name(target));
    }
    return failures > 0;
}
