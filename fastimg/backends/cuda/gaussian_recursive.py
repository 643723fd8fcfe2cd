"""The recursive Gaussian on the GPU: three launches for each axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import runtime
from .gaussian import LONGEST, gaussian

if TYPE_CHECKING:
    from ..._recursive_gaussian import RecursiveFilter

# As csrc/cuda/gaussian_recursive.cu has them.
THREADS, THREADS_OF_SCAN, POLES = 128, 64, 3
BLOCK = 32  # samples
MOST_CHANNELS = 4

DEAD = 1e-8  # what is left of a response that counts as nothing


def gaussian_recursive(
    image: Any, out: Any, filters: Sequence[RecursiveFilter], cval: float, scale: float, threads: int
) -> None:
    filtered = [axis for axis, of_axis in enumerate(filters) if of_axis.poles]
    if not filtered:
        return gaussian(image, out, [((), False, "nearest")] * len(filters), cval, scale, threads)
    source, between = image, None
    for axis in filtered:
        if axis == filtered[-1] or out.dtype == np.float32:
            result = out
        else:
            between = result = _floats_like(image) if between is None else between
        _filter(axis, filters[axis], source, result, cval, scale)
        cval *= scale * _total(filters[axis])
        scale = 1.0
        source = result
    return None


def _floats_like(image: Any) -> Any:
    """Memory for floats in the order of the image's axes in memory."""
    order = _densest_last(image, range(image.ndim))
    packed = runtime.empty(tuple(image.shape[axis] for axis in order), np.float32)
    return packed.transpose([order.index(axis) for axis in range(image.ndim)])


def _densest_last(image: Any, axes: Sequence[int]) -> list[int]:
    return sorted(axes, key=lambda axis: -abs(image.strides[axis]))


def _total(filter: RecursiveFilter) -> float:
    """What a constant is multiplied by."""
    if filter.odd:
        return 0.0
    sides = sum(r * p / (1 - p) for r, p in zip(filter.residues, filter.poles, strict=True))
    return filter.centre + 2 * complex(sides).real


def _filter(axis: int, filter: RecursiveFilter, source: Any, result: Any, outside: float, scale: float) -> None:
    """One axis of `source` into `result`, which may be the same."""
    arrays = source, result
    layouts = [_Layout(tuple(array.shape), runtime.element_strides(array)) for array in arrays]
    dtypes = source.dtype, result.dtype
    launches, size = _plan(runtime.here(), axis, filter, *layouts, *dtypes, outside, scale)
    states = runtime.empty(size, np.float32)
    for launch in launches:
        launch(image=runtime.address(source), result=runtime.address(result), states=runtime.address(states))


class _Layout(NamedTuple):
    """How an array lies in memory, in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int = 1

    def first_of_lines(self, axes: Sequence[int]) -> _Layout:
        return _Layout(tuple([self.shape[axis] for axis in axes]), tuple([self.strides[axis] for axis in axes]))


@functools.lru_cache(maxsize=256)
def _plan(
    device: tuple[Any, int],
    axis: int,
    filter: RecursiveFilter,
    source: _Layout,
    result: _Layout,
    source_dtype: np.dtype[Any],
    result_dtype: np.dtype[Any],
    outside: float,
    scale: float,
) -> tuple[list[runtime.Launch], tuple[int, ...]]:
    """What is launched, on that device, for an axis, and the shape of the scratch for states."""
    n = source.shape[axis]
    if n > LONGEST:
        raise ValueError(f"image on a GPU may have at most {LONGEST} samples along an axis, got {n}")
    dimensions = range(len(source.shape))
    others = _densest_last(source, [other for other in dimensions if other != axis and source.shape[other] > 1])
    denser = [other for other in others if abs(source.strides[other]) < abs(source.strides[axis])]
    channels = source.shape[denser[0]] if len(denser) == 1 and source.shape[denser[0]] <= MOST_CHANNELS else 1
    kind = "rows" if not denser or channels > 1 else "columns"
    last = [others.pop()] if channels > 1 else []  # not merged: kernels tell channels by it
    shape, strides = runtime.merged_axes(*(array.first_of_lines(others) for array in (source, result)))
    shape += [channels] * len(last)
    image_strides, result_strides = (
        [*of_lines, *[array.strides[other] for other in (*last, axis)]]
        for array, of_lines in zip((source, result), strides, strict=True)
    )
    lines, blocks = math.prod(shape), -(-n // BLOCK)
    groups = -(-lines // (THREADS // 32 * (32 // channels * channels)))
    values = {
        "image": (0, image_strides),
        "result": (0, result_strides),
        "shape": shape,
        "lines": lines,
        "groups": groups,
        "n": n,
        "blocks": blocks,
        **_coefficients(filter, n, outside, scale),
    }

    def prepared(name: str, grid: tuple[int, ...], threads: int) -> runtime.Launch:
        kernel = runtime.kernel(
            "gaussian_recursive",
            f"gaussian_recursive_{name}",
            _parameters(len(shape)),
            IN=runtime.c_type(source_dtype),
            OUT=runtime.c_type(result_dtype),
            CHANNELS=channels,
            AXES=len(shape),
        )
        return kernel.prepared(grid, (threads,), values)

    launches = [
        prepared(f"{kind}_ends", (groups * blocks,), THREADS),
        prepared("scan", (-(-lines // THREADS_OF_SCAN), POLES), THREADS_OF_SCAN),
        prepared(f"{kind}_filter", (groups * blocks,), THREADS),
    ]
    return launches, (2, POLES, blocks, lines, 2)


def _coefficients(filter: RecursiveFilter, n: int, outside: float, scale: float) -> dict[str, Any]:
    """What kernels are told of the filter and of the borders of lines of length n.

    The state at a border comes from the line's `head`, the sum of poles**k times the sample at distance k from the
    first (from the second in mode "mirror"), and its `tail`, the same from the other end: near * head + far * tail
    before the line, near * tail + far * head after it.
    """
    poles, mode = np.array(filter.poles), filter.mode
    if mode in ("nearest", "constant") or (mode == "mirror" and n == 1):  # the head is one number, for ever
        edge = 0 if mode == "constant" else 1
        reach, skipped = 0, 0
        near, far = 1 / (1 - poles), 0 * poles
    else:
        life = math.ceil(math.log(DEAD) / math.log(max(DEAD, *abs(poles))))
        reach, edge, skipped = -(-life // BLOCK), BLOCK, int(mode == "mirror")
        length = n - skipped
        if mode == "wrap":
            near, far = 0 * poles, 1 / (1 - poles**length)
        else:  # head, then tail, then head again
            near, far = 1 / (1 - poles ** (2 * length)), poles**length / (1 - poles ** (2 * length))
    return {
        "centre": filter.centre * scale,
        "sign": -1.0 if filter.odd else 1.0,
        "poles": _pairs(poles),
        "residues": _pairs(scale * np.array(filter.residues) * poles),
        "across_block": _pairs(poles**BLOCK),
        "across_last": _pairs(poles ** ((n - 1) % BLOCK + 1)),
        "reach": reach,
        "edge": edge,
        "skipped": skipped,
        "outside": outside if mode == "constant" else 0.0,
        "near": _pairs(near),
        "far": _pairs(far),
    }


def _pairs(numbers: Any) -> Any:
    """Real and imaginary parts as a last axis."""
    return np.stack([numbers.real, numbers.imag], -1)


@functools.cache
def _parameters(axes: int) -> np.dtype[Any]:
    pairs = "poles", "residues", "near", "far", "across_block", "across_last"
    return np.dtype(
        [
            *((name, runtime.view_dtype(axes + 1)) for name in ("image", "result")),
            ("states", np.uint64),
            ("shape", np.int64, (axes,)),
            ("lines", np.int64),
            *((name, np.int32) for name in ("groups", "n", "blocks", "reach", "edge", "skipped")),
            *((name, np.float32) for name in ("centre", "sign", "outside")),
            *((name, np.float32, (POLES, 2)) for name in pairs),
        ],
        align=True,
    )
