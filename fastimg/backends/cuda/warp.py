"""Warping on the GPU, by matrices and by coordinates."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import linking, runtime

# As csrc/cuda/warp.cu has them.
AFFINE, PROJECTIVE, EXACT, TABLE, FUNCTION = range(5)
ROW, COLUMN, CHANNEL, BATCH = range(4)
MOST_AXES = BATCH + 5
MATRICES = 32  # to a launch
BLOCK, EXTREMES_BLOCK, PARTS = 256, 1024, 256
TILE_COLUMNS, MOST_TILE_ROWS = 64, 64  # of a block
PIECE = 16  # bytes
MOST_MERGED_AXES = 8

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6}
BORDERS = {"constant": "constant", "edge": "nearest", "symmetric": "reflect", "reflect": "mirror", "wrap": "wrap"}

LONGEST = 2**30 - 1  # samples along an axis: indices beside it must fit 32 bits
FARTHEST = 2.0**29  # coordinates that affine places, 32 bits of them whole, hold with all that is added
LARGEST = 1e280  # products with matrices, so that sums of them are finite

_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(MOST_AXES)),
        ("result", runtime.view_dtype(MOST_AXES)),
        ("table", runtime.view_dtype(3)),
        ("parts", np.uint64),
        ("matrix", np.float64, (MATRICES, 9)),
        ("margin", np.uint64),
        *((name, np.int32) for name in ("matrices", "rows", "columns")),
        ("shape", np.int32, (MOST_AXES,)),
        *((name, np.int32) for name in ("batch_axes", "tiles_across", "tiles_down", "mode")),
        ("result_vectors", np.int32),
        *((name, np.float32) for name in ("constant", "beside", "factor")),
    ],
    align=True,
)
_EXTREMES = np.dtype(
    [
        ("image", runtime.view_dtype(MOST_MERGED_AXES)),
        ("shape", np.int64, (MOST_MERGED_AXES,)),
        ("samples", np.int64),
        ("pieces", np.int64),
        ("parts", np.uint64),
    ],
    align=True,
)


def warp(
    image: Any,
    result: Any,
    matrices: NDArray[np.float64],
    kernel: str,
    mode: str,
    cval: float,
    low: float | None,
    high: float | None,
    threads: int,
) -> None:
    """By one matrix, or one for each image of the first axis. A `low` of None: clipped to the range of the image."""
    parts = _extremes(image) if low is None else None
    size = result.shape[-3:-1]
    for begin in range(0, len(matrices), MATRICES):
        some = slice(begin, begin + MATRICES)
        images = slice(None) if len(matrices) == 1 else some
        kind, places = _map_of(matrices[some], size, kernel == "nearest")
        _launch(image[images], result[images], places, parts, _Job(kind, kernel, mode, cval, len(matrices[some])))


def remap(
    image: Any,
    result: Any,
    coordinates: Any,
    kernel: str,
    mode: str,
    cval: float,
    low: float | None,
    high: float | None,
    threads: int,
) -> None:
    """By coordinates, float32 on the device. A `low` of None: clipped to the range of the image."""
    parts = _extremes(image) if low is None else None
    job = _Job(TABLE, kernel, mode, cval, table=runtime.element_strides(coordinates))
    _launch(image, result, {"table": runtime.address(coordinates)}, parts, job)


def warp_by_function(
    image: Any,
    result: Any,
    function: linking.Linkable,
    parameters: NDArray[np.float64],
    kernel: str,
    mode: str,
    cval: float,
    low: float | None,
    high: float | None,
    threads: int,
) -> None:
    """By a function of a pixel and of parameters, linked into the kernel. A `low` of None: as above."""
    linking.check_parameters(parameters, "inverse_map")
    parts = _extremes(image) if low is None else None
    job = _Job(FUNCTION, kernel, mode, cval, function=function)
    _launch(image, result, {"matrix": parameters}, parts, job)


def _map_of(matrices: NDArray[np.float64], size: tuple[int, int], nearest: bool) -> tuple[int, dict[str, Any]]:
    """How a launch finds places by these matrices, and what it is told of them."""
    reach = np.array([size[1] + TILE_COLUMNS, size[0] + MOST_TILE_ROWS, 1.0])  # of a tile that is cut off, too
    with np.errstate(over="ignore"):
        sums = np.abs(matrices) @ reach
    kind = EXACT
    margin = 0
    if (matrices[:, 2] == (0, 0, 1)).all() and sums.max() < FARTHEST:
        kind = AFFINE
        margin = 8 + math.ceil(float(sums.max()) * 2.0 ** (32 - 49))
    elif not nearest:
        # Divisors of about 1, so that float holds them.
        _, exponents = np.frexp(sums[:, 2])
        with np.errstate(over="ignore"):
            scaled = np.ldexp(matrices, -exponents[:, np.newaxis, np.newaxis])
            if sums[:, 2].all() and (np.abs(scaled) @ reach).max() < LARGEST:
                kind, matrices = PROJECTIVE, scaled
    return kind, {"matrix": matrices, "margin": margin}


@dataclass(frozen=True)
class _Array:
    """What a launch depends on of an array. Its address counts by what it lies `beyond` a multiple of 16 bytes."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    dtype: np.dtype[Any]
    beyond: int

    @classmethod
    def of(cls, array: Any) -> _Array:
        return cls(array.shape, runtime.element_strides(array), array.dtype, runtime.address(array) % PIECE)


@dataclass(frozen=True)
class _Job:
    """What is done to the arrays of a launch, by so many matrices, or a table of these strides, or a function."""

    kind: int
    kernel: str
    mode: str
    cval: float
    matrices: int = 1
    table: tuple[int, ...] = (0, 0, 0)
    function: linking.Linkable | None = None


def _launch(image: Any, result: Any, places: dict[str, Any], parts: Any, job: _Job) -> None:
    launch = _prepared(runtime.here(), _Array.of(image), _Array.of(result), job)
    addresses = {"image": runtime.address(image), "result": runtime.address(result)}
    launch(**addresses, parts=0 if parts is None else runtime.address(parts), **places)


@functools.lru_cache(maxsize=1024)
def _prepared(device: tuple[Any, int], image: _Array, result: _Array, job: _Job) -> runtime.Launch:
    """All of a launch but addresses and matrices."""
    *batch, rows, columns, channels = result.shape
    longest = max(*image.shape[-3:], rows, columns)
    if longest > LONGEST:
        raise ValueError(f"image on a GPU may have at most {LONGEST} samples along an axis, got {longest}")
    packed = channels if _is_packed(image) else 0
    tile_rows = _tile_rows(packed * result.dtype.itemsize)
    tiles = {"tiles_across": -(-columns // TILE_COLUMNS), "tiles_down": -(-rows // tile_rows)}
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" and result.dtype.kind == "f" else 1
    values = {
        **_views(image, result),
        **tiles,
        "table": (0, job.table),
        "matrices": job.matrices,
        "rows": image.shape[-3],
        "columns": image.shape[-2],
        "mode": runtime.BORDER_MODES[BORDERS[job.mode]],
        "result_vectors": _in_pieces(result),
        "constant": job.cval,
        "beside": job.cval / top,
        "factor": 1 / top,
    }
    definitions: dict[str, int | str] = {"IN": runtime.c_type(image.dtype), "OUT": runtime.c_type(result.dtype)}
    definitions |= {"CHANNELS": packed, "TAPS": TAPS[job.kernel], "MAP": job.kind}
    if job.function is None:
        kernel = runtime.kernel("warp", "warp", _PARAMETERS, **definitions)
    else:
        kernel = runtime.linked_kernel(job.function, "warp", "warp", _PARAMETERS, **definitions)
    return kernel.prepared((math.prod(tiles.values()) * math.prod(batch),), (BLOCK,), values)


def _tile_rows(pixel_bytes: int) -> int:
    if pixel_bytes <= 4:
        return MOST_TILE_ROWS
    return MOST_TILE_ROWS // 2 if pixel_bytes < 12 else MOST_TILE_ROWS // 4


def _extremes(image: Any) -> Any:
    """Those of parts of the image, on the device."""
    shape, (strides,) = runtime.merged_axes(image)
    samples = math.prod(shape)
    length = PIECE // image.itemsize
    together = strides == [1] and runtime.address(image) % PIECE == 0
    unused = [0] * (MOST_MERGED_AXES - len(shape))
    parts = runtime.empty((PARTS, 2), np.float32)
    values = {
        "image": (runtime.address(image), (*strides, *unused)),
        "shape": (*shape, *unused),
        "samples": samples,
        "pieces": samples // length if together else 0,
        "parts": runtime.address(parts),
    }
    find = runtime.kernel("warp", "warp_extremes", _EXTREMES, IN=runtime.c_type(image.dtype), AXES=len(shape))
    find((PARTS,), (EXTREMES_BLOCK,), values)
    return parts


def _views(image: _Array, result: _Array) -> dict[str, Any]:
    """Both arrays with the axes in the kernel's order, but for the addresses."""
    *batch, rows, columns, channels = result.shape

    def view(array: _Array) -> tuple[int, tuple[int, ...]]:
        *others, row, column, channel = array.strides
        return 0, (row, column, channel, *others, *[0] * (MOST_AXES - len(array.shape)))

    shape = (rows, columns, channels, *batch, *[1] * (MOST_AXES - len(result.shape)))
    return {"image": view(image), "result": view(result), "shape": shape, "batch_axes": len(batch)}


def _is_packed(image: _Array) -> bool:
    """Whether pixels of 1, 3 or 4 channels lie side by side in rows not too far apart; those of 4 aligned."""
    channels = image.shape[-1]
    *others, column, channel = image.strides
    if channels not in (1, 3, 4) or column != channels or (channels > 1 and channel != 1):
        return False
    if abs(others[-1]) >= 2**31 or channels * image.shape[-2] >= 2**32:
        return False
    return channels < 4 or _all_multiples(image, others, channels * image.dtype.itemsize)


def _in_pieces(result: _Array) -> bool:
    """Whether rows run without gaps, and all begin at a multiple of 16 bytes."""
    channels = result.shape[-1]
    *others, column, channel = result.strides
    dense = column == channels and (channels == 1 or channel == 1)
    return dense and _all_multiples(result, others, PIECE)


def _all_multiples(array: _Array, strides: list[int], size: int) -> bool:
    return array.beyond % size == 0 and all(stride * array.dtype.itemsize % size == 0 for stride in strides)
