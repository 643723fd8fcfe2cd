#include "warp.hpp"

#include <algorithm>
#include <cstring>

#include "bits.hpp"
#include "memory_checker.hpp"

namespace emulator {
namespace {

struct ShuffleOffer {
    uint64_t value;
    int source;
    uint64_t result;
};

struct BallotOffer {
    bool predicate;
    uint32_t result;
};

struct ReduceOffer {
    Reduction reduction;
    uint32_t value, result;
};

struct MmaOffer {
    const uint32_t *a, *b;
    const float* c;
    float d[4];
};

struct LoadMatricesOffer {
    int matrices;
    bool transposed;
    const void* row;
    uint32_t* registers;
};

template <class Offer, class Function>
void for_each_lane(const Collective& collective, const Function& function) {
    for (uint32_t lanes = collective.arrived; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        function(*static_cast<Offer*>(collective.offers[lane]), lane);
    }
}

void run_shuffle(const Collective& collective) {
    for_each_lane<ShuffleOffer>(collective, [&](ShuffleOffer& offer, int) {
        const bool takes_part = collective.arrived >> offer.source & 1;
        offer.result = takes_part ? static_cast<ShuffleOffer*>(collective.offers[offer.source])->value : ~uint64_t(0);
    });
}

void run_ballot(const Collective& collective) {
    uint32_t votes = 0;
    for_each_lane<BallotOffer>(collective,
                               [&](BallotOffer& offer, int lane) { votes |= uint32_t(offer.predicate) << lane; });
    for_each_lane<BallotOffer>(collective, [&](BallotOffer& offer, int) { offer.result = votes; });
}

uint32_t reduce_two(Reduction reduction, uint32_t a, uint32_t b) {
    switch (reduction) {
        case Reduction::kAdd: return a + b;
        case Reduction::kMin: return uint32_t(std::min(int32_t(a), int32_t(b)));
        case Reduction::kMax: return uint32_t(std::max(int32_t(a), int32_t(b)));
        case Reduction::kMinUnsigned: return std::min(a, b);
        case Reduction::kMaxUnsigned: return std::max(a, b);
        case Reduction::kAnd: return a & b;
        case Reduction::kOr: return a | b;
        case Reduction::kXor: return a ^ b;
    }
    __builtin_unreachable();
}

void run_reduce(const Collective& collective) {
    bool first = true;
    uint32_t result = 0;
    for_each_lane<ReduceOffer>(collective, [&](ReduceOffer& offer, int) {
        result = first ? offer.value : reduce_two(offer.reduction, result, offer.value);
        first = false;
    });
    for_each_lane<ReduceOffer>(collective, [&](ReduceOffer& offer, int) { offer.result = result; });
}

// ---- tensor cores ---------------------------------------------------------------------------------------------------

void need_whole_warp(const Collective& collective) {
    if (collective.arrived != kFullWarp)
        fail(collective.where, "%s needs all 32 lanes, has 0x%08x", name_of(collective.operation), collective.arrived);
}

// D = A B + C for A of 16 × Inner and B of Inner × 8, each lane's part of which `gather` puts in place. Summed in
// double and rounded once: the device sums in an order and with a rounding of its own, which nothing specifies.
template <int Inner, class Gather>
void run_mma(const Collective& collective, const Gather& gather) {
    need_whole_warp(collective);
    double a[16][Inner], b[Inner][8];
    for_each_lane<MmaOffer>(collective, [&](MmaOffer& offer, int lane) { gather(a, b, offer, lane / 4, lane % 4); });
    double d[16][8] = {};
    for (int row = 0; row < 16; ++row)
        for (int k = 0; k < Inner; ++k)
            for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    for_each_lane<MmaOffer>(collective, [&](MmaOffer& offer, int lane) {
        for (int i = 0; i < 4; ++i) offer.d[i] = float(d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] + offer.c[i]);
    });
}

// Registers hold two neighbouring columns of A, two neighbouring rows of B; group and place are the lane's / 4 and % 4.
template <float (*ToFloat)(uint16_t)>
void run_mma_16bit(const Collective& collective) {
    run_mma<16>(collective, [](auto& a, auto& b, const MmaOffer& offer, int group, int place) {
        for (int i = 0; i < 4; ++i)
            for (int half = 0; half < 2; ++half)
                a[group + i % 2 * 8][place * 2 + half + i / 2 * 8] = ToFloat(uint16_t(offer.a[i] >> 16 * half));
        for (int i = 0; i < 2; ++i)
            for (int half = 0; half < 2; ++half)
                b[place * 2 + half + i * 8][group] = ToFloat(uint16_t(offer.b[i] >> 16 * half));
    });
}

void run_mma_tf32(const Collective& collective) {
    const auto truncated = [](uint32_t bits) { return bits_as<float>(bits & 0xffffe000u); };
    run_mma<8>(collective, [&](auto& a, auto& b, const MmaOffer& offer, int group, int place) {
        for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][place + i / 2 * 4] = truncated(offer.a[i]);
        for (int i = 0; i < 2; ++i) b[place + i * 4][group] = truncated(offer.b[i]);
    });
}

void run_load_matrices(const Collective& collective) {
    need_whole_warp(collective);
    const auto offer_of = [&](int lane) -> LoadMatricesOffer& {
        return *static_cast<LoadMatricesOffer*>(collective.offers[lane]);
    };
    for (int i = 0; i < offer_of(0).matrices; ++i) {
        uint16_t matrix[8][8];
        for (int row = 0; row < 8; ++row) std::memcpy(matrix[row], offer_of(8 * i + row).row, sizeof matrix[row]);
        for (int lane = 0; lane < kWarp; ++lane) {
            const int group = lane / 4, place = lane % 4 * 2;
            const bool transposed = offer_of(lane).transposed;
            const uint32_t low = transposed ? matrix[place][group] : matrix[group][place];
            const uint32_t high = transposed ? matrix[place + 1][group] : matrix[group][place + 1];
            offer_of(lane).registers[i] = high << 16 | low;
        }
    }
}

void multiply(Operation operation, float (&d)[4], const uint32_t* a, const uint32_t* b, const float* c,
              Location where) {
    MmaOffer offer = {a, b, c, {}};
    join_collective(operation, kFullWarp, &offer, where);
    std::copy(offer.d, offer.d + 4, d);
}

}  // namespace

const char* name_of(Operation operation) {
    static const char* const names[] = {"__syncwarp", "shuffle",  "vote",     "reduction",
                                        "f16 mma",    "bf16 mma", "tf32 mma", "ldmatrix"};
    return names[int(operation)];
}

void run_collective(const Collective& collective) {
    switch (collective.operation) {
        case Operation::kBarrier: return;
        case Operation::kShuffle: return run_shuffle(collective);
        case Operation::kBallot: return run_ballot(collective);
        case Operation::kReduce: return run_reduce(collective);
        case Operation::kMmaF16: return run_mma_16bit<float_of_half>(collective);
        case Operation::kMmaBf16: return run_mma_16bit<float_of_bf16>(collective);
        case Operation::kMmaTf32: return run_mma_tf32(collective);
        case Operation::kLoadMatrices: return run_load_matrices(collective);
    }
}

void warp_barrier(uint32_t mask, Location where) { join_collective(Operation::kBarrier, mask, nullptr, where); }

uint64_t shuffle(uint32_t mask, uint64_t value, int source, Location where) {
    ShuffleOffer offer = {value, source, 0};
    join_collective(Operation::kShuffle, mask, &offer, where);
    return offer.result;
}

uint32_t ballot(uint32_t mask, bool predicate, Location where) {
    BallotOffer offer = {predicate, 0};
    join_collective(Operation::kBallot, mask, &offer, where);
    return offer.result;
}

uint32_t reduce(uint32_t mask, Reduction reduction, uint32_t value, Location where) {
    ReduceOffer offer = {reduction, value, 0};
    join_collective(Operation::kReduce, mask, &offer, where);
    return offer.result;
}

void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                      Location where) {
    multiply(Operation::kMmaF16, d, a, b, c, where);
}

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                       Location where) {
    multiply(Operation::kMmaBf16, d, a, b, c, where);
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                      Location where) {
    multiply(Operation::kMmaTf32, d, a, b, c, where);
}

void load_matrices(uint32_t* registers, int matrices, bool transposed, const void* row, Location where) {
    if (int(emulator_thread % kWarp) < 8 * matrices) {  // the other lanes' addresses are not used
        check_in_shared_memory("ldmatrix", row, 16, where);
        if (checking) check_access(row, 16, Access::kRead, __builtin_return_address(0));
    }
    LoadMatricesOffer offer = {matrices, transposed, row, registers};
    join_collective(Operation::kLoadMatrices, kFullWarp, &offer, where);
}

}  // namespace emulator
