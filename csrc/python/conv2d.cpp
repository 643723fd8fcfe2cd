#include "../cpu/conv2d.hpp"

#include "convolution.hpp"

namespace fastimg {

void bind_conv2d(py::module_& m) { bind_convolution(m, "conv2d", conv2d); }

}  // namespace fastimg
