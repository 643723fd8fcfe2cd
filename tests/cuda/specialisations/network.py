"""The networks that come with fastimg, laid out for the shared memory of each kind of device."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

import numpy as np

from fastimg.models import Conv2d, ConvTranspose2d

from . import Specialisation

_network = import_module("fastimg.backends.cuda.network")  # the package has the function under this name

# What a block may have, and the architectures where it may.
_SHARED = {
    64 << 10: ("sm_75",),
    99 << 10: ("sm_86", "sm_89", "sm_120"),
    163 << 10: ("sm_80",),
    227 << 10: ("sm_90a", "sm_100"),
}
_LARGEST = max(_SHARED)
_DECONVOLUTION = {2: (2, 4, 1), 3: (3, 3, 0), 4: (4, 4, 3)}


def _convolution(outputs: int, inputs: int, k: int, activation: str | None) -> Conv2d:
    slope = np.ones(1) if activation == "prelu" else None
    weight = np.zeros((outputs, inputs, k, k))
    return Conv2d(weight, padding=k // 2, padding_mode="replicate", activation=activation, slope=slope)


def _fsrcnn(scale: int, d: int = 56, s: int = 12, m: int = 4) -> list[Conv2d | ConvTranspose2d]:
    shapes = [(d, 1, 5), (s, d, 1), *[(s, s, 3)] * m, (d, s, 1)]
    stride, padding, output_padding = _DECONVOLUTION[scale]
    last = ConvTranspose2d(np.zeros((d, 1, 9, 9)), None, stride, padding, output_padding, padding_mode="replicate")
    return [*(_convolution(*shape, "prelu") for shape in shapes), last]


def _srcnn(middle: int) -> list[Conv2d]:
    return [
        _convolution(64, 1, 9, "relu"),
        _convolution(32, 64, middle, "relu"),
        _convolution(1, 32, 5, None),
    ]


def _dncnn(inputs: int, outputs: int, depth: int) -> list[Conv2d]:
    """As many layers of a DnCNN-s as run together."""
    widths = [inputs, *[48] * (depth - 1), outputs]
    return [_convolution(after, before, 3, "prelu") for before, after in pairwise(widths)]


def _specialisation(
    layers: Sequence[Conv2d | ConvTranspose2d],
    shared: int,
    image: str = "float",
    result: str = "float",
    interleaved: tuple[bool, bool] = (False, False),
) -> Specialisation:
    plan = _network.make_plan(layers, shared)
    return Specialisation(
        "network",
        "network",
        plan.definitions(image, result, interleaved),
        threads=32 * plan.layout.tile.warps,
        shared_memory=plan.layout.shared_memory,
        instructions=("HMMA.16816.F32", "LDSM.16", "MOVM.16") if len(layers) > 3 else ("HMMA.16816.F32", "LDSM.16"),
        architectures=_SHARED[shared],
    )


SPECIALISATIONS = [
    *(_specialisation(_fsrcnn(scale), shared) for scale in (2, 3, 4) for shared in _SHARED),
    *(_specialisation(_fsrcnn(2), _LARGEST, t, t) for t in ("half", "uint8_t")),
    *(_specialisation(_fsrcnn(2, 32, 5, 1), shared) for shared in _SHARED),
    *(_specialisation(_srcnn(middle), _LARGEST) for middle in (1, 3, 5)),
    _specialisation(_dncnn(1, 48, 6), _LARGEST, result="half", interleaved=(False, True)),
    _specialisation(_dncnn(48, 1, 3), _LARGEST, "half", interleaved=(True, False)),
]
