"""The recursive Gaussian on a device, against the CPU's, which has tests of its own for the bound that it keeps."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import random_image

from fastimg import filters

# The package has the function under this name.
BLOCK = import_module("fastimg.backends.cuda.gaussian_recursive").BLOCK

MODES = ["nearest", "reflect", "mirror", "constant", "wrap"]
DTYPES = ["uint8", "uint16", "float16", "float32"]


def check(device, image, sigma, **options) -> None:
    """The same recursion, rounded elsewhere."""
    options = {"method": "recursive", "preserve_range": True} | options
    result = device.numpy(filters.gaussian(device.array(image), sigma, **options))
    wanted = filters.gaussian(image, sigma, **options)
    assert result.dtype == wanted.dtype
    top = {"uint8": 255, "uint16": 65535}.get(image.dtype.name, 1)
    tolerance = 2e-6 * top + {"u": 1, "f": 0}[image.dtype.kind] + (2**-10 if image.dtype == np.float16 else 0)
    np.testing.assert_allclose(result.astype(float), wanted.astype(float), rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_the_cpu(device, rng, dtype, mode):
    check(device, random_image(rng, (37, 67), dtype), (1.3, 2.0), mode=mode, cval=0.25)
    check(device, random_image(rng, (20, 9), dtype), (30.0, 5.0), mode=mode, cval=0.25)


@pytest.mark.parametrize("order", [1, 2, 3, (0, 1), (2, 0)], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "wrap", "constant"])
def test_derivatives(device, rng, order, mode):
    check(device, random_image(rng, (40, 41), "float32"), 2.0, order=order, mode=mode, cval=0.5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 20 * BLOCK + 5])
@pytest.mark.parametrize("sigma", [0.4, 2.0, 100.0])
def test_blocks(device, rng, n, mode, sigma):
    """Lines of less than one block to many; states that live for less than a block, and for longer than a line."""
    for order in 0, 1:
        check(device, random_image(rng, (n, 3), "float32"), (sigma, 0.0), mode=mode, cval=0.5, order=order)
        check(device, random_image(rng, (3, n), "float32"), (0.0, sigma), mode=mode, cval=0.5, order=order)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_blocks_of_interleaved_channels(device, rng, channels, mode):
    for sigma in 0.4, 6.0, 60.0:
        image = random_image(rng, (13, 2 * BLOCK + 1, channels), "float32")
        check(device, image, (0.0, sigma), channel_axis=-1, mode=mode, cval=0.5)


def test_more_lines_than_a_block_of_threads_has(device, rng):
    check(device, random_image(rng, (150, 40), "float32"), 3.0)
    check(device, random_image(rng, (45, 36, 3), "float32"), 3.0, channel_axis=-1)
    check(device, random_image(rng, (36, 150), "float32"), (3.0, 0.0))


def test_constants_stay_what_they_are(device):
    for mode in ("nearest", "reflect", "mirror", "wrap"):
        image = np.full((70, 50), 0.7, np.float32)
        result = filters.gaussian(device.array(image), 200.0, method="recursive", mode=mode)
        np.testing.assert_allclose(device.numpy(result), image, rtol=0, atol=2e-6)


def test_floats_are_filtered_in_place(device, rng):
    """What other axes leave lies where the result goes; another dtype's in scratch. The image stays what it is."""
    image = random_image(rng, (40, 70, 5), "float32")
    on_device = device.array(image)
    filters.gaussian(on_device, 3.0, method="recursive")
    np.testing.assert_array_equal(device.numpy(on_device), image)
    check(device, image, 3.0)
    check(device, random_image(rng, (40, 70, 5), "float16"), 3.0)


@pytest.mark.parametrize(
    ("shape", "sigma", "options"),
    [
        ((1, 1), 2.0, {}),
        ((1,), 2.0, {}),
        ((300,), 2.0, {}),
        ((1, 70), 1.0, {}),
        ((70, 1), 1.0, {}),
        ((2, 3), 6.0, {"mode": "mirror"}),
        ((33, 40, 2), 2.0, {"channel_axis": -1}),
        ((35, 40, 3), 2.0, {"channel_axis": -1}),
        ((31, 33, 4), 2.0, {"channel_axis": -1}),
        ((20, 21, 5), 2.0, {"channel_axis": -1}),
        ((3, 33, 40), 2.0, {"channel_axis": 0}),
        ((6, 20, 34), 1.0, {}),
        ((3, 5, 6, 7), (1.0, 0.0, 1.0, 2.0), {}),
        ((40, 41), 0.0, {}),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_shapes(device, rng, shape, sigma, options, dtype):
    check(device, random_image(rng, shape, dtype), sigma, **options)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_layout(device, layout, rng, dtype):
    image = random_image(rng, (34, 35, 3), dtype)
    out = device.array(layout(np.zeros_like(image)))
    options = {"method": "recursive", "channel_axis": -1, "preserve_range": True}
    assert filters.gaussian(device.array(layout(image)), 1.2, out=out, **options) is out
    wanted = device.numpy(filters.gaussian(device.array(image), 1.2, **options))
    np.testing.assert_array_equal(device.numpy(out), wanted)
    check(device, layout(image), 1.2, channel_axis=-1)


def test_integers_scaled_to_floats(device, rng):
    check(device, random_image(rng, (40, 41), "uint8"), 2.0, preserve_range=False, mode="constant", cval=0.5)


@pytest.mark.parametrize(("shape", "dtype", "sigma"), [((96, 128), "float32", 2.0), ((64, 96, 3), "uint8", 1.0)])
def test_memory_is_accessed_well(device, rng, shape, dtype, sigma):
    """No races, nothing read before it was written, no conflicts of banks, whole sectors but at the ends of rows."""
    image = device.array(random_image(rng, shape, dtype))
    with device.checking() as report:
        filters.gaussian(image, sigma, method="recursive", channel_axis=-1 if len(shape) == 3 else None)
    assert report.problems == []
    for access in report.accesses:
        if access.space == "shared":
            assert access.passes == access.ideal, access
        elif "auto sample =" in Path(access.file).read_text().splitlines()[access.line - 1]:
            continue  # of the scan
        elif access.bytes * len(shape) >= 4 * 2:  # rows of bytes begin anywhere in a sector
            assert access.passes <= 1.3 * access.ideal, access


@pytest.mark.parametrize("shape", [(5, BLOCK + 3), (13, BLOCK + 3, 3), (9, 5, 4), (3, 40, 5)])
def test_nothing_is_raced_for_in_shapes_that_fill_no_block(device, rng, shape):
    image = device.array(random_image(rng, shape, "float32"))
    with device.checking() as report:
        filters.gaussian(image, 3.0, method="recursive", mode="mirror", channel_axis=-1 if len(shape) == 3 else None)
    assert report.problems == []
