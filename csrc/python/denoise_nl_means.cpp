#include "../cpu/denoise_nl_means.hpp"

#include "arrays.hpp"

namespace fastimg {

void bind_denoise_nl_means(py::module_& m) {
    m.def(
        "denoise_nl_means",
        [](const py::array& image, py::array& result, int patch_before, int patch_after, int patch_distance,
           float scale, float excess, float cutoff, float gain, int threads) {
            const Array from = readable(image), to = writable(result);
            const NlMeans parameters{patch_before, patch_after, patch_distance, scale, excess, cutoff, gain};
            py::gil_scoped_release nogil;
            denoise_nl_means(from, to, parameters, threads);
        },
        py::arg("image"), py::arg("result"), py::kw_only(), py::arg("patch_before"), py::arg("patch_after"),
        py::arg("patch_distance"), py::arg("scale"), py::arg("excess"), py::arg("cutoff"), py::arg("gain"),
        py::arg("threads"));
}

}  // namespace fastimg
