"""Resizing on the GPU."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import runtime

# As csrc/cuda/resize.cu has them.
KERNELS = {kernel: number for number, kernel in enumerate(("nearest", "bilinear", "bicubic", "lanczos2", "lanczos3"))}
ROW, COLUMN, CHANNEL, BATCH = range(4)
MOST_AXES = BATCH + 5
BLOCK, WEIGHTS_BLOCK = 256, 128

RADII = {"nearest": 0.5, "bilinear": 1.0, "bicubic": 2.0, "lanczos2": 2.0, "lanczos3": 3.0}
GAINS = {"nearest": 1.0, "bilinear": 1.0, "bicubic": 1.26, "lanczos2": 1.26, "lanczos3": 1.6}  # of |weights|, at most
BORDERS = {"edge": "nearest", "symmetric": "reflect", "reflect": "mirror"}  # NumPy's names to SciPy's

LONGEST = 2**30 - 1  # samples along an axis: indices beside it must fit 32 bits
UNROLLED = (2, 4, 6, 8)  # taps with a kernel of their own
CHANNEL_PARTS = (1, 2, 3, 4, 8, 16, 32)
TILE_ROWS = (16, 8, 4, 2)
SHARED_WANTED, SHARED_AT_MOST = 32 << 10, 60 << 10  # every device has as much

_AXIS = np.dtype(
    [
        *((name, np.int32) for name in ("length", "output_length", "window", "width", "kernel", "mode")),
        *((name, np.float64) for name in ("scale", "stretch", "radius")),
        *((name, np.uint64) for name in ("first", "weight", "exact")),
    ],
    align=True,
)
_WEIGHTS = np.dtype([("axes", _AXIS, (2,)), ("integers", np.int32)], align=True)
_WINDOWS = np.dtype(
    [
        *((name, np.uint64) for name in ("first", "weight", "exact")),
        ("width", np.int32),
        ("size", np.int32),
        ("margin", np.float32),
    ],
    align=True,
)
_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(MOST_AXES)),
        ("result", runtime.view_dtype(MOST_AXES)),
        ("rows", _WINDOWS),
        ("columns", _WINDOWS),
        ("shape", np.int32, (MOST_AXES,)),
        *((name, np.int32) for name in ("batch_axes", "tiles_across", "tiles_down", "channel_parts")),
        *((name, np.int32) for name in ("tile_rows", "pitch", "axis")),
        ("factor", np.float32),
    ],
    align=True,
)


def resize(
    image: Any,
    result: Any,
    row_scale: float,
    column_scale: float,
    kernel: str,
    anti_aliasing: bool,
    mode: str,
    columns_first: bool,
    threads: int,
) -> None:
    whole = result.dtype.kind == "u"
    rows = _axis(image.shape[-3], result.shape[-3], row_scale, kernel, anti_aliasing, mode)
    columns = _axis(image.shape[-2], result.shape[-2], column_scale, kernel, anti_aliasing, mode)
    memory, windows = _weights(rows, columns, whole)  # the memory must live until all has been launched
    values = {
        "rows": rows.windows(windows[0], result.dtype),
        "columns": columns.windows(windows[1], result.dtype),
        "factor": 1.0 / float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" and not whole else 1.0,
    }
    tiling = _tiling(rows, columns, result.shape[-1], columns_first, 2 if result.dtype == np.uint16 else 4)
    if tiling is None:
        _pass_by_pass(image, result, values, columns_first)
    else:
        _both_passes(image, result, values, columns_first, tiling)
    del memory


@dataclass(frozen=True)
class _Axis:
    length: int
    size: int  # output samples
    scale: float
    stretch: float
    kernel: str
    mode: str

    @property
    def radius(self) -> float:
        same = self.scale == 1 and self.length == self.size  # every sample is taken as it is
        return 0.5 if same else RADII[self.kernel] / self.stretch

    @functools.cached_property
    def window(self) -> int:
        """The most samples that the kernel reaches from anywhere."""
        if self.radius == 0.5:
            return 1
        if self.kernel == "nearest":
            return math.floor(2 * self.radius) + 2
        return math.ceil(2 * self.radius - 1e-9)

    @property
    def width(self) -> int:
        """The most samples of the image that a window has."""
        return min(self.window, self.length)

    def span(self, outputs: int) -> int:
        """The most samples of the image that so many neighbouring outputs need."""
        return min(self.length, math.floor((min(outputs, self.size) - 1) / self.scale) + 2 + self.width)

    @functools.cached_property
    def binary(self) -> bool:
        """Whether weights are known to be multiples of 2^-15, so that sums of uint8 are exact in float32."""
        if self.window == 1:
            return True
        exponent = math.log2(self.scale)
        degree = {"nearest": 0, "bilinear": 1, "bicubic": 3}.get(self.kernel)
        if exponent != round(exponent) or degree is None:
            return False
        places = 1 if exponent < 0 and self.stretch == 1 else 1 + abs(exponent)  # of the kernel's argument
        return degree * places + degree // 3 - math.log2(self.stretch) <= 15

    def windows(self, addresses: tuple[int, int, int], dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """As a value of `Windows`."""
        exact = self.binary or dtype != np.uint8
        margin = 0.0 if exact else (self.width + 2) * 2**-24 * GAINS[self.kernel] * 255
        return (*addresses, self.width, self.size, margin)


@functools.lru_cache(maxsize=256)
def _axis(length: int, size: int, scale: float, kernel: str, anti_aliasing: bool, mode: str) -> _Axis:
    if max(length, size) > LONGEST:
        raise ValueError(f"on a GPU images have at most {LONGEST} samples along an axis, got {max(length, size)}")
    return _Axis(length, size, scale, min(scale, 1.0) if anti_aliasing else 1.0, kernel, BORDERS[mode])


def _weights(rows: _Axis, columns: _Axis, whole: bool) -> tuple[Any, list[tuple[int, int, int]]]:
    """Memory with the weights of both axes, and where each has its own: first samples, weights, exact weights."""
    counts = [axis.width * axis.size for axis in (rows, columns)]
    memory = runtime.empty((12 * sum(counts) + 4 * (rows.size + columns.size),), np.uint8)
    exact = runtime.address(memory)
    weight = exact + 8 * sum(counts)
    first = weight + 4 * sum(counts)
    places = [
        (first, weight, exact),
        (first + 4 * rows.size, weight + 4 * counts[0], exact + 8 * counts[0]),
    ]
    axes = [
        (
            *(axis.length, axis.size, axis.window, axis.width, KERNELS[axis.kernel], runtime.BORDER_MODES[axis.mode]),
            *(axis.scale, axis.stretch, axis.radius),
            *place,
        )
        for axis, place in zip((rows, columns), places, strict=True)
    ]
    write = runtime.kernel("resize", "resize_weights", _WEIGHTS)
    write((-(-(rows.size + columns.size) // WEIGHTS_BLOCK),), (WEIGHTS_BLOCK,), {"axes": axes, "integers": whole})
    return memory, places


# ---- both passes in a launch -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tiling:
    channels: int  # side by side in a tile
    rows: int
    pitch: int
    taps: int
    shared_memory: int


@functools.lru_cache(maxsize=256)
def _tiling(rows: _Axis, columns: _Axis, channels: int, columns_first: bool, itemsize: int) -> _Tiling | None:
    """The largest tile whose lines between the passes fit shared memory, if any does."""
    part = next((part for part in CHANNEL_PARTS if part >= channels), CHANNEL_PARTS[-1])
    taps = rows.width if rows.width == columns.width and rows.width in UNROLLED else 0
    for at_most in (SHARED_WANTED, SHARED_AT_MOST):
        for tile_rows in TILE_ROWS:
            pitch = BLOCK if columns_first else columns.span(BLOCK // part) * part
            shared_memory = (rows.span(tile_rows) if columns_first else tile_rows) * pitch * itemsize
            if shared_memory <= at_most:
                return _Tiling(part, tile_rows, pitch, taps, shared_memory)
    return None


def _both_passes(image: Any, result: Any, values: dict[str, Any], columns_first: bool, tiling: _Tiling) -> None:
    *batch, rows, columns, channels = result.shape
    grid = {
        "tiles_across": -(-columns // (BLOCK // tiling.channels)),
        "tiles_down": -(-rows // tiling.rows),
        "channel_parts": -(-channels // tiling.channels),
    }
    *_, column_stride, channel_stride = runtime.element_strides(image)
    dense = tiling.channels == channels == column_stride and (channels == 1 or channel_stride == 1)
    resize = runtime.kernel(
        "resize",
        "resize",
        _PARAMETERS,
        IN=runtime.c_type(image.dtype),
        OUT=runtime.c_type(result.dtype),
        CHANNELS=tiling.channels,
        DENSE=int(dense),
        COLUMNS_FIRST=int(columns_first),
        TAPS=tiling.taps,
    )
    resize(
        (math.prod(grid.values()) * math.prod(batch),),
        (BLOCK,),
        {**values, **_views(image, result), **grid, "tile_rows": tiling.rows, "pitch": tiling.pitch},
        tiling.shared_memory,
    )


# ---- a pass to a launch ----------------------------------------------------------------------------------------------


def _pass_by_pass(image: Any, result: Any, values: dict[str, Any], columns_first: bool) -> None:
    *batch, rows, columns, channels = result.shape
    size = (image.shape[-3], columns) if columns_first else (rows, image.shape[-2])
    between = runtime.empty((*batch, *size, channels), np.uint16 if result.dtype == np.uint16 else np.float32)
    definitions: dict[str, int | str] = {"IN": runtime.c_type(image.dtype), "OUT": runtime.c_type(result.dtype)}
    axes = (COLUMN, ROW) if columns_first else (ROW, COLUMN)
    steps = (("resize_first_pass", image, between, axes[0], 1.0),
             ("resize_second_pass", between, result, axes[1], values["factor"]))  # fmt: skip
    for name, source, target, axis, factor in steps:
        across = -(-target.shape[-2] * channels // BLOCK)
        blocks = across * target.shape[-3] * math.prod(batch)
        one_pass = {**values, **_views(source, target), "tiles_across": across, "axis": axis, "factor": factor}
        runtime.kernel("resize", name, _PARAMETERS, **definitions)((blocks,), (BLOCK,), one_pass)


def _views(image: Any, result: Any) -> dict[str, Any]:
    """Both arrays with the axes in the kernel's order."""
    *batch, rows, columns, channels = result.shape

    def view(array: Any) -> tuple[int, tuple[int, ...]]:
        *others, row, column, channel = runtime.element_strides(array)
        return runtime.address(array), (row, column, channel, *others, *[0] * (MOST_AXES - array.ndim))

    shape = (rows, columns, channels, *batch, *[1] * (MOST_AXES - result.ndim))
    return {"image": view(image), "result": view(result), "shape": shape, "batch_axes": len(batch)}
