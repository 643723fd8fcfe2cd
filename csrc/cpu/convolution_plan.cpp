#include "convolution_plan.hpp"

#include "support/border.hpp"
#include "support/thread_pool.hpp"

#include <algorithm>
#include <cmath>

namespace fastimg {
namespace {

constexpr double kWindowsBytes = 1 << 20;      // of all windows of a thread: what L2 holds
constexpr double kMostWindowsBytes = 8 << 20;  // however narrow
constexpr double kBytesPerCycle = 8;           // from and to what is beyond L2
constexpr double kRowCycles = 1000;            // to begin a row of an image: its page is mostly a new one
constexpr ptrdiff_t kNarrowest = 4;            // strips, in lanes
constexpr ptrdiff_t kStepRows[] = {32, 16, 8, 4, 2, 1};

Interval both(Interval a, Interval b) {
    if (a.size() <= 0) return b;
    if (b.size() <= 0) return a;
    return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// The least interval of 0 .. n-1 with all samples that stand for `read`.
Interval samples_behind(Interval read, ptrdiff_t n, BorderMode border) {
    Interval found{std::clamp<ptrdiff_t>(read.begin, 0, n), std::clamp<ptrdiff_t>(read.end, 0, n)};
    const auto include = [&](ptrdiff_t outside) {
        const ptrdiff_t i = border_index(outside, n, border);
        if (i >= 0) found = both(found, {i, i + 1});
    };
    for (ptrdiff_t i = read.begin; i < std::min<ptrdiff_t>(read.end, 0); ++i) include(i);
    for (ptrdiff_t i = std::max(read.begin, n); i < read.end; ++i) include(i);
    return found;
}

Interval cells_of(const Convolution& layer, size_t axis, Interval outputs) {
    const ptrdiff_t size = cell_size(layer, axis);
    return {outputs.begin / size, divide_up(outputs.end, size)};
}

void raise(std::vector<ptrdiff_t>& most, const std::vector<ptrdiff_t>& some) {
    for (size_t l = 0; l < most.size(); ++l) most[l] = std::max(most[l], some[l]);
}

}  // namespace

Interval read_by(const Convolution& layer, size_t axis, Interval cells) {
    if (cells.size() <= 0) return {};
    const ptrdiff_t step = layer.step[axis], first = layer.first[axis];
    return {cells.begin * step + first, (cells.end - 1) * step + first + layer.reach[axis] + 1};
}

// ---- plan ---------------------------------------------------------------------------------------------------------

Plan::Plan(const std::vector<Convolution>& layers, const Sizes& sizes, ptrdiff_t images, ptrdiff_t out_channels,
           int threads, Costs costs)
    : layers_(layers), sizes_(sizes), images_(images), out_channels_(out_channels), costs_(std::move(costs)) {
    for (size_t l = 0; l < layers.size(); ++l) cell_cycles_.push_back(costs_.cycles(l));
    for (size_t axis = 0; axis < 2; ++axis) cells_[axis] = cells(layers.size() - 1, axis);
    choose_strips();
    choose_bands(threads);
    rows_.assign(layers.size(), 0);
    columns_.assign(layers.size(), 0);
    for (ptrdiff_t i = 0; i < bands_; ++i) raise(rows_, window_rows(band(i)));
    for (ptrdiff_t i = 0; i < strips_; ++i) raise(columns_, window_columns(strip(i)));
}

Plan::Task Plan::task(ptrdiff_t i) const {
    return {i / strips_ / bands_, band(i / strips_ % bands_), strip(i % strips_)};
}

Interval Plan::strip(ptrdiff_t i) const { return {i * strip_columns_, std::min((i + 1) * strip_columns_, cells_[1])}; }

Interval Plan::band(ptrdiff_t i) const { return {i * cells_[0] / bands_, (i + 1) * cells_[0] / bands_}; }

ptrdiff_t Plan::cells(size_t l, size_t axis) const {
    return divide_up(sizes_[l + 1][axis], cell_size(layers_[l], axis));
}

std::vector<Extent> Plan::extents(size_t axis, Interval cells) const {
    std::vector<Extent> extents(layers_.size());
    std::vector<Interval> added(layers_.size());  // what later layers add to their results
    for (size_t l = layers_.size(); l-- > 0;) {
        const ptrdiff_t size = cell_size(layers_[l], axis);
        for (const size_t from : layers_[l].added)
            added[from] = both(added[from], {cells.begin * size, std::min(cells.end * size, sizes_[l + 1][axis])});
        extents[l] = {both(read_by(layers_[l], axis, cells), added[l]), cells};
        if (l > 0)
            cells = cells_of(layers_[l - 1], axis, samples_behind(extents[l].read, sizes_[l][axis], layers_[l].border));
    }
    return extents;
}

ptrdiff_t Plan::origin(size_t l, size_t axis, const std::vector<Extent>& extents) const {
    const Interval read = extents[l].read;
    if (l == 0) return read.begin;
    const ptrdiff_t written = extents[l - 1].cells.begin * cell_size(layers_[l - 1], axis);
    const ptrdiff_t step = layers_[l].step[axis];
    return read.begin - round_up(std::max<ptrdiff_t>(read.begin - written, 0), step);
}

// Width of the strips and rows of a step with the least cost.
void Plan::choose_strips() {
    double least = 0;
    std::array<ptrdiff_t, 2> best{};
    for (const ptrdiff_t rows : kStepRows) {
        step_rows_ = rows;
        const std::vector<ptrdiff_t> heights = window_rows({0, std::min(cells_[0], 32 * rows)});
        for (ptrdiff_t parts = 1;; ++parts) {
            strip_columns_ = round_up(divide_up(cells_[1], parts), costs_.lanes);
            const double cost = cycles(heights);
            if (least == 0 || cost < least) {
                least = cost;
                best = {strip_columns_, step_rows_};
            }
            if (strip_columns_ <= kNarrowest * costs_.lanes) break;
        }
    }
    strip_columns_ = best[0];
    step_rows_ = best[1];
    strips_ = divide_up(cells_[1], strip_columns_);
}

// What a column of the result costs, for a row of the last layer's cells: the arithmetic of all layers, with that of halos and
// of lanes that are thrown away, the rows that begin, and the passage of what does not fit into L2: of whole windows at each
// step, and of every row.
double Plan::cycles(const std::vector<ptrdiff_t>& heights) const {
    const Interval strip = this->strip(divide_up(cells_[1], strip_columns_) / 2);
    const std::vector<Extent> extents = this->extents(1, strip);
    const ptrdiff_t in_channels = layers_[0].groups * layers_[0].inputs;
    double cycles =
        kRowCycles * double(in_channels * sizes_[0][0] + out_channels_ * sizes_.back()[0]) / double(cells_[0]);
    double bytes = 0, bytes_of_row = 0;  // of the last layer's cells
    for (size_t l = 0; l < layers_.size(); ++l) {
        cycles +=
            cell_cycles_[l] * double(round_up(extents[l].cells.size(), costs_.lanes) * cells(l, 0)) / double(cells_[0]);
        bytes += double(costs_.bytes(l, heights[l], extents[l].read.size()));
        bytes_of_row += double(costs_.bytes(l, 1, extents[l].read.size()) * sizes_[l][0]) / double(cells_[0]);
    }
    if (bytes > kMostWindowsBytes) cycles *= 1e3;
    const double beyond = std::max(1 - kWindowsBytes / bytes, 0.0);  // L2
    cycles += beyond * (bytes / double(step_rows_) + bytes_of_row) / kBytesPerCycle;
    const double rows = double(step_rows_ * layers_.back().step[0]);
    return cycles * (1 + 0.05 / rows) / double(strip.size());
}

// Bands, so that threads have equally much to do, at the cost of the halos above them.
void Plan::choose_bands(int threads) {
    const double workers = threads > 0 ? threads : default_threads();
    double least = 0;
    ptrdiff_t best = 0;
    for (bands_ = 1; bands_ <= divide_up(cells_[0], step_rows_) && double(bands_) <= 4 * workers; ++bands_) {
        const double tasks = double(this->tasks()) / workers;  // of a thread
        const double cost = cycles_of_band(band(bands_ / 2)) * double(bands_) * (std::ceil(tasks) + 0.1) / tasks;
        if (least == 0 || cost < least) {
            least = cost;
            best = bands_;
        }
    }
    bands_ = best;
}

double Plan::cycles_of_band(Interval band) const {
    const std::vector<Extent> extents = this->extents(0, band);
    double cycles = 0;
    for (size_t l = 0; l < layers_.size(); ++l)
        cycles += cell_cycles_[l] * double(extents[l].cells.size() * cells(l, 1));
    return cycles;
}

// The most rows that windows hold while a band is walked.
std::vector<ptrdiff_t> Plan::window_rows(Interval band) const {
    std::vector<ptrdiff_t> most(layers_.size());
    Schedule schedule(*this, band);
    while (schedule.advance())
        for (size_t l = 0; l < most.size(); ++l) most[l] = std::max(most[l], schedule.end[l] - schedule.kept[l]);
    return most;
}

std::vector<ptrdiff_t> Plan::window_columns(Interval strip) const {
    const std::vector<Extent> extents = this->extents(1, strip);
    std::vector<ptrdiff_t> columns(layers_.size());
    for (size_t l = 0; l < columns.size(); ++l) {
        ptrdiff_t end = extents[l].read.end;
        if (l > 0) end = std::max(end, extents[l - 1].cells.end * cell_size(layers_[l - 1], 1));
        columns[l] = end - origin(l, 1, extents);
    }
    return columns;
}

// ---- which rows, when ---------------------------------------------------------------------------------------------

Schedule::Schedule(const Plan& plan, Interval band)
    : next(plan.layers_.size()),
      target(next.size()),
      kept(next.size()),
      end(next.size()),
      plan_(plan),
      extents_(plan.extents(0, band)),
      share_(next.size()),
      lowest_(next.size()) {
    for (size_t l = 0; l < next.size(); ++l) {
        target[l] = extents_[l].cells.begin;
        share_[l] = divide_up(plan.step_rows_ * plan.cells(l, 0), plan.cells_[0]) + 1;
        const ptrdiff_t n = plan.sizes_[l][0];
        const Interval below{std::max(extents_[l].read.begin, n), extents_[l].read.end};
        const Interval behind = samples_behind(below, n, plan.layers_[l].border);
        lowest_[l] = below.size() > 0 && behind.size() > 0 ? behind.begin : PTRDIFF_MAX;
        end[l] = kept[l] = plan.origin(l, 0, extents_);
    }
}

bool Schedule::advance() {
    const std::vector<Convolution>& layers = plan_.layers_;
    const size_t n = layers.size();
    next = target;
    if (next.back() >= extents_.back().cells.end) return false;
    target.back() = std::min(next.back() + plan_.step_rows_, extents_.back().cells.end);
    std::vector<ptrdiff_t> added(n);  // rows of the window that are added
    for (size_t l = n; l-- > 0;) {
        for (const size_t from : layers[l].added) added[from] = std::max(added[from], rows_added(l, target[l]));
        if (l == 0) break;
        const ptrdiff_t rows = std::max(rows_behind(l, target[l]), added[l]);
        target[l - 1] =
            std::clamp(divide_up(rows, cell_size(layers[l - 1], 0)), next[l - 1], extents_[l - 1].cells.end);
    }
    for (size_t l = 0; l < n; ++l) {
        const Convolution& layer = layers[l];
        const ptrdiff_t there = l == 0 ? plan_.sizes_[0][0] : rows_computed(l - 1);
        target[l] = std::min(target[l], next[l] + share_[l]);
        while (target[l] > next[l] && rows_behind(l, target[l]) > there) --target[l];
        kept[l] = std::max(kept[l], std::min({next[l] * layer.step[0] + layer.first[0], lowest_[l], end[l]}));
        if (target[l] > next[l]) end[l] = std::max(end[l], read_by(layer, 0, {next[l], target[l]}).end);
        end[l] = std::max(end[l], l == 0 ? std::min(added[0], there) : there);
        for (const size_t from : layer.added) {
            while (target[l] > next[l] && rows_added(l, target[l]) > end[from]) --target[l];
            kept[from] = std::min(kept[from], next[l] * cell_size(layer, 0));
        }
    }
    return true;
}

// Of the image that layer l reads, the rows that must be there for its cells next .. target.
ptrdiff_t Schedule::rows_behind(size_t l, ptrdiff_t target) const {
    const Convolution& layer = plan_.layers_[l];
    return samples_behind(read_by(layer, 0, {next[l], target}), plan_.sizes_[l][0], layer.border).end;
}

// Of an image that is added to what layer l gives, the rows that its cells up to `cells` take.
ptrdiff_t Schedule::rows_added(size_t l, ptrdiff_t cells) const {
    return cells > next[l] ? std::min(cells * cell_size(plan_.layers_[l], 0), plan_.sizes_[l + 1][0]) : 0;
}

ptrdiff_t Schedule::rows_computed(size_t l) const {
    return std::min(target[l] * cell_size(plan_.layers_[l], 0), plan_.sizes_[l + 1][0]);
}

}  // namespace fastimg
