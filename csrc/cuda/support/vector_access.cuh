// Loads and stores of several neighbouring samples at once, up to 16 bytes: one instruction, one request per warp.
#pragma once

#include "samples.cuh"

namespace fastimg {

template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
    T values[N];
};

template <int Bytes>
struct WordsOf;
template <>
struct WordsOf<1> {
    typedef uint8_t type;
};
template <>
struct WordsOf<2> {
    typedef uint16_t type;
};
template <>
struct WordsOf<4> {
    typedef uint32_t type;
};
template <>
struct WordsOf<8> {
    typedef uint2 type;
};
template <>
struct WordsOf<16> {
    typedef uint4 type;
};

template <class To, class From>
__device__ inline To bits_as(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    union {
        From from;
        To to;
    } both = {from};
    return both.to;
}

// `p` aligned to all N samples.
template <int N, class T>
__device__ inline Pack<T, N> load_pack(const T* p) {
    typedef typename WordsOf<int(sizeof(T)) * N>::type Words;
#ifdef FASTIMG_CUDA_EMULATOR
    emulator::note_load(p, sizeof(Words));
    return emulator::unchecked_copy<Pack<T, N>>(p);
#else
    return bits_as<Pack<T, N>>(*reinterpret_cast<const Words*>(p));
#endif
}

template <int N, class T>
__device__ inline void store_pack(T* p, const Pack<T, N>& pack) {
    typedef typename WordsOf<int(sizeof(T)) * N>::type Words;
#ifdef FASTIMG_CUDA_EMULATOR
    emulator::note_store(p, sizeof(Words));
    emulator::unchecked_store(p, &pack, sizeof(Words));
#else
    *reinterpret_cast<Words*>(p) = bits_as<Words>(pack);
#endif
}

__device__ inline bool is_aligned(const void* p, int bytes) {
    return (reinterpret_cast<uint64_t>(p) & (bytes - 1)) == 0;
}

}  // namespace fastimg
