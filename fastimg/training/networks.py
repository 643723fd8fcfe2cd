"""Networks in PyTorch, built from a list of layers, computing exactly what runs at inference.

Those that enlarge continue every layer's input beyond the border by replication, the deconvolution's too. Their
input is centred around zero while training, which conditions the optimisation; `export` folds the offset into the
first and the last bias, so that the weights file knows nothing of it (exact, because replicate padding
commutes with adding a constant). Those that denoise pad with zeros, tell the noise, and are not centred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.denoising import DnCNN_s
from ..models.super_resolution import DECONVOLUTION, PlainSR
from .settings import Settings

Array = NDArray[np.float32]

_CENTRE = 0.5
_WIDER = 2  # times as many channels between the two kernels whose product a plain layer adds to its own
LEAK = 0.1  # slope of "leaky_relu"; with none at all half the channels of a DnCNN die early and stay dead


@dataclass(frozen=True)
class Layer:
    """One layer: `key` as in the weights file; `stride` > 1 makes it a transposed convolution.

    `activation` is "prelu" (a slope per channel, trained), "leaky_relu" (of slope `LEAK`), "relu" or None.
    `padding_mode`, "replicate" or "zeros", is what stands outside the image. With `shuffle` > 1 the outputs are
    the pixels of cells of so many rows and columns. With `plain` the kernel is trained as the sum of itself and of a
    product of two (`_Convolution.kernel`), and the first channel begins as a copy of the image.
    """

    key: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    activation: str | None = "prelu"
    padding_mode: str = "replicate"
    shuffle: int = 1
    plain: bool = False
    dilation: int = 1


def fsrcnn(scale: int, features: int = 56, shrunk: int = 12, mappings: int = 4) -> list[Layer]:
    """Layers of FSRCNN(d, s, m) [1]_ on one channel.

    References
    ----------
    .. [1] C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network",
           ECCV 2016, arXiv:1608.00367.
    """
    return [
        Layer("feature_extraction", 1, features, 5),
        Layer("shrinking", features, shrunk, 1),
        *(Layer(f"mapping.{index}", shrunk, shrunk, 3) for index in range(mappings)),
        Layer("expanding", shrunk, features, 1),
        Layer("deconvolution", features, 1, 9, stride=scale, activation=None),
    ]


def srcnn(middle: int = 5) -> list[Layer]:
    """Layers of SRCNN 9-`middle`-5 [1]_ on one channel, already enlarged.

    References
    ----------
    .. [1] C. Dong, C. C. Loy, K. He, X. Tang, "Image Super-Resolution Using Deep Convolutional Networks",
           TPAMI 2016, arXiv:1501.00092.
    """
    return [
        Layer("patch_extraction", 1, 64, 9, activation="relu"),
        Layer("nonlinear_mapping", 64, 32, middle, activation="relu"),
        Layer("reconstruction", 32, 1, 5, activation=None),
    ]


def plainsr(scale: int) -> list[Layer]:
    """Layers of PlainSR: 3×3 convolutions and a sub-pixel convolution [1]_, on one channel.

    Of as many channels as cost no more per pixel than FSRCNN: 12,240, 12,456 and 12,420 multiply-adds at ×2, ×3, ×4.

    References
    ----------
    .. [1] W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
           Neural Network", CVPR 2016, arXiv:1609.05158.
    """
    widths = PlainSR.widths[scale]
    return [
        Layer("feature_extraction", 1, widths[0], 3, plain=True),
        *(Layer(f"mapping.{i}", inputs, n, 3, plain=True) for i, (inputs, n) in enumerate(pairwise(widths))),
        Layer("sub_pixel_convolution", widths[-1], scale**2, 3, activation=None, shuffle=scale, plain=True),
    ]


def dncnn(channels: int = 64, depth: int = 17, dilations: Sequence[int] | None = None) -> list[Layer]:
    """Layers of DnCNN [1]_ on one channel, leaky instead of batch normalised, dilated where `dilations` are given.

    References
    ----------
    .. [1] K. Zhang, W. Zuo, Y. Chen, D. Meng, L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN
           for Image Denoising", IEEE Transactions on Image Processing, 2017, arXiv:1608.03981.
    """
    widths = [1, *[channels] * (depth - 1), 1]
    activations = [*["leaky_relu"] * (depth - 1), None]
    layers = zip(widths, widths[1:], activations, dilations or [1] * depth, strict=False)
    return [
        Layer(f"convolution.{i}", inputs, outputs, 3, activation=activation, padding_mode="zeros", dilation=dilation)
        for i, (inputs, outputs, activation, dilation) in enumerate(layers)
    ]


def build(settings: Settings) -> Network:
    """The network of a training run."""
    model, scale = settings.model, settings.factor
    if model == "fsrcnn":
        return Network(fsrcnn(scale))
    if model == "fsrcnn-s":
        return Network(fsrcnn(scale, features=32, shrunk=5, mappings=1))
    if model == "plainsr":
        return Network(plainsr(scale))
    if model == "srcnn":
        return Network(srcnn())
    if model == "dncnn-s":
        return Network(dncnn(48, 9, DnCNN_s.dilations), residual=True)
    return Network(dncnn(32, 4) if model == "digits" else dncnn(), residual=True)


def _pad(x: Tensor, border: int) -> Tensor:
    return functional.pad(x, (border,) * 4, mode="replicate") if border else x


class _Convolution(nn.Module):  # type: ignore[misc]  # PyTorch is not type-checked here
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.dilation, self.border = layer.dilation, layer.kernel // 2 * layer.dilation
        self.activation, self.shuffle, self.padding_mode = layer.activation, layer.shuffle, layer.padding_mode
        self.weight = nn.Parameter(torch.empty(layer.outputs, layer.inputs, layer.kernel, layer.kernel))
        self.bias = nn.Parameter(torch.zeros(layer.outputs))
        slope = {"prelu": 0.25, "leaky_relu": LEAK}.get(layer.activation or "", 0.0)
        nn.init.kaiming_normal_(self.weight, a=slope)
        if layer.activation is None:
            nn.init.normal_(self.weight, std=0.001)
        self.slope = nn.Parameter(torch.full((layer.outputs,), slope)) if layer.activation == "prelu" else None
        self.squeeze = self.expand = None
        if layer.plain:
            self._begin_plain(layer)

    def _begin_plain(self, layer: Layer) -> None:
        between = _WIDER * layer.outputs
        self.expand = nn.Parameter(torch.empty(between, layer.inputs))
        self.squeeze = nn.Parameter(torch.zeros(layer.outputs, between, layer.kernel, layer.kernel))
        nn.init.kaiming_normal_(self.expand, nonlinearity="linear")
        with torch.no_grad():
            copies = slice(1 if self.slope is not None else None)  # of the last layer, all pixels of a cell
            self.weight[copies] = 0
            self.weight[copies, 0, layer.kernel // 2, layer.kernel // 2] = 1
            if self.slope is not None:
                self.slope[0] = 1

    def kernel(self) -> Tensor:
        """What the input is convolved with.

        A plain layer is trained as if a 1×1 convolution to twice the channels and a k×k one stood beside it, as in
        X. Zhang, H. Zeng, L. Zhang, "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices",
        ACM Multimedia 2021. Both are linear, so that the three are one, here already.
        """
        if self.squeeze is None:
            return self.weight
        return self.weight + torch.einsum("omyx,mi->oiyx", self.squeeze, self.expand)

    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            y = functional.conv2d(x, self.kernel(), self.bias, padding=self.border, dilation=self.dilation)
        else:
            y = functional.conv2d(_pad(x, self.border), self.kernel(), self.bias, dilation=self.dilation)
        if self.slope is not None:
            return functional.prelu(y, self.slope)
        if self.activation == "leaky_relu":
            return functional.leaky_relu(y, LEAK)
        y = functional.relu(y) if self.activation == "relu" else y
        return functional.pixel_shuffle(y, self.shuffle) if self.shuffle > 1 else y


class _Deconvolution(nn.Module):  # type: ignore[misc]
    """A transposed convolution to one channel, as a convolution to stride² phases and a pixel shuffle.

    The same sums as `conv_transpose2d`, but in a third less time on a CPU: output pixel s·q + p takes tap
    padding + p - s·t of the input pixel q + t, so that each phase p is a small convolution.
    """

    taps: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        stride, kernel, padding = layer.stride, layer.kernel, DECONVOLUTION[layer.stride][1]
        self.stride, self.activation = stride, layer.activation
        self.slope = None
        self.weight = nn.Parameter(torch.empty(layer.inputs, layer.outputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(layer.outputs))
        nn.init.normal_(self.weight, std=0.001)
        self.border = max((kernel - 1 - padding) // stride, (padding + stride - 1) // stride)
        reach = np.arange(-self.border, self.border + 1)
        tap = padding + np.arange(stride)[:, None] - stride * reach  # (phase, t)
        tap = np.where((tap >= 0) & (tap < kernel), tap, kernel)  # row `kernel` is a row of zeros
        grid = tap[:, None, :, None] * (kernel + 1) + tap[None, :, None, :]
        self.register_buffer("taps", torch.from_numpy(grid.reshape(-1)), persistent=False)

    def kernel(self) -> Tensor:
        """What the input is convolved with."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        size = 2 * self.border + 1
        with_zeros = functional.pad(self.weight, (0, 1, 0, 1)).flatten(2)
        phases = with_zeros[:, 0, self.taps].reshape(-1, self.stride**2, size, size).transpose(0, 1)
        y = functional.conv2d(_pad(x, self.border), phases, self.bias.expand(self.stride**2))
        return functional.pixel_shuffle(y, self.stride)


class Network(nn.Module):  # type: ignore[misc]
    """A chain of layers on (batch, 1, rows, columns) float32, black to white as [0, 1].

    With `residual` the chain tells what has to be subtracted from its input.
    """

    def __init__(self, layers: list[Layer], *, residual: bool = False) -> None:
        super().__init__()
        self.residual, self.centre = residual, 0.0 if residual else _CENTRE
        self.keys = [layer.key for layer in layers]
        self.layers = nn.ModuleList(
            _Convolution(layer) if layer.stride == 1 else _Deconvolution(layer) for layer in layers
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.centre).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            y = layer(y)
        y = y.float()  # bfloat16 has no room for both the sum and its details
        return x - y if self.residual else y + self.centre

    def _named(self) -> dict[str, Tensor]:
        """What a weights file holds, by its keys there."""
        return {
            f"{key}.{name}": value.detach()
            for key, layer in zip(self.keys, self.layers, strict=True)
            for name, value in (("weight", layer.kernel()), ("bias", layer.bias), ("slope", layer.slope))
            if value is not None
        }

    def export(self) -> dict[str, Array]:
        """Weights as the weights file has them: keys `LAYER.weight`, `LAYER.bias`, `LAYER.slope`."""
        tensors = {key: np.array(value.cpu().numpy(), order="C") for key, value in self._named().items()}
        first, last = self.keys[0], self.keys[-1]
        offset = self.centre * tensors[f"{first}.weight"].sum(axis=(1, 2, 3), dtype=np.float64)
        tensors[f"{first}.bias"] = (tensors[f"{first}.bias"] - offset).astype(np.float32)
        tensors[f"{last}.bias"] = (tensors[f"{last}.bias"] + np.float32(self.centre)).astype(np.float32)
        leaky = [key for key, layer in zip(self.keys, self.layers, strict=True) if layer.activation == "leaky_relu"]
        return tensors | {f"{key}.slope": np.full_like(tensors[f"{key}.bias"], LEAK) for key in leaky}

    def load(self, tensors: Mapping[str, Array]) -> int:
        """Take over every exported tensor whose key and shape fit; returns how many did."""
        tensors = dict(tensors)
        first, last = self.keys[0], self.keys[-1]
        own = self._named()
        if f"{first}.weight" in tensors and f"{first}.bias" in tensors:
            offset = self.centre * tensors[f"{first}.weight"].sum(axis=(1, 2, 3), dtype=np.float64)
            tensors[f"{first}.bias"] = tensors[f"{first}.bias"] + offset
        if f"{last}.bias" in tensors:
            tensors[f"{last}.bias"] = tensors[f"{last}.bias"] - self.centre
        fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
        for key, value in fitting.items():
            layer, _, name = key.rpartition(".")
            parameter = getattr(self.layers[self.keys.index(layer)], name)
            change = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)).to(own[key].device) - own[key]
            with torch.no_grad():
                parameter.add_(change)
        return len(fitting)
