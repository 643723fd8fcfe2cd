"""The `.mat` files in which the authors of SRCNN and FSRCNN published their weights (MATLAB 5).

A convolution is stored as (C_in, k·k, C_out), its taps column by column, and a deconvolution like the convolution
that it is the reverse of. FSRCNN's files hold one cell array each of weights, biases and PReLU slopes; SRCNN's hold
one variable per layer and leave out the axis of length one.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import mat5
from .contents import LayerTensors, Weights

Array = NDArray[np.float64]


def read(path: Path) -> Weights:
    """Read the authors' FSRCNN, FSRCNN-s or SRCNN weights."""
    try:
        variables = mat5.read(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"truncated or damaged .mat file: {error}") from error
    if variables.keys() == {"weights_conv", "biases_conv", "prelu_conv"}:
        return Weights(tensors=_fsrcnn(variables))
    if variables.keys() == {f"{kind}_conv{i}" for kind in ("weights", "biases") for i in (1, 2, 3)}:
        return Weights(tensors=_srcnn(variables))
    raise ValueError(
        "expected the variables weights_conv, biases_conv and prelu_conv (FSRCNN) or weights_conv1 … biases_conv3 "
        f"(SRCNN), found {', '.join(sorted(variables)) or 'none'}"
    )


def _fsrcnn(variables: dict[str, mat5.Value]) -> tuple[LayerTensors, ...]:
    weights, biases, slopes = (_cells(variables, name) for name in ("weights_conv", "biases_conv", "prelu_conv"))
    if not len(weights) == len(biases) == len(slopes):
        raise ValueError(
            f"expected as many cells in biases_conv and prelu_conv as in weights_conv ({len(weights)}), "
            f"found {len(biases)} and {len(slopes)}"
        )
    return tuple(
        LayerTensors(name := f"weights_conv{{{i}}}", _taps(name, w), b.ravel(), s.ravel() if s.size else None)
        for i, (w, b, s) in enumerate(zip(weights, biases, slopes, strict=True), 1)
    )


def _srcnn(variables: dict[str, mat5.Value]) -> tuple[LayerTensors, ...]:
    tensors = []
    for i in (1, 2, 3):
        name = f"weights_conv{i}"
        weight, bias = _numbers(name, variables[name]), _numbers(f"biases_conv{i}", variables[f"biases_conv{i}"])
        weight = weight[np.newaxis] if i == 1 and weight.ndim == 2 else weight
        tensors.append(LayerTensors(name, _taps(name, weight), bias.ravel()))
    return tuple(tensors)


def _cells(variables: dict[str, mat5.Value], name: str) -> list[Array]:
    cells = variables[name]
    if not isinstance(cells, list):
        raise ValueError(f"{name}: expected a cell array, found numbers of shape {cells.shape}")
    return [_numbers(f"{name}{{{i}}}", cell) for i, cell in enumerate(cells, 1)]


def _numbers(name: str, value: mat5.Value) -> Array:
    if isinstance(value, list):
        raise ValueError(f"{name}: expected numbers, found a cell array")
    return value


def _taps(name: str, weight: Array) -> Array:
    """(C_in, k·k, C_out), column-major taps, to (C_out, C_in, k, k); a deconvolution's come out as PyTorch's."""
    if weight.ndim == 2:  # MATLAB drops trailing axes of length one
        weight = weight[:, :, np.newaxis]
    k = math.isqrt(weight.shape[1])
    if weight.ndim != 3 or k * k != weight.shape[1]:
        raise ValueError(f"{name}: expected shape (C_in, k*k, C_out), found {weight.shape}")
    return weight.reshape(weight.shape[0], k, k, weight.shape[2]).transpose(3, 0, 2, 1)
