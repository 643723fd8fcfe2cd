// Device memory: buffers between guards, in which the memory checker knows its way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulator {

class Shadow;  // the memory checker's

struct Buffer {
    char* data;
    size_t bytes;
    Shadow* shadow;  // null until the checker needs it
};

// Aligned as cudaMalloc aligns. Filled, like the guards around it, with ones: NaN as any kind of float.
Buffer* allocate_buffer(size_t bytes);
void free_buffer(const void* data);
void free_shadow(Buffer& buffer);

// The buffer in or near whose guards the address lies, or null.
Buffer* find_buffer(const void* p);

// A buffer whose guards have been written to, or null.
Buffer* damaged_buffer();
bool is_damaged(const Buffer& buffer);
void repair_guards(Buffer& buffer);

}  // namespace emulator
