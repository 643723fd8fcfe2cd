"""Conversions between colour spaces, under scikit-image's names and with its values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["gray2rgb", "rgb2gray", "rgb2ycbcr", "ycbcr2rgb"]

ORDERS = ("rgb", "bgr")

# ITU-R BT.601 in studio range: R, G, B in [0, 1] to Y in [16, 235], Cb and Cr in [16, 240].
_YCBCR_FROM_RGB = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_RGB_FROM_YCBCR = np.linalg.inv(_YCBCR_FROM_RGB)
_YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])
_GRAY_FROM_RGB = np.array([[0.2125, 0.7154, 0.0721]])  # luminance of linear RGB (ITU-R BT.709), as scikit-image


def rgb2ycbcr(
    rgb: Any,
    *,
    channel_axis: int = -1,
    order: str = "rgb",
    preserve_range: bool = False,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convert RGB to YCbCr (ITU-R BT.601, studio range), as MATLAB and scikit-image do.

    Parameters
    ----------
    rgb : array of uint8, uint16, float16, float32 or float64
        Three channels along `channel_axis`; at most eight dimensions, any strides. Floating images in [0, 1].
    channel_axis : int
        The axis of the channels, of the image and of the result.
    order : {"rgb", "bgr"}
        The order of the image's channels; "bgr" is OpenCV's. The result's is always Y, Cb, Cr.
    preserve_range : bool
        Only for integer images: if False, the result is float32; if True, it is of the image's dtype, rounded half
        away from zero, as MATLAB's ``rgb2ycbcr`` of such an image.
    out : array, optional
        Where the result goes; must not overlap `rgb`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the kind and shape of `rgb`: Y in [16, 235], Cb and Cr in [16, 240]. Floating images keep their dtype; uint16
        with `preserve_range` has these values times 257.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty or has not three channels, or an argument is out of range.

    See Also
    --------
    ycbcr2rgb : The inverse.

    Notes
    -----
    A linear map: nothing is clipped unless the result is of integers. One pass, O(n), bound by the memory's speed for
    floating images. Arithmetic is in float32, for float64 images in float64; integer results are rounded as if it were
    exact. A pixel with a NaN or infinity has it in every channel it takes part in.

    This is the Y of the super-resolution literature. It is not the full-range one of JPEG, OpenCV and Pillow.

    References
    ----------
    .. [1] Recommendation ITU-R BT.601-7, "Studio encoding parameters of digital television", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import color
    >>> white_and_red = np.array([[[1, 1, 1], [1, 0, 0]]], np.float32)
    >>> color.rgb2ycbcr(white_and_red).round(2)
    array([[[235.  , 128.  , 128.  ],
            [ 81.48,  90.2 , 240.  ]]], dtype=float32)
    """
    source = arrays.take(rgb, "rgb")
    top, keeps = _top(source.data.dtype), _keeps(source, preserve_range)
    factor = top / 255 if keeps and top != 1 else 1.0  # of the studio range, from that of uint8
    matrix, offset = _YCBCR_FROM_RGB * (factor / top), _YCBCR_OFFSET * factor
    return _convert(source, matrix, offset, channel_axis, keeps, out, threads, from_bgr=_is_bgr(order))


def ycbcr2rgb(
    ycbcr: Any,
    *,
    channel_axis: int = -1,
    order: str = "rgb",
    preserve_range: bool = False,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convert YCbCr (ITU-R BT.601, studio range) to RGB, the inverse of `rgb2ycbcr`.

    Parameters
    ----------
    ycbcr : array of uint8, uint16, float16, float32 or float64
        Y, Cb, Cr along `channel_axis`; at most eight dimensions, any strides. Y in [16, 235], Cb and Cr in [16, 240];
        uint16 has these values times 257.
    channel_axis : int
        The axis of the channels, of the image and of the result.
    order : {"rgb", "bgr"}
        The order of the result's channels.
    preserve_range : bool
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it is of the image's dtype, rounded
        half away from zero and saturated, as MATLAB's ``ycbcr2rgb`` of such an image.
    out : array, optional
        Where the result goes; must not overlap `ycbcr`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the kind and shape of `ycbcr`, floating images of the same dtype: R, G, B in [0, 1], not clipped.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty or has not three channels, or an argument is out of range.

    See Also
    --------
    rgb2ycbcr : The inverse, with notes.

    Notes
    -----
    scikit-image takes integers for values in [0, 1] of a full range, which no YCbCr image has; here they are what
    `rgb2ycbcr` gives with `preserve_range`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import color
    >>> color.ycbcr2rgb(np.array([[[235, 128, 128], [81, 90, 240]]], np.uint8), preserve_range=True)
    array([[[255, 255, 255],
            [254,   0,   0]]], dtype=uint8)
    """
    source = arrays.take(ycbcr, "ycbcr")
    top, keeps = _top(source.data.dtype), _keeps(source, preserve_range)
    factor = top / 255 if top != 1 else 1.0
    matrix = _RGB_FROM_YCBCR * (top if keeps else 1.0)
    offset = -(matrix @ _YCBCR_OFFSET)
    return _convert(source, matrix / factor, offset, channel_axis, keeps, out, threads, to_bgr=_is_bgr(order))


def rgb2gray(
    rgb: Any,
    *,
    channel_axis: int = -1,
    order: str = "rgb",
    preserve_range: bool = False,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convert RGB to a grey image: 0.2125 R + 0.7154 G + 0.0721 B.

    Parameters
    ----------
    rgb : array of uint8, uint16, float16, float32 or float64
        Three channels along `channel_axis`; at most eight dimensions, any strides.
    channel_axis : int
        The axis of the channels, which the result lacks.
    order : {"rgb", "bgr"}
        The order of the image's channels; "bgr" is OpenCV's.
    preserve_range : bool
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it keeps dtype and range, rounded
        half away from zero.
    out : array, optional
        Where the result goes; must not overlap `rgb`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the kind of `rgb`, without the axis of the channels; floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty or has not three channels, or an argument is out of range.

    Notes
    -----
    The weights are those of scikit-image; OpenCV and Pillow take 0.299, 0.587, 0.114. One pass, O(n). A pixel with a
    NaN or infinity in any channel has it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import color
    >>> color.rgb2gray(np.array([[255, 0, 0], [0, 255, 0]], np.uint8), preserve_range=True)
    array([ 54, 182], dtype=uint8)
    """
    source = arrays.take(rgb, "rgb")
    keeps = _keeps(source, preserve_range)
    matrix = _GRAY_FROM_RGB / (1.0 if keeps else _top(source.data.dtype))
    return _convert(source, matrix, np.zeros(1), channel_axis, keeps, out, threads, from_bgr=_is_bgr(order))


def gray2rgb(image: Any, *, channel_axis: int = -1, out: Any = None, threads: int | None = None) -> Any:
    """Repeat a grey image in three channels.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        At most seven dimensions, any strides.
    channel_axis : int
        Where the axis of the channels stands in the result.
    out : array, optional
        Where the result goes; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`.

    Returns
    -------
    array
        Of the kind and dtype of `image`, with one axis more, of length 3.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty, or `channel_axis` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import color
    >>> color.gray2rgb(np.array([[1, 2]], np.uint8))
    array([[[1, 1, 1],
            [2, 2, 2]]], dtype=uint8)
    """
    source = arrays.take(image, "image")
    data = source.data
    _checks.rank(data.ndim, "image", range(1, 8))
    _checks.non_empty(data.shape, "image")
    axis = _channel_axis(channel_axis, data.ndim + 1)
    result = source.result((*data.shape[:axis], 3, *data.shape[axis:]), [data.dtype], out)
    channels_last = np.moveaxis(result.data, axis, -1)
    source.backend.convert_color(
        data[..., np.newaxis], channels_last, _padded(np.ones((3, 1))), [0.0] * 3, _checks.threads(threads)
    )
    return result.give_back()


def _top(dtype: np.dtype[Any]) -> float:
    """The value that stands for 1."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _keeps(source: arrays.Source, preserve_range: bool) -> bool:
    """Whether the result has the image's dtype."""
    return _checks.boolean(preserve_range, "preserve_range") or source.data.dtype.kind == "f"


def _is_bgr(order: str) -> bool:
    return bool(_checks.one_of(order, "order", ORDERS) == "bgr")


def _channel_axis(value: int, ndim: int) -> int:
    axis = _checks.axis(_checks.integer(value, "channel_axis"), "channel_axis", ndim)
    assert axis is not None
    return axis


def _padded(matrix: NDArray[Any]) -> list[list[float]]:
    """A matrix as the kernel takes it, 3 by 3."""
    whole = np.zeros((3, 3))
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    rows: list[list[float]] = whole.tolist()
    return rows


def _convert(
    source: arrays.Source,
    matrix: NDArray[Any],
    offset: NDArray[Any],
    channel_axis: int,
    keeps: bool,
    out: Any,
    threads: int | None,
    *,
    from_bgr: bool = False,
    to_bgr: bool = False,
) -> Any:
    """Apply a linear map of three channels to three or, dropping the axis, to one."""
    data = source.data
    _checks.rank(data.ndim, source.name, range(1, 9))
    axis = _channel_axis(channel_axis, data.ndim)
    if data.shape[axis] != 3:
        raise ValueError(f"{source.name} must have 3 channels along axis {axis}, got {data.shape[axis]}")
    _checks.non_empty(data.shape, source.name)
    count = _checks.threads(threads)
    gray = len(matrix) == 1
    shape = data.shape[:axis] + data.shape[axis + 1 :] if gray else data.shape
    result = source.result(shape, [data.dtype if keeps else np.float32], out)
    image = np.moveaxis(data, axis, -1)
    converted = result.data[..., np.newaxis] if gray else np.moveaxis(result.data, axis, -1)
    source.backend.convert_color(
        image[..., ::-1] if from_bgr else image,
        converted[..., ::-1] if to_bgr else converted,
        _padded(matrix),
        [*offset.tolist(), 0.0, 0.0][:3],
        count,
    )
    return result.give_back()
