"""Transposed convolution of images on the GPU."""

from __future__ import annotations

import functools
from typing import Any

from . import runtime
from .convolution import Axis, Geometry, Layer, Plan, convolve, geometry_of, planned

MOST_PLACES = 16  # of a cell: one sum each, for every cell of a run
MOST_TAPS = 64  # along an axis


def conv_transpose2d(
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
    by_output = weight.transpose(1, 0, 2, 3)
    weight_group = geometry.inputs * runtime.element_strides(weight)[0]
    convolve(_plan(geometry), x, by_output, weight_group, bias, padding_mode, activation, slope, out)


@functools.lru_cache(maxsize=256)
def _plan(geometry: Geometry) -> Plan:
    axes = None
    stride, taps = geometry.stride, geometry.taps
    if stride[0] * stride[1] <= MOST_PLACES and max(taps) <= MOST_TAPS:
        axes = _axis(geometry, 0), _axis(geometry, 1)
    definitions = {
        f"{name}_{axis}": numbers[i]
        for name, numbers in (("KERNEL", taps), ("STRIDE", stride), ("DILATION", geometry.dilation))
        for i, axis in enumerate("YX")
    }
    for i, axis in enumerate("YX"):
        definitions[f"PADDING_{axis}"] = geometry.padding[i] % stride[i]
    phases = min(stride[0], geometry.out_shape[2]), min(stride[1], geometry.out_shape[3])
    return planned(Layer("conv_transpose2d", geometry, axes, phases, tuple(definitions.items())))


def _axis(geometry: Geometry, i: int) -> Axis:
    taps, stride, padding, dilation = (
        numbers[i] for numbers in (geometry.taps, geometry.stride, geometry.padding, geometry.dilation)
    )
    distances = [place + padding - tap * dilation for place in range(stride) for tap in range(taps)]
    inputs = [distance // stride for distance in distances if distance % stride == 0]
    return Axis(taps=taps, places=stride, step=1, reach=max(inputs) - min(inputs), first=min(inputs))
