// Where results go: the blocks of a layer with their places, and rows of results on the way to theirs.
//
// Where whole vectors fit, blocks write straight into the next window or the image. Elsewhere they write lines of a sheet
// that stays in L1: each of one channel at one place in the cell, for cells side by side. The lines of a row of the cell
// then become a row of results: interleaved, added to, converted, and no longer than the image.

#include "support/interleave.inl"

namespace fastimg::FASTIMG_TARGET {

constexpr ptrdiff_t kSheetWidth = 8 * kLanes;  // of a line

constexpr int kMostResults = std::max(kBlockOutputs, kMostOutputs* kRowsAtOnce);  // of a block

// A block, where it reads and where its outputs go.
struct PlacedBlock {
    BlockProgram program;
    ptrdiff_t outputs;
    ptrdiff_t in_offset;  // of the group's first channel
    // From the first output of the cell in the first channel; at points those of a row behind those of the one above.
    ptrdiff_t out_offset[kMostResults];
    ptrdiff_t sheet_offset[kMostResults];
};

// A row of the cell in one channel.
struct CellRow {
    ptrdiff_t channel, row;
    ptrdiff_t out_offset;
};

// Blocks whose outputs make whole rows of cells: line i * cell columns + column of the sheet belongs to row i.
struct Bunch {
    std::vector<PlacedBlock> blocks;
    std::vector<CellRow> rows;
};

// Of an image or window that results go to, in elements.
struct OutStrides {
    std::function<ptrdiff_t(ptrdiff_t)> offset_of_channel;
    ptrdiff_t row, column;
};

// The blocks of all groups. `offsets` are those of the layer's patterns, and stay; groups read `group_stride` apart.
inline std::vector<Bunch> place_blocks(const Convolution& layer, const std::vector<std::vector<ptrdiff_t>>& offsets,
                                       ptrdiff_t group_stride, const OutStrides& stride) {
    std::vector<Bunch> bunches;
    const ptrdiff_t cell_columns = cell_size(layer, 1);
    const float *weights = layer.weights.data(), *bias = layer.bias.data(), *slope = layer.slope.data();
    const auto row_of = [&](ptrdiff_t channel, ptrdiff_t row) {
        std::vector<CellRow>& rows = bunches.back().rows;
        const auto is_it = [&](const CellRow& r) { return r.channel == channel && r.row == row; };
        const auto found = std::find_if(rows.begin(), rows.end(), is_it);
        const ptrdiff_t i = found - rows.begin();
        if (found == rows.end()) rows.push_back({channel, row, stride.offset_of_channel(channel) + row * stride.row});
        return i;
    };
    for (ptrdiff_t group = 0; group < layer.groups; ++group) {
        for (const Block& block : layer.blocks) {
            const Pattern& pattern = layer.patterns[block.pattern];
            const std::vector<ptrdiff_t>& taps = offsets[block.pattern];
            // Shuffled rows take from all channels, others from the places of their own.
            if (bunches.empty() || (layer.shuffles.empty() && pattern.place.column == 0)) bunches.emplace_back();
            PlacedBlock placed{
                {taps.data(), ptrdiff_t(taps.size()), pattern.chunk_lines, weights, bias, slope, layer.activation},
                block.outputs,
                group * group_stride,
                {},
                {}};
            const ptrdiff_t points = std::max<ptrdiff_t>(layer.points, 1);
            const ptrdiff_t rows = layer.points > 0 ? layer.cell[0] : 1;  // that the block computes
            for (ptrdiff_t m = 0; m < block.outputs * rows; ++m) {
                CellPlace place = pattern.place;
                place.row += m / block.outputs;
                ptrdiff_t channel = group * layer.outputs + block.channel + m % block.outputs;
                for (const ptrdiff_t r : layer.shuffles) {
                    place = {place.row * r + channel / r % r, place.column * r + channel % r};
                    channel /= r * r;
                }
                placed.out_offset[m] =
                    stride.offset_of_channel(channel) + place.row * stride.row + place.column * stride.column;
                placed.sheet_offset[m] = (row_of(channel, place.row) * cell_columns + place.column) * kSheetWidth;
            }
            bunches.back().blocks.push_back(placed);
            weights += ptrdiff_t(taps.size()) * block.outputs * (pattern.chunk_lines > 0 ? kChunkLines : points);
            bias += kBlockOutputs;
            slope += kBlockOutputs;
        }
    }
    return bunches;
}

inline size_t sheet_size(const std::vector<Bunch>& bunches, ptrdiff_t cell_columns) {
    size_t rows = 0;
    for (const Bunch& bunch : bunches) rows = std::max(rows, bunch.rows.size());
    return (rows + 1) * size_t(cell_columns * kSheetWidth);  // and a row of results
}

// run(block, in, out, offsets) for each block.
template <class Run>
void run_directly(const Bunch& bunch, Run&& run, const float* in, float* out) {
    for (const PlacedBlock& block : bunch.blocks) run(block, in + block.in_offset, out, block.out_offset);
}

// Where a bunch will write, cells further on. Stores leave in their order, so that one which waits for memory holds up all
// behind it, those of a buffer that is wanted at once too.
inline void prefetch_results(const Bunch& bunch, const float* out, ptrdiff_t vectors) {
    for (const CellRow& row : bunch.rows)
        for (ptrdiff_t i = 0; i < vectors * kLanes; i += 64 / ptrdiff_t(sizeof(float)))
            __builtin_prefetch(out + row.out_offset + i, 1);
}

// By way of the sheet: deliver(row, values) for each row of cells, which may change the values.
template <class Run, class Deliver>
void run_by_sheet(const Bunch& bunch, Run&& run, const float* in, float* sheet, ptrdiff_t vectors,
                  ptrdiff_t cell_columns, Deliver&& deliver) {
    for (const PlacedBlock& block : bunch.blocks) run(block, in + block.in_offset, sheet, block.sheet_offset);
    float* lines = sheet;
    float* const interleaved = sheet + ptrdiff_t(bunch.rows.size()) * cell_columns * kSheetWidth;
    for (const CellRow& row : bunch.rows) {
        if (cell_columns == 1) {
            deliver(row, lines);
        } else {
            interleave_lines(interleaved, lines, kSheetWidth, cell_columns, vectors);
            deliver(row, interleaved);
        }
        lines += cell_columns * kSheetWidth;
    }
}

}  // namespace fastimg::FASTIMG_TARGET
