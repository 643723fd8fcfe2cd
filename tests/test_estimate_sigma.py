from __future__ import annotations

import warnings

import numpy as np
import pytest

from fastimg.restoration import estimate_sigma


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "channel_axis"),
    [((64, 65), None), ((101,), None), ((20, 21, 22), None), ((40, 41, 3), -1), ((3, 30, 31), 0), ((2, 2), None)],
)
def test_agrees_with_scikit_image(rng, shape, channel_axis, dtype):
    pytest.importorskip("pywt")
    from skimage.restoration import estimate_sigma as theirs

    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    image = (rng.random(shape) * top).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few columns may be channels
        wanted = theirs(image, channel_axis=channel_axis)
        mean = theirs(image, average_sigmas=True, channel_axis=channel_axis)
    result = estimate_sigma(image, channel_axis=channel_axis)
    assert isinstance(result, list) == (channel_axis is not None)
    rtol = 1e-6 if dtype == "float32" else 1e-11  # PyWavelets keeps float32
    np.testing.assert_allclose(result, wanted, rtol=rtol)
    np.testing.assert_allclose(estimate_sigma(image, average_sigmas=True, channel_axis=channel_axis), mean, rtol=rtol)


def test_finds_the_noise_on_a_photograph(rng):
    data = pytest.importorskip("skimage.data")
    photograph = data.camera().astype(np.float64)
    for sigma in (10, 25, 50):
        noisy = photograph + rng.normal(0, sigma, photograph.shape)
        assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.15)  # texture counts as noise


def test_any_layout(layout, rng):
    image = rng.random((21, 22, 3))
    assert estimate_sigma(layout(image)) == estimate_sigma(image)


def test_images_without_an_estimate():
    assert np.isnan(estimate_sigma(np.zeros((9, 9))))
    assert np.isnan(estimate_sigma(np.full((9, 9), np.nan)))
    assert estimate_sigma(np.ones((1, 1))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(image=np.zeros((0, 3))), ValueError, r"image must not be empty, got shape \(0, 3\)"),
        (dict(image=np.zeros((4, 4), complex)), TypeError, "image must have one of the dtypes .* got complex128"),
        (dict(image=np.zeros((4, 4)), channel_axis=2), ValueError, "channel_axis must be None or between -2 and 1"),
        (dict(image=np.zeros((4, 4)), average_sigmas=1), TypeError, "average_sigmas must be True or False, got 1"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        estimate_sigma(**arguments)
