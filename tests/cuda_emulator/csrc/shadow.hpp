// What the memory checker knows of each byte of a memory: who wrote it last, and who has read it since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace emulator {

// Threads that made accesses with no barrier between them.
enum class Spread : uint8_t { kOneThread, kOneWarp, kManyWarps, kManyBlocks };

struct Mark {
    uint32_t epoch;       // number of barriers up to then, of all blocks since the process began; 0: never
    uint32_t warp_epoch;  // number of barriers of its warp
    uint16_t thread;      // the last
    uint16_t instruction;
    Spread spread;
    bool atomic;
};

struct Cell {
    Mark written, read;
    bool split;  // the bytes of this word have cells of their own
};

// A cell to each aligned word; to each of its bytes once one is accessed alone.
class Shadow {
public:
    void cover(size_t bytes) {
        const size_t words = (bytes + 3) / 4;
        if (words > words_.size()) words_.resize(words);
    }

    // Visits the cells that stand for `bytes` bytes from `offset` on.
    template <class Visit>
    void visit(size_t offset, size_t bytes, bool makes_alike, const Visit& visit) {
        if (offset % 4 == 0 && bytes % 4 == 0) {
            for (size_t word = offset / 4; word < (offset + bytes) / 4; ++word) visit_word(word, makes_alike, visit);
        } else {
            for (size_t byte = offset; byte < offset + bytes; ++byte) visit(byte_cell(byte));
        }
    }

private:
    template <class Visit>
    void visit_word(size_t word, bool makes_alike, const Visit& visit) {
        Cell& cell = words_[word];
        if (!cell.split) return visit(cell);
        for (int i = 0; i < 4; ++i) visit(bytes_[4 * word + i]);
        if (!makes_alike) return;
        cell = bytes_[4 * word];
        cell.split = false;
    }

    Cell& byte_cell(size_t byte) {
        Cell& word = words_[byte / 4];
        if (!word.split) {
            bytes_.resize(4 * words_.size());
            for (int i = 0; i < 4; ++i) bytes_[byte / 4 * 4 + i] = word;
            word.split = true;
        }
        return bytes_[byte];
    }

    std::vector<Cell> words_, bytes_;
};

}  // namespace emulator
