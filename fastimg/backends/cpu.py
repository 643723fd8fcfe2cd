"""The CPU backend: the extension's kernels, which take NumPy arrays of any strides."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import empty as empty

from .._fastimg_cpu import Network, active_target, bfloat16_multipliers
from .._fastimg_cpu import augment as augment
from .._fastimg_cpu import conv2d as conv2d
from .._fastimg_cpu import conv_transpose2d as conv_transpose2d
from .._fastimg_cpu import convert_color as convert_color
from .._fastimg_cpu import denoise_nl_means as denoise_nl_means
from .._fastimg_cpu import denoise_nl_means_by_table as denoise_nl_means_by_table
from .._fastimg_cpu import gaussian as gaussian
from .._fastimg_cpu import gaussian_recursive as gaussian_recursive
from .._fastimg_cpu import mean_squared_error as mean_squared_error
from .._fastimg_cpu import mix as mix
from .._fastimg_cpu import opencv_bgr_to_lab as opencv_bgr_to_lab
from .._fastimg_cpu import opencv_lab_to_bgr as opencv_lab_to_bgr
from .._fastimg_cpu import random_noise as random_noise
from .._fastimg_cpu import random_words as random_words
from .._fastimg_cpu import remap as remap
from .._fastimg_cpu import remap_adjoint as remap_adjoint
from .._fastimg_cpu import resize as resize
from .._fastimg_cpu import resize_adjoint as resize_adjoint
from .._fastimg_cpu import structural_similarity as structural_similarity
from .._fastimg_cpu import warp as warp
from .._fastimg_cpu import warp_adjoint as warp_adjoint
from .._fastimg_cpu import warp_by_function as warp_by_function
from .._planes import hand_over, unit


def network(
    image: Any, result: Any, layers: Sequence[Any], cache: dict[Any, Any], threads: int, precision: str
) -> None:
    """Run `layers` on (N, C, H, W) images, piece by piece through all of them.

    Parameters
    ----------
    image, result : arrays of uint8, uint16, float16 or float32
        Integers stand for [0, 1]: they are scaled as they come and go.
    layers : sequence of Conv2d, ConvTranspose2d, PixelShuffle or Add of `fastimg.models`
    cache : dict
        What was made of these layers; empty at first.
    threads : int
    precision : {"float32", "bfloat16"}
    """
    shuffles = list(itertools.takewhile(_is_shuffle, layers))  # before all convolutions
    for layer in shuffles:
        image = _shuffled(image, layer.factor)
    layers = layers[len(shuffles) :]
    if not layers:
        hand_over(unit(image), result)
        return
    multiplier = "floats" if precision == "float32" else bfloat16_multipliers()[-1]
    key = active_target(), multiplier  # weights are in an order of their own
    if key not in cache:
        cache[key] = _compiled(layers, multiplier)
    sizes = [image.shape[2:]]
    for layer in layers:
        size = layer.output_size(sizes[-1])
        if not hasattr(layer, "weight"):
            sizes[-1] = size  # a matter of what the convolution before it writes, and where
        else:
            sizes.append(size)
    cache[key].run(image, result, sizes, threads)


def _is_shuffle(layer: Any) -> bool:
    return hasattr(layer, "factor")


def _shuffled(image: Any, factor: int) -> Any:
    n, channels, rows, columns = image.shape
    blocks = image.reshape(n, channels // factor**2, factor, factor, rows, columns)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, rows * factor, columns * factor)


def _compiled(layers: Sequence[Any], multiplier: str) -> Network:
    network = Network(multiplier)
    names: list[str] = []  # of convolutions
    for layer in layers:
        if _is_shuffle(layer):
            network.pixel_shuffle(layer.factor)
            continue
        if hasattr(layer, "input_of"):
            network.add_input_of(names.index(layer.input_of))
            continue
        names.append(layer.name)
        add = network.conv_transpose2d if hasattr(layer, "output_padding") else network.conv2d
        slope = layer.slope
        add(
            layer.weight,
            bias=layer.bias,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            padding_mode=layer.padding_mode,
            activation=layer.activation,
            slope=None if slope is None else np.ascontiguousarray(np.broadcast_to(slope, layer.out_channels)),
        )
    return network
