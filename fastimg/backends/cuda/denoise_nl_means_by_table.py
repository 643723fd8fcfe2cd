"""Non-local means by whole weights from a table on the GPU."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime

# As csrc/cuda/denoise_nl_means_by_table.cu has them.
RUNS = 4  # of pixels across a block
PACKED = 4  # channels that a thread gathers or compares as one, at most

WIDEST_PACKED = 17  # patch whose pixels stay in registers
SPAN_Y, SPAN_X = 7, 24  # offsets for which a block has the guide in shared memory
BLOCK_MEMORY = 48 << 10  # shared memory of a block with the table in it, at most

TOTALS = 96  # registers for sums of weights and of what they weigh, at most

_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(5)),
        ("guide", runtime.view_dtype(5)),
        ("result", runtime.view_dtype(5)),
        ("weights", np.uint64),
        ("weights_end", np.uint32),
        ("shift", np.int32),
        ("planes", np.int32),
        ("first_plane", np.int32),
        ("rows", np.int32),
        ("columns", np.int32),
        ("channels", np.int32),
        ("guide_channels", np.int32),
        ("tiles", np.int32),
        ("tiles_across", np.int32),
        ("distance", np.int32),
        ("temporal_distance", np.int32),
    ],
    align=True,
)


def denoise_nl_means_by_table(
    image: Any,
    guide: Any,
    result: Any,
    *,
    patch_radius: int,
    patch_distance: int,
    temporal_distance: int,
    first_plane: int,
    weights: NDArray[np.int32],
    shift: int,
    decay: float,
    absolute: bool,
    threads: int,
) -> None:
    guide = image if guide is None else guide
    planes, rows, columns, channels = image.shape[1:]
    block = block_for(image.dtype, absolute, patch_radius, channels, guide.shape[4])
    shared = block.shared_memory + weights.nbytes <= BLOCK_MEMORY
    down, across = -(-rows // block.rows), -(-columns // block.columns)
    values = {
        "image": runtime.view_fields(image),
        "guide": runtime.view_fields(guide),
        "result": runtime.view_fields(result),
        "weights": runtime.address(runtime.constants(weights)),
        "weights_end": weights.size - 1,
        "shift": shift,
        "planes": planes,
        "first_plane": first_plane,
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "guide_channels": guide.shape[4],
        "tiles": down * across,
        "tiles_across": across,
        "distance": patch_distance,
        "temporal_distance": temporal_distance,
    }
    denoise = runtime.kernel(
        "denoise_nl_means_by_table", "denoise_nl_means_by_table", _PARAMETERS, **block.macros(shared)
    )
    grid = result.shape[1] * down * across, -(-channels // block.channels)
    denoise(grid, (block.threads,), values, shared_memory=block.shared_memory + shared * weights.nbytes)


@dataclass(frozen=True)
class Block:
    """How the kernel is specialised: blocks that share `channels` of their pixels, compared by `guide_channels`."""

    dtype: np.dtype[Any]
    absolute: bool
    radius: int
    channels: int
    guide_channels: int

    @functools.cached_property
    def columns(self) -> int:
        """Pixels of a row."""
        return self._under - 2 * self.radius

    def macros(self, shared: bool) -> dict[str, int | str]:
        """Where the table is in shared memory, or is not."""
        return {
            "SAMPLE": runtime.c_type(self.dtype),
            "ABSOLUTE": int(self.absolute),
            "RADIUS": self.radius,
            "CHANNELS": self.channels,
            "GUIDE_CHANNELS": self.guide_channels if self.guide_channels <= PACKED else 0,
            "RUN": self.run,
            "THREADS": self.threads,
            "PACKED": int(self.packed),
            "SHARED": int(shared),
            "MIN_BLOCKS": self._groups * 128 // self.threads,
        }

    @functools.cached_property
    def shared_memory(self) -> int:
        """Bytes, besides the table."""
        beyond = RUNS * self.run - self.columns
        pitch = self._under + (4 if beyond <= 4 else 12)
        under_rows = self.rows + 2 * self.radius
        pixels = (under_rows + SPAN_Y - 1) * (self._under + SPAN_X - 1)
        guide = pixels * 4 if self.packed else 2 * under_rows * 8
        return self.rows * pitch * 4 + guide

    @property
    def packed(self) -> bool:
        """Whether what is under the patches of a thread stays in registers, a word for each pixel."""
        return 2 * self.radius < WIDEST_PACKED and self.guide_channels * self.dtype.itemsize <= 4

    @property
    def threads(self) -> int:
        """Of a block."""
        return 128 if self._under <= 128 else 256

    @property
    def rows(self) -> int:
        """Of its pixels."""
        return self.threads // RUNS

    @property
    def run(self) -> int:
        """Pixels of a thread."""
        return -(-self.columns // RUNS) | 1

    @property
    def _groups(self) -> int:
        """Four warps each that are to fit an SM, by what the registers of a thread hold."""
        totals = self.run * (self.channels + 1) * self.dtype.itemsize
        much_under_patches = (self.packed and self.radius > 6) or self.guide_channels * self.dtype.itemsize > 4
        return max((4 if totals <= 34 else 3 if totals <= 60 else 2) - much_under_patches, 2)

    @property
    def _under(self) -> int:
        """Columns under the patches."""
        return -(-(2 * self.radius + 48) // 32) * 32


@functools.cache
def block_for(dtype: np.dtype[Any], absolute: bool, radius: int, channels: int, guide_channels: int) -> Block:
    """One whose sums fit the registers, with what follows from it computed once."""
    run = Block(dtype, absolute, radius, 1, guide_channels).run
    at_once = min(channels, PACKED, TOTALS // (run * dtype.itemsize) - 1)
    groups = -(-channels // at_once)
    return Block(dtype, absolute, radius, -(-channels // groups), guide_channels)
