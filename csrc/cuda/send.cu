// Sends numbers to the device as arguments of launches: what the host has in hand when it calls, nothing waits for, and
// a captured graph holds.
#include "support/platform.cuh"

using namespace fastimg;

namespace {

__device__ constexpr int kThreads = 256;
__device__ constexpr int kWords = 1016;  // of an argument: a little less than the 4 KB that every driver takes

struct Parameters {
    uint32_t* to;
    int64_t count;
    uint32_t word[kWords];
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) send(const Parameters parameters) {
    for (int64_t i = threadIdx.x; i < parameters.count; i += kThreads) parameters.to[i] = parameters.word[i];
}
