// The memory checker: sees every access of a watched kernel, and judges it.
//
//   Races        two threads access a byte, one of them writes, and no barrier between them orders the two.
//   Garbage      shared memory read before anything was written there.
//   Bounds       addresses outside the buffer or the dynamic shared memory that they are nearest to; misalignment.
//   Efficiency   for each instruction how many passes its requests need, and how few would do: of shared memory, where
//                a bank gives one word a pass, and of global memory, which comes in sectors of 32 bytes.
//
// GCC is told to compile kernels for ThreadSanitizer, and its calls come here (thread_sanitizer_hooks.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory.hpp"
#include "runtime.hpp"

namespace emulator {

extern bool checking;

// The present block's shared memory.
struct SharedMemory {
    char *static_begin, *static_end;
    char *dynamic_begin, *dynamic_end;
};

// ---- told by the runtime, only while `checking` ---------------------------------------------------------------------

void check_launch(const char* kernel);
void check_block(const SharedMemory& shared);
void check_barrier();                             // all threads of the block have met
void check_warp_step(int warp, bool is_barrier);  // all lanes of the warp have met; only a barrier orders memory
void check_block_end();

// By the instruction before the given address, where a call returns to.
void check_access(const void* p, int bytes, Access access, const void* instruction);

// What async_copy writes is written twice: destroyed at once, there after the wait. Counted once.
void check_late_write(const void* p, int bytes, const void* instruction);

// ---- asked by Python ------------------------------------------------------------------------------------------------

enum class ProblemKind : int32_t { kReadAfterWrite, kWriteAfterWrite, kWriteAfterRead, kGarbage, kBounds, kAlignment };
enum class Space : int32_t { kShared, kGlobal, kNone };

// The first of its kind between two instructions.
struct Problem {
    ProblemKind kind;
    Space space;
    const void* instruction;
    const void* other_instruction;  // null unless it is a race
    const char* kernel;
    uint3 block, thread;
    int32_t other_thread;  // number in its block
    int64_t count;
};

struct Instruction {
    const void* address;
    int32_t bytes;
    Access access;
    Space space;
    int64_t requests, passes, ideal_passes;
    int32_t most_passes;  // of one request
};

}  // namespace emulator
