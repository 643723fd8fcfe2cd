from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import random_image
from reference import metrics as reference

from fastimg import metrics

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
CASES = [  # shape, options: smallest, across tiles (128 columns, 64 rows), every window, every number of axes
    ((7, 7), {}),
    ((7, 150), {}),
    ((141, 9), {}),
    ((135, 261), {}),
    ((135, 261), {"gaussian_weights": True}),
    ((70, 140), {"gaussian_weights": True, "sigma": 2.3, "use_sample_covariance": False}),
    ((20, 31), {"gaussian_weights": True, "win_size": 5}),
    ((13, 40), {"gaussian_weights": True, "win_size": 5, "sigma": 3.0}),  # the window is wider than the image
    ((40, 50), {"gaussian_weights": True, "sigma": 0.0, "win_size": 3}),
    ((33, 34), {"win_size": 1, "use_sample_covariance": False}),
    ((33, 34), {"win_size": 33, "K1": 0.02, "K2": 0.05}),
    ((300,), {"win_size": 11}),
    ((40, 50, 3), {"channel_axis": -1}),
    ((3, 40, 50), {"channel_axis": 0, "gaussian_weights": True}),
    ((40, 3, 50), {"channel_axis": 1}),
    ((12, 13, 140), {"win_size": 3}),
    ((11, 12, 13), {"gaussian_weights": True, "sigma": 1.0}),
    ((5, 6, 7, 8), {"win_size": 3}),
    ((5, 6, 7, 2), {"win_size": 5, "channel_axis": -1}),
]


def pair(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Two images that resemble each other, and their range."""
    a, b = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    b = (0.7 * a.astype(np.float64) + 0.3 * b.astype(np.float64)).astype(dtype)
    return a, b, float(np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else 1.0


@pytest.mark.parametrize(("shape", "options"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(target, rng, shape, options, dtype):
    a, b, top = pair(rng, shape, dtype)
    expected = reference.structural_similarity(a, b, top, full=True, **reference_options(options, len(shape)))
    mean, full = metrics.structural_similarity(a, b, data_range=top, full=True, **options)
    # float64 all through; the map of any other dtype is rounded to float32.
    assert mean == pytest.approx(expected[0], abs=1e-11)
    assert full.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(full, expected[1], rtol=0, atol=1e-10 if dtype == "float64" else 1e-6)
    assert metrics.structural_similarity(a, b, data_range=top, **options) == pytest.approx(mean, abs=1e-13)


def reference_options(options: dict, ndim: int) -> dict:
    """The reference leaves out a border as broad as its window; tests of another width stand for themselves below."""
    if options.get("gaussian_weights") and "win_size" in options:
        pytest.skip("compared with scikit-image below")
    return options


@pytest.mark.parametrize(("shape", "options"), CASES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_agrees_with_scikit_image(rng, shape, options, dtype):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    a, b, top = pair(rng, shape, dtype)
    mean, full = metrics.structural_similarity(a, b, data_range=top, full=True, **options)
    expected = skimage_metrics.structural_similarity(a, b, data_range=top, full=True, **options)
    # scikit-image computes float32 images in float32, where variances lose up to five digits.
    assert mean == pytest.approx(expected[0], abs=2e-6 if dtype == "float32" else 1e-11)
    tolerance = {"float32": 5e-4, "float64": 1e-9}.get(dtype, 1e-6)
    np.testing.assert_allclose(full, expected[1], rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"gaussian_weights": True, "use_sample_covariance": False}])
def test_agrees_with_scikit_image_on_a_photograph(options):
    data = pytest.importorskip("skimage.data")
    skimage_metrics = pytest.importorskip("skimage.metrics")
    image = data.camera()
    other = np.clip(image * 0.9 + np.arange(512) / 20, 0, 255).astype(np.uint8)
    expected = skimage_metrics.structural_similarity(image, other, **options)
    assert metrics.structural_similarity(image, other, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"gaussian_weights": True}])
def test_equal_images_give_one(target, rng, dtype, options):
    image = random_image(rng, (80, 150), dtype)
    mean, full = metrics.structural_similarity(image, image.copy(), data_range=1.0, full=True, **options)
    assert mean == 1
    assert (full == 1).all()


def test_symmetric(target, rng):
    a, b = rng.random((2, 80, 150))
    first = metrics.structural_similarity(a, b, data_range=1.0)
    assert metrics.structural_similarity(b, a, data_range=1.0) == first


def test_small_differences_are_not_lost(target):
    a = np.full((50, 60), 0.5)
    b = a.copy()
    b[25, 30] += 1e-9
    _, full = metrics.structural_similarity(a, b, data_range=1.0, full=True)
    assert 0 <= 1 - full.min() < 1e-12
    with_offset = metrics.structural_similarity(a + 1e6, b + 1e6 + 0.01, data_range=1.0, K1=0.0)
    assert with_offset == pytest.approx(1, abs=1e-6)


def test_any_layout(target, layout, rng):
    a, b, _ = pair(rng, (45, 150, 3), "float32")
    options = {"data_range": 1.0, "channel_axis": 2}
    expected = metrics.structural_similarity(a, b, **options)
    assert metrics.structural_similarity(layout(a), b, **options) == expected
    assert metrics.structural_similarity(layout(a), layout(b), **options) == expected


@pytest.mark.parametrize(("shape", "options"), [((300, 401), {}), ((30, 31, 140), {"win_size": 3})])
def test_threads_do_not_change_the_result(target, rng, shape, options):
    a, b = rng.random((2, *shape), "float32")
    means = {metrics.structural_similarity(a, b, data_range=1.0, threads=n, **options) for n in (1, 2, 3, 8)}
    assert len(means) == 1
    maps = [metrics.structural_similarity(a, b, data_range=1.0, threads=n, full=True, **options)[1] for n in (1, 2, 5)]
    assert all(np.array_equal(maps[0], other) for other in maps)


def test_nan_stays_near(target, rng):
    a, b = rng.random((2, 80, 150))
    a[40, 70] = np.nan
    mean, full = metrics.structural_similarity(a, b, data_range=1.0, full=True)
    assert np.isnan(mean)
    expected = np.zeros(a.shape, bool)
    expected[37:44, 67:74] = True
    np.testing.assert_array_equal(np.isnan(full), expected)


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    a, b = rng.random((2, 20, 30), "float32")
    mean, full = metrics.structural_similarity(torch.from_numpy(a), torch.from_numpy(b), data_range=1.0, full=True)
    assert isinstance(full, torch.Tensor)
    assert mean == metrics.structural_similarity(a, b, data_range=1.0)


def test_range_of_integers(rng):
    a, b, _ = pair(rng, (20, 30), "uint8")
    assert metrics.structural_similarity(a, b) == metrics.structural_similarity(a, b, data_range=255)
    a, b, _ = pair(rng, (20, 30), "uint16")
    with pytest.warns(UserWarning, match="data_range is taken to be 65535; give it if the images use fewer bits"):
        assert metrics.structural_similarity(a, b) == metrics.structural_similarity(a, b, data_range=65535)
    with pytest.warns(UserWarning, match="the images differ in dtype: data_range is that of im1"):
        metrics.structural_similarity(np.uint8(a >> 8), b)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data_range": None}, ValueError, "data_range must be given for floating images, such as 1.0"),
        ({"data_range": 0}, ValueError, "data_range must be above 0, got 0"),
        ({"data_range": float("inf")}, ValueError, "data_range must be finite, got inf"),
        ({"win_size": 8}, ValueError, "win_size must be odd, got 8"),
        ({"win_size": 0}, ValueError, "win_size must be at least 1, got 0"),
        ({"win_size": 5.0}, TypeError, "win_size must be an integer, got 5.0"),
        ({"win_size": 11}, ValueError, r"the window is 11 wide, the shape is \(10, 12\) \(pass channel_axis"),
        ({"gaussian_weights": True}, ValueError, r"the window is 11 wide, the shape is \(10, 12\)"),
        ({"win_size": 1}, ValueError, "win_size must be above 1 with use_sample_covariance, got 1"),
        ({"sigma": -1}, ValueError, "sigma must be at least 0, got -1"),
        ({"K1": -0.1}, ValueError, "K1 must be at least 0, got -0.1"),
        ({"K2": float("nan")}, ValueError, "K2 must be finite, got nan"),
        ({"sigma": 1e300, "gaussian_weights": True}, ValueError, "win_size must not exceed the image"),
        ({"gradient": True}, ValueError, "gradient must be False"),
        ({"full": 1}, TypeError, "full must be True or False, got 1"),
        ({"channel_axis": 2}, ValueError, "channel_axis must be None or between -2 and 1"),
        ({"channel_axis": 0, "win_size": 13}, ValueError, r"the window is 13 wide, the shape is \(10, 12\)$"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ],
)
def test_bad_input(options, error, message):
    a = np.zeros((10, 12))
    with pytest.raises(error, match=message):
        metrics.structural_similarity(a, a, **{"data_range": 1.0, **options})


def test_bad_images():
    with pytest.raises(ValueError, match=r"im2 must have the shape of im1, \(9, 9\), got \(9, 8\)"):
        metrics.structural_similarity(np.zeros((9, 9)), np.zeros((9, 8)), data_range=1)
    with pytest.raises(ValueError, match=r"im1 must not be empty, got shape \(0, 9\)"):
        metrics.structural_similarity(np.zeros((0, 9)), np.zeros((0, 9)), data_range=1)
    with pytest.raises(ValueError, match="im1 must have at least 1 dimension beside the channels"):
        metrics.structural_similarity(np.zeros(9), np.zeros(9), data_range=1, channel_axis=0)
    with pytest.raises(TypeError, match="im2 must have one of the dtypes uint8, .*, got int32"):
        metrics.structural_similarity(np.zeros((9, 9)), np.zeros((9, 9), np.int32), data_range=1)


def test_nothing_is_warned_of_in_good_use(rng):
    a, b, _ = pair(rng, (20, 30), "uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.structural_similarity(a, b)
