"""Structural similarity on a device, against the CPU's, which is tested against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS, random_image

from fastimg import metrics

DTYPES = ["uint8", "uint16", "float16", "float32"]
GAUSSIAN = {"gaussian_weights": True}
CASES = [  # shape, options: smallest, across tiles (120 columns, 8 rows and more), every kernel
    ((7, 7), {}),
    ((7, 250), {}),
    ((61, 9), {}),
    ((35, 131), GAUSSIAN),
    ((30, 50), {**GAUSSIAN, "sigma": 2.3, "use_sample_covariance": False}),
    ((20, 31), {**GAUSSIAN, "win_size": 5}),
    ((13, 40), {**GAUSSIAN, "win_size": 5, "sigma": 3.0}),  # the window is wider than the image
    ((20, 25), {**GAUSSIAN, "sigma": 0.0, "win_size": 3}),
    ((13, 14), {"win_size": 1, "use_sample_covariance": False}),
    ((33, 34), {"win_size": 33, "K1": 0.02, "K2": 0.05}),
    ((300,), {"win_size": 11}),
    ((20, 30, 3), {"channel_axis": -1}),
    ((20, 3, 30), {"channel_axis": 1, **GAUSSIAN}),
    ((7, 8, 20), {"win_size": 3}),
    ((9, 10, 11), {**GAUSSIAN, "sigma": 1.0}),
    ((4, 5, 6, 7), {"win_size": 3}),
    ((5, 6, 7, 2), {"win_size": 5, "channel_axis": -1}),
]


def pair(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Two images that resemble each other, and their range."""
    a, b = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    b = (0.7 * a.astype(np.float64) + 0.3 * b.astype(np.float64)).astype(dtype)
    return a, b, float(np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else 1.0


def on_device(device, a, b, **options):
    result = metrics.structural_similarity(device.array(a), device.array(b), **options)
    mean, *maps = result if isinstance(result, tuple) else (result,)
    assert type(mean) is device.library.ndarray
    assert mean.shape == ()
    assert mean.dtype == np.float64
    return (float(device.numpy(mean)), *map(device.numpy, maps))


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_agrees_with_the_cpu(device, rng, shape, options):
    for dtype in DTYPES if shape == (35, 131) else ("uint8", "float32"):
        a, b, top = pair(rng, shape, dtype)
        expected, full = metrics.structural_similarity(a, b, data_range=top, full=True, **options)
        mean, index = on_device(device, a, b, data_range=top, full=True, **options)
        single = options.get("win_size") == 1 or options.get("sigma") == 0
        assert mean == pytest.approx(expected, abs=1e-6 if single else 2e-7)
        assert index.dtype == np.float32
        # Noise varies, so that variances are not small differences, but in windows of a single pixel.
        np.testing.assert_allclose(index, full, rtol=0, atol=2e-5 if single else 3e-6)
        (alone,) = on_device(device, a, b, data_range=top, **options)
        assert alone == pytest.approx(mean, abs=1e-6 if single else 1e-7)


@pytest.mark.parametrize("options", [{}, GAUSSIAN])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_flat_and_bright_beside_dark(device, rng, dtype, options):
    """Where small variances are differences of large numbers, far from the middle of the tile."""
    x, y = np.meshgrid(np.arange(150), np.arange(70))
    image = np.where(x + y < 60, 0.95, np.where(x % 50 < 25, 0.05, 0.5)) + 0.004 * np.sin(x / 7)
    top = np.iinfo(dtype).max if dtype != "float32" else 1.0
    a = (image * top).astype(dtype)
    b = ((image * 0.98 + rng.normal(0, 0.003, image.shape)) * top).astype(dtype)
    expected, full = metrics.structural_similarity(a, b, data_range=top, full=True, **options)
    mean, index = on_device(device, a, b, data_range=float(top), full=True, **options)
    assert mean == pytest.approx(expected, abs=2e-6)
    np.testing.assert_allclose(index, full, rtol=0, atol=3e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, GAUSSIAN])
def test_equal_images_give_one(device, rng, dtype, options):
    image = random_image(rng, (30, 140), dtype)
    mean, index = on_device(device, image, image.copy(), data_range=1.0, full=True, **options)
    assert mean == 1
    assert (index == 1).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(device, rng, layout):
    a, b, _ = pair(rng, (15, 130, 3), "float32")
    options = {"data_range": 1.0, "channel_axis": 2}
    expected = on_device(device, a, b, **options)
    assert on_device(device, LAYOUTS[layout](a), b, **options) == expected
    assert on_device(device, LAYOUTS[layout](a), LAYOUTS[layout](b), **options) == expected
    x, y = device.array(a)[::-1, ::-2], device.array(b)[::-1, ::-2]
    assert float(device.numpy(metrics.structural_similarity(x, y, **options))) == pytest.approx(
        metrics.structural_similarity(a[::-1, ::-2], b[::-1, ::-2], **options), abs=2e-7
    )


def test_high_bands_and_low(device, rng, monkeypatch):
    from importlib import import_module

    backend = import_module("fastimg.backends.cuda.structural_similarity")
    a, b, _ = pair(rng, (77, 30), "float32")
    low = on_device(device, a, b, data_range=1.0, full=True)
    monkeypatch.setattr(backend, "BLOCKS_WANTED", 1)
    high = on_device(device, a, b, data_range=1.0, full=True)
    assert high[0] == pytest.approx(low[0], abs=1e-7)
    np.testing.assert_allclose(high[1], low[1], rtol=0, atol=3e-6)


def test_same_bits_every_time(device, rng):
    a, b, _ = pair(rng, (40, 301), "float32")
    assert len({on_device(device, a, b, data_range=1.0) for _ in range(3)}) == 1


@pytest.mark.parametrize("at", [(20, 70), (4, 60)])
def test_nan_stays_near(device, rng, at):
    a, b = rng.random((2, 40, 150), "float32")
    a[at] = np.nan
    mean, index = on_device(device, a, b, data_range=1.0, full=True)
    assert np.isnan(mean)
    expected = np.zeros(a.shape, bool)
    expected[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4] = True
    np.testing.assert_array_equal(np.isnan(index), expected)


def test_values_of_any_size(device, rng):
    a, b, _ = pair(rng, (20, 30), "float32")
    expected = metrics.structural_similarity(a, b, data_range=1.0)
    for size in (1e-6, 1e15):
        scaled = (image * np.float32(size) for image in (a, b))
        (mean,) = on_device(device, *scaled, data_range=size)
        assert mean == pytest.approx(expected, abs=1e-6)


def test_range_of_integers(device, rng):
    a, b, _ = pair(rng, (20, 30), "uint8")
    assert on_device(device, a, b) == on_device(device, a, b, data_range=255)
    x = device.array(a.astype(np.float32))
    with pytest.raises(ValueError, match="data_range must be given for floating images"):
        metrics.structural_similarity(x, x)
    with pytest.raises(ValueError, match="im2 must be on the device of im1, cuda:0, got the CPU"):
        metrics.structural_similarity(x, a.astype(np.float32), data_range=1)


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        a, b, _ = pair(rng, (19, 131), "uint8")
        on_device(device, a, b, full=True)
        on_device(device, a, b, **GAUSSIAN)
        on_device(device, a[:7, :9], b[:7, :9], win_size=3, channel_axis=0)
        on_device(device, *rng.random((2, 4, 5, 6), "float32"), data_range=1, win_size=3)
    assert report.problems == []
    for access in report.accesses:
        if access.space == "shared":
            assert access.passes == access.ideal, access
