// How the work is shaped
//
// The weight of a pair is symmetric, w(p, q) = w(q, p), so only one half of the offsets t = q - p is visited and each
// weight serves both pixels. The image is cut into tiles; a tile copies its source with the search's margin, as planes
// of float or of shorts, into scratch that stays in L2 (this also settles dtypes, strides and borders, once per pixel),
// and then runs through the offsets, `kGroup` at a time, and for each group through its rows, P (the patch's width) at
// a time:
//
//   sum_over_rows     squared differences, summed over P rows by prefixes and suffixes of groups of P rows (van Herk;
//                     Gil and Werman): no subtraction, so no drift, and a NaN stays where it is
//   weights_of_sums   sums over P columns by shifted additions; exp by a polynomial; into a ring of rows, in L1
//                     (on AVX-512 these two are one loop, weights_of_rows, that shifts from register to register)
//   accumulate        sum(p) += w_t(p) x(p + t) + w_t(p - t) x(p - t), for the offsets of the group at once, while the
//                     sums are in registers
//
// Cost per vector of pixels and pair of offsets, whatever the patch (P = 6): about 24 arithmetic operations (5 to sum
// over rows, 3 over columns, 10 for exp, 6 to accumulate), 14 loads, half of which cross a cache line, and 5 stores. At
// two loads a cycle that is about 10 cycles. For a search of 21 x 21 there are 220 pairs: 220 * 10 / 8 = 275 cycles a
// pixel with vectors of 8. Memory is no limit: a tile's source is read about 1.5 times, the result written once.
//
// Where a weight serves one pixel alone (another plane's, or one of a strength of its own), all offsets are visited and there
// is no ring. denoise_nl_means_arithmetic.inl and _shorts.inl have what sums and weights are computed with, _weights.inl
// tables of weights.
//
// In shorts, for uint8, the same vector of 32 bytes holds 16 pixels: about 33 operations (7, 3, 17 and 12 with the
// widening to 32 bits), 16 loads and 8 stores for twice as many pixels.

#include "denoise_nl_means_arithmetic.inl"
#include "denoise_nl_means_shorts.inl"
#include "denoise_nl_means_tile.inl"

namespace fastimg::FASTIMG_TARGET {

// The size of equal tiles that cover n pixels, at most `largest` each, in multiples of `unit`.
inline int tile_size(ptrdiff_t n, int largest, int unit) {
    const ptrdiff_t count = divide_up(n, largest);
    return int(std::min<ptrdiff_t>(largest, round_up(divide_up(n, count), unit)));
}

// A tile that keeps many planes is smaller.
template <class Sample>
std::array<int, 2> largest_tile(const NlMeans& parameters, const NlMeansImages& images) {
    std::array<int, 2> size{kTileRows, kTileColumns<Sample>};
    const ptrdiff_t planes = ptrdiff_t(OuterPlanes(parameters, 0).count()) * OuterPlanes(parameters, 1).count() *
                             (images.channels() + (images.guided() ? images.guide_channels() : 0));
    const int margin = 2 * parameters.distance + parameters.patch_before + parameters.patch_after;
    const auto bytes = [&] { return planes * (size[0] + margin) * (size[1] + margin) * ptrdiff_t(sizeof(Sample)); };
    for (int axis = 0; bytes() > kTileBytes && std::max(size[0], size[1]) > 32; axis = 1 - axis)
        size[axis] = int(round_up(divide_up(size[axis], 2), 32));  // whole vectors
    return size;
}

template <class Arithmetic, int Planes, int Patch>
void denoise_tiles(const Arithmetic& arithmetic, const NlMeansImages& images, const NlMeans& parameters, int threads) {
    const Array& result = images.result;
    const ptrdiff_t height = result.shape[2], width = result.shape[3];
    const auto [largest_rows, largest_columns] = largest_tile<typename Arithmetic::Sample>(parameters, images);
    const int tile_rows = tile_size(height, largest_rows, 16),
              tile_columns = tile_size(width, largest_columns, Arithmetic::Lanes);
    const ptrdiff_t down = divide_up(height, tile_rows), across = divide_up(width, tile_columns);
    using Denoiser = TileDenoiser<Arithmetic, Planes, Patch>;
    parallel_for(
        result.shape[0] * result.shape[1] * down * across, threads,
        [&] { return Denoiser(arithmetic, parameters, images, tile_rows, tile_columns); },
        [&](ptrdiff_t i, Denoiser& denoise) {
            const ptrdiff_t plane = i / (down * across), row = i / across % down * tile_rows;
            const ptrdiff_t column = i % across * tile_columns;
            denoise(Tile{{plane / result.shape[1], parameters.first_plane + plane % result.shape[1]},
                         row,
                         column,
                         int(std::min<ptrdiff_t>(tile_rows, height - row)),
                         int(std::min<ptrdiff_t>(tile_columns, width - column))});
        });
}

// Kernels of their own for the usual planes (grey, colour; 4 are a grey volume with patches as wide) and patches.
template <class Arithmetic, int Planes, int Patch, int... Patches>
void denoise_patches(const Arithmetic& arithmetic, const NlMeansImages& images, const NlMeans& parameters,
                     int threads) {
    if (Patch == 0 || patch_width(parameters) == Patch)
        return denoise_tiles<Arithmetic, Planes, Patch>(arithmetic, images, parameters, threads);
    if constexpr (sizeof...(Patches) > 0)
        return denoise_patches<Arithmetic, Planes, Patches...>(arithmetic, images, parameters, threads);
    denoise_tiles<Arithmetic, 0, 0>(arithmetic, images, parameters, threads);
}

inline void denoise_in_floats(const NlMeansImages& images, const NlMeans& parameters, int threads) {
    const FloatArithmetic floats(parameters);
    const int planes = is_plain(parameters, images) ? planes_in_patch(parameters, images) : 0;
    switch (planes) {
        case 1: return denoise_patches<FloatArithmetic, 1, 4, 6, 7, 0>(floats, images, parameters, threads);
        case 3: return denoise_patches<FloatArithmetic, 3, 4, 6, 7, 0>(floats, images, parameters, threads);
        case 4: return denoise_patches<FloatArithmetic, 4, 4>(floats, images, parameters, threads);
        default: return denoise_tiles<FloatArithmetic, 0, 0>(floats, images, parameters, threads);
    }
}

template <class Arithmetic>
void denoise_in_shorts(const Arithmetic& shorts, const NlMeansImages& images, const NlMeans& parameters, int threads) {
    switch (planes_in_patch(parameters, images)) {
        case 1: return denoise_patches<Arithmetic, 1, 6, 7>(shorts, images, parameters, threads);
        case 3: return denoise_patches<Arithmetic, 3, 6, 7>(shorts, images, parameters, threads);
        default: return denoise_tiles<Arithmetic, 0, 0>(shorts, images, parameters, threads);
    }
}

inline void denoise_nl_means(const Array& image, const Array& guide, const NlMeansMaps& maps, const Array& result,
                             const NlMeans& parameters, int threads) {
    const NlMeansImages images{image, guide, maps, result};
#if FASTIMG_LEVEL >= 3
    if (image.dtype == DType::u8 && guide.dtype == DType::u8 && result.dtype == DType::u8 &&
        is_plain(parameters, images) && ShortArithmetic::serves(parameters, planes_in_patch(parameters, images)))
        return denoise_in_shorts(ShortArithmetic(parameters), images, parameters, threads);
#endif
    denoise_in_floats(images, parameters, threads);
}

inline void denoise_nl_means_by_table(const Array& image, const Array& guide, const Array& result,
                                      const NlMeans& parameters, const WeightTable& table, int threads) {
    const NlMeansMaps no_maps;
    const NlMeansImages images{image, guide, no_maps, result};
    const auto denoise = [&](const auto& arithmetic) {
        denoise_tiles<std::decay_t<decltype(arithmetic)>, 0, 0>(arithmetic, images, parameters, threads);
    };
#if FASTIMG_LEVEL >= 3
    if (image.dtype == DType::u8 && ShortTableArithmetic::serves(table))
        return denoise_in_shorts(ShortTableArithmetic(table), images, parameters, threads);
#endif
    if (image.dtype == DType::u8 && PairArithmetic::serves(table, planes_in_patch(parameters, images)))
        return denoise_patches<PairArithmetic, 1, 7>(PairArithmetic(table), images, parameters, threads);
    if (image.dtype == DType::u16)
        denoise(WholeArithmetic<uint16_t, true>(table));
    else if (table.absolute)
        denoise(WholeArithmetic<uint8_t, true>(table));
    else
        denoise(WholeArithmetic<uint8_t, false>(table));
}

}  // namespace fastimg::FASTIMG_TARGET
