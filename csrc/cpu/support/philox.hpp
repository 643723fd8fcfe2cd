// Philox4x32-10: random numbers as a function of (counter, key), so that sample i of an image is the same whichever
// thread, instruction set or device computes it.
//
// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
#pragma once

#include <array>
#include <cstdint>

namespace fastimg {

constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

using PhiloxWords = std::array<uint32_t, 4>;

inline PhiloxWords philox(PhiloxWords counter, uint64_t key) {
    uint32_t key0 = uint32_t(key), key1 = uint32_t(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
        const uint64_t product0 = uint64_t(kPhiloxMultiplier0) * counter[0];
        const uint64_t product1 = uint64_t(kPhiloxMultiplier1) * counter[2];
        counter = {uint32_t(product1 >> 32) ^ counter[1] ^ key0, uint32_t(product1),
                   uint32_t(product0 >> 32) ^ counter[3] ^ key1, uint32_t(product0)};
        key0 += kPhiloxWeyl0;
        key1 += kPhiloxWeyl1;
    }
    return counter;
}

// A pseudo-random permutation of 0 .. n-1, evaluated at one place at a time: the first k of its values are a sample of
// k distinct numbers that needs no memory. A Feistel network over the next power of two, repeated until the value is
// below n: two turns on average at most, four for n = 1.
class Permutation {
public:
    Permutation(uint64_t n, uint64_t key) : n_(n) {
        int bits = 2;
        while (bits < 64 && (n - 1) >> bits != 0) ++bits;
        low_bits_ = bits - bits / 2;
        low_mask_ = (uint64_t(1) << low_bits_) - 1;
        high_mask_ = (uint64_t(1) << bits / 2) - 1;
        for (uint32_t round = 0; round < kRounds; ++round) {
            const PhiloxWords words = philox({round, 0, 0, 1}, key);
            keys_[round] = uint64_t(words[1]) << 32 | words[0];
        }
    }

    uint64_t operator()(uint64_t i) const {
        do {
            uint64_t low = i & low_mask_, high = i >> low_bits_;
            for (int round = 0; round < kRounds; round += 2) {
                high ^= mixed(low ^ keys_[round]) & high_mask_;
                low ^= mixed(high ^ keys_[round + 1]) & low_mask_;
            }
            i = high << low_bits_ | low;
        } while (i >= n_);
        return i;
    }

private:
    static constexpr int kRounds = 12;

    static uint64_t mixed(uint64_t x) {  // the finaliser of SplitMix64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
        x = (x ^ x >> 27) * 0x94D049BB133111EBu;
        return x ^ x >> 31;
    }

    uint64_t n_, low_mask_, high_mask_;
    int low_bits_;
    uint64_t keys_[kRounds];
};

}  // namespace fastimg
