// How a chain of convolutions goes over an image a piece at a time: which rows and columns every layer computes, and when.
//
// The result is cut into strips of columns and those into bands of rows. A strip's band is walked downwards in steps of a
// few rows: each step, every layer computes the rows that the next one needs and has not yet, from the rows that the one
// before has just left in its window. A window holds all channels of as many rows as its layer's taps reach, and a step's;
// what it has in common with the next step's is kept, so that nothing is computed twice but a strip's halo at its sides
// and a band's above it. Windows stay in L2: of the intermediate images nothing is written to memory.
//
// Rows and columns are counted as in the whole image of their layer, so that borders need no case of their own.
#pragma once

#include "convolution.hpp"

#include <functional>

namespace fastimg {

struct Interval {
    ptrdiff_t begin = 0, end = 0;
    ptrdiff_t size() const { return end - begin; }
};

// What a layer reads and computes along an axis, each counted in its own image.
struct Extent {
    Interval read;  // samples, some of them beyond the border
    Interval cells;
};

// What a plan must know of those who carry it out.
struct Costs {
    ptrdiff_t lanes;                             // cells that are computed together
    std::function<double(size_t layer)> cycles;  // of a cell
    std::function<ptrdiff_t(size_t layer, ptrdiff_t rows, ptrdiff_t columns)> bytes;  // of a window
};

inline ptrdiff_t cell_size(const Convolution& layer, size_t axis) {
    ptrdiff_t size = layer.cell[axis];
    for (const ptrdiff_t r : layer.shuffles) size *= r;
    return size;
}

// The samples that cells read, whether inside the image or not.
Interval read_by(const Convolution& layer, size_t axis, Interval cells);

class Plan {
public:
    Plan(const std::vector<Convolution>& layers, const Sizes& sizes, ptrdiff_t images, ptrdiff_t out_channels,
         int threads, Costs costs);

    // A strip's band of an image each.
    ptrdiff_t tasks() const { return images_ * bands_ * strips_; }
    struct Task {
        ptrdiff_t image;
        Interval rows, columns;  // of the last layer's cells
    };
    Task task(ptrdiff_t i) const;

    std::vector<Extent> extents(size_t axis, Interval cells) const;

    // The first column or row of a window: before all that is read, and all that the layer before writes, by whole steps.
    ptrdiff_t origin(size_t l, size_t axis, const std::vector<Extent>& extents) const;

    // Of the windows: what any task needs.
    const std::vector<ptrdiff_t>& rows() const { return rows_; }
    const std::vector<ptrdiff_t>& columns() const { return columns_; }

    ptrdiff_t step_rows() const { return step_rows_; }  // cells of the last layer

private:
    friend class Schedule;

    void choose_strips();
    double cycles(const std::vector<ptrdiff_t>& heights) const;
    void choose_bands(int threads);
    double cycles_of_band(Interval band) const;
    std::vector<ptrdiff_t> window_rows(Interval band) const;
    std::vector<ptrdiff_t> window_columns(Interval strip) const;
    ptrdiff_t cells(size_t l, size_t axis) const;
    Interval strip(ptrdiff_t i) const;
    Interval band(ptrdiff_t i) const;

    const std::vector<Convolution>& layers_;
    const Sizes& sizes_;
    const ptrdiff_t images_, out_channels_;
    const Costs costs_;
    std::vector<double> cell_cycles_;
    ptrdiff_t cells_[2];
    ptrdiff_t strips_, strip_columns_, bands_, step_rows_;
    std::vector<ptrdiff_t> rows_, columns_;
};

// The rows of a band, step by step.
class Schedule {
public:
    Schedule(const Plan& plan, Interval band);

    // Cells next .. target are to be computed, from rows kept .. end. False when all is done. Where a band begins, the
    // last layers wait for the first ones, which do not run ahead of their share of a step.
    bool advance();

    // Of the image that layer l gives.
    ptrdiff_t rows_computed(size_t l) const;

    std::vector<ptrdiff_t> next, target;  // cells
    std::vector<ptrdiff_t> kept, end;     // rows of the windows

private:
    ptrdiff_t rows_behind(size_t l, ptrdiff_t target) const;
    ptrdiff_t rows_added(size_t l, ptrdiff_t cells) const;

    const Plan& plan_;
    const std::vector<Extent> extents_;
    std::vector<ptrdiff_t> share_;   // cells of a step, at most
    std::vector<ptrdiff_t> lowest_;  // row that stands for one below the image
};

}  // namespace fastimg
