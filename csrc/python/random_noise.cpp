#include "../cpu/random_noise.hpp"

#include "arrays.hpp"

#include <string>

namespace fastimg {
namespace {

NoiseMode mode_of(const std::string& name) {
    if (name == "gaussian") return NoiseMode::gaussian;
    if (name == "local_gaussian") return NoiseMode::local_gaussian;
    if (name == "speckle") return NoiseMode::speckle;
    if (name == "poisson") return NoiseMode::poisson;
    if (name == "impulses") return NoiseMode::impulses;
    if (name == "counted_impulses") return NoiseMode::counted_impulses;
    throw py::value_error("fastimg: unknown mode of noise " + name);
}

}  // namespace

void bind_random_noise(py::module_& m) {
    m.def(
        "random_noise",
        [](const py::array& image, const py::array& variances, py::array& result, const std::string& mode, uint64_t key,
           double divisor, double low, double high, bool clip, int threads, double mean, double deviation,
           double rate_factor, double rate_offset, double count_factor, double count_offset, double salt, double pepper,
           int64_t salt_count, int64_t pepper_count) {
            const Array from = readable(image), local = readable(variances), to = writable(result);
            const Noise noise{mode_of(mode), key,    divisor,     mean,        deviation,    low,
                              high,          clip,   rate_factor, rate_offset, count_factor, count_offset,
                              salt,          pepper, salt_count,  pepper_count};
            py::gil_scoped_release nogil;
            random_noise(from, local, to, noise, threads);
        },
        py::arg("image"), py::arg("variances"), py::arg("result"), py::arg("mode"), py::arg("key"), py::arg("divisor"),
        py::arg("low"), py::arg("high"), py::arg("clip"), py::arg("threads"), py::kw_only(), py::arg("mean") = 0.0,
        py::arg("deviation") = 0.0, py::arg("rate_factor") = 0.0, py::arg("rate_offset") = 0.0,
        py::arg("count_factor") = 0.0, py::arg("count_offset") = 0.0, py::arg("salt") = 0.0, py::arg("pepper") = 0.0,
        py::arg("salt_count") = 0, py::arg("pepper_count") = 0);
}

}  // namespace fastimg
