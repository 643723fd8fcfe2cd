"""Non-local means on the GPU."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import linking, runtime

# As csrc/cuda/denoise_nl_means.cu has them.
WARP = 32
WARPS = 4  # in a block of strips
SIDE, THREADS = 64, 512  # of a block of the other kernel: pixels along an axis, threads
MOST_TAPS = 127

GATHERED = 3  # channels that a thread of the other kernel sums up, at most; one fewer where it has to keep most else
BLOCK_MEMORY = 64 << 10  # shared memory of a block, which every device has

_LARGEST = float(np.finfo(np.float32).max)
_SQUARINGS = {"welsch": 0, "epanechnikov": 0, "bisquare": 1, "modified_bisquare": 3}

_OUTER = np.dtype([("planes", np.int32), ("distance", np.int32), ("truncated", np.int32)])
_FIELDS: list[Any] = [
    ("image", runtime.view_dtype(5)),
    ("guide", runtime.view_dtype(5)),
    ("result", runtime.view_dtype(5)),
    ("h", runtime.view_dtype(4)),
    ("sigma", runtime.view_dtype(4)),
    ("outer", _OUTER, (2,)),
    ("first_plane", np.int32),
    ("result_planes", np.int32),
    ("rows", np.int32),
    ("columns", np.int32),
    ("channels", np.int32),
    ("guide_channels", np.int32),
    ("tiles", np.int32),
    ("tiles_across", np.int32),
    ("distance", np.int32),
    ("halves_h", np.int32),
    ("halves_sigma", np.int32),
    ("squarings", np.int32),
    ("to_units", np.float32),
    ("from_units", np.float32),
    ("gain", np.float32),
    ("excess", np.float32),
    ("cutoff", np.float32),
    ("scale", np.float32),
    ("centre", np.float32),
    ("taps", np.float32, (MOST_TAPS,)),
]
_PARAMETERS = np.dtype(_FIELDS, align=True)
_PARAMETERS_WITH_FUNCTION = np.dtype([*_FIELDS, ("of_function", np.float64, (linking.MOST_PARAMETERS,))], align=True)


def denoise_nl_means(
    image: Any,
    guide: Any,
    h: Any,
    sigma: Any,
    result: Any,
    *,
    patch_before: int,
    patch_after: int,
    patch_taps: Sequence[float],
    patch_distance: int,
    truncated: bool,
    outer: Sequence[tuple[bool, int, bool]],
    first_plane: int,
    weighting: Any,
    scale: float,
    excess: float,
    cutoff: float,
    centre: float,
    gain: float,
    threads: int,
) -> None:
    rows, columns, channels = image.shape[2:]
    in_patch = outer[0][0], outer[1][0]
    values = {
        "image": runtime.view_fields(image),
        "result": runtime.view_fields(result),
        "outer": [(n, distance, ends) for n, (_, distance, ends) in zip(image.shape[:2], outer, strict=True)],
        "first_plane": first_plane,
        "result_planes": result.shape[1],
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "distance": patch_distance,
        "gain": gain,
    }
    welsch = isinstance(weighting, str) and weighting == "welsch"
    plain = guide is None and h is None and sigma is None and not patch_taps and welsch
    if plain and centre < 0 and not truncated and not any(in_patch):
        unit = scale * math.log2(math.e)  # of squares: what they are multiplied by for weights to be 2^-sum
        packed = _fits_halves(image.dtype, result.dtype, math.sqrt(unit), excess, cutoff)
        strip = strip_for(channels, patch_before + patch_after + 1, packed)
        if strip is not None:
            _denoise_strips(image, result, strip, patch_before, patch_after, unit, excess, cutoff, values)
            return
    guide = image if guide is None else guide
    general = general_for(
        patch_before,
        patch_after,
        in_patch,
        channels,
        guide.shape[4],
        taps=len(patch_taps) > 0,
        maps=h is not None or sigma is not None,
        welsch=welsch,
        centre=centre >= 0,
        truncated=truncated,
    )
    down, across = -(-rows // SIDE), -(-columns // SIDE)
    values |= {
        "guide": runtime.view_fields(guide),
        "guide_channels": guide.shape[4],
        "tiles": down * across,
        "tiles_across": across,
        "excess": excess,
        "centre": centre,
        **general.threshold(scale, cutoff),
    }
    for name, strengths in (("h", h), ("sigma", sigma)):
        if strengths is not None:
            values |= {name: runtime.view_fields(strengths), f"halves_{name}": strengths.dtype.itemsize == 2}
    if patch_taps:
        values["taps"] = _padded(tuple(patch_taps))
    macros = {
        "IN": runtime.c_type(image.dtype),
        "GUIDE": runtime.c_type(guide.dtype),
        "OUT": runtime.c_type(result.dtype),
        **general.macros,
    }
    file, name = "denoise_nl_means", "denoise_nl_means_any"
    if isinstance(weighting, str):
        values["squarings"] = _SQUARINGS[weighting]
        denoise = runtime.kernel(file, name, _PARAMETERS, **macros)
    else:
        values["of_function"] = _of_function(weighting.parameters)
        denoise = runtime.linked_kernel(weighting.function, file, name, _PARAMETERS_WITH_FUNCTION, **macros, FUNCTION=1)
    grid = result.shape[0] * result.shape[1] * down * across, general.groups
    denoise(grid, (THREADS,), values, shared_memory=general.shared_memory)


# ---- strips ----------------------------------------------------------------------------------------------------------


def _denoise_strips(
    image: Any,
    result: Any,
    strip: Strip,
    patch_before: int,
    patch_after: int,
    unit: float,
    excess: float,
    cutoff: float,
    values: dict[str, Any],
) -> None:
    if image.dtype.kind == "u":
        # Sums of squares are whole numbers: those that equal the cutoff are not to fall beyond it for a rounding error.
        cutoff = math.floor(cutoff + excess) + 0.5 - excess
    macros: dict[str, int | str] = {
        "IN": runtime.c_type(image.dtype),
        "OUT": runtime.c_type(result.dtype),
        "EXCESS": int(excess > 0),
        **strip.macros(patch_before, patch_after),
    }
    denoise = runtime.kernel("denoise_nl_means", "denoise_nl_means_strips", _PARAMETERS, **macros)
    down, across = strip.tiles(image.shape[2], image.shape[3], patch_before, patch_after)
    values |= {
        "tiles": down * across,
        "tiles_across": across,
        "to_units": math.sqrt(unit),
        "from_units": values["gain"] / math.sqrt(unit),
        "excess": min(excess * unit, _LARGEST) / (patch_before + patch_after + 1),
        "cutoff": min(cutoff * unit, _LARGEST),
    }
    denoise((result.shape[0] * result.shape[1] * down * across,), (WARPS * WARP,), values)


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


# ---- everything else -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class General:
    """How `denoise_nl_means_any` is specialised: what a patch covers, and what there is besides plain weights."""

    before: int
    after: int
    in_patch: tuple[bool, bool]
    channels: int
    guide_channels: int
    taps: bool = False
    maps: bool = False
    welsch: bool = True
    centre: bool = False
    truncated: bool = False

    @functools.cached_property
    def groups(self) -> int:
        """Blocks that share the channels of their pixels."""
        return -(-self.channels // (GATHERED - (self.maps and self.centre)))

    @functools.cached_property
    def shared_memory(self) -> int:
        """Bytes of a block, besides what is static."""
        return self._band * self._row + self._sums

    @functools.cached_property
    def macros(self) -> dict[str, int | str]:
        return {
            "STRIPS": 0,
            "BEFORE": self.before,
            "AFTER": self.after,
            "OUTER0": int(self.in_patch[0]),
            "OUTER1": int(self.in_patch[1]),
            "CHANNELS": -(-self.channels // self.groups),
            "GUIDE_CHANNELS": self.guide_channels if self.guide_channels <= GATHERED else 0,
            "TAPS": int(self.taps),
            "MAPS": int(self.maps),
            "WELSCH": int(self.welsch),
            "CENTRE": int(self.centre),
            "TRUNCATED": int(self.truncated),
            "BAND": self._band,
            "MIN_BLOCKS": 2 if self._needs_few_registers else 1,
        }

    def threshold(self, scale: float, cutoff: float) -> dict[str, float]:
        """The scale and the cutoff as the kernel wants them, compared in the order in which the CPU does."""
        if self.taps or self.maps:
            return {"scale": scale, "cutoff": float(np.float32(cutoff) * np.float32(scale))}
        return {"scale": scale * math.log2(math.e) if self.welsch else scale, "cutoff": cutoff}

    @property
    def _needs_few_registers(self) -> bool:
        """Whether 64 do, so that an SM has two blocks: what else a thread keeps or has under way takes more."""
        sums = self.channels == 1 and self.welsch and not (self.maps or self.centre)
        return sums and (not any(self.in_patch) or (not self.in_patch[0] and self.guide_channels == 1))

    @property
    def _under(self) -> int:
        """Pixels under the patches of a block, along an axis."""
        return SIDE + self.before + self.after

    @property
    def _row(self) -> int:
        """Bytes of a row of squared differences."""
        return (self._under | 1) * 4

    @property
    def _sums(self) -> int:
        """Bytes of their sums over columns."""
        return self._under * (SIDE | 1) * 4

    @property
    def _band(self) -> int:
        """Rows of squared differences that a block keeps at a time: all, if there is room for them."""
        planes = sum(self.before + self.after + 1 if deep else 1 for deep in self.in_patch)
        tables = 24 * self._under + 16 * planes + 8 * (SIDE + 1)
        most = (BLOCK_MEMORY - tables - 128 - self._sums) // self._row  # the tables may end beside a multiple of 128
        return -(-self._under // -(-self._under // most))


@functools.cache
def general_for(*arguments: Any, **options: Any) -> General:
    """One for each set of arguments, with what follows from them computed once."""
    return General(*arguments, **options)


@functools.cache
def _padded(taps: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array([*taps, *[0.0] * (MOST_TAPS - len(taps))], np.float32)


def _of_function(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    linking.check_parameters(parameters, "weighting")
    return np.pad(parameters, (0, linking.MOST_PARAMETERS - len(parameters)))
