"""Layers that networks are made of, as the backend plans them for a device with much shared memory."""

import sys

from fastimg.backends.cuda import convolution
from fastimg.backends.cuda.conv2d import conv2d
from fastimg.backends.cuda.conv_transpose2d import conv_transpose2d

from . import Specialisation


def _specialisation(operation, shape, out, taps, stride, padding) -> Specialisation:
    module = sys.modules[operation.__module__]
    contiguous = [(s[1] * s[2] * s[3], s[2] * s[3], s[3], 1) for s in (shape, out)]
    geometry = convolution.Geometry(shape, out, taps, stride, padding, (1, 1), 1, contiguous[0], 0, contiguous[1], 0)
    plan = module._plan(geometry)
    source = plan.kernel.removesuffix("_any")
    return Specialisation(source, plan.kernel, dict(plan.definitions), plan.threads, plan.shared_memory)


def _conv2d(inputs: int, outputs: int, k: int) -> Specialisation:
    size = (540, 960)
    pair = (k // 2, k // 2)
    return _specialisation(conv2d, (1, inputs, *size), (1, outputs, *size), (k, k), (1, 1), pair)


def _conv_transpose2d(inputs: int, stride: int, padding: int) -> Specialisation:
    out = (1, 1, 540 * stride, 960 * stride)
    return _specialisation(conv_transpose2d, (1, inputs, 540, 960), out, (9, 9), (stride, stride), (padding, padding))


SPECIALISATIONS = [
    *(_conv2d(*layer) for layer in ((1, 56, 5), (56, 12, 1), (12, 12, 3), (12, 56, 1))),
    *(_conv2d(*layer) for layer in ((1, 64, 9), (64, 32, 5), (32, 1, 5))),
    *(_conv_transpose2d(56, stride, padding) for stride, padding in ((2, 4), (3, 3), (4, 4))),
]
