"""The Gaussian filter on the GPU."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime

# As csrc/cuda/gaussian.cu has them.
Y, X, CHANNEL, BATCH = range(4)
MOST_AXES = BATCH + 6
STRIP, ROWS, GROUP = 128, 32, 8
FUSED_BLOCK, AXIS_BLOCK, TAPS_BLOCK = 128, 256, 128
RESULTS, LINES = 64, 128  # of a block of gaussian_rows and gaussian_columns
INLINE_TAPS, TAPS_TO_A_LAUNCH = 256, 960

MOST_UNROLLED_RADIUS = 24  # the kernels for one axis need no new compilation, and lose little from here on
MOST_CHANNELS = 4  # interleaved in a row
LONGEST = 2**30 - 1  # samples of a row: indices beside it must fit 32 bits
BLOCKS_WANTED = 512
HIGHEST_BAND = 256

_COMMON = [
    ("image", runtime.view_dtype(MOST_AXES)),
    ("result", runtime.view_dtype(MOST_AXES)),
    ("shape", np.int32, (MOST_AXES,)),
    ("batch_axes", np.int32),
    ("strips", np.int32),
    ("bands", np.int32),
    ("band", np.int32),
    ("y_mode", np.int32),
    ("x_mode", np.int32),
    ("cval", np.float32),
    ("image_vectors", np.int32),
    ("result_vectors", np.int32),
]
_UNROLLED_TAPS = (MOST_UNROLLED_RADIUS + 1,)
_FUSED = np.dtype(
    [*_COMMON, ("x_taps", np.float32, _UNROLLED_TAPS), ("y_taps", np.float32, _UNROLLED_TAPS)], align=True
)
_AXIS = np.dtype(
    [
        *_COMMON,
        ("radius", np.int32),
        ("odd", np.int32),
        ("far_taps", np.uint64),
        ("taps", np.float32, (INLINE_TAPS,)),
    ],
    align=True,
)
_TAPS = np.dtype([("to", np.uint64), ("count", np.int32), ("taps", np.float32, (TAPS_TO_A_LAUNCH,))], align=True)


# The taps along an axis at distance 0, 1, ..., whether those before are negative, and the border mode.
AxisFilter = tuple[tuple[float, ...], bool, str]


def gaussian(image: Any, out: Any, filters: Sequence[AxisFilter], cval: float, scale: float, threads: int) -> None:
    launches, between = _plan(
        runtime.here(),
        tuple(image.shape),
        _Layout.of(image),
        _Layout.of(out),
        tuple(filters),
        cval,
        scale,
    )
    source = image
    for launch in launches:
        result = out if launch is launches[-1] else runtime.empty(between, np.float32)
        launch.run(source, result)
        source = result


# ---- what is launched for an image -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """How an array lies in memory: all of it that kernels are chosen by."""

    dtype: np.dtype[Any]
    strides: tuple[int, ...] = ()
    misalignment: int = 0  # of the first sample, within 16 bytes

    @classmethod
    def of(cls, array: Any) -> _Layout:
        return cls(array.dtype, runtime.element_strides(array), runtime.address(array) % 16)


@dataclass(frozen=True)
class _Axis:
    n: int = 1
    image: int = 0  # strides, in elements
    result: int = 0
    taps: tuple[float, ...] = (1.0,)
    odd: bool = False
    mode: str = "nearest"

    @property
    def radius(self) -> int:
        return len(self.taps) - 1

    @property
    def filtered(self) -> bool:
        return self.taps != (1.0,)

    @property
    def total(self) -> float:
        """What a constant is multiplied by."""
        return 0.0 if self.odd else self.taps[0] + 2 * sum(self.taps[1:])

    def unfiltered(self) -> _Axis:
        return replace(self, taps=(1.0,), odd=False, mode="nearest")


@dataclass(frozen=True)
class _Step:
    """The axes that one launch filters, and the channels interleaved along x, by number."""

    kernel: str
    x: int | None = None
    y: int | None = None
    channel: int | None = None


@dataclass(frozen=True, eq=False)
class _Launch:
    """A kernel and its arguments, but for the addresses of the arrays."""

    kernel: str
    definitions: dict[str, int | str]
    values: dict[str, Any]
    image_strides: tuple[int, ...]
    result_strides: tuple[int, ...]
    blocks: int
    shared_memory: int = 0
    far_taps: tuple[float, ...] = ()

    def run(self, image: Any, result: Any) -> None:
        addresses = {"image": runtime.address(image), "result": runtime.address(result)}
        if self.far_taps:
            on_device = self._upload_taps()
            addresses["far_taps"] = runtime.address(on_device)
        self._prepared(**addresses)

    @functools.cached_property
    def _prepared(self) -> runtime.Launch:
        values = {**self.values, "image": (0, self.image_strides), "result": (0, self.result_strides)}
        parameters, threads = (_FUSED, FUSED_BLOCK) if self.kernel == "gaussian" else (_AXIS, AXIS_BLOCK)
        kernel = runtime.kernel("gaussian", self.kernel, parameters, **self.definitions)
        return kernel.prepared((self.blocks,), (threads,), values, self.shared_memory)

    def _upload_taps(self) -> Any:
        taps = runtime.empty((len(self.far_taps),), np.float32)
        upload = runtime.kernel("gaussian", "gaussian_taps", _TAPS, **self.definitions)
        for begin in range(0, len(self.far_taps), TAPS_TO_A_LAUNCH):
            some = _padded(self.far_taps[begin : begin + TAPS_TO_A_LAUNCH], TAPS_TO_A_LAUNCH)
            count = min(TAPS_TO_A_LAUNCH, len(self.far_taps) - begin)
            values = {"to": runtime.address(taps) + 4 * begin, "count": count, "taps": some}
            upload((-(-count // TAPS_BLOCK),), (TAPS_BLOCK,), values)
        return taps


@functools.lru_cache(maxsize=256)
def _plan(
    device: tuple[Any, int],
    shape: tuple[int, ...],
    image: _Layout,
    out: _Layout,
    filters: tuple[AxisFilter, ...],
    cval: float,
    scale: float,
) -> tuple[list[_Launch], tuple[int, ...]]:
    """Launches, each on the result of the one before, and the shape of what lies between them: contiguous float32."""
    axes = _axes(shape, image.strides, out.strides, filters)
    steps = _steps(axes)
    between = _contiguous_strides([axis.n for axis in axes])
    launches = []
    for number, step in enumerate(steps):
        first, last = number == 0, number == len(steps) - 1
        strided = [
            replace(axis, image=axis.image if first else stride, result=axis.result if last else stride)
            for axis, stride in zip(axes, between, strict=True)
        ]
        layouts = image if first else _BETWEEN, out if last else _BETWEEN
        launches.append(_launch(step, strided, *layouts, cval, scale if last else 1.0))
        cval *= math.prod(axes[number].total for number in (step.x, step.y) if number is not None)
    return launches, tuple(axis.n for axis in axes)


_BETWEEN = _Layout(np.dtype(np.float32))


def _axes(shape: Sequence[int], image: Sequence[int], out: Sequence[int], filters: Sequence[AxisFilter]) -> list[_Axis]:
    """The axes that matter, the densest in memory last."""
    axes = []
    for n, image_stride, out_stride, (taps, odd, mode) in zip(shape, image, out, filters, strict=True):
        axis = _Axis(n, image_stride, out_stride, taps or (1.0,), odd, mode)
        if n == 1 and mode != "constant" and abs(axis.total - 1) < 1e-9:
            axis = axis.unfiltered()  # a single sample between its own copies is the mean of them
        if n > 1 or axis.filtered:
            axes.append(axis)
    return sorted(axes, key=lambda axis: (axis.n > 1, -abs(axis.image)))


def _steps(axes: Sequence[_Axis]) -> list[_Step]:
    """Two axes at once where one runs along the rows of memory; each other axis by itself."""
    filtered = [number for number, axis in enumerate(axes) if axis.filtered]
    steps = []
    x, channel = _row(axes)
    if x is not None:
        filtered.remove(x)
        if axes[x].radius > MOST_UNROLLED_RADIUS:
            steps.append(_Step("gaussian_rows", x=x, channel=channel))
        else:
            reach = axes[x].radius * (1 if channel is None else axes[channel].n)
            y = filtered[-1] if filtered and _fits(reach, axes[filtered[-1]].radius) else None
            if y is not None:
                filtered.remove(y)
            steps.append(_Step("gaussian", x, y, channel))
    for y in reversed(filtered):
        steps.append(_Step("gaussian" if _fits(0, axes[y].radius) else "gaussian_columns", y=y))
    return steps or [_Step("gaussian")]


def _row(axes: Sequence[_Axis]) -> tuple[int | None, int | None]:
    """The filtered axis that runs along the rows of memory, and that of channels interleaved in them; None without."""
    last = len(axes) - 1
    if last < 0:
        return None, None
    if axes[last].filtered:
        return last, None
    if last > 0 and axes[last].n <= MOST_CHANNELS and axes[last - 1].filtered:
        return last - 1, last
    return None, None


def _fits(reach: int, radius: int) -> bool:
    """Whether one launch can filter along x, as far as `reach` samples, and along y."""
    if radius > MOST_UNROLLED_RADIUS:
        return False
    needed = _shared_memory(reach, radius, 4)
    return needed <= 48 << 10 or needed <= runtime.shared_memory_limit()


def _shared_memory(reach: int, radius: int, itemsize: int) -> int:
    """Bytes that `gaussian` needs: its window and its tile."""
    lag = -(-2 * radius // GROUP) * GROUP
    pack = 16 // itemsize
    pieces = (STRIP + 2 * (-(-reach // pack) * pack)) // pack
    return (ROWS + lag) * (STRIP + 4) * 4 + ROWS * (pieces | 1) * 16


def _band(height: int, radius: int, others: int) -> int:
    """Rows of a band: whole turns; of those that occupy the device with `others` and are not too long, the quickest.

    Multiprocessors are done together only if blocks divide by them: time is the turns of the one that has most blocks.
    """
    lag = -(-2 * radius // GROUP) * GROUP
    bands = max(-(-BLOCKS_WANTED // others), -(-height // HIGHEST_BAND))
    least = lag // ROWS + 1
    most = max(-(-(-(-height // bands) + lag) // ROWS), least)
    processors: int = runtime.cupy().cuda.Device().attributes["MultiProcessorCount"]

    def time(turns: int) -> int:
        return -(-(-(-height // (turns * ROWS - lag)) * others) // processors) * turns

    turns = min(range(most, max(least, most // 2) - 1, -1), key=time)
    return turns * ROWS - lag


# ---- a launch's arguments --------------------------------------------------------------------------------------------


def _launch(step: _Step, axes: Sequence[_Axis], image: _Layout, out: _Layout, cval: float, scale: float) -> _Launch:
    roles = _roles(step, axes)
    y, x, channel, *batch = roles
    longest = max(axis.n for axis in roles) * channel.n
    if longest > LONGEST:
        raise ValueError(f"image on a GPU may have at most {LONGEST} samples along an axis, got {longest}")
    items = math.prod(axis.n for axis in batch)
    unused = [0] * (MOST_AXES - len(roles))
    image_strides = (*(axis.image for axis in roles), *unused)
    result_strides = (*(axis.result for axis in roles), *unused)
    definitions: dict[str, int | str] = {"IN": runtime.c_type(image.dtype), "OUT": runtime.c_type(out.dtype)}
    # Where a constant stands outside that the image's dtype may not hold, samples are kept as floats.
    constant = cval != 0 and "constant" in (y.mode, x.mode)
    tile = np.dtype(np.float32) if constant else image.dtype
    pieces = 16 if step.kernel == "gaussian" and tile == image.dtype else 4 * image.dtype.itemsize
    whole = step.kernel == "gaussian" or channel.n == 1  # the kernels for one axis go along pixels of one channel
    values: dict[str, Any] = {
        "shape": (*(axis.n for axis in roles), *unused),
        "batch_axes": len(batch),
        "y_mode": runtime.BORDER_MODES[y.mode],
        "x_mode": runtime.BORDER_MODES[x.mode],
        "cval": cval,
        "image_vectors": whole and _in_pieces(roles, image_strides, image, pieces),
        "result_vectors": whole and _in_pieces(roles, result_strides, out, 4 * out.dtype.itemsize),
    }
    shared_memory = 0
    far_taps: tuple[float, ...] = ()
    if step.kernel == "gaussian":
        strips = -(-x.n * channel.n // STRIP)
        band = _band(y.n, y.radius, strips * items)
        bands = -(-y.n // band)
        definitions.update(TILE=runtime.c_type(tile), DISTANCE=channel.n, X_RADIUS=x.radius, Y_RADIUS=y.radius)
        definitions.update({name: 1 for name, axis in (("X_ODD", x), ("Y_ODD", y)) if axis.odd})
        values.update(
            band=band,
            x_taps=_padded(x.taps, MOST_UNROLLED_RADIUS + 1),
            y_taps=_padded(_scaled(y.taps, scale), MOST_UNROLLED_RADIUS + 1),
        )
        shared_memory = _shared_memory(x.radius * channel.n, y.radius, tile.itemsize)
    else:
        along_x = step.kernel == "gaussian_rows"
        strips = -(-x.n // (RESULTS if along_x else LINES))
        bands = -(-y.n * channel.n // LINES) if along_x else -(-y.n // RESULTS)
        taps = _scaled((x if along_x else y).taps, scale)
        values.update(radius=len(taps) - 1, odd=(x if along_x else y).odd)
        if len(taps) > INLINE_TAPS:
            far_taps = taps
        else:
            values["taps"] = _padded(taps, INLINE_TAPS)
    values.update(strips=strips, bands=bands)
    blocks = strips * bands * items
    return _Launch(step.kernel, definitions, values, image_strides, result_strides, blocks, shared_memory, far_taps)


def _roles(step: _Step, axes: Sequence[_Axis]) -> list[_Axis]:
    """The axes as the kernels number them: y, x, channel, and those of the batch."""
    named = step.x, step.y, step.channel
    filtered = step.x, step.y
    axes = [axis if number in filtered else axis.unfiltered() for number, axis in enumerate(axes)]
    others = _merged([axis for number, axis in enumerate(axes) if number not in named])

    def role(number: int | None) -> _Axis:
        if number is not None:
            return axes[number]
        return others.pop() if others else _Axis()

    x = role(step.x)
    y = role(step.y)
    channel = axes[step.channel] if step.channel is not None else _Axis()
    return [y, x, channel, *others]


def _merged(axes: Sequence[_Axis]) -> list[_Axis]:
    """Neighbours that both arrays pass through in one stride become one."""
    merged: list[_Axis] = []
    for axis in axes:
        outer = merged[-1] if merged else None
        if (
            outer is not None
            and (outer.image, outer.result) == (axis.image * axis.n, axis.result * axis.n)
            and outer.n * axis.n <= LONGEST // MOST_CHANNELS
        ):
            merged[-1] = replace(axis, n=outer.n * axis.n)
        else:
            merged.append(axis)
    return merged


def _in_pieces(roles: Sequence[_Axis], strides: Sequence[int], layout: _Layout, size: int) -> bool:
    """Whether rows are contiguous, and all begin at a multiple of `size` bytes."""
    y, x, channel, *batch = zip(roles, strides, strict=False)
    contiguous = x[1] == channel[0].n and (channel[0].n == 1 or channel[1] == 1)
    starts = (stride for axis, stride in (y, *batch) if axis.n > 1)
    return bool(
        contiguous
        and layout.misalignment % size == 0
        and all(stride * layout.dtype.itemsize % size == 0 for stride in starts)
    )


def _contiguous_strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _scaled(taps: Sequence[float], scale: float) -> tuple[float, ...]:
    return tuple(tap * scale for tap in taps)


def _padded(taps: Sequence[float], n: int) -> NDArray[np.float32]:
    padded = np.zeros(n, np.float32)
    padded[: len(taps)] = taps
    return padded
