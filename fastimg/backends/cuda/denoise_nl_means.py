"""Non-local means on the GPU."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import runtime

_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(3)),
        ("result", runtime.view_dtype(3)),
        ("rows", np.int32),
        ("columns", np.int32),
        ("channels", np.int32),
        ("tiles_across", np.int32),
        ("patch_before", np.int32),
        ("patch_after", np.int32),
        ("distance", np.int32),
        ("to_units", np.float32),
        ("from_units", np.float32),
        ("gain", np.float32),
        ("excess", np.float32),
        ("cutoff", np.float32),
    ],
    align=True,
)

# As csrc/cuda/denoise_nl_means.cu has them.
WARP = 32
WARPS = 4  # in a block of strips
SIDE, THREADS, GATHERED = 64, 512, 3  # of a block of the other kernel: pixels along an axis, threads, channels

_LARGEST = float(np.finfo(np.float32).max)


def denoise_nl_means(
    image: Any,
    result: Any,
    *,
    patch_before: int,
    patch_after: int,
    patch_distance: int,
    scale: float,
    excess: float,
    cutoff: float,
    gain: float,
    threads: int,
) -> None:
    rows, columns, channels = image.shape
    patch = patch_before + patch_after + 1
    unit = scale * math.log2(math.e)  # of squares: what they are multiplied by for weights to be 2^-sum
    strip = strip_for(channels, patch, packed=_fits_halves(image.dtype, result.dtype, math.sqrt(unit), excess, cutoff))
    if image.dtype.kind == "u":
        # Sums of squares are whole numbers: those that equal the cutoff are not to fall beyond it for a rounding error.
        cutoff = math.floor(cutoff + excess) + 0.5 - excess
    values = {
        "image": runtime.view_fields(image),
        "result": runtime.view_fields(result),
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "patch_before": patch_before,
        "patch_after": patch_after,
        "distance": patch_distance,
        "to_units": math.sqrt(unit),
        "from_units": gain / math.sqrt(unit),
        "gain": gain,
        "excess": min(excess * unit, _LARGEST),
        "cutoff": min(cutoff * unit, _LARGEST),
    }
    types: dict[str, int | str] = {"IN": runtime.c_type(image.dtype), "OUT": runtime.c_type(result.dtype)}
    types["EXCESS"] = int(excess > 0)
    if strip is not None:
        macros = types | strip.macros(patch_before, patch_after)
        denoise = runtime.kernel("denoise_nl_means", "denoise_nl_means_strips", _PARAMETERS, **macros)
        down, across = strip.tiles(rows, columns, patch_before, patch_after)
        values |= {"tiles_across": across, "excess": values["excess"] / patch}
        denoise((down * across,), (WARPS * WARP,), values)
    else:
        denoise = runtime.kernel("denoise_nl_means", "denoise_nl_means_any", _PARAMETERS, STRIPS=0, **types)
        down, across = -(-rows // SIDE), -(-columns // SIDE)
        grid = down * across, -(-channels // GATHERED)
        denoise(grid, (THREADS,), values | {"tiles_across": across}, shared_memory=shared_memory(patch))


def _fits_halves(image: Any, result: Any, to_units: float, excess: float, cutoff: float) -> bool:
    """Whether halves, of 11 bits, do for a mean: with them it is off by a level at most.

    Weighted samples of a column of offsets are to stay below 65504, a level above what halves distinguish, and the
    excess is not to be so large that little remains of a distance.
    """
    return image.itemsize == result.itemsize == 1 and 2**-18 <= to_units <= 2**3 and excess <= cutoff


@dataclass(frozen=True)
class Strip:
    """How `denoise_nl_means_strips` is specialised.

    `columns` and `rows` of pixels are a thread's, each two pixels if they are `packed` as halves; `steps` offsets are
    taken between moves of its window; a tile serves `span_y` by `span_x` offsets; `blocks` are to fit an SM.
    """

    packed: bool
    channels: int
    columns: int
    rows: int
    steps: int
    span_y: int
    span_x: int
    blocks: int

    def macros(self, before: int, after: int) -> dict[str, int]:
        return {
            "STRIPS": 1,
            "PACKED": int(self.packed),
            "CHANNELS": self.channels,
            "BEFORE": before,
            "AFTER": after,
            "COLUMNS": self.columns,
            "ROWS": self.rows,
            "STEPS": self.steps,
            "SPAN_Y": self.span_y,
            "SPAN_X": self.span_x,
            "MIN_BLOCKS": self.blocks,
        }

    def tiles(self, rows: int, columns: int, before: int, after: int) -> tuple[int, int]:
        """Blocks down and across an image. Lanes whose patches reach out of the warp have no results."""
        lanes = WARP - -(-before // self.columns) - -(-after // self.columns)
        return -(-rows // (WARPS * self.rows * (1 + self.packed))), -(-columns // (lanes * self.columns))


@functools.cache
def strip_for(channels: int, patch: int, packed: bool) -> Strip | None:
    """The strips for an image and a patch: what the registers hold, sparing instructions; None where they do not."""
    if channels == 1 and patch <= 16:
        if packed:
            return Strip(True, 1, columns=2, rows=6, steps=3, span_y=23, span_x=24, blocks=3 if patch <= 8 else 2)
        rows = 6 if patch <= 4 or 7 <= patch <= 10 else 5
        return Strip(False, 1, columns=4, rows=rows, steps=3, span_y=23, span_x=24, blocks=3 if patch <= 6 else 2)
    if channels in (2, 3) and patch <= 10:
        if packed and patch <= 9:  # in a sum of more squares than 256 halves lose too much
            blocks = 3 if patch <= 6 else 2
            return Strip(True, channels, columns=1, rows=6, steps=2, span_y=23, span_x=24, blocks=blocks)
        rows, steps = 6 if patch <= 6 else 5, 2 if patch <= 7 else 1
        return Strip(False, channels, columns=2, rows=rows, steps=steps, span_y=12, span_x=24, blocks=2)
    return None


def shared_memory(patch: int) -> int:
    """Bytes of a block of `denoise_nl_means_any`: a row of sums for each row of its pixels."""
    return SIDE * ((SIDE + patch - 1) | 1) * 4
