// Multiply-adds of float32 between registers and nothing else: what the arithmetic of a kernel could take, to set its time
// against.
#pragma once

namespace fastimg {

// At least `count` of them, on so many threads. Returns their sum, so that they cannot be left out.
float multiply_adds(double count, int threads);

}  // namespace fastimg
