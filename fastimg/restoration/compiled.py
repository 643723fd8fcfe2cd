"""Weightings of non-local means in Python, compiled by Numba."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from .._compiled import CompiledFunction, WithParameters

__all__ = ["weighting_by"]

_MOST_KEPT = 64  # compiled functions


class CompiledWeighting(CompiledFunction):
    """What a distance weighs. No distance that is not finite weighs anything; a weight below 0 or not a number is 0."""

    user = "weighting"
    arguments = "weighting_args"
    takes = ("a distance",)
    gives = ("a weight",)
    symbol = "fastimg_weight"
    pixel_signature = "float32(float32, CPointer(float64))"
    pixel_source = """
def pixel(distance, parameters):
    weight = function(float(distance){parameters})
    return weight if distance < float("inf") and weight > 0 else 0.0
"""

    def line(self, numba: Any, function: Any) -> tuple[Any, Callable[..., None]]:
        """`WeightFunction` of the kernel."""
        to_fixed_tuple = importlib.import_module("numba.np.unsafe.ndarray").to_fixed_tuple
        count, infinity = self.count, math.inf

        def line(distances: Any, n: Any, parameters: Any) -> None:
            weights = numba.carray(distances, (n,))
            given = to_fixed_tuple(numba.carray(parameters, (count,)), count)
            for i in range(n):
                distance = float(weights[i])
                weight = float(function(distance, *given))
                weights[i] = weight if distance < infinity and weight > 0 else 0.0

        types = numba.core.types
        return types.void(types.CPointer(types.float32), types.int64, types.CPointer(types.float64)), line


@functools.lru_cache(_MOST_KEPT)
def _compiled(function: Callable[..., float]) -> CompiledWeighting:
    return CompiledWeighting(function, "weighting")


def weighting_by(function: Callable[..., float], arguments: Mapping[str, Any]) -> WithParameters:
    """A weighting by a Python function, compiled only once for the same function."""
    compiled = _compiled(function)
    return WithParameters(compiled, compiled.parameters(arguments))
