"""Non-local means, of images, volumes and sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import _checks, arrays
from .._compiled import WithParameters
from .compiled import weighting_by
from .noise_estimate import mean_sigma

__all__ = ["denoise_nl_means", "denoise_nl_means_sequence", "denoise_nl_means_stream"]

_CUTOFF = 5.0  # distances beyond it have no weight, as in scikit-image
_WEIGHTINGS = ("welsch", "epanechnikov", "bisquare", "modified_bisquare")
_LARGEST_PATCH, _LARGEST_DISTANCE, _LARGEST_TEMPORAL_DISTANCE = 127, 255, 64
_FLOAT32 = np.finfo(np.float32)

Weighting = str | Callable[..., float]

_AUTOMATIC = 0.6  # h in standard deviations of the noise: docs/denoise_nl_means.md


def denoise_nl_means(
    image: Any,
    patch_size: int = 7,
    patch_distance: int = 11,
    h: Any = 0.1,
    fast_mode: bool = True,
    sigma: Any = 0.0,
    *,
    guide: Any = None,
    weighting: Weighting = "welsch",
    weighting_args: Mapping[str, Any] | None = None,
    center_weight: float | None = None,
    preserve_range: bool = False,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Denoise an image or a volume by non-local means.

    Every pixel becomes the mean of the pixels around it, weighted by the likeness of the patches that surround them.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Of two, three or four axes and, with `channel_axis`, one more. Any strides, any number of channels, not empty.
    patch_size : int, optional
        Full width of the patches along every axis, odd, from 3 to 127.
    patch_distance : int, optional
        Radius of the search: pixels up to this far away along each axis take part, so the search window is
        ``2 * patch_distance + 1`` wide. From 1 to 255.
    h : float, array or "auto", optional
        Strength: the distance of patches at which the weight falls to 1/e, in the units of the values that are
        compared (see `preserve_range`). Somewhat less than the noise's standard deviation is a good start. An array,
        broadcast to the image's axes without channels, gives each pixel its own; where it is 0 or NaN the pixel stays
        as it is. "auto": 0.6 times `sigma`, which is estimated (`estimate_sigma`, the mean of the channels') where it
        is 0.
    fast_mode : bool, optional
        True weighs all pixels of a patch alike, and searches the mirror image beyond the borders too. False weighs them
        by a Gaussian of standard deviation ``(patch_size - 1) / 4``, and ends the search at the borders.
    sigma : float or array, optional
        Standard deviation of the noise, in the same units; its expected share of the patches' distance,
        ``2 * sigma**2`` per value, is subtracted. With it, ``h = 0.6 * sigma`` is a good start. An array like `h`.
    guide : array, optional
        What is compared in place of the image, which is averaged: an image of the same axes, with channels of its own
        or none (where the image has none, a guide's are the last axis), on the same device. `h` and `sigma` are in its
        units.
    weighting : {"welsch", "epanechnikov", "bisquare", "modified_bisquare"} or callable, optional
        What a distance d, divided by h squared, weighs: ``exp(-d)``, 0 beyond 5; ``max(0, 1 - d)`` to the power 1, 2 or
        8; or what a Python function of d, which Numba compiles into the kernel (see Notes), returns.
    weighting_args : mapping, optional
        Numbers that the function takes beside d, by their names.
    center_weight : float, optional
        The weight of the pixel itself, as a multiple of the largest of the others, at least 0. None: it weighs 1, as
        every pixel does whose patch is the same. A pixel that nothing else resembles stays as it is.
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
        If `image`, `guide`, `h`, `sigma`, `out` or `weighting` is not what it may be, or of another dtype. If Numba
        cannot compile the function that `weighting` is; the message tells the line.
    ValueError
        If a parameter is out of its range, `image` is empty or of another rank, or `guide`, `h`, `sigma` or `out` does
        not fit it.
    ImportError
        If `weighting` is a function and Numba is not installed.

    Notes
    -----
    The definitions are those of `skimage.restoration.denoise_nl_means`, with an exact exponential in place of an
    approximation that is 3 to 4 % off: results differ accordingly. As there, patches of nominal width `s` are ``s - 1``
    pixels wide in fast mode, their distance is divided by ``s`` to the power of the number of axes times the number of
    channels, and the image is continued by its mirror image. An even `patch_size` is an error here. Without fast mode
    volumes may have channels, and images four axes.

    Arithmetic is in float32; from uint8 to uint8 it may be in 16 bits, of which the result is off by a level at most,
    but for single pixels that hardly any other resembles. The cost is O(n patch_distance^axes): in fast mode
    independent of `patch_size` along the last two axes and proportional to it along others, else proportional to it
    along each. Beside the result, each thread uses some 500 kB of scratch at the default parameters and one channel,
    250 kB for each further one, some 2 MB for a volume, whatever the image's size.

    A function for `weighting` takes d as a float64, and numbers of its own, which `weighting_args` names; it returns
    the weight. Numba (``pip install 'fastimg[numba]'``) compiles it at its first use, in nopython mode, which takes
    about half a second; the last 64 functions are kept, so define it once, not with every call. The kernel calls it
    without the GIL, several threads at a time, for some thousand distances, of pixels in no order and of some that do
    not exist; it must not raise. A division by zero gives an infinity or NaN. A weight below 0 or not a number counts
    as 0, and so does that of an infinite distance; infinite weights make NaN. The pixel itself weighs what the function
    says of 0, and where nothing weighs anything it stays as it is. Integers, too, are denoised in float32. On a GPU
    (``'fastimg[numba-cuda12]'`` or ``'fastimg[numba-cuda13]'``) it is compiled anew for each kind of image and linked
    into the kernel, with up to 64 numbers of its own.

    A NaN or an infinity makes non-finite the pixels up to `patch_distance` away from it; farther ones are
    denoised as if pixels with a non-finite value in their patch did not exist.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005.
    .. [2] J. Darbon, A. Cunha, T. F. Chan, S. Osher, G. J. Jensen, "Fast nonlocal filtering applied to electron
           cryomicroscopy", ISBI 2008.
    .. [3] B. Goossens, H. Luong, A. Pizurica, W. Philips, "An improved non-local denoising algorithm", LNLA 2008: the
           modified bisquare weighting, the centre's weight.

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

    Weights that fall off as Cauchy's distribution, by a function:

    >>> def cauchy(distance, width=1.0):
    ...     return 1 / (1 + distance / width) ** 2
    >>> options = {"h": 0.08, "sigma": 0.1, "weighting": cauchy, "weighting_args": {"width": 0.5}}
    >>> denoised = restoration.denoise_nl_means(noisy, 5, 6, **options)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean() / 3)
    True
    """
    source = arrays.take(image, "image")
    axis = _checks.axis(channel_axis, "channel_axis", source.data.ndim)
    if axis is None:
        _checks.rank(source.data.ndim, "image", range(2, 5), "rows and columns; pass channel_axis for colour images")
    else:
        _checks.rank(source.data.ndim, "image", range(3, 6), "rows, columns and channels")
    weigh = _weighting(weighting, weighting_args)
    options = _Options.checked(patch_size, patch_distance, fast_mode, weigh, center_weight, preserve_range, threads)
    around = OuterAxis(True, options.patch_distance, not fast_mode)
    axes = source.data.ndim - (axis is not None)
    outer = around if axes > 3 else _ALONE, around if axes > 2 else _ALONE
    return _denoised(source, axis, guide, h, sigma, mean_sigma, options, outer, out)


def denoise_nl_means_sequence(
    frames: Any,
    patch_size: int = 7,
    patch_distance: int = 11,
    h: Any = 0.1,
    fast_mode: bool = True,
    sigma: Any = 0.0,
    *,
    temporal_distance: int = 1,
    guide: Any = None,
    weighting: Weighting = "welsch",
    weighting_args: Mapping[str, Any] | None = None,
    center_weight: float | None = None,
    preserve_range: bool = False,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Denoise the frames of a sequence by non-local means over space and time.

    As `denoise_nl_means`, with pixels of the frames before and after taking part. Patches lie in one frame.

    Parameters
    ----------
    frames : (T, M, N) or, with `channel_axis`, (T, M, N, C) array of uint8, uint16, float16, float32 or float64
        Any strides; the first axis is time.
    patch_size, patch_distance, h, fast_mode, sigma, guide, weighting, weighting_args, center_weight
        As those of `denoise_nl_means`. Arrays `h` and `sigma` are (T, M, N); sigma is estimated as the frames' mean.
    preserve_range, out, threads
        As those of `denoise_nl_means`.
    temporal_distance : int, optional
        So many frames before and after take part, from 0 to 64; fewer at the ends of the sequence.
    channel_axis : int, optional
        The axis of `frames` that has the channels, not the first.

    Returns
    -------
    array of the kind and shape of `frames`

    Raises
    ------
    TypeError, ValueError
        As `denoise_nl_means`.

    See Also
    --------
    denoise_nl_means_stream : for frames that come one by one.

    Notes
    -----
    O(n (2 temporal_distance + 1) patch_distance²). As OpenCV's ``fastNlMeansDenoisingMulti`` for every frame, those at
    the ends included.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "Denoising image sequences does not require motion estimation", AVSS 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import restoration
    >>> rng = np.random.default_rng(0)
    >>> frames = 0.5 + rng.normal(0, 0.1, (5, 32, 32)).astype(np.float32)
    >>> restored = restoration.denoise_nl_means_sequence(frames, 3, 3, h=0.2, temporal_distance=2)
    >>> bool(restored.std() < restoration.denoise_nl_means(frames[2], 3, 3, h=0.2).std())
    True
    """
    source = arrays.take(frames, "frames")
    axis = _checks.axis(channel_axis, "channel_axis", source.data.ndim)
    if axis is None:
        _checks.rank(source.data.ndim, "frames", [3], "time, rows and columns; pass channel_axis for colour")
    else:
        _checks.rank(source.data.ndim, "frames", [4], "time, rows, columns and channels")
        if axis == 0:
            raise ValueError("channel_axis must not be the first axis, which is time, got 0")
    weigh = _weighting(weighting, weighting_args)
    options = _Options.checked(patch_size, patch_distance, fast_mode, weigh, center_weight, preserve_range, threads)
    outer = _ALONE, OuterAxis(False, _temporal_distance(temporal_distance), True)
    return _denoised(source, axis, guide, h, sigma, _mean_sigma_of_frames, options, outer, out)


def denoise_nl_means_stream(
    frames: Iterable[Any],
    patch_size: int = 7,
    patch_distance: int = 11,
    h: Any = 0.1,
    fast_mode: bool = True,
    sigma: Any = 0.0,
    *,
    temporal_distance: int = 1,
    weighting: Weighting = "welsch",
    weighting_args: Mapping[str, Any] | None = None,
    center_weight: float | None = None,
    preserve_range: bool = False,
    channel_axis: int | None = None,
    threads: int | None = None,
) -> Iterator[Any]:
    """Denoise frames by non-local means over space and time, as they come.

    Parameters
    ----------
    frames : iterable of (M, N) or, with `channel_axis`, (M, N, C) arrays
        All of one shape, dtype, kind and device. They are copied: one buffer may be filled again and again.
    patch_size, patch_distance, h, fast_mode, sigma, weighting, weighting_args, center_weight, preserve_range, threads
        As those of `denoise_nl_means`. Arrays `h` and `sigma` are (M, N); `h` is not estimated.
    temporal_distance : int, optional
        So many frames before and after take part, from 0 to 64; fewer at the ends.
    channel_axis : int, optional
        The axis of a frame that has the channels.

    Yields
    ------
    array of the kind and shape of a frame
        One for each frame, in their order, new each time: as soon as `temporal_distance` more have come, or all.

    Raises
    ------
    TypeError, ValueError
        As `denoise_nl_means`; for frames that differ, when they come.

    Notes
    -----
    Its results are those of `denoise_nl_means_sequence`. ``2 * temporal_distance + 1`` frames are kept.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import restoration
    >>> rng = np.random.default_rng(0)
    >>> camera = (0.5 + rng.normal(0, 0.1, (32, 32)) for _ in range(4))
    >>> [round(float(frame.mean()), 1) for frame in restoration.denoise_nl_means_stream(camera, 3, 3, h=0.2)]
    [0.5, 0.5, 0.5, 0.5]
    """
    weigh = _weighting(weighting, weighting_args)
    options = _Options.checked(patch_size, patch_distance, fast_mode, weigh, center_weight, preserve_range, threads)
    reach = _temporal_distance(temporal_distance)
    if isinstance(h, str):
        raise ValueError(f"h must be a number or an array for frames that are yet to come, got {h!r}")
    return _stream(iter(frames), reach, options, h, sigma, channel_axis)


# ---- what was asked for ----------------------------------------------------------------------------------------------


class OuterAxis(NamedTuple):
    """Whether patches reach along an axis of planes, how far the search does, and whether it ends with the image."""

    in_patch: bool
    distance: int
    truncated: bool


_ALONE = OuterAxis(False, 0, False)


@dataclass(frozen=True)
class _Options:
    """The arguments that have nothing to do with arrays, checked."""

    patch_size: int
    patch_distance: int
    fast_mode: bool
    weighting: str | WithParameters
    centre: float  # -1 if not given
    preserve_range: bool
    threads: int

    @classmethod
    def checked(
        cls,
        patch_size: Any,
        patch_distance: Any,
        fast_mode: Any,
        weighting: str | WithParameters,
        center_weight: Any,
        preserve_range: Any,
        threads: Any,
    ) -> _Options:
        patch_size = _checks.integer(patch_size, "patch_size", at_least=3, at_most=_LARGEST_PATCH)
        if patch_size % 2 == 0:
            raise ValueError(f"patch_size must be odd, got {patch_size}")
        return cls(
            patch_size,
            _checks.integer(patch_distance, "patch_distance", at_least=1, at_most=_LARGEST_DISTANCE),
            _checks.boolean(fast_mode, "fast_mode"),
            weighting,
            -1.0 if center_weight is None else _checks.real(center_weight, "center_weight", at_least=0, at_most=1e6),
            _checks.boolean(preserve_range, "preserve_range"),
            _checks.threads(threads),
        )

    def unit(self, dtype: np.dtype[Any]) -> float:
        """An image's values per unit of its results and of h and sigma."""
        return 1.0 if self.preserve_range or dtype.kind == "f" else float(np.iinfo(dtype).max)

    def result(self, source: arrays.Source, out: Any) -> arrays.Result:
        dtype = source.data.dtype
        kept = dtype if self.preserve_range or dtype.kind == "f" else np.dtype(np.float32)
        return source.result(source.data.shape, [kept, np.float32], out)

    def taps(self) -> list[float]:
        """Weights of a patch along each axis, which sum to 1; none where they are all alike."""
        if self.fast_mode:
            return []
        half = self.patch_size // 2
        weights = np.exp(-0.5 * (np.arange(-half, half + 1) / ((self.patch_size - 1) / 4)) ** 2)
        return list((weights / weights.sum()).tolist())

    def share_of_noise(self, axes: int) -> float:
        """The sum of a patch's weights; a patch of nominal width s is s - 1 wide where they are alike."""
        return float((self.patch_size - 1) ** axes) if self.fast_mode else 1.0

    def divisor(self, axes: int) -> float:
        """What a patch's distance is divided by."""
        return float(self.patch_size**axes) if self.fast_mode else 1.0


def _weighting(weighting: Any, arguments: Mapping[str, Any] | None) -> str | WithParameters:
    if callable(weighting):
        return weighting_by(weighting, arguments or {})
    name: str = _checks.one_of(weighting, "weighting", _WEIGHTINGS)
    if arguments:
        raise ValueError(f"weighting_args are for a function, got weighting={name!r}")
    return name


def _temporal_distance(value: Any) -> int:
    return _checks.integer(value, "temporal_distance", at_least=0, at_most=_LARGEST_TEMPORAL_DISTANCE)


@dataclass(frozen=True)
class _Compared:
    """The image whose patches are compared: the guide, or else the image that is denoised."""

    source: arrays.Source
    axis: int | None
    unit: float
    spatial: tuple[int, ...]

    @classmethod
    def of(cls, source: arrays.Source, axis: int | None, guide: Any, options: _Options) -> _Compared:
        _checks.non_empty(source.data.shape, source.name)
        spatial = _without(source.data.shape, axis)
        if guide is None:
            return cls(source, axis, options.unit(source.data.dtype), spatial)
        compared = arrays.take(guide, "guide")
        arrays.expect_together(source, compared)
        if compared.data.ndim == len(spatial):
            axis = None
        elif axis is None:
            axis = compared.data.ndim - 1
        if compared.data.ndim - (axis is not None) != len(spatial) or _without(compared.data.shape, axis) != spatial:
            raise ValueError(f"guide must have the axes of {source.name}, {spatial}, got shape {compared.data.shape}")
        _checks.non_empty(compared.data.shape, "guide")
        return cls(compared, axis, options.unit(compared.data.dtype), spatial)

    @property
    def channels(self) -> int:
        return 1 if self.axis is None else int(self.source.data.shape[self.axis])


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


class _Strength(NamedTuple):
    """h and sigma: numbers, or arrays of the spatial shape where the backend has them."""

    h: Any
    sigma: Any


_Estimate = Callable[[arrays.Source, int | None], float]  # of the noise of an image with channels along an axis


def _strength(compared: _Compared, h: Any, sigma: Any, estimate: _Estimate) -> _Strength:
    sigma = _number_or_map(sigma, "sigma", compared, at_least=0)
    if not (isinstance(h, str) and h == "auto"):
        return _Strength(_number_or_map(h, "h", compared, above=0), sigma)
    if not isinstance(sigma, float):
        with compared.source.current():
            return _Strength(sigma * _AUTOMATIC, sigma)
    sigma = sigma or estimate(compared.source, compared.axis) / compared.unit
    return _Strength(max(_AUTOMATIC * sigma, float(_FLOAT32.tiny)), sigma)


def _number_or_map(value: Any, name: str, compared: _Compared, **bounds: float) -> Any:
    if not hasattr(value, "shape") or value.shape == ():
        return _checks.real(value, name, **bounds)
    values = arrays.take(value, name, dtypes=(np.float16, np.float32, np.float64))
    arrays.expect_together(compared.source, values)
    if values.data.shape != compared.spatial:
        raise ValueError(f"{name} must be a number or have shape {compared.spatial}, got {values.data.shape}")
    return values.data


def _mean_sigma_of_frames(source: arrays.Source, axis: int | None) -> float:
    frames = [arrays.Source(frame, source.name, source.view) for frame in source.data]
    return float(np.mean([mean_sigma(frame, None if axis is None else axis - 1) for frame in frames]))


# ---- the work --------------------------------------------------------------------------------------------------------


def _denoised(
    source: arrays.Source,
    axis: int | None,
    guide: Any,
    h: Any,
    sigma: Any,
    estimate: _Estimate,
    options: _Options,
    outer: tuple[OuterAxis, OuterAxis],
    out: Any,
) -> Any:
    compared = _Compared.of(source, axis, guide, options)
    strength = _strength(compared, h, sigma, estimate)
    result = options.result(source, out)
    if guide is not None:
        arrays.expect_apart(result.data, compared.source)
    _run(source, axis, compared, strength, options, outer, result.data)
    return result.give_back()


def _run(
    source: arrays.Source,
    axis: int | None,
    compared: _Compared,
    strength: _Strength,
    options: _Options,
    outer: tuple[OuterAxis, OuterAxis],
    result: Any,
    first_plane: int = 0,
) -> None:
    axes = 2 + sum(each.in_patch for each in outer)
    h, h_map = _number_and_map(strength.h)
    sigma, sigma_map = _number_and_map(strength.sigma)
    channels, half = compared.channels, options.patch_size // 2
    norm = within_float32(channels * _squared(h * compared.unit) * options.divisor(axes))
    excess = 2 * _squared(sigma * compared.unit) * channels * options.share_of_noise(axes)
    source.backend.denoise_nl_means(
        planes(source.data, axis),
        None if compared.source is source else planes(compared.source.data, compared.axis),
        h_map,
        sigma_map,
        planes(result, axis),
        patch_before=half - options.fast_mode,
        patch_after=half,
        patch_taps=options.taps(),
        patch_distance=options.patch_distance,
        truncated=not options.fast_mode,
        outer=outer,
        first_plane=first_plane,
        weighting=options.weighting,
        scale=1 / norm,
        excess=within_float32(excess) if excess else 0.0,
        cutoff=within_float32(_CUTOFF * norm),
        centre=options.centre,
        gain=1 / options.unit(source.data.dtype),
        threads=options.threads,
    )


def _number_and_map(value: Any) -> tuple[float, Any]:
    """A strength as a factor for all pixels and one for each, where backends take it; None without."""
    return (value, None) if isinstance(value, float) else (1.0, _stacked(value, 4))


def _stream(
    frames: Iterator[Any], reach: int, options: _Options, h: Any, sigma: Any, channel_axis: Any
) -> Iterator[Any]:
    window: _Window | None = None
    for frame in frames:
        source = arrays.take(frame, "frames")
        if window is None:
            axis = _checks.axis(channel_axis, "channel_axis", source.data.ndim)
            _checks.rank(source.data.ndim, "frames", [2 if axis is None else 3])
            window = _Window(source, axis, reach, options, h, sigma)
        window.append(source)
        if window.pending > reach:
            yield window.denoised()
    while window is not None and window.pending:
        yield window.denoised()


class _Window:
    """The last frames of a stream, and what is still to be denoised of them."""

    def __init__(
        self, first: arrays.Source, axis: int | None, reach: int, options: _Options, h: Any, sigma: Any
    ) -> None:
        self._first, self._axis, self._reach, self._options = first, axis, reach, options
        self._strength = _strength(_Compared.of(first, axis, None, options), h, sigma, mean_sigma)
        self._frames = first.view.new((2 * reach + 1, *first.data.shape), first.data.dtype)[0]
        self.count = 0  # frames kept
        self._next = 0  # the next to be denoised

    @property
    def pending(self) -> int:
        return self.count - self._next

    def append(self, frame: arrays.Source) -> None:
        arrays.expect_alike(self._first, frame)
        with frame.current():
            if self.count == len(self._frames):
                for i in range(self.count - 1):
                    self._frames[i] = self._frames[i + 1]
                self.count -= 1
                self._next -= 1
            self._frames[self.count] = frame.data
        self.count += 1

    def denoised(self) -> Any:
        window = arrays.Source(self._frames[: self.count], "frames", self._first.view)
        axis = None if self._axis is None else self._axis + 1
        compared = _Compared.of(window, axis, None, self._options)
        result = self._options.result(self._first, None)
        outer = _ALONE, OuterAxis(False, self._reach, True)
        _run(window, axis, compared, self._strength, self._options, outer, result.data[np.newaxis], self._next)
        self._next += 1
        return result.give_back()


def planes(data: Any, axis: int | None) -> Any:
    """An image as backends take it: two outer axes, rows, columns, channels."""
    return _stacked(data[..., np.newaxis] if axis is None else np.moveaxis(data, axis, -1), 5)


def _stacked(data: Any, ndim: int) -> Any:
    return data[(np.newaxis,) * (ndim - data.ndim)]


def _squared(value: float) -> float:
    return value**2 if value < 1e150 else float("inf")


def within_float32(value: float) -> float:
    """The nearest positive value that float32 holds: beyond it, a strength is as good as none or infinite."""
    return min(max(value, float(_FLOAT32.tiny)), float(_FLOAT32.max))
