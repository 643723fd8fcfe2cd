#include "../cpu/denoise_nl_means.hpp"

#include "arrays.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>

namespace fastimg {

namespace {

Weighting weighting_of(const std::string& name) {
    if (name == "welsch") return Weighting::welsch;
    if (name == "epanechnikov") return Weighting::epanechnikov;
    if (name == "bisquare") return Weighting::bisquare;
    if (name == "modified_bisquare") return Weighting::modified_bisquare;
    throw py::value_error("fastimg: unknown weighting " + name);
}

Array map_of(const std::optional<py::array>& map) { return map ? readable(*map) : Array{}; }

}  // namespace

void bind_denoise_nl_means(py::module_& m) {
    m.def(
        "denoise_nl_means",
        [](const py::array& image, const std::optional<py::array>& guide, const std::optional<py::array>& h,
           const std::optional<py::array>& sigma, py::array& result, int patch_before, int patch_after,
           std::vector<float> patch_taps, int patch_distance, bool truncated,
           const std::array<std::tuple<bool, int, bool>, 2>& outer, ptrdiff_t first_plane, const py::object& weighting,
           float scale, float excess, float cutoff, float centre, float gain, int threads) {
            const Array from = readable(image), to = writable(result);
            const Array compared = guide ? readable(*guide) : from;
            const NlMeansMaps maps{map_of(h), map_of(sigma)};
            const bool named = py::isinstance<py::str>(weighting);
            NlMeans parameters{patch_before,
                               patch_after,
                               std::move(patch_taps),
                               patch_distance,
                               truncated,
                               {},
                               first_plane,
                               named ? weighting_of(weighting.cast<std::string>()) : Weighting::function,
                               scale,
                               excess,
                               cutoff,
                               centre,
                               gain};
            for (size_t axis = 0; axis < 2; ++axis)
                std::tie(parameters.outer[axis].in_patch, parameters.outer[axis].distance,
                         parameters.outer[axis].truncated) = outer[axis];
            std::vector<double> weighting_parameters;
            if (!named) {
                parameters.function = reinterpret_cast<WeightFunction>(weighting.attr("address").cast<uintptr_t>());
                weighting_parameters = weighting.attr("parameters").cast<std::vector<double>>();
                parameters.function_parameters = weighting_parameters.data();
            }
            py::gil_scoped_release nogil;
            denoise_nl_means(from, guide ? compared : from, maps, to, parameters, threads);
        },
        py::arg("image"), py::arg("guide"), py::arg("h"), py::arg("sigma"), py::arg("result"), py::kw_only(),
        py::arg("patch_before"), py::arg("patch_after"), py::arg("patch_taps"), py::arg("patch_distance"),
        py::arg("truncated"), py::arg("outer"), py::arg("first_plane"), py::arg("weighting"), py::arg("scale"),
        py::arg("excess"), py::arg("cutoff"), py::arg("centre"), py::arg("gain"), py::arg("threads"));

    m.def(
        "denoise_nl_means_by_table",
        [](const py::array& image, const std::optional<py::array>& guide, py::array& result, int patch_radius,
           int patch_distance, int temporal_distance, ptrdiff_t first_plane,
           const py::array_t<int32_t, py::array::c_style | py::array::forcecast>& weights, int shift, double decay,
           bool absolute, int threads) {
            const Array from = readable(image), to = writable(result);
            const Array compared = guide ? readable(*guide) : from;
            NlMeans parameters{};
            parameters.patch_before = parameters.patch_after = patch_radius;
            parameters.distance = patch_distance;
            parameters.outer[1] = {false, temporal_distance, true};
            parameters.first_plane = first_plane;
            const WeightTable table{{weights.data(), weights.data() + weights.size()}, shift, decay, absolute};
            py::gil_scoped_release nogil;
            denoise_nl_means_by_table(from, guide ? compared : from, to, parameters, table, threads);
        },
        py::arg("image"), py::arg("guide"), py::arg("result"), py::kw_only(), py::arg("patch_radius"),
        py::arg("patch_distance"), py::arg("temporal_distance"), py::arg("first_plane"), py::arg("weights"),
        py::arg("shift"), py::arg("decay"), py::arg("absolute"), py::arg("threads"));
}

}  // namespace fastimg
