"""What comes in as an array, what goes out, and what is refused, shown on `util.random_noise`."""

from __future__ import annotations

import array
import sys

import numpy as np
import pytest

from fastimg import arrays, metrics, util
from fastimg.backends.cuda import runtime

IMAGE = np.random.default_rng(1).random((20, 30), "float32")
EXPECTED = util.random_noise(IMAGE, rng=1)


def noisy(image, **options):
    return util.random_noise(image, rng=1, **options)


# ---- in -------------------------------------------------------------------------------------------------------------


class OnlyDLPack:
    """An array of an unknown library that speaks DLPack alone."""

    def __init__(self, data, device=(1, 0)):
        self.data, self.device = data, device

    def __dlpack__(self, **options):
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class OnlyArrayMethod:
    def __array__(self, dtype=None, copy=None):
        return IMAGE


class OnlyInterface:
    __array_interface__ = IMAGE.__array_interface__
    keep = IMAGE


def misaligned(image: np.ndarray) -> np.ndarray:
    data = np.zeros(image.nbytes + 1, np.uint8)[1:].view(image.dtype).reshape(image.shape)
    data[...] = image
    return data


def field(image: np.ndarray) -> np.ndarray:
    """A field of packed records: its stride is no multiple of the element's size."""
    records = np.zeros(image.shape, np.dtype([("flag", "u1"), ("value", image.dtype)]))
    records["value"] = image
    return records["value"]


def read_only(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image.flags.writeable = False
    return image


SOURCES = {
    "numpy": lambda: IMAGE,
    "read-only": lambda: read_only(IMAGE),
    "big-endian": lambda: IMAGE.astype(">f4"),
    "misaligned": lambda: misaligned(IMAGE),
    "field of records": lambda: field(IMAGE),
    "memoryview": lambda: memoryview(IMAGE),
    "subclass": lambda: IMAGE.view(np.recarray),
    "DLPack": lambda: OnlyDLPack(IMAGE),
    "__array__": OnlyArrayMethod,
    "__array_interface__": OnlyInterface,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_whatever_numpy_can_view(kind):
    result = noisy(SOURCES[kind]())
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, EXPECTED)


def test_lists_and_scalars():
    np.testing.assert_array_equal(noisy(IMAGE.astype(np.float64).tolist()), noisy(IMAGE.astype(np.float64)))
    assert noisy(0.5).shape == ()
    np.testing.assert_array_equal(noisy(array.array("f", IMAGE.ravel())), noisy(IMAGE.ravel()))
    assert noisy(bytearray(b"abc")).shape == (3,)


@pytest.mark.parametrize("kind", ["numpy", "read-only", "memoryview", "DLPack", "__array_interface__"])
def test_sources_are_not_copied(kind):
    source = SOURCES[kind]()
    data = arrays.take(source, "image").data
    assert np.shares_memory(data, np.from_dlpack(source) if kind == "DLPack" else np.asarray(source))


def test_any_strides_are_followed():
    for view in (IMAGE[::-1, ::-2], IMAGE.T, IMAGE[3:9, 5:], np.broadcast_to(IMAGE[0], (20, 30)), IMAGE[:, :1]):
        assert np.shares_memory(arrays.take(view, "image").data, IMAGE)
        np.testing.assert_array_equal(noisy(view), noisy(view.copy()))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.ma.masked_array(IMAGE, IMAGE > 0.5), "image must be a plain array, got MaskedArray"),
        (IMAGE.view(np.matrix), "image must be a plain array, got matrix"),
        (IMAGE.astype(np.int32), "image must have one of the dtypes uint8, uint16, .*, got int32"),
        (IMAGE > 0.5, "image must have one of the dtypes .*, got bool"),
        (IMAGE.astype(complex), "image must have one of the dtypes .*, got complex128"),
        (IMAGE.astype(object), "image must have one of the dtypes .*, got object"),
        (None, "image must have one of the dtypes .*, got object"),
        ("photo.png", "image must have one of the dtypes .*, got str"),
        ([[1.0, 2.0], [3.0]], "image must be an array, got list: .*inhomogeneous"),
        ({"a": 1}, "image must have one of the dtypes .*, got object"),
    ],
)
def test_refused(source, message):
    with pytest.raises(TypeError, match=message):
        noisy(source)


def test_too_many_axes():
    with pytest.raises(ValueError, match="image must have at most 8 dimensions, got 12"):
        noisy(IMAGE.reshape((1,) * 10 + IMAGE.shape))


# ---- on a GPU -------------------------------------------------------------------------------------------------------


class LooksLikeCuda:
    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012


@pytest.mark.parametrize("source", [LooksLikeCuda(), OnlyDLPack(IMAGE, (2, 0)), OnlyDLPack(IMAGE, (10, 0))])
def test_arrays_on_a_gpu_need_cupy(source, monkeypatch):
    def no_cupy():
        raise ImportError("No module named 'cupy'")

    monkeypatch.setattr(runtime, "cupy", no_cupy)
    message = r"image lives on a GPU, and CuPy, .*, is not installed: pip install 'fastimg\[cuda13\]'"
    with pytest.raises(TypeError, match=message):
        noisy(source)
    with pytest.raises(TypeError, match="out lives on a GPU"):
        noisy(IMAGE, out=source)
    with pytest.raises(TypeError, match="image1 lives on a GPU"):
        metrics.mean_squared_error(IMAGE, source)


# ---- tensors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_tensors_in_and_out_without_a_copy(torch):
    tensor = torch.from_numpy(IMAGE)
    assert arrays.take(tensor, "image").data.ctypes.data == tensor.data_ptr()
    result = noisy(tensor)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), EXPECTED)
    strided = tensor.T[::2, 3:]
    assert arrays.take(strided, "image").data.ctypes.data == strided.data_ptr()
    np.testing.assert_array_equal(noisy(strided).numpy(), noisy(strided.numpy()))


def test_result_of_a_tensor_owns_the_kernels_memory(torch):
    source = arrays.take(torch.from_numpy(IMAGE), "image")
    result = source.result((3, 4), ["float32"])
    assert result.give_back().data_ptr() == result.data.ctypes.data


def test_out_may_be_a_strided_tensor(torch):
    big = torch.zeros(60, 20).T
    out = big[:, ::2]
    assert noisy(torch.from_numpy(IMAGE), out=out) is out
    np.testing.assert_array_equal(out.numpy(), EXPECTED)
    assert (big[:, 1::2] == 0).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_dtypes_of_tensors(torch, dtype):
    tensor = torch.zeros(4, 5, dtype=getattr(torch, dtype))
    assert noisy(tensor, preserve_range=True).dtype == tensor.dtype


def test_parameters_and_detached_tensors(torch):
    parameter = torch.nn.Parameter(torch.from_numpy(IMAGE), requires_grad=False)
    out = torch.empty(20, 30)
    assert noisy(parameter, out=out) is out
    np.testing.assert_array_equal(out.numpy(), EXPECTED)
    with pytest.raises(TypeError, match=r"image requires a gradient, .*: pass image.detach\(\)"):
        noisy(torch.zeros(3, 3, requires_grad=True))
    with pytest.raises(TypeError, match="out requires a gradient"):
        noisy(torch.from_numpy(IMAGE), out=torch.zeros(20, 30, requires_grad=True))
    assert noisy(torch.zeros(3, 3, requires_grad=True).detach()).shape == (3, 3)


def test_tensors_that_cannot_be_used(torch):
    with pytest.raises(TypeError, match="image of torch dtype torch.bfloat16 cannot be used"):
        noisy(torch.zeros(3, 3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="image must have one of the dtypes .*, got int64"):
        noisy(torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="image must be on the CPU or a CUDA device, got a tensor on meta"):
        noisy(torch.zeros(3, 3, device="meta"))
    with pytest.raises(TypeError, match="image of torch dtype torch.float32 cannot be used"):
        noisy(torch.eye(3).to_sparse())


def test_lazily_negated_tensors(torch):
    negated = torch.complex(torch.zeros(3, 3), -torch.ones(3, 3) / 2).conj().imag
    assert negated.is_neg()
    np.testing.assert_array_equal(noisy(negated).numpy(), noisy(np.full((3, 3), 0.5, np.float32)))
    with pytest.raises(TypeError, match="out must be a tensor that holds its values"):
        noisy(torch.zeros(3, 3), out=negated)


# ---- out ------------------------------------------------------------------------------------------------------------


def test_out_of_every_layout(layout):
    out = layout(np.zeros_like(IMAGE))
    assert noisy(IMAGE, out=out) is out
    np.testing.assert_array_equal(out, EXPECTED)


def test_out_beside_the_image_in_one_array():
    both = np.zeros((40, 30), np.float32)
    both[::2] = IMAGE
    noisy(both[::2], out=both[1::2])
    np.testing.assert_array_equal(both[1::2], EXPECTED)
    np.testing.assert_array_equal(both[::2], IMAGE)


def test_out_may_be_a_writable_buffer():
    out = memoryview(bytearray(IMAGE.nbytes)).cast("f", IMAGE.shape)
    assert noisy(IMAGE, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), EXPECTED)


def sliding() -> np.ndarray:
    return np.lib.stride_tricks.as_strided(np.zeros(100, np.float32), (20, 30), (4, 4))


WRONG_OUT = {
    "list": (lambda: IMAGE.tolist(), TypeError, "out must be a NumPy or CuPy array or a tensor, got list"),
    "scalar": (lambda: 3, TypeError, "out must be a NumPy or CuPy array or a tensor, got int"),
    "masked": (lambda: np.ma.masked_array(IMAGE), TypeError, "out must be a plain array, got MaskedArray"),
    "dtype": (lambda: np.zeros((20, 30)), TypeError, "out must have dtype float32, got float64"),
    "byte order": (lambda: np.zeros((20, 30), ">f4"), TypeError, "out must have aligned elements of native byte order"),
    "misaligned": (lambda: misaligned(IMAGE), TypeError, "out must have aligned elements of native byte order"),
    "shape": (lambda: np.zeros((30, 20), np.float32), ValueError, r"out must have shape \(20, 30\), got \(30, 20\)"),
    "rank": (lambda: np.zeros((20, 30, 1), np.float32), ValueError, r"out must have shape \(20, 30\), got \(20, 30, 1"),
    "read-only": (lambda: read_only(IMAGE), ValueError, "out is read-only"),
    "bytes": (lambda: memoryview(bytes(2400)).cast("f", (20, 30)), ValueError, "out is read-only"),
    "the image": (lambda: IMAGE, ValueError, "out must not overlap image"),
    "a flip of the image": (lambda: IMAGE[::-1], ValueError, "out must not overlap image"),
    "sliding": (sliding, ValueError, "out must not hold one element at two places"),
}


@pytest.mark.parametrize("case", WRONG_OUT)
def test_wrong_out(case):
    make, error, message = WRONG_OUT[case]
    before = IMAGE.copy()
    with pytest.raises(error, match=message):
        noisy(IMAGE, out=make())
    np.testing.assert_array_equal(IMAGE, before)


def test_broadcast_out():
    row = np.zeros(30, np.float32)
    out = np.lib.stride_tricks.as_strided(row, (20, 30), (0, 4))
    with pytest.raises(ValueError, match="out must not hold one element at two places"):
        noisy(IMAGE, out=out)
    assert (row == 0).all()


def test_out_of_another_kind(torch):
    with pytest.raises(TypeError, match="out must be of the kind of image, ndarray, got Tensor"):
        noisy(IMAGE, out=torch.zeros(20, 30))
    with pytest.raises(TypeError, match="out must be of the kind of image, Tensor, got ndarray"):
        noisy(torch.from_numpy(IMAGE), out=np.zeros((20, 30), np.float32))


def test_torch_is_not_imported_for_numpy():
    assert "torch" not in vars(sys.modules["fastimg.arrays"])
