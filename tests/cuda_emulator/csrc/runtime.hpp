// What a kernel library and the runtime say to each other. The runtime is a library of its own, compiled once, never
// instrumented; kernels call it for everything that concerns more than one thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vector_types.hpp"

// Constant as a thread sees them; the runtime sets them at every switch.
#ifdef EMULATOR_RUNTIME
#define EMULATOR_PER_THREAD
#else
#define EMULATOR_PER_THREAD const
#endif
extern "C" {
extern EMULATOR_PER_THREAD uint3 threadIdx, blockIdx;
extern EMULATOR_PER_THREAD dim3 blockDim, gridDim;
extern EMULATOR_PER_THREAD uint32_t emulator_thread;  // number of the thread in its block
extern EMULATOR_PER_THREAD struct emulator_dynamic_shared_memory {
    unsigned char* data;
    size_t bytes;
} emulator_dynamic_shared;
}
#undef EMULATOR_PER_THREAD

namespace emulator {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr uint32_t kFullWarp = 0xffffffffu;

// A line of the kernel: by default that of the call.
struct Location {
    const char* file;
    int line;

    static constexpr Location here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

// Ends the launch with an error at the present thread.
[[noreturn]] void fail(Location where, const char* format, ...) __attribute__((format(printf, 2, 3)));

// ---- threads that wait for each other -------------------------------------------------------------------------------

enum class Vote { kNone, kCount, kAnd, kOr };

// All threads of the block that have not exited; what their predicates come to.
int block_barrier(Vote vote, int predicate, Location where);

void warp_barrier(uint32_t mask, Location where);

// The value that lane `source` gives; all bits set if it takes no part, for it is undefined then.
uint64_t shuffle(uint32_t mask, uint64_t value, int source, Location where);

uint32_t ballot(uint32_t mask, bool predicate, Location where);

enum class Reduction { kAdd, kMin, kMax, kMinUnsigned, kMaxUnsigned, kAnd, kOr, kXor };
uint32_t reduce(uint32_t mask, Reduction reduction, uint32_t value, Location where);

// ---- tensor cores: fragments as in the PTX ISA, "Matrix fragments for mma.m16n8k16" ---------------------------------

void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                      Location where = Location::here());
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                       Location where = Location::here());
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                      Location where = Location::here());

// Matrices of 8 × 8 halves; lane 8 i + j gives the address of row j of matrix i.
void load_matrices(uint32_t* registers, int matrices, bool transposed, const void* row, Location where);

template <int N, bool Transposed = false>
inline __attribute__((always_inline)) void ldmatrix(uint32_t (&registers)[N], const void* row,
                                                    Location where = Location::here()) {
    static_assert(N == 1 || N == 2 || N == 4, "what ldmatrix loads");
    load_matrices(registers, N, Transposed, row, where);
}

// ---- memory ---------------------------------------------------------------------------------------------------------

// Copies `bytes_read` bytes to shared memory and zeros up to `bytes`; seen there only after the wait, garbage before.
void async_copy(void* shared, const void* global, int bytes, int bytes_read, Location where = Location::here());
void async_copy_commit();
void async_copy_wait(int groups_left);

enum class Access : uint8_t { kRead, kWrite, kAtomic };

// Tells the memory checker of an access that it does not see, or would see as several where the device makes one.
void note_access(const void* p, int bytes, Access access);

inline __attribute__((always_inline)) void note_access_at(const void* p, int bytes, Access access, Location where) {
    if (reinterpret_cast<uintptr_t>(p) % bytes) fail(where, "%d bytes at a misaligned address, %p", bytes, p);
#ifdef __SANITIZE_THREAD__
    note_access(p, bytes, access);
#endif
    (void)access;
}
inline __attribute__((always_inline)) void note_load(const void* p, int bytes, Location where = Location::here()) {
    note_access_at(p, bytes, Access::kRead, where);
}
inline __attribute__((always_inline)) void note_store(const void* p, int bytes, Location where = Location::here()) {
    note_access_at(p, bytes, Access::kWrite, where);
}

void copy_unseen(void* to, const void* from, size_t bytes);

// memcpy that the memory checker does not see, because it was told already.
inline __attribute__((always_inline)) void unchecked_store(void* to, const void* from, size_t bytes) {
#ifdef __SANITIZE_THREAD__
    copy_unseen(to, from, bytes);
#else
    __builtin_memcpy(to, from, bytes);
#endif
}
template <class T>
inline __attribute__((always_inline)) T unchecked_copy(const void* from) {
    T value;
    unchecked_store(&value, from, sizeof value);
    return value;
}

// ---- launches -------------------------------------------------------------------------------------------------------

// One parameter of a kernel. kind: 'p' pointer to arithmetic values of `bytes`, 'v' another pointer, 'i', 'u', 'f' a
// number, 's' a struct.
struct Parameter {
    char kind;
    int32_t bytes;
};

// What a kernel library tells of a kernel.
struct Kernel {
    const char* name;
    void (*call)(void** arguments);
    const Parameter* parameters;
    int32_t parameter_count;
    int32_t most_threads;  // __launch_bounds__, 0 if none
    char* shared_begin;    // its library's static shared memory
    char* shared_end;
};

enum class Policy : int32_t { kInOrder, kReversed, kRandom, kRunAhead };

struct Launch {
    dim3 grid, block;
    uint64_t dynamic_shared_bytes;
    uint64_t seed;
    Policy policy;
};

struct Error {
    char message[1024];
    char file[512];
    int32_t line;
    int32_t in_thread;  // whether block and thread say where
    uint3 block, thread;
    void* instruction;  // that faulted, else null
};

}  // namespace emulator
