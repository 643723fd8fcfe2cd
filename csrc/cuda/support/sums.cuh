// Sums over many threads, in an order that the shape of the launch alone decides: the same bits every time.
//
// A block adds up its own share and leaves it; one block of another launch adds up the shares.
#pragma once

#include "platform.cuh"

namespace fastimg {

// The sum over all threads of a block of whole warps, for thread 0; every thread comes here, once per kernel.
template <class T>
__device__ T sum_of_block(T value) {
    __shared__ T sums[kWarp];
    const int thread = thread_in_block(), warps = threads_in_block() / kWarp;
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += __shfl_down_sync(kFullWarp, value, lanes);
    if (thread % kWarp == 0) sums[thread / kWarp] = value;
    __syncthreads();
    if (thread >= kWarp) return value;
    value = thread < warps ? sums[thread] : T(0);
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += __shfl_down_sync(kFullWarp, value, lanes);
    return value;
}

struct Shares {
    const double* values;
    double* result;
    int64_t count;
    double divisor;
};

// The result of a block: the sum of all shares, divided.
__device__ inline void add_shares(const Shares& shares) {
    double sum = 0;
    for (int64_t i = thread_in_block(); i < shares.count; i += threads_in_block()) sum += shares.values[i];
    sum = sum_of_block(sum);
    if (thread_in_block() == 0) *shares.result = sum / shares.divisor;
}

}  // namespace fastimg
