// Compiles the file named by FASTIMG_KERNELS once per instruction set, each copy in `namespace fastimg::FASTIMG_TARGET`.
//
// One source, one object, no -m flags: the pragma applies to what is defined inside it alone, so nothing built for a
// newer processor leaks into code that an older one runs (inline functions of the standard library above all). For
// that reason every #include <...> of a kernel must stand before this file is included, in the operation's .cpp.
//
// Kernels ask FASTIMG_LEVEL (1, 3 or 4) for what a target has, never __AVX2__ and the like: g++ reads all tokens before
// it obeys a target pragma, so those macros tell of the command line alone.
#ifndef FASTIMG_KERNELS
#error "define FASTIMG_KERNELS as the file to compile for every target"
#endif

#include "half.hpp"
#include "targets.hpp"
#include "view.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if FASTIMG_X86_TARGETS
#include <immintrin.h>
#endif

#define FASTIMG_TARGET baseline
#define FASTIMG_LEVEL 1
#include "simd.inl"
#include FASTIMG_KERNELS
#undef FASTIMG_TARGET
#undef FASTIMG_LEVEL

#if FASTIMG_X86_TARGETS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define FASTIMG_TARGET v3
#define FASTIMG_LEVEL 3
#include "simd.inl"
#include FASTIMG_KERNELS
#undef FASTIMG_TARGET
#undef FASTIMG_LEVEL
#pragma GCC pop_options

#pragma GCC push_options
#ifdef FASTIMG_EMULATE_AVX512  // tools/avx512_emulation.hpp
#pragma GCC target("arch=x86-64-v3")
#else
#pragma GCC target("arch=x86-64-v4")
#endif
#define FASTIMG_TARGET v4
#define FASTIMG_LEVEL 4
#include "simd.inl"
#include FASTIMG_KERNELS
#undef FASTIMG_TARGET
#undef FASTIMG_LEVEL
#pragma GCC pop_options
#endif
