// The functions that code compiled by -fsanitize=thread calls at every access. ThreadSanitizer's library is not linked:
// it knows threads of the system, not ours.
#include "memory_checker.hpp"

namespace {

inline void access(const void* p, int bytes, emulator::Access access, const void* instruction) {
    if (emulator::checking) emulator::check_access(p, bytes, access, instruction);
}

}  // namespace

#define HOOK(name, bytes, kind) \
    void __tsan_##name##bytes(void* p) { access(p, bytes, emulator::Access::kind, __builtin_return_address(0)); }
#define HOOKS(bytes)                     \
    HOOK(read, bytes, kRead)             \
    HOOK(write, bytes, kWrite)           \
    HOOK(unaligned_read, bytes, kRead)   \
    HOOK(unaligned_write, bytes, kWrite) \
    HOOK(volatile_read, bytes, kRead)    \
    HOOK(volatile_write, bytes, kWrite)

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, size_t bytes) {
    access(p, int(bytes), emulator::Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t bytes) {
    access(p, int(bytes), emulator::Access::kWrite, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
