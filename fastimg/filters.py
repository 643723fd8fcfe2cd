"""Linear filters, under scikit-image's names and with its semantics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _checks, arrays

__all__ = ["gaussian"]

_MODES = ("nearest", "reflect", "mirror", "constant", "wrap")
_MAX_RADIUS = 10_000  # time grows with the square of it however small the image


def gaussian(
    image: Any,
    sigma: float | Sequence[float] = 1.0,
    *,
    mode: str = "nearest",
    cval: float = 0.0,
    preserve_range: bool = False,
    truncate: float = 4.0,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Blur an image with a Gaussian.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Any number of dimensions up to 8, any strides, not empty.
    sigma : float or sequence of float
        Standard deviation, the same for all spatial axes or one for each. An axis with 0 is left alone.
    mode : {"nearest", "reflect", "mirror", "constant", "wrap"}
        What stands outside the image: its border sample (``a a | a b c | c c``), its mirror image with the border
        sample (``b a | a b c | c b``) or without it (``c b | a b c | b a``), `cval`, or its other side.
    cval : float
        The constant outside for mode "constant", in the units of the result.
    preserve_range : bool
        Concerns integer images only. False (scikit-image's default): the result is float32, scaled to [0, 1].
        True: the result has the image's dtype and range, rounded half to even.
    truncate : float
        The Gaussian is cut at this many standard deviations: its radius is ``int(truncate * sigma + 0.5)``, at most
        10,000, its full width twice that plus 1.
    channel_axis : int, optional
        The axis of the channels, which are blurred each for itself; None if there is none.
    out : array of the same kind as `image`, optional
        Where the result goes, of the image's shape and the result's dtype; float32 is accepted for any integer image.
        Any strides; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of the same kind and shape as `image`
        Floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or dtype.
    ValueError
        If the image is empty, a sigma is negative or not finite, the number of sigmas is not that of the spatial
        axes, `out` cannot be written or overlaps `image`, or another argument is out of its range.

    Notes
    -----
    Agrees with `skimage.filters.gaussian`, which rests on `scipy.ndimage.gaussian_filter`. Computes in float32,
    float64 images in float64, and rounds once, at the end. Differs in dtype alone: integer images become float32
    (there float64) or, with `preserve_range`, stay integer, and float16 stays float16.

    One pass over the image, O(n * sigma) operations. Scratch memory per thread is proportional to the radius and
    independent of the image. A third filtered axis costs as many reads of the image as it has taps, a fourth the
    product of both.

    A NaN spreads to the box that the taps reach around it and no further; so does an infinity, which gives infinities
    of its sign and NaN where it meets one of the other sign. Where the result is an integer, it saturates.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import filters
    >>> image = np.zeros((3, 3))
    >>> image[1, 1] = 1
    >>> filters.gaussian(image, sigma=1).round(4)
    array([[0.0586, 0.0965, 0.0586],
           [0.0965, 0.1592, 0.0965],
           [0.0586, 0.0965, 0.0586]])
    >>> rgb = np.full((4, 5, 3), 200, np.uint8)
    >>> filters.gaussian(rgb, sigma=2, channel_axis=-1, preserve_range=True).dtype
    dtype('uint8')
    """
    source = arrays.take(image, "image")
    shape, dtype = source.data.shape, source.data.dtype
    _checks.rank(len(shape), "image", range(1, 9))
    _checks.non_empty(shape, "image")
    channel = _checks.axis(channel_axis, "channel_axis", len(shape))
    spatial = [axis for axis in range(len(shape)) if axis != channel]
    cut = _checks.real(truncate, "truncate", at_least=0)
    taps: list[tuple[float, ...]] = [()] * len(shape)
    for axis, s in zip(spatial, _sigmas(sigma, len(spatial)), strict=True):
        taps[axis] = _taps(s, cut)
    _checks.one_of(mode, "mode", _MODES)
    fill = _checks.real(cval, "cval")
    scale = 1.0
    dtypes = [dtype]
    if dtype.kind == "u":
        if not _checks.boolean(preserve_range, "preserve_range"):
            scale = 1.0 / np.iinfo(dtype).max
            dtypes = []
        dtypes.append(np.dtype(np.float32))
    n_threads = _checks.threads(threads)
    result = source.result(shape, dtypes, out)
    source.backend.gaussian(source.data, result.data, taps, mode, fill / scale, scale, n_threads)
    return result.give_back()


def _sigmas(sigma: Any, n: int) -> list[float]:
    """One standard deviation per spatial axis."""
    if np.ndim(sigma) == 0:
        return [_checks.real(sigma, "sigma", at_least=0)] * n
    if np.ndim(sigma) != 1 or len(sigma) != n:
        raise ValueError(f"sigma must be a number or one per spatial axis ({n}), got {sigma!r}")
    return [_checks.real(s, "sigma", at_least=0) for s in sigma]


@functools.lru_cache(maxsize=256)
def _taps(sigma: float, truncate: float) -> tuple[float, ...]:
    """Taps of a Gaussian at distance 0, 1, ..., radius; over both sides they sum to 1."""
    radius = truncate * sigma + 0.5
    if radius >= _MAX_RADIUS + 1:
        raise ValueError(f"truncate * sigma must be at most {_MAX_RADIUS}, got {truncate * sigma:g}")
    if radius < 1 or sigma < 0.02:  # the second tap is 0: exp(-1250)
        return (1.0,)
    weights = np.exp(-0.5 * (np.arange(int(radius) + 1.0) / sigma) ** 2)
    return tuple((weights / (2 * weights.sum() - 1)).tolist())
