"""Networks in as few launches as can be: their layers as tables and weights for csrc/cuda/network.cu.

The layers come as `fastimg.models` describes them. A network of few channels is one launch, another is cut where the
least time is lost. The layers of a launch become stages, one for each layer that looks at neighbours; 1×1 layers join
the stage before them. Where a stage finds its inputs in shared memory, and in which order it takes them, is decided
here, and weights are laid out to match.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._planes import hand_over, unit
from . import runtime
from .conv2d import conv2d
from .conv_transpose2d import conv_transpose2d

__all__ = ["network"]

LINEAR, RELU, SLOPE = range(3)  # as csrc/cuda/network.cu numbers them
_ACTIVATIONS = {None: LINEAR, "relu": RELU, "leaky_relu": SLOPE, "prelu": SLOPE}

# Limits of a warp's registers.
_MOST_OUTPUTS = 64  # at once
_MOST_SUMS = 8  # tiles of outputs times rows
_MOST_KEPT = 8  # matrices of weights that are read once for a step

_MOST_PREPARED = 64  # launches that a part of a network keeps, one for each size and layout

_WIDE = 16  # stages of more channels gather them by ldmatrix
_ALIGNMENT = 128
_ALIGNED = 16  # bytes, of an image that is read in pieces of as many
_RESERVED = 1024  # bytes of shared memory that the system takes for each block
_MOST_WARPS = 16  # on a multiprocessor: 128 registers for a thread
_BYTES_PER_CYCLE = 14  # of device memory for a multiprocessor of the H100

# Columns and rows of a step, and warps: the candidates, among which the cheapest that fits is taken.
COLUMNS = (16, 32, 48, 64, 80, 96, 112, 128)
ROWS = (4, 8, 16)
WARPS = (4, 8, 12, 16)

# Cycles of a barrier, of a task apart from its products, and of waiting for shared memory: for choosing among tiles,
# nothing else.
_BARRIER, _TASK, _WAIT = 60, 120, 60

_PARAMETERS = np.dtype(
    [
        ("image", runtime.view_dtype(4)),
        ("result", runtime.view_dtype(4)),
        ("weights", np.uint64),
        ("size", np.int32, (2,)),
        ("result_size", np.int32, (2,)),
        ("strips_across", np.int32),
        ("strips_down", np.int32),
        ("strip_rows", np.int32),
        ("image_scale", np.float32),
        ("result_scale", np.float32),
    ],
    align=True,
)


def network(
    image: Any, result: Any, layers: Sequence[Any], cache: dict[Any, Any], threads: int, precision: str
) -> None:
    """Run `layers` on (N, C, H, W) images.

    Parameters
    ----------
    image, result : arrays of uint8, uint16, float16 or float32
        Integers stand for [0, 1]: they are scaled as they come and go.
    layers : sequence of Conv2d, ConvTranspose2d, PixelShuffle or Add of `fastimg.models`
    cache : dict
        What was made of these layers for the current device; empty at first.
    threads : int
        Of no meaning here.
    precision : {"float32", "float16"}
        With "float32" a launch for each layer. With "float16" as few as can be; what goes from one to the next is
        float16. An Add ends a launch then, and so does what it adds: these images are in device memory, in float32.

    Raises
    ------
    ValueError
        If a layer cannot run in float16: the message names it and says why.
    """
    if precision == "float32":
        _run_one_by_one(image, result, layers, cache)
    else:
        _run_in_sections(image, result, layers, cache)


# ---- one by one, in float32 ------------------------------------------------------------------------------------------


def _run_one_by_one(image: Any, result: Any, layers: Sequence[Any], cache: dict[Any, Any]) -> None:
    if "constants" not in cache:
        cache["constants"] = [_uploaded(layer) for layer in layers]
        cache["lent"] = _lent(layers)
    values = unit(image)
    inputs = {}
    for layer, constants in zip(layers, cache["constants"], strict=True):
        if layer.name in cache["lent"]:
            inputs[layer.name] = values
        is_last = layer is layers[-1]
        if is_last and result.dtype == np.float32:
            out = result
        else:
            channels = values.shape[1] if _kind(layer) == "Add" else layer.out_channels
            out = runtime.empty((values.shape[0], channels, *layer.output_size(values.shape[2:])), np.float32)
        _run_layer(layer, constants, values, inputs, out)
        values = out
    if values is not result:
        hand_over(values, result)


def _uploaded(layer: Any) -> tuple[Any, Any, Any]:
    """Weights, biases and slopes on the device, of the latter one for each output channel."""
    if not hasattr(layer, "weight"):
        return None, None, None
    slope = None if layer.slope is None else np.broadcast_to(layer.slope, layer.out_channels)
    weight, bias, slope = (
        None if values is None else runtime.upload(np.ascontiguousarray(values, np.float32))
        for values in (layer.weight, layer.bias, slope)
    )
    return weight, bias, slope


def _run_layer(layer: Any, constants: tuple[Any, Any, Any], x: Any, inputs: dict[str, Any], out: Any) -> None:
    kind = _kind(layer)
    if kind == "Add":
        np.add(x, inputs[layer.input_of], out=out)
    elif kind == "PixelShuffle":
        n, _, rows, columns = x.shape
        r = layer.factor
        cells = x.reshape(n, layer.channels, r, r, rows, columns).transpose(0, 1, 4, 2, 5, 3)
        out[...] = cells.reshape(out.shape)
    else:
        weight, bias, slope = constants
        run = conv2d if kind == "Conv2d" else conv_transpose2d
        padding = (layer.padding, layer.dilation, layer.groups, layer.padding_mode)
        run(x, weight, bias, layer.stride, *padding, layer.activation, slope, out, 1)


# ---- in sections, in float16 -----------------------------------------------------------------------------------------


def _run_in_sections(image: Any, result: Any, layers: Sequence[Any], cache: dict[Any, Any]) -> None:
    if "sections" not in cache:
        cache["sections"] = [_section(part) for part in _between_sums(layers)]
    inputs = {}
    for i, section in enumerate(cache["sections"]):
        inputs[section.name] = image
        is_last = i + 1 == len(cache["sections"])
        if is_last and not section.added:
            section.run(image, result)
            return
        image = section.run(image)
        for name in section.added:
            image += unit(inputs[name])
    hand_over(image, result)


@dataclass(frozen=True, eq=False)
class _Section:
    """Layers without a sum between them, and the names of the layers whose input is added in the end."""

    name: str  # of the first layer
    launches: tuple[_Launch, ...]
    added: tuple[str, ...]

    def run(self, image: Any, result: Any = None) -> Any:
        for launch in self.launches:
            is_last = launch is self.launches[-1]
            if is_last and result is not None:
                between = result
            else:
                channels, *size = launch.part.output_shape(image.shape[2:])
                if is_last:
                    between = runtime.empty((image.shape[0], channels, *size), np.float32)
                else:
                    between = runtime.empty((image.shape[0], *size, channels), np.float16).transpose(0, 3, 1, 2)
            launch.run(image, between)
            image = between
        return image


def _section(layers: Sequence[Any]) -> _Section:
    added = tuple(layer.input_of for layer in layers if _kind(layer) == "Add")
    parts = cut(layers[: len(layers) - len(added)], runtime.shared_memory_limit())
    launches = [_Launch(part, [runtime.upload(plan.weights) for plan in part.plans], {}) for part in parts]
    return _Section(layers[0].name, tuple(launches), added)


def _lent(layers: Sequence[Any]) -> set[str]:
    """The names of the layers whose input is added later."""
    return {layer.input_of for layer in layers if _kind(layer) == "Add"}


def _between_sums(layers: Sequence[Any]) -> list[list[Any]]:
    """The layers in sections: one begins after the last of some Adds, and where an input is added later."""
    lent = _lent(layers)
    sections: list[list[Any]] = []
    for i, layer in enumerate(layers):
        is_add = _kind(layer) == "Add"
        if i == 0 or (not is_add and (layer.name in lent or _kind(layers[i - 1]) == "Add")):
            sections.append([])
        sections[-1].append(layer)
    return sections


@dataclass(frozen=True, eq=False)
class _Launch:
    """A part of a network on a device."""

    part: Part
    weights: list[Any]
    prepared: dict[Any, runtime.Launch]

    def run(self, image: Any, result: Any) -> None:
        begin = 0
        for i, (plan, weights) in enumerate(zip(self.part.plans, self.weights, strict=True)):
            some = result[:, begin : begin + plan.channels]
            begin += plan.channels
            aligned = runtime.address(image) % _ALIGNED == 0
            key = i, image.dtype, image.shape, image.strides, aligned, some.dtype, some.shape, some.strides
            if key not in self.prepared:
                if len(self.prepared) == _MOST_PREPARED:
                    self.prepared.clear()
                self.prepared[key] = _prepared(plan, weights, image, some)
            self.prepared[key](image=runtime.address(image), result=runtime.address(some))


def _prepared(plan: Plan, weights: Any, image: Any, result: Any) -> runtime.Launch:
    """All of a launch but the addresses of the images."""
    layout, tile = plan.layout, plan.layout.tile
    batch, _, height, width = image.shape
    across, down = (-(-n // plan.factor) for n in result.shape[3:1:-1])
    across = -(-across // tile.columns)
    processors: int = runtime.cupy().cuda.Device().attributes["MultiProcessorCount"]
    rows = _strip_rows(down, batch * across, tile.rows, layout.warm_up, processors * layout.blocks)
    down = -(-down // rows)
    values = {
        "image": runtime.view_fields(image),
        "result": runtime.view_fields(result),
        "weights": runtime.address(weights),
        "size": (height, width),
        "result_size": result.shape[2:],
        "strips_across": across,
        "strips_down": down,
        "strip_rows": rows,
        "image_scale": 1 / _top(image.dtype),
        "result_scale": _top(result.dtype),
    }
    in_pieces = (
        image.dtype == np.float16
        and runtime.address(image) % _ALIGNED == 0
        and image.shape[1] % 8 == 0
        and image.strides[1] == image.itemsize
        and all(stride % _ALIGNED == 0 for axis, stride in enumerate(image.strides) if axis != 1)
    )
    together = result.shape[1] >= _WIDE and result.strides[1] == result.itemsize
    types = runtime.c_type(image.dtype), runtime.c_type(result.dtype)
    definitions = plan.definitions(*types, interleaved=(in_pieces, together))
    kernel = runtime.kernel("network", "network", _PARAMETERS, **definitions)
    return kernel.prepared((batch * across * down,), (32 * tile.warps,), values, layout.shared_memory)


def _top(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


@functools.lru_cache(1024)
def _strip_rows(rows: int, strips: int, step: int, warm_up: int, blocks: int) -> int:
    """Rows of a strip: few strips fill their windows seldom, many keep the device busy to the end."""

    def time(height: int) -> float:
        blocks_needed = strips * -(-rows // height)
        return -(-blocks_needed // blocks) * (height + 0.6 * warm_up)  # the first steps run some stages only

    return min((step * n for n in range(1, -(-rows // step) + 1)), key=lambda height: (time(height), height))


# ---- a network in parts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """Neighbouring layers that run together; several plans share the output channels of a single wide layer."""

    layers: tuple[Any, ...]
    plans: tuple[Plan, ...]

    def output_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Channels, rows and columns of the result."""
        for layer in self.layers:
            size = layer.output_size(size)
        return self.layers[-1].out_channels, *size

    @property
    def cost(self) -> float:
        """Cycles of a multiprocessor for a pixel of the image, with the way through device memory."""
        first, last, factor = self.layers[0], self.layers[-1], self.plans[0].factor
        halves: int = len(self.plans) * first.in_channels + last.out_channels * factor**2
        return sum(plan.layout.cost for plan in self.plans) + 2 * halves / _BYTES_PER_CYCLE


def cut(layers: Sequence[Any], shared_limit: int) -> list[Part]:
    """The network as the parts that cost least, each of which fits `shared_limit` bytes of shared memory.

    Raises
    ------
    ValueError
        If a layer does not run even by itself.
    """
    units = _units(layers)
    tiles: dict[Any, Tile] = {}
    # By the unit at which the next part begins: cost so far, pixels for a pixel of the image, parts so far.
    best: dict[int, tuple[float, int, list[Part]]] = {0: (0.0, 1, [])}
    for begin in range(len(units)):
        if begin in best:
            cost, pixels, parts = best[begin]
            for end, part in _parts_from(units, begin, shared_limit, tiles):
                total = cost + pixels * part.cost
                if end not in best or total < best[end][0]:
                    best[end] = total, pixels * part.plans[0].factor ** 2, [*parts, part]
    return best[len(units)][2]


def _units(layers: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Layers that must not be parted: each by itself, but for a pixel shuffle, which goes with the one before it."""
    units: list[tuple[Any, ...]] = []
    for layer in layers:
        if units and _kind(layer) == "PixelShuffle":
            units[-1] += (layer,)
        else:
            units.append((layer,))
    return units


def _parts_from(
    units: Sequence[tuple[Any, ...]], begin: int, shared_limit: int, tiles: dict[Any, Tile]
) -> Iterator[tuple[int, Part]]:
    """The parts that begin at a unit, and where they end: longer and longer, until two lengths cannot be.

    (One may not be where the next may: a wide 1×1 layer in the end is a result, before another it only passes through.)
    `tiles` remembers what was chosen for layers of the same shapes.
    """
    layers = units[begin]
    yield begin + 1, Part(layers, _plans_by_channels(layers, shared_limit))
    failed = False
    for end in range(begin + 2, len(units) + 1):
        layers += units[end - 1]
        try:
            shapes = tuple(map(_shape_of, layers))
            plan = make_plan(layers, shared_limit, [tiles[shapes]] if shapes in tiles else None)
            tiles[shapes] = plan.layout.tile
            yield end, Part(layers, (plan,))
            failed = False
        except ValueError:
            if failed:
                return
            failed = True


def _shape_of(layer: Any) -> tuple[Any, ...]:
    """All of a layer that its tile depends on."""
    if _kind(layer) == "PixelShuffle":
        return _kind(layer), layer.factor
    output_padding = getattr(layer, "output_padding", None)
    return _kind(layer), layer.weight.shape, layer.stride, layer.padding, output_padding, layer.padding_mode


def _plans_by_channels(unit: tuple[Any, ...], shared_limit: int) -> tuple[Plan, ...]:
    """A unit in as many equal shares of its output channels as it takes to fit."""
    layer, *shuffle = unit
    channels = share = layer.out_channels
    while True:
        shares = [_outputs_of(layer, slice(at, at + share)) for at in range(0, channels, share)]
        try:
            return tuple(make_plan([part, *shuffle], shared_limit) for part in shares)
        except _DoesNotFit:
            if share == 1 or shuffle:
                raise
            share = -(-share // 2)


def _outputs_of(layer: Any, channels: slice) -> Any:
    """The layer that makes some of a layer's output channels."""
    if layer.out_channels == channels.stop - channels.start:
        return layer
    weight = layer.weight[:, channels] if _kind(layer) == "ConvTranspose2d" else layer.weight[channels]
    bias = None if layer.bias is None else layer.bias[channels]
    slope = layer.slope if layer.slope is None or len(layer.slope) == 1 else layer.slope[channels]
    return replace(layer, weight=weight, bias=bias, slope=slope)


# ---- layers as stages ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A layer that looks at neighbours, and the 1×1 layers after it.

    `weight` is of shape (outputs, rows of taps, columns of taps, inputs). For the last stage, outputs are those of one
    pixel, in the order (row, channel, column) of what it becomes.
    """

    name: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: NDArray[np.float32] | None
    activation: int
    replicate: bool
    above: int  # the taps before the pixel itself
    left: int
    chained: tuple[Chained, ...] = ()

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[3])

    @property
    def outputs(self) -> int:
        """Channels that leave the stage."""
        return len(self.chained[-1].weight) if self.chained else len(self.weight)


@dataclass(frozen=True)
class Chained:
    """A 1×1 layer on the results of a stage; `weight` is of shape (outputs, inputs)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: NDArray[np.float32] | None
    activation: int


def as_stages(layers: Sequence[Any]) -> tuple[list[Stage], int]:
    """The layers as stages, and the factor by which the last one enlarges."""
    *inner, last = layers
    shuffle = 1
    if _kind(last) == "PixelShuffle":
        if not inner:
            raise ValueError(_refusal(last, "it has no weights, and there is no layer before it"))
        shuffle, last = last.factor, inner.pop()
    stages: list[Stage] = []
    for layer in inner:
        _expect_convolution(layer)
        constants = _constants(layer)
        if stages and layer.weight.shape[2:] == (1, 1) and stages[-1].outputs <= _MOST_OUTPUTS:
            before = stages[-1]
            joined = Chained(layer.weight[:, :, 0, 0], *constants)
            stages[-1] = replace(before, chained=(*before.chained, joined))
        else:
            rows, columns = layer.weight.shape[2:]
            weight = layer.weight.transpose(0, 2, 3, 1)
            replicate = layer.padding_mode == "replicate"
            stages.append(Stage(layer.name, weight, *constants, replicate, rows // 2, columns // 2))
    stage, factor = _transposed(last) if _kind(last) == "ConvTranspose2d" else _shuffled(last, shuffle)
    return [*stages, stage], factor


def _kind(layer: Any) -> str:
    return type(layer).__name__


class _DoesNotFit(ValueError):
    """Shared memory is too small."""


def _refusal(layer: Any, reason: str) -> str:
    return f"precision must be 'float32' for layer {layer.name!r}, which does not run in float16: {reason}"


def _expect_convolution(layer: Any) -> None:
    if _kind(layer) != "Conv2d":
        raise ValueError(_refusal(layer, f"a {_kind(layer)} must be the last layer"))
    rows, columns = layer.weight.shape[2:]
    if rows % 2 == 0 or columns % 2 == 0 or layer.padding != (rows // 2, columns // 2):
        raise ValueError(
            _refusal(
                layer,
                f"it must keep the size of the image, with an odd kernel and half of it as padding; "
                f"its kernel is {rows}×{columns}, its padding {layer.padding}",
            )
        )
    if layer.stride != (1, 1):
        raise ValueError(_refusal(layer, f"its stride must be 1, it is {layer.stride}"))
    _expect_plain(layer)


def _expect_plain(layer: Any) -> None:
    if layer.dilation != (1, 1) or layer.groups != 1:
        raise ValueError(
            _refusal(layer, f"dilation and groups must be 1, they are {layer.dilation} and {layer.groups}")
        )
    if layer.padding_mode not in ("zeros", "replicate"):
        raise ValueError(_refusal(layer, f"padding_mode must be 'zeros' or 'replicate', it is {layer.padding_mode!r}"))


def _constants(layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, int]:
    """Bias, slope and activation, one of each constant per output."""
    outputs = layer.out_channels
    bias = np.zeros(outputs, np.float32) if layer.bias is None else layer.bias
    slope = None if layer.slope is None else np.broadcast_to(layer.slope, (outputs,))
    return bias, slope, _ACTIVATIONS[layer.activation]


def _shuffled(layer: Any, factor: int) -> tuple[Stage, int]:
    """A convolution whose outputs are channels × factor × factor results of a pixel."""
    _expect_convolution(layer)
    bias, slope, activation = _constants(layer)
    weight = layer.weight.transpose(0, 2, 3, 1)
    order = np.arange(len(weight)).reshape(-1, factor, factor).transpose(1, 0, 2).reshape(-1)
    rows, columns = weight.shape[1:3]
    replicate = layer.padding_mode == "replicate"
    slope = None if slope is None else slope[order]
    stage = Stage(layer.name, weight[order], bias[order], slope, activation, replicate, rows // 2, columns // 2)
    return stage, factor


def _transposed(layer: Any) -> tuple[Stage, int]:
    """A transposed convolution: the results of a pixel are its stride × stride phases."""
    _expect_plain(layer)
    strides = layer.stride
    if strides[0] != strides[1]:
        raise ValueError(_refusal(layer, f"its stride must be the same for rows and columns, it is {strides}"))
    stride = strides[0]
    inputs, outputs, *kernel = layer.weight.shape
    taps = [
        _phases(n, stride, padding, extra)
        for n, padding, extra in zip(kernel, layer.padding, layer.output_padding, strict=True)
    ]
    (above, height), (left, width) = [(before, before + after + 1) for _, before, after in taps]
    weight = np.zeros((stride, outputs, stride, height, width, inputs), np.float32)
    for i, row_taps in enumerate(taps[0][0]):
        for j, column_taps in enumerate(taps[1][0]):
            for u, row in row_taps:
                for v, column in column_taps:
                    weight[i, :, j, above + row, left + column] = layer.weight[:, :, u, v].T
    bias, slope, activation = _constants(layer)
    channel = np.broadcast_to(np.arange(outputs)[:, np.newaxis], weight.shape[:3]).reshape(-1)
    slope = None if slope is None else slope[channel]
    weight, replicate = weight.reshape(-1, height, width, inputs), layer.padding_mode == "replicate"
    return Stage(layer.name, weight, bias[channel], slope, activation, replicate, above, left), stride


def _phases(kernel: int, stride: int, padding: int, extra: int) -> tuple[list[list[tuple[int, int]]], int, int]:
    """Of each phase its taps along an axis, (index in the kernel, offset in the input); the reach before and after."""
    phases = [
        [(u, (phase + padding - u) // stride) for u in range(kernel) if (phase + padding - u) % stride == 0]
        for phase in range(stride)
    ]
    offsets = [offset for phase in phases for _, offset in phase]
    beyond = -(-(kernel + extra - 2 * padding - stride) // stride)  # pixels past the input that still have results
    return phases, max(0, beyond, -min(offsets)), max(0, *offsets)


# ---- the plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """What a block makes in a step."""

    columns: int
    rows: int
    warps: int
    weights_shared: bool


@dataclass(frozen=True)
class Buffer:
    """The window of a stage's input: see csrc/cuda/network.cu."""

    columns: int
    split: int
    pitch: int
    channels: int
    above: int
    below: int
    left: int
    replicate: bool
    at: int = 0

    @property
    def reach(self) -> int:
        return self.above + self.below

    def size(self, rows: int) -> int:
        """Bytes, when `rows` new rows are made in a step."""
        return (rows + self.reach) * self.columns * self.pitch * 2


@dataclass(frozen=True)
class Product:
    """The shape of a stage as a product of matrices."""

    wide: bool
    steps: int  # of 16 along K, of one row of taps if wide
    tap_rows: int
    rows: int  # made at once by a warp
    unit: int  # outputs of a product: 16, of 8 pixels, two at once; in the last stage 8, of 16 cells
    tiles: int  # of so many outputs, made at once
    passes: int
    tasks: int  # of a step of the block, to share among the warps
    chained: tuple[tuple[int, int], ...]  # steps and tiles of the 1×1 layers

    @property
    def outputs(self) -> int:
        return self.unit * self.tiles * self.passes

    @property
    def groups(self) -> int:
        """Products with the same weights."""
        return self.unit // 8

    @property
    def instructions(self) -> int:
        """Products of 16 × 8 × 16 in a task."""
        chained = sum(steps * tiles for steps, tiles in self.chained)
        return self.rows * self.groups * (self.matrices + chained)

    @property
    def matrices(self) -> int:
        """Matrices of weights of a pass."""
        return self.steps * self.tap_rows * self.tiles

    @property
    def kept(self) -> bool:
        """Whether a warp reads the weights once for a step of the block."""
        return self.unit == 16 and not self.wide and self.passes == 1 and self.matrices <= _MOST_KEPT

    @property
    def reads(self) -> int:
        """Times that a task reads 128 bytes of shared memory or of what is cached beside it."""
        weights = 0 if self.kept else self.unit // 4 * self.matrices
        return 4 * self.steps * (self.rows + self.tap_rows - 1 if self.wide else 1) + weights

    @property
    def reads_once(self) -> int:
        """The same for what a warp reads once for a step of the block."""
        return 4 * (self.matrices * self.kept + sum(steps * tiles for steps, tiles in self.chained))


@dataclass(frozen=True)
class Layout:
    """Where everything lies for a tile, and what a pixel costs then."""

    tile: Tile
    buffers: tuple[Buffer, ...]
    products: tuple[Product, ...]
    records: int
    splits: int
    raw_at: int
    partial_at: int
    weights: int
    shared_memory: int
    blocks: int  # on a multiprocessor
    cost: float

    @property
    def warm_up(self) -> int:
        return _round_up(sum(buffer.reach for buffer in self.buffers), self.tile.rows)


@dataclass(frozen=True)
class Plan:
    """How a network runs: tables for the kernel as macros, and weights as its lanes hold them."""

    layout: Layout
    macros: dict[str, int | str]
    weights: NDArray[np.uint8]
    factor: int

    @property
    def channels(self) -> int:
        """Of the result."""
        return int(self.macros["CHANNELS_OUT"])

    def definitions(
        self, image: str, result: str, interleaved: tuple[bool, bool] = (False, False)
    ) -> dict[str, int | str]:
        """Macros for samples of these types; `interleaved` tells of image and result whether channels lie together."""
        layout = {"INTERLEAVED_IN": int(interleaved[0]), "INTERLEAVED_OUT": int(interleaved[1])}
        return {"IN": image, "OUT": result, **layout, **self.macros}


def make_plan(layers: Sequence[Any], shared_limit: int, tiles: Sequence[Tile] | None = None) -> Plan:
    """The cheapest way to run the layers in `shared_limit` bytes of shared memory per block.

    Parameters
    ----------
    layers : sequence of layers
    shared_limit : int
    tiles : sequence of Tile, optional
        To choose among; by default all candidates.

    Raises
    ------
    ValueError
        If there is none.
    """
    stages, factor = as_stages(layers)
    highest = max(stages, key=lambda stage: stage.weight.shape[1])
    candidates = [tile for tile in tiles or _tiles() if tile.rows >= highest.weight.shape[1] - 1]
    if not candidates:
        reason = f"its kernel reaches over {highest.weight.shape[1]} rows, at most {max(ROWS) + 1} can be"
        raise ValueError(_refusal(highest, reason))
    layouts = [_lay_out(stages, tile, shared_limit) for tile in candidates]
    fitting = [layout for layout in layouts if layout.shared_memory <= shared_limit]
    if not fitting:
        least = min(layouts, key=lambda layout: layout.shared_memory)
        sizes = [buffer.size(least.tile.rows) for buffer in least.buffers]
        raise _DoesNotFit(
            _refusal(
                stages[int(np.argmax(sizes))],
                f"{least.shared_memory:,} bytes of shared memory are needed, and the device has {shared_limit:,}",
            )
        )
    return _plan(stages, factor, min(fitting, key=lambda layout: layout.cost))


def _tiles() -> Iterator[Tile]:
    for columns in COLUMNS:
        for rows in ROWS:
            for warps in WARPS:
                for weights_shared in (True, False):
                    yield Tile(columns, rows, warps, weights_shared)


def _lay_out(stages: Sequence[Stage], tile: Tile, shared_limit: int) -> Layout:
    cell = _cell(len(stages[-1].weight), tile.columns) if len(stages) > 1 else 1
    buffers: list[Buffer] = []
    columns, left, records = tile.columns, 0, 0
    for stage in reversed(stages):
        split = cell if stage is stages[-1] else 1
        rows_of_taps, columns_of_taps = stage.weight.shape[1:3]
        channels, pitch = _pitch(stage.inputs)
        if stage is stages[0] and stage.inputs == 1:
            records = 2 if columns_of_taps % 4 == 1 and rows_of_taps > 4 else 1
            channels = pitch = 4 * records
        left += stage.left
        columns = _round_up(columns + columns_of_taps - 1, split)
        if records:
            columns += (4 - columns) % 8  # rows of records half of all banks apart
        below = rows_of_taps - 1 - stage.above
        buffers.insert(0, Buffer(columns, split, pitch, channels, stage.above, below, left, stage.replicate))
    cells = [*(buffer.columns for buffer in buffers[1:]), tile.columns // cell]
    products = [
        _product(stage, buffer.split, 0 if i else records, cells[i], tile.rows, stage is stages[-1])
        for i, (stage, buffer) in enumerate(zip(stages, buffers, strict=True))
    ]
    last = products[-1]
    splits = max(1, min(tile.warps // last.tasks, last.steps)) if last.wide else 1

    weights = sum(map(_weight_bytes, stages, products))
    end = _round_up(weights, _ALIGNMENT) if tile.weights_shared else 0
    raw_at = end
    if records:
        end += (tile.rows + buffers[0].reach) * _round_up(buffers[0].columns + 3, 4) * 2
    # Records last: once the first stage has read them, the sums of the last stage may lie in their place.
    for i in [*range(1, len(buffers)), 0] if records else range(len(buffers)):
        at = _round_up(end, _ALIGNMENT)
        buffers[i] = replace(buffers[i], at=at)
        end = at + buffers[i].size(tile.rows)
    partial_at = buffers[0].at if records and len(buffers) > 1 else _round_up(end, _ALIGNMENT)
    shared_memory = max(end, partial_at + splits * tile.rows * cells[-1] * last.outputs * 4)
    shared_memory = _round_up(shared_memory, 16) + 16
    blocks = max(1, min((shared_limit + _RESERVED) // (shared_memory + _RESERVED), _MOST_WARPS // tile.warps))
    cycles = _cycles(products, splits, tile.warps, blocks)
    moved = sum(buffer.size(buffer.reach) + buffer.size(0) // 4 for buffer in buffers)  # kept rows, and the like
    cost = (cycles + moved / 64) / (tile.columns * tile.rows)
    return Layout(
        tile,
        tuple(buffers),
        tuple(products),
        records,
        splits,
        raw_at,
        partial_at,
        weights,
        shared_memory,
        blocks,
        cost,
    )


def _product(stage: Stage, cell: int, records: int, cells: int, step_rows: int, is_last: bool) -> Product:
    """The shape of a stage that makes `cells` cells in a row."""
    outputs, tap_rows, tap_columns, inputs = stage.weight.shape
    wide = not records and inputs > _WIDE
    unit = 8 if is_last else 16
    passes = -(-outputs * cell // _MOST_OUTPUTS)
    tiles = -(-outputs * cell // (unit * passes))
    tap_columns += cell - 1
    if wide:
        pieces, per_step = tap_columns * -(-inputs // 8), 2
    else:
        taps = tap_rows * tap_columns
        pieces, per_step = _record_count(tap_rows, tap_columns, records) if records else taps * -(-inputs // 4), 4
        tap_rows = 1
    rows = 1
    while wide and rows < 4 and step_rows % (2 * rows) == 0 and 2 * rows * tiles <= _MOST_SUMS:
        rows *= 2
    tasks = passes * -(-cells * (step_rows // rows) // 16)
    chained = []
    for layer in stage.chained:
        chained.append((_ones(layer.weight.shape[1]) // 16 + 1, -(-len(layer.weight) // 16)))
    if not (wide or is_last):
        pieces += 1  # of ones, for the bias
    steps = -(-pieces // per_step)
    return Product(wide, steps, tap_rows, rows, unit, tiles, passes, tasks, tuple(chained))


def _ones(inputs: int) -> int:
    """Where along K a chained layer has ones, two of them, for its bias."""
    return _round_up(inputs, 2)


def _weight_bytes(stage: Stage, product: Product) -> int:
    """Bytes of a stage's offsets, weights and constants."""
    offsets = 4 * product.steps * (2 if product.wide else 4)
    matrices = product.passes * product.matrices
    total = _round_up(offsets, 16) + matrices * product.unit * 32 + 8 * product.outputs
    return total + sum(steps * tiles * 512 + 64 * tiles for steps, tiles in product.chained)


def _cycles(products: Sequence[Product], splits: int, warps: int, blocks: int) -> float:
    """Cycles of a multiprocessor for a step of one of `blocks` blocks on it, which hide each other's latencies."""
    busy = alone = 0.0
    for product in products:
        parts = splits if product is products[-1] else 1
        instructions, reads, tasks = product.instructions / parts, product.reads / parts, product.tasks * parts
        # Each of four schedulers takes 8 cycles for a product, and a warp waits 33 for one that depends on the last.
        at_once = product.rows * product.tiles * product.groups
        waits = _WAIT * (product.steps / parts if product.wide else 2) + _WAIT * 2 * len(product.chained)
        task = instructions * max(8, 33 / at_once) + waits + _TASK
        shared = tasks * max(2 * instructions, reads) + min(tasks, warps) * product.reads_once
        busy += shared
        alone += max(-(-tasks // warps) * task, shared) + _BARRIER
    alone += 4 * _BARRIER
    return max(busy, alone / blocks)


def _plan(stages: Sequence[Stage], factor: int, layout: Layout) -> Plan:
    tile, last = layout.tile, stages[-1]
    packer = _Packer()
    for i, (stage, buffer, product) in enumerate(zip(stages, layout.buffers, layout.products, strict=True)):
        is_last = stage is last
        weight = _of_cell(stage.weight, buffer.split, factor) if is_last else stage.weight
        packer.add(stage, weight, buffer, product, 0 if i else layout.records, is_last)
    weights = packer.data()
    assert len(weights) == layout.weights
    macros: dict[str, int | str] = {
        "BUFFERS": ",".join(_braced(buffer.__dict__.values()) for buffer in layout.buffers),
        "STAGES": ",".join(map(_braced, packer.stages)),
        "CHAINED": ",".join(map(_braced, packer.chained or [(0,) * 6])),
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "WARPS": tile.warps,
        "BLOCKS": layout.blocks,
        "CHANNELS_IN": stages[0].inputs,
        "CHANNELS_OUT": len(last.weight) // factor**2,
        "STRIDE": factor,
        "SPLITS": layout.splits,
        "RECORDS": layout.records,
        "RAW_AT": layout.raw_at,
        "PARTIAL_AT": layout.partial_at,
        "STRIP_AT": layout.shared_memory - 16,
        "WEIGHTS_BYTES": len(weights),
        "WEIGHTS_SHARED": int(tile.weights_shared),
    }
    return Plan(layout, macros, weights, factor)


def _braced(values: Any) -> str:
    return "{" + ",".join(str(int(value)) for value in values) + "}"


def _round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def _cell(outputs: int, columns: int) -> int:
    """Pixels whose results fill the 8 columns of a product."""
    cell = 1
    while 2 * cell * outputs <= 8 and columns % (2 * cell) == 0:
        cell *= 2
    return cell


def _pitch(inputs: int) -> tuple[int, int]:
    """Halves in use of a pixel, and from one to the next."""
    if inputs > _WIDE:
        channels = _round_up(inputs, 8)
        return channels, channels + 8 * (channels // 8 % 2 == 0)
    channels = _round_up(inputs, 4)
    return channels, channels


# ---- weights as lanes hold them --------------------------------------------------------------------------------------

# A piece: where it lies, in halves from the cell's corner, and what it holds: taps as (row, column, input), or None.
_Piece = tuple[int, list[tuple[int, int, int] | None]]

_LANE = np.arange(32)


class _Packer:
    """Lays out the tables and weights of stage after stage."""

    def __init__(self) -> None:
        self.stages: list[tuple[int, ...]] = []
        self.chained: list[tuple[int, ...]] = []
        self._parts: list[bytes] = []
        self._size = 0

    def data(self) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(self._parts), np.uint8)

    def add(
        self,
        stage: Stage,
        weight: NDArray[np.float32],
        buffer: Buffer,
        product: Product,
        records: int,
        is_last: bool,
    ) -> None:
        """The next stage; `weight` is that of a whole cell."""
        pieces = _record_pieces if records else _wide_pieces if product.wide else _narrow_pieces
        weight = _padded(weight, product.outputs)
        rows = pieces(weight, buffer, records)
        rows = rows if product.wide else _spread(rows, buffer.pitch)
        ones = len(rows[0]) % 4
        offsets, matrices = _matrices(weight, rows, product.steps, product.wide)
        if not (product.wide or is_last):
            matrices[-1, 0, 2 * ones : 2 * ones + 2] = _in_halves(_padded(stage.bias, product.outputs))
        shape = (product.steps, product.tap_rows, 16, product.passes, product.tiles, product.unit)
        matrices = matrices.reshape(shape).transpose(3, 0, 1, 4, 2, 5)  # those of one product last: K, outputs
        fragments = _as_b(matrices) if is_last else _as_a(matrices)
        bias, slope = _padded(stage.bias, product.outputs), _slope(stage, product.outputs)
        slopes = slope if is_last else _half_pairs(slope - 1)
        places = [self._put(values) for values in (offsets, fragments, bias, slopes)]
        begin = len(self.chained)
        for layer, (steps, tiles) in zip(stage.chained, product.chained, strict=True):
            self._add_chained(layer, steps, tiles)
        shape = (product.wide, product.steps, product.tap_rows, product.rows, product.tiles, product.passes)
        self.stages.append((*shape, stage.activation, *places, ones, begin, len(self.chained)))

    def _add_chained(self, layer: Chained, steps: int, tiles: int) -> None:
        outputs, inputs = layer.weight.shape
        ones = _ones(inputs)
        weight = np.zeros((16 * steps, 16 * tiles), np.float32)
        weight[:inputs, :outputs] = layer.weight.T
        weight[ones : ones + 2, :outputs] = _in_halves(layer.bias)
        weights_at = self._put(_as_a(weight.reshape(steps, 16, tiles, 16).transpose(0, 2, 1, 3)))
        slope_at = self._put(_half_pairs(_slope(layer, 16 * tiles) - 1))
        self.chained.append((steps, tiles, layer.activation, weights_at, slope_at, ones))

    def _put(self, values: NDArray[Any]) -> int:
        """Where the values lie, in bytes."""
        at, data = self._size, values.tobytes()
        data = data.ljust(_round_up(len(data), 16), b"\0")
        self._parts.append(data)
        self._size += len(data)
        return at


def _record_count(rows: int, columns: int, records: int) -> int:
    """How many pieces `_record_pieces` makes."""
    if records == 1:
        return rows * -(-columns // 4)
    return rows * (columns // 4) + rows // 4 + rows % 4


def _slope(layer: Stage | Chained, outputs: int) -> NDArray[np.float32]:
    return _padded(np.zeros(1, np.float32) if layer.slope is None else layer.slope, outputs)


def _in_halves(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each value as the sum of two halves."""
    first = _to_half(values).astype(np.float32)
    return np.stack([first, values - first])


def _padded(values: NDArray[Any], n: int) -> NDArray[Any]:
    return np.concatenate([values, np.zeros((max(0, n - len(values)), *values.shape[1:]), values.dtype)])


def _of_cell(weight: NDArray[np.float32], cell: int, factor: int) -> NDArray[np.float32]:
    """The weights of all pixels of a cell; outputs in the order (row, channel, pixel, column)."""
    outputs, rows, columns, inputs = weight.shape
    result = np.zeros((outputs // factor, cell, factor, rows, columns + cell - 1, inputs), np.float32)
    for i in range(cell):
        result[:, i, :, :, i : i + columns] = weight.reshape(-1, factor, rows, columns, inputs)
    return result.reshape(outputs * cell, rows, columns + cell - 1, inputs)


def _place(column: int, buffer: Buffer) -> int:
    """Where a column lies in a row of a buffer."""
    return column % buffer.split * (buffer.columns // buffer.split) + column // buffer.split


def _narrow_pieces(weight: NDArray[np.float32], buffer: Buffer, records: int) -> list[list[_Piece]]:
    """All taps in pieces of 4 inputs, as one row."""
    _, rows, columns, inputs = weight.shape
    return [
        [
            (
                (u * buffer.columns + _place(v, buffer)) * buffer.pitch + c,
                [(u, v, c + k) if c + k < inputs else None for k in range(4)],
            )
            for u in range(rows)
            for v in range(columns)
            for c in range(0, inputs, 4)
        ]
    ]


def _wide_pieces(weight: NDArray[np.float32], buffer: Buffer, records: int) -> list[list[_Piece]]:
    """The taps of each row in pieces of 8 inputs; offsets are those of the first row."""
    _, rows, columns, inputs = weight.shape
    return [
        [
            (_place(v, buffer) * buffer.pitch + c, [(u, v, c + k) if c + k < inputs else None for k in range(8)])
            for v in range(columns)
            for c in range(0, inputs, 8)
        ]
        for u in range(rows)
    ]


def _record_pieces(weight: NDArray[np.float32], buffer: Buffer, records: int) -> list[list[_Piece]]:
    """The taps of one channel in pieces of 4 neighbours in a row and, if records have two pieces, in a column."""
    _, rows, columns, _ = weight.shape

    def across(u: int, v: int) -> _Piece:
        taps: list[tuple[int, int, int] | None] = [(u, v + k, 0) if v + k < columns else None for k in range(4)]
        return (u * buffer.columns + v) * buffer.pitch, taps

    if records == 1:
        return [[across(u, v) for u in range(rows) for v in range(0, columns, 4)]]
    pieces = [across(u, v) for u in range(rows) for v in range(0, columns - 1, 4)]
    for u in range(0, rows - 3, 4):
        at = (u * buffer.columns + columns - 1) * buffer.pitch + 4
        pieces.append((at, [(u + k, columns - 1, 0) for k in range(4)]))
    pieces += [across(u, columns - 1) for u in range(rows // 4 * 4, rows)]
    return [pieces]


def _spread(rows: list[list[_Piece]], pitch: int) -> list[list[_Piece]]:
    """Pieces in an order in which the four of a step, of neighbouring pixels, lie in different banks if possible."""
    (rest,) = rows
    ordered: list[_Piece] = []
    while rest:
        chosen = ordered[len(ordered) // 4 * 4 :]
        best = min(rest, key=lambda piece: _passes([*chosen, piece], pitch))
        ordered.append(best)
        rest = [piece for piece in rest if piece is not best]
    return [ordered]


def _passes(pieces: Sequence[_Piece], pitch: int) -> int:
    """Passes through the banks of shared memory for loading pieces of 8 bytes of four pixels."""
    words = {(offset + pixel * pitch) // 2 + word for offset, _ in pieces for pixel in range(4) for word in (0, 1)}
    return int(np.bincount([word % 32 for word in words]).max())


def _matrices(
    weight: NDArray[np.float32], rows: list[list[_Piece]], steps: int, wide: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Offsets along K in bytes, and the weights as (step, row of taps, k, output)."""
    halves, per_step = (8, 2) if wide else (4, 4)
    offsets = np.full(steps * per_step, 2 * rows[0][-1][0], np.int32)  # what no weight counts: the last once more
    offsets[: len(rows[0])] = [2 * offset for offset, _ in rows[0]]
    matrices = np.zeros((steps, len(rows), 16, len(weight)), np.float32)
    for u, pieces in enumerate(rows):
        for p, (_, taps) in enumerate(pieces):
            for k, tap in enumerate(taps):
                if tap is not None:
                    # Lanes take halves 4 q .. + 3 of a narrow step as columns 2 q, 2 q + 1, 8 + 2 q and 9 + 2 q.
                    place = p % per_step * halves + k if wide else p % per_step * 2 + k % 2 + k // 2 * 8
                    matrices[p // per_step, u, place] = weight[(slice(None), *tap)]
    return offsets, matrices


def _as_a(matrices: NDArray[np.float32]) -> NDArray[np.float16]:
    """Matrices of K × 16 outputs as the lanes hold the A of a product: (..., lane, 8 halves)."""
    k = 2 * (_LANE % 4)[:, np.newaxis] + np.array([0, 1, 0, 1, 8, 9, 8, 9])
    output = (_LANE // 4)[:, np.newaxis] + np.array([0, 0, 8, 8, 0, 0, 8, 8])
    return _to_half(matrices[..., k, output])


def _as_b(matrices: NDArray[np.float32]) -> NDArray[np.float16]:
    """Matrices of K × 8 outputs as the lanes hold the B of a product: (..., lane, 4 halves)."""
    k = 2 * (_LANE % 4)[:, np.newaxis] + np.array([0, 1, 8, 9])
    return _to_half(matrices[..., k, (_LANE // 4)[:, np.newaxis]])


def _half_pairs(values: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.repeat(_to_half(values), 2)


def _to_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # what does not fit becomes Inf
        return values.astype(np.float16)
