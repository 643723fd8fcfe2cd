"""Non-local means on a device, against the NumPy reference and the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference.denoise_nl_means import denoise_nl_means as reference
from tolerances import assert_close

from fastimg.backends import cpu, cuda
from fastimg.restoration import denoise_nl_means, estimate_sigma

DTYPES = ["uint8", "uint16", "float16", "float32"]
# Strengths at which no distance comes near the cutoff, where a rounding error would decide between 0 and exp(-5).
SMOOTH: dict[str, Any] = dict(patch_size=5, patch_distance=4, h=0.4)


def unit(image: np.ndarray) -> np.ndarray:
    return image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else image.astype(np.float64)


def denoised(device, image: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
    return device.numpy(denoise_nl_means(device.array(image), *arguments, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 3, 5])
def test_agrees_with_reference(device, rng, dtype, channels):
    image = random_image(rng, (21, 33) if channels is None else (21, 33, channels), dtype)
    axis = None if channels is None else -1
    result = denoised(device, image, **SMOOTH, channel_axis=axis)
    assert result.dtype == (np.float32 if image.dtype.kind == "u" else image.dtype)
    assert_close(result, reference(unit(image), **SMOOTH, channel_axis=axis))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_stay_integers(device, rng, dtype):
    image = random_image(rng, (21, 17), dtype)
    top = np.iinfo(dtype).max
    result = denoised(device, image, 5, 4, 0.4 * top, preserve_range=True)
    assert result.dtype == image.dtype
    assert_close(result, reference(image, 5, 4, 0.4 * top))


@pytest.mark.parametrize(
    "options",
    [
        dict(patch_size=3, patch_distance=2, h=0.3),  # hardly anything resembles anything
        dict(patch_size=7, patch_distance=10, h=10),
        dict(patch_size=7, patch_distance=3, h=40),
        dict(patch_size=7, patch_distance=3, h=1e4),  # a plain mean
        dict(patch_size=7, patch_distance=3, h=1e6),  # too large for halves
        dict(patch_size=7, patch_distance=3, h=0.01),  # too small
        dict(patch_size=5, patch_distance=12, h=8, sigma=10),
        dict(patch_size=9, patch_distance=4, h=8, sigma=10),
        dict(patch_size=17, patch_distance=2, h=12),
        dict(patch_size=5, patch_distance=3, h=1, sigma=60),  # a cutoff that is small beside the excess
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_in_halves(device, rng, options, channels):
    """From uint8 to uint8 the arithmetic may be in halves: within a level of the rounded mean all the same."""
    if channels == 3 and options["h"] not in (8, 10):
        pytest.skip("as for one channel")
    rows, columns = np.mgrid[:51, :63]
    clean = 128 + 90 * np.sin(rows / 7)[..., None] * np.cos(columns[..., None] / (9 + np.arange(channels)))
    image = np.clip(clean + rng.normal(0, 10, clean.shape), 0, 255).astype(np.uint8)
    image[20:24, 30:] = rng.choice(np.array([0, 255], np.uint8), (4, 33, channels))
    result = denoised(device, image, **options, preserve_range=True, channel_axis=-1)
    assert result.dtype == np.uint8
    expected = np.empty(image.shape, np.float32)
    denoise_nl_means(image, **options, preserve_range=True, channel_axis=-1, out=expected)
    assert_close(result, expected)


@pytest.mark.parametrize("patch_size", [5, 19])
def test_cutoff_is_exact_for_uint8(device, rng, patch_size):
    image = rng.integers(0, 9, (40, 41), np.uint8)
    options = dict(patch_size=patch_size, patch_distance=3, h=2.0)
    out = device.array(np.empty(image.shape, np.float32))
    denoise_nl_means(device.array(image), **options, preserve_range=True, out=out)
    assert_close(device.numpy(out), reference(image, **options), scale=9)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (1, 29), (31, 1), (3, 4), (7, 11), (25, 67), (26, 121), (24, 120), (49, 5)]
)
def test_shapes(device, rng, shape):
    image = rng.random(shape, "float32")
    assert_close(denoised(device, image, **SMOOTH), reference(image, **SMOOTH))


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (65, 3), (66, 67)])
def test_shapes_with_large_patches(device, rng, shape):
    image = rng.random(shape, "float32")
    options = dict(patch_size=19, patch_distance=1, h=0.4)
    assert_close(denoised(device, image, **options), reference(image, **options))


@pytest.mark.parametrize(
    ("patch_size", "patch_distance"),
    [(3, 1), (3, 20), (5, 14), (7, 6), (9, 3), (11, 2), (13, 2), (17, 1), (19, 2), (33, 1), (127, 1)],
)
def test_patch_sizes_and_distances(device, rng, patch_size, patch_distance):
    """Searches that a tile serves at once, and in parts; patches for strips up to 17, beyond for any."""
    image = rng.random((14, 17), "float32")
    options = dict(patch_size=patch_size, patch_distance=patch_distance, h=0.5)
    assert_close(denoised(device, image, **options), denoise_nl_means(image, **options), factor=2)


@pytest.mark.parametrize(("channels", "patch_size"), [(2, 7), (2, 9), (3, 11), (3, 13)])
def test_patch_sizes_with_channels(device, rng, channels, patch_size):
    image = rng.random((14, 17, channels), "float32")
    options = dict(patch_size=patch_size, patch_distance=2, h=0.5, channel_axis=-1)
    assert_close(denoised(device, image, **options), denoise_nl_means(image, **options), factor=2)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 3), (5, 1), (0, 6), (9, 12)])
def test_patches_of_other_conventions(device, rng, before, after):
    """OpenCV's patches have an odd width; nothing asks that they be centred."""
    image = rng.random((1, 1, 13, 19, 1), "float32")
    options: dict[str, Any] = dict(patch_before=before, patch_after=after, patch_taps=[], patch_distance=2)
    options |= dict(truncated=False, outer=((False, 0, False),) * 2, first_plane=0, weighting="welsch", centre=-1)
    options |= dict(scale=0.05, excess=0.1, cutoff=40, gain=2, threads=1)
    result, expected = device.array(np.empty_like(image)), np.empty_like(image)
    cuda.denoise_nl_means(device.array(image), None, None, None, result, **options)
    cpu.denoise_nl_means(image, None, None, None, expected, **options)
    assert_close(device.numpy(result), expected, scale=2)


@pytest.mark.parametrize("channels", [None, 3, 5])
def test_sigma(device, rng, channels):
    image = rng.random((24, 27) if channels is None else (24, 27, channels), "float32")
    for sigma in (0.05, 0.3, 10.0):
        options = dict(SMOOTH, h=0.3, sigma=sigma, channel_axis=None if channels is None else -1)
        assert_close(denoised(device, image, **options), reference(image, **options), factor=2)


@pytest.mark.parametrize("channels", [3, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device, rng, layout, channels):
    image = rng.random((22, 26, channels), "float32")
    expected = denoised(device, image, **SMOOTH, channel_axis=-1)
    laid_out = LAYOUTS[layout](image)
    np.testing.assert_array_equal(denoised(device, laid_out, **SMOOTH, channel_axis=-1), expected)
    out = device.array(LAYOUTS[layout](np.zeros_like(image)))
    returned = denoise_nl_means(device.array(image), **SMOOTH, channel_axis=-1, out=out)
    assert returned is out
    np.testing.assert_array_equal(device.numpy(out), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_channel_axis(device, rng, axis):
    image = rng.random((22, 26, 3), "float32")
    expected = denoised(device, image, **SMOOTH, channel_axis=-1)
    moved = denoised(device, np.moveaxis(image, -1, axis), **SMOOTH, channel_axis=axis)
    np.testing.assert_array_equal(np.moveaxis(moved, axis, -1), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("sigma", "patch_size"), [(0.0, 5), (0.1, 5), (0.1, 19)])
def test_non_finite_values_stay_local(device, rng, value, sigma, patch_size):
    image = rng.random((40, 50), "float32")
    image[20, 25] = value
    options = dict(patch_size=patch_size, patch_distance=4, h=0.4, sigma=sigma)
    result = denoised(device, image, **options)
    near = np.zeros(image.shape, bool)
    near[20 - 4 : 20 + 5, 25 - 4 : 25 + 5] = True
    np.testing.assert_array_equal(~np.isfinite(result), near)
    with np.errstate(invalid="ignore"):  # patches with a non-finite value have no weight there either
        expected = denoise_nl_means(image, **options)
    assert_close(result[~near], expected[~near])


def test_extreme_strengths(device, rng):
    image = rng.random((12, 12), "float32")
    np.testing.assert_allclose(denoised(device, image, 5, 4, h=1e-200), image, rtol=1e-6)
    assert_close(denoised(device, image, 5, 4, h=1e200), denoise_nl_means(image, 5, 4, h=1e200))
    constant = np.full((9, 21), 0.7, np.float32)
    np.testing.assert_allclose(denoised(device, constant, **SMOOTH), constant, rtol=1e-6)


def test_one_launch_and_no_scratch(device, rng):
    if not device.emulated:
        pytest.skip("launches are recorded by the emulator")
    image, out = device.array(rng.random((30, 40), "float32")), device.array(np.empty((30, 40), np.float32))
    with device.library.recording() as launches:
        denoise_nl_means(image, **SMOOTH, out=out)
    assert [launch.kernel for launch in launches] == ["denoise_nl_means_strips"]


@pytest.mark.parametrize(
    ("shape", "dtype", "patch_size"),
    [((26, 125), "float32", 7), ((50, 60), "uint8", 7), ((26, 70, 3), "float32", 7), ((66, 67), "float32", 19)],
)
def test_memory_is_accessed_well(device, rng, shape, dtype, patch_size):
    """No races, nothing read before it was written, no conflicts of banks but where a tile is filled."""
    image = random_image(rng, shape, dtype)
    axis = None if len(shape) == 2 else -1
    with device.checking() as report:
        denoise_nl_means(device.array(image), patch_size, 1, h=0.4, preserve_range=True, channel_axis=axis)
    assert report.problems == []
    shared = [access for access in report.accesses if access.space == "shared"]
    if patch_size == 7:
        assert all(access.passes == access.ideal for access in shared if access.kind == "read")
    assert all(access.passes <= 2 * access.ideal for access in shared)


def test_out_is_checked(device):
    image = device.array(np.zeros((8, 8), np.float32))
    with pytest.raises(ValueError, match="out must not overlap image"):
        denoise_nl_means(image, out=image)
    with pytest.raises(TypeError, match="out must have dtype float32"):
        denoise_nl_means(image, out=device.array(np.zeros((8, 8), np.uint8)))
    with pytest.raises(TypeError, match="out must be of the kind of image"):
        denoise_nl_means(image, out=np.zeros((8, 8), np.float32))


@pytest.mark.parametrize(("policy", "seed"), [("in_order", 0), ("random", 1), ("run_ahead", 2)])
@pytest.mark.parametrize("patch_size", [5, 19])
def test_any_schedule(device, rng, policy, seed, patch_size):
    if not device.emulated:
        pytest.skip("the schedule of threads is the emulator's")
    image = rng.random((23, 31), "float32")
    options = dict(patch_size=patch_size, patch_distance=2, h=0.4)
    with device.library.schedule(policy, seed):
        assert_close(denoised(device, image, **options), denoise_nl_means(image, **options))


@pytest.mark.parametrize("channel_axis", [None, -1])
def test_the_strength_that_the_image_asks_for(device, rng, channel_axis):
    image = (100 + 10 * rng.standard_normal((33, 40) if channel_axis is None else (33, 40, 3))).astype(np.uint8)
    on_device = device.array(image)
    wanted = estimate_sigma(image, channel_axis=channel_axis)
    np.testing.assert_allclose(estimate_sigma(on_device, channel_axis=channel_axis), wanted, rtol=1e-5)
    options = {"h": "auto", "preserve_range": True, "channel_axis": channel_axis}
    result = device.numpy(denoise_nl_means(on_device, **options))
    difference = np.abs(result.astype(int) - denoise_nl_means(image, **options))
    assert difference.max() <= 1
