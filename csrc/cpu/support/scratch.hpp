// Aligned memory for a kernel's intermediate results: uninitialised, freed at the end of its scope.
#pragma once

#include <cstddef>
#include <new>

namespace fastimg {

template <class T>
class Scratch {
public:
    explicit Scratch(size_t count) : data_(static_cast<T*>(::operator new(count * sizeof(T), kAlignment))) {}
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { ::operator delete(data_, kAlignment); }

    T* data() { return data_; }

private:
    static constexpr std::align_val_t kAlignment{64};
    T* data_;
};

}  // namespace fastimg
