// Fibres: many stacks on one thread of the operating system, switched by hand in a few nanoseconds.
#pragma once

#include <cstddef>

namespace emulator {

struct Fibre {
    void* stack_pointer = nullptr;  // while it does not run
    char* stack = nullptr;          // the lowest address
    size_t stack_bytes = 0;
    void* sanitizer_state = nullptr;  // AddressSanitizer's, while it does not run
};

// Makes the next switch to `fibre`, number i of the pool, call `entry`, which must begin with `entered` and not return.
void prepare_fibre(Fibre& fibre, int i, void (*entry)());
void entered(Fibre& launcher);

// Returns when something switches back to `from`; never if it `ends`.
void switch_fibre(Fibre& from, Fibre& to, bool ends = false);

// Whether an address lies on some fibre's stack.
bool on_fibre_stack(const void* p);

}  // namespace emulator
