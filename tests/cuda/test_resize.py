"""Resizing on a device, against the NumPy reference and the CPU."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference import resize as reference
from tolerances import assert_close

from fastimg import transform

backend = import_module("fastimg.backends.cuda.resize")  # the package has the function under this name

KERNELS = ["nearest", "bilinear", "bicubic", "lanczos2", "lanczos3"]
DTYPES = ["uint8", "uint16", "float16", "float32"]
SHAPES = [  # image, output size: rows first and columns first, in one launch and in two
    ((1, 1), (5, 3)),
    ((1, 7), (3, 2)),
    ((21, 27), (21, 27)),
    ((21, 27, 3), (42, 54)),
    ((41, 67, 3), (21, 34)),
    ((20, 50, 3), (13, 97)),
    ((40, 20, 3), (97, 7)),
    ((3, 300), (2, 700)),
    ((900, 2), (5, 3)),
    ((3, 900), (2, 5)),
]


def on_device(device, image, *arguments, **options) -> np.ndarray:
    return device.numpy(transform.resize(device.array(image), *arguments, **options))


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_agrees_with_reference(device, rng, shape, size):
    image = random_image(rng, shape, "float32")
    for kernel in ("bicubic", "nearest", "lanczos3"):
        result = on_device(device, image, size, kernel=kernel, anti_aliasing=True)
        assert_close(result, reference.resize(image, size, kernel))
    assert_close(on_device(device, image, size, anti_aliasing=False), reference.resize(image, size, "bicubic", False))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(device, rng, dtype):
    for shape, size in SHAPES[4:6]:
        image = random_image(rng, shape, dtype)
        result = on_device(device, image, size)
        assert result.dtype == (np.float32 if image.dtype.kind == "u" else dtype)
        unit = image / np.iinfo(dtype).max if image.dtype.kind == "u" else image
        assert_close(result, reference.resize(unit, size))


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_rounded_exactly(device, rng, shape, size, dtype):
    """Not a single sample differs from the rounding of the exact sums."""
    image = random_image(rng, shape, dtype)
    for kernel in ("bicubic", "lanczos3"):
        result = on_device(device, image, size, kernel=kernel, preserve_range=True)
        np.testing.assert_array_equal(result, reference.resize(image, size, kernel), strict=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("scale", [0.5, 2 / 3, 1.5, 2, 3])
def test_integers_are_the_cpus(device, rng, dtype, scale):
    """Larger images, where exact halves are met."""
    image = random_image(rng, (61, 94), dtype)
    result = device.numpy(transform.rescale(device.array(image), scale, preserve_range=True))
    np.testing.assert_array_equal(result, transform.rescale(image, scale, preserve_range=True), strict=True)


@pytest.mark.parametrize("mode", ["edge", "symmetric", "reflect"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_borders(device, rng, kernel, mode):
    for shape, size in (((13, 17), (9, 7)), ((13, 17), (30, 41)), ((1, 17), (40, 3)), ((2, 3), (31, 40))):
        image = rng.random(shape, dtype=np.float32)
        result = on_device(device, image, size, kernel=kernel, mode=mode)
        assert_close(result, reference.resize(image, size, kernel, kernel != "nearest", mode))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_layout(device, rng, layout, dtype):
    image = random_image(rng, (15, 18, 3), dtype)
    plain = on_device(device, image, (10, 31), preserve_range=True)
    laid_out = on_device(device, LAYOUTS[layout](image), (10, 31), preserve_range=True)
    np.testing.assert_array_equal(laid_out, plain)
    out = device.array(LAYOUTS[layout](np.zeros_like(plain)))
    assert transform.resize(device.array(image), (10, 31), preserve_range=True, out=out) is out
    np.testing.assert_array_equal(device.numpy(out), plain)


def test_axes(device, rng):
    image = rng.random((3, 2, 11, 9), dtype=np.float32)
    result = on_device(device, image, (7, 20), axes=(-2, -1))
    for n in range(3):
        for c in range(2):
            np.testing.assert_array_equal(result[n, c], on_device(device, image[n, c], (7, 20)))
    channels_last = np.moveaxis(image, 1, -1)
    np.testing.assert_array_equal(on_device(device, channels_last, (7, 20), axes=(1, 2)), np.moveaxis(result, 1, -1))
    np.testing.assert_array_equal(on_device(device, image, (20, 7), axes=(3, 2)), result)


@pytest.mark.parametrize("channels", [2, 7, 70, 1100])
def test_channels_are_independent(device, rng, channels):
    image = rng.random((5, 6, channels), dtype=np.float32)
    for size in ((3, 9), (7, 4)):
        assert_close(on_device(device, image, size), transform.resize(image, size))


def test_a_pass_at_a_time_is_the_same(device, rng, monkeypatch):
    for dtype in DTYPES[:2]:
        image = random_image(rng, (2, 23, 31, 3), dtype)
        for size in ((11, 40), (40, 11)):
            together = on_device(device, image, size, axes=(1, 2), preserve_range=True)
            with monkeypatch.context() as patch:
                patch.setattr(backend, "_tiling", lambda *_: None)
                apart = on_device(device, image, size, axes=(1, 2), preserve_range=True)
            np.testing.assert_array_equal(together, apart)


def test_nan_stays_within_the_kernel(device):
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = np.nan
    bad = np.isnan(on_device(device, image, (80, 80)))
    assert bad[40:42, 40:42].all()
    assert not bad[:36].any()
    assert not bad[46:].any()
    assert not bad[:, :36].any()
    assert not bad[:, 46:].any()


def test_the_same_size_is_a_copy(device, rng):
    image = rng.random((30, 20), dtype=np.float32)
    for kernel in KERNELS:
        np.testing.assert_array_equal(on_device(device, image, (30, 20), kernel=kernel), image)


def test_matlab(device, data_folder):
    """A part of a pair that MATLAB's imresize made, bit for bit."""
    image = pytest.importorskip("PIL.Image")
    folder = data_folder / "sr" / "matlab_imresize"
    high, low = (np.asarray(image.open(folder / f"img_001_SRF_3_{name}.webp").convert("RGB")) for name in ("HR", "LR"))
    result = device.numpy(transform.rescale(device.array(high[:96]), 1 / 3, channel_axis=-1, preserve_range=True))
    np.testing.assert_array_equal(result[:30], low[:30])


def test_weights_known_to_be_binary_are(rng):
    for kernel in KERNELS:
        for scale in (0.125, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0):
            for anti_aliasing in (True, False):
                axis = backend._axis(64, int(64 * scale), scale, kernel, anti_aliasing, "edge")
                _, values = reference.weights(64, axis.size, kernel, anti_aliasing, scale)
                if axis.binary:
                    np.testing.assert_allclose(values * 2**15, np.rint(values * 2**15), rtol=0, atol=1e-9)
                assert np.abs(values).sum(axis=1).max() <= backend.GAINS[kernel] + 1e-12
    assert backend._axis(64, 128, 2.0, "bicubic", True, "edge").binary
    assert backend._axis(64, 16, 0.25, "bicubic", True, "edge").binary


def test_an_axis_too_long_is_refused():
    with pytest.raises(ValueError, match="at most 1073741823 samples along an axis, got 2147483648"):
        backend._axis(2**31, 3, 0.5, "bicubic", True, "edge")


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        image = device.array(random_image(rng, (9, 131, 3), "uint8"))
        for size in ((18, 262), (7, 50), (20, 90)):
            transform.resize(image, size, preserve_range=True)
        grey = device.array(random_image(rng, (9, 300), "float32"))
        transform.resize(grey, (18, 600))
        transform.resize(grey, (1, 9))
    assert report.problems == []
    for access in report.accesses:
        if access.space == "shared":
            assert access.worst <= 4, access


def test_shared_memory_up_to_what_needs_no_asking(device, rng):
    """49152 bytes for the lines of a tile, beside static shared memory: more than a launch has without asking."""
    image = random_image(rng, (96, 6144), "float32")
    result = device.numpy(transform.resize(device.array(image), (4, 256), kernel="bicubic"))
    np.testing.assert_allclose(result, transform.resize(image, (4, 256), kernel="bicubic"), rtol=0, atol=1e-5)
