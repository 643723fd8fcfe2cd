"""`cv2.fastNlMeansDenoising` and its kin."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays
from ..restoration.non_local_means import planes, within_float32
from . import lab

__all__ = [
    "NORM_L1",
    "NORM_L2",
    "fastNlMeansDenoising",
    "fastNlMeansDenoisingColored",
    "fastNlMeansDenoisingColoredMulti",
    "fastNlMeansDenoisingMulti",
]

NORM_L1, NORM_L2 = 2, 4

_LARGEST_TEMPLATE, _LARGEST_SEARCH, _LARGEST_TEMPORAL = 127, 511, 129
_LEAST_WEIGHT = 0.001  # of the largest; what is less is 0


def fastNlMeansDenoising(
    src: Any,
    dst: Any = None,
    h: float | Sequence[float] = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
    *,
    threads: int | None = None,
) -> Any:
    """Denoise an image by non-local means, as `cv2.fastNlMeansDenoising` does.

    Parameters
    ----------
    src : (M, N) or (M, N, C) array of uint8, uint16, float16, float32 or float64
        Any strides, any number of channels, which are compared together.
    dst : array, optional
        Where the result goes; of the shape, dtype and kind of `src`. It may be `src` itself. As with OpenCV a list is
        `h`, and `h` is `dst` then: ``fastNlMeansDenoising(src, [10], None, 7, 21, NORM_L1)``.
    h : float or sequence of float, optional
        Strength, in the units of the image; one, or one for each channel.
    templateWindowSize : int, optional
        Full width of the patches, from 1 to 127; an even one counts as the next larger.
    searchWindowSize : int, optional
        Full width of the search, from 1 to 511; an even one counts as the next larger.
    normType : {NORM_L2, NORM_L1}, optional
        Whether differences are squared, or their absolute values squared after they were averaged over a patch. NORM_L1
        is for integers.
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
        If the image is empty or has other dimensions, or an argument is out of its range or does not fit.

    Notes
    -----
    uint8 with either norm and uint16 with NORM_L1 are equal to OpenCV's results, bit by bit: weights are whole numbers
    from a table. What OpenCV refuses, uint16 and floats with NORM_L2, has exponentials as weights, of the same cutoff.
    O(M N searchWindowSize²), independent of `templateWindowSize`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import opencv
    >>> rng = np.random.default_rng(0)
    >>> noisy = (100 + 10 * rng.standard_normal((64, 64))).astype(np.uint8)
    >>> bool(opencv.fastNlMeansDenoising(noisy, h=10).std() < 3)
    True
    """
    dst, h = _in_order(dst, h)
    source = arrays.take(src, "src")
    windows = _Windows.checked(templateWindowSize, searchWindowSize, 1)
    work = _Work.checked(source, h, windows, normType, threads)
    if dst is not None:
        source = source.apart_from(dst, "dst")
    result = source.result(source.data.shape, [source.data.dtype], dst, "dst")
    work.run(source.data, result.data)
    return result.give_back()


def fastNlMeansDenoisingMulti(
    srcImgs: Sequence[Any],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: Any = None,
    h: float | Sequence[float] = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
    *,
    threads: int | None = None,
) -> Any:
    """Denoise an image of a sequence, as `cv2.fastNlMeansDenoisingMulti` does.

    Parameters
    ----------
    srcImgs : sequence of arrays
        Images as those of `fastNlMeansDenoising`, all of one shape, dtype and kind.
    imgToDenoiseIndex : int
        Which of them is denoised.
    temporalWindowSize : int
        How many images take part, that one in the middle: odd, from 1 to 129. At the ends of the sequence, where OpenCV
        gives an error, as many as there are.
    dst, h, templateWindowSize, searchWindowSize, normType, threads
        As those of `fastNlMeansDenoising`.

    Returns
    -------
    array
        `dst`, or a new array like an image.

    Raises
    ------
    TypeError, ValueError
        As `fastNlMeansDenoising`; if images differ, or the index is not one of theirs.

    Notes
    -----
    Equal to OpenCV's results where `fastNlMeansDenoising` is. O(M N searchWindowSize² temporalWindowSize).

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import opencv
    >>> rng = np.random.default_rng(0)
    >>> frames = [(100 + 10 * rng.standard_normal((32, 32))).astype(np.uint8) for _ in range(3)]
    >>> opencv.fastNlMeansDenoisingMulti(frames, 2, 3, h=10).shape
    (32, 32)
    """
    dst, h = _in_order(dst, h)
    windows = _Windows.checked(templateWindowSize, searchWindowSize, temporalWindowSize)
    sources, index = _taken(srcImgs, imgToDenoiseIndex, windows)
    source = sources[index]
    work = _Work.checked(source, h, windows, normType, threads)
    frames = _stacked(sources)
    result = source.result(source.data.shape, [source.data.dtype], _apart(dst, sources), "dst")
    work.run(frames, result.data, first_plane=index)
    return result.give_back()


def fastNlMeansDenoisingColored(
    src: Any,
    dst: Any = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    *,
    threads: int | None = None,
) -> Any:
    """Denoise a colour image in Lab, as `cv2.fastNlMeansDenoisingColored` does.

    Parameters
    ----------
    src : (M, N, 3) array of uint8
        Blue, green and red, as OpenCV has them. Any strides.
    dst : array, optional
        Where the result goes; of the shape, dtype and kind of `src`. It may be `src` itself.
    h, hColor : float, optional
        Strength for lightness, and for the two chromatic components, which are denoised together.
    templateWindowSize, searchWindowSize, threads
        As those of `fastNlMeansDenoising`.

    Returns
    -------
    array
        `dst`, or a new array like `src`.

    Raises
    ------
    TypeError, ValueError
        As `fastNlMeansDenoising`.

    Notes
    -----
    Equal to OpenCV's results, bit by bit. Levels are taken as linear light (COLOR_LBGR2Lab), as OpenCV does here.
    O(M N searchWindowSize²).

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import opencv
    >>> rng = np.random.default_rng(0)
    >>> noisy = (100 + 10 * rng.standard_normal((64, 64, 3))).astype(np.uint8)
    >>> bool(opencv.fastNlMeansDenoisingColored(noisy, h=10, hColor=10).std() < 4)
    True
    """
    source = _colour(arrays.take(src, "src", dtypes=(np.uint8,)), "src")
    windows = _Windows.checked(templateWindowSize, searchWindowSize, 1)
    if dst is not None:
        source = source.apart_from(dst, "dst")
    result = source.result(source.data.shape, [np.uint8], dst, "dst")
    _denoise_in_lab([source], 0, result, (h, hColor), windows, threads)
    return result.give_back()


def fastNlMeansDenoisingColoredMulti(
    srcImgs: Sequence[Any],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: Any = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    *,
    threads: int | None = None,
) -> Any:
    """Denoise a colour image of a sequence in Lab, as `cv2.fastNlMeansDenoisingColoredMulti` does.

    Parameters
    ----------
    srcImgs : sequence of (M, N, 3) arrays of uint8
        All of one shape and kind.
    imgToDenoiseIndex, temporalWindowSize
        As those of `fastNlMeansDenoisingMulti`.
    dst, h, hColor, templateWindowSize, searchWindowSize, threads
        As those of `fastNlMeansDenoisingColored`.

    Returns
    -------
    array
        `dst`, or a new array like an image.

    Raises
    ------
    TypeError, ValueError
        As `fastNlMeansDenoisingMulti`.

    Notes
    -----
    Equal to OpenCV's results, bit by bit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import opencv
    >>> rng = np.random.default_rng(0)
    >>> frames = [(100 + 10 * rng.standard_normal((32, 32, 3))).astype(np.uint8) for _ in range(3)]
    >>> opencv.fastNlMeansDenoisingColoredMulti(frames, 1, 3, h=10, hColor=10).shape
    (32, 32, 3)
    """
    windows = _Windows.checked(templateWindowSize, searchWindowSize, temporalWindowSize)
    sources, index = _taken(srcImgs, imgToDenoiseIndex, windows, dtypes=(np.uint8,))
    for source in sources:
        _colour(source, "srcImgs")
    result = sources[index].result(sources[index].data.shape, [np.uint8], _apart(dst, sources), "dst")
    _denoise_in_lab(sources, index, result, (h, hColor), windows, threads)
    return result.give_back()


# ---- what was asked for ----------------------------------------------------------------------------------------------


def _in_order(dst: Any, h: Any) -> tuple[Any, Any]:
    """`dst` and `h`, which change their places in OpenCV's signature where `h` is a list."""
    if not isinstance(dst, list | tuple):
        return dst, h
    return (None if isinstance(h, int | float) else h), dst  # a number is the default of `h`


class _Windows(NamedTuple):
    """Radii of the windows."""

    template: int
    search: int
    temporal: int

    @classmethod
    def checked(cls, template: Any, search: Any, temporal: Any) -> _Windows:
        template = _checks.integer(template, "templateWindowSize", at_least=1, at_most=_LARGEST_TEMPLATE)
        search = _checks.integer(search, "searchWindowSize", at_least=1, at_most=_LARGEST_SEARCH)
        temporal = _checks.integer(temporal, "temporalWindowSize", at_least=1, at_most=_LARGEST_TEMPORAL)
        if temporal % 2 == 0:
            raise ValueError(f"temporalWindowSize must be odd, got {temporal}")
        return cls(template // 2, search // 2, temporal // 2)

    @property
    def samples(self) -> int:
        """Pixels of a template."""
        return (2 * self.template + 1) ** 2

    @property
    def offsets(self) -> int:
        """Pixels of a search."""
        return (2 * self.search + 1) ** 2 * (2 * self.temporal + 1)


class _Work(NamedTuple):
    """One denoising, checked: of images whose channels are compared together."""

    source: arrays.Source
    strengths: list[float]  # one, or one for each channel
    windows: _Windows
    absolute: bool
    threads: int

    @classmethod
    def checked(cls, source: arrays.Source, h: Any, windows: _Windows, norm: Any, threads: Any) -> _Work:
        _checks.rank(source.data.ndim, source.name, (2, 3), "rows, columns and, last, channels")
        _checks.non_empty(source.data.shape, source.name)
        channels = 1 if source.data.ndim == 2 else source.data.shape[2]
        strengths = [_checks.real(each, "h") for each in (h if isinstance(h, list | tuple) else [h])]
        if len(strengths) not in (1, channels):
            raise ValueError(f"h must be one number or one for each of the {channels} channels, got {h!r}")
        absolute = _checks.one_of(norm, "normType", (NORM_L1, NORM_L2)) == NORM_L1
        if absolute and source.data.dtype.kind != "u":
            raise TypeError(f"{source.name} must have dtype uint8 or uint16 for NORM_L1, got {source.data.dtype.name}")
        return cls(source, strengths, windows, absolute, _checks.threads(threads))

    def run(self, image: Any, result: Any, first_plane: int = 0) -> None:
        """Denoise an image, or that one of a stack of images."""
        axis = None if self.source.data.ndim == 2 else -1
        image, result = planes(image, axis), planes(result, axis)
        together = len(self.strengths) == 1
        for channel, h in enumerate(self.strengths):
            part = slice(None) if together else slice(channel, channel + 1)
            arguments = (
                image[..., part],
                None if together else image,
                result[..., part],
                h,
                image.shape[-1],
                first_plane,
            )
            if self.source.data.dtype == np.uint8 or self.absolute:
                self._by_table(*arguments)
            else:
                self._by_exponential(*arguments)

    def _by_table(self, image: Any, guide: Any, result: Any, h: float, channels: int, first_plane: int) -> None:
        top = int(np.iinfo(image.dtype).max)
        if self.windows.samples * channels * (top if self.absolute else top**2) >= 2**32:
            raise ValueError(
                f"templateWindowSize must be smaller for {channels} channels of {image.dtype.name}, whose differences "
                f"do not fit 32 bits, got {2 * self.windows.template + 1}"
            )
        table = _table(h, channels, top, self.absolute, self.windows)
        self.source.backend.denoise_nl_means_by_table(
            image,
            guide,
            result,
            patch_radius=self.windows.template,
            patch_distance=self.windows.search,
            temporal_distance=self.windows.temporal,
            first_plane=first_plane,
            weights=table.weights,
            shift=table.shift,
            decay=table.decay,
            absolute=self.absolute,
            threads=self.threads,
        )

    def _by_exponential(self, image: Any, guide: Any, result: Any, h: float, channels: int, first_plane: int) -> None:
        norm = within_float32(channels * h**2 * self.windows.samples)
        self.source.backend.denoise_nl_means(
            image,
            guide,
            None,
            None,
            result,
            patch_before=self.windows.template,
            patch_after=self.windows.template,
            patch_taps=[],
            patch_distance=self.windows.search,
            truncated=False,
            outer=((False, 0, False), (False, self.windows.temporal, True)),
            first_plane=first_plane,
            weighting="welsch",
            scale=1 / norm,
            excess=0.0,
            cutoff=within_float32(-math.log(_LEAST_WEIGHT) * norm),
            centre=-1.0,
            gain=1.0,
            threads=self.threads,
        )


class _Table(NamedTuple):
    """Weights, the last of which is 0 and that of all sums beyond."""

    weights: NDArray[np.int32]
    shift: int  # by which a sum becomes an index
    decay: float  # all but the last are weights[0] exp(-decay index), rounded; 0: they are no such exponential


@functools.lru_cache(maxsize=64)
def _table(h: float, channels: int, top: int, absolute: bool, windows: _Windows) -> _Table:
    """OpenCV's weights.

    Weights are whole numbers such that weighted sums of samples fit 32 bits (uint8) or 64 (uint16); the strength is a
    float32, and so is its square.
    """
    largest_sum = 2**31 - 1 if top == 255 else 2**63 - 1
    unit = min(largest_sum // (windows.offsets * top), 2**31 - 1)
    shift = (windows.samples - 1).bit_length()
    step = (1 << shift) / windows.samples
    count = int((top if absolute else top**2) * channels / step + 1)
    distance = np.arange(count) * step
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = float(np.float32(h) * np.float32(h) * np.float32(channels))
        shares = np.exp(-np.divide(distance**2 if absolute else distance, scale))
    shares[np.isnan(shares)] = 1.0  # of h = 0: the same patch weighs, no other
    weights = np.rint(unit * shares)
    weights[weights < _LEAST_WEIGHT * unit] = 0
    weighing = np.trim_zeros(weights, "b").astype(np.int32)
    return _Table(np.append(weighing, np.int32(0)), shift, 0.0 if absolute or scale == 0 else step / scale)


# ---- sequences and colours -------------------------------------------------------------------------------------------


def _taken(
    images: Any, index: Any, windows: _Windows, dtypes: Sequence[Any] = arrays.IMAGE_DTYPES
) -> tuple[list[arrays.Source], int]:
    """The images that take part, and which of them is denoised."""
    if not isinstance(images, Sequence) and not hasattr(images, "__getitem__"):
        raise TypeError(f"srcImgs must be a sequence of images, got {type(images).__name__}")
    if len(images) == 0:
        raise ValueError("srcImgs must not be empty")
    number = _checks.integer(index, "imgToDenoiseIndex", at_least=0, at_most=len(images) - 1)
    first = max(number - windows.temporal, 0)
    sources = [arrays.take(image, "srcImgs", dtypes=dtypes) for image in images[first : number + windows.temporal + 1]]
    for source in sources:
        arrays.expect_alike(sources[0], source)
    return sources, number - first


def _apart(dst: Any, sources: list[arrays.Source]) -> Any:
    """`dst`, refused if it overlaps an image."""
    if dst is not None and any(source.overlaps(dst, "dst") for source in sources):
        raise ValueError("dst must not overlap an image of srcImgs")
    return dst


def _stacked(sources: list[arrays.Source]) -> Any:
    """Images, copied behind one another."""
    first = sources[0]
    frames = first.view.new((len(sources), *first.data.shape), first.data.dtype)[0]
    with first.current():
        for i, source in enumerate(sources):
            frames[i] = source.data
    return frames


def _colour(source: arrays.Source, name: str) -> arrays.Source:
    if source.data.ndim != 3 or source.data.shape[2] != 3:
        raise ValueError(f"{name} must have shape (rows, columns, 3), got {source.data.shape}")
    return source


def _denoise_in_lab(
    sources: list[arrays.Source],
    index: int,
    result: arrays.Result,
    strengths: tuple[Any, Any],
    windows: _Windows,
    threads: Any,
) -> None:
    """Lightness with one strength, chroma with the other."""
    source = sources[index]
    n_threads = _checks.threads(threads)
    frames = source.view.new((len(sources), *source.data.shape), source.data.dtype)[0]
    for i, each in enumerate(sources):
        lab.bgr_to_lab(each, frames[i], n_threads)
    denoised = source.view.new(source.data.shape, source.data.dtype)[0]
    for part, h, name in ((slice(0, 1), strengths[0], "h"), (slice(1, 3), strengths[1], "hColor")):
        component = arrays.Source(frames[index][..., part], source.name, source.view)
        work = _Work.checked(component, _checks.real(h, name), windows, NORM_L2, threads)
        work.run(frames[..., part], denoised[..., part], first_plane=index)
    lab.lab_to_bgr(arrays.Source(denoised, source.name, source.view), result.data, n_threads)
