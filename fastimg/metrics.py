"""Measures of the difference between two images, under scikit-image's names and with its values."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["mean_squared_error", "normalized_root_mse", "peak_signal_noise_ratio", "structural_similarity"]


def mean_squared_error(image0: Any, image1: Any, *, threads: int | None = None) -> Any:
    """Mean squared difference of two images.

    Parameters
    ----------
    image0, image1 : array of uint8, uint16, float16, float32 or float64
        Up to eight dimensions, the same shape for both; any strides. Images of different dtypes are compared in the
        wider one.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    float
        Computed in double precision. NaN if an image holds a NaN. For images on a GPU, an array of no dimensions of
        their kind, float64: nothing waits for the device before its value is asked for.

    Raises
    ------
    TypeError
        If an image is not an array of one of these dtypes.
    ValueError
        If the shapes differ or the images are empty.

    Notes
    -----
    One pass over both images, O(n); bound by the memory's speed. Values are those of
    `skimage.metrics.mean_squared_error`. On a GPU differences of floats are rounded to float32 before they are squared:
    the result is within 1.2e-7 of itself; those of integers are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import metrics
    >>> metrics.mean_squared_error(np.zeros((4, 4)), np.full((4, 4), 0.5))
    0.25
    """
    source0, source1 = _pair(image0, image1, "image0", "image1")
    count = _checks.threads(threads)
    if source0.on_gpu:
        return _error_on_gpu(source0, source1).give_back()
    return _mean_squared_error(source0, source1, count)


def normalized_root_mse(
    image_true: Any, image_test: Any, *, normalization: str = "euclidean", threads: int | None = None
) -> Any:
    """Root mean squared difference of two images, relative to the size of the first.

    Parameters
    ----------
    image_true, image_test : array of uint8, uint16, float16, float32 or float64
        Up to eight dimensions, the same shape for both; any strides.
    normalization : {'euclidean', 'min-max', 'mean'}
        Divide by the root mean square of `image_true`, by its range of values, or by its mean.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    float
        Infinite, or NaN for equal images, if what is divided by is 0. For images on a GPU, an array of no dimensions of
        their kind, float64.

    Raises
    ------
    TypeError
        If an image is not an array of one of these dtypes.
    ValueError
        If the shapes differ, the images are empty, or `normalization` is none of the above.

    Notes
    -----
    Values are those of `skimage.metrics.normalized_root_mse`, in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import metrics
    >>> metrics.normalized_root_mse(np.full((4, 4), 2.0), np.full((4, 4), 3.0))
    0.5
    """
    source0, source1 = _pair(image_true, image_test, "image_true", "image_test")
    choice = normalization.lower() if isinstance(normalization, str) else normalization
    choice = _checks.one_of(choice, "normalization", ("euclidean", "min-max", "mean"))
    count = _checks.threads(threads)
    if source0.on_gpu:
        return _normalized_on_gpu(source0, source1, choice)
    data = source0.data
    if choice == "euclidean":
        zero = arrays.take(np.broadcast_to(np.zeros((), data.dtype), data.shape), "zero")
        size = math.sqrt(_mean_squared_error(source0, zero, count))
    elif choice == "min-max":
        size = float(data.max()) - float(data.min())
    else:
        size = float(data.mean(dtype=np.float64))
    error = math.sqrt(_mean_squared_error(source0, source1, count))
    return error / size if size != 0 else math.nan if error == 0 else math.inf


def peak_signal_noise_ratio(
    image_true: Any, image_test: Any, *, data_range: float | None = None, threads: int | None = None
) -> Any:
    """Peak signal to noise ratio of two images, in decibels.

    Parameters
    ----------
    image_true, image_test : array of uint8, uint16, float16, float32 or float64
        Up to eight dimensions, the same shape for both; any strides.
    data_range : float, optional
        Distance between the lowest and the highest possible value. By default that of the dtype of `image_true`; for
        floating images 1, or 2 if `image_true` holds a negative value, and values outside [-1, 1] are refused. It must
        be given for floating images on a GPU, whose values are not looked at here.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    float
        ``10 log10(data_range**2 / mean_squared_error)``; infinite for equal images, minus infinity for an infinite
        error, NaN if a sample is NaN. For images on a GPU, an array of no dimensions of their kind, float64.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or dtype.
    ValueError
        If the shapes differ, the images are empty, `data_range` is not above 0, or it is needed and was not given.

    Notes
    -----
    Values are those of `skimage.metrics.peak_signal_noise_ratio`, in double precision. One pass over both images,
    O(n).

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import metrics
    >>> round(metrics.peak_signal_noise_ratio(np.zeros((4, 4)), np.full((4, 4), 0.1)), 6)
    20.0
    """
    source0, source1 = _pair(image_true, image_test, "image_true", "image_test")
    if data_range is None:
        data_range = _signal_range(image_true, image_test)
    data_range = _checks.real(data_range, "data_range", above=0)
    if source0.on_gpu:
        _checks.threads(threads)
        return _signal_on_gpu(source0, source1, data_range)
    error = _mean_squared_error(source0, source1, _checks.threads(threads))
    if error == 0:
        return math.inf
    return 20 * math.log10(data_range) - 10 * math.log10(error)


def structural_similarity(
    im1: Any,
    im2: Any,
    *,
    win_size: int | None = None,
    gradient: bool = False,
    data_range: float | None = None,
    channel_axis: int | None = None,
    gaussian_weights: bool = False,
    full: bool = False,
    use_sample_covariance: bool = True,
    K1: float = 0.01,
    K2: float = 0.03,
    sigma: float = 1.5,
    threads: int | None = None,
) -> Any:
    """Mean structural similarity of two images, and its map.

    Parameters
    ----------
    im1, im2 : array of uint8, uint16, float16, float32 or float64
        Up to eight dimensions, the same shape for both; any strides.
    win_size : int, optional
        Full width of the window along each axis, odd: 7 by default. With `gaussian_weights` the window follows from
        `sigma`, and `win_size` only says how broad a border the mean leaves out; by default what the window needs.
    gradient : bool
        Only False is possible here.
    data_range : float, optional
        Distance between the lowest and the highest possible value. By default that of an integer dtype (with a
        warning for uint16, which often holds fewer bits); it must be given for floating images.
    channel_axis : int, optional
        The axis of channels, which are compared one by one; the mean is that of all. By default there are none.
    gaussian_weights : bool
        Weight the window by a Gaussian of `sigma`, cut at 3.5 `sigma` (11 taps for 1.5), instead of evenly.
    full : bool
        Also return the map of similarity.
    use_sample_covariance : bool
        Normalise covariances by N - 1, N being the number of pixels of the window, rather than by N.
    K1, K2 : float
        The constants of [1]_, at least 0.
    sigma : float
        Standard deviation of the Gaussian, at least 0.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    mssim : float
        The mean over the pixels whose window lies inside the image. For images on a GPU, an array of no dimensions of
        their kind, float64.
    map : array of the kind of `im1`
        If `full`: the index at every pixel, the image continued by reflection (d c b a | a b c d | d c b a); float64
        for float64 images, else float32.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or an image of another dtype.
    ValueError
        If the shapes differ, the window is even or larger than the image, `data_range` is needed and was not given,
        or an argument is out of its range.

    Notes
    -----
    Signature and values are those of `skimage.metrics.structural_similarity`; arithmetic is in double precision for
    all dtypes, because variances are differences of nearly equal numbers: agreement is 1e-12 or better for integer and
    float64 images, and as good as scikit-image's own float32 arithmetic for float32 (about 1e-5). Equal images give
    exactly 1.

    For the values of [1]_: ``gaussian_weights=True, use_sample_covariance=False`` and `data_range`.

    One pass over both images, O(n * win_size), in memory that does not depend on the image's size (but for the map).

    On a GPU arithmetic is in float32, around a sample of the neighbourhood, and only the mean is in double: it agrees
    with the CPU's to about 1e-6, the map to 1e-4 and mostly to 1e-6. Images of more than two axes beside the channels,
    and windows of more than 21 samples, take O(n * win_size**axes) there.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
       structural similarity", IEEE Transactions on Image Processing 13, 600-612, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import metrics, util
    >>> image = np.tile(np.linspace(0, 1, 64), (64, 1))
    >>> metrics.structural_similarity(image, image, data_range=1.0)
    1.0
    >>> noisy = util.random_noise(image, rng=1)
    >>> metrics.structural_similarity(image, noisy, data_range=1.0) < 0.5
    True
    """
    source0, source1 = _pair(im1, im2, "im1", "im2")
    shape = source0.data.shape
    axis = _checks.axis(channel_axis, "channel_axis", len(shape))
    spatial = [n for i, n in enumerate(shape) if i != axis]
    if not spatial:
        raise ValueError(f"im1 must have at least 1 dimension beside the channels, got shape {shape}")
    if _checks.boolean(gradient, "gradient"):
        raise ValueError("gradient must be False: the gradient of the similarity is not computed here")
    sigma = _checks.real(sigma, "sigma", at_least=0)
    if _checks.boolean(gaussian_weights, "gaussian_weights"):
        weights = _gaussian_weights(min(sigma, max(spatial)))  # wider than the image: refused below
        width = 2 * len(weights) - 1
    else:
        width = 7
    width = width if win_size is None else _checks.integer(win_size, "win_size", at_least=1)
    if width % 2 == 0:
        raise ValueError(f"win_size must be odd, got {width}")
    if width > min(spatial):
        raise ValueError(
            f"win_size must not exceed the image: the window is {width} wide, the shape is {shape}"
            f"{'' if axis is not None else ' (pass channel_axis if an axis holds channels)'}"
        )
    if not gaussian_weights:
        weights = [1 / width] * (width // 2 + 1)
    covariance_factor = 1.0
    if _checks.boolean(use_sample_covariance, "use_sample_covariance"):
        samples = width ** len(spatial)
        if samples == 1:
            raise ValueError("win_size must be above 1 with use_sample_covariance, got 1")
        covariance_factor = samples / (samples - 1)
    if data_range is None:
        data_range = _structural_range(im1, im2)
    data_range = _checks.real(data_range, "data_range", above=0)
    roots = [_checks.real(k, name, at_least=0) * data_range for k, name in ((K1, "K1"), (K2, "K2"))]
    c1, c2 = (root * root for root in roots)
    count = _checks.threads(threads)

    options = (weights, width // 2, covariance_factor, c1, c2, count)
    planes0, planes1 = _planes(source0.data, axis), _planes(source1.data, axis)
    full = _checks.boolean(full, "full")
    if source0.on_gpu:
        mean = source0.result((), [np.float64])
        index = source0.result(shape, [np.float32]) if full else None
        planes = None if index is None else _planes(index.data, axis)
        source0.backend.structural_similarity(planes0, planes1, planes, *options, mean.data)
        return mean.give_back() if index is None else (mean.give_back(), index.give_back())
    if not full:
        return float(source0.backend.structural_similarity(planes0, planes1, None, *options))
    result = source0.result(shape, [np.float64 if source0.data.dtype == np.float64 else np.float32])
    mean = source0.backend.structural_similarity(planes0, planes1, _planes(result.data, axis), *options)
    return float(mean), result.give_back()


def _pair(image0: Any, image1: Any, name0: str, name1: str) -> tuple[arrays.Source, arrays.Source]:
    """Two images of one shape and dtype."""
    source0, source1 = arrays.take(image0, name0), arrays.take(image1, name1)
    arrays.expect_together(source0, source1)
    _checks.same_shape(source1.data.shape, source0.data.shape, name1, name0)
    _checks.non_empty(source0.data.shape, name0)
    if source0.data.dtype != source1.data.dtype:
        dtype = np.result_type(source0.data.dtype, source1.data.dtype)
        with source0.current():
            source0, source1 = (replace(s, data=s.data.astype(dtype, copy=False)) for s in (source0, source1))
    return source0, source1


def _mean_squared_error(source0: arrays.Source, source1: arrays.Source, threads: int) -> float:
    return float(source0.backend.mean_squared_error(source0.data, source1.data, threads))


def _error_on_gpu(source0: arrays.Source, source1: arrays.Source) -> arrays.Result:
    """The mean squared error as an array of no dimensions."""
    result = source0.result((), [np.float64])
    source0.backend.mean_squared_error(source0.data, source1.data, 0, result.data)
    return result


def _signal_on_gpu(source0: arrays.Source, source1: arrays.Source, data_range: float) -> Any:
    result = _error_on_gpu(source0, source1)
    with source0.current(), np.errstate(divide="ignore"):
        result.data[...] = 20 * math.log10(data_range) - 10 * np.log10(result.data)
    return result.give_back()


def _normalized_on_gpu(source0: arrays.Source, source1: arrays.Source, choice: str) -> Any:
    result, data = _error_on_gpu(source0, source1), source0.data
    with source0.current(), np.errstate(divide="ignore", invalid="ignore"):
        if choice == "euclidean":
            zero = source0.result((), [data.dtype])
            zero.data[...] = 0
            size = np.sqrt(_error_on_gpu(source0, replace(source1, data=zero.data)).data)
        elif choice == "min-max":
            size = np.subtract(data.max(), data.min(), dtype=np.float64)
        else:
            size = data.mean(dtype=np.float64)
        result.data[...] = np.sqrt(result.data) / size
    return result.give_back()


def _signal_range(image_true: Any, image_test: Any) -> float:
    """The range that scikit-image assumes for a signal to noise ratio."""
    true, test = arrays.take(image_true, "image_true").data, arrays.take(image_test, "image_test").data
    if true.dtype != test.dtype:
        warnings.warn("the images differ in dtype: data_range is that of image_true", stacklevel=3)
    if true.dtype.kind == "u":
        return float(np.iinfo(true.dtype).max)
    if arrays.take(image_true, "image_true").on_gpu:
        raise ValueError("data_range must be given for floating images on a GPU, such as 1.0 for images in [0, 1]")
    lowest, highest = float(true.min()), float(true.max())
    if lowest < -1 or highest > 1:
        raise ValueError(
            f"data_range must be given for an image_true outside [-1, 1], got values from {lowest:g} to {highest:g}"
        )
    return 1.0 if lowest >= 0 else 2.0


def _structural_range(im1: Any, im2: Any) -> float:
    """The range that scikit-image assumes for a structural similarity."""
    dtype1, dtype2 = arrays.take(im1, "im1").data.dtype, arrays.take(im2, "im2").data.dtype
    if "f" in (dtype1.kind, dtype2.kind):
        raise ValueError("data_range must be given for floating images, such as 1.0 for images in [0, 1]")
    if dtype1 != dtype2:
        warnings.warn("the images differ in dtype: data_range is that of im1", stacklevel=3)
    top = float(np.iinfo(dtype1).max)
    if dtype1 != np.uint8:
        warnings.warn(f"data_range is taken to be {top:g}; give it if the images use fewer bits", stacklevel=3)
    return top


def _gaussian_weights(sigma: float) -> list[float]:
    """Half of a sampled Gaussian, from the centre on, whose whole sums to 1; as wide as SciPy cuts it at 3.5 sigma."""
    if sigma <= 1e-15:
        return [1.0]
    half = np.exp(-0.5 * (np.arange(int(3.5 * sigma + 0.5) + 1) / sigma) ** 2)
    weights: list[float] = (half / (2 * half.sum() - half[0])).tolist()
    return weights


def _planes(array: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """The channels as first axis; one of length 1 where there are none."""
    return array[np.newaxis] if axis is None else np.moveaxis(array, axis, 0)
