"""Image restoration, under scikit-image's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _checks, arrays

__all__ = ["denoise_nl_means"]

_CUTOFF = 5.0  # distances beyond it have no weight, as in scikit-image
_LARGEST_PATCH, _LARGEST_DISTANCE = 127, 255
_FLOAT32 = np.finfo(np.float32)


def denoise_nl_means(
    image: Any,
    patch_size: int = 7,
    patch_distance: int = 11,
    h: float = 0.1,
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
    h : float, optional
        Strength: the distance of patches at which the weight falls to 1/e, in the units of the values that are
        compared (see `preserve_range`). Somewhat less than the noise's standard deviation is a good start.
    fast_mode : bool, optional
        True weighs all pixels of a patch alike; nothing else is offered.
    sigma : float, optional
        Standard deviation of the noise, in the same units; its expected share of the patches' distance,
        ``2 * sigma**2`` per value, is subtracted. With it, ``h = 0.8 * sigma`` is a good start.
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
    h = _checks.real(h, "h", above=0)
    sigma = _checks.real(sigma, "sigma", at_least=0)
    if not _checks.boolean(fast_mode, "fast_mode"):
        raise ValueError("fast_mode must be True: patches with Gaussian weights are not offered")
    keep_dtype = _checks.boolean(preserve_range, "preserve_range") or source.data.dtype.kind == "f"
    threads = _checks.threads(threads)

    dtype = source.data.dtype if keep_dtype else np.dtype(np.float32)
    result = source.result(source.data.shape, [dtype, np.float32], out)
    unit = 1.0 if keep_dtype else float(np.iinfo(source.data.dtype).max)  # source values per unit of h and sigma
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
