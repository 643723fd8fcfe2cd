#include "memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace emulator {
namespace {

constexpr size_t kAlignment = 256;
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kGuardBytes = 0;  // AddressSanitizer has its own
#else
constexpr size_t kGuardBytes = 4096;
#endif
constexpr int kPoison = 0xff;

std::vector<std::unique_ptr<Buffer>> buffers;  // by address

auto first_after(const void* p) {
    return std::upper_bound(buffers.begin(), buffers.end(), p, [](const void* address, const auto& buffer) {
        return static_cast<const char*>(address) < buffer->data;
    });
}

bool is_poisoned(const char* p, size_t bytes) {
    if (bytes == 0) return true;
    return static_cast<unsigned char>(*p) == kPoison && std::memcmp(p, p + 1, bytes - 1) == 0;
}

}  // namespace

Buffer* allocate_buffer(size_t bytes) {
    const size_t all = kGuardBytes + std::max<size_t>(bytes, 1) + kGuardBytes;
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, all) != 0) throw std::bad_alloc();
    std::memset(memory, kPoison, all);
    auto buffer = std::make_unique<Buffer>(Buffer{static_cast<char*>(memory) + kGuardBytes, bytes, nullptr});
    return buffers.insert(first_after(buffer->data), std::move(buffer))->get();
}

void free_buffer(const void* data) {
    const auto found = first_after(data) - 1;
    free_shadow(**found);
    std::free((*found)->data - kGuardBytes);
    buffers.erase(found);
}

Buffer* find_buffer(const void* p) {
    const char* address = static_cast<const char*>(p);
    const auto after = first_after(p);
    if (after != buffers.begin()) {
        Buffer* buffer = (after - 1)->get();
        if (address < buffer->data + buffer->bytes + kGuardBytes) return buffer;
    }
    if (after != buffers.end() && address >= (*after)->data - kGuardBytes) return after->get();
    return nullptr;
}

bool is_damaged(const Buffer& buffer) {
    return !is_poisoned(buffer.data - kGuardBytes, kGuardBytes) ||
           !is_poisoned(buffer.data + buffer.bytes, kGuardBytes);
}

void repair_guards(Buffer& buffer) {
    std::memset(buffer.data - kGuardBytes, kPoison, kGuardBytes);
    std::memset(buffer.data + buffer.bytes, kPoison, kGuardBytes);
}

Buffer* damaged_buffer() {
    for (const auto& buffer : buffers)
        if (is_damaged(*buffer)) return buffer.get();
    return nullptr;
}

}  // namespace emulator

extern "C" void* emulator_allocate(size_t bytes) { return emulator::allocate_buffer(bytes)->data; }
extern "C" void emulator_free(void* data) { emulator::free_buffer(data); }
// Whether all of an array lies in one buffer.
extern "C" int emulator_owns(const void* first, const void* last) {
    const emulator::Buffer* buffer = emulator::find_buffer(first);
    return buffer && first >= buffer->data && last <= buffer->data + buffer->bytes;
}
