"""How much noise an image has, told from the image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays

__all__ = ["estimate_sigma", "mean_sigma"]

# Daubechies' high-pass filter with two vanishing moments, and the third quartile of the normal distribution.
_HIGH_PASS = (-0.48296291314469025, 0.836516303737469, -0.22414386804185735, -0.12940952255092145)
_THIRD_QUARTILE = 0.6744897501960817


def estimate_sigma(image: Any, average_sigmas: bool = False, *, channel_axis: int | None = None) -> float | list[float]:
    """Estimate the standard deviation of Gaussian noise from the image alone.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Any number of dimensions up to 8, not empty; finite.
    average_sigmas : bool, optional
        For an image with channels: True gives the mean of the channels' estimates.
    channel_axis : int, optional
        The axis of the channels, which are estimated each for itself; None if there is none.

    Returns
    -------
    float or list of float
        In the units of the image; one for each channel if there are channels. NaN for an image that has NaN, or whose
        finest details are all 0 (a constant one).

    Raises
    ------
    TypeError
        If `image` is not an array of one of these dtypes.
    ValueError
        If `image` is empty or an argument is out of its range.

    Notes
    -----
    The median of the absolute values of the finest diagonal details of an orthogonal wavelet transform (Daubechies, two
    vanishing moments), divided by that of standard normal noise; details of exactly 0 are left out. The values are
    those of `skimage.restoration.estimate_sigma`. O(n), in float64 on the CPU and float32 on a GPU, where it waits for
    the result. Texture counts as noise: estimates are somewhat high for weak noise.

    References
    ----------
    .. [1] D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import restoration
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (256, 256))
    >>> round(restoration.estimate_sigma(noise), 2)
    0.1
    """
    source = arrays.take(image, "image")
    ndim = source.data.ndim
    _checks.rank(ndim, "image", range(1, 9))
    _checks.non_empty(source.data.shape, "image")
    axis = _checks.axis(channel_axis, "channel_axis", ndim)
    averaged = _checks.boolean(average_sigmas, "average_sigmas")
    sigmas = _sigmas(source, axis)
    if axis is None:
        return sigmas[0]
    return float(np.mean(sigmas)) if averaged else sigmas


def _sigmas(source: arrays.Source, axis: int | None) -> list[float]:
    """The noise of each channel, of a grey image its own."""
    with source.current():
        planes = [source.data] if axis is None else np.moveaxis(source.data, axis, 0)
        return [_sigma(plane, source.on_gpu) for plane in planes]


def _sigma(image: Any, on_gpu: bool) -> float:
    details = image.astype(np.float32 if on_gpu else np.float64)
    for axis in range(details.ndim):
        details = _high_passed(details, axis)
    details = np.abs(details[details != 0])
    return float(np.median(details)) / _THIRD_QUARTILE if details.size else float("nan")


def _high_passed(image: Any, axis: int) -> Any:
    """Every second sample of the high-pass filtered axis, which its mirror image continues."""
    n = image.shape[axis]
    ends = 2 * np.arange((n + len(_HIGH_PASS) - 1) // 2) + 1
    parts = (tap * np.take(image, _mirrored(ends - k, n), axis) for k, tap in enumerate(_HIGH_PASS))
    total = next(parts)
    for part in parts:
        total += part
    return total


def _mirrored(positions: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Positions beyond an axis of n samples brought back inside: c b a | a b c | c b a."""
    positions = positions % (2 * n)
    return np.minimum(positions, 2 * n - 1 - positions)


def mean_sigma(source: arrays.Source, axis: int | None) -> float:
    """The noise of the channels together; nothing for an image without details."""
    sigmas = _sigmas(source, axis)
    if not all(sigma >= 0 for sigma in sigmas):
        with source.current():
            if not np.isfinite(source.data).all():
                raise ValueError("h must be a number for an image that is not finite, got 'auto'")
    return float(np.mean([sigma if sigma >= 0 else 0.0 for sigma in sigmas]))
