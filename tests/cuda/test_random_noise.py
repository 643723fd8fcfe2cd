"""Noise on a device: the CPU's numbers from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from tolerances import TOLERANCE

from fastimg import util

DTYPES = ["uint8", "uint16", "float16", "float32"]
SHAPES = [(), (1,), (63,), (1, 65), (1030, 1), (61, 67), (2, 3, 4, 5)]
IMPULSES = [
    {"mode": "s&p", "amount": 0.4, "salt_vs_pepper": 0.3},
    {"mode": "salt", "amount": 1.0},
    {"mode": "pepper", "amount": 0.1},
    {"mode": "s&p", "count": 1},
    {"mode": "s&p", "count": 0},
]


def both(device, image, **options) -> tuple[np.ndarray, np.ndarray]:
    result = util.random_noise(device.array(image), rng=5, **options)
    assert type(result) is device.library.ndarray
    return device.numpy(result), np.asarray(util.random_noise(image, rng=5, **options))


def assert_same_numbers(result: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    """Normal numbers may differ by two units in their last place, and reach 6.7."""
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    kind = result.dtype.kind
    atol = scale * (2e-6 if result.dtype == np.float32 else 2 * TOLERANCE[result.dtype]) if kind == "f" else 1
    np.testing.assert_allclose(result.astype(np.float64), expected.astype(np.float64), rtol=0, atol=atol)
    if kind == "u" and result.size > 1000:
        assert (result != expected).mean() < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_noise_is_the_cpus(device, rng, shape, dtype):
    image = random_image(rng, shape, dtype)
    assert_same_numbers(*both(device, image, mode="gaussian", clip=False, mean=0.1, var=0.04))
    if shape == (61, 67):
        assert_same_numbers(*both(device, image, mode="gaussian", mean=0.1, var=0.04, preserve_range=True))
        assert_same_numbers(*both(device, image, mode="speckle", mean=0.1, var=0.04, clip=False))
        assert_same_numbers(*both(device, image, mode="localvar"))


@pytest.mark.parametrize("options", IMPULSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_impulses_are_the_cpus_bit_for_bit(device, rng, shape, options):
    for dtype in DTYPES if shape == (61, 67) else ("uint8",):
        image = random_image(rng, shape, dtype)
        for preserve_range in (False, True):
            np.testing.assert_array_equal(*both(device, image, preserve_range=preserve_range, **options), strict=True)


def test_every_integer_is_divided_as_on_the_cpu(device):
    for dtype in ("uint8", "uint16"):
        image = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        np.testing.assert_array_equal(*both(device, image, mode="salt", amount=0))


@pytest.mark.parametrize("count", [7, 1000, 61 * 67])
def test_counted_impulses_are_the_cpus(device, rng, count):
    image = random_image(rng, (61, 67), "uint8")
    options = {"mode": "s&p", "count": count, "salt_vs_pepper": 0.25, "preserve_range": True}
    np.testing.assert_array_equal(*both(device, image, **options))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channels_are_replaced_together(device, rng, axis):
    image = np.moveaxis(random_image(rng, (20, 30, 3), "uint8"), -1, axis)
    for options in ({"count": 100}, {"amount": 0.2}):
        np.testing.assert_array_equal(*both(device, image, mode="s&p", channel_axis=axis, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("low", [0, -0.5])
def test_poisson_counts_are_the_cpus(device, rng, dtype, low):
    """The algorithm is the same in double; counts differ where a comparison falls within its rounding."""
    image = random_image(rng, (70, 80), dtype)
    if image.dtype.kind == "f":
        image = (np.round(image * 40) / 40 + low).astype(dtype)
    elif low:
        return
    result, expected = both(device, image, mode="poisson", clip=False)
    same = np.isclose(result, expected, rtol=0, atol=2e-7)
    assert same.mean() > 0.9999
    assert_same_numbers(*both(device, np.full((5, 5), 3, np.uint8), mode="poisson", preserve_range=True))


def test_poisson_of_every_rate(device, rng):
    image = np.linspace(0, 1, 5000, dtype=np.float32)  # rates from 0 to 8192
    result, expected = both(device, image, mode="poisson")
    assert np.isclose(result, expected, rtol=0, atol=2e-7).mean() > 0.999
    image[7:12] = np.nan
    image[3] = np.inf
    np.testing.assert_allclose(*both(device, image, mode="poisson", clip=False), atol=2e-7)


def test_local_variances(device, rng):
    image = random_image(rng, (21, 66), "float32")
    for shape, dtype in (((21, 66), "float32"), ((66,), "float32"), ((21, 1), "uint8"), ((1,), "float16")):
        variances = (random_image(rng, shape, dtype) + 1).astype(dtype)
        variances = np.maximum(variances, 1).astype(dtype)
        result = util.random_noise(device.array(image), "localvar", 5, False, local_vars=device.array(variances))
        expected = util.random_noise(image, "localvar", 5, False, local_vars=variances)
        assert_same_numbers(device.numpy(result), expected, scale=float(np.sqrt(variances.max())) + 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "dtype"), [("gaussian", "float32"), ("s&p", "uint8")])
def test_any_layout(device, rng, layout, mode, dtype):
    image = random_image(rng, (15, 46, 3), dtype)
    expected = device.numpy(util.random_noise(device.array(image), mode, 7))
    laid_out = device.array(LAYOUTS[layout](image))
    np.testing.assert_array_equal(device.numpy(util.random_noise(laid_out, mode, 7)), expected)
    out = device.array(LAYOUTS[layout](np.zeros_like(expected)))
    assert util.random_noise(device.array(image), mode, 7, out=out) is out
    np.testing.assert_array_equal(device.numpy(out), expected)


def test_signed_images(device, rng):
    image = rng.uniform(-1, 1, (50, 60)).astype(np.float32)
    image[3, 4] = np.nan
    for options in ({"mode": "s&p", "amount": 0.9}, {"mode": "s&p", "count": 2000}):
        np.testing.assert_array_equal(*both(device, image, **options))
    result, expected = both(device, image, mode="gaussian", var=4)
    assert np.nanmin(result) == np.nanmin(expected) == -1
    assert_same_numbers(result, expected, scale=3)
    assert np.isnan(result[3, 4])
    every_other = device.array(image)[::2, ::-2]
    expected = util.random_noise(image[::2, ::-2], "pepper", 1, amount=0.5)
    np.testing.assert_array_equal(device.numpy(util.random_noise(every_other, "pepper", 1, amount=0.5)), expected)


def test_bad_input(device):
    image = device.array(np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match="local_vars must be on the device of image, cuda:0, got the CPU"):
        util.random_noise(image, "localvar", local_vars=np.ones((4, 5), np.float32))
    with pytest.raises(ValueError, match="local_vars must have a shape that broadcasts"):
        util.random_noise(image, "localvar", local_vars=device.array(np.ones(3, np.float32)))
    variances = device.array(np.ones((5, 5), np.float32))
    with pytest.raises(ValueError, match="out must not overlap local_vars"):
        util.random_noise(image, "localvar", local_vars=variances[1:], out=variances[:4])
    with pytest.raises(ValueError, match="out must not overlap image"):
        util.random_noise(image, out=image)


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        image = device.array(random_image(rng, (9, 131), "uint8"))
        signed = device.array(rng.uniform(-1, 1, (9, 140)).astype(np.float32))
        for mode in ("gaussian", "s&p"):
            util.random_noise(image, mode, 1)
            util.random_noise(signed, mode, 1)
        util.random_noise(signed[:, ::2], "gaussian", 1)
        util.random_noise(signed, "s&p", 1, count=50)
    assert report.problems == []
    for access in report.accesses:
        if access.space == "shared" and (access.kind == "write" or access.bytes == 16):
            assert access.passes == access.ideal, access
