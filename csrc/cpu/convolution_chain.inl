// A chain of convolutions, run over a piece of the image at a time.
//
// The result is cut into strips of columns and those into bands of rows. A strip's band is walked downwards in steps of a
// few rows: each step, every layer computes the rows that the next one needs and has not yet, from the rows that the one
// before has just left in its window. A window holds all channels of as many rows as its layer's taps reach, and a step's;
// what it has in common with the next step's is kept, so that nothing is computed twice but a strip's halo at its sides
// and a band's above it. Windows stay in L2: of the intermediate images nothing is written to memory.
//
// Every output is summed as if its layer ran alone (convolution.hpp), so that results depend neither on strips and bands nor
// on threads.
//
// A window is staged input (convolution_staging.inl) that the layer before has written: borders are filled in beside what it
// has computed. Rows and columns are counted as in the whole image of that layer, so that borders need no case of their own.

namespace fastimg::FASTIMG_TARGET {

constexpr ptrdiff_t kWindowsBytes = 1 << 20;      // of all windows of a thread, where strips need not be narrow for it
constexpr ptrdiff_t kMostWindowsBytes = 8 << 20;  // however narrow
constexpr double kSumsPerCycle = 1.5 * kLanes;    // multiply-adds
constexpr double kBytesPerCycle = 8;              // from and to what is beyond L2
constexpr double kRowCycles = 200;                // to begin a row of an image: its page is mostly a new one
constexpr ptrdiff_t kNarrowest = 4 * kLanes;      // columns of a strip
constexpr ptrdiff_t kStepRows[] = {32, 16, 8, 4, 2, 1};  // cells of the last layer

struct Interval {
    ptrdiff_t begin = 0, end = 0;
    ptrdiff_t size() const { return end - begin; }
};

// What layers read and compute along an axis, each counted in its own image.
struct Extent {
    Interval read;  // samples, some of them beyond the border
    Interval cells;
};

inline Interval read_by(const Convolution& layer, size_t axis, Interval cells) {
    if (cells.size() <= 0) return {};
    const ptrdiff_t step = layer.step[axis], first = layer.first[axis];
    return {cells.begin * step + first, (cells.end - 1) * step + first + layer.reach[axis] + 1};
}

// The least interval of 0 .. n-1 with all samples that stand for `read`.
inline Interval samples_behind(Interval read, ptrdiff_t n, BorderMode border) {
    Interval found{std::clamp<ptrdiff_t>(read.begin, 0, n), std::clamp<ptrdiff_t>(read.end, 0, n)};
    const auto include = [&](ptrdiff_t outside) {
        const ptrdiff_t i = border_index(outside, n, border);
        if (i < 0) return;
        found = found.size() > 0 ? Interval{std::min(found.begin, i), std::max(found.end, i + 1)} : Interval{i, i + 1};
    };
    for (ptrdiff_t i = read.begin; i < std::min<ptrdiff_t>(read.end, 0); ++i) include(i);
    for (ptrdiff_t i = std::max(read.begin, n); i < read.end; ++i) include(i);
    return found;
}

inline Interval cells_of(const Convolution& layer, size_t axis, Interval outputs) {
    const ptrdiff_t size = cell_size(layer, axis);
    return {outputs.begin / size, divide_up(outputs.end, size)};
}

class Chain {
public:
    Chain(const std::vector<Convolution>& layers, const Sizes& sizes, const View<float, 4>& x,
          const View<float, 4>& out, int threads)
        : layers_(layers), sizes_(sizes), x_(x), out_(out), stages_(layers.size()) {
        const Convolution& last = layers.back();
        for (size_t axis = 0; axis < 2; ++axis) cells_[axis] = divide_up(sizes.back()[axis], cell_size(last, axis));
        choose_strips();
        choose_bands(threads);
        lay_out();
        for (size_t l = 0; l < layers.size(); ++l) finish(l);
    }

    void run(int threads) const {
        parallel_for(
            x_.shape[0] * bands_ * strips_, threads, [this] { return Walk(*this); },
            [&](ptrdiff_t task, Walk& walk) { walk.run(task); });
    }

private:
    // A layer and its window.
    struct Stage {
        Layout layout;
        ptrdiff_t rows;   // of the window
        ptrdiff_t begin;  // of the window among a thread's windows
        ptrdiff_t block_vectors;
        std::vector<std::vector<ptrdiff_t>> offsets;  // of each pattern's taps
        std::vector<Bunch> bunches;
    };

    ptrdiff_t channels(size_t l) const { return layers_[l].groups * layers_[l].inputs; }

    std::vector<Extent> extents(size_t axis, Interval cells) const {
        std::vector<Extent> extents(layers_.size());
        for (size_t l = layers_.size(); l-- > 0;) {
            extents[l] = {read_by(layers_[l], axis, cells), cells};
            if (l > 0)
                cells =
                    cells_of(layers_[l - 1], axis, samples_behind(extents[l].read, sizes_[l][axis], layers_[l].border));
        }
        return extents;
    }
    Interval strip(ptrdiff_t i) const { return {i * strip_columns_, std::min((i + 1) * strip_columns_, cells_[1])}; }
    Interval band(ptrdiff_t i) const { return {i * band_rows_, std::min((i + 1) * band_rows_, cells_[0])}; }

    // The first column or row of a window: before all that is read, and all that the layer before writes, by whole steps.
    ptrdiff_t origin(size_t l, size_t axis, const std::vector<Extent>& extents) const {
        const Interval read = extents[l].read;
        if (l == 0) return read.begin;
        const ptrdiff_t written = extents[l - 1].cells.begin * cell_size(layers_[l - 1], axis);
        const ptrdiff_t step = layers_[l].step[axis];
        return read.begin - round_up(std::max<ptrdiff_t>(read.begin - written, 0), step);
    }

    // ---- plan ------------------------------------------------------------------------------------------------------

    // Width of the strips and rows of a step with the least cost.
    void choose_strips() {
        double least = 0;
        std::array<ptrdiff_t, 2> best{};
        for (const ptrdiff_t rows : kStepRows) {
            step_rows_ = rows;
            const std::vector<ptrdiff_t> heights = window_rows({0, std::min(cells_[0], 32 * rows)});
            for (ptrdiff_t parts = 1;; ++parts) {
                strip_columns_ = round_up(divide_up(cells_[1], parts), kLanes);
                const double cost = cycles(heights);
                if (least == 0 || cost < least) {
                    least = cost;
                    best = {strip_columns_, step_rows_};
                }
                if (strip_columns_ <= kNarrowest) break;
            }
        }
        strip_columns_ = best[0];
        step_rows_ = best[1];
        strips_ = divide_up(cells_[1], strip_columns_);
    }

    // What a column of the result costs, for a row of the last layer's cells: the multiply-adds of all layers, with those of
    // halos and of lanes that are thrown away, and the passage of windows that do not fit into L2.
    double cycles(const std::vector<ptrdiff_t>& heights) const {
        const Interval strip = this->strip(divide_up(cells_[1], strip_columns_) / 2);
        const std::vector<Extent> extents = this->extents(1, strip);
        const double rows = double(channels(0) * sizes_[0][0] + out_.shape[1] * sizes_.back()[0]) / double(cells_[0]);
        double sums = 0, bytes = 0, passed = 0;
        for (size_t l = 0; l < layers_.size(); ++l) {
            const Layout layout = layout_of(l, heights[l], extents[l].read.size());
            sums += taps(l) * double(round_up(extents[l].cells.size(), kLanes) * cells(l, 0)) / double(cells_[0]);
            bytes += 4.0 * double(channels(l) * layout.channel_stride);
            passed += 4.0 * double(channels(l) * layout.channel_stride) / double(step_rows_);
        }
        if (bytes > double(kMostWindowsBytes)) sums *= 1e3;
        return (rows * kRowCycles + sums / kSumsPerCycle +
                (bytes > double(kWindowsBytes) ? passed / kBytesPerCycle : 0)) *
               (1 + 0.05 / double(step_rows_)) / double(strip.size());
    }

    // Bands, so that threads have equally much to do, at the cost of the halos above them.
    void choose_bands(int threads) {
        const double workers = threads > 0 ? threads : default_threads();
        double least = 0;
        ptrdiff_t best = 0;
        for (ptrdiff_t bands = 1; bands <= divide_up(cells_[0], step_rows_) && bands <= 4 * workers; ++bands) {
            band_rows_ = round_up(divide_up(cells_[0], bands), step_rows_);
            bands_ = divide_up(cells_[0], band_rows_);
            const double tasks = double(x_.shape[0] * strips_ * bands_) / workers;  // of a thread
            const double cost = sums_of_band(band(bands_ / 2)) * double(bands_) * (std::ceil(tasks) + 0.1) / tasks;
            if (least == 0 || cost < least) {
                least = cost;
                best = band_rows_;
            }
        }
        band_rows_ = best;
        bands_ = divide_up(cells_[0], band_rows_);
    }

    double sums_of_band(Interval band) const {
        const std::vector<Extent> extents = this->extents(0, band);
        double sums = 0;
        for (size_t l = 0; l < layers_.size(); ++l) sums += taps(l) * double(extents[l].cells.size() * cells(l, 1));
        return sums;
    }

    // Multiply-adds of a cell.
    double taps(size_t l) const {
        const Convolution& layer = layers_[l];
        double taps = 0;
        for (const Pattern& pattern : layer.patterns)
            for_each_tap(pattern, layer.inputs, [&](ptrdiff_t, const Tap&) { ++taps; });
        return taps * double(layer.outputs * layer.groups);
    }
    ptrdiff_t cells(size_t l, size_t axis) const { return divide_up(sizes_[l + 1][axis], cell_size(layers_[l], axis)); }

    // The most rows that windows hold while a band is walked.
    std::vector<ptrdiff_t> window_rows(Interval band) const {
        std::vector<ptrdiff_t> most(stages_.size());
        Schedule schedule(*this, band);
        while (schedule.advance())
            for (size_t l = 0; l < most.size(); ++l) most[l] = std::max(most[l], schedule.end[l] - schedule.kept[l]);
        return most;
    }

    std::vector<ptrdiff_t> window_columns(ptrdiff_t i) const {
        const std::vector<Extent> extents = this->extents(1, strip(i));
        std::vector<ptrdiff_t> columns(stages_.size());
        for (size_t l = 0; l < columns.size(); ++l) {
            ptrdiff_t end = extents[l].read.end;
            if (l > 0) end = std::max(end, extents[l - 1].cells.end * cell_size(layers_[l - 1], 1));
            columns[l] = end - origin(l, 1, extents);
        }
        return columns;
    }

    // Of a window that holds so many rows; a step's more, so that what is kept need not be moved at each step.
    ptrdiff_t room_for(ptrdiff_t rows) const { return rows + step_rows_; }

    Layout layout_of(size_t l, ptrdiff_t rows, ptrdiff_t columns) const {
        const ptrdiff_t step = layers_[l].step[1];
        Layout layout{};
        layout.phase_stride = round_up(divide_up(columns, step), kLanes) + kLanes;
        const ptrdiff_t unsorted = l > 0 ? round_up(columns, kLanes) + kLanes : 0;
        layout.row_stride = std::max(layout.phase_stride * column_phases(layers_[l]), unsorted);
        layout.channel_stride = (divide_up(room_for(rows) * layout.row_stride, 16) | 1) * 16;
        return layout;
    }

    void lay_out() {
        std::vector<ptrdiff_t> rows(stages_.size()), columns(stages_.size());
        const auto raise = [](std::vector<ptrdiff_t>& most, const std::vector<ptrdiff_t>& some) {
            for (size_t l = 0; l < most.size(); ++l) most[l] = std::max(most[l], some[l]);
        };
        for (ptrdiff_t i = 0; i < bands_; ++i) raise(rows, window_rows(band(i)));
        for (ptrdiff_t i = 0; i < strips_; ++i) raise(columns, window_columns(i));
        windows_size_ = 0;
        for (size_t l = 0; l < stages_.size(); ++l) {
            Stage& stage = stages_[l];
            stage.rows = room_for(rows[l]);
            stage.layout = layout_of(l, rows[l], columns[l]);
            stage.begin = windows_size_;
            windows_size_ += channels(l) * stage.layout.channel_stride + 8 * kLanes;
        }
    }

    void finish(size_t l) {
        const Convolution& layer = layers_[l];
        Stage& stage = stages_[l];
        stage.block_vectors = kBlockVectors[most_outputs(layer)];
        for (const Pattern& pattern : layer.patterns) stage.offsets.push_back(offsets_of(pattern, layer, stage.layout));
        OutStrides stride{out_.stride[1], out_.stride[2], out_.stride[3]};
        if (l + 1 < stages_.size()) {
            const Layout& next = stages_[l + 1].layout;
            stride = {next.channel_stride, next.row_stride, 1};
        }
        stage.bunches = place_blocks(layer, stage.offsets, layer.inputs * stage.layout.channel_stride, stride);
        sheet_size_ = std::max(sheet_size_, sheet_size(stage.bunches, cell_size(layer, 1)));
    }

    // ---- which rows, when ------------------------------------------------------------------------------------------

    // The rows of a band, step by step.
    struct Schedule {
        Schedule(const Chain& chain, Interval band)
            : chain(chain),
              extents(chain.extents(0, band)),
              next(extents.size()),
              target(extents.size()),
              share(extents.size()),
              kept(extents.size()),
              end(extents.size()),
              lowest(extents.size()) {
            for (size_t l = 0; l < extents.size(); ++l) {
                target[l] = extents[l].cells.begin;
                share[l] = divide_up(chain.step_rows_ * chain.cells(l, 0), chain.cells_[0]) + 1;
                const ptrdiff_t n = chain.sizes_[l][0];
                const Interval below{std::max(extents[l].read.begin, n), extents[l].read.end};
                const Interval behind = samples_behind(below, n, chain.layers_[l].border);
                lowest[l] = below.size() > 0 && behind.size() > 0 ? behind.begin : PTRDIFF_MAX;
                end[l] = kept[l] = chain.origin(l, 0, extents);
            }
        }

        // Cells next .. target are to be computed, from rows kept .. end. False when all is done. Where a band begins, the
        // last layers wait for the first ones, which do not run ahead of their share of a step.
        bool advance() {
            const size_t n = extents.size();
            next = target;
            if (next.back() >= extents.back().cells.end) return false;
            target.back() = std::min(next.back() + chain.step_rows_, extents.back().cells.end);
            for (size_t l = n - 1; l > 0; --l) {
                const ptrdiff_t wanted = divide_up(rows_behind(l, target[l]), cell_size(chain.layers_[l - 1], 0));
                target[l - 1] = std::clamp(wanted, next[l - 1], extents[l - 1].cells.end);
            }
            for (size_t l = 0; l < n; ++l) {
                const Convolution& layer = chain.layers_[l];
                target[l] = std::min(target[l], next[l] + share[l]);
                const ptrdiff_t there = l == 0 ? chain.sizes_[0][0] : rows_computed(l - 1);
                while (target[l] > next[l] && rows_behind(l, target[l]) > there) --target[l];
                kept[l] = std::max(kept[l], std::min({next[l] * layer.step[0] + layer.first[0], lowest[l], end[l]}));
                if (target[l] > next[l]) end[l] = std::max(end[l], read_by(layer, 0, {next[l], target[l]}).end);
                if (l > 0) end[l] = std::max(end[l], there);
            }
            return true;
        }

        // Of the image that layer l reads, the rows that must be there for its cells next .. target.
        ptrdiff_t rows_behind(size_t l, ptrdiff_t target) const {
            const Convolution& layer = chain.layers_[l];
            return samples_behind(read_by(layer, 0, {next[l], target}), chain.sizes_[l][0], layer.border).end;
        }

        // Of the image that layer l gives.
        ptrdiff_t rows_computed(size_t l) const {
            return std::min(target[l] * cell_size(chain.layers_[l], 0), chain.sizes_[l + 1][0]);
        }

        const Chain& chain;
        const std::vector<Extent> extents;
        std::vector<ptrdiff_t> next, target;  // cells
        std::vector<ptrdiff_t> share;         // cells of a step, at most
        std::vector<ptrdiff_t> kept, end;     // rows of the windows
        std::vector<ptrdiff_t> lowest;        // row that stands for one below the image
    };

    // ---- work ------------------------------------------------------------------------------------------------------

    // One thread's windows, without numbers at first that would make arithmetic slow.
    class Walk {
    public:
        explicit Walk(const Chain& chain)
            : chain_(chain),
              memory_(size_t(chain.windows_size_)),
              sheet_(chain.sheet_size_),
              windows_(chain.stages_.size()) {
            std::fill_n(memory_.data(), chain.windows_size_, 0.0f);
        }

        void run(ptrdiff_t task) {
            const Chain& c = chain_;
            columns_ = c.extents(1, c.strip(task % c.strips_));
            task /= c.strips_;
            Schedule rows(c, c.band(task % c.bands_));
            image_ = task / c.bands_;
            for (size_t l = 0; l < windows_.size(); ++l) {
                Window& w = windows_[l];
                w.data = memory_.data() + c.stages_[l].begin;
                w.column = c.origin(l, 1, columns_);
                w.row = w.filled = w.bordered = rows.end[l];
            }
            while (rows.advance()) {
                make_room(0, rows);
                stage_image(rows);
                for (size_t l = 0; l < windows_.size(); ++l) {
                    if (l + 1 < windows_.size()) make_room(l + 1, rows);
                    compute(l, rows.next[l], rows.target[l]);
                    if (l + 1 < windows_.size()) fill_borders(l + 1, rows);
                }
            }
        }

    private:
        struct Window {
            float* data;
            ptrdiff_t row, column;  // that it begins with
            ptrdiff_t filled;       // rows up to here are there
            ptrdiff_t bordered;     // and up to here those beyond the border
        };

        float* at(size_t l, ptrdiff_t channel, ptrdiff_t row) const {
            const Layout& layout = chain_.stages_[l].layout;
            return windows_[l].data + channel * layout.channel_stride + (row - windows_[l].row) * layout.row_stride;
        }

        // Rows that no cell reads any more give way if the step's would not fit.
        void make_room(size_t l, const Schedule& rows) {
            Window& w = windows_[l];
            if (rows.end[l] - w.row <= chain_.stages_[l].rows) return;
            const ptrdiff_t kept = std::min(rows.kept[l], w.filled);
            const size_t bytes = size_t((w.filled - kept) * chain_.stages_[l].layout.row_stride) * sizeof(float);
            for (ptrdiff_t channel = 0; channel < chain_.channels(l); ++channel)
                std::memmove(at(l, channel, w.row), at(l, channel, kept), bytes);
            w.row = kept;
        }

        void stage_image(const Schedule& rows) {
            const Convolution& layer = chain_.layers_[0];
            const View<float, 4>& x = chain_.x_;
            Window& w = windows_[0];
            const Interval read = columns_[0].read;
            for (ptrdiff_t phase = 0; phase < column_phases(layer); ++phase) {
                const Span span = span_of(read.begin + phase, layer.step[1],
                                          divide_up(read.size() - phase, layer.step[1]), x.shape[3]);
                for (ptrdiff_t channel = 0; channel < chain_.channels(0); ++channel) {
                    for (ptrdiff_t row = w.filled; row < rows.end[0]; ++row) {
                        prefetch_row(channel, row + chain_.step_rows_ * layer.step[0]);
                        float* const to = at(0, channel, row) + phase * chain_.stages_[0].layout.phase_stride;
                        const ptrdiff_t source = border_index(row, x.shape[2], layer.border);
                        if (source < 0)
                            std::fill_n(to, span.count, 0.0f);
                        else
                            stage_row(to, span, x.at(image_, channel, source), x.shape[3], x.stride[3], layer.border);
                    }
                }
            }
            w.filled = std::max(w.filled, rows.end[0]);
        }

        // Of the image, for the next step: few strips are so wide that the processor would see the rows coming.
        void prefetch_row(ptrdiff_t channel, ptrdiff_t row) const {
            const View<float, 4>& x = chain_.x_;
            const Interval read = columns_[0].read;
            if (row < 0 || row >= x.shape[2] || x.stride[3] != 1) return;
            const char* const begin =
                reinterpret_cast<const char*>(x.at(image_, channel, row, std::max<ptrdiff_t>(read.begin, 0)));
            const char* const end =
                reinterpret_cast<const char*>(x.at(image_, channel, row, std::min(read.end, x.shape[3])));
            for (const char* line = begin; line < end; line += 64) __builtin_prefetch(line, 0, 2);
        }

        // Rows of cells, over the strip's columns.
        void compute(size_t l, ptrdiff_t begin, ptrdiff_t end) {
            const Stage& stage = chain_.stages_[l];
            const Convolution& layer = chain_.layers_[l];
            const Interval cells = columns_[l].cells;
            ptrdiff_t column = cells.begin;
            for (const ptrdiff_t vectors : even_parts(divide_up(cells.size(), kLanes), stage.block_vectors)) {
                const ptrdiff_t in_column =
                    (column * layer.step[1] + layer.first[1] - windows_[l].column) / layer.step[1];
                const ptrdiff_t count = std::min(vectors * kLanes, cells.end - column);
                for (ptrdiff_t row = begin; row < end; ++row) {
                    const float* const in = at(l, 0, row * layer.step[0] + layer.first[0]) + in_column;
                    run_blocks(l, in, row, column, vectors, count);
                }
                column += vectors * kLanes;
            }
        }

        void run_blocks(size_t l, const float* in, ptrdiff_t row, ptrdiff_t column, ptrdiff_t vectors,
                        ptrdiff_t count) {
            const Convolution& layer = chain_.layers_[l];
            const ptrdiff_t cell_rows = cell_size(layer, 0), cell_columns = cell_size(layer, 1);
            const ptrdiff_t out_row = row * cell_rows, out_column = column * cell_columns;
            const bool is_last = l + 1 == windows_.size();
            const auto [height, width] = chain_.sizes_[l + 1];
            float* const out = is_last ? chain_.out_.at(image_, 0, out_row, out_column)
                                       : at(l + 1, 0, out_row) + out_column - windows_[l + 1].column;
            const ptrdiff_t stride = is_last ? chain_.out_.stride[3] : 1;
            const bool fits = !is_last || (count == vectors * kLanes && stride == 1);
            const bool directly = fits && cell_columns == 1 && height - out_row >= cell_rows;
            const ptrdiff_t columns = std::min(count * cell_columns, width - out_column);
            for (const Bunch& bunch : chain_.stages_[l].bunches) {
                if (directly) {
                    run_directly(bunch, in, out, vectors);
                    continue;
                }
                run_by_sheet(bunch, in, sheet_.data(), vectors, cell_columns, [&](const CellRow& r, float* values) {
                    if (r.row < height - out_row) store_row(out + r.out_offset, values, columns, stride);
                });
            }
        }

        // What stands beside the image that a window shows, beside the rows that have just been computed.
        void fill_borders(size_t l, const Schedule& rows) {
            const Convolution& layer = chain_.layers_[l];
            const Layout& layout = chain_.stages_[l].layout;
            Window& w = windows_[l];
            const auto [height, width] = chain_.sizes_[l];
            const Interval read = columns_[l].read;
            const ptrdiff_t cell = cell_size(chain_.layers_[l - 1], 0);
            const Interval computed{rows.next[l - 1] * cell, rows.rows_computed(l - 1)};
            const bool reads = rows.target[l] > rows.next[l];
            const ptrdiff_t needed = reads ? read_by(layer, 0, {rows.next[l], rows.target[l]}).end : w.bordered;
            const Interval left{read.begin, std::min<ptrdiff_t>(read.end, 0)},
                right{std::max(read.begin, width), read.end};
            const Interval above{w.bordered, std::min<ptrdiff_t>(needed, 0)},
                below{std::max(w.bordered, height), needed};
            const bool beside = left.size() > 0 || right.size() > 0 || layer.step[1] > 1;
            for (ptrdiff_t channel = 0; channel < chain_.channels(l); ++channel) {
                for (ptrdiff_t row = computed.begin; beside && row < computed.end; ++row) {
                    float* const line = at(l, channel, row) - w.column;
                    const auto fill = [&](ptrdiff_t column) {
                        const ptrdiff_t source = border_index(column, width, layer.border);
                        line[column] = source < 0 ? 0.0f : line[source];
                    };
                    for (ptrdiff_t column = left.begin; column < left.end; ++column) fill(column);
                    for (ptrdiff_t column = right.begin; column < right.end; ++column) fill(column);
                    if (layer.step[1] > 1) sort_columns(l, line + w.column);
                }
                const auto fill_row = [&](ptrdiff_t row) {
                    float* const to = at(l, channel, row);
                    const ptrdiff_t source = border_index(row, height, layer.border);
                    if (source < 0)
                        std::fill_n(to, layout.row_stride, 0.0f);
                    else
                        std::memcpy(to, at(l, channel, source), size_t(layout.row_stride) * sizeof(float));
                };
                for (ptrdiff_t row = above.begin; row < above.end; ++row) fill_row(row);
                for (ptrdiff_t row = below.begin; row < below.end; ++row) fill_row(row);
            }
            w.bordered = std::max(w.bordered, needed);
            w.filled = std::max(w.filled, rows.end[l]);
        }

        // By their remainders by the step, as `stage_row` does.
        void sort_columns(size_t l, float* row) {
            const Convolution& layer = chain_.layers_[l];
            const Layout& layout = chain_.stages_[l].layout;
            unsorted_.assign(row, row + layout.row_stride);
            const ptrdiff_t step = layer.step[1], columns = columns_[l].read.end - windows_[l].column;
            for (ptrdiff_t phase = 0; phase < column_phases(layer); ++phase)
                for (ptrdiff_t i = phase; i < columns; i += step)
                    row[phase * layout.phase_stride + i / step] = unsorted_[size_t(i)];
        }

        const Chain& chain_;
        Scratch<float> memory_, sheet_;
        std::vector<float> unsorted_;
        std::vector<Window> windows_;
        std::vector<Extent> columns_;
        ptrdiff_t image_ = 0;
    };

    const std::vector<Convolution>& layers_;
    const Sizes& sizes_;
    const View<float, 4>&x_, &out_;
    ptrdiff_t cells_[2];
    ptrdiff_t strips_, strip_columns_, bands_, band_rows_, step_rows_;
    std::vector<Stage> stages_;
    ptrdiff_t windows_size_;
    size_t sheet_size_ = 0;
};

inline void convolve(const std::vector<Convolution>& layers, const Sizes& sizes, const View<float, 4>& x,
                     const View<float, 4>& out, int threads) {
    Chain(layers, sizes, x, out, threads).run(threads);
}

}  // namespace fastimg::FASTIMG_TARGET
