// The instruction sets in this binary, and the one in use.
//
// Every kernel is compiled once per target (foreach_target.hpp) into a namespace of the target's name; an entry
// point picks the copy with FASTIMG_DISPATCH. The choice is made once, when the module is imported.
#pragma once

#include <string>
#include <vector>

namespace fastimg {

enum class Target { baseline, v3, v4 };  // v3: AVX2 + FMA + F16C; v4: AVX-512 F/BW/CD/DQ/VL (x86-64 psABI levels)

Target active_target();
const char* target_name(Target target);
std::vector<Target> built_targets();          // in ascending order
std::vector<Target> supported_targets();      // those of them that this processor runs
bool has_avx512_bf16();                       // beyond v4
bool has_amx_bf16();                          // and the operating system lets this process use it
void select_target(const std::string& name);  // throws std::invalid_argument, naming what is possible

}  // namespace fastimg

#if defined(__x86_64__) && defined(__GNUC__)
#define FASTIMG_X86_TARGETS 1
#else
#define FASTIMG_X86_TARGETS 0
#endif

#if FASTIMG_X86_TARGETS
#define FASTIMG_DISPATCH_TO(target, function, ...)                               \
    switch (target) {                                                            \
        case ::fastimg::Target::v4: return ::fastimg::v4::function(__VA_ARGS__); \
        case ::fastimg::Target::v3: return ::fastimg::v3::function(__VA_ARGS__); \
        default: return ::fastimg::baseline::function(__VA_ARGS__);              \
    }
#else
#define FASTIMG_DISPATCH_TO(target, function, ...) return ::fastimg::baseline::function(__VA_ARGS__)
#endif
#define FASTIMG_DISPATCH(function, ...) FASTIMG_DISPATCH_TO(::fastimg::active_target(), function, __VA_ARGS__)
