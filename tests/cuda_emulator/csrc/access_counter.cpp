#include "access_counter.hpp"

#include <algorithm>

namespace emulator {
namespace {

constexpr int kBanks = 32;
constexpr int kBankBytes = 4;
constexpr int kSectorBytes = 32;
constexpr int kMostWords = 4;  // to a lane and pass

// What the lanes of one warp did by one instruction since they met.
struct Requests {
    std::vector<uintptr_t> addresses;  // of lane l in request n at [n * 32 + l]; 0 where it made none
    uint32_t count[kWarp] = {};
};

struct WarpLog {
    std::vector<Requests> of_instruction;
    std::vector<uint16_t> instructions;  // that have requests
};

WarpLog logs[kWarp];

struct Passes {
    int needed, ideal;
};

// A few dozen numbers, which mostly come in ascending order.
class SmallSet {
public:
    void insert(uintptr_t value) {
        if (value <= largest_) {
            for (int i = size_ - 1; i >= 0; --i)
                if (values_[i] == value) return;
        } else {
            largest_ = value;
        }
        values_[size_++] = value;
    }
    int size() const { return size_; }

private:
    uintptr_t values_[2 * kWarp];
    uintptr_t largest_ = 0;
    int size_ = 0;
};

// The passes of the lanes first .. last - 1, which are served together: as many as there are different words in a bank.
int bank_passes(const uintptr_t* addresses, int first, int last, int bytes) {
    uintptr_t words[kWarp * kMostWords];
    int8_t next[kWarp * kMostWords], head[kBanks], in_bank[kBanks] = {};
    std::fill_n(head, kBanks, -1);
    int count = 0, most = 0;
    for (int lane = first; lane < last; ++lane) {
        if (!addresses[lane]) continue;
        for (int offset = 0; offset < std::min(bytes, kMostWords * kBankBytes); offset += kBankBytes) {
            const uintptr_t word = (addresses[lane] + offset) / kBankBytes;
            const int bank = word % kBanks;
            int i = head[bank];
            while (i >= 0 && words[i] != word) i = next[i];
            if (i >= 0) continue;
            words[count] = word;
            next[count] = head[bank];
            head[bank] = int8_t(count++);
            most = std::max<int>(most, ++in_bank[bank]);
        }
    }
    return most;
}

// Accesses of 8 and 16 bytes are served for half and a quarter of the warp at a time.
Passes shared_passes(const uintptr_t* addresses, int bytes) {
    const int lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    Passes passes = {0, 0};
    for (int first = 0; first < kWarp; first += lanes) {
        const int needed = bank_passes(addresses, first, first + lanes, bytes);
        passes.needed += needed;
        passes.ideal += needed > 0;
    }
    return passes;
}

// As many as there are different sectors; ideally no more than hold the bytes.
Passes global_passes(const uintptr_t* addresses, int bytes) {
    SmallSet sectors, distinct;
    for (int lane = 0; lane < kWarp; ++lane) {
        if (!addresses[lane]) continue;
        distinct.insert(addresses[lane]);
        sectors.insert(addresses[lane] / kSectorBytes);
        sectors.insert((addresses[lane] + std::min(bytes, kSectorBytes) - 1) / kSectorBytes);
    }
    return {sectors.size(), (distinct.size() * std::min(bytes, kSectorBytes) + kSectorBytes - 1) / kSectorBytes};
}

void add_request(Instruction& instruction, const uintptr_t* addresses) {
    const Passes passes = instruction.space == Space::kShared ? shared_passes(addresses, instruction.bytes)
                                                              : global_passes(addresses, instruction.bytes);
    ++instruction.requests;
    instruction.passes += passes.needed;
    instruction.ideal_passes += passes.ideal;
    instruction.most_passes = std::max(instruction.most_passes, passes.needed);
}

}  // namespace

void count_access(uint16_t instruction, const void* address) {
    WarpLog& log = logs[emulator_thread / kWarp];
    if (instruction >= log.of_instruction.size()) log.of_instruction.resize(instruction + 1);
    Requests& requests = log.of_instruction[instruction];
    if (requests.addresses.empty()) log.instructions.push_back(instruction);
    const int lane = emulator_thread % kWarp;
    const size_t request = requests.count[lane]++;
    if (requests.addresses.size() <= request * kWarp) requests.addresses.resize((request + 1) * kWarp);
    requests.addresses[request * kWarp + lane] = reinterpret_cast<uintptr_t>(address);
}

void finish_requests_of(int warp, std::vector<Instruction>& instructions) {
    WarpLog& log = logs[warp];
    for (const uint16_t number : log.instructions) {
        Requests& requests = log.of_instruction[number];
        for (size_t i = 0; i < requests.addresses.size(); i += kWarp)
            add_request(instructions[number], &requests.addresses[i]);
        requests.addresses.clear();
        std::fill_n(requests.count, kWarp, 0);
    }
    log.instructions.clear();
}

void finish_requests(std::vector<Instruction>& instructions) {
    for (int warp = 0; warp < kWarp; ++warp) finish_requests_of(warp, instructions);
}

}  // namespace emulator
