"""Parts and mirror images: views where the kind of array has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _checks, arrays
from .axes import two_axes
from .padding import widths_of

__all__ = ["crop", "flip"]


def crop(
    image: Any,
    crop_width: int | Sequence[int] | Sequence[Sequence[int]],
    copy: bool = False,
    *,
    channel_axis: int | None = None,
) -> Any:
    """Take the border of an image away: the opposite of `pad`.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions or more; the first two are rows and columns, but for `channel_axis`; any strides.
    crop_width : int, (before, after) or ((top, bottom), (left, right))
        So many pixels, at least 0; one row and one column must be left.
    copy : bool, optional
        Whether the result has memory of its own, one element after the other.
    channel_axis : int, optional
        An axis that is not cropped, where it is not the last of three.

    Returns
    -------
    array
        Of the image's kind and dtype; without `copy` a view.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range; the message says which and what was expected.

    See Also
    --------
    pad : Put a border around an image.

    Notes
    -----
    The values are those of `skimage.util.crop` along the two axes. O(1), or O(n) of the result with `copy`; every
    function of this package follows a view's strides without a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> transform.crop(np.arange(12).reshape(3, 4).astype(np.uint8), ((1, 0), (1, 2)))
    array([[5],
           [9]], dtype=uint8)
    """
    source = arrays.take(image, "image")
    shape, axes = source.data.shape, two_axes(source.data, channel_axis, None)
    index = [slice(None)] * len(shape)
    for axis, (before, after) in zip(axes, widths_of(crop_width, "crop_width"), strict=True):
        if before + after >= shape[axis]:
            raise ValueError(f"crop_width must be less than {shape[axis]} in all along axis {axis}, got {crop_width!r}")
        index[axis] = slice(before, shape[axis] - after)
    part = _itself(image, source)[tuple(index)]
    if not _checks.boolean(copy, "copy"):
        return part
    result = source.result(part.shape, [source.data.dtype])
    with source.current():
        result.data[...] = source.data[tuple(index)]
    return result.give_back()


def flip(image: Any, axis: int | Sequence[int] | None = None, *, channel_axis: int | None = None) -> Any:
    """Mirror an image.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions or more; any strides.
    axis : int or sequence of int, optional
        Of an array of rows and columns 0 turns it upside down and 1 left to right. By default both, which turns it by
        180°: the first two axes but for `channel_axis`.
    channel_axis : int, optional
        An axis that is not mirrored, where it is not the last of three.

    Returns
    -------
    array
        Of the image's kind and dtype. A view, but of PyTorch tensors, which have no negative strides, a copy.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range; the message says which and what was expected.

    Notes
    -----
    The values are those of `numpy.flip`. torchvision's ``horizontal_flip`` of (..., H, W) is ``axis=-1``, its
    ``vertical_flip`` ``axis=-2``. O(1); every function of this package follows a view's strides without a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> transform.flip(image, axis=1)
    array([[2, 1, 0],
           [5, 4, 3]], dtype=uint8)
    >>> transform.flip(image)
    array([[5, 4, 3],
           [2, 1, 0]], dtype=uint8)
    """
    source = arrays.take(image, "image")
    axes: Sequence[Any] = two_axes(source.data, channel_axis, None)
    if axis is not None:
        axes = [axis] if np.ndim(axis) == 0 else list(axis)  # type: ignore[arg-type]
        axes = [_checks.axis(_checks.integer(one, "axis"), "axis", source.data.ndim) for one in axes]
        if len(set(axes)) < len(axes):
            raise ValueError(f"axis must name each axis once, got {axis!r}")
        if _checks.axis(channel_axis, "channel_axis", source.data.ndim) in axes:
            raise ValueError(f"axis must not be channel_axis, {channel_axis}, got {axis!r}")
    itself = _itself(image, source)
    if hasattr(itself, "flip"):  # of tensors
        return itself.flip(tuple(axes))
    return itself[tuple(slice(None, None, -1 if i in axes else 1) for i in range(itself.ndim))]


def _itself(image: Any, source: arrays.Source) -> Any:
    """The caller's array, or what NumPy or CuPy makes of another object."""
    return image if isinstance(image, source.view.kind) else source.data
