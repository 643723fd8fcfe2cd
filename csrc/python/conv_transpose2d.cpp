#include "../cpu/conv_transpose2d.hpp"

#include "convolution.hpp"

namespace fastimg {

void bind_conv_transpose2d(py::module_& m) { bind_convolution(m, "conv_transpose2d", conv_transpose2d); }

}  // namespace fastimg
