"""Linear BGR to OpenCV's 8-bit Lab and back on the GPU."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime

BLOCK = 256


def opencv_bgr_to_lab(
    bgr: Any, lab: Any, coefficients: Sequence[int], cube_roots: NDArray[np.int32], threads: int
) -> None:
    values = {"coefficients": coefficients, "roots": runtime.address(runtime.constants(cube_roots))}
    _convert("opencv_bgr_to_lab", bgr, lab, values)


def opencv_lab_to_bgr(
    lab: Any,
    bgr: Any,
    coefficients: Sequence[int],
    lightness: NDArray[np.int32],
    cubes: NDArray[np.int32],
    first_cube: int,
    threads: int,
) -> None:
    values = {
        "coefficients": coefficients,
        "lightness": runtime.address(runtime.constants(lightness)),
        "cubes": runtime.address(runtime.constants(cubes)),
        "first_cube": first_cube,
    }
    _convert("opencv_lab_to_bgr", lab, bgr, values)


def _convert(name: str, source: Any, result: Any, values: dict[str, Any]) -> None:
    shape, (from_strides, to_strides) = runtime.merged_axes(source[..., 0], result[..., 0])
    pixels = math.prod(shape)
    values |= {
        "from": (runtime.address(source), from_strides),
        "to": (runtime.address(result), to_strides),
        "from_channel": runtime.element_strides(source)[-1],
        "to_channel": runtime.element_strides(result)[-1],
        "pixels": pixels,
        "shape": shape,
    }
    convert = runtime.kernel("opencv_lab", name, _parameters(len(shape)), AXES=len(shape))
    convert((-(-pixels // BLOCK),), (BLOCK,), values)


@functools.cache
def _parameters(axes: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ("from", runtime.view_dtype(axes)),
            ("to", runtime.view_dtype(axes)),
            ("from_channel", np.int64),
            ("to_channel", np.int64),
            ("pixels", np.int64),
            ("shape", np.int64, (axes,)),
            ("roots", np.uint64),
            ("lightness", np.uint64),
            ("cubes", np.uint64),
            ("first_cube", np.int32),
            ("coefficients", np.int32, (9,)),
        ],
        align=True,
    )
