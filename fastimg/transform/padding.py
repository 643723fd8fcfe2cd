"""Images with a border around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _checks, arrays
from .projective import AffineTransform
from .warping import warp, warped_axes

__all__ = ["pad"]


def pad(
    image: Any,
    pad_width: int | Sequence[int] | Sequence[Sequence[int]],
    mode: str = "constant",
    *,
    cval: float = 0.0,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Put a border around an image.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions or more; the first two are rows and columns, but for `channel_axis`; any strides.
    pad_width : int, (before, after) or ((top, bottom), (left, right))
        So many pixels, at least 0.
    mode : {"constant", "edge", "symmetric", "reflect", "wrap"}, optional
        What the border shows, under NumPy's names, as in `warp`.
    cval : float, optional
        For ``mode="constant"``, in the image's units.
    channel_axis : int, optional
        An axis that is not padded, where it is not the last of three.
    out : array, optional
        Where the result goes; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the image's kind and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range; the message says which and what was expected.

    See Also
    --------
    crop : Take the border of an image away.

    Notes
    -----
    The values are those of `numpy.pad` along the two axes; PyTorch tensors stay tensors. O(n) of the result.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> transform.pad(np.array([[1, 2, 3]], np.uint8), ((0, 0), (2, 1)), "reflect")
    array([[3, 2, 1, 2, 3, 2]], dtype=uint8)
    """
    source = arrays.take(image, "image")
    rows, columns = (source.data.shape[axis] for axis in warped_axes(source.data, channel_axis, False))
    (top, bottom), (left, right) = widths_of(pad_width, "pad_width")
    move = AffineTransform(translation=(-left, -top))
    shape = (rows + top + bottom, columns + left + right)
    options: dict[str, Any] = {"channel_axis": channel_axis, "out": out, "threads": threads}
    return warp(image, move, None, shape, 0, mode, cval, preserve_range=True, **options)


def widths_of(value: Any, name: str) -> list[list[int]]:
    """((top, bottom), (left, right)) of what `numpy.pad` takes."""
    try:
        pairs = np.broadcast_to(np.asarray(value, dtype=object), (2, 2)).tolist()
    except ValueError:
        raise ValueError(
            f"{name} must be an integer, (before, after) or ((top, bottom), (left, right)), got {value!r}"
        ) from None
    return [[_checks.integer(width, name, at_least=0) for width in pair] for pair in pairs]
