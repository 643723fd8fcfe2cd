#include "../cpu/conv2d.hpp"
#include "../cpu/conv_transpose2d.hpp"

#include "convolution.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

namespace fastimg {
namespace {

// A chain of layers, their weights in the order of use.
struct Network {
    Multiplier multiplier;
    std::vector<Convolution> layers;
    std::vector<size_t> parts;  // that each layer as described is computed in

    void append(std::vector<Convolution> layer) {
        parts.push_back(layer.size());
        for (Convolution& part : layer) layers.push_back(std::move(part));
    }

    // From the sizes of images between layers as described.
    Sizes sizes_between_parts(const std::vector<Pair>& sizes) const {
        Sizes between{sizes[0]};
        for (size_t l = 0; l < parts.size(); ++l) {
            const Sizes within = sizes_within(parts[l], sizes[l], sizes[l + 1]);
            between.insert(between.end(), within.begin() + 1, within.end());
        }
        return between;
    }
};

constexpr const char* kMultipliers[] = {"floats", "widened", "dot", "tiles"};

Multiplier multiplier_of(const std::string& name) {
    const auto found = std::find(std::begin(kMultipliers), std::end(kMultipliers), name);
    return Multiplier(found - std::begin(kMultipliers));
}

template <class Make>
auto adding(Make make) {
    return [make](Network& network, const py::array& weight, const Constants& bias, Pair stride, Pair padding,
                  Pair dilation, py::ssize_t groups, const std::string& padding_mode,
                  const std::optional<std::string>& activation, const Constants& slope) {
        ConvolutionArguments arguments =
            arguments_of(bias, stride, padding, dilation, groups, padding_mode, activation, slope);
        arguments.multiplier = network.multiplier;
        if (network.multiplier != Multiplier::floats)
            arguments.operands = network.layers.empty() ? Operands::split_samples : Operands::channel_pairs;
        network.append(make(readable(weight), arguments));
    };
}

template <class Class, class Add>
void define_layer(Class& network, const char* name, Add add) {
    network.def(name, add, py::arg("weight"), py::kw_only(), py::arg("bias"), py::arg("stride"), py::arg("padding"),
                py::arg("dilation"), py::arg("groups"), py::arg("padding_mode"), py::arg("activation"),
                py::arg("slope"));
}

}  // namespace

void bind_network(py::module_& m) {
    constexpr ptrdiff_t any = PTRDIFF_MAX;
    py::class_<Network> network(m, "Network");
    network.def(py::init([](const std::string& multiplier) { return Network{multiplier_of(multiplier), {}, {}}; }),
                py::arg("multiplier"));
    m.def("bfloat16_multipliers", [] {
        std::vector<std::string> names;
        for (const Multiplier multiplier : bfloat16_multipliers()) names.emplace_back(kMultipliers[size_t(multiplier)]);
        return names;
    });
    define_layer(network, "conv2d", adding([](const Array& weight, const ConvolutionArguments& arguments) {
                     return make_conv2d(weight, arguments);
                 }));
    define_layer(network, "conv_transpose2d", adding([](const Array& weight, const ConvolutionArguments& arguments) {
                     return make_conv_transpose2d(weight, arguments, {any, any});
                 }));
    network.def(
        "pixel_shuffle", [](Network& network, py::ssize_t factor) { network.layers.back().shuffles.push_back(factor); },
        py::arg("factor"));
    network.def(
        "add_input_of",
        [](Network& network, size_t layer) {
            const auto first = network.parts.begin();
            network.layers.back().added.push_back(std::accumulate(first, first + ptrdiff_t(layer), size_t{0}));
        },
        py::arg("layer"));
    network.def(
        "run",
        [](const Network& network, const py::array& x, py::array& out, const std::vector<Pair>& sizes, int threads) {
            const Array x_view = readable(x), out_view = writable(out);
            py::gil_scoped_release nogil;
            convolve(network.layers, network.sizes_between_parts(sizes), x_view, out_view, threads);
        },
        py::arg("x"), py::arg("out"), py::arg("sizes"), py::arg("threads"));
}

}  // namespace fastimg
