"""Planes of floats that networks see, from images of every dtype and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def unit(pixels: NDArray[Any]) -> Float32:
    """As float32, integers scaled to [0, 1]."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    return pixels * np.float32(1 / np.iinfo(pixels.dtype).max)


def hand_over(values: Float32, result: NDArray[Any]) -> None:
    """Write in the result's dtype, integers rounded to their full range and clipped, NaN as 0."""
    if result.dtype.kind == "u":
        store(np.nan_to_num(values), result)
    else:
        result[...] = values


def store(values: Float32, result: NDArray[Any]) -> None:
    """Clip to [0, 1] and write in the result's dtype, integers rounded to their full range; overwrites `values`."""
    top = np.float32(1)
    if result.dtype.kind == "u":
        top = np.float32(np.iinfo(result.dtype).max)
        values *= top
        np.rint(values, out=values)
    np.clip(values, 0, top, out=values)
    result[...] = values
