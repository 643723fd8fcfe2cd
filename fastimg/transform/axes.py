"""Which axes of an image are rows and columns, and how arrays are handed to the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checks

MOST_CHANNELS = 1024  # that the kernels take together: their scratch grows with them


def two_axes(data: NDArray[Any], channel_axis: int | None, axes: Sequence[int] | None) -> tuple[int, int]:
    """The two axes to resize, rows and columns."""
    _checks.rank(data.ndim, "image", range(2, 8))
    _checks.non_empty(data.shape, "image")
    channel = _checks.axis(channel_axis, "channel_axis", data.ndim)
    if axes is None:
        free = [axis for axis in range(data.ndim) if axis != channel]
        if len(free) < 2:
            raise ValueError(f"image must have 2 axes other than channel_axis, got shape {data.shape}")
        return free[0], free[1]
    if np.ndim(axes) != 1 or len(axes) != 2:
        raise ValueError(f"axes must be two axes (rows, columns), got {axes!r}")
    rows, columns = (_checks.axis(_checks.integer(axis, "axes"), "axes", data.ndim) for axis in axes)
    assert rows is not None
    assert columns is not None
    if rows == columns or channel in (rows, columns):
        raise ValueError(f"axes must be two different axes other than channel_axis, got {tuple(axes)}")
    return rows, columns


def output_size(shape: tuple[int, ...], axes: tuple[int, int], output_shape: Sequence[int]) -> list[int]:
    if np.ndim(output_shape) != 1 or len(output_shape) not in (2, len(shape)):
        raise ValueError(f"output_shape must be (rows, columns) or have {len(shape)} entries, got {output_shape!r}")
    sizes = [_checks.integer(n, "output_shape", at_least=1) for n in output_shape]
    if len(sizes) == 2:
        return sizes
    for axis, n in enumerate(shape):
        if axis not in axes and sizes[axis] != n:
            raise ValueError(f"output_shape must be {n} along axis {axis}, which is not resized, got {sizes[axis]}")
    return [sizes[axis] for axis in axes]


def arranged(
    image: NDArray[Any], result: NDArray[Any], rows: int, columns: int, *, batch: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both arrays as the kernel takes them: a batch, rows, columns, and the channels that lie inside the columns.

    An axis `batch`, of images that are not treated alike, counts as no channels wherever it lies.
    """
    strides = [abs(stride) for stride in image.strides]
    others = [axis for axis in range(image.ndim) if axis not in (rows, columns)]
    inside = [a for a in others if a != batch and 0 < strides[a] < strides[columns] and image.shape[a] <= MOST_CHANNELS]
    if not inside:
        order = [*others, rows, columns]
        return image.transpose(order)[..., np.newaxis], result.transpose(order)[..., np.newaxis]
    channels = min(inside, key=lambda axis: strides[axis])
    order = [*(axis for axis in others if axis != channels), rows, columns, channels]
    return image.transpose(order), result.transpose(order)
