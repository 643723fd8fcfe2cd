from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from conftest import random_image
from reference import metrics as reference

from fastimg import metrics

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]


@pytest.mark.parametrize("shape", [(1,), (1, 7), (61, 67), (4, 5, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(target, rng, shape, dtype):
    a, b = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    expected = reference.peak_signal_noise_ratio(a, b, 3.5)
    assert metrics.peak_signal_noise_ratio(a, b, data_range=3.5) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("low", [0, -0.5])
def test_agrees_with_scikit_image(rng, dtype, low):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    a, b = random_image(rng, (50, 60), dtype), random_image(rng, (50, 60), dtype)
    if np.dtype(dtype).kind == "f":
        a = a + np.dtype(dtype).type(low)
    expected = skimage_metrics.peak_signal_noise_ratio(a, b)
    assert metrics.peak_signal_noise_ratio(a, b) == pytest.approx(expected, abs=1e-5 if dtype == "float32" else 1e-9)
    for normalization in ("euclidean", "min-max", "mean", "Euclidean"):
        expected = skimage_metrics.normalized_root_mse(a, b, normalization=normalization)
        result = metrics.normalized_root_mse(a, b, normalization=normalization)
        assert result == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-9)


def test_equal_images_give_infinity():
    image = np.full((5, 6), 7, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.peak_signal_noise_ratio(image, image) == math.inf
    assert metrics.normalized_root_mse(image, image) == 0
    assert math.isnan(metrics.normalized_root_mse(np.zeros(3), np.zeros(3)))
    assert metrics.normalized_root_mse(np.zeros(3), np.ones(3)) == math.inf


def test_nan_is_kept():
    image = np.full((5, 6), 0.5)
    image[2, 3] = np.nan
    assert math.isnan(metrics.peak_signal_noise_ratio(image, np.zeros((5, 6))))


def test_errors_beyond_all_measure():
    zeros = np.zeros((3, 4))
    assert metrics.peak_signal_noise_ratio(zeros, np.full((3, 4), np.inf), data_range=1) == -math.inf
    assert metrics.peak_signal_noise_ratio(zeros, np.full((3, 4), 1e200), data_range=1) == -math.inf
    assert metrics.peak_signal_noise_ratio(zeros, np.ones((3, 4)), data_range=1e200) == pytest.approx(4000)
    assert metrics.peak_signal_noise_ratio(zeros, np.ones((3, 4)), data_range=1e-200) == pytest.approx(-4000)


def test_range_of_the_dtype_of_the_first(rng):
    a, b = random_image(rng, (9, 9), "uint8"), random_image(rng, (9, 9), "uint16")
    with pytest.warns(UserWarning, match="the images differ in dtype: data_range is that of image_true"):
        result = metrics.peak_signal_noise_ratio(a, b)
    assert result == metrics.peak_signal_noise_ratio(a, b, data_range=255)


def test_bad_input():
    a = np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"data_range must be given for an image_true outside .*, got .* 0 to 2"):
        metrics.peak_signal_noise_ratio(a + np.array([0, 1, 2, 2]), a)
    with pytest.raises(ValueError, match="data_range must be above 0, got 0"):
        metrics.peak_signal_noise_ratio(a, a, data_range=0)
    with pytest.raises(TypeError, match="data_range must be a number, got 'wide'"):
        metrics.peak_signal_noise_ratio(a, a, data_range="wide")
    with pytest.raises(ValueError, match=r"image_test must have the shape of image_true, \(4, 4\), got \(4, 5\)"):
        metrics.peak_signal_noise_ratio(a, np.zeros((4, 5)))
    with pytest.raises(TypeError, match="image_true must have one of the dtypes uint8, .*, got complex128"):
        metrics.peak_signal_noise_ratio(a.astype(complex), a)
    with pytest.raises(ValueError, match="normalization must be one of 'euclidean', 'min-max', 'mean', got 'max'"):
        metrics.normalized_root_mse(a, a, normalization="max")
