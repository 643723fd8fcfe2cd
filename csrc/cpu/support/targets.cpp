#include "targets.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>

namespace fastimg {
namespace {

bool runs_here(Target target) {
#if FASTIMG_X86_TARGETS
    __builtin_cpu_init();
#ifdef FASTIMG_EMULATE_AVX512
    if (target == Target::v4) target = Target::v3;
#endif
    if (target == Target::v3) return __builtin_cpu_supports("x86-64-v3");
    if (target == Target::v4) return __builtin_cpu_supports("x86-64-v4");
#endif
    return target == Target::baseline;
}

std::string names(const std::vector<Target>& targets) {
    std::string list;
    for (Target target : targets) list += (list.empty() ? "" : ", ") + std::string(target_name(target));
    return list;
}

std::atomic<Target>& active() {
    static std::atomic<Target> target{supported_targets().back()};
    return target;
}

}  // namespace

const char* target_name(Target target) {
    switch (target) {
        case Target::v4: return "v4";
        case Target::v3: return "v3";
        default: return "baseline";
    }
}

std::vector<Target> built_targets() {
#if FASTIMG_X86_TARGETS
    return {Target::baseline, Target::v3, Target::v4};
#else
    return {Target::baseline};
#endif
}

std::vector<Target> supported_targets() {
    std::vector<Target> supported;
    for (Target target : built_targets())
        if (runs_here(target)) supported.push_back(target);
    return supported;
}

Target active_target() { return active().load(std::memory_order_relaxed); }

void select_target(const std::string& name) {
    for (Target target : built_targets()) {
        if (name != target_name(target)) continue;
        if (!runs_here(target))
            throw std::invalid_argument("this processor does not run the instruction set '" + name +
                                        "'; it runs: " + names(supported_targets()));
        active().store(target, std::memory_order_relaxed);
        return;
    }
    throw std::invalid_argument("unknown instruction set '" + name + "'; this build has: " + names(built_targets()));
}

}  // namespace fastimg
