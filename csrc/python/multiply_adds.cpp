#include "../cpu/multiply_adds.hpp"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace fastimg {

void bind_multiply_adds(py::module_& m) {
    m.def("multiply_adds", &multiply_adds, py::call_guard<py::gil_scoped_release>(), py::arg("count"),
          py::arg("threads"));
}

}  // namespace fastimg
