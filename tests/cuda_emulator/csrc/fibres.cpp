#include "fibres.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "runtime.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#error "fibres are switched by x86-64 code"
#endif

// Saves what the calling convention asks a function to keep, changes stacks, and goes on where the other one left off.
extern "C" __attribute__((naked, noinline)) void emulator_switch_stack(void** /*save*/, void* /*load*/) {
    asm volatile(
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n popq %rdx\n jmp *%rdx\n");
}

namespace emulator {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;
constexpr size_t kSlotBytes = kStackBytes + kGuardBytes;
constexpr int kSavedRegisters = 6;

char* pool = nullptr;

// Stacks for all threads of a block, each above a page that may not be touched.
void allocate_pool() {
    void* memory = mmap(nullptr, kSlotBytes * kMostThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    pool = static_cast<char*>(memory);
    for (int i = 0; i < kMostThreads; ++i) mprotect(pool + i * kSlotBytes, kGuardBytes, PROT_NONE);
}

// Stacks at equal distances would fall on the same lines of the cache: they begin at different ones.
size_t colour(int i) { return size_t(i) * 320 % 8192; }

}  // namespace

void prepare_fibre(Fibre& fibre, int i, void (*entry)()) {
    if (!pool) allocate_pool();
    fibre.stack = pool + i * kSlotBytes + kGuardBytes;
    fibre.stack_bytes = kStackBytes;
    fibre.sanitizer_state = nullptr;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fibre.stack, kStackBytes);
#endif
    void** top = reinterpret_cast<void**>(fibre.stack + kStackBytes - colour(i));
    *--top = nullptr;  // where a return address would be, for the alignment that a function expects
    *--top = reinterpret_cast<void*>(entry);
    for (int k = 0; k < kSavedRegisters; ++k) *--top = nullptr;
    fibre.stack_pointer = top;
}

void entered([[maybe_unused]] Fibre& launcher) {
#ifdef __SANITIZE_ADDRESS__
    const void* stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (!launcher.stack) {  // only the first fibre of a block comes from the launcher
        launcher.stack = const_cast<char*>(static_cast<const char*>(stack));
        launcher.stack_bytes = bytes;
    }
#endif
}

void switch_fibre(Fibre& from, Fibre& to, [[maybe_unused]] bool ends) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ends ? nullptr : &from.sanitizer_state, to.stack, to.stack_bytes);
#endif
    emulator_switch_stack(&from.stack_pointer, to.stack_pointer);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from.sanitizer_state, nullptr, nullptr);
#endif
}

bool on_fibre_stack(const void* p) {
    return size_t(static_cast<const char*>(p) - pool) < kSlotBytes * kMostThreads;  // false for pool == nullptr
}

}  // namespace emulator
