"""Colour conversion on a device, against the NumPy reference and the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference import color as reference
from tolerances import assert_close

from fastimg import color

DTYPES = ["uint8", "uint16", "float16", "float32"]
SHAPES = [(3,), (1, 3), (7, 3), (1, 9, 3), (61, 67, 3), (2, 3, 4, 5, 3)]


def unit(image: np.ndarray) -> np.ndarray:
    return image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else image.astype(np.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(device, rng, shape, dtype):
    rgb = random_image(rng, shape, dtype)
    ycbcr = device.numpy(color.rgb2ycbcr(device.array(rgb)))
    assert ycbcr.dtype == (np.float32 if rgb.dtype.kind == "u" else rgb.dtype)
    assert_close(ycbcr, reference.rgb2ycbcr(unit(rgb)), scale=255)
    assert_close(device.numpy(color.rgb2gray(device.array(rgb))), reference.rgb2gray(unit(rgb)))
    grey = rgb[..., :1]
    np.testing.assert_array_equal(device.numpy(color.gray2rgb(device.array(grey))), color.gray2rgb(grey))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_rounded_exactly(device, rng, dtype):
    image = random_image(rng, (70, 91, 3), dtype)
    image[:9, :9] = np.arange(243).reshape(9, 9, 3)
    on_device = device.array(image)
    for name in ("rgb2ycbcr", "ycbcr2rgb", "rgb2gray"):
        convert = getattr(color, name)
        result = device.numpy(convert(on_device, preserve_range=True))
        np.testing.assert_array_equal(result, convert(image, preserve_range=True), strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(device, rng, layout, dtype):
    image = random_image(rng, (13, 22, 3), dtype)
    laid_out = device.array(LAYOUTS[layout](image))
    expected = color.rgb2ycbcr(image, preserve_range=True, order="bgr")
    result = color.rgb2ycbcr(laid_out, preserve_range=True, order="bgr")
    assert_close(device.numpy(result), expected.astype(np.float64), scale=255)
    planes = device.array(np.moveaxis(np.zeros_like(image), -1, 0).copy())
    color.rgb2ycbcr(laid_out, preserve_range=True, order="bgr", out=planes.transpose(1, 2, 0))
    np.testing.assert_array_equal(device.numpy(planes).transpose(1, 2, 0), device.numpy(result))


def test_strided_and_reversed_views(device, rng):
    image = random_image(rng, (20, 31, 3), "float32")
    on_device = device.array(image)
    for view in (np.s_[::2, ::-1], np.s_[1:-1, 3:17], np.s_[::-3, ::2, ::-1]):
        result = device.numpy(color.ycbcr2rgb(on_device[view]))
        np.testing.assert_allclose(result, color.ycbcr2rgb(image[view]), rtol=0, atol=1e-6)


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        image = device.array(random_image(rng, (7, 33, 3), "uint8"))
        color.rgb2ycbcr(image, preserve_range=True)
        color.rgb2gray(image)
    assert report.problems == []
