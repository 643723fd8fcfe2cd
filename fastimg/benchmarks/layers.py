"""Single layers: `nn.conv2d` and `nn.conv_transpose2d` with bias and PReLU.

Zeros stand beyond the borders; fastimg is given its result's memory, the rivals keep an arena or a cache of theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..models import Conv2d, ConvTranspose2d
from ..models.super_resolution import DECONVOLUTION
from . import networks
from .races import Job, contenders


def _layer(inputs: int, outputs: int, kernel: int, *, transposed: bool = False, **geometry: Any) -> networks.Layer:
    """A layer with random weights; its padding keeps the size unless given."""
    rng = np.random.default_rng(kernel + 100 * outputs)
    per_group = inputs // geometry.get("groups", 1)
    shape = (inputs, outputs) if transposed else (outputs, per_group)
    weight = (rng.standard_normal((*shape, kernel, kernel)) * (per_group * kernel**2) ** -0.5).astype(np.float32)
    geometry.setdefault("padding", geometry.get("dilation", 1) * (kernel - 1) // 2)
    pairs: dict[str, Any] = {name: n if name == "groups" else (n, n) for name, n in geometry.items()}
    kind: Any = ConvTranspose2d if transposed else Conv2d
    bias, slope = rng.standard_normal(outputs), rng.random(outputs) - 0.5
    return kind(weight, bias.astype(np.float32), activation="prelu", slope=slope.astype(np.float32), **pairs)


def _deconvolution(stride: int) -> networks.Layer:
    _, padding, output_padding = DECONVOLUTION[stride]
    return _layer(56, 1, 9, transposed=True, stride=stride, padding=padding, output_padding=output_padding)


# Name: the layer, and batch, height and width of its input. The first are FSRCNN's.
LAYERS: dict[str, tuple[networks.Layer, tuple[int, int, int]]] = {
    "conv 5×5, 1→56": (_layer(1, 56, 5), (1, 540, 960)),
    "conv 1×1, 56→12": (_layer(56, 12, 1), (1, 540, 960)),
    "conv 3×3, 12→12": (_layer(12, 12, 3), (1, 540, 960)),
    "conv 1×1, 12→56": (_layer(12, 56, 1), (1, 540, 960)),
    "deconv 9×9, 56→1, stride 2": (_deconvolution(2), (1, 540, 960)),
    "deconv 9×9, 56→1, stride 3": (_deconvolution(3), (1, 540, 960)),
    "deconv 9×9, 56→1, stride 4": (_deconvolution(4), (1, 540, 960)),
    "conv 9×9, 1→64": (_layer(1, 64, 9), (1, 540, 960)),
    "conv 5×5, 64→32": (_layer(64, 32, 5), (1, 270, 480)),
    "conv 5×5, 32→1": (_layer(32, 1, 5), (1, 540, 960)),
    "conv 3×3, 64→64": (_layer(64, 64, 3), (1, 512, 512)),
    "conv 3×3, 512→512": (_layer(512, 512, 3), (1, 14, 14)),
    "conv 3×3, 64→64, stride 2": (_layer(64, 64, 3, stride=2), (1, 256, 256)),
    "conv 3×3, 32→32, dilation 2": (_layer(32, 32, 3, dilation=2), (1, 256, 256)),
    "conv 3×3, depthwise 64": (_layer(64, 64, 3, groups=64), (1, 256, 256)),
    "conv 3×3, 3→3": (_layer(3, 3, 3), (1, 540, 960)),
    "deconv 4×4, 64→32, stride 2": (_layer(64, 32, 4, transposed=True, stride=2, padding=1), (1, 128, 128)),
    "conv 3×3, 16→16, 256 images": (_layer(16, 16, 3), (256, 28, 28)),
}


def job(name: str, threads: int) -> Job:
    """One of `LAYERS`."""
    layer, (batch, height, width) = LAYERS[name]
    x = np.random.default_rng(1).random((batch, layer.in_channels, height, width), np.float32)
    options: dict[str, Any] = {"activation": layer.activation, "slope": layer.slope, "threads": threads}
    geometry: dict[str, Any] = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    operation: Any = nn.conv2d
    if isinstance(layer, ConvTranspose2d):
        operation, geometry["output_padding"] = nn.conv_transpose2d, layer.output_padding
    options |= geometry | {"padding": layer.padding}
    out = operation(x, layer.weight, layer.bias, **options)

    def run() -> Any:
        return operation(x, layer.weight, layer.bias, out=out, **options)

    return Job(
        operation.__name__,
        f"{name}, {width}×{height}",
        {"layer": name, "batch": batch, "width": width, "height": height, "dtype": "float32"},
        contenders(
            run,
            **networks.with_avx2(run, networks.rivals([layer], x, threads)),
            **networks.marks([layer], x.shape, threads),
        ),
        networks.tolerances(out),
    )
