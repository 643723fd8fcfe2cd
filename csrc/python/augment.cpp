#include "../cpu/augment.hpp"

#include "../cpu/support/philox.hpp"
#include "arrays.hpp"

#include <pybind11/stl.h>

#include <string>
#include <vector>

namespace fastimg {
namespace {

BorderMode border_of(const std::string& mode) {  // by NumPy's names
    if (mode == "edge") return BorderMode::nearest;
    if (mode == "symmetric") return BorderMode::reflect;
    if (mode == "reflect") return BorderMode::mirror;
    if (mode == "wrap") return BorderMode::wrap;
    if (mode == "constant") return BorderMode::constant;
    throw py::value_error("fastimg: unknown border " + mode);
}

// (N, rows, columns, channels) image by image.
std::vector<Array> images_of(const py::array& batch) {
    const Array all = readable(batch);
    Array image{all.data, all.dtype, 3, {}, {}};
    for (int axis = 0; axis < 3; ++axis) {
        image.shape[axis] = all.shape[axis + 1];
        image.stride[axis] = all.stride[axis + 1];
    }
    std::vector<Array> images(size_t(all.shape[0]), image);
    for (size_t i = 0; i < images.size(); ++i)
        images[i].data = static_cast<char*>(all.data) + batch.strides(0) * ptrdiff_t(i);
    return images;
}

std::vector<Array> images_of(const std::vector<py::array>& list) {
    std::vector<Array> images;
    for (const py::array& image : list) images.push_back(readable(image));
    return images;
}

template <class T>
using Contiguous = py::array_t<T, py::array::c_style>;

template <class Images>
void augment_images(const Images& given, py::array result, const py::array& augmentations, const std::string& mode,
                    float constant, const Contiguous<int32_t>& rectangles, const Contiguous<float>& fill,
                    const Contiguous<float>& scale, const Contiguous<float>& offset, int threads) {
    if (augmentations.itemsize() != sizeof(Augmentation))
        throw py::value_error("fastimg: augmentations of another layout");
    const std::vector<Array> images = images_of(given);
    const Array to = writable(result);
    const auto* const what = static_cast<const Augmentation*>(augmentations.data());
    const Finish finish{border_of(mode), constant,     rectangles.shape(1), (const Rectangle*)rectangles.data(),
                        fill.data(),     scale.data(), offset.data()};
    py::gil_scoped_release nogil;
    augment(images, to, what, finish, threads);
}

}  // namespace

void bind_augment(py::module_& m) {
    const auto bind = [&](auto function) {
        m.def("augment", function, py::arg("images"), py::arg("result"), py::arg("augmentations"), py::arg("mode"),
              py::arg("constant"), py::arg("rectangles"), py::arg("fill"), py::arg("scale"), py::arg("offset"),
              py::arg("threads"));
    };
    bind(augment_images<py::array>);
    bind(augment_images<std::vector<py::array>>);
    m.def(
        "mix",
        [](py::array images, const Contiguous<float>& weights, int threads) {
            const Array all = writable(images);
            const float* const w = weights.data();
            py::gil_scoped_release nogil;
            mix(all, w, threads);
        },
        py::arg("images"), py::arg("weights"), py::arg("threads"));
    m.def(
        "random_words",  // [index][stream][block]: four words each, of counter (index, stream, block)
        [](const Contiguous<uint64_t>& indices, uint32_t streams, uint32_t blocks, uint64_t key) {
            const ptrdiff_t n = indices.size();
            Contiguous<uint32_t> words({n, ptrdiff_t(streams), ptrdiff_t(blocks), ptrdiff_t(4)});
            const uint64_t* const index = indices.data();
            auto* to = reinterpret_cast<PhiloxWords*>(words.mutable_data());
            for (ptrdiff_t i = 0; i < n; ++i)
                for (uint32_t stream = 0; stream < streams; ++stream)
                    for (uint32_t block = 0; block < blocks; ++block)
                        *to++ = philox({uint32_t(index[i]), uint32_t(index[i] >> 32), stream, block}, key);
            return words;
        },
        py::arg("indices"), py::arg("streams"), py::arg("blocks"), py::arg("key"));
}

}  // namespace fastimg
