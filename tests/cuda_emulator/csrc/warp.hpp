// Operations of a warp's lanes together: each leaves an offer, the lane that comes last computes for all.
#pragma once

#include "runtime.hpp"

namespace emulator {

enum class Operation { kBarrier, kShuffle, kBallot, kReduce, kMmaF16, kMmaBf16, kMmaTf32, kLoadMatrices };

const char* name_of(Operation operation);

struct Collective {
    Operation operation = Operation::kBarrier;
    uint32_t mask = 0;  // lanes that were named; 0: unused
    uint32_t arrived = 0;
    Location where = {"", 0};
    void* offers[kWarp];  // what each lane brings, and where its result goes
};

// Offers are on the stacks of the lanes, which wait inside.
void join_collective(Operation operation, uint32_t mask, void* offer, Location where);

void run_collective(const Collective& collective);

// Fails unless the bytes lie aligned in the block's shared memory.
void check_in_shared_memory(const char* operation, const void* p, int bytes, Location where);

}  // namespace emulator
