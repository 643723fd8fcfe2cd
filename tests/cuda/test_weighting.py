"""Weightings by a function that Numba compiles, on a device: the CPU's results. As test_compiled_map.py has it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import random_image
from tolerances import assert_close

from fastimg.restoration import denoise_nl_means, denoise_nl_means_sequence

pytest.importorskip("numba")


def cauchy(distance, width=1.0):
    return 1 / (1 + distance / width)


def welsch(distance):
    return math.exp(-distance) if distance <= 5 else 0.0


SMALL = dict(patch_size=5, patch_distance=2, h=0.4)
SHAPES = {
    "image": ((23, 37), None),
    "colours": ((17, 70, 3), -1),
    "volume": ((4, 6, 7), None),
    "a pixel": ((1, 1), None),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def image(request, rng):
    """An image and the axis of its channels."""
    shape, axis = request.param
    return rng.random(shape, "float32"), axis


def on_device(device, x, function=denoise_nl_means, **options) -> np.ndarray:
    return device.numpy(function(device.array(x), **options))


@pytest.mark.parametrize("fast_mode", [True, False])
def test_agrees_with_the_cpu(device, image, fast_mode):
    x, axis = image
    options = dict(SMALL, fast_mode=fast_mode, sigma=0.05, channel_axis=axis)
    options |= dict(weighting=cauchy, weighting_args={"width": 0.3})
    assert_close(on_device(device, x, **options), denoise_nl_means(x, **options), factor=2)


def test_the_builtin_one_by_a_function(device, image):
    x, axis = image
    options = dict(SMALL, sigma=0.05, channel_axis=axis)
    result = on_device(device, x, **options, weighting=welsch)
    assert_close(result, on_device(device, x, **options), factor=2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_dtypes(device, rng, dtype):
    x = random_image(rng, (25, 33), dtype)
    h = 0.4 * (np.iinfo(dtype).max if x.dtype.kind == "u" else 1)
    options = dict(patch_size=5, patch_distance=2, h=h, weighting=cauchy, preserve_range=True)
    assert_close(on_device(device, x, **options), denoise_nl_means(x, **options))


def test_maps_the_centre_and_sequences(device, rng):
    x = rng.random((3, 12, 13), "float32")
    h = rng.uniform(0.4, 0.6, x.shape).astype(np.float32)
    options = dict(patch_size=3, patch_distance=2, weighting=cauchy, center_weight=0.7)
    result = denoise_nl_means_sequence(device.array(x), **options, h=device.array(h), temporal_distance=1)
    assert_close(device.numpy(result), denoise_nl_means_sequence(x, **options, h=h, temporal_distance=1), factor=2)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_a_pixel_that_nothing_weighs_stays(device, rng, weight):
    x = rng.random((20, 22), "float32")
    for center_weight in (None, 1):
        result = on_device(device, x, **SMALL, weighting=lambda d: weight, center_weight=center_weight)
        assert_close(result, x)


def test_non_finite_values_stay_local(device, rng):
    x = rng.random((30, 40), "float32")
    for value in (np.nan, np.inf):
        x[15, 20] = value
        result = on_device(device, x, **SMALL, weighting=lambda d: 1.0)
        near = np.zeros(x.shape, bool)
        near[15 - 2 : 15 + 3, 20 - 2 : 20 + 3] = True
        assert np.isfinite(result[~near]).all()


def test_many_parameters(device, rng):
    names = [f"p{i}" for i in range(29)]
    scope: dict = {}
    exec(f"def many(distance, {', '.join(names)}): return p27", scope)
    exec(f"def fewer(distance, {', '.join(names[:-1])}): return p27", scope)
    x = rng.random((8, 9), "float32")
    arguments = dict.fromkeys(names[:-1], 0.5)
    result = on_device(device, x, **SMALL, weighting=scope["fewer"], weighting_args=arguments)
    assert_close(result, denoise_nl_means(x, **SMALL, weighting=lambda d: 1.0))
    with pytest.raises(ValueError, match="weighting on a GPU may have at most 28 parameters, got 29"):
        on_device(device, x, **SMALL, weighting=scope["many"], weighting_args=dict.fromkeys(names, 0.5))
