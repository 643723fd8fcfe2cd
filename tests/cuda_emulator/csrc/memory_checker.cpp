#include "memory_checker.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "access_counter.hpp"
#include "fibres.hpp"
#include "shadow.hpp"

namespace emulator {

bool checking = false;

namespace {

// ---- instructions and problems --------------------------------------------------------------------------------------

std::vector<Instruction> instructions;
std::vector<Buffer*> last_buffer;  // that each instruction accessed
std::unordered_map<const void*, uint16_t> number_of;
std::map<std::tuple<ProblemKind, uint16_t, uint16_t>, Problem> problems;
const char* kernel;

constexpr size_t kMostInstructions = 65535;
constexpr size_t kCached = 4096;
struct {
    const void* address;
    uint16_t number;
} cache[kCached];

uint16_t instruction_number(const void* address, int bytes, Access access) {
    auto& cached = cache[(reinterpret_cast<uintptr_t>(address) * 0x9e3779b97f4a7c15u) >> 52];
    if (cached.address == address) return cached.number;
    const auto [found, is_new] = number_of.try_emplace(address, uint16_t(instructions.size()));
    if (is_new && instructions.size() < kMostInstructions) {
        instructions.push_back({address, bytes, access, Space::kNone, 0, 0, 0, 0});
        last_buffer.push_back(nullptr);
    }
    cached = {address, found->second};
    return found->second;
}

void report(ProblemKind kind, Space space, uint16_t instruction, const Mark* other = nullptr) {
    Problem& problem = problems[{kind, instruction, other ? other->instruction : uint16_t(0)}];
    if (problem.count++ > 0) return;
    problem.kind = kind;
    problem.space = space;
    problem.instruction = instructions[instruction].address;
    problem.other_instruction = other ? instructions[other->instruction].address : nullptr;
    problem.kernel = kernel;
    problem.block = blockIdx;
    problem.thread = threadIdx;
    problem.other_thread = other ? other->thread : -1;
}

// ---- races ----------------------------------------------------------------------------------------------------------

uint32_t epoch = 0;  // the number of barriers so far, of launches and blocks begun
uint32_t launch_epoch, block_epoch;
uint32_t warp_epochs[kWarp];

// Whether what the mark stands for happens before what the present thread does.
bool is_ordered(const Mark& mark) {
    if (mark.epoch < launch_epoch) return true;
    if (mark.epoch < block_epoch || mark.spread == Spread::kManyBlocks) return false;
    if (mark.epoch < epoch) return true;
    if (mark.spread == Spread::kManyWarps) return false;
    if (mark.spread == Spread::kOneThread && mark.thread == emulator_thread) return true;
    const uint32_t warp = emulator_thread / kWarp;
    return mark.thread / kWarp == warp && mark.warp_epoch < warp_epochs[warp];
}

// How far accesses without a barrier between them spread once the present thread has made one more.
Spread spread_with_present(const Mark& mark) {
    if (mark.epoch < launch_epoch) return Spread::kOneThread;
    if (mark.epoch < block_epoch || mark.spread == Spread::kManyBlocks) return Spread::kManyBlocks;
    if (mark.epoch < epoch) return Spread::kOneThread;
    const uint32_t warp = emulator_thread / kWarp;
    if (mark.spread == Spread::kManyWarps || mark.thread / kWarp != warp) return Spread::kManyWarps;
    if (mark.warp_epoch < warp_epochs[warp]) return Spread::kOneThread;
    return mark.spread == Spread::kOneThread && mark.thread == emulator_thread ? Spread::kOneThread : Spread::kOneWarp;
}

Mark present_mark(uint16_t instruction, Spread spread, bool atomic) {
    return {epoch, warp_epochs[emulator_thread / kWarp], uint16_t(emulator_thread), instruction, spread, atomic};
}

void read_cell(Cell& cell, Space space, uint16_t instruction) {
    if (space == Space::kShared && cell.written.epoch < block_epoch)
        report(ProblemKind::kGarbage, space, instruction);
    else if (!is_ordered(cell.written))
        report(ProblemKind::kReadAfterWrite, space, instruction, &cell.written);
    cell.read = present_mark(instruction, spread_with_present(cell.read), false);
}

void write_cell(Cell& cell, Space space, uint16_t instruction, bool atomic) {
    const bool both_atomic = atomic && cell.written.atomic;
    if (!both_atomic && !is_ordered(cell.written))
        report(ProblemKind::kWriteAfterWrite, space, instruction, &cell.written);
    if (!is_ordered(cell.read)) report(ProblemKind::kWriteAfterRead, space, instruction, &cell.read);
    const Spread spread = both_atomic ? spread_with_present(cell.written) : Spread::kOneThread;
    cell.written = present_mark(instruction, spread, atomic);
    cell.read.epoch = 0;
}

// Shared memory is another one in every block: marks of the last one's are none.
void forget_other_blocks(Cell& cell) {
    if (cell.written.epoch < block_epoch) cell.written.epoch = 0;
    if (cell.read.epoch < block_epoch) cell.read.epoch = 0;
}

void access_cells(Shadow& shadow, size_t offset, int bytes, Access access, Space space, uint16_t instruction) {
    shadow.visit(offset, bytes, access != Access::kRead, [&](Cell& cell) {
        if (space == Space::kShared) forget_other_blocks(cell);
        if (access == Access::kAtomic && space == Space::kShared && cell.written.epoch == 0)
            report(ProblemKind::kGarbage, space, instruction);
        if (access == Access::kRead)
            read_cell(cell, space, instruction);
        else
            write_cell(cell, space, instruction, access == Access::kAtomic);
    });
}

// ---- where an address is --------------------------------------------------------------------------------------------

SharedMemory shared;
Shadow static_shadow, dynamic_shadow;

bool lies_in(const char* address, const char* begin, const char* end) { return address >= begin && address < end; }

Buffer* buffer_at(const char* address, uint16_t instruction) {
    Buffer*& last = last_buffer[instruction];
    if (!last || !lies_in(address, last->data, last->data + last->bytes)) last = find_buffer(address);
    return last;
}

// Constants and the like, which a kernel library holds itself.
bool is_library_data(const char* address) {
    Dl_info info;
    return dladdr(address, &info) != 0;
}

void count_and_check(const char* address, int bytes, Access access, uint16_t instruction, bool count) {
    const auto check = [&](Shadow& shadow, size_t offset, Space space) {
        access_cells(shadow, offset, bytes, access, space, instruction);
        instructions[instruction].space = space;
        if (count && access != Access::kAtomic) count_access(instruction, address);
    };
    if ((bytes & (bytes - 1)) == 0 && bytes <= 16 && reinterpret_cast<uintptr_t>(address) % bytes) {
        const bool is_shared = lies_in(address, shared.static_begin, shared.static_end) ||
                               lies_in(address, shared.dynamic_begin, shared.dynamic_end);
        report(ProblemKind::kAlignment, is_shared ? Space::kShared : Space::kGlobal, instruction);
    }
    if (lies_in(address, shared.static_begin, shared.static_end)) {
        check(static_shadow, address - shared.static_begin, Space::kShared);
        return;
    }
    Buffer* buffer = buffer_at(address, instruction);
    if (!buffer) {
        if (!is_library_data(address)) report(ProblemKind::kBounds, Space::kNone, instruction);
        return;
    }
    const bool is_dynamic = buffer->data == shared.dynamic_begin;
    const Space space = is_dynamic ? Space::kShared : Space::kGlobal;
    if (address < buffer->data || address + bytes > buffer->data + buffer->bytes) {
        report(ProblemKind::kBounds, space, instruction);
        return;
    }
    if (!is_dynamic && !buffer->shadow) {
        buffer->shadow = new Shadow;
        buffer->shadow->cover(buffer->bytes);
    }
    check(is_dynamic ? dynamic_shadow : *buffer->shadow, address - buffer->data, space);
}

}  // namespace

// ---- told by the runtime --------------------------------------------------------------------------------------------

void check_launch(const char* name) {
    kernel = name;
    launch_epoch = ++epoch;
    std::fill_n(last_buffer.data(), last_buffer.size(), nullptr);
}

void check_block(const SharedMemory& memory) {
    shared = memory;
    static_shadow.cover(shared.static_end - shared.static_begin);
    dynamic_shadow.cover(shared.dynamic_end - shared.dynamic_begin);
    block_epoch = ++epoch;
}

void check_barrier() {
    ++epoch;
    finish_requests(instructions);
}

void check_warp_step(int warp, bool is_barrier) {
    warp_epochs[warp] += is_barrier;
    finish_requests_of(warp, instructions);
}

void check_block_end() { finish_requests(instructions); }

void check_access(const void* p, int bytes, Access access, const void* instruction) {
    if (on_fibre_stack(p)) return;
    const uint16_t number = instruction_number(instruction, bytes, access);
    if (number < instructions.size()) count_and_check(static_cast<const char*>(p), bytes, access, number, true);
}

void check_late_write(const void* p, int bytes, const void* instruction) {
    const uint16_t number = instruction_number(instruction, bytes, Access::kWrite);
    if (number < instructions.size())
        count_and_check(static_cast<const char*>(p), bytes, Access::kWrite, number, false);
}

void free_shadow(Buffer& buffer) {
    delete buffer.shadow;
    std::replace(last_buffer.begin(), last_buffer.end(), &buffer, static_cast<Buffer*>(nullptr));
}

}  // namespace emulator

// ---- asked by Python ------------------------------------------------------------------------------------------------

extern "C" void emulator_start_checking() {
    using namespace emulator;
    instructions.clear();
    last_buffer.clear();
    number_of.clear();
    problems.clear();
    for (auto& cached : cache) cached = {nullptr, 0};
    checking = true;
}

extern "C" void emulator_stop_checking() { emulator::checking = false; }

extern "C" size_t emulator_problem_count() { return emulator::problems.size(); }
extern "C" void emulator_get_problems(emulator::Problem* problems) {
    for (const auto& [key, problem] : emulator::problems) *problems++ = problem;
}
extern "C" size_t emulator_instruction_count() { return emulator::instructions.size(); }
extern "C" void emulator_get_instructions(emulator::Instruction* instructions) {
    std::copy(emulator::instructions.begin(), emulator::instructions.end(), instructions);
}
