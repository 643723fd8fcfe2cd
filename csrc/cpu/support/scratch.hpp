// Aligned memory for a kernel's intermediate results: uninitialised, freed at the end of its scope.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fastimg {

// Asks for huge pages under large memory, as NumPy does for its arrays: the first touch of a page costs as much as a
// pass over it.
inline void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#ifdef __linux__
    constexpr size_t large = size_t(4) << 20, page = 4096;
    if (bytes < large) return;
    const size_t before_page = -uintptr_t(data) % page;
    madvise(static_cast<char*>(data) + before_page, bytes - before_page, MADV_HUGEPAGE);  // whether or not it is heard
#endif
}

template <class T>
class Scratch {
public:
    explicit Scratch(size_t count) : data_(static_cast<T*>(::operator new(count * sizeof(T), kAlignment))) {
        prefer_huge_pages(data_, count * sizeof(T));
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { ::operator delete(data_, kAlignment); }

    T* data() { return data_; }

private:
    static constexpr std::align_val_t kAlignment{64};
    T* data_;
};

}  // namespace fastimg
