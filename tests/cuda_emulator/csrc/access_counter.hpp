// How well the accesses of a warp fit the memory.
#pragma once

#include <cstdint>
#include <vector>

#include "memory_checker.hpp"

namespace emulator {

// Notes an access of the present thread. The n-th that each lane of a warp makes by one instruction, counted from where
// the warp's lanes last met, make a request.
void count_access(uint16_t instruction, const void* address);

// Adds the requests so far, of a warp or of all, to their instructions.
void finish_requests_of(int warp, std::vector<Instruction>& instructions);
void finish_requests(std::vector<Instruction>& instructions);

}  // namespace emulator
