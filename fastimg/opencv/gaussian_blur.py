"""`cv2.GaussianBlur`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays, filters

__all__ = [
    "BORDER_CONSTANT",
    "BORDER_DEFAULT",
    "BORDER_ISOLATED",
    "BORDER_REFLECT",
    "BORDER_REFLECT101",
    "BORDER_REFLECT_101",
    "BORDER_REPLICATE",
    "BORDER_WRAP",
    "GaussianBlur",
]

BORDER_CONSTANT, BORDER_REPLICATE, BORDER_REFLECT, BORDER_WRAP, BORDER_REFLECT_101 = range(5)
BORDER_DEFAULT = BORDER_REFLECT101 = BORDER_REFLECT_101
BORDER_ISOLATED = 16

_MODES = {
    BORDER_CONSTANT: "constant",
    BORDER_REPLICATE: "nearest",
    BORDER_REFLECT: "reflect",
    BORDER_WRAP: "wrap",
    BORDER_REFLECT_101: "mirror",
}
_LARGEST_KERNEL = 20_001
_LARGEST_SIGMA = 2500.0

# Of kernels without a sigma, at distance 0, 1, ...
_SMALL_KERNELS = {
    1: (1.0,),
    3: (0.5, 0.25),
    5: (0.375, 0.25, 0.0625),
    7: (0.28125, 0.21875, 0.109375, 0.03125),
    9: (0.234375, 0.19921875, 0.1171875, 0.05078125, 0.015625),
}
_FRACTION_BITS = {"uint8": 8, "uint16": 16}  # of the taps that OpenCV multiplies integers by


def GaussianBlur(
    src: Any,
    ksize: Sequence[int],
    sigmaX: float,
    dst: Any = None,
    sigmaY: float = 0.0,
    borderType: int = BORDER_DEFAULT,
    hint: int = 0,
    *,
    threads: int | None = None,
) -> Any:
    """Blur an image with a Gaussian, as `cv2.GaussianBlur` does.

    Parameters
    ----------
    src : (M, N) or (M, N, C) array of uint8, uint16, float16, float32 or float64
        Any strides, any number of channels.
    ksize : pair of int
        Width and height of the kernel, odd, up to 20,001; 0 for the size that follows from sigma.
    sigmaX : float
        Standard deviation along rows, up to 2500; 0 or less for the one that follows from `ksize`.
    dst : array, optional
        Where the result goes; of the shape, dtype and kind of `src`. It may be `src` itself.
    sigmaY : float, optional
        Standard deviation along columns; 0 or less for that along rows.
    borderType : int, optional
        What stands outside: `BORDER_CONSTANT` (zeros), `BORDER_REPLICATE`, `BORDER_REFLECT`, `BORDER_REFLECT_101` (the
        default) or `BORDER_WRAP`; `BORDER_ISOLATED` may be added and means nothing for a whole image.
    hint : int, optional
        OpenCV's choice of an algorithm; means nothing here.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        `dst`, or a new array like `src`.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or dtype.
    ValueError
        If the image is empty or has other dimensions, a size is even or out of its range, neither a size nor a sigma
        is given, or `dst` does not fit.

    Notes
    -----
    Taps are OpenCV's: for uint8 and uint16 rounded to 8 and 16 binary places with the rounding errors passed on, for
    kernels up to 9 without a sigma the binomial-like ones of its table. Sums are in float32 (float64 images in
    float64), rounded once; integers differ from OpenCV's by a level at most. O(M N (width + height)).

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import opencv
    >>> image = np.zeros((5, 5), np.uint8)
    >>> image[2, 2] = 64
    >>> opencv.GaussianBlur(image, (3, 3), 0)[1:4, 1:4]
    array([[ 4,  8,  4],
           [ 8, 16,  8],
           [ 4,  8,  4]], dtype=uint8)
    """
    source = arrays.take(src, "src")
    data = source.data
    _checks.rank(data.ndim, "src", (2, 3), "rows, columns and, last, channels")
    _checks.non_empty(data.shape, "src")
    width, height = _sizes(ksize)
    sigma_x = _checks.real(sigmaX, "sigmaX", at_most=_LARGEST_SIGMA)
    sigma_y = _checks.real(sigmaY, "sigmaY", at_most=_LARGEST_SIGMA)
    mode = _mode(borderType)
    _checks.integer(hint, "hint")
    n_threads = _checks.threads(threads)
    taps_x = _taps(width, sigma_x, data.dtype.name, "width")
    taps_y = _taps(height, sigma_y if sigma_y > 0 else sigma_x, data.dtype.name, "height")
    of_axes = [filters.AxisFilter(taps, mode=mode) for taps in (taps_y, taps_x)]
    of_axes += [filters.AxisFilter()] * (data.ndim - 2)
    if dst is not None:
        source = source.apart_from(dst, "dst")
    result = source.result(data.shape, [data.dtype], dst, "dst")
    source.backend.gaussian(source.data, result.data, of_axes, 0.0, 1.0, n_threads)
    return result.give_back()


def _sizes(ksize: Any) -> tuple[int, int]:
    """Width and height of a kernel, odd, or 0."""
    if np.ndim(ksize) != 1 or len(ksize) != 2:
        raise ValueError(f"ksize must be a pair of integers, width and height, got {ksize!r}")
    width, height = (_checks.integer(n, "ksize", at_least=0, at_most=_LARGEST_KERNEL) for n in ksize)
    if any(n % 2 == 0 and n > 0 for n in (width, height)):
        raise ValueError(f"ksize must be odd, or 0 where sigma tells it, got {(width, height)}")
    return width, height


def _mode(border: Any) -> str:
    number = _checks.integer(border, "borderType") & ~BORDER_ISOLATED
    if number not in _MODES:
        raise ValueError(
            f"borderType must be one of OpenCV's from BORDER_CONSTANT to BORDER_REFLECT_101, got {border!r}"
        )
    return _MODES[number]


@functools.lru_cache(maxsize=256)
def _taps(size: int, sigma: float, dtype: str, what: str) -> tuple[float, ...]:
    """Taps at distance 0, 1, ..., as OpenCV's `getGaussianKernel` and its filters of integers make them."""
    if size == 0:
        if sigma <= 0:
            raise ValueError(f"ksize must be given, or a sigma: both are 0 for the {what}")
        size = round(sigma * (3 if dtype == "uint8" else 4) * 2 + 1) | 1
    if sigma <= 0 and size in _SMALL_KERNELS:
        taps = np.array(_SMALL_KERNELS[size])
    else:
        spread = sigma if sigma > 0 else 0.3 * ((size - 1) * 0.5 - 1) + 0.8
        taps = filters.normal_weights(spread, size // 2)
    if dtype in _FRACTION_BITS:
        taps = _with_errors_passed_on(taps, 1 << _FRACTION_BITS[dtype])
    return tuple(taps.tolist())


def _with_errors_passed_on(taps: NDArray[np.float64], unit: int) -> NDArray[np.float64]:
    """Multiples of 1 / `unit` that sum to 1: from the farthest tap inwards each takes over the error before it."""
    whole, error = np.zeros(len(taps)), 0.0
    for k in range(len(taps) - 1, 0, -1):
        wanted = taps[k] * unit + error
        whole[k] = round(wanted)
        error = wanted - whole[k]
    whole[0] = unit - 2 * whole[1:].sum()
    return whole / unit
