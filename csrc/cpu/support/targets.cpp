#include "targets.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

bool has_avx512_bf16() {
#if FASTIMG_X86_TARGETS
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

bool has_amx_bf16() {
#if FASTIMG_X86_TARGETS && defined(__linux__)
    static const bool has = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
        const bool bf16 = d >> 22 & 1, tiles = d >> 24 & 1;
        constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
        return bf16 && tiles && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    }();
    return has;
#else
    return false;
#endif
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
