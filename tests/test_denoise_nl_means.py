from __future__ import annotations

import functools

import numpy as np
import pytest
from conftest import random_image
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.denoise_nl_means import denoise_nl_means as reference
from tolerances import assert_close

from fastimg.restoration import denoise_nl_means, estimate_sigma

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
# Strengths at which no distance comes near the cutoff, where a rounding error would decide between 0 and exp(-5).
SMOOTH = dict(patch_size=5, patch_distance=4, h=0.4)


def in_unit_range(image: np.ndarray) -> np.ndarray:
    return image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else image.astype(np.float64)


def arithmetic_is_float32(result: np.ndarray) -> np.ndarray:
    """The result as float32, whose tolerance holds for images of float64 too: the arithmetic is in float32."""
    return result.astype(np.float32) if result.dtype == np.float64 else result


def noisy_waves(channels: int) -> np.ndarray:
    """Waves with noise and, in one place, black and white."""
    rng = np.random.default_rng(channels)
    rows, columns = np.mgrid[:41, :59]
    clean = 128 + 90 * np.sin(rows / 7)[..., None] * np.cos(columns[..., None] / (9 + np.arange(channels)))
    image = np.clip(clean + rng.normal(0, 10, clean.shape), 0, 255).astype(np.uint8)
    image[20:24, 30:] = rng.choice(np.array([0, 255], np.uint8), (4, 29, channels))
    return image


@functools.cache
def expected_of_waves(channels: int, parameters: tuple[tuple[str, float], ...]) -> np.ndarray:
    """The reference takes seconds for what every instruction set is compared with."""
    return reference(noisy_waves(channels), **dict(parameters), channel_axis=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4, 5])
def test_agrees_with_reference(target, rng, dtype, channels):
    image = random_image(rng, (19, 23) if channels is None else (19, 23, channels), dtype)
    axis = None if channels is None else -1
    result = denoise_nl_means(image, **SMOOTH, channel_axis=axis)
    assert result.dtype == (np.float32 if image.dtype.kind == "u" else image.dtype)
    assert_close(arithmetic_is_float32(result), reference(in_unit_range(image), **SMOOTH, channel_axis=axis))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_stay_integers(target, rng, dtype):
    image = random_image(rng, (21, 17), dtype)
    top = np.iinfo(dtype).max
    result = denoise_nl_means(image, 5, 4, 0.4 * top, preserve_range=True)
    assert result.dtype == image.dtype
    assert_close(result, reference(image, 5, 4, 0.4 * top))


def test_cutoff_is_exact_for_uint8(target, rng):
    # Sums of squares of uint8 are exact in float32, and 5 * h**2 * patch_size**2 is a whole number here: distances
    # that equal the cutoff are on the same side as in the reference.
    image = rng.integers(0, 9, (40, 41), np.uint8)
    result = denoise_nl_means(image, 5, 5, 2.0, preserve_range=True, out=np.empty((40, 41), np.float32))
    assert_close(result, reference(image, 5, 5, 2.0), scale=9)


@pytest.mark.parametrize(
    "parameters",
    [
        dict(patch_size=3, patch_distance=2, h=0.3),  # hardly anything resembles anything
        dict(patch_size=7, patch_distance=10, h=10),  # squares as they are
        dict(patch_size=7, patch_distance=3, h=40),  # squares without their last bits
        dict(patch_size=7, patch_distance=3, h=1e4),  # squares without all their bits: a plain mean
        dict(patch_size=5, patch_distance=12, h=8, sigma=10),  # weights of 13 bits
        dict(patch_size=3, patch_distance=31, h=25),  # weights of 12 bits
        dict(patch_size=3, patch_distance=32, h=25),  # in floats from here on
        dict(patch_size=15, patch_distance=2, h=12),
        dict(patch_size=21, patch_distance=2, h=12),  # in floats too
        dict(patch_size=5, patch_distance=3, h=1, sigma=60),  # and this, whose cutoff is small beside the excess
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_uint8_in_16_bits(target, parameters, channels):
    """From uint8 to uint8 the arithmetic may be in 16 bits: within a level of the rounded mean all the same."""
    image = noisy_waves(channels)
    result = denoise_nl_means(image, **parameters, preserve_range=True, channel_axis=-1, threads=2)
    assert result.dtype == np.uint8
    assert_close(result, expected_of_waves(channels, tuple(parameters.items())))
    padded = np.repeat(image, 2, axis=1)[::-1, ::-2]  # any strides
    options = dict(**parameters, preserve_range=True, channel_axis=-1)
    strided, contiguous = denoise_nl_means(padded, **options, threads=1), denoise_nl_means(padded.copy(), **options)
    np.testing.assert_array_equal(strided, contiguous)


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (2, 1), (1, 29), (31, 1), (3, 4), (7, 11), (65, 67), (64, 128), (66, 131), (129, 5), (5, 260)],
)
def test_shapes(target, rng, shape):
    image = rng.random(shape, "float32")
    assert_close(denoise_nl_means(image, **SMOOTH), reference(image, **SMOOTH))


@pytest.mark.parametrize(
    ("patch_size", "patch_distance"),
    [(3, 1), (3, 7), (5, 2), (7, 1), (7, 6), (9, 3), (11, 2), (15, 1), (33, 1), (3, 20)],
)
def test_patch_sizes_and_distances(target, rng, patch_size, patch_distance):
    image = rng.random((14, 17), "float32")
    parameters = dict(patch_size=patch_size, patch_distance=patch_distance, h=0.5)
    assert_close(denoise_nl_means(image, **parameters), reference(image, **parameters))


@pytest.mark.parametrize("channel_axis", [None, -1])
def test_sigma(target, rng, channel_axis):
    image = rng.random((24, 27, 3)[: 2 if channel_axis is None else 3], "float32")
    for sigma in (0.05, 0.3, 10.0):
        parameters = dict(patch_size=5, patch_distance=4, h=0.3, sigma=sigma, channel_axis=channel_axis)
        assert_close(denoise_nl_means(image, **parameters), reference(image, **parameters), factor=2)


def test_agrees_with_scikit_image(target):
    skimage = pytest.importorskip("skimage")
    from skimage import data, restoration

    image = skimage.img_as_float(data.camera()[200:280, 200:290])
    noisy = image + np.random.default_rng(1).normal(0, 0.08, image.shape)
    expected = restoration.denoise_nl_means(noisy, 7, 9, h=0.07, sigma=0.08)
    result = denoise_nl_means(noisy, 7, 9, h=0.07, sigma=0.08)
    # scikit-image's exp is up to 4 % off; that moves a mean over the window by some thousandths.
    assert np.abs(result - expected).max() < 0.01
    assert np.abs(result - expected).mean() < 0.001


def test_layouts(target, layout, rng):
    image = rng.random((24, 26, 3), "float32")
    expected = denoise_nl_means(image, **SMOOTH, channel_axis=-1)
    np.testing.assert_array_equal(denoise_nl_means(layout(image), **SMOOTH, channel_axis=-1), expected)
    out = layout(np.empty_like(image))
    returned = denoise_nl_means(image, **SMOOTH, channel_axis=-1, out=out)
    assert returned is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("axis", [0, 1, 2, -3])
def test_channel_axis(rng, axis):
    image = rng.random((24, 26, 3), "float32")
    expected = denoise_nl_means(image, **SMOOTH, channel_axis=-1)
    moved = denoise_nl_means(np.moveaxis(image, -1, axis), **SMOOTH, channel_axis=axis)
    np.testing.assert_array_equal(np.moveaxis(moved, axis, -1), expected)


def test_threads_do_not_change_the_result(target, rng):
    image = rng.random((150, 300), "float32")
    one = denoise_nl_means(image, **SMOOTH, threads=1)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(denoise_nl_means(image, **SMOOTH, threads=threads), one)


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    image = rng.random((20, 20), "float32")
    result = denoise_nl_means(torch.from_numpy(image), **SMOOTH)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), denoise_nl_means(image, **SMOOTH))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_non_finite_values_stay_local(target, rng, value, sigma):
    image = rng.random((40, 50), "float32")
    image[20, 25] = value
    result = denoise_nl_means(image, **SMOOTH, sigma=sigma)
    near = np.zeros(image.shape, bool)
    near[20 - 4 : 20 + 5, 25 - 4 : 25 + 5] = True
    np.testing.assert_array_equal(~np.isfinite(result), near)
    with np.errstate(invalid="ignore"):  # patches with a non-finite value have no weight there either
        expected = reference(image, **SMOOTH, sigma=sigma)
    assert_close(result[~near], expected[~near])


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), level=st.floats(0, 1), h=st.floats(1e-3, 10))
def test_a_constant_image_is_kept(rows, columns, level, h):
    image = np.full((rows, columns), level, np.float32)
    np.testing.assert_allclose(denoise_nl_means(image, 3, 3, h), image, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 2))
def test_results_lie_within_the_image_range(seed, h):
    image = np.random.default_rng(seed).random((17, 19), "float32")
    result = denoise_nl_means(image, 3, 3, h)
    assert image.min() - 1e-6 <= result.min() <= result.max() <= image.max() + 1e-6


def test_extreme_strengths(rng):
    image = rng.random((12, 12), "float32")
    np.testing.assert_array_equal(denoise_nl_means(image, 3, 2, h=1e-200), image)
    mean_of_window = reference(image, 3, 2, h=1e30)
    assert_close(denoise_nl_means(image, 3, 2, h=1e200), mean_of_window)


IMAGE = np.zeros((8, 8), np.float32)
GUIDE = np.zeros((8, 8), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(image=IMAGE[0]), ValueError, "image must have 2 or 3 or 4 dimensions"),
        (dict(image=np.zeros((2, 2, 2, 4, 3))), ValueError, "image must have 2 or 3 or 4 dimensions .*channel_axis"),
        (dict(image=IMAGE, channel_axis=0), ValueError, "image must have 3 or 4 or 5 dimensions"),
        (dict(image=np.zeros((4, 4, 3)), channel_axis=3), ValueError, "channel_axis must be None or between -3 and 2"),
        (dict(image=np.zeros((0, 8))), ValueError, r"image must not be empty, got shape \(0, 8\)"),
        (dict(image=np.zeros((4, 4, 0)), channel_axis=2), ValueError, "image must not be empty"),
        (dict(image=np.zeros((4, 4), complex)), TypeError, "image must have one of the dtypes .* got complex128"),
        (dict(image=np.zeros((4, 4), np.int64)), TypeError, "got int64"),
        (dict(image="photo.png"), TypeError, "image must"),
        (dict(image=IMAGE, patch_size=4), ValueError, "patch_size must be odd, got 4"),
        (dict(image=IMAGE, patch_size=1), ValueError, "patch_size must be at least 3, got 1"),
        (dict(image=IMAGE, patch_size=10**6 + 1), ValueError, "patch_size must be at most 127"),
        (dict(image=IMAGE, patch_size=5.0), TypeError, "patch_size must be an integer, got 5.0"),
        (dict(image=IMAGE, patch_distance=0), ValueError, "patch_distance must be at least 1, got 0"),
        (dict(image=IMAGE, patch_distance=10**9), ValueError, "patch_distance must be at most 255"),
        (dict(image=IMAGE, h=0), ValueError, "h must be above 0, got 0"),
        (dict(image=IMAGE, h=-1.0), ValueError, "h must be above 0, got -1"),
        (dict(image=IMAGE, h=np.nan), ValueError, "h must be finite, got nan"),
        (dict(image=IMAGE, h="strong"), TypeError, "h must be a number, got 'strong'"),
        (
            dict(image=np.full((8, 8), np.nan), h="auto"),
            ValueError,
            "h must be a number for an image that is not finite",
        ),
        (dict(image=IMAGE, sigma=-0.1), ValueError, "sigma must be at least 0, got -0.1"),
        (dict(image=IMAGE, sigma=np.nan), ValueError, "sigma must be finite, got nan"),
        (dict(image=IMAGE, fast_mode=0), TypeError, "fast_mode must be True or False, got 0"),
        (dict(image=IMAGE, h=np.ones((8, 9))), ValueError, r"h must be a number or have shape \(8, 8\), got \(8, 9\)"),
        (dict(image=IMAGE, h=np.ones((8, 8), int)), TypeError, "h must have one of the dtypes float16"),
        (dict(image=IMAGE, sigma=np.ones(8)), ValueError, r"sigma must be a number or have shape \(8, 8\), got \(8,\)"),
        (dict(image=IMAGE, weighting="cauchy"), ValueError, "weighting must be one of 'welsch', .* got 'cauchy'"),
        (dict(image=IMAGE, center_weight=-1), ValueError, "center_weight must be at least 0, got -1"),
        (dict(image=IMAGE, guide=np.ones((8, 9))), ValueError, r"guide must have the axes of image, \(8, 8\), got"),
        (dict(image=IMAGE, guide=np.ones((8, 8, 0))), ValueError, "guide must not be empty"),
        (dict(image=IMAGE, guide=GUIDE, out=GUIDE), ValueError, "out must not overlap guide"),
        (dict(image=IMAGE, preserve_range=1), TypeError, "preserve_range must be True or False, got 1"),
        (dict(image=IMAGE, threads=0), ValueError, "threads must be at least 1, got 0"),
        (
            dict(image=IMAGE, out=np.empty((8, 9), np.float32)),
            ValueError,
            r"out must have shape \(8, 8\), got \(8, 9\)",
        ),
        (dict(image=IMAGE, out=np.empty((8, 8), np.uint8)), TypeError, "out must have dtype float32.*, got uint8"),
        (dict(image=IMAGE, out=IMAGE), ValueError, "out must not overlap image"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        denoise_nl_means(**arguments)


def test_read_only_out_is_refused():
    out = np.empty((8, 8), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        denoise_nl_means(IMAGE, out=out)


# ---- the strength that the image asks for ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_automatic_strength(dtype):
    rng = np.random.default_rng(3)
    top = 255 if dtype == "uint8" else 1
    clean = np.kron(rng.integers(40, 200, (8, 8)), np.ones((16, 16))) / 255 * top
    noisy = np.clip(clean + rng.normal(0, 0.06 * top, clean.shape), 0, top).astype(dtype)
    sigma = estimate_sigma(noisy)
    assert sigma == pytest.approx(0.06 * top, rel=0.1)
    options = {"patch_size": 5, "patch_distance": 7, "preserve_range": True}
    automatic = denoise_nl_means(noisy, h="auto", **options)
    np.testing.assert_array_equal(automatic, denoise_nl_means(noisy, h=0.6 * sigma, sigma=sigma, **options))
    np.testing.assert_array_equal(
        denoise_nl_means(noisy, h="auto", sigma=0.05 * top, **options),
        denoise_nl_means(noisy, h=0.6 * (0.05 * top), sigma=0.05 * top, **options),
    )
    assert np.abs(automatic - clean).mean() < np.abs(noisy - clean).mean() / 4


def test_automatic_strength_in_the_units_of_the_result():
    noisy = np.random.default_rng(4).integers(90, 160, (40, 41, 3)).astype(np.uint8)
    sigma = estimate_sigma(noisy, average_sigmas=True, channel_axis=-1) / 255
    np.testing.assert_allclose(
        denoise_nl_means(noisy, h="auto", channel_axis=-1),
        denoise_nl_means(noisy, h=0.6 * sigma, sigma=sigma, channel_axis=-1),
        rtol=0,
        atol=1e-6,
    )


def test_automatic_strength_without_noise():
    image = np.zeros((9, 10), np.uint8)
    image[:, 5:] = 200
    np.testing.assert_array_equal(denoise_nl_means(image * 0, h="auto", preserve_range=True), image * 0)
    np.testing.assert_array_equal(denoise_nl_means(image, h="auto", preserve_range=True), image)
