// Barriers, and what the lanes of a warp do together.
#pragma once

#include <cstring>
#include <type_traits>

#include "runtime.hpp"

#define EMULATOR_INLINE inline __attribute__((always_inline))
#define EMULATOR_WHERE emulator::Location where = emulator::Location::here()

EMULATOR_INLINE void __syncthreads(EMULATOR_WHERE) { emulator::block_barrier(emulator::Vote::kNone, 0, where); }
EMULATOR_INLINE int __syncthreads_count(int predicate, EMULATOR_WHERE) {
    return emulator::block_barrier(emulator::Vote::kCount, predicate, where);
}
EMULATOR_INLINE int __syncthreads_and(int predicate, EMULATOR_WHERE) {
    return emulator::block_barrier(emulator::Vote::kAnd, predicate, where);
}
EMULATOR_INLINE int __syncthreads_or(int predicate, EMULATOR_WHERE) {
    return emulator::block_barrier(emulator::Vote::kOr, predicate, where);
}
EMULATOR_INLINE void __syncwarp(unsigned mask = emulator::kFullWarp, EMULATOR_WHERE) {
    emulator::warp_barrier(mask, where);
}

// Fibres share one thread of the system: what one has written, all see.
EMULATOR_INLINE void __threadfence_block() {}
EMULATOR_INLINE void __threadfence() {}
EMULATOR_INLINE void __threadfence_system() {}

// ---- votes ----------------------------------------------------------------------------------------------------------

EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_WHERE) {
    return emulator::ballot(mask, predicate != 0, where);
}
EMULATOR_INLINE int __any_sync(unsigned mask, int predicate, EMULATOR_WHERE) {
    return emulator::ballot(mask, predicate != 0, where) != 0;
}
EMULATOR_INLINE int __all_sync(unsigned mask, int predicate, EMULATOR_WHERE) {
    return emulator::ballot(mask, predicate == 0, where) == 0;
}

// ---- shuffles: within groups of `width` lanes -----------------------------------------------------------------------

namespace emulator {

template <class T>
EMULATOR_INLINE T shuffle_value(unsigned mask, T value, int source, Location where) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "what a shuffle passes on");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, source, where);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

EMULATOR_INLINE int lane() { return int(emulator_thread % kWarp); }
EMULATOR_INLINE int first_lane(int width) { return lane() & ~(width - 1); }

}  // namespace emulator

template <class T>
EMULATOR_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_WHERE) {
    return emulator::shuffle_value(mask, value, emulator::first_lane(width) + (source & (width - 1)), where);
}
template <class T>
EMULATOR_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_WHERE) {
    const int source = emulator::lane() - int(delta);
    return emulator::shuffle_value(mask, value, source < emulator::first_lane(width) ? emulator::lane() : source,
                                   where);
}
template <class T>
EMULATOR_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_WHERE) {
    const int source = emulator::lane() + int(delta);
    const bool inside = source < emulator::first_lane(width) + width;
    return emulator::shuffle_value(mask, value, inside ? source : emulator::lane(), where);
}
template <class T>
EMULATOR_INLINE T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMULATOR_WHERE) {
    const int source = emulator::lane() ^ lane_mask;
    const bool inside = source < emulator::first_lane(width) + width;
    return emulator::shuffle_value(mask, value, inside ? source : emulator::lane(), where);
}

// ---- reductions -----------------------------------------------------------------------------------------------------

#define EMULATOR_REDUCE(name, T, reduction)                                                       \
    EMULATOR_INLINE T name(unsigned mask, T value, EMULATOR_WHERE) {                              \
        return T(emulator::reduce(mask, emulator::Reduction::reduction, unsigned(value), where)); \
    }
EMULATOR_REDUCE(__reduce_add_sync, int, kAdd)
EMULATOR_REDUCE(__reduce_add_sync, unsigned, kAdd)
EMULATOR_REDUCE(__reduce_min_sync, int, kMin)
EMULATOR_REDUCE(__reduce_min_sync, unsigned, kMinUnsigned)
EMULATOR_REDUCE(__reduce_max_sync, int, kMax)
EMULATOR_REDUCE(__reduce_max_sync, unsigned, kMaxUnsigned)
EMULATOR_REDUCE(__reduce_and_sync, unsigned, kAnd)
EMULATOR_REDUCE(__reduce_or_sync, unsigned, kOr)
EMULATOR_REDUCE(__reduce_xor_sync, unsigned, kXor)
#undef EMULATOR_REDUCE

// ---- atomics: no thread runs before another has done ----------------------------------------------------------------

namespace emulator {

template <class T, class Function>
EMULATOR_INLINE T update(T* p, Location where, const Function& function) {
    note_access_at(p, sizeof(T), Access::kAtomic, where);
    const T before = unchecked_copy<T>(p);
    const T after = function(before);
    unchecked_store(p, &after, sizeof after);
    return before;
}

}  // namespace emulator

// `expression` in `now` and `value`, for each type that the device has it for.
#define EMULATOR_ATOMIC(name, T, expression)                                       \
    EMULATOR_INLINE T name(T* p, T value, EMULATOR_WHERE) {                        \
        return emulator::update(p, where, [=](T now) -> T { return expression; }); \
    }
#define EMULATOR_ATOMIC_INTEGER(name, expression)   \
    EMULATOR_ATOMIC(name, int, expression)          \
    EMULATOR_ATOMIC(name, unsigned int, expression) \
    EMULATOR_ATOMIC(name, unsigned long long, expression)
EMULATOR_ATOMIC_INTEGER(atomicAdd, now + value)
EMULATOR_ATOMIC(atomicAdd, float, now + value)
EMULATOR_ATOMIC(atomicAdd, double, now + value)
EMULATOR_ATOMIC(atomicSub, int, now - value)
EMULATOR_ATOMIC(atomicSub, unsigned int, now - value)
EMULATOR_ATOMIC_INTEGER(atomicMin, value < now ? value : now)
EMULATOR_ATOMIC(atomicMin, long long, value < now ? value : now)
EMULATOR_ATOMIC_INTEGER(atomicMax, value > now ? value : now)
EMULATOR_ATOMIC(atomicMax, long long, value > now ? value : now)
EMULATOR_ATOMIC_INTEGER(atomicAnd, now& value)
EMULATOR_ATOMIC_INTEGER(atomicOr, now | value)
EMULATOR_ATOMIC_INTEGER(atomicXor, now ^ value)
EMULATOR_ATOMIC_INTEGER(atomicExch, ((void)now, value))
EMULATOR_ATOMIC(atomicExch, float, ((void)now, value))
#undef EMULATOR_ATOMIC
#undef EMULATOR_ATOMIC_INTEGER

#define EMULATOR_ATOMIC_CAS(T)                                                                  \
    EMULATOR_INLINE T atomicCAS(T* p, T compare, T value, EMULATOR_WHERE) {                     \
        return emulator::update(p, where, [=](T now) { return now == compare ? value : now; }); \
    }
EMULATOR_ATOMIC_CAS(int)
EMULATOR_ATOMIC_CAS(unsigned int)
EMULATOR_ATOMIC_CAS(unsigned short)
EMULATOR_ATOMIC_CAS(unsigned long long)
#undef EMULATOR_ATOMIC_CAS
