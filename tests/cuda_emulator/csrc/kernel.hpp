// How a kernel library presents its kernels: build.py adds `emulator_kernel_NAME` for each to the code.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime.hpp"

// Marks that build.py looks for in the preprocessed code; GCC ignores attributes that it does not know.
// Watched kernels take in all their functions, as on the device: an access then belongs to a line of the kernel.
#ifdef __SANITIZE_THREAD__
#define EMULATOR_KERNEL __attribute__((emulator_kernel)) __attribute__((flatten))
#else
#define EMULATOR_KERNEL __attribute__((emulator_kernel))
#endif
#define EMULATOR_LAUNCH_BOUNDS(threads, ...) __attribute__((emulator_launch_bounds(threads)))

// Where the linker puts zero-initialised data: this library's static shared memory.
extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];

namespace emulator {

template <class T>
constexpr Parameter describe() {
    if constexpr (std::is_pointer_v<T>) {
        using Target = std::remove_pointer_t<T>;
        if constexpr (std::is_arithmetic_v<Target>)
            return {'p', int(sizeof(Target))};
        else
            return {'v', 0};
    }
    const char kind = std::is_floating_point_v<T> ? 'f'
                      : std::is_unsigned_v<T>     ? 'u'
                      : std::is_integral_v<T>     ? 'i'
                                                  : 's';
    return {kind, int(sizeof(T))};
}

// The value as a kernel wants it, from an address that need not be aligned.
template <class T>
__attribute__((no_sanitize("thread", "undefined"))) T argument_at(const void* p) {
    T value;
    copy_unseen(&value, p, sizeof value);
    return value;
}

template <auto Function>
struct Export;

template <class... T, void (*Function)(T...)>
struct Export<Function> {
    static constexpr int kCount = int(sizeof...(T));
    static constexpr Parameter kParameters[] = {describe<std::remove_cv_t<T>>()..., {}};

    static void call(void** arguments) { call_with(arguments, std::index_sequence_for<T...>()); }

private:
    template <size_t... I>
    __attribute__((no_sanitize("thread", "undefined"))) static void call_with(void** arguments,
                                                                              std::index_sequence<I...>) {
        (void)arguments;
        Function(argument_at<std::remove_cv_t<T>>(arguments[I])...);
    }
};

template <auto Function>
constexpr Kernel describe_kernel(const char* name, int most_threads) {
    return {name,
            &Export<Function>::call,
            Export<Function>::kParameters,
            Export<Function>::kCount,
            most_threads,
            __bss_start,
            _end};
}

}  // namespace emulator
