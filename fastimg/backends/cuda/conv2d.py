"""Convolution of images on the GPU."""

from __future__ import annotations

import functools
from typing import Any

from . import runtime
from .convolution import Axis, Geometry, Layer, Plan, convolve, geometry_of, planned

ROWS = 4  # of a cell, where a group has a single output channel
MOST_TAPS_OF_ROWS = 81  # whose cells are unrolled


def conv2d(
    x: Any,
    weight: Any,
    bias: Any,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    padding_mode: str,
    activation: str | None,
    slope: Any,
    out: Any,
    threads: int,
) -> None:
    geometry = geometry_of(x, out, weight.shape[2:], stride, padding, dilation, groups)
    weight_group = geometry.outputs * runtime.element_strides(weight)[0]
    convolve(_plan(geometry), x, weight, weight_group, bias, padding_mode, activation, slope, out)


@functools.lru_cache(maxsize=256)
def _plan(geometry: Geometry) -> Plan:
    rows = _rows_of_a_cell(geometry)
    y, x = (
        Axis(
            taps=geometry.taps[i],
            places=places,
            step=places * geometry.stride[i],
            reach=(places - 1) * geometry.stride[i] + (geometry.taps[i] - 1) * geometry.dilation[i],
            first=-geometry.padding[i],
        )
        for i, places in enumerate((rows, 1))
    )
    definitions = {
        f"{name}_{axis}": getattr(geometry, attribute)[i]
        for name, attribute in (("KERNEL", "taps"), ("STRIDE", "stride"), ("DILATION", "dilation"))
        for i, axis in enumerate("YX")
    }
    definitions["CELL_Y"] = rows
    return planned(Layer("conv2d", geometry, (y, x), (1, 1), tuple(definitions.items())))


def _rows_of_a_cell(geometry: Geometry) -> int:
    several = (
        geometry.outputs == 1
        and geometry.inputs > 1
        and geometry.taps[0] > 1
        and geometry.taps[0] * geometry.taps[1] <= MOST_TAPS_OF_ROWS
        and geometry.stride[0] == geometry.dilation[0] == 1
    )
    return ROWS if several else 1
