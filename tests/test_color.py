from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from reference import color as reference
from tolerances import assert_close

from fastimg import color

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
INTEGERS = ["uint8", "uint16"]
SHAPES = [(3,), (1, 3), (7, 3), (1, 1, 3), (1, 9, 3), (61, 67, 3), (2, 3, 4, 5, 3), (300, 401, 3)]
CONVERSIONS = ["rgb2ycbcr", "ycbcr2rgb", "rgb2gray"]


def unit(image: np.ndarray) -> np.ndarray:
    """Integers as fractions of their range."""
    return image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else image.astype(np.float64)


def random_ycbcr(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (reference.rgb2ycbcr(rng.random(shape)) * (257 if dtype == "uint16" else 1)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(target, rng, shape, dtype):
    rgb = random_image(rng, shape, dtype)
    expected_dtype = np.float32 if rgb.dtype.kind == "u" else rgb.dtype
    ycbcr = color.rgb2ycbcr(rgb)
    assert ycbcr.dtype == expected_dtype
    assert_close(ycbcr, reference.rgb2ycbcr(unit(rgb)), scale=255)
    gray = color.rgb2gray(rgb)
    assert gray.dtype == expected_dtype
    assert_close(gray, reference.rgb2gray(unit(rgb)))
    ycbcr = random_ycbcr(rng, shape, dtype)
    result = color.ycbcr2rgb(ycbcr)
    assert result.dtype == expected_dtype
    expected = reference.ycbcr2rgb(unit(ycbcr) * (255 if rgb.dtype.kind == "u" else 1))
    assert_close(result, expected, scale=1.5)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_integers_are_rounded_exactly(target, rng, shape, dtype):
    """Not a single sample differs from the rounding of the exact sums; YCbCr outside the gamut saturates."""
    image = random_image(rng, shape, dtype)
    result = color.rgb2ycbcr(image, preserve_range=True)
    np.testing.assert_array_equal(result, reference.rgb2ycbcr_integer(image), strict=True)
    result = color.ycbcr2rgb(image, preserve_range=True)
    np.testing.assert_array_equal(result, reference.ycbcr2rgb_integer(image), strict=True)
    result = color.rgb2gray(image, preserve_range=True)
    expected = reference.to_integer(reference.rgb2gray(image), dtype)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_all_colours_of_a_plane(target):
    """Every pair of red and blue, so that halves and near halves are met."""
    red, blue = np.mgrid[:256, :256].astype(np.uint8)
    for green in (0, 1, 100, 255):
        rgb = np.stack([red, np.full_like(red, green), blue], axis=-1)
        result = color.rgb2ycbcr(rgb, preserve_range=True)
        np.testing.assert_array_equal(result, reference.rgb2ycbcr_integer(rgb))
        np.testing.assert_array_equal(color.ycbcr2rgb(result, preserve_range=True), reference.ycbcr2rgb_integer(result))
        np.testing.assert_allclose(color.ycbcr2rgb(result, preserve_range=True).astype(int), rgb, atol=2)


@pytest.mark.parametrize("name", CONVERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(target, layout, rng, name, dtype):
    convert = getattr(color, name)
    image = random_image(rng, (45, 38, 3), dtype)
    plain = convert(image, preserve_range=True)
    np.testing.assert_array_equal(convert(layout(image), preserve_range=True), plain)
    out = layout(np.zeros_like(plain))
    assert convert(image, preserve_range=True, out=out) is out
    np.testing.assert_array_equal(out, plain)
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    from_planes = convert(planes, channel_axis=0, preserve_range=True)
    np.testing.assert_array_equal(from_planes if plain.ndim == 2 else np.moveaxis(from_planes, 0, -1), plain)


@pytest.mark.parametrize("name", CONVERSIONS)
def test_order(target, rng, name):
    convert = getattr(color, name)
    image = rng.random((9, 11, 3), dtype=np.float32)
    reverse = (..., slice(None, None, -1))
    if name == "ycbcr2rgb":
        bgr, rgb = convert(image, order="bgr"), convert(image)[reverse]
    else:
        bgr, rgb = convert(np.ascontiguousarray(image[reverse]), order="bgr"), convert(image)
    np.testing.assert_array_equal(bgr, rgb)
    np.testing.assert_array_equal(convert(image[reverse]), convert(image[reverse].copy()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (61, 67), (3, 5, 4)])
def test_gray2rgb(target, layout, rng, shape, dtype):
    gray = random_image(rng, shape, dtype)
    np.testing.assert_array_equal(color.gray2rgb(layout(gray)), reference.gray2rgb(gray), strict=True)
    np.testing.assert_array_equal(color.gray2rgb(gray, channel_axis=0), np.stack([gray] * 3), strict=True)
    out = layout(np.zeros((*shape, 3), dtype))
    assert color.gray2rgb(gray, out=out) is out
    np.testing.assert_array_equal(out, reference.gray2rgb(gray))


def test_scikit_image_agrees(rng):
    skimage = pytest.importorskip("skimage.color")
    rgb = rng.random((20, 30, 3))
    np.testing.assert_allclose(color.rgb2ycbcr(rgb), skimage.rgb2ycbcr(rgb), rtol=0, atol=1e-12)
    np.testing.assert_allclose(color.rgb2gray(rgb), skimage.rgb2gray(rgb), rtol=0, atol=1e-14)
    ycbcr = skimage.rgb2ycbcr(rgb)
    np.testing.assert_allclose(color.ycbcr2rgb(ycbcr), skimage.ycbcr2rgb(ycbcr), rtol=0, atol=1e-13)
    image = random_image(rng, (20, 30, 3), "uint8")
    np.testing.assert_allclose(color.rgb2ycbcr(image), skimage.rgb2ycbcr(image), rtol=0, atol=1e-4)
    np.testing.assert_allclose(color.rgb2gray(image), skimage.rgb2gray(image), rtol=0, atol=1e-6)
    planes = np.moveaxis(rgb, -1, 0)
    np.testing.assert_allclose(
        color.rgb2ycbcr(planes, channel_axis=0), skimage.rgb2ycbcr(planes, channel_axis=0), rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(color.gray2rgb(rgb[..., 0]), skimage.gray2rgb(rgb[..., 0]))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", CONVERSIONS)
def test_threads_do_not_change_the_result(target, rng, name, dtype):
    convert = getattr(color, name)
    image = random_image(rng, (411, 333, 3), dtype)
    first, *others = (convert(image, preserve_range=True, threads=n) for n in (1, 2, 3, 8))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_torch_comes_back():
    torch = pytest.importorskip("torch")
    result = color.rgb2ycbcr(torch.ones(2, 3, 4, 5), channel_axis=1)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_allclose(result[:, 0], 235, rtol=1e-6)
    np.testing.assert_allclose(result[:, 1:], 128, rtol=1e-6)


def test_nan_and_infinity_stay_in_their_pixel(target):
    image = np.zeros((5, 20, 3), np.float32)
    image[2, 3, 0], image[2, 5, 1] = np.nan, np.inf
    bad = ~np.isfinite(color.rgb2ycbcr(image)).all(axis=-1)
    assert np.argwhere(bad).tolist() == [[2, 3], [2, 5]]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_bad_input(name):
    convert = getattr(color, name)
    source = "ycbcr" if name == "ycbcr2rgb" else "rgb"
    image = np.zeros((4, 5, 3), np.float32)
    with pytest.raises(ValueError, match=f"{source} must have 3 channels along axis 2, got 4"):
        convert(np.zeros((4, 5, 4)))
    with pytest.raises(ValueError, match=f"{source} must have 3 channels along axis 0, got 4"):
        convert(image, channel_axis=0)
    with pytest.raises(ValueError, match="channel_axis must be .* between -3 and 2 for 3 dimensions, got 3"):
        convert(image, channel_axis=3)
    with pytest.raises(TypeError, match="channel_axis must be an integer, got None"):
        convert(image, channel_axis=None)
    with pytest.raises(ValueError, match=rf"{source} must not be empty, got shape \(0, 3\)"):
        convert(np.zeros((0, 3)))
    with pytest.raises(TypeError, match=f"{source} must have one of the dtypes uint8, .*, got int64"):
        convert(np.zeros((4, 3), int))
    with pytest.raises(ValueError, match="order must be one of 'rgb', 'bgr', got 'gbr'"):
        convert(image, order="gbr")
    with pytest.raises(TypeError, match="preserve_range must be True or False, got 1"):
        convert(image, preserve_range=1)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        convert(image, threads=0)
    with pytest.raises(ValueError, match="out must have shape"):
        convert(image, out=np.zeros((4, 5, 2), np.float32))
    with pytest.raises(TypeError, match="out must have dtype float32, got uint8"):
        convert(image.astype(np.uint8), out=np.zeros((4, 5, 3)[: 2 if name == "rgb2gray" else 3], np.uint8))
    with pytest.raises(ValueError, match=f"out must not overlap {source}"):
        convert(image, out=image[..., 0] if name == "rgb2gray" else image)


def test_bad_gray():
    with pytest.raises(ValueError, match="channel_axis must be .* between -3 and 2 for 3 dimensions, got 3"):
        color.gray2rgb(np.zeros((4, 5)), channel_axis=3)
    with pytest.raises(ValueError, match=r"image must not be empty, got shape \(4, 0\)"):
        color.gray2rgb(np.zeros((4, 0)))
    with pytest.raises(TypeError, match="image must have one of the dtypes"):
        color.gray2rgb("grey")
