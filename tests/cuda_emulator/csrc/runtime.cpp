// Blocks run one after another, their threads in turns; a thread runs until it has to wait for others.
#include "runtime.hpp"

#include <xmmintrin.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "faults.hpp"
#include "fibres.hpp"
#include "memory.hpp"
#include "memory_checker.hpp"
#include "schedule.hpp"
#include "warp.hpp"

extern "C" {
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
uint32_t emulator_thread;
emulator_dynamic_shared_memory emulator_dynamic_shared;
}

namespace emulator {
namespace {

constexpr int kSharedPoison = 0xff;  // NaN as any kind of float

struct AsyncCopy {
    void* shared;
    const void* global;
    int bytes, bytes_read;
    const void* instruction;
};

struct Thread {
    Fibre fibre;
    uint3 index;
    Location where;  // it waits
    Vote vote;
    bool predicate;
    std::vector<AsyncCopy> copies;   // under way
    std::vector<size_t> groups_end;  // number of copies up to the end of each committed group
};

struct Warp {
    uint32_t live = 0;        // lanes that have not exited
    uint32_t at_barrier = 0;  // lanes that wait for the block
    std::vector<Collective> collectives;
};

Thread threads[kMostThreads];
Warp warps[kWarp];
Schedule schedule;
Fibre launcher;
int running = -1;  // the present thread
int thread_count, warp_count;
int live, at_barrier;
int vote_result;

const Kernel* kernel;
void** arguments;
SharedMemory shared_memory;
Error* error;
bool failed;

// ---- switching ------------------------------------------------------------------------------------------------------

void publish(const Thread& thread) {
    threadIdx = thread.index;
    emulator_thread = uint32_t(&thread - threads);
}

void return_to_launcher(bool ends = false) { switch_fibre(threads[running].fibre, launcher, ends); }

// Lets another thread run; without one, the block is finished or stuck, which the launcher finds out.
void give_way(bool ends = false) {
    if (schedule.empty()) {
        return_to_launcher(ends);
        return;
    }
    Thread& from = threads[running];
    const int next = schedule.take();
    if (next == running) return;
    running = next;
    switch_fibre(from.fibre, threads[next].fibre, ends);
    publish(from);
}

void set_error(Location where, bool in_thread, const char* message, void* instruction = nullptr) {
    if (failed) return;
    failed = true;
    std::snprintf(error->message, sizeof error->message, "%s", message);
    std::snprintf(error->file, sizeof error->file, "%s", where.file ? where.file : "");
    error->line = where.line;
    error->in_thread = in_thread;
    error->block = blockIdx;
    error->thread = threadIdx;
    error->instruction = instruction;
}

// ---- barriers -------------------------------------------------------------------------------------------------------

void check_same_barrier(const Thread& first, const Thread& other) {
    if (first.where.line == other.where.line && std::strcmp(first.where.file, other.where.file) == 0) return;
    threadIdx = other.index;  // the one to blame, rather than the last to come
    fail(other.where, "threads of a block wait at different barriers: this one and that at %s:%d, thread (%u, %u, %u)",
         first.where.file, first.where.line, first.index.x, first.index.y, first.index.z);
}

void release_barrier_if_complete() {
    if (at_barrier == 0 || at_barrier < live) return;
    const Thread* first = nullptr;
    int true_count = 0;
    uint32_t released[kWarp];
    for (int warp = 0; warp < warp_count; ++warp) {
        released[warp] = warps[warp].at_barrier;
        warps[warp].at_barrier = 0;
        for (uint32_t lanes = released[warp]; lanes; lanes &= lanes - 1) {
            const Thread& thread = threads[warp * kWarp + __builtin_ctz(lanes)];
            if (!first) first = &thread;
            check_same_barrier(*first, thread);
            true_count += thread.predicate;
        }
    }
    switch (first->vote) {
        case Vote::kNone: break;
        case Vote::kCount: vote_result = true_count; break;
        case Vote::kAnd: vote_result = true_count == at_barrier; break;
        case Vote::kOr: vote_result = true_count > 0; break;
    }
    at_barrier = 0;
    if (checking) check_barrier();
    schedule.draw_priorities();
    schedule.add_block(released, warp_count);
}

// ---- collective operations of warps ---------------------------------------------------------------------------------

void check_arrival(const Collective& found, const Collective& arriving, int lane) {
    if (!(arriving.mask >> lane & 1))
        fail(arriving.where, "%s by lane %d, which is not in its mask, 0x%08x", name_of(arriving.operation), lane,
             arriving.mask);
    if (found.operation != arriving.operation || found.where.line != arriving.where.line ||
        std::strcmp(found.where.file, arriving.where.file) != 0)
        fail(arriving.where, "lane %d meets a %s that lanes 0x%08x do not take part in: they wait in a %s at %s:%d",
             lane, name_of(arriving.operation), found.arrived, name_of(found.operation), found.where.file,
             found.where.line);
}

Collective& find_collective(Warp& warp, const Collective& arriving) {
    Collective* unused = nullptr;
    for (Collective& collective : warp.collectives) {
        if (collective.mask == arriving.mask) return collective;
        if (collective.mask == 0) unused = &collective;
    }
    if (!unused) unused = &warp.collectives.emplace_back();
    *unused = arriving;
    return *unused;
}

void complete(int warp, Collective& collective) {
    run_collective(collective);
    if (checking && collective.arrived == warps[warp].live)
        check_warp_step(warp, collective.operation == Operation::kBarrier);
    schedule.add(warp, collective.arrived);
    collective.mask = collective.arrived = 0;
}

}  // namespace

// Leaves `offer` for the lane that comes last, and waits.
void join_collective(Operation operation, uint32_t mask, void* offer, Location where) {
    const int lane = running % kWarp;
    Warp& warp = warps[running / kWarp];
    Collective arriving;
    arriving.operation = operation;
    arriving.mask = mask;
    arriving.where = where;
    Collective& collective = find_collective(warp, arriving);
    check_arrival(collective, arriving, lane);
    collective.offers[lane] = offer;
    collective.arrived |= 1u << lane;
    if (collective.arrived == (mask & warp.live)) complete(running / kWarp, collective);
    give_way();
}

int block_barrier(Vote vote, int predicate, Location where) {
    Thread& thread = threads[running];
    thread.where = where;
    thread.vote = vote;
    thread.predicate = predicate != 0;
    warps[running / kWarp].at_barrier |= 1u << running % kWarp;
    ++at_barrier;
    release_barrier_if_complete();
    give_way();
    return vote_result;
}

void fail(Location where, const char* format, ...) {
    char message[sizeof Error::message];
    va_list values;
    va_start(values, format);
    std::vsnprintf(message, sizeof message, format, values);
    va_end(values);
    set_error(where, true, message);
    return_to_launcher();
    __builtin_unreachable();
}

// ---- asynchronous copies --------------------------------------------------------------------------------------------

namespace {

bool in_shared_memory(const void* p, int bytes) {
    const char* address = static_cast<const char*>(p);
    return (address >= shared_memory.static_begin && address + bytes <= shared_memory.static_end) ||
           (address >= shared_memory.dynamic_begin && address + bytes <= shared_memory.dynamic_end);
}

}  // namespace

void check_in_shared_memory(const char* operation, const void* p, int bytes, Location where) {
    if (reinterpret_cast<uintptr_t>(p) % bytes)
        fail(where, "%s of %d bytes at a misaligned address of shared memory, %p", operation, bytes, p);
    if (!in_shared_memory(p, bytes)) fail(where, "%s at %p, outside shared memory", operation, p);
}

void async_copy(void* shared, const void* global, int bytes, int bytes_read, Location where) {
    if (bytes != 4 && bytes != 8 && bytes != 16) fail(where, "async_copy of %d bytes", bytes);
    if (bytes_read < 0 || bytes_read > bytes) fail(where, "async_copy reads %d of %d bytes", bytes_read, bytes);
    check_in_shared_memory("async_copy", shared, bytes, where);
    if (bytes_read && reinterpret_cast<uintptr_t>(global) % bytes)
        fail(where, "async_copy of %d bytes from a misaligned address, %p", bytes, global);
    const void* instruction = __builtin_return_address(0);
    if (checking) {
        check_access(shared, bytes, Access::kWrite, instruction);
        // Told apart from the write by an address of its own, inside the same call.
        if (bytes_read) check_access(global, bytes_read, Access::kRead, static_cast<const char*>(instruction) - 1);
    }
    std::memset(shared, kSharedPoison, bytes);
    threads[running].copies.push_back({shared, global, bytes, bytes_read, instruction});
}

void async_copy_commit() {
    Thread& thread = threads[running];
    thread.groups_end.push_back(thread.copies.size());
}

void async_copy_wait(int groups_left) {
    Thread& thread = threads[running];
    const int groups = int(thread.groups_end.size()) - groups_left;
    if (groups <= 0) return;
    const size_t end = thread.groups_end[groups - 1];
    for (size_t i = 0; i < end; ++i) {
        const AsyncCopy& copy = thread.copies[i];
        if (checking) check_late_write(copy.shared, copy.bytes, copy.instruction);
        std::memcpy(copy.shared, copy.global, copy.bytes_read);
        std::memset(static_cast<char*>(copy.shared) + copy.bytes_read, 0, copy.bytes - copy.bytes_read);
    }
    thread.copies.erase(thread.copies.begin(), thread.copies.begin() + end);
    thread.groups_end.erase(thread.groups_end.begin(), thread.groups_end.begin() + groups);
    for (size_t& group_end : thread.groups_end) group_end -= end;
}

void note_access(const void* p, int bytes, Access access) {
    if (checking) check_access(p, bytes, access, __builtin_return_address(0));
}

void copy_unseen(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

// ---- a thread's life ------------------------------------------------------------------------------------------------

namespace {

void exit_thread() {
    Thread& thread = threads[running];
    if (!thread.copies.empty()) fail({"", 0}, "the thread exits with asynchronous copies under way");
    const int number = running / kWarp;
    Warp& warp = warps[number];
    --live;
    warp.live &= ~(1u << running % kWarp);
    for (Collective& collective : warp.collectives)
        if (collective.arrived && collective.arrived == (collective.mask & warp.live)) complete(number, collective);
    release_barrier_if_complete();
}

void thread_main() {
    entered(launcher);
    publish(threads[running]);
    kernel->call(arguments);
    exit_thread();
    give_way(true);
    __builtin_unreachable();
}

// ---- launches -------------------------------------------------------------------------------------------------------

std::string describe_deadlock() {
    std::map<std::string, int> waiting;
    const auto count = [&](const char* what, Location where, uint32_t lanes) {
        waiting[std::string(what) + " at " + where.file + ":" + std::to_string(where.line)] +=
            __builtin_popcount(lanes);
    };
    for (int warp = 0; warp < warp_count; ++warp) {
        for (uint32_t lanes = warps[warp].at_barrier; lanes; lanes &= lanes - 1)
            count("the block's barrier", threads[warp * kWarp + __builtin_ctz(lanes)].where, 1);
        for (const Collective& collective : warps[warp].collectives) {
            char what[64];
            std::snprintf(what, sizeof what, "a %s of lanes 0x%08x", name_of(collective.operation), collective.mask);
            if (collective.arrived) count(what, collective.where, collective.arrived);
        }
    }
    std::string message = "deadlock:";
    for (const auto& [place, number] : waiting)
        message += (message.back() == ':' ? " " : "; ") + std::to_string(number) + " threads wait in " + place;
    return message;
}

// Not by memset, which AddressSanitizer would keep off the red zones between arrays.
void poison(char* begin, char* end) {
    size_t bytes = end - begin;
    asm volatile("rep stosb" : "+D"(begin), "+c"(bytes) : "a"(kSharedPoison) : "memory");
}

void prepare_block() {
    poison(shared_memory.static_begin, shared_memory.static_end);
    poison(shared_memory.dynamic_begin, shared_memory.dynamic_end);
    live = thread_count;
    at_barrier = 0;
    uint32_t lanes[kWarp];
    for (int warp = 0; warp < warp_count; ++warp) {
        const int in_warp = std::min(kWarp, thread_count - warp * kWarp);
        lanes[warp] = in_warp == kWarp ? kFullWarp : (1u << in_warp) - 1;
        warps[warp].live = lanes[warp];
        warps[warp].at_barrier = 0;
        warps[warp].collectives.clear();
    }
    for (int i = 0; i < thread_count; ++i) {
        prepare_fibre(threads[i].fibre, i, &thread_main);
        threads[i].copies.clear();
        threads[i].groups_end.clear();
    }
    schedule.draw_priorities();
    schedule.add_block(lanes, warp_count);
    if (checking) check_block(shared_memory);
}

void run_block() {
    prepare_block();
    launcher = Fibre();
    running = schedule.take();
    switch_fibre(launcher, threads[running].fibre);
    if (!failed && live > 0) set_error({"", 0}, false, describe_deadlock().c_str());
    running = -1;
    if (checking) check_block_end();
}

std::vector<uint32_t> block_order(const Launch& launch) {
    std::vector<uint32_t> order(size_t(launch.grid.x) * launch.grid.y * launch.grid.z);
    for (size_t i = 0; i < order.size(); ++i) order[i] = uint32_t(i);
    if (launch.policy == Policy::kReversed) std::reverse(order.begin(), order.end());
    if (launch.policy == Policy::kRandom || launch.policy == Policy::kRunAhead)
        for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[schedule.random(uint32_t(i))]);
    return order;
}

void run_grid(const Launch& launch) {
    schedule.begin(launch.policy, launch.seed);
    gridDim = launch.grid;
    blockDim = launch.block;
    thread_count = int(launch.block.x * launch.block.y * launch.block.z);
    warp_count = (thread_count + kWarp - 1) / kWarp;
    for (uint32_t i = 0; i < uint32_t(thread_count); ++i)
        threads[i].index = {i % launch.block.x, i / launch.block.x % launch.block.y,
                            i / (launch.block.x * launch.block.y)};
    if (checking) check_launch(kernel->name);
    for (const uint32_t i : block_order(launch)) {
        blockIdx = {i % launch.grid.x, i / launch.grid.x % launch.grid.y, i / (launch.grid.x * launch.grid.y)};
        run_block();
        if (failed) return;
    }
}

void check_guards(Buffer* dynamic_shared) {
    Buffer* damaged = damaged_buffer();
    if (!damaged) return;
    repair_guards(*damaged);
    const std::string what = damaged == dynamic_shared ? "dynamic shared memory" : "a buffer";
    set_error({"", 0}, false,
              ("something was written beside " + what + " of " + std::to_string(damaged->bytes) + " bytes").c_str());
}

// A thread's segmentation fault ends the launch like any other error.
void on_fault(const void* address, void* instruction) {
    char message[128];
    std::snprintf(message, sizeof message, "access to %p, where no memory is", address);
    set_error({"", 0}, true, message, instruction);
    return_to_launcher();
}

// Floats as kernels are compiled for: subnormal numbers are zeros (-ftz=true).
class FlushSubnormals {
public:
    FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(before_); }

private:
    unsigned before_;
};

}  // namespace
}  // namespace emulator

extern "C" int emulator_launch(const emulator::Kernel* kernel, const emulator::Launch* launch, void** arguments,
                               emulator::Error* error) {
    using namespace emulator;
    emulator::kernel = kernel;
    emulator::arguments = arguments;
    emulator::error = error;
    failed = false;
    Buffer* dynamic = allocate_buffer(launch->dynamic_shared_bytes);
    emulator_dynamic_shared = {reinterpret_cast<unsigned char*>(dynamic->data), dynamic->bytes};
    shared_memory = {kernel->shared_begin, kernel->shared_end, dynamic->data, dynamic->data + dynamic->bytes};
    {
        const FlushSubnormals flush;
        const FaultHandler faults(&on_fault);
        run_grid(*launch);
    }
    check_guards(dynamic);
    free_buffer(dynamic->data);
    return failed;
}
