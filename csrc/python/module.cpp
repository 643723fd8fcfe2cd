// The extension module: one bind_* function per operation, and what concerns all of them.
#include "../cpu/support/targets.hpp"
#include "../cpu/support/thread_pool.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace py = pybind11;

namespace fastimg {

void bind_augment(py::module_& m);
void bind_conv2d(py::module_& m);
void bind_conv_transpose2d(py::module_& m);
void bind_convert_color(py::module_& m);
void bind_denoise_nl_means(py::module_& m);
void bind_gaussian(py::module_& m);
void bind_mean_squared_error(py::module_& m);
void bind_multiply_adds(py::module_& m);
void bind_structural_similarity(py::module_& m);
void bind_resize(py::module_& m);
void bind_network(py::module_& m);
void bind_opencv_lab(py::module_& m);
void bind_random_noise(py::module_& m);
void bind_warp(py::module_& m);

namespace {

std::vector<std::string> names(const std::vector<Target>& targets) {
    std::vector<std::string> list;
    for (Target target : targets) list.emplace_back(target_name(target));
    return list;
}

void select_target_of_environment() {
    const char* name = std::getenv("FASTIMG_CPU");
    if (name == nullptr || *name == '\0') {
        active_target();  // chosen now, not in the first kernel: a fork() meanwhile would leave the child waiting
        return;
    }
    try {
        select_target(name);
    } catch (const std::invalid_argument& error) {
        throw py::import_error("environment variable FASTIMG_CPU: " + std::string(error.what()));
    }
}

void read_threads_of_environment() {
    try {
        default_threads();
    } catch (const std::invalid_argument& error) {
        throw py::import_error("environment variable " + std::string(error.what()));
    }
}

}  // namespace

PYBIND11_MODULE(_fastimg_cpu, m, py::mod_gil_not_used()) {
    m.doc() = "CPU kernels of fastimg";
    m.def("compiler", [] { return std::string("g++ " __VERSION__); });
    m.def("built_targets", [] { return names(built_targets()); });
    m.def("supported_targets", [] { return names(supported_targets()); });
    m.def("active_target", [] { return std::string(target_name(active_target())); });
    m.def("select_target", &select_target, py::arg("name"));
    m.def("get_num_threads", &default_threads);
    m.def("set_num_threads", &set_default_threads, py::arg("n"));
    select_target_of_environment();
    read_threads_of_environment();

    bind_augment(m);
    bind_conv2d(m);
    bind_conv_transpose2d(m);
    bind_convert_color(m);
    bind_denoise_nl_means(m);
    bind_gaussian(m);
    bind_mean_squared_error(m);
    bind_multiply_adds(m);
    bind_resize(m);
    bind_structural_similarity(m);
    bind_network(m);
    bind_opencv_lab(m);
    bind_random_noise(m);
    bind_warp(m);
}

}  // namespace fastimg
