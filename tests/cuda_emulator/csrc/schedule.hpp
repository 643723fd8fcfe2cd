// Which thread runs next. The order of threads between two barriers is the hardware's choice, so a right kernel gives
// the same result in every order, and a wrong one should meet an order that shows it.
#pragma once

#include <cstdint>

#include "runtime.hpp"

namespace emulator {

class Schedule {
public:
    // Forgets all threads.
    void begin(Policy policy, uint64_t seed);

    // New priorities of warps, at the beginning of a block and at every barrier.
    void draw_priorities();

    // The given lanes of a warp may run.
    void add(int warp, uint32_t lanes);

    // The same for all warps of a block.
    void add_block(const uint32_t* lanes, int warps);

    bool empty() const { return policy_ == Policy::kRunAhead ? ready_ranks_ == 0 : count_ == 0; }

    // A thread that may run, taken out.
    int take();

    // A number below n.
    uint32_t random(uint32_t n);

private:
    int take_run_ahead();

    Policy policy_ = Policy::kInOrder;
    uint64_t random_state_ = 1;

    // A queue in a ring, from which kRandom takes anywhere.
    uint16_t queue_[kMostThreads];
    uint32_t head_ = 0, count_ = 0;

    // kRunAhead: the warp of the lowest rank runs until all its lanes wait, its lanes in random order. Threads that
    // keep abreast hide a missing barrier; here one warp gets as far ahead of the others as the barriers let it.
    uint32_t ready_ranks_ = 0;
    uint32_t ready_lanes_[kWarp] = {};
    uint8_t rank_of_warp_[kWarp], warp_of_rank_[kWarp];
};

}  // namespace emulator
