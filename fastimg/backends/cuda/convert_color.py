"""Colours as linear maps on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import runtime

BLOCK = 256
PIXELS = 4  # to a thread
MOST_AXES = 8

_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(MOST_AXES)),
        ("result", runtime.view_dtype(MOST_AXES)),
        ("image_channel", np.int64),
        ("result_channel", np.int64),
        ("pixels", np.int64),
        ("shape", np.int64, (MOST_AXES,)),
        ("matrix", np.float64, (3, 3)),
        ("offset", np.float64, (3,)),
        ("margin", np.float32),
        ("image_layout", np.int32),
        ("result_layout", np.int32),
    ],
    align=True,
)

# As csrc/cuda/convert_color.cu numbers them.
ANY, INTERLEAVED, PLANES = range(3)


def convert_color(
    image: Any, result: Any, matrix: Sequence[Sequence[float]], offset: Sequence[float], threads: int
) -> None:
    shape, (from_strides, to_strides) = runtime.merged_axes(image[..., 0], result[..., 0])
    pixels = int(np.prod(shape, dtype=np.int64))
    channels = image.shape[-1], result.shape[-1]
    convert = runtime.kernel(
        "convert_color",
        "convert_color",
        _PARAMETERS,
        IN=runtime.c_type(image.dtype),
        OUT=runtime.c_type(result.dtype),
        FROM=channels[0],
        TO=channels[1],
        AXES=len(shape),
    )
    unused = [0] * (MOST_AXES - len(shape))
    sizes = np.abs(np.array(matrix)).sum(axis=1) * (255 if image.dtype.itemsize == 1 else 65535) + np.abs(offset)
    values = {
        "image": (runtime.address(image), (*from_strides, *unused)),
        "result": (runtime.address(result), (*to_strides, *unused)),
        "image_channel": runtime.element_strides(image)[-1],
        "result_channel": runtime.element_strides(result)[-1],
        "pixels": pixels,
        "shape": (*shape, *unused),
        "matrix": matrix,
        "offset": offset,
        "margin": float(sizes.max()) * (channels[0] + 2) * 2**-24,  # what a sum in float may be off
        "image_layout": _layout(image, from_strides),
        "result_layout": _layout(result, to_strides),
    }
    convert((-(-pixels // (BLOCK * PIXELS)),), (BLOCK,), values)


def _layout(array: Any, strides: Sequence[int]) -> int:
    """How four neighbouring pixels may be read at once, if they can."""
    if len(strides) > 1 or runtime.address(array) % (PIXELS * array.itemsize):
        return ANY
    channels, channel_stride = array.shape[-1], runtime.element_strides(array)[-1]
    if strides[0] == channels and (channel_stride == 1 or channels == 1):
        return INTERLEAVED
    return PLANES if strides[0] == 1 and channel_stride % PIXELS == 0 else ANY
