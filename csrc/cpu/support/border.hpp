// What stands beside an image: indices outside 0 .. n-1 brought back inside.
#pragma once

#include <cstddef>

namespace fastimg {

using std::ptrdiff_t;

// d c b | a b c d | c b a: the mirror image without the border element (NumPy's and PyTorch's "reflect").
inline ptrdiff_t mirrored_index(ptrdiff_t i, ptrdiff_t n) {
    if (n == 1) return 0;
    const ptrdiff_t period = 2 * (n - 1);
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

// The ways to continue an axis, under SciPy's names.
enum class BorderMode {
    nearest,   // a a | a b c | c c
    reflect,   // b a | a b c | c b
    mirror,    // c b | a b c | b a
    wrap,      // b c | a b c | a b
    constant,  // k k | a b c | k k
};

// The index within 0 .. n-1 that stands for index i; -1 where the constant stands.
inline ptrdiff_t border_index(ptrdiff_t i, ptrdiff_t n, BorderMode border) {
    if (i >= 0 && i < n) return i;
    const auto modulo = [i](ptrdiff_t period) { return (i % period + period) % period; };
    switch (border) {
        case BorderMode::nearest: return i < 0 ? 0 : n - 1;
        case BorderMode::reflect: return modulo(2 * n) < n ? modulo(2 * n) : 2 * n - 1 - modulo(2 * n);
        case BorderMode::mirror: return mirrored_index(i, n);
        case BorderMode::wrap: return modulo(n);
        case BorderMode::constant: break;
    }
    return -1;
}

}  // namespace fastimg
