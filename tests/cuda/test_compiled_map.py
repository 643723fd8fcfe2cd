"""Maps compiled by Numba on a device: the CPU's results.

Emulated, the kernels call what Numba compiles for the CPU. What it compiles for a device is linked into them by
test_linking.py, and runs where there is a GPU.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from tolerances import assert_close

from fastimg import transform

pytest.importorskip("numba")


@transform.CompiledMap
def lens(row, column, strength=-2e-4, centre=20.0):
    y, x = row - centre, column - centre
    factor = 1 + strength * (x * x + y * y)
    return centre + y * factor, centre + x * factor


@transform.CompiledMap
def swirl(row, column):
    angle = math.sqrt(row * row + column * column) / 40
    return math.cos(angle) * row - math.sin(angle) * column, math.sin(angle) * row + math.cos(angle) * column


@transform.CompiledMap
def halves(row, column):
    """Nearest pixels by ties, integers, what is not finite and what is far."""
    if row < 2:
        return row, 1 / (column - 7)
    if row < 4:
        return -1e300 * (row - 2.5), column
    return int(row), column + 0.5


CASES = [
    ((61, 67), "uint8"),
    ((40, 50, 3), "uint8"),
    ((40, 64, 3), "uint16"),
    ((40, 50, 4), "float16"),
    ((40, 50, 3), "float32"),
    ((33, 37, 5), "float32"),
    ((1, 1), "float32"),
]


def on_device(device, image, *arguments, **options) -> np.ndarray:
    return device.numpy(transform.warp(device.array(image), *arguments, **options))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_agrees_with_the_cpu(device, rng, kernel, shape, dtype):
    image = random_image(rng, shape, dtype)
    options = {"output_shape": (45, 139), "kernel": kernel, "preserve_range": True, "cval": 0.2}
    for function in (lens, swirl, halves):
        if kernel == "nearest" and function is swirl:
            continue  # a sine of another library may be on the other side of a half
        result = on_device(device, image, function, **options)
        assert result.dtype == dtype
        assert_close(result, transform.warp(image, function, **options))


@pytest.mark.parametrize("mode", ["constant", "edge", "symmetric", "reflect", "wrap"])
def test_borders_and_clipping(device, rng, mode):
    image = 0.2 + 0.5 * rng.random((13, 17), dtype=np.float32)
    for clip in (True, False):
        for kernel in ("nearest", "bilinear", "bicubic", "lanczos"):
            options = {"kernel": kernel, "mode": mode, "cval": 0.9, "clip": clip, "output_shape": (40, 50)}
            assert_close(on_device(device, image, lens, **options), transform.warp(image, lens, **options))


def test_parameters(device, rng):
    image = random_image(rng, (40, 50), "float32")
    for arguments in ({"strength": 1e-3}, {"centre": 3}, {"strength": 0, "centre": 1}):
        assert_close(on_device(device, image, lens, arguments), transform.warp(image, lens, arguments))
    names = [f"p{i}" for i in range(29)]
    scope: dict = {}
    exec(f"def many(row, column, {', '.join(names)}): return row + p27, column", scope)
    with pytest.raises(ValueError, match="inverse_map on a GPU may have at most 28 parameters, got 29"):
        on_device(device, image, transform.CompiledMap(scope["many"]), dict.fromkeys(names, 0.5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_batches(device, rng, layout):
    images = random_image(rng, (3, 25, 38, 3), "uint8")
    lay_out = LAYOUTS[layout]
    result = on_device(device, lay_out(images), lens, channel_axis=0, output_shape=(20, 70))
    assert_close(result, transform.warp(images, lens, channel_axis=0, output_shape=(20, 70)))
    planes = np.moveaxis(images[0], -1, 0)
    out = device.array(lay_out(np.zeros((3, 25, 38), np.uint8)))
    assert transform.warp(device.array(planes), lens, channel_axis=0, preserve_range=True, out=out) is out
    expected = transform.warp(images[0], lens, preserve_range=True)
    assert_close(device.numpy(out), np.moveaxis(expected, -1, 0))


def test_captured_in_a_graph(device, rng):
    library = device.library
    image, out = device.array(random_image(rng, (20, 30), "float32")), device.array(np.zeros((20, 30), np.float32))
    expected = device.numpy(transform.warp(image, lens, {"centre": 9}, kernel="bicubic"))
    library.cuda.Device().synchronize()
    with library.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        transform.warp(image, lens, {"centre": 9}, kernel="bicubic", out=out)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(out), expected)


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        for shape, dtype in (((21, 71, 3), "uint8"), ((20, 71), "float32")):
            transform.warp(device.array(random_image(rng, shape, dtype)), lens, kernel="bicubic")
    assert report.problems == []
