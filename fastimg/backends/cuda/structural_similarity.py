"""Structural similarity on the GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime
from .mean_squared_error import mean_of_shares

# As csrc/cuda/structural_similarity.cu has them.
COLUMN, ROW, PLANE, FURTHER = range(4)
MOST_AXES = FURTHER + 6
THREADS, ACROSS = 128, 4
ANY_BLOCK = 256

MOST_UNROLLED_RADIUS = 10
BANDS = (64, 32, 16, 8)  # rows
BLOCKS_WANTED = 264


def _parameters(weights: int) -> np.dtype[Any]:
    return np.dtype(
        [
            *((name, runtime.view_dtype(MOST_AXES)) for name in ("a", "b", "map")),
            ("shape", np.int32, (MOST_AXES,)),
            *(
                (name, np.int32)
                for name in ("further", "origin", "margin", "strips", "bands", "band", "rows", "radius")
            ),
            ("result", np.uint64),
            ("divisor", np.float64),
            *((name, np.float32) for name in ("mean_scale", "variance_scale", "total_weight", "c1", "c2")),
            ("weights", np.uint64),
            ("inline_weights", np.float32, (weights,)),
        ],
        align=True,
    )


_PARAMETERS = [_parameters(weights) for weights in range(1, MOST_UNROLLED_RADIUS + 2)]  # by radius


def structural_similarity(
    image0: Any,
    image1: Any,
    map: Any | None,
    weights: Sequence[float],
    margin: int,
    covariance_factor: float,
    c1: float,
    c2: float,
    threads: int,
    out: Any,
) -> None:
    """Into `out`, a float64 array of no dimensions."""
    radius, spatial = len(weights) - 1, image0.ndim - 1
    weighted = weights[0] != weights[-1]
    total_weight = 1.0 if weighted else float((2 * radius + 1) ** spatial)
    origin = margin if map is None else 0
    sizes = [n - 2 * origin for n in image0.shape[1:]]
    pixels = image0.shape[0] * math.prod(n - 2 * margin for n in image0.shape[1:])
    definitions: dict[str, int | str] = {
        "IN": runtime.c_type(image0.dtype),
        "MAP": int(map is not None),
        "WEIGHTED": int(weighted),
    }
    values = {
        "a": _view(image0),
        "b": _view(image1),
        "map": (0, (0,) * MOST_AXES) if map is None else _view(map),
        "shape": _in_order(image0.shape, 1),
        "further": max(spatial - 2, 0),
        "origin": origin,
        "margin": margin,
        "rows": spatial > 1,
        "radius": radius,
        "mean_scale": 1 / total_weight,
        "variance_scale": covariance_factor / total_weight**2,
        "total_weight": total_weight,
        "c1": 2 * c1,
        "c2": 2 * c2,
    }
    if spatial <= 2 and radius <= MOST_UNROLLED_RADIUS:
        definitions |= {"RADIUS": radius, "ROW_RADIUS": radius if spatial > 1 else 0}
        name, block, parameters = "structural_similarity", THREADS, _PARAMETERS[radius]
        values["inline_weights"] = _exact_weights(weights)
        grid = _grid(sizes, image0.shape[0], (THREADS - 2 * radius) // ACROSS * ACROSS)
        values |= grid
        blocks = grid["strips"] * grid["bands"] * image0.shape[0]
    else:
        name, block, parameters = "structural_similarity_any", ANY_BLOCK, _PARAMETERS[0]
        table = runtime.constants(_exact_weights(weights))
        values["weights"] = runtime.address(table)
        blocks = -(-image0.shape[0] * math.prod(sizes) // ANY_BLOCK)
    shares = out if blocks == 1 else runtime.empty((blocks,), np.float64)
    values |= {"result": runtime.address(shares), "divisor": pixels if blocks == 1 else 1}
    runtime.kernel("structural_similarity", name, parameters, **definitions)((blocks,), (block,), values)
    if blocks > 1:
        mean_of_shares("structural_similarity", definitions, shares, out, pixels)


def _grid(sizes: list[int], planes: int, width: int) -> dict[str, int]:
    """Strips of columns and bands of rows: as high as they may be while there are blocks for every multiprocessor."""
    rows, strips = sizes[-2] if len(sizes) > 1 else 1, -(-sizes[-1] // width)
    enough = (band for band in BANDS if strips * -(-rows // band) * planes >= BLOCKS_WANTED)
    band = next(enough, BANDS[-1])
    return {"strips": strips, "bands": -(-rows // band), "band": band}


def _exact_weights(weights: Sequence[float]) -> NDArray[np.float32]:
    """In float32, with what rounding has taken from their sum given back to the last."""
    rounded = np.asarray(weights, np.float32)
    wanted = weights[0] + 2 * math.fsum(weights[1:])
    if len(weights) > 1:
        rounded[-1] += (wanted - float(rounded[0]) - 2 * math.fsum(rounded[1:].tolist())) / 2
    return rounded


def _in_order(values: Sequence[int], missing: int) -> tuple[int, ...]:
    """What belongs to planes, further axes, rows and columns, in the kernel's order of axes."""
    plane, *others = values
    column = others.pop()
    row = others.pop() if others else missing
    return (column, row, plane, *others, *[missing] * (MOST_AXES - FURTHER - len(others)))


def _view(array: Any) -> tuple[int, tuple[int, ...]]:
    return runtime.address(array), _in_order(runtime.element_strides(array), 0)
