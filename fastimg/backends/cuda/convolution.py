"""What conv2d and conv_transpose2d share on the GPU: the choice of a kernel, its tile and its grid."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import runtime

__all__ = ["Axis", "Geometry", "Layer", "Plan", "convolve", "geometry_of", "planned"]

# As csrc/cuda/support/convolution.cuh has them.
CELLS = 4  # of a run
TILE_X, LANES_Y = 32, 4  # cells of a tile along x, runs of a warp one below the other
WARP, LEAST_WARPS, MOST_WARPS = 32, 4, 8  # fewer than the least take as long
ANY_BLOCK, ANY_OUTPUTS, ANY_ROWS, ANY_COLUMNS = 128, 8, 16, 32
ACTIVATIONS = {None: 0, "relu": 1, "leaky_relu": 2, "prelu": 2}
BORDERS = {
    mode: runtime.BORDER_MODES[name]
    for mode, name in {"zeros": "constant", "replicate": "nearest", "reflect": "mirror"}.items()
}

MOST_OUTPUTS = 8  # of a warp: 64 sums in a lane of a plain convolution
MOST_SETS = 4  # in a block: more would leave it few rows, and with them much margin
MOST_NUMBERS = 100  # sums and inputs of a lane, in registers
MOST_UNROLLED = 4096  # multiply-adds
MOST_CHANNELS = 8  # of a stage
SHARED_MEMORY = 48 << 10  # what every device lets a block have, and all but sm_75 two of them
BLOCKS_AT_ONCE = 264  # two for each multiprocessor of the largest device
MOST_BLOCKS = 2**31 - 1
LONGEST = 2**30  # rows or columns: indices beside them must fit 32 bits

_PARAMETERS = np.dtype(
    [
        ("x", runtime.view_dtype(4)),
        ("out", runtime.view_dtype(4)),
        ("weight", runtime.view_dtype(4)),
        ("weight_group", np.int64),
        ("bias", np.uint64),
        ("slope", np.uint64),
        ("size", np.int32, (2,)),
        ("out_size", np.int32, (2,)),
        ("groups", np.int32),
        ("inputs", np.int32),
        ("outputs", np.int32),
        ("first", np.int32, (2,)),
        ("tiles", np.int32, (2,)),
        ("output_tiles", np.int32),
        ("sets", np.int32),
        ("bands", np.int32),
        ("border", np.int32),
        ("activation", np.int32),
        ("x_vectors", np.int32),
        ("out_vectors", np.int32),
        ("phases", np.int32, (2,)),
        ("taps", np.int32, (2,)),
        ("stride", np.int32, (2,)),
        ("padding", np.int32, (2,)),
        ("dilation", np.int32, (2,)),
    ],
    align=True,
)

_Pair = tuple[int, int]

_MARGIN = 0.1  # of the time of a row is for its copy


@dataclass(frozen=True)
class Axis:
    """One axis of a kernel for tiles, as `Axis` in the kernel's file has it.

    `first` is the first input that the first cell reads.
    """

    taps: int
    places: int
    step: int
    reach: int
    first: int

    @property
    def read(self) -> int:
        """Inputs of a run, in registers."""
        return -(-((CELLS - 1) * self.step + self.reach + 1) // 4) * 4

    @property
    def columns(self) -> int:
        """Of a tile's input."""
        return -(-((TILE_X - 1) * self.step + self.reach + 1) // 4) * 4

    def rows(self, cells: int) -> int:
        """Of the input of so many cells."""
        return (cells - 1) * self.step + self.reach + 1


@dataclass(frozen=True)
class Geometry:
    """The numbers of a layer, [0] along y and [1] along x, and what its arrays look like."""

    shape: tuple[int, ...]  # of x
    out_shape: tuple[int, ...]
    taps: _Pair
    stride: _Pair
    padding: _Pair
    dilation: _Pair
    groups: int
    x_strides: tuple[int, ...]
    x_misalignment: int  # of the first sample, within 16 bytes
    out_strides: tuple[int, ...]
    out_misalignment: int

    @property
    def inputs(self) -> int:
        return self.shape[1] // self.groups

    @property
    def outputs(self) -> int:
        return self.out_shape[1] // self.groups


@dataclass(frozen=True)
class Layer:
    """A kind of convolution with its numbers: what its file in csrc/cuda is specialised by.

    `axes` are those of the kernel for tiles, None where it cannot be; `phases` those of the kernel for any arguments.
    """

    operation: str
    geometry: Geometry
    axes: tuple[Axis, Axis] | None
    phases: _Pair
    definitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Tile:
    """How the kernel for tiles is specialised and launched."""

    outputs: int  # of a warp
    runs: int
    channels: int  # of a stage
    sets: int
    bands: int
    shared_memory: int

    @property
    def threads(self) -> int:
        return WARP * self.sets * self.bands


@dataclass(frozen=True, eq=False)
class Plan:
    """A launch, but for the addresses of the arrays."""

    kernel: str
    definitions: dict[str, int]
    blocks: int  # of one image
    threads: int
    shared_memory: int
    values: dict[str, Any]


def geometry_of(
    x: Any, out: Any, taps: Sequence[int], stride: _Pair, padding: _Pair, dilation: _Pair, groups: int
) -> Geometry:
    return Geometry(
        tuple(x.shape),
        tuple(out.shape),
        (taps[0], taps[1]),
        (stride[0], stride[1]),
        (padding[0], padding[1]),
        (dilation[0], dilation[1]),
        groups,
        runtime.element_strides(x),
        runtime.address(x) % 16,
        runtime.element_strides(out),
        runtime.address(out) % 16,
    )


def convolve(
    plan: Plan,
    x: Any,
    weight: Any,
    weight_group: int,
    bias: Any,
    padding_mode: str,
    activation: str | None,
    slope: Any,
    out: Any,
) -> None:
    """Launch; `weight` has its axes in the order output, input, y, x, `weight_group` elements from group to group."""
    constants = {
        "weight": runtime.address(weight),
        "bias": 0 if bias is None else runtime.address(bias),
        "slope": 0 if slope is None else runtime.address(slope),
    }
    images = MOST_BLOCKS // plan.blocks
    for begin in range(0, x.shape[0], images):
        some, filled = x[begin : begin + images], out[begin : begin + images]
        strides = tuple(map(runtime.element_strides, (some, filled, weight)))
        launch = _prepared(runtime.here(), plan, some.shape[0], strides, weight_group, padding_mode, activation)
        launch(x=runtime.address(some), out=runtime.address(filled), **constants)


@functools.lru_cache(maxsize=1024)
def _prepared(
    device: tuple[Any, int],
    plan: Plan,
    images: int,
    strides: tuple[tuple[int, ...], ...],
    weight_group: int,
    padding_mode: str,
    activation: str | None,
) -> runtime.Launch:
    """All of a launch but the addresses; strides are those of x, out and weight."""
    kernel = runtime.kernel(plan.kernel.removesuffix("_any"), plan.kernel, _PARAMETERS, **plan.definitions)
    values = {
        **plan.values,
        **{name: (0, of_array) for name, of_array in zip(("x", "out", "weight"), strides, strict=True)},
        "weight_group": weight_group,
        "border": BORDERS[padding_mode],
        "activation": ACTIVATIONS[activation],
    }
    return kernel.prepared((plan.blocks * images,), (plan.threads,), values, plan.shared_memory)


def planned(layer: Layer) -> Plan:
    """Tiles where they can be, else the kernel for any arguments."""
    for n in (*layer.geometry.shape[2:], *layer.geometry.out_shape[2:]):
        if n > LONGEST:
            raise ValueError(f"x and the result on a GPU may have at most {LONGEST} rows and columns, got {n}")
    tile = layer.axes and choose_tile(layer.geometry, *layer.axes)
    return _tiled(layer, *layer.axes, tile) if layer.axes and tile else _any(layer)


def choose_tile(geometry: Geometry, y: Axis, x: Axis) -> Tile | None:
    """A specialisation whose sums stay in registers and whose stages fit shared memory, if there is one."""
    places = y.places * x.places
    for runs, outputs in _shapes_of_sums(places, geometry.outputs):
        unrolled = outputs * runs * CELLS * x.taps * (y.taps * places // x.places if y.places > 1 else 1)
        if runs * (x.read + outputs * places * CELLS) > MOST_NUMBERS or unrolled > MOST_UNROLLED:
            continue
        all_sets = -(-geometry.outputs // outputs)
        sets = -(-all_sets // -(-all_sets // MOST_SETS))
        cells = [-(-n // axis.places) for n, axis in zip(geometry.out_shape[2:], (y, x), strict=True)]
        columns = -(-cells[1] // TILE_X) * -(-all_sets // sets) * geometry.groups * geometry.shape[0]
        for bands in _numbers_of_bands(cells[0], runs * LANES_Y, columns, sets, y.reach):
            weights = sets * y.taps * -(-x.taps * outputs // 4) * 4
            channel = 4 * (y.rows(bands * runs * LANES_Y) * x.columns + weights)
            channels = min(SHARED_MEMORY // 2 // channel, MOST_CHANNELS, geometry.inputs)
            if channels:
                channels = -(-geometry.inputs // -(-geometry.inputs // channels))  # as even as can be
                stages = 2 if channels < geometry.inputs else 1
                return Tile(outputs, runs, channels, sets, bands, stages * channels * channel)
    return None


def _numbers_of_bands(rows: int, band_rows: int, columns: int, sets: int, reach: int) -> list[int]:
    """Bands of a block to try, by the time until the last of all blocks is done; of equals the larger tile first."""

    def time(bands: int) -> float:
        blocks = columns * -(-rows // (bands * band_rows))
        return -(-blocks // BLOCKS_AT_ONCE) * (max(bands, LEAST_WARPS / sets) * band_rows + _MARGIN * reach)

    return sorted(range(min(MOST_WARPS // sets, -(-rows // band_rows)), 0, -1), key=time)


def _shapes_of_sums(places: int, outputs: int) -> Iterable[tuple[int, int]]:
    """Runs and output channels of a warp to try, the best first; outputs are dealt out as evenly as can be."""
    most = max(1, min(outputs, MOST_OUTPUTS // places))
    for runs in (2, 1):
        for n in range(most, 0, -1):
            yield runs, -(-outputs // -(-outputs // n))


def _tiled(layer: Layer, y: Axis, x: Axis, tile: Tile) -> Plan:
    geometry = layer.geometry
    first = y.first, x.first
    tiles = (
        -(-geometry.out_shape[2] // (y.places * tile.bands * tile.runs * LANES_Y)),
        -(-geometry.out_shape[3] // (x.places * TILE_X)),
    )
    output_tiles = -(-geometry.outputs // (tile.outputs * tile.sets))
    specialised = {"OUTPUTS": tile.outputs, "RUNS": tile.runs, "CHANNELS": tile.channels}
    values = {
        **_common_values(geometry, tiles, output_tiles, (1, 1)),
        "first": first,
        "sets": tile.sets,
        "bands": tile.bands,
        "x_vectors": first[1] % 4 == 0
        and x.step * TILE_X % 4 == 0
        and _in_pieces(geometry.shape, geometry.x_strides, geometry.x_misalignment),
        "out_vectors": _in_pieces(geometry.out_shape, geometry.out_strides, geometry.out_misalignment),
    }
    blocks = tiles[0] * tiles[1] * output_tiles * geometry.groups
    definitions = {**dict(layer.definitions), **specialised}
    return Plan(layer.operation, definitions, blocks, tile.threads, tile.shared_memory, values)


def _any(layer: Layer) -> Plan:
    geometry, phases = layer.geometry, layer.phases
    cells = [-(-n // phase) for n, phase in zip(geometry.out_shape[2:], phases, strict=True)]
    tiles = -(-cells[0] // ANY_ROWS), -(-cells[1] // ANY_COLUMNS)
    output_tiles = -(-geometry.outputs // ANY_OUTPUTS)
    values = _common_values(geometry, tiles, output_tiles, phases)
    blocks = tiles[0] * tiles[1] * phases[0] * phases[1] * output_tiles * geometry.groups
    return Plan(f"{layer.operation}_any", {}, blocks, ANY_BLOCK, 0, values)


def _common_values(geometry: Geometry, tiles: _Pair, output_tiles: int, phases: _Pair) -> dict[str, Any]:
    return {
        "size": geometry.shape[2:],
        "out_size": geometry.out_shape[2:],
        "groups": geometry.groups,
        "inputs": geometry.inputs,
        "outputs": geometry.outputs,
        "tiles": tiles,
        "output_tiles": output_tiles,
        "phases": phases,
        "taps": geometry.taps,
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
    }


def _in_pieces(shape: Sequence[int], strides: Sequence[int], misalignment: int) -> bool:
    """Whether rows are contiguous, and all begin at a multiple of 16 bytes."""
    outer = zip(shape[:-1], strides[:-1], strict=True)
    return misalignment == 0 and strides[-1] == 1 and all(n == 1 or stride % 4 == 0 for n, stride in outer)
