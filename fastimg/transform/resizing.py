"""Resizing with the kernels and values of MATLAB's ``imresize``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _checks, arrays
from .axes import arranged, output_size, two_axes

__all__ = ["rescale", "resize"]

KERNELS = ("nearest", "bilinear", "bicubic", "lanczos", "lanczos2", "lanczos3")
MODES = ("edge", "symmetric", "reflect")
_LEAST_SCALE = 1e-4  # that `rescale` takes: the kernel reaches 1 / scale samples however small the image


def resize(
    image: Any,
    output_shape: Sequence[int],
    order: int | None = None,
    *,
    kernel: str | None = None,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    preserve_range: bool = False,
    channel_axis: int | None = None,
    axes: Sequence[int] | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Resize two axes of an image to a given size.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        At least two dimensions, at most seven; any strides. Axes that are not resized (channels, a batch) may stand
        anywhere.
    output_shape : sequence of int
        The new size, (rows, columns); or the shape of the whole result, equal to the image's but for the two axes.
    order : {0, 1}, optional
        scikit-image's name for two of the kernels: 0 is ``kernel="nearest"``, 1 is ``kernel="bilinear"``. Its higher
        orders are splines, which are not computed here.
    kernel : {"bicubic", "bilinear", "nearest", "lanczos", "lanczos2", "lanczos3"}, optional
        Bicubic by default (a = -0.5, as MATLAB and Pillow). "lanczos" is "lanczos3".
    anti_aliasing : bool, optional
        Whether to stretch the kernel by the factor of shrinking, so that every input sample has its share. By default
        True, but False for the nearest neighbour. Without effect when enlarging.
    mode : {"edge", "symmetric", "reflect"}, optional
        What stands beyond the border, under NumPy's names: its sample repeated (MATLAB's older versions), the mirror
        image with the border sample (MATLAB's newer versions) or without.
    preserve_range : bool, optional
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it keeps dtype and range, and is
        rounded half away from zero and clipped after each of the two passes, as MATLAB does.
    channel_axis : int, optional
        An axis that is not resized. Without it, and without `axes`, the first two axes are resized.
    axes : pair of int, optional
        The two axes to resize, (rows, columns), where they are not the first two other than `channel_axis`:
        ``(-2, -1)`` for a batch in NCHW.
    out : array, optional
        Where the result goes; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the image's kind; floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty, or an argument out of range; the message says which and what was expected.

    Notes
    -----
    Sample i of n stands for the interval from i/n to (i + 1)/n of the image, so corners align, not the centres of
    corner samples. Along an axis scaled by r, output sample i is the mean of the input samples p with weights
    ``k(f * ((i + 0.5) / r - 0.5 - p))`` over their sum, where f = min(r, 1) with anti-aliasing and 1 without. The axis
    that shrinks most comes first, rows if equal.

    The defaults are MATLAB's, not those of `skimage.transform.resize` (linear, ``mode="reflect"``, a Gaussian filter
    before shrinking). uint8, in and out, equals MATLAB's ``imresize`` bit for bit. With ``kernel="bilinear",
    anti_aliasing=False`` values are those of `skimage.transform.resize` with ``order=1, anti_aliasing=False``;
    scikit-image's own anti-aliasing gives other values. With ``kernel="nearest", anti_aliasing=True`` the result is the
    mean over the area.

    Arithmetic is in float32, for float64 images and for uint16 with `preserve_range` in float64 (on a GPU in 64-bit
    integers, which rounds the same but for one in thousands of exact halves when shrinking). Bicubic enlarging
    takes 8 multiply-adds per output sample; shrinking takes as many per input sample. Scratch is a few hundred
    kilobytes per thread. Every output sample is a sum over equally many input samples, some of them with weight 0: a
    NaN or infinity makes NaN of all within the kernel's radius, and of some up to twice as far.

    References
    ----------
    .. [1] R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
       Speech, and Signal Processing 29 (1981), 1153-1160.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.arange(16, dtype=np.float32).reshape(4, 4)
    >>> transform.resize(image, (2, 2), kernel="bilinear")
    array([[ 3.125,  4.875],
           [10.125, 11.875]], dtype=float32)
    >>> photo = np.zeros((480, 640, 3), np.uint8)
    >>> transform.resize(photo, (240, 320), preserve_range=True).shape
    (240, 320, 3)
    """
    source = arrays.take(image, "image")
    rows_and_columns = two_axes(source.data, channel_axis, axes)
    size = output_size(source.data.shape, rows_and_columns, output_shape)
    scales = [n / source.data.shape[axis] for n, axis in zip(size, rows_and_columns, strict=True)]
    name = _kernel(kernel, order)
    return _resample(source, rows_and_columns, size, scales, name, anti_aliasing, mode, preserve_range, out, threads)


def rescale(
    image: Any,
    scale: float | Sequence[float],
    order: int | None = None,
    *,
    kernel: str | None = None,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    preserve_range: bool = False,
    channel_axis: int | None = None,
    axes: Sequence[int] | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Scale two axes of an image by a factor.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions, or more with `channel_axis` or `axes` saying which are scaled; any strides.
    scale : float or pair of float
        Output samples per input sample, from 0.0001 to 10,000; a pair is (rows, columns). 0.5 halves the image.
    order, kernel, anti_aliasing, mode, preserve_range, channel_axis, axes, out, threads
        As in `resize`.

    Returns
    -------
    array
        Of the image's kind, with ceil(n * scale) samples along an axis of n.

    Raises
    ------
    TypeError, ValueError
        As `resize`; ValueError also if a scale is out of its range, or the image has more than two dimensions
        and neither `channel_axis` nor `axes` is given.

    See Also
    --------
    resize : The same to a given size, with the notes on values and cost.

    Notes
    -----
    As MATLAB's ``imresize(image, scale)``: the size is rounded up, and samples are taken at exactly the given scale.
    `skimage.transform.rescale` rounds the size to the nearest integer and adapts the scale to it, which
    ``resize(image, np.round(...))`` does here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> transform.rescale(np.ones((5, 8, 3), np.float32), 0.5, channel_axis=-1).shape
    (3, 4, 3)
    """
    source = arrays.take(image, "image")
    if source.data.ndim > 2 and channel_axis is None and axes is None:
        raise ValueError(
            f"image has {source.data.ndim} dimensions: channel_axis or axes must say which two of them are scaled"
        )
    rows_and_columns = two_axes(source.data, channel_axis, axes)
    pair = (scale, scale) if np.ndim(scale) == 0 else tuple(scale)  # type: ignore[arg-type]
    if len(pair) != 2:
        raise ValueError(f"scale must be a number or two (rows, columns), got {len(pair)}")
    scales = [_checks.real(value, "scale", at_least=_LEAST_SCALE, at_most=1 / _LEAST_SCALE) for value in pair]
    size = [_scaled(source.data.shape[axis], s) for axis, s in zip(rows_and_columns, scales, strict=True)]
    name = _kernel(kernel, order)
    return _resample(source, rows_and_columns, size, scales, name, anti_aliasing, mode, preserve_range, out, threads)


def resize_adjoint(
    gradient: Any,
    image_size: Sequence[int],
    kernel: str = "bicubic",
    *,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """The gradient of images that `resize` made others of, from the gradient of those: (..., H, W) floats on a CPU."""
    source = arrays.take(gradient, "gradient")
    axes = two_axes(source.data, None, (-2, -1))
    scales = [source.data.shape[axis] / n for n, axis in zip(image_size, axes, strict=True)]
    name = _kernel(kernel, None)
    options = (name, anti_aliasing, mode, True, out, threads)
    return _resample(source, axes, image_size, scales, *options, operation="resize_adjoint")


def _kernel(kernel: str | None, order: int | None) -> str:
    if order is not None:
        if kernel is not None:
            raise ValueError(f"order and kernel exclude each other, got order={order!r} and kernel={kernel!r}")
        orders = {0: "nearest", 1: "bilinear"}
        if _checks.integer(order, "order") not in orders:
            raise ValueError(f"order must be 0 or 1 (for cubic interpolation: kernel='bicubic'), got {order}")
        return orders[order]
    name: str = "bicubic" if kernel is None else _checks.one_of(kernel, "kernel", KERNELS)
    return "lanczos3" if name == "lanczos" else name


def _scaled(n: int, scale: float) -> int:
    """ceil(n * scale), but the nearest integer where only rounding errors keep the product from it."""
    product = n * scale
    nearest = round(product)
    return max(nearest, 1) if abs(product - nearest) < 1e-9 * max(product, 1) else math.ceil(product)


def _resample(
    source: arrays.Source,
    axes: tuple[int, int],
    size: Sequence[int],
    scales: Sequence[float],
    kernel: str,
    anti_aliasing: bool | None,
    mode: str,
    preserve_range: bool,
    out: Any,
    threads: int | None,
    operation: str = "resize",
) -> Any:
    """Do an operation of the backend on two axes of an array, from which `size` of them become."""
    if anti_aliasing is None:
        anti_aliasing = kernel != "nearest"
    anti_aliasing = _checks.boolean(anti_aliasing, "anti_aliasing")
    _checks.one_of(mode, "mode", MODES)
    keep = _checks.boolean(preserve_range, "preserve_range") or source.data.dtype.kind == "f"
    shape = list(source.data.shape)
    shape[axes[0]], shape[axes[1]] = size
    count = _checks.threads(threads)
    result = source.result(shape, [source.data.dtype if keep else np.float32], out)

    columns_first = scales[1] < scales[0] if operation == "resize" else scales[1] > scales[0]  # what shrinks most
    rows, columns = axes
    if abs(source.data.strides[rows]) < abs(source.data.strides[columns]):  # lines of memory become lines of the kernel
        rows, columns, columns_first, scales = columns, rows, not columns_first, (scales[1], scales[0])
    image, target = arranged(source.data, result.data, rows, columns)
    getattr(source.backend, operation)(image, target, *scales, kernel, anti_aliasing, mode, columns_first, count)
    return result.give_back()
