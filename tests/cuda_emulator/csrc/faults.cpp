#include "faults.hpp"

#include <ucontext.h>

#include <cstdint>

namespace emulator {
namespace {

FaultHandler::Callback callback;
const void* fault_address;
void* fault_instruction;
alignas(64) char signal_stack[64 << 10];
alignas(64) char escape_stack[64 << 10];

void escape() {
    callback(fault_address, fault_instruction);
    __builtin_trap();
}

// Goes on in `escape` once the system has left signal handling; the stack at fault may be the one that overflowed.
void handle_signal(int, siginfo_t* info, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    fault_address = info->si_addr;
    fault_instruction = reinterpret_cast<void*>(registers[REG_RIP]);
    registers[REG_RIP] = reinterpret_cast<greg_t>(&escape);
    registers[REG_RSP] = reinterpret_cast<greg_t>(escape_stack + sizeof escape_stack - 8);  // as after a call
}

}  // namespace

#ifdef __SANITIZE_ADDRESS__  // reports faults itself

FaultHandler::FaultHandler(Callback) {}
FaultHandler::~FaultHandler() {}

#else

FaultHandler::FaultHandler(Callback on_fault) {
    callback = on_fault;
    stack_t stack = {};
    stack.ss_sp = signal_stack;
    stack.ss_size = sizeof signal_stack;
    sigaltstack(&stack, &stack_before_);
    struct sigaction action = {};
    action.sa_sigaction = &handle_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &segmentation_before_);
    sigaction(SIGBUS, &action, &bus_before_);
}

FaultHandler::~FaultHandler() {
    sigaction(SIGSEGV, &segmentation_before_, nullptr);
    sigaction(SIGBUS, &bus_before_, nullptr);
    sigaltstack(&stack_before_, nullptr);
}

#endif

}  // namespace emulator
