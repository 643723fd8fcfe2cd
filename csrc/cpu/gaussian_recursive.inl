// Recursive Gaussian: a sum of decaying, turning exponentials, which one multiplication per sample carries on.
//
//     before[i] = sum over k >= 1 of f(k) image[i - k] = Re sum over j of residue_j pole_j state_j[i],
//     state_j[i + 1] = pole_j state_j[i] + image[i],
//
// and the same from the other end for `after`; out = centre image + after +- before. Poles are complex and each goes its
// own way (R. Deriche, "Recursively implementing the Gaussian and its derivatives", INRIA RR-1893, 1993, in parallel
// form): as recursions of order 2 in real numbers the same filters would lose a digit for each factor of 3 in sigma.
//
// Operations: 4 multiply-adds carry a pole on, 2 take the result: 36 per sample and axis with 3 poles and both
// directions, as many as 17 taps on either side of a symmetric filter cost. The chain of a pole is two multiply-adds
// long; three poles, and two vectors at a time, fill the wait.
//
// Tiling: a task is a block of lines, a vector or some across and as long as the image. It is read once, filtered in
// scratch and written once, for each filtered axis. Lines that are dense in memory are transposed on their way.
//
// Borders: an image that is continued by mirrors or by wrapping is periodic, a border that repeats one sample has period
// 1. A state that has run over one period from nothing, s, would in the end be s / (1 - pole^period): that is where it
// starts. If the response dies before a period ends, it runs over that much only. A line costs at most thrice its length,
// however large sigma.

#include "support/arithmetic.inl"

namespace fastimg::FASTIMG_TARGET {
namespace {

constexpr double kDead = 1e-8;                          // what is left of a response that counts as nothing
constexpr ptrdiff_t kBlockBytes = 1 << 20;              // of scratch per task, if lines are not too long
constexpr ptrdiff_t kMostVectors = 256 / kVectorBytes;  // across a block

template <class A>
struct Complex {
    A re, im;
};

// A filter of lines of length n, ready for use.
template <class A>
struct Recursion {
    struct Pole {
        Complex<A> pole, residue, closing;  // `residue` times the pole: of the sample before; `closing` ends a warm-up
    };
    Pole poles[kPoles];
    A centre;
    bool odd;
    BorderMode border;
    A outside;             // where the border is constant
    ptrdiff_t n, warm_up;  // samples before the first that the state runs over

    Recursion(const RecursiveFilter& filter, ptrdiff_t n, double outside, double scale)
        : poles{pole(filter, 0, n, scale), pole(filter, 1, n, scale), pole(filter, 2, n, scale)},
          centre(A(filter.centre * scale)),
          odd(filter.odd),
          border(filter.border),
          outside(A(outside)),
          n(n),
          warm_up(std::min(life(filter), period(n, border))) {}

    void negate() {
        for (Pole& pole : poles) pole.residue = {-pole.residue.re, -pole.residue.im};
    }

    static ptrdiff_t life(const RecursiveFilter& filter) {
        double slowest = 0;
        for (const auto& pole : filter.poles) slowest = std::max(slowest, std::abs(pole));
        return ptrdiff_t(std::ceil(std::log(kDead) / std::log(slowest)));
    }
    static Pole pole(const RecursiveFilter& filter, int j, ptrdiff_t n, double scale) {
        const std::complex<double> z = filter.poles[size_t(j)];
        const ptrdiff_t repeats = period(n, filter.border);
        const std::complex<double> closing = life(filter) < repeats ? 1.0 : 1.0 / (1.0 - std::pow(z, double(repeats)));
        const auto rounded = [](std::complex<double> z) { return Complex<A>{A(z.real()), A(z.imag())}; };
        return {rounded(z), rounded(scale * z * filter.residues[size_t(j)]), rounded(closing)};
    }
};

// The states of kVectors vectors of lines.
template <class A, int kVectors>
struct States {
    using V = Vector<A>;
    V re[kPoles][kVectors]{}, im[kPoles][kVectors]{};

    [[gnu::always_inline]] void advance(const Recursion<A>& by, const V (&x)[kVectors]) {
        for (int j = 0; j < kPoles; ++j) {
            const auto [a, b] = by.poles[j].pole;
            for (int v = 0; v < kVectors; ++v) {
                const V turned = re[j][v];
                re[j][v] = a * turned + (x[v] - b * im[j][v]);
                im[j][v] = a * im[j][v] + b * turned;
            }
        }
    }
    // The response of the samples so far, added to `sum`.
    [[gnu::always_inline]] V respond(const Recursion<A>& recursion, int v, V sum) const {
        for (int j = 0; j < kPoles; ++j) {
            const auto [a, b] = recursion.poles[j].residue;
            sum = sum + a * re[j][v];
            sum = sum - b * im[j][v];
        }
        return sum;
    }
    void close(const Recursion<A>& by) {
        for (int j = 0; j < kPoles; ++j) {
            const auto [a, b] = by.poles[j].closing;
            for (int v = 0; v < kVectors; ++v) {
                const V turned = re[j][v];
                re[j][v] = a * turned - b * im[j][v];
                im[j][v] = a * im[j][v] + b * turned;
            }
        }
    }
};

template <class A>
struct Lines {
    A* first;
    ptrdiff_t distance;  // between samples

    A* at(ptrdiff_t i, int vector) const { return first + i * distance + vector * kWidth<A>; }
};

// The states before sample `first`, on the way that `step` (1 or -1) tells.
template <class A, int kVectors>
States<A, kVectors> warm_up(const Recursion<A>& recursion, Lines<const A> x, ptrdiff_t first, int step) {
    States<A, kVectors> states;
    for (ptrdiff_t k = recursion.warm_up; k >= 1; --k) {
        const ptrdiff_t i = border_index(first - step * k, recursion.n, recursion.border);
        Vector<A> sample[kVectors];
        for (int v = 0; v < kVectors; ++v) sample[v] = i < 0 ? Vector<A>{} + recursion.outside : load(x.at(i, v));
        states.advance(recursion, sample);
    }
    states.close(recursion);
    return states;
}

// kVectors vectors of lines. What comes before a sample is kept in `partial`; `result` may be either of the others.
template <class A, int kVectors>
void filter_lines(const Recursion<A>& given, Lines<const A> x, Lines<A> partial, Lines<A> result) {
    Recursion<A> recursion = given;  // which no store can change
    Vector<A> sample[kVectors];
    auto states = warm_up<A, kVectors>(recursion, x, 0, 1);
    if (recursion.odd) recursion.negate();
    for (ptrdiff_t i = 0; i < recursion.n; ++i) {
        for (int v = 0; v < kVectors; ++v) {
            sample[v] = load(x.at(i, v));
            store(partial.at(i, v), states.respond(recursion, v, recursion.centre * sample[v]));
        }
        states.advance(recursion, sample);
    }
    if (recursion.odd) recursion.negate();
    states = warm_up<A, kVectors>(recursion, x, recursion.n - 1, -1);
    for (ptrdiff_t i = recursion.n; i-- > 0;) {
        for (int v = 0; v < kVectors; ++v) {
            sample[v] = load(x.at(i, v));
            store(result.at(i, v), states.respond(recursion, v, load(partial.at(i, v))));
        }
        states.advance(recursion, sample);
    }
}

// The blocks of a pass, and the scratch in which one thread filters them.
template <class T, class O, class A>
class Blocks {
    static constexpr ptrdiff_t kLanes = kWidth<A>;

public:
    Blocks(const Pass& pass, const Array& source, const Array& result)
        : pass_(pass),
          source_(static_cast<const T*>(source.data)),
          result_(static_cast<O*>(result.data)),
          vectors_(pass.transposed ? pass.across.n : vectors_across(pass)),
          stretches_(pass.transposed ? 1 : divide_up(pass.across.n, vectors_ * kLanes)) {}

    ptrdiff_t count() const {
        return pass_.transposed ? divide_up(pass_.rest_count(), kLanes) : pass_.rest_count() * stretches_;
    }

    struct Memory {
        explicit Memory(size_t count) : samples(count), results(count) {}
        Scratch<A> samples, results;
    };
    Memory memory() const { return Memory(size_t(row_pitch() * kLanes)); }

    void run(ptrdiff_t block, const Recursion<A>& recursion, Memory& memory) const {
        if (pass_.transposed)
            run_transposed(block, recursion, memory);
        else
            run_stretch(block, recursion, memory);
    }

private:
    static ptrdiff_t vectors_across(const Pass& pass) {
        const ptrdiff_t fitting = kBlockBytes / (2 * pass.along.n * kVectorBytes);
        return std::min(std::clamp<ptrdiff_t>(fitting, 1, kMostVectors), divide_up(pass.across.n, kLanes));
    }

    ptrdiff_t row_pitch() const { return round_up(pass_.along.n * vectors_, kLanes); }

    // Where the `index`-th of the other axes' positions lies.
    Axis position(ptrdiff_t index) const {
        Axis at;
        for (auto axis = pass_.rest.rbegin(); axis != pass_.rest.rend(); ++axis) {
            at.in += index % axis->n * axis->in;
            at.out += index % axis->n * axis->out;
            index /= axis->n;
        }
        return at;
    }

    void run_stretch(ptrdiff_t block, const Recursion<A>& recursion, Memory& memory) const {
        Axis at = position(block / stretches_);
        const ptrdiff_t begin = block % stretches_ * vectors_ * kLanes, pitch = vectors_ * kLanes;
        const ptrdiff_t length = std::min(pitch, pass_.across.n - begin);
        const T* const from = source_ + at.in + begin * pass_.across.in;
        O* const to = result_ + at.out + begin * pass_.across.out;
        const Lines<A> partial{memory.results.data(), pitch};
        Lines<const A> samples{memory.samples.data(), pitch};
        Lines<A> results = partial;
        bool loaded = false, stored = false;  // where they belong, without a copy
        if constexpr (std::is_same_v<T, A>) {
            loaded = length == pitch && pass_.across.in == 1;
            if (loaded) samples = {from, pass_.along.in};
        }
        if constexpr (std::is_same_v<O, A>) {
            stored = length == pitch && pass_.across.out == 1;
            if (stored) results = {to, pass_.along.out};
        }
        for (ptrdiff_t i = 0; i < pass_.along.n && !loaded; ++i) {
            A* const row = memory.samples.data() + i * pitch;
            load_elements(row, from + i * pass_.along.in, length, pass_.across.in);
            std::fill(row + length, row + pitch, A(0));
        }
        filter_all(recursion, samples, partial, results);
        for (ptrdiff_t i = 0; i < pass_.along.n && !stored; ++i)
            store_elements(to + i * pass_.along.out, partial.at(i, 0), length, pass_.across.out);
    }

    void filter_all(const Recursion<A>& recursion, Lines<const A> x, Lines<A> partial, Lines<A> result) const {
        const auto from = [](auto lines, ptrdiff_t vector) {
            lines.first += vector * kLanes;
            return lines;
        };
        ptrdiff_t v = 0;
        for (; v + 2 <= vectors_; v += 2) filter_lines<A, 2>(recursion, from(x, v), from(partial, v), from(result, v));
        if (v < vectors_) filter_lines<A, 1>(recursion, from(x, v), from(partial, v), from(result, v));
    }

    void run_transposed(ptrdiff_t block, const Recursion<A>& recursion, Memory& memory) const {
        A* const x = memory.samples.data();
        A* const y = memory.results.data();
        load_transposed(block, y, x);
        const Lines<A> results{y, vectors_ * kLanes};
        filter_all(recursion, {x, vectors_ * kLanes}, results, results);
        store_transposed(block, y, x);
    }

    // Rows of a block; the last block repeats its last row.
    ptrdiff_t row(ptrdiff_t block, ptrdiff_t lane) const {
        return std::min(block * kLanes + lane, pass_.rest_count() - 1);
    }
    bool contiguous(ptrdiff_t along, ptrdiff_t across) const {
        return vectors_ == 1 || (across == 1 && along == vectors_);
    }
    void load_transposed(ptrdiff_t block, A* rows, A* x) const {
        const ptrdiff_t n = pass_.along.n, pitch = row_pitch();
        for (ptrdiff_t lane = 0; lane < kLanes; ++lane) {
            const T* const from = source_ + position(row(block, lane)).in;
            A* const to = rows + lane * pitch;
            if (contiguous(pass_.along.in, pass_.across.in)) {
                load_elements(to, from, n * vectors_, vectors_ == 1 ? pass_.along.in : 1);
            } else {
                for (ptrdiff_t i = 0; i < n; ++i)
                    load_elements(to + i * vectors_, from + i * pass_.along.in, vectors_, pass_.across.in);
            }
            std::fill(to + n * vectors_, to + pitch, A(0));
        }
        for (ptrdiff_t i = 0; i < pitch; i += kLanes) {
            Vector<A> square[kLanes];
            for (ptrdiff_t k = 0; k < kLanes; ++k) square[k] = load(rows + k * pitch + i);
            transpose<A>(square);
            for (ptrdiff_t k = 0; k < kLanes; ++k) store(x + (i + k) * kLanes, square[k]);
        }
    }
    void store_transposed(ptrdiff_t block, const A* y, A* rows) const {
        const ptrdiff_t n = pass_.along.n, pitch = row_pitch();
        for (ptrdiff_t i = 0; i < pitch; i += kLanes) {
            Vector<A> square[kLanes];
            for (ptrdiff_t k = 0; k < kLanes; ++k) square[k] = load(y + (i + k) * kLanes);
            transpose<A>(square);
            for (ptrdiff_t k = 0; k < kLanes; ++k) store(rows + k * pitch + i, square[k]);
        }
        const ptrdiff_t count = std::min(kLanes, pass_.rest_count() - block * kLanes);
        for (ptrdiff_t lane = 0; lane < count; ++lane) {
            O* const to = result_ + position(row(block, lane)).out;
            const A* const from = rows + lane * pitch;
            if (contiguous(pass_.along.out, pass_.across.out)) {
                store_elements(to, from, n * vectors_, vectors_ == 1 ? pass_.along.out : 1);
            } else {
                for (ptrdiff_t i = 0; i < n; ++i)
                    store_elements(to + i * pass_.along.out, from + i * vectors_, vectors_, pass_.across.out);
            }
        }
    }

    const Pass& pass_;
    const T* source_;
    O* result_;
    const ptrdiff_t vectors_;    // across a block: of a stretch, or one per channel
    const ptrdiff_t stretches_;  // blocks across
};

template <class T, class O, class A>
void run_pass(int axis, const RecursiveFilter& filter, const Array& source, const Array& result, double outside,
              double scale, int threads) {
    const Pass pass = pass_along(axis, source, result);
    const Recursion<A> recursion(filter, pass.along.n, outside, scale);
    const Blocks<T, O, A> blocks(pass, source, result);
    parallel_for(
        blocks.count(), threads, [&] { return blocks.memory(); },
        [&](ptrdiff_t block, auto& memory) { blocks.run(block, recursion, memory); });
}

// The first pass reads the image, the last one writes the result; what lies between is of the type A.
template <class T, class O, class A>
void run(const Array& image, const Array& out, const std::vector<RecursiveFilter>& filters, double cval, double scale,
         int threads) {
    std::vector<int> axes;
    for (int axis = 0; axis < image.ndim; ++axis)
        if (!filters[size_t(axis)].poles.empty()) axes.push_back(axis);
    const bool in_out = std::is_same_v<O, A> || axes.size() == 1;
    Scratch<A> memory(in_out ? 0 : size_t(size_of(image)));
    const Array between =
        in_out ? out : packed_like(image, memory.data(), std::is_same_v<A, float> ? DType::f32 : DType::f64);
    for (size_t k = 0; k < axes.size(); ++k) {
        const int axis = axes[k];
        const RecursiveFilter& filter = filters[size_t(axis)];
        const bool first = k == 0, last = k + 1 == axes.size();
        if (first && last)
            run_pass<T, O, A>(axis, filter, image, out, cval, scale, threads);
        else if (first)
            run_pass<T, A, A>(axis, filter, image, between, cval, scale, threads);
        else if (last)
            run_pass<A, O, A>(axis, filter, between, out, cval, 1.0, threads);
        else
            run_pass<A, A, A>(axis, filter, between, between, cval, 1.0, threads);
        cval *= filter.total() * (first ? scale : 1.0);
    }
}

}  // namespace

inline void gaussian_recursive(const Array& image, const Array& out, const std::vector<RecursiveFilter>& filters,
                               double cval, double scale, int threads) {
    visit(image.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
        if (out.dtype == image.dtype) return run<T, T, A>(image, out, filters, cval, scale, threads);
        if constexpr (is_integer<T>) {
            if (out.dtype == DType::f32) return run<T, float, A>(image, out, filters, cval, scale, threads);
        }
        throw std::logic_error("fastimg: gaussian_recursive: unexpected dtype of the result");
    });
}

}  // namespace fastimg::FASTIMG_TARGET
