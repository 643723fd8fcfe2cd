from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image

from fastimg import metrics

SHAPES = [(1,), (1, 1), (1, 7), (31, 1), (61, 67), (4, 5, 3), (2, 3, 4, 5), (300, 401), (3, 40_001)]
DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]


def reference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(target, rng, shape, dtype):
    a, b = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    assert metrics.mean_squared_error(a, b) == pytest.approx(reference(a, b), rel=1e-12)


def test_any_layout(target, layout, rng):
    a, b = rng.random((45, 46, 3)), rng.random((45, 46, 3))
    assert metrics.mean_squared_error(layout(a), b) == pytest.approx(reference(a, b), rel=1e-12)
    assert metrics.mean_squared_error(layout(a), layout(b)) == pytest.approx(reference(a, b), rel=1e-12)


def test_agrees_with_scikit_image(rng):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    a, b = random_image(rng, (50, 60), "uint8"), random_image(rng, (50, 60), "uint8")
    assert metrics.mean_squared_error(a, b) == pytest.approx(skimage_metrics.mean_squared_error(a, b), rel=1e-12)


def test_threads_do_not_change_the_result(target, rng):
    a, b = rng.random((700, 801), "float32"), rng.random((700, 801), "float32")
    assert len({metrics.mean_squared_error(a, b, threads=n) for n in (1, 2, 3, 8)}) == 1


def test_mixed_dtypes(rng):
    a, b = random_image(rng, (9, 9), "uint8"), random_image(rng, (9, 9), "float64")
    assert metrics.mean_squared_error(a, b) == pytest.approx(reference(a, b))


def test_nan_is_kept():
    a = np.zeros((5, 5))
    b = a.copy()
    b[2, 2] = np.nan
    assert np.isnan(metrics.mean_squared_error(a, b))


def test_bad_input():
    a = np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"image1 must have the shape of image0, \(4, 4\), got \(4, 5\)"):
        metrics.mean_squared_error(a, np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"image0 must not be empty, got shape \(0, 4\)"):
        metrics.mean_squared_error(np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(TypeError, match="image0 must have one of the dtypes uint8, .*, got complex128"):
        metrics.mean_squared_error(a.astype(complex), a)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        metrics.mean_squared_error(a, a, threads=0)
    with pytest.raises(TypeError, match="threads must be an integer, got 1.5"):
        metrics.mean_squared_error(a, a, threads=1.5)
