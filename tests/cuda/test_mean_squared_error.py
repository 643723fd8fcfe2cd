"""Mean squared errors, and what is made of them, on a device."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference import metrics as reference

from fastimg import metrics

DTYPES = ["uint8", "uint16", "float16", "float32"]
SHAPES = [(), (1,), (1, 7), (31, 1), (61, 67), (4, 5, 3), (2, 3, 4, 5), (130, 131)]
TOLERANCE = {"uint8": 0, "uint16": 0, "float16": 2**-23, "float32": 2**-23}  # integers are summed exactly


def close(device, result, expected, dtype) -> None:
    assert type(result) is device.library.ndarray
    assert result.shape == ()
    assert result.dtype == np.float64
    assert float(device.numpy(result)) == pytest.approx(expected, rel=TOLERANCE[dtype] + 1e-15, abs=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(device, rng, shape, dtype):
    a, b = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    result = metrics.mean_squared_error(device.array(a), device.array(b))
    close(device, result, reference.mean_squared_error(a, b), dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_extremes_are_exact(device, dtype):
    """The largest sums, over several blocks and a tail."""
    n = 3 * 256 * 4 * 16 + 13
    a, b = np.zeros(n, dtype), np.full(n, np.iinfo(dtype).max, dtype)
    result = metrics.mean_squared_error(device.array(a), device.array(b))
    assert float(device.numpy(result)) == float(np.iinfo(dtype).max) ** 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(device, rng, layout, dtype):
    a, b = random_image(rng, (15, 46, 3), dtype), random_image(rng, (15, 46, 3), dtype)
    expected = reference.mean_squared_error(a, b)
    laid_out = device.array(LAYOUTS[layout](a))
    close(device, metrics.mean_squared_error(laid_out, device.array(b)), expected, dtype)
    close(device, metrics.mean_squared_error(laid_out, device.array(LAYOUTS[layout](b))), expected, dtype)
    close(device, metrics.mean_squared_error(laid_out[::-1, ::2, 1:], device.array(b)[::-1, ::2, 1:]),
          reference.mean_squared_error(a[:, ::2, 1:], b[:, ::2, 1:]), dtype)  # fmt: skip


def test_rows_in_whole_units_are_loaded_so(device, rng):
    a, b = random_image(rng, (2, 9, 64), "uint8")
    wide = device.array(np.pad(a, ((0, 0), (16, 32))))[:, 16:-32]
    close(device, metrics.mean_squared_error(wide, device.array(b)), reference.mean_squared_error(a, b), "uint8")


def test_same_bits_every_time(device, rng):
    a, b = (device.array(random_image(rng, (120, 301), "float32")) for _ in range(2))
    assert len({float(device.numpy(metrics.mean_squared_error(a, b))) for _ in range(3)}) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("low", [0, -0.5])
def test_ratios_agree_with_the_cpu(device, rng, dtype, low):
    a, b = random_image(rng, (50, 60), dtype), random_image(rng, (50, 60), dtype)
    if np.dtype(dtype).kind == "f":
        a += np.dtype(dtype).type(low)
    x, y = device.array(a), device.array(b)
    result = metrics.peak_signal_noise_ratio(x, y, data_range=3.5)
    close(device, result, metrics.peak_signal_noise_ratio(a, b, data_range=3.5), "float32")
    for normalization in ("euclidean", "min-max", "mean"):
        result = metrics.normalized_root_mse(x, y, normalization=normalization)
        close(device, result, metrics.normalized_root_mse(a, b, normalization=normalization), "float32")


def test_equal_images_and_not_a_number(device):
    image = np.full((5, 6), 7, np.uint8)
    x = device.array(image)
    assert np.isposinf(device.numpy(metrics.peak_signal_noise_ratio(x, x)))
    assert device.numpy(metrics.normalized_root_mse(x, x)) == 0
    zeros = device.array(np.zeros(3, np.float32))
    assert np.isnan(device.numpy(metrics.normalized_root_mse(zeros, zeros)))
    assert np.isposinf(device.numpy(metrics.normalized_root_mse(zeros, device.array(np.ones(3, np.float32)))))
    broken = image.astype(np.float32)
    broken[2, 3] = np.nan
    broken = device.array(broken)
    assert np.isnan(device.numpy(metrics.mean_squared_error(broken, x)))
    assert np.isnan(device.numpy(metrics.peak_signal_noise_ratio(broken, x, data_range=1)))
    broken[2, 3] = np.inf
    assert np.isneginf(device.numpy(metrics.peak_signal_noise_ratio(broken, x, data_range=1)))


def test_mixed_dtypes(device, rng):
    a, b = random_image(rng, (9, 9), "uint8"), random_image(rng, (9, 9), "uint16")
    close(device, metrics.mean_squared_error(device.array(a), device.array(b)),
          reference.mean_squared_error(a, b), "uint16")  # fmt: skip


def test_bad_input(device):
    a = device.array(np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="data_range must be given for floating images on a GPU"):
        metrics.peak_signal_noise_ratio(a, a)
    with pytest.raises(ValueError, match="image1 must be on the device of image0, cuda:0, got the CPU"):
        metrics.mean_squared_error(a, np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"image1 must have the shape of image0, \(4, 4\), got \(4, 3\)"):
        metrics.mean_squared_error(a, a[:, 1:])


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        a, b = (device.array(random_image(rng, (7, 5000), "uint8")) for _ in range(2))
        metrics.mean_squared_error(a, b)
        metrics.mean_squared_error(a[:, 1:], b[:, 1:])
        metrics.mean_squared_error(a[:, :80], b[:, :80])
    assert report.problems == []
