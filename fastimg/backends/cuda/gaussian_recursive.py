"""The recursive Gaussian on the GPU: a launch for each axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import runtime
from .gaussian import LONGEST, gaussian

if TYPE_CHECKING:
    from ..._recursive_gaussian import RecursiveFilter

# As csrc/cuda/gaussian_recursive.cu has them.
THREADS, POLES = 128, 3
MOST_CHANNELS = 4

DEAD = 1e-8  # what is left of a response that counts as nothing
THREADS_WANTED = 1 << 16
SHORTEST_SEGMENT = 64


def gaussian_recursive(
    image: Any, out: Any, filters: Sequence[RecursiveFilter], cval: float, scale: float, threads: int
) -> None:
    filtered = [axis for axis, of_axis in enumerate(filters) if of_axis.poles]
    if not filtered:
        return gaussian(image, out, [((), False, "nearest")] * len(filters), cval, scale, threads)
    source = image
    for axis in filtered:
        result = out if axis == filtered[-1] else _floats_like(image)
        partial = result if result.dtype == np.float32 else _floats_like(image)
        _filter(axis, filters[axis], source, partial, result, cval, scale)
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


def _filter(
    axis: int, filter: RecursiveFilter, source: Any, partial: Any, result: Any, outside: float, scale: float
) -> None:
    """One axis of `source` into `result`, which may be `partial`."""
    n = source.shape[axis]
    if n > LONGEST:
        raise ValueError(f"image on a GPU may have at most {LONGEST} samples along an axis, got {n}")
    others = _densest_last(source, [other for other in range(source.ndim) if other != axis and source.shape[other] > 1])
    denser = [other for other in others if abs(source.strides[other]) < abs(source.strides[axis])]
    channels = source.shape[denser[0]] if len(denser) == 1 and source.shape[denser[0]] <= MOST_CHANNELS else 1
    in_rows = not denser or channels > 1
    arrays = source, partial, result
    channel = others.pop() if channels > 1 else None
    shape, strides = runtime.merged_axes(*(_lines(array, others) for array in arrays))
    views = [
        (runtime.address(array), (*of_lines, 0 if channel is None else steps[channel], steps[axis]))
        for array, of_lines, steps in zip(arrays, strides, map(runtime.element_strides, arrays), strict=True)
    ]
    lines = math.prod(shape)
    life = math.ceil(math.log(DEAD) / math.log(max(map(abs, filter.poles))))
    period = {"reflect": 2 * n, "mirror": max(1, 2 * n - 2), "wrap": n}.get(filter.mode, 1)
    segment = _segment(n, life, lines)
    blocks = -(-lines // THREADS)
    values = {
        **dict(zip(("image", "partial", "result"), views, strict=True)),
        "shape": shape,
        "lines": lines,
        "blocks": blocks,
        "n": n,
        "segment": segment,
        "life": life,
        "warm_up": min(life, period),
        "mode": runtime.BORDER_MODES[filter.mode],
        "centre": filter.centre * scale,
        "sign": -1.0 if filter.odd else 1.0,
        "outside": outside,
        "poles": _pairs(filter.poles),
        "residues": _pairs([scale * r * p for r, p in zip(filter.residues, filter.poles, strict=True)]),
        "closing": _pairs([1 if life < period else 1 / (1 - p**period) for p in filter.poles]),
    }
    kernel = runtime.kernel(
        "gaussian_recursive",
        "gaussian_recursive_rows" if in_rows else "gaussian_recursive_columns",
        _parameters(len(shape)),
        IN=runtime.c_type(source.dtype),
        OUT=runtime.c_type(result.dtype),
        CHANNELS=channels,
        AXES=len(shape),
    )
    kernel((blocks * -(-n // segment),), (THREADS,), values)


def _lines(array: Any, axes: Sequence[int]) -> Any:
    """The first samples of an array's lines."""
    rest = [axis for axis in range(array.ndim) if axis not in axes]
    return array.transpose([*axes, *rest])[(..., *[0] * len(rest))]


def _segment(n: int, life: int, lines: int) -> int:
    """Samples of a segment: enough of them to occupy the device, none so short that warming up costs more than it."""
    wanted = -(-THREADS_WANTED // lines)
    return max(-(-n // wanted), min(n, max(SHORTEST_SEGMENT, 2 * life)))


def _pairs(numbers: Sequence[complex]) -> list[tuple[float, float]]:
    return [(complex(z).real, complex(z).imag) for z in numbers]


@functools.cache
def _parameters(axes: int) -> np.dtype[Any]:
    pairs = (np.float32, (POLES, 2))
    return np.dtype(
        [
            *((name, runtime.view_dtype(axes + 2)) for name in ("image", "partial", "result")),
            ("shape", np.int64, (axes,)),
            ("lines", np.int64),
            *((name, np.int32) for name in ("blocks", "n", "segment", "life", "warm_up", "mode")),
            *((name, np.float32) for name in ("centre", "sign", "outside")),
            *((name, *pairs) for name in ("poles", "residues", "closing")),
        ],
        align=True,
    )
