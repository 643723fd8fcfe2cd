// Segmentation faults of a kernel, turned into errors.
#pragma once

#include <signal.h>

namespace emulator {

// While it lives, a fault calls `on_fault` on a stack of its own, from which it must switch away and never return.
class FaultHandler {
public:
    using Callback = void (*)(const void* address, void* instruction);

    explicit FaultHandler(Callback on_fault);
    ~FaultHandler();
    FaultHandler(const FaultHandler&) = delete;
    FaultHandler& operator=(const FaultHandler&) = delete;

private:
    struct sigaction segmentation_before_, bus_before_;
    stack_t stack_before_;
};

}  // namespace emulator
