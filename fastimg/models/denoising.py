"""Denoising networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from itertools import chain, repeat
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays
from .._planes import store
from . import weights_files
from .layers import Add, Conv2d, Layer, Network
from .weights_files import LayerTensors, Weights


class DnCNN:
    """A plain chain of 3×3 convolutions that tells the noise in an image, which is then subtracted.

    The paper's has 17 layers of 64 channels (20 for unknown noise and for colour), ReLU between them; any number of
    layers and channels and any activation will do. Layers are named convolution.0, convolution.1, ...

    Parameters
    ----------
    layers : iterable of Conv2d
        A chain that keeps the size of the image, from one channel to one or from three to three.

    Attributes
    ----------
    layers : tuple of layers
        They tell the noise.
    network : Network
        The same layers, and the image less the noise.

    Raises
    ------
    ValueError
        If the layers do not fit one another, do not keep size and channels, or end in an activation.

    Notes
    -----
    O(n) for n pixels; 554,000 multiply-adds a pixel for the paper's grey network. What passes between the layers
    stays in the cache (see `Network`).

    References
    ----------
    K. Zhang, W. Zuo, Y. Chen, D. Meng and L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for
    Image Denoising", IEEE Transactions on Image Processing, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> nothing = models.DnCNN([models.Conv2d(np.zeros((1, 1, 3, 3)), padding=1)])
    >>> nothing(np.array([[10, 20]], np.uint8))
    array([[10, 20]], dtype=uint8)
    """

    dilations: ClassVar[tuple[int, ...]] = ()  # of layers whose file does not tell them; of any further layer 1

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = _named(layers)
        noise = Network(self.layers)
        channels = (noise.in_channels, noise.out_channels)
        if channels not in ((1, 1), (3, 3)):
            raise ValueError(
                f"layers must lead from one channel to one or from three to three, got {channels[0]} to {channels[1]}"
            )
        size = noise.output_size((64, 65))
        if size != (64, 65):
            raise ValueError(f"layers must keep the size of the image, but lead from (64, 65) to {size}")
        self.network = Network(_subtracted(self.layers))

    @classmethod
    def from_pretrained(cls) -> Self:
        """The model with the weights that come with fastimg.

        Raises
        ------
        ValueError
            If no weights of this model come with fastimg.
        """
        weights = resources.files(__package__) / "weights" / f"{cls.__name__.lower()}.safetensors"
        if not weights.is_file():
            name = cls.__name__
            raise ValueError(f"no weights of {name} come with fastimg; {name}.from_file(path) loads your own")
        with resources.as_file(weights) as path:
            return cls.from_file(path)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The model with weights from a file.

        Parameters
        ----------
        path : path
            safetensors as `save` and `fastimg train` write them, or a PyTorch state dict of 3×3 convolutions with
            biases (batch normalisation folded in), as the authors' and re-implementations' are. Nothing from the file
            is executed.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated or of no known format, or does not hold this model's tensors; the error names the
            file and what was found.
        ImportError
            If the file is a PyTorch checkpoint and PyTorch is not installed.
        """
        weights = weights_files.read(path)
        try:
            return cls(weights.layers or _layers(_in_order(weights), cls.dilations))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        """Write a safetensors file that `from_file` reads.

        Parameters
        ----------
        path : path
            An existing file is replaced once the new one is complete.
        metadata : mapping of str to str, optional
            Further notes for the file's header.
        """
        weights_files.write(path, self.layers, {**(metadata or {}), "model": type(self).__name__})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.layers)} layers, {self.network.in_channels} channels)"

    def __call__(self, image: Any, *, out: Any = None, threads: int | None = None, precision: str = "float32") -> Any:
        """Denoise an image.

        Parameters
        ----------
        image : (H, W), (H, W, 1) or (H, W, 3) array of uint8, uint16, float16, float32 or float64
            Floats in [0, 1]. A network of one channel takes the channels of a colour image one by one; one of three
            takes RGB alone.
        out : array of the shape, kind and dtype of `image`, optional
            Receives the result.
        threads : int, optional
            By default `fastimg.get_num_threads()`. The result does not depend on it.
        precision : {"float32", "float16", "bfloat16"}
            Of the network; "float16" is for images on a GPU, "bfloat16" for those on the CPU, see `Network`.

        Returns
        -------
        array
            Of the image's kind, shape and dtype; clipped to the range of the dtype, [0, 1] for floats, integers rounded
            half to even. NaN spreads as far as the network sees, on the CPU up to three rows further with each layer.

        Raises
        ------
        TypeError
            If the image or `out` is no array, or of another dtype.
        ValueError
            If the image is empty or has other dimensions or channels, or `out` does not fit.
        """
        source = arrays.take(image, "image")
        pixels = source.data
        colours = self.network.in_channels
        _checks.rank(pixels.ndim, "image", (2, 3), "rows, columns and, last, channels")
        if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
            raise ValueError(f"image must have 1 or 3 channels in its last dimension, got {pixels.shape[2]}")
        if colours == 3 and (pixels.ndim == 2 or pixels.shape[2] != 3):
            raise ValueError(f"image must have 3 channels for a network of colour, got shape {pixels.shape}")
        _checks.non_empty(pixels.shape, "image")
        return self._run(source, lambda array: _planes(array, colours), out, threads, precision)

    def _run(
        self,
        source: arrays.Source,
        planes: Callable[[NDArray[Any]], NDArray[Any]],
        out: Any,
        threads: int | None,
        precision: str,
    ) -> Any:
        """Denoise checked pixels, of which `planes` makes what the network takes, in the same memory."""
        pixels = source.data
        result = source.result(pixels.shape, [pixels.dtype], out)
        with source.current():
            batch, denoised = planes(pixels), planes(result.data)
            if pixels.dtype.kind == "u":
                self.network(batch, out=denoised, threads=threads, precision=precision)
            else:
                batch = batch.astype(np.float32, copy=False)
                store(self.network(batch, threads=threads, precision=precision), denoised)
        return result.give_back()


class DnCNN_s(DnCNN):
    """DnCNN of 9 layers of 48 channels, those in the middle dilated: the small one, 146,016 weights.

    Dilations of 1, 1, 2, 3, 4, 3, 2, 1, 1 let it see 37 × 37 pixels, as many as the paper's 17 layers (35), as in
    K. Zhang, W. Zuo, S. Gu and L. Zhang, "Learning Deep CNN Denoiser Prior for Image Restoration", CVPR 2017.
    The weights that come with fastimg remove Gaussian noise of any standard deviation up to 55 (of 255), which nobody
    needs to tell. The parameters, attributes and methods are those of `DnCNN`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> model = models.DnCNN_s.from_pretrained()
    >>> model(np.zeros((40, 60, 3), np.uint8)).shape
    (40, 60, 3)
    """

    dilations: ClassVar[tuple[int, ...]] = (1, 1, 2, 3, 4, 3, 2, 1, 1)

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__(layers)
        channels = [layer.out_channels for layer in self.layers]
        if channels != [48] * 8 + [1]:
            raise ValueError(f"layers must be eight to 48 channels and one to 1 channel, got layers to {channels}")


class DigitDenoiser(DnCNN):
    """DnCNN of 4 layers of 32 channels for handwritten digits, one or many: 19,008 weights.

    The weights that come with fastimg remove Gaussian noise of any standard deviation up to 0.5 (of 1) that was clipped
    to [0, 1] from white digits on black, 28×28 as in MNIST; they were trained on digits drawn by
    `fastimg.training.digits`. The parameters, attributes and other methods are those of `DnCNN`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> model = models.DigitDenoiser.from_pretrained()
    >>> model(np.zeros((100, 28, 28), np.uint8)).shape
    (100, 28, 28)
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__(layers)
        if self.network.in_channels != 1:
            raise ValueError(f"layers must lead from one channel to one, got {self.network.in_channels}")

    def __call__(self, image: Any, *, out: Any = None, threads: int | None = None, precision: str = "float32") -> Any:
        """Denoise images.

        Parameters
        ----------
        image : (N, H, W) or (H, W) array of uint8, uint16, float16, float32 or float64
            As many images as one likes. Floats in [0, 1].

        The other parameters, the result and the errors are those of `DnCNN`.
        """
        source = arrays.take(image, "image")
        _checks.rank(source.data.ndim, "image", (2, 3), "rows and columns, after an optional number of images")
        _checks.non_empty(source.data.shape, "image")
        return self._run(source, lambda array: array[..., np.newaxis, :, :], out, threads, precision)


def _planes(pixels: NDArray[Any], colours: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) pixels as (C / colours, colours, H, W), in the same memory."""
    planes = np.atleast_3d(pixels).transpose(2, 0, 1)
    return planes[np.newaxis] if colours == 3 else planes[:, np.newaxis]


def _named(layers: Iterable[Layer]) -> tuple[Conv2d, ...]:
    named: list[Conv2d] = []
    for layer in layers:
        if not isinstance(layer, Conv2d):
            raise TypeError(f"layers must be Conv2d, got {type(layer).__name__}")
        named.append(replace(layer, name=f"convolution.{len(named)}"))
    return tuple(named)


def _subtracted(layers: tuple[Conv2d, ...]) -> list[Layer]:
    """Layers that tell the noise as layers that take it from the image."""
    *inner, last = layers
    if last.activation is not None:
        raise ValueError(f"the last layer must have no activation, as noise has both signs, got {last.activation!r}")
    negative = replace(last, weight=-last.weight, bias=None if last.bias is None else -last.bias)
    return [*inner, negative, Add(input_of=layers[0].name)]


def _in_order(weights: Weights) -> Iterable[LayerTensors]:
    """The layers' tensors in the order in which they run; by their names, if these are ours."""
    if not weights.named:
        return weights.tensors
    tensors = {layer.name: layer for layer in weights.tensors}
    names = [f"convolution.{number}" for number in range(len(tensors))]
    if tensors.keys() != set(names):
        raise ValueError(f"expected tensors of {names[0]} to {names[-1]}, found {', '.join(tensors)}")
    return [tensors[name] for name in names]


def _layers(tensors: Iterable[LayerTensors], dilations: Sequence[int]) -> list[Conv2d]:
    """ReLU after each but the last, leaky where there are slopes, zeros around the image; no `dilations`: all are 1."""
    layers: list[Conv2d] = []
    for tensor, dilation in zip(tensors, chain(dilations, repeat(1)), strict=False):
        if tensor.weight.shape[2:] != (3, 3):
            raise ValueError(f"weight of {tensor.name!r}: expected 3×3 kernels, found shape {tensor.weight.shape}")
        activation = "relu" if tensor.slope is None else "prelu"
        layers.append(
            Conv2d(
                tensor.weight,
                tensor.bias,
                padding=dilation,
                dilation=dilation,
                activation=activation,
                slope=tensor.slope,
                name=tensor.name,
            )
        )
    if not layers:
        return layers
    if layers[-1].slope is not None:
        raise ValueError(f"{layers[-1].name!r} has a PReLU slope, which the last layer must not have")
    return [*layers[:-1], replace(layers[-1], activation=None)]
