"""`filters.gaussian` with ``method="recursive"``, against SciPy's Gaussian, cut so far out that it is a whole one."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from reference.gaussian import gaussian as reference
from scipy import ndimage
from test_gaussian import DTYPES, MODES, SHAPES

from fastimg import filters

# By order: what an axis may be off by, for an image of magnitudes up to 1, times sigma to the power of the order.
BOUNDS = (1e-5, 5e-5, 4e-4, 1e-3)


def recursive(image, sigma, **options):
    return filters.gaussian(image, sigma, method="recursive", preserve_range=True, **options)


def check(image, sigma, channel_axis=None, **options) -> None:
    """Two axes or three are off by little more than one."""
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    result = recursive(image, sigma, channel_axis=channel_axis, **options)
    assert result.dtype == image.dtype
    x = image.astype(np.float64)
    wanted = reference(x, sigma, channel_axis=channel_axis, truncate=9.0, **options)
    rounding = 0.51 if image.dtype.kind == "u" else 2.0**-11 if image.dtype == np.float16 else 0.0
    np.testing.assert_allclose(result.astype(np.float64), wanted, rtol=0, atol=3 * BOUNDS[0] * top + rounding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.8, 1.0, 1.7, 3.0, 10.0, 60.0])
def test_keeps_its_bound(target, rng, dtype, mode, order, sigma):
    for n in (1, 2, 7, 40, 301):
        # Noise of the sign is the worst that there is for a filter; 7 lines leave vectors unfilled.
        for image in (rng.random((n, 7)), np.sign(rng.standard_normal((n, 7))), np.ones((n, 7))):
            wanted = ndimage.gaussian_filter1d(image, sigma, 0, order, mode=mode, truncate=max(9.0, 30 / sigma))
            result = recursive(image.astype(dtype), (sigma, 0), order=(order, 0), mode=mode)
            np.testing.assert_allclose(result, wanted, rtol=0, atol=BOUNDS[order] / sigma**order)


@pytest.mark.parametrize("sigma", [300.0, 3000.0])
def test_keeps_its_bound_for_large_sigmas(target, rng, sigma):
    for n in (50, 4000):
        for image in (rng.random((n, 2)), np.arange(n)[:, np.newaxis] // (n // 2) * np.ones(2)):
            wanted = ndimage.gaussian_filter1d(image, sigma, 0, mode="mirror", truncate=9.0)
            for dtype, rounding in (("float32", 1e-8 * sigma), ("float64", 0.0)):
                result = recursive(image.astype(dtype), (sigma, 0), mode="mirror")
                np.testing.assert_allclose(result, wanted, rtol=0, atol=BOUNDS[0] + rounding)


def test_is_nearer_to_the_whole_gaussian_than_one_that_is_cut(rng):
    image = np.sign(rng.standard_normal(5000))
    whole = filters.gaussian(image, 5.0, truncate=9.0)
    cut = np.abs(filters.gaussian(image, 5.0) - whole).max()
    assert np.abs(recursive(image, 5.0) - whole).max() < cut / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_reference(target, rng, dtype, mode):
    image = random_image(rng, (61, 67), dtype)
    check(image, 1.3, mode=mode, cval=0.25)
    check(image, (9.0, 2.0), mode=mode, cval=0.25)


@pytest.mark.parametrize(("shape", "sigma", "options"), SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_shapes_that_hurt(target, rng, shape, sigma, options, dtype):
    image = random_image(rng, shape, dtype)
    check(image, sigma, **options)
    check(image, sigma, mode="constant", cval=0.5, **options)


@pytest.mark.parametrize("channel_axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts(target, layout, rng, dtype, channel_axis):
    image = random_image(rng, (33, 35, 4), dtype)
    out = layout(np.zeros_like(image))
    assert recursive(layout(image), 1.2, out=out, channel_axis=channel_axis) is out
    np.testing.assert_array_equal(out, recursive(image, 1.2, channel_axis=channel_axis))
    check(image, 1.2, channel_axis=channel_axis)


def test_lines_along_every_axis(target, rng):
    """Blocks of several vectors, of which the last is not full, beside rows that are transposed."""
    image = random_image(rng, (70, 5, 150), "float32")
    for sigmas in np.eye(3) * 2.0:
        check(image, tuple(sigmas))
        check(image, tuple(sigmas), mode="wrap")
    check(random_image(rng, (19, 70, 5), "uint16"), (0.0, 3.0), channel_axis=2)


def test_tall_images(target, rng):
    """Lines too long for several vectors in a block, and a result of every type."""
    tall = random_image(rng, (9000, 40), "uint8")
    check(tall, (3.0, 2.0))
    out = np.zeros(tall.shape, np.float32)
    recursive(tall, 2.0, out=out)
    np.testing.assert_allclose(out, reference(tall.astype(float), 2.0, truncate=9.0), rtol=0, atol=255 * 2e-5)


def test_out_of_a_crop_leaves_the_rest_alone(target, rng):
    image = random_image(rng, (37, 141), "float32")
    big = np.full((50, 160), 7, np.float32)
    recursive(image, 2.0, out=big[5:42, 3:144])
    np.testing.assert_array_equal(big[5:42, 3:144], recursive(image, 2.0))
    big[5:42, 3:144] = 7
    assert (big == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit(target, rng, dtype):
    image = random_image(rng, (215, 130, 3), dtype)
    results = [recursive(image, 4.0, channel_axis=-1, threads=n) for n in (1, 2, 8)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_stays_what_it_is(target, mode):
    for sigma in (1.5, 20.0, 2000.0):
        image = np.full((20, 31), 0.7, np.float32)
        result = recursive(image, sigma, mode=mode, cval=0.7)
        np.testing.assert_allclose(result, image, rtol=1e-6 + 1e-8 * sigma)
        for order in ((1, 0), (0, 2)):
            derivative = recursive(image, sigma, order=order, mode=mode, cval=0.7)
            np.testing.assert_allclose(derivative * sigma ** sum(order), 0, atol=2e-5)


def test_integers_are_scaled_like_others(rng):
    image = random_image(rng, (40, 41), "uint8")
    result = filters.gaussian(image, 3.0, method="recursive")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reference(image / 255.0, 3.0, truncate=9.0), rtol=0, atol=2e-5)
    shifted = filters.gaussian(image, 3.0, method="recursive", mode="constant", cval=0.5)
    wanted = reference(image / 255.0, 3.0, mode="constant", cval=0.5, truncate=9.0)
    np.testing.assert_allclose(shifted, wanted, rtol=0, atol=2e-5)


def test_axes_left_alone(target, rng):
    image = random_image(rng, (30, 31), "uint16")
    np.testing.assert_array_equal(recursive(image, 0.0), image)
    np.testing.assert_array_equal(recursive(image, 1.0, axes=()), image)
    np.testing.assert_array_equal(recursive(image, 0.01), image)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_spreads_along_its_lines(target, value):
    image = np.zeros((40, 50), np.float32)
    image[20, 30] = value
    result = recursive(image, (2.0, 0.0))
    assert not np.isfinite(result[20, 30])
    assert np.isfinite(np.delete(result, 30, axis=1)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "fast"}, "method must be one of 'direct', 'recursive', got 'fast'"),
        ({"method": "recursive", "radius": 3}, "radius must be None with method 'recursive'.*, got 3"),
        ({"method": "recursive", "sigma": 10_001.0}, "sigma must be at most 10000 with method 'recursive', got 10001"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        filters.gaussian(np.zeros((8, 8)), **arguments)
