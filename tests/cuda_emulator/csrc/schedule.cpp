#include "schedule.hpp"

#include <algorithm>

namespace emulator {

void Schedule::begin(Policy policy, uint64_t seed) {
    policy_ = policy;
    random_state_ = (seed + 1) * 0x9e3779b97f4a7c15u;
    head_ = count_ = 0;
    ready_ranks_ = 0;
    for (uint32_t& lanes : ready_lanes_) lanes = 0;
    for (int i = 0; i < kWarp; ++i) rank_of_warp_[i] = warp_of_rank_[i] = i;
}

void Schedule::draw_priorities() {
    if (policy_ != Policy::kRunAhead) return;
    for (int i = kWarp - 1; i > 0; --i) std::swap(warp_of_rank_[i], warp_of_rank_[random(i + 1)]);
    ready_ranks_ = 0;
    for (int rank = 0; rank < kWarp; ++rank) {
        const int warp = warp_of_rank_[rank];
        rank_of_warp_[warp] = rank;
        ready_ranks_ |= uint32_t(ready_lanes_[warp] != 0) << rank;
    }
}

uint32_t Schedule::random(uint32_t n) {  // xorshift64*
    random_state_ ^= random_state_ >> 12;
    random_state_ ^= random_state_ << 25;
    random_state_ ^= random_state_ >> 27;
    return uint32_t((random_state_ * 0x2545f4914f6cdd1du >> 32) * n >> 32);
}

void Schedule::add(int warp, uint32_t lanes) {
    if (policy_ == Policy::kRunAhead) {
        ready_lanes_[warp] |= lanes;
        if (lanes) ready_ranks_ |= 1u << rank_of_warp_[warp];
        return;
    }
    while (lanes) {
        const int lane = policy_ == Policy::kReversed ? 31 - __builtin_clz(lanes) : __builtin_ctz(lanes);
        lanes &= ~(1u << lane);
        queue_[(head_ + count_++) % kMostThreads] = warp * kWarp + lane;
    }
}

void Schedule::add_block(const uint32_t* lanes, int warps) {
    for (int i = 0; i < warps; ++i) {
        const int warp = policy_ == Policy::kReversed ? warps - 1 - i : i;
        add(warp, lanes[warp]);
    }
}

int Schedule::take() {
    if (policy_ == Policy::kRunAhead) return take_run_ahead();
    uint16_t& first = queue_[head_ % kMostThreads];
    if (policy_ == Policy::kRandom) std::swap(first, queue_[(head_ + random(count_)) % kMostThreads]);
    ++head_;
    --count_;
    return first;
}

int Schedule::take_run_ahead() {
    const int warp = warp_of_rank_[__builtin_ctz(ready_ranks_)];
    uint32_t& lanes = ready_lanes_[warp];
    const int start = random(kWarp);
    const uint32_t rotated = lanes >> start | lanes << (kWarp - start) % kWarp;
    const int lane = (__builtin_ctz(rotated) + start) % kWarp;
    lanes &= ~(1u << lane);
    if (!lanes) ready_ranks_ &= ready_ranks_ - 1;
    return warp * kWarp + lane;
}

}  // namespace emulator
