"""Mean squared differences on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import runtime

# As csrc/cuda/mean_squared_error.cu has them.
BLOCK, UNITS, UNIT_BYTES = 256, 4, 16
MOST_AXES = 8

_PARAMETERS = np.dtype(
    [
        ("a", runtime.view_dtype(MOST_AXES)),
        ("b", runtime.view_dtype(MOST_AXES)),
        ("result", np.uint64),
        ("units", np.int64),
        ("units_of_row", np.int64),
        ("shape", np.int64, (MOST_AXES,)),
        ("divisor", np.float64),
        ("vectors", np.int32),
    ],
    align=True,
)

# `Shares` of csrc/cuda/support/sums.cuh.
_SHARES = np.dtype(
    [("values", np.uint64), ("result", np.uint64), ("count", np.int64), ("divisor", np.float64)], align=True
)
SHARES_BLOCK = 1024


def mean_squared_error(image0: Any, image1: Any, threads: int, out: Any) -> None:
    """Into `out`, a float64 array of no dimensions. An `image1` of no dimensions stands for a constant."""
    if image1.ndim == 0:
        image1 = Broadcast(image1, image0.shape)
    else:
        image0, image1 = _in_order_of_memory(image0, image1)
    shape, (strides0, strides1) = runtime.merged_axes(image0, image1)
    length = UNIT_BYTES // image0.itemsize
    units_of_row = -(-shape[-1] // length)
    rows = int(np.prod(shape[:-1], dtype=np.int64))
    units, elements = rows * units_of_row, rows * shape[-1]
    blocks = -(-units // (BLOCK * UNITS))
    shares = out if blocks == 1 else runtime.empty((blocks,), np.float64)
    definitions: dict[str, int | str] = {"IN": runtime.c_type(image0.dtype), "AXES": len(shape)}
    unused = [0] * (MOST_AXES - len(shape))
    values = {
        "a": (runtime.address(image0), (*strides0, *unused)),
        "b": (runtime.address(image1), (*strides1, *unused)),
        "result": runtime.address(shares),
        "units": units,
        "units_of_row": units_of_row,
        "shape": (*shape, *unused),
        "divisor": elements if blocks == 1 else 1,
        "vectors": _vectors(image0, strides0) and _vectors(image1, strides1),
    }
    add_up = runtime.kernel("mean_squared_error", "mean_squared_error", _PARAMETERS, **definitions)
    add_up((blocks,), (BLOCK,), values)
    if blocks > 1:
        mean_of_shares("mean_squared_error", definitions, shares, out, elements)


def mean_of_shares(source: str, definitions: dict[str, int | str], shares: Any, out: Any, divisor: float) -> None:
    """The sum of an array of float64, divided, into `out` of no dimensions, by the kernel that a source has for it."""
    values = {
        "values": runtime.address(shares),
        "result": runtime.address(out),
        "count": shares.shape[0],
        "divisor": divisor,
    }
    block = min(SHARES_BLOCK, -(-shares.shape[0] // 32) * 32)
    runtime.kernel(source, "mean_of_shares", _SHARES, **definitions)((1,), (block,), values)


class Broadcast:
    """An array seen in a larger shape, for what is done with arrays before a launch."""

    def __init__(self, array: Any, shape: tuple[int, ...]) -> None:
        new = len(shape) - array.ndim
        steps = (0 if n == 1 else stride for n, stride in zip(array.shape, array.strides, strict=True))
        self.shape, self.strides, self.itemsize = shape, ((0,) * new + tuple(steps)), array.itemsize
        self.data = array.data


def _in_order_of_memory(a: Any, b: Any) -> tuple[Any, Any]:
    """Both arrays with their axes in the order and direction in which the first lies in memory."""
    order = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    if order != list(range(a.ndim)):
        a, b = a.transpose(order), b.transpose(order)
    if any(stride < 0 for stride in a.strides):
        forward = tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in a.strides)
        a, b = a[forward], b[forward]
    return a, b


def _vectors(array: Any, strides: list[int]) -> bool:
    """Whether every row starts at a multiple of 16 bytes and runs without gaps."""
    steps = [runtime.address(array), *(stride * array.itemsize for stride in strides[:-1])]
    return strides[-1] == 1 and all(step % UNIT_BYTES == 0 for step in steps)
