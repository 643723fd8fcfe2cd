#include "opencv_lab.hpp"

#include "support/loops.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>

namespace fastimg {

namespace {

int rounded_shift(int value, int bits) { return (value + (1 << (bits - 1))) >> bits; }
uint8_t saturated(int value) { return uint8_t(std::clamp(value, 0, 255)); }

// Calls pixel(from, to) for the three channels of every pixel, each by its own pointers' strides.
template <class F>
void for_each_pixel(const Array& from, const Array& to, int threads, F&& pixel) {
    Array a = from, b = to;
    const ptrdiff_t from_step = from.stride[from.ndim - 1], to_step = to.stride[to.ndim - 1];
    a.ndim = b.ndim = from.ndim - 1;  // the channels are the pixel's own
    const Rows<2> rows({&a, &b});
    const Segments<2> segments(rows);
    parallel_for(segments.count(), threads, [&](ptrdiff_t task) {
        segments.visit(task, [&](const Segment& segment) {
            const auto* p =
                static_cast<const uint8_t*>(a.data) + rows.offset(0, segment.row) + segment.begin * rows.stride(0);
            auto* q = static_cast<uint8_t*>(b.data) + rows.offset(1, segment.row) + segment.begin * rows.stride(1);
            for (ptrdiff_t i = 0; i < segment.length; ++i, p += rows.stride(0), q += rows.stride(1))
                pixel(std::array{int(p[0]), int(p[from_step]), int(p[2 * from_step])}, [&](int x, int y, int z) {
                    q[0] = saturated(x);
                    q[to_step] = saturated(y);
                    q[2 * to_step] = saturated(z);
                });
        });
    });
}

}  // namespace

void opencv_bgr_to_lab(const Array& bgr, const Array& lab, const std::array<int32_t, 9>& coefficients,
                       const int32_t* cube_roots, int threads) {
    const auto& c = coefficients;
    for_each_pixel(bgr, lab, threads, [&](const std::array<int, 3>& in, auto&& put) {
        const int blue = in[0], green = in[1], red = in[2];
        const auto root = [&](int k) {
            return cube_roots[rounded_shift(8 * (red * c[k] + green * c[k + 1] + blue * c[k + 2]), 12)];
        };
        const int x = root(0), y = root(3), z = root(6);
        constexpr int kLightness = (116 * 255 + 50) / 100, kBlack = (16 * 255 * (1 << 15) + 50) / 100;
        put(rounded_shift(kLightness * y - kBlack, 15), rounded_shift(500 * (x - y) + (128 << 15), 15),
            rounded_shift(200 * (y - z) + (128 << 15), 15));
    });
}

void opencv_lab_to_bgr(const Array& lab, const Array& bgr, const std::array<int32_t, 9>& coefficients,
                       const int32_t* lightness, const int32_t* cubes, int first_cube, int threads) {
    const auto& c = coefficients;
    for_each_pixel(lab, bgr, threads, [&](const std::array<int, 3>& in, auto&& put) {
        const int y = lightness[2 * in[0]], root_y = lightness[2 * in[0] + 1];
        constexpr int kOne = 1 << 14;  // these two are a / 500 and b / 200 to OpenCV's precision
        const int from_a = ((5 * in[1] * 53687 + (1 << 7)) >> 13) - 128 * kOne / 500;
        const int from_b = ((in[2] * 41943 + (1 << 4)) >> 9) - 128 * kOne / 200 + 1;
        const int x = cubes[root_y + from_a - first_cube], z = cubes[root_y - from_b - first_cube];
        const auto level = [&](int k) {
            const int linear = std::clamp(rounded_shift(c[k] * x + c[k + 1] * y + c[k + 2] * z, 14), 0, 4095);
            return 255 * linear >> 12;
        };
        put(level(6), level(3), level(0));
    });
}

}  // namespace fastimg
