// Whole weights from a table, for vectors of 32-bit indices.

namespace fastimg::FASTIMG_TARGET {

using Words = VectorOf<uint32_t>::type;

#if FASTIMG_LEVEL >= 4
// Weights of an exponential as products: weights[i] = coarse[i / 32] * fine[i % 32], rounded. Both are looked up in
// registers, for 16 weights in 3 to 4 cycles, where a gather takes 8.
template <int Coarse>
class WeightProducts {
public:
    static_assert(Coarse == 32 || Coarse == 64);

    explicit WeightProducts(const WeightTable& table) {
        const int n = int(table.weights.size()) - 1;
        if (table.decay == 0 || n > kFine * Coarse) return;
        float fine[kFine], coarse[Coarse] = {};
        for (int i = 0; i < kFine; ++i) fine[i] = float(std::exp(-table.decay * i));
        for (int block = 0; block * kFine < n; ++block) {
            const int first = block * kFine;
            coarse[block] = factor(float(table.weights[0] * std::exp(-table.decay * first)), fine,
                                   table.weights.data() + first, std::min(kFine, n - first));
            if (coarse[block] == 0) return;
        }
        std::memcpy(fine_, fine, sizeof fine);
        std::memcpy(coarse_, coarse, sizeof coarse);
        exact_ = true;
    }

    // Whether every product is the weight.
    bool exact() const { return exact_; }

    // Anything where the index is at the last weight or beyond.
    Words operator()(Words index) const {
        const Words block = index >> 5;
        Floats coarse = look_up(coarse_, block);
        if constexpr (Coarse == 64) coarse = block < 32 ? coarse : look_up(coarse_ + 2, block);
        return (Words)_mm512_cvtps_epi32((__m512)(coarse * look_up(fine_, index)));
    }

private:
    static constexpr int kFine = 32;

    // table[index % 32]
    static Floats look_up(const Floats* table, Words index) {
        return (Floats)_mm512_permutex2var_ps((__m512)table[0], (__m512i)index, (__m512)table[1]);
    }

    // The float nearest to `guess` that makes the weights of a block come out; 0 if none near by does.
    static float factor(float guess, const float* fine, const int32_t* weights, int n) {
        const auto fits = [&](float coarse) {
            for (int i = 0; i < n; ++i)
                if (std::nearbyint(coarse * fine[i]) != float(weights[i])) return false;
            return true;
        };
        float below = guess, above = guess;
        for (int ulps = 0; ulps < 16; ++ulps) {
            if (fits(below)) return below;
            if (fits(above)) return above;
            below = std::nextafter(below, 0.0f);
            above = std::nextafter(above, INFINITY);
        }
        return 0;
    }

    Floats fine_[2]{}, coarse_[Coarse / kLanes]{};
    bool exact_ = false;
};
#endif

// The weight of an index.
template <int Coarse>
class WeightLookup {
public:
    explicit WeightLookup(const WeightTable& table)
        :
#if FASTIMG_LEVEL >= 4
          products_(table),
#endif
          weights_(table.weights.data()),
          last_(uint32_t(table.weights.size()) - 1) {
    }

    uint32_t first() const { return uint32_t(weights_[0]); }

    Words operator()(Words index) const {
#if FASTIMG_LEVEL >= 4
        if (products_.exact()) return index < last_ ? products_(index) : Words{};
#endif
        const Words within = index < last_ ? index : Words{} + last_;
#if FASTIMG_LEVEL >= 4
        return (Words)_mm512_i32gather_epi32((__m512i)within, weights_, 4);
#elif FASTIMG_LEVEL >= 3
        return (Words)_mm256_i32gather_epi32(weights_, (__m256i)within, 4);
#else
        Words weights;
        for (int i = 0; i < kLanes; ++i) weights[i] = uint32_t(weights_[within[i]]);
        return weights;
#endif
    }

private:
#if FASTIMG_LEVEL >= 4
    WeightProducts<Coarse> products_;
#endif
    const int32_t* weights_;
    uint32_t last_;
};

}  // namespace fastimg::FASTIMG_TARGET
