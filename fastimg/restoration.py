"""Image restoration, under scikit-image's names."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["denoise_nl_means", "estimate_sigma"]

_CUTOFF = 5.0  # distances beyond it have no weight, as in scikit-image
_LARGEST_PATCH, _LARGEST_DISTANCE = 127, 255
_FLOAT32 = np.finfo(np.float32)
_AUTOMATIC = 0.6  # h in standard deviations of the noise: docs/denoise_nl_means.md

# Daubechies' high-pass filter with two vanishing moments, and the third quartile of the normal distribution.
_HIGH_PASS = (-0.48296291314469025, 0.836516303737469, -0.22414386804185735, -0.12940952255092145)
_THIRD_QUARTILE = 0.6744897501960817


def denoise_nl_means(
    image: Any,
    patch_size: int = 7,
    patch_distance: int = 11,
    h: float | Literal["auto"] = 0.1,
    fast_mode: bool = True,
    sigma: float = 0.0,
    *,
    preserve_range: bool = False,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Denoise an image by non-local means.

    Every pixel becomes the mean of the pixels around it, weighted by the likeness of the patches that surround them.

    Parameters
    ----------
    image : (M, N) or, with `channel_axis`, (M, N, C) array of uint8, uint16, float16, float32 or float64
        Any strides, any number of channels.
    patch_size : int, optional
        Full width of the patches, odd, from 3 to 127.
    patch_distance : int, optional
        Radius of the search: pixels up to this far away along each axis take part, so the search window is
        ``2 * patch_distance + 1`` wide. From 1 to 255.
    h : float or "auto", optional
        Strength: the distance of patches at which the weight falls to 1/e, in the units of the values that are
        compared (see `preserve_range`). Somewhat less than the noise's standard deviation is a good start. "auto": 0.6
        times `sigma`, which is estimated (`estimate_sigma`, the mean of the channels') where it is 0.
    fast_mode : bool, optional
        True weighs all pixels of a patch alike; nothing else is offered.
    sigma : float, optional
        Standard deviation of the noise, in the same units; its expected share of the patches' distance,
        ``2 * sigma**2`` per value, is subtracted. With it, ``h = 0.6 * sigma`` is a good start.
    preserve_range : bool, optional
        For integer images. False: they are taken as numbers in [0, 1] and the result is float32 in [0, 1]. True:
        values, `h`, `sigma` and the result keep the image's own range and dtype. Floating images always keep theirs.
    channel_axis : int, optional
        The axis of the channels, which are compared together and share their weights; None for grey images.
    out : array, optional
        Where the result goes: same shape and kind as `image`, of the result's dtype or float32; must not overlap it.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of the kind and shape of `image`

    Raises
    ------
    TypeError
        If `image` or `out` is not an array of one of these dtypes.
    ValueError
        If a parameter is out of its range, `image` is empty or of another rank, or `out` does not fit.

    Notes
    -----
    The definition is that of ``skimage.restoration.denoise_nl_means(fast_mode=True)``, with an exact exponential in
    place of an approximation that is 3 to 4 % off: results differ accordingly. As there, patches of nominal width `s`
    are ``s - 1`` pixels wide, their distance is divided by ``s**2`` times the number of channels, weights of distances
    above 5 are 0, and the image is continued by its mirror image. An even `patch_size` is an error here.

    Arithmetic is in float32; from uint8 to uint8 it may be in 16 bits, of which the result is off by a level at most,
    but for single pixels that hardly any other resembles. The cost is O(M N patch_distance²), independent of
    `patch_size`; beside the result, each thread uses some 500 kB of scratch at the default parameters and one channel,
    250 kB for each further one, whatever the image's size.

    A NaN or an infinity makes non-finite the pixels up to `patch_distance` away from it; farther ones are
    denoised as if pixels with a non-finite value in their patch did not exist.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005.
    .. [2] J. Darbon, A. Cunha, T. F. Chan, S. Osher, G. J. Jensen, "Fast nonlocal filtering applied to electron
           cryomicroscopy", ISBI 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import restoration
    >>> rng = np.random.default_rng(0)
    >>> clean = np.zeros((64, 64))
    >>> clean[16:48, 16:48] = 1
    >>> noisy = clean + rng.normal(0, 0.1, clean.shape)
    >>> denoised = restoration.denoise_nl_means(noisy, patch_size=5, patch_distance=6, h=0.08, sigma=0.1)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean() / 3)
    True
    """
    source = arrays.take(image, "image")
    axis = _checks.axis(channel_axis, "channel_axis", source.data.ndim)
    if axis is None:
        _checks.rank(source.data.ndim, "image", [2], "rows and columns; pass channel_axis for colour images")
    else:
        _checks.rank(source.data.ndim, "image", [3], "rows, columns and channels")
    _checks.non_empty(source.data.shape, "image")
    patch_size = _checks.integer(patch_size, "patch_size", at_least=3, at_most=_LARGEST_PATCH)
    if patch_size % 2 == 0:
        raise ValueError(f"patch_size must be odd, got {patch_size}")
    patch_distance = _checks.integer(patch_distance, "patch_distance", at_least=1, at_most=_LARGEST_DISTANCE)
    sigma = _checks.real(sigma, "sigma", at_least=0)
    if not _checks.boolean(fast_mode, "fast_mode"):
        raise ValueError("fast_mode must be True: patches with Gaussian weights are not offered")
    keep_dtype = _checks.boolean(preserve_range, "preserve_range") or source.data.dtype.kind == "f"
    unit = 1.0 if keep_dtype else float(np.iinfo(source.data.dtype).max)  # source values per unit of h and sigma
    if isinstance(h, str) and h == "auto":
        sigma = sigma or _mean_sigma(source, axis) / unit
        h = max(_AUTOMATIC * sigma, float(_FLOAT32.tiny))
    h = _checks.real(h, "h", above=0)
    threads = _checks.threads(threads)

    dtype = source.data.dtype if keep_dtype else np.dtype(np.float32)
    result = source.result(source.data.shape, [dtype, np.float32], out)
    channels = 1 if axis is None else source.data.shape[axis]
    half = patch_size // 2
    norm = _within_float32(channels * _squared(h * unit) * patch_size**2)
    source.backend.denoise_nl_means(
        _with_channels_last(source.data, axis),
        _with_channels_last(result.data, axis),
        patch_before=half - 1,
        patch_after=half,
        patch_distance=patch_distance,
        scale=1 / norm,
        excess=_within_float32(2 * _squared(sigma * unit) * channels * (patch_size - 1) ** 2) if sigma else 0.0,
        cutoff=_within_float32(_CUTOFF * norm),
        gain=1 / unit,
        threads=threads,
    )
    return result.give_back()


def _squared(value: float) -> float:
    return value**2 if value < 1e150 else float("inf")


def _within_float32(value: float) -> float:
    """The nearest positive value that float32 holds: beyond it, a strength is as good as none or infinite."""
    return min(max(value, float(_FLOAT32.tiny)), float(_FLOAT32.max))


def _with_channels_last(data: Any, axis: int | None) -> Any:
    return data[..., np.newaxis] if axis is None else np.moveaxis(data, axis, -1)


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


def _mean_sigma(source: arrays.Source, axis: int | None) -> float:
    """The noise of the channels together; nothing for an image without details."""
    sigmas = _sigmas(source, axis)
    if not all(sigma >= 0 for sigma in sigmas):
        with source.current():
            if not np.isfinite(source.data).all():
                raise ValueError("h must be a number for an image that is not finite, got 'auto'")
    return float(np.mean([sigma if sigma >= 0 else 0.0 for sigma in sigmas]))
