"""Super-resolution models: what they do with an image, and the three architectures of Dong, Loy, He and Tang."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays, color, transform
from .._planes import Float32, store, unit
from . import weights_files
from .layers import Conv2d, ConvTranspose2d, Layer, Network, PixelShuffle
from .weights_files import LayerTensors, Weights

Shape = tuple[int, ...]

SCALES = (2, 3, 4)

# Stride, padding and output padding with which the authors' deconvolution is aligned. At ×3 its phase is not that
# of the other two.
DECONVOLUTION = {2: (2, 4, 1), 3: (3, 3, 0), 4: (4, 4, 3)}

_NEUTRAL_CHROMA = 128 / 255
_LUMA_RANGE = (16 / 255, 235 / 255)

_LEAST_WEIGHT = np.finfo(np.float32).tiny
_SEEN = np.float32(4)  # a pixel of a quarter of the alpha around it keeps its colour

_BAND = 64  # rows of the result that are finished at a time on the CPU: they stay in the cache


class SuperResolution:
    """A network that enlarges images.

    A network of one channel sees luma alone (Y of ITU-R BT.601 in studio range, as `fastimg.color.rgb2ycbcr` gives
    it, divided by 255), and chroma is enlarged by bicubic interpolation. A network of three channels sees Y, Cb
    and Cr. A grey image goes in as it is. Alpha is enlarged by bicubic interpolation. A pixel of alpha 0 takes its
    colour from the visible ones around it: what it held counts for nothing.

    Parameters
    ----------
    layers : iterable of Conv2d, ConvTranspose2d or PixelShuffle
        A chain that enlarges by a whole factor, from and to one or three channels.
    scale : int, optional
        The factor; by default that of the layers.

    Attributes
    ----------
    network : Network
    scale : int

    Raises
    ------
    ValueError
        If the layers do not fit one another, or do not enlarge by `scale`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> nearest = models.SuperResolution([models.Conv2d(np.ones((4, 1, 1, 1))), models.PixelShuffle(2)])
    >>> nearest(np.array([[10, 20]], np.uint8))
    array([[10, 10, 20, 20],
           [10, 10, 20, 20]], dtype=uint8)
    """

    _takes_enlarged: ClassVar[bool] = False

    def __init__(self, layers: Iterable[Layer], scale: int | None = None) -> None:
        self.network = Network(self._recognised(tuple(layers)))
        channels = (self.network.in_channels, self.network.out_channels)
        if channels not in ((1, 1), (3, 3)):
            raise ValueError(
                f"layers must lead from one channel to one or from three to three, got {channels[0]} to {channels[1]}"
            )
        factor = _factor(self.network)
        if self._takes_enlarged:
            if factor != 1:
                raise ValueError(f"layers must keep the size of the image, got an enlargement by {factor}")
            if scale is None:
                raise ValueError("scale must be given: the layers do not tell it")
            factor = _checks.integer(scale, "scale", at_least=1)
        elif scale is not None and scale != factor:
            raise ValueError(f"scale must be {factor}, which the layers enlarge by, got {scale}")
        self.scale = factor

    @classmethod
    def from_layers(cls, layers: Iterable[Layer], scale: int | None = None) -> Self:
        """A model of these layers; the same as calling the class."""
        return cls(layers, scale)

    @classmethod
    def from_pretrained(cls, scale: int = 2) -> Self:
        """The model with the weights that come with fastimg.

        Parameters
        ----------
        scale : int

        Raises
        ------
        ValueError
            If no weights of this model and scale come with fastimg.
        """
        _checks.integer(scale, "scale")
        weights = cls._pretrained(scale)
        if not weights.is_file():
            raise ValueError(
                f"no weights of {cls.__name__} for scale {scale} come with fastimg; "
                f"{cls.__name__}.from_file(path, scale) loads your own"
            )
        with resources.as_file(weights) as path:
            return cls.from_file(path, scale)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], scale: int | None = None) -> Self:
        """The model with weights from a file.

        Parameters
        ----------
        path : path
            safetensors, the authors' `.mat`, a PyTorch state dict or checkpoint, or the `.pb` graphs of OpenCV's
            `dnn_superres`; recognised by content. Nothing from the file is ever executed. PyTorch checkpoints are
            taken to pad with zeros, and at every scale to have a deconvolution with padding 4 and output padding
            scale - 1, as re-implementations do.
        scale : int, optional
            Needed for `.mat` and PyTorch files, which do not tell it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated or of no known format, or does not hold this model's tensors: each error names
            the file, the tensor, what was expected and what was found.
        ImportError
            If the file is a PyTorch checkpoint and PyTorch is not installed.
        """
        weights = weights_files.read(path)
        if scale is not None and weights.scale not in (None, scale):
            raise ValueError(f"{path}: scale must be {weights.scale}, for which these weights are, got {scale}")
        scale = weights.scale if scale is None else scale
        try:
            return cls(weights.layers or cls._from_tensors(weights, scale), scale)
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
        notes = {**(metadata or {}), "model": type(self).__name__, "scale": str(self.scale)}
        weights_files.write(path, self.network.layers, notes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scale={self.scale})"

    def __call__(self, image: Any, *, out: Any = None, threads: int | None = None, precision: str = "float32") -> Any:
        """Enlarge an image.

        Parameters
        ----------
        image : (H, W), or (H, W, C) array of uint8, uint16, float16, float32 or float64
            C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Floats in [0, 1].
        out : (scale * H, scale * W) or (scale * H, scale * W, C) array, optional
            Receives the result; of the image's kind and dtype.
        threads : int, optional
            By default `fastimg.get_num_threads()`. The result does not depend on it.
        precision : {"float32", "float16", "bfloat16"}
            Of the network; "float16" is for images on a GPU, "bfloat16" for those on the CPU, see `Network`.

        Returns
        -------
        array
            Of the image's kind and dtype; clipped to the range of the dtype, [0, 1] for floats. NaN spreads as far
            as the network sees, and on the CPU up to three rows further with each layer.

        Raises
        ------
        TypeError
            If the image or `out` is no array, or of another dtype.
        ValueError
            If the image is empty or has other dimensions, `out` does not fit, or the network does not run in this
            precision where the image is.

        Notes
        -----
        Integers are rounded half to even.
        """
        source = take(image)
        rows, columns = source.data.shape[:2]
        return enlarge(source, (self,), (rows * self.scale, columns * self.scale), out, threads, precision)

    @classmethod
    def _pretrained(cls, scale: int) -> Traversable:
        """Where the weights that come with fastimg are, if there are any."""
        return resources.files(__package__) / "weights" / f"{cls.__name__.lower()}_x{scale}.safetensors"

    @classmethod
    def _recognised(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The layers, if they are this model's, under this model's names."""
        return layers

    @classmethod
    def _from_tensors(cls, weights: Weights, scale: int | None) -> tuple[Layer, ...]:
        """The layers of a file that holds tensors alone."""
        raise ValueError("the file does not describe its layers, and so does not tell which model it is of")


def take(image: Any) -> arrays.Source:
    """An image that models enlarge."""
    source = arrays.take(image, "image")
    shape = source.data.shape
    _checks.rank(len(shape), "image", (2, 3), "rows, columns and, last, channels")
    if len(shape) == 3 and shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"image must have 1, 2, 3 or 4 channels in its last dimension, got {shape[2]}")
    _checks.non_empty(shape, "image")
    return source


def enlarge(
    source: arrays.Source,
    models: tuple[SuperResolution, ...],
    size: tuple[int, int],
    out: Any,
    threads: int | None,
    precision: str,
) -> Any:
    """Enlarge an image by models of one class, one after the other, and resize the result to `size`."""
    pixels = source.data
    result = source.result((*size, *pixels.shape[2:]), [pixels.dtype], out)
    with source.current():
        enlargement = _Enlargement(models, source, threads, precision)
        enlargement.run(np.atleast_3d(pixels), np.atleast_3d(result.data))
    return result.give_back()


@dataclass(frozen=True)
class _Enlargement:
    """One call of models; NumPy's functions stand for CuPy's where `source`, the image, is on a GPU.

    What the models see goes from one to the next as float32. Chroma and alpha are interpolated once, to the final size.
    """

    models: tuple[SuperResolution, ...]
    source: arrays.Source
    threads: int | None
    precision: str

    def run(self, pixels: NDArray[Any], result: NDArray[Any]) -> None:
        """Enlarge (H, W, C) `pixels` into `result`."""
        if pixels.dtype.kind == "f":
            pixels = pixels.astype(np.float32, copy=False)
        channels = 1 if pixels.shape[2] < 3 else 3
        colours = pixels[..., :channels]
        if pixels.shape[2] > channels:
            colours = self._as_seen(colours, pixels[..., -1])
            store(self._bicubic(pixels[..., -1], result.shape[:2]), result[..., -1])
        if not self.models:
            resized = self._bicubic(np.moveaxis(colours, 2, 0), result.shape[:2])
            store(np.moveaxis(resized, 0, 2), result[..., :channels])
        elif channels == 3:
            self._enlarge_rgb(colours, result[..., :3])
        else:
            self._enlarge_grey(colours[..., 0], result[..., 0])

    def _as_seen(self, colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
        """The colours, mixed with what is seen around them where alpha is far less than there, replaced where it is 0.

        What is around is a mean of 2×2 pixels weighted by alpha, and of 2×2 of those, and so on, interpolated; a mean
        that weighs little takes from the coarser ones in turn (pull and push of S. J. Gortler et al., "The Lumigraph",
        SIGGRAPH 1996). Premultiplied colours would do for interpolation, but show a network edges that nobody sees.
        """
        if not self.source.on_gpu and alpha[0, 0] > 0 and (alpha == alpha[0, 0]).all():  # a GPU would be waited for
            return colours
        given = np.moveaxis(colours, 2, 0)
        own, weight = self._empty(given.shape), self._empty((1, *alpha.shape))
        own[...] = given
        weight[0] = np.fmax(alpha, 0)
        if colours.dtype.kind == "f":
            np.fmin(weight, 1, out=weight)
            unknown = ~np.isfinite(own).all(axis=0, keepdims=True)  # which must not reach all that is hidden
            visible_unknown = unknown & (weight > 0)
            np.copyto(weight, 0, where=unknown)
        np.copyto(own, 0, where=weight == 0)
        levels = [(own * weight, weight)]
        while max(levels[-1][1].shape[1:]) > 1:
            half = [(n + 1) // 2 for n in levels[-1][1].shape[1:]]
            weighted, weight = (
                transform.resize(planes, half, kernel="nearest", anti_aliasing=True, **self._plane_options)
                for planes in levels[-1]
            )
            levels.append((weighted, weight))
        seen, around = levels[-1]  # a single pixel
        for i, (weighted, weight) in reversed(tuple(enumerate(levels))):
            seen, around = (
                transform.resize(planes, weight.shape[1:], kernel="bilinear", **self._plane_options)
                for planes in (seen, around)
            )
            mean = weighted / np.maximum(weight, _LEAST_WEIGHT) if i else own
            share = np.minimum(weight * _SEEN / np.maximum(around, _LEAST_WEIGHT), 1)
            seen += (mean - seen) * share
            np.copyto(seen, mean, where=share == 1)
            around = weight
        if colours.dtype.kind == "f":
            np.copyto(seen, given, where=visible_unknown)
        else:
            np.rint(seen, out=seen)
        return np.moveaxis(seen.astype(colours.dtype), 0, 2)

    def _enlarge_grey(self, grey: NDArray[Any], result: NDArray[Any]) -> None:
        first = self.models[0]
        channels = first.network.in_channels
        alone = len(self.models) == 1 and result.shape == tuple(n * first.scale for n in grey.shape)
        if grey.dtype.kind == "u" and channels == 1 and alone and not first._takes_enlarged:
            self._run(first, grey[np.newaxis], result[np.newaxis])  # which scales and rounds by itself
            return
        planes, enlarged = self._empty((channels, *grey.shape)), self._empty((channels, *result.shape))
        planes[0] = unit(grey)
        planes[1:] = _NEUTRAL_CHROMA
        self._enlarge_planes(planes, enlarged, (0, 1))
        store(enlarged[0], result)

    def _enlarge_rgb(self, rgb: NDArray[Any], result: NDArray[Any]) -> None:
        ycbcr, enlarged = self._empty((3, *rgb.shape[:2])), self._empty((3, *result.shape[:2]))
        color.rgb2ycbcr(rgb, out=np.moveaxis(ycbcr, 0, 2), threads=self.threads)
        seen = self.models[0].network.in_channels
        ycbcr[:seen] /= 255
        self._enlarge_planes(ycbcr[:seen], enlarged[:seen], _LUMA_RANGE)
        enlarged[:seen] *= 255
        if seen == 1:
            self._bicubic(ycbcr[1:], enlarged.shape[1:], out=enlarged[1:])
        rows = len(result) if self.source.on_gpu else _BAND
        for top in range(0, len(result), rows):
            band = slice(top, top + rows)
            store(color.ycbcr2rgb(np.moveaxis(enlarged[:, band], 0, 2), threads=self.threads), result[band])

    def _enlarge_planes(self, planes: Float32, enlarged: Float32, luma_range: tuple[float, float]) -> None:
        """Enlarge planes in [0, 1] by the networks.

        An overshoot at an edge is no picture: the next network would draw it out into a halo, so luma is clipped
        between the steps.
        """
        last = len(self.models) - 1
        for i, model in enumerate(self.models):
            size = tuple(n * model.scale for n in planes.shape[1:])
            seen = self._bicubic(planes, size) if model._takes_enlarged else planes
            planes = enlarged if i == last and size == enlarged.shape[1:] else self._empty((len(planes), *size))
            self._run(model, seen, planes)
            if planes is not enlarged:
                np.clip(planes[0], *luma_range, out=planes[0])
        if planes is not enlarged:
            self._bicubic(planes, enlarged.shape[1:], out=enlarged)

    def _run(self, model: SuperResolution, planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
        model.network(planes, out=enlarged, threads=self.threads, precision=self.precision)

    def _bicubic(self, image: NDArray[Any], size: tuple[int, ...], out: Float32 | None = None) -> Float32:
        """Resize (H, W) or (C, H, W) as MATLAB's imresize, which the papers use; integers become float32 in [0, 1]."""
        resized: Float32 = transform.resize(image, size, mode="symmetric", out=out, **self._plane_options)
        return resized

    @property
    def _plane_options(self) -> dict[str, Any]:
        return {"axes": (-2, -1), "threads": self.threads}

    def _empty(self, shape: tuple[int, ...]) -> Float32:
        """float32 memory where the image is."""
        memory: Float32 = self.source.view.new(shape, np.dtype(np.float32))[0]
        return memory


class FSRCNN(SuperResolution):
    """FSRCNN(56, 12, 4): enlarges by 2, 3 or 4 from the small image itself.

    5×5 convolution to 56 channels, 1×1 to 12, four 3×3, 1×1 to 56, and a 9×9 deconvolution, PReLU between them;
    12,464 weights. The parameters, attributes and methods are those of `SuperResolution`. Layers are named by the
    paper's terms: feature_extraction, shrinking, mapping.0 to mapping.3, expanding, deconvolution.

    References
    ----------
    C. Dong, C. C. Loy and X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> model = models.FSRCNN.from_pretrained(scale=3)
    >>> model(np.zeros((40, 60, 3), np.uint8)).shape
    (120, 180, 3)
    """

    channels: ClassVar[int] = 56
    shrunk_channels: ClassVar[int] = 12
    mapping_layers: ClassVar[int] = 4

    @classmethod
    def _shapes(cls, colours: int, shuffle: PixelShuffle | None = None) -> dict[str, Shape]:
        """Names and weights of the layers; OpenCV's variant ends in a 1×1 convolution and a pixel shuffle."""
        d, s = cls.channels, cls.shrunk_channels
        return {
            "feature_extraction": (d, colours, 5, 5),
            "shrinking": (s, d, 1, 1),
            **{f"mapping.{i}": (s, s, 3, 3) for i in range(cls.mapping_layers)},
            "expanding": (d, s, 1, 1),
            **(
                {"sub_pixel_convolution": (colours * shuffle.factor**2, d, 1, 1)}
                if shuffle
                else {"deconvolution": (d, colours, 9, 9)}
            ),
        }

    @classmethod
    def _recognised(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        shuffle = layers[-1] if layers and isinstance(layers[-1], PixelShuffle) else None
        weighted = layers[:-1] if shuffle else layers
        shapes = cls._shapes(_colours(weighted), shuffle)
        deconvolution = None if shuffle else "deconvolution"
        named = _named(weighted, shapes, deconvolution)
        return (*named, replace(shuffle, name="pixel_shuffle")) if shuffle else named

    @classmethod
    def _from_tensors(cls, weights: Weights, scale: int | None) -> tuple[Layer, ...]:
        scale = _told(scale)
        shapes = cls._shapes(_colours(weights.tensors))
        tensors = _matched(weights, shapes)
        padding_mode = "replicate" if weights.geometry == "paper" else "zeros"
        *convolutions, last = shapes
        # Some re-implementations in PyTorch have one PReLU after all mapping layers, the authors one after each.
        optional = convolutions[2 : 1 + cls.mapping_layers] if weights.geometry == "pytorch" else []
        for name, layer in tensors.items():
            _check_roles(layer, name, slope=None if name in optional else name != last)
        layers = [_same_size(tensors[name], name, padding_mode, "prelu") for name in convolutions]
        stride, padding, output_padding = DECONVOLUTION[scale] if weights.geometry == "paper" else (scale, 4, scale - 1)
        deconvolution = ConvTranspose2d(
            tensors[last].weight,
            tensors[last].bias,
            stride,
            padding,
            output_padding,
            padding_mode=padding_mode,
            name=last,
        )
        return (*layers, deconvolution)


class FSRCNN_s(FSRCNN):
    """FSRCNN-s, FSRCNN(32, 5, 1): the small one, 3,937 weights.

    The parameters, attributes and methods are those of `SuperResolution`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> model = models.FSRCNN_s.from_pretrained(scale=2)
    >>> model(np.zeros((40, 60, 3), np.uint8)).shape
    (80, 120, 3)
    """

    channels = 32
    shrunk_channels = 5
    mapping_layers = 1


class SRCNN(SuperResolution):
    """SRCNN 9-1-5, 9-3-5 or 9-5-5: sharpens an image that bicubic interpolation has enlarged.

    9×9 convolution to 64 channels, 1×1, 3×3 or 5×5 to 32, 5×5, ReLU between them; 8,032, 24,416 or 57,184 weights.
    The parameters, attributes and methods are those of `SuperResolution`; `scale` must be given. Layers are named
    by the paper's terms: patch_extraction, nonlinear_mapping, reconstruction. Weights of 9-5-5 come with fastimg.

    References
    ----------
    C. Dong, C. C. Loy, K. He and X. Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016.

    Examples
    --------
    >>> from fastimg import models
    >>> models.SRCNN.from_pretrained(scale=3)
    SRCNN(scale=3)
    """

    _takes_enlarged = True

    @classmethod
    def _shapes(cls, weighted: tuple[Layer, ...] | tuple[LayerTensors, ...]) -> dict[str, Shape]:
        colours = _colours(weighted)
        sizes = [weight.shape[-1] for layer in weighted if (weight := getattr(layer, "weight", None)) is not None]
        middle = sizes[1] if len(sizes) > 1 and sizes[1] in (1, 3, 5) else 5
        return {
            "patch_extraction": (64, colours, 9, 9),
            "nonlinear_mapping": (32, 64, middle, middle),
            "reconstruction": (colours, 32, 5, 5),
        }

    @classmethod
    def _recognised(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        return _named(layers, cls._shapes(layers))

    @classmethod
    def _from_tensors(cls, weights: Weights, scale: int | None) -> tuple[Layer, ...]:
        tensors = _matched(weights, cls._shapes(weights.tensors))
        padding_mode = "replicate" if weights.geometry == "paper" else "zeros"
        activations = ("relu", "relu", None)
        for name, layer in tensors.items():
            _check_roles(layer, name, slope=False)
        return tuple(
            _same_size(layer, name, padding_mode, activation)
            for (name, layer), activation in zip(tensors.items(), activations, strict=True)
        )


class PlainSR(SuperResolution):
    """PlainSR: enlarges by 2, 3 or 4 from the small image itself; better than FSRCNN, and no dearer.

    Six 3×3 convolutions to 16 or 15 channels and a sub-pixel convolution to the pixels of a cell, PReLU between them:
    a chain that was trained over-parameterised, each kernel the sum of itself and of the product of two.
    12,240, 12,456 and 12,420 weights at ×2, ×3 and ×4. The parameters, attributes and methods are those of
    `SuperResolution`. Layers are named feature_extraction, mapping.0 to mapping.4, sub_pixel_convolution,
    pixel_shuffle.

    References
    ----------
    W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
    Network", CVPR 2016. X. Zhang, H. Zeng and L. Zhang, "Edge-oriented Convolution Block for Real-time Super Resolution
    on Mobile Devices", ACM Multimedia 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> model = models.PlainSR.from_pretrained(scale=2)
    >>> model(np.zeros((40, 60, 3), np.uint8)).shape
    (80, 120, 3)
    """

    widths: ClassVar[Mapping[int, tuple[int, ...]]] = {2: (16,) * 6, 3: (16, 16, 16, 16, 15, 15), 4: (15,) * 6}

    @classmethod
    def _shapes(cls, colours: int, scale: int) -> dict[str, Shape]:
        widths = cls.widths[scale]
        return {
            "feature_extraction": (widths[0], colours, 3, 3),
            **{f"mapping.{i}": (outputs, inputs, 3, 3) for i, (inputs, outputs) in enumerate(pairwise(widths))},
            "sub_pixel_convolution": (colours * scale**2, widths[-1], 3, 3),
        }

    @classmethod
    def _recognised(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        shuffle = layers[-1] if layers else None
        if not isinstance(shuffle, PixelShuffle):
            found = "nothing" if shuffle is None else f"a {type(shuffle).__name__}"
            raise ValueError(f"expected a PixelShuffle as the last layer, found {found}")
        _checks.one_of(shuffle.factor, "scale", SCALES)
        weighted = layers[:-1]
        named = _named(weighted, cls._shapes(_colours(weighted), shuffle.factor))
        return (*named, replace(shuffle, name="pixel_shuffle"))

    @classmethod
    def _from_tensors(cls, weights: Weights, scale: int | None) -> tuple[Layer, ...]:
        scale = _told(scale)
        colours = _colours(weights.tensors)
        tensors = _matched(weights, cls._shapes(colours, scale))
        *hidden, last = tensors
        for name, layer in tensors.items():
            _check_roles(layer, name, slope=name != last)
        return (
            *(_same_size(tensors[name], name, "replicate", "prelu") for name in hidden),
            _same_size(tensors[last], last, "replicate", None),
            PixelShuffle(scale, channels=colours, name="pixel_shuffle"),
        )


def _colours(weighted: tuple[Layer, ...] | tuple[LayerTensors, ...]) -> int:
    """The channels that the first layer takes, as far as a model can have them."""
    weight = getattr(weighted[0], "weight", None) if weighted else None
    return 3 if weight is not None and weight.shape[1] == 3 else 1


def _told(scale: int | None) -> int:
    """The scale that a file or its reader told, if it is one of those that there are."""
    if scale is None:
        raise ValueError("scale must be given: the file does not tell it")
    _checks.one_of(scale, "scale", SCALES)
    return scale


def _named(
    layers: tuple[Layer, ...], shapes: Mapping[str, Shape], deconvolution: str | None = None
) -> tuple[Layer, ...]:
    """The layers under the names of `shapes`, if they are convolutions with weights of these shapes."""
    _check_count(layers, shapes)
    for layer, (name, shape) in zip(layers, shapes.items(), strict=True):
        kind = ConvTranspose2d if name == deconvolution else Conv2d
        if not isinstance(layer, kind):
            raise ValueError(
                f"layer {layer.name!r} ({name}): expected a {kind.__name__}, found a {type(layer).__name__}"
            )
        _check_shape(layer, name, shape)
    return tuple(replace(layer, name=name) for layer, name in zip(layers, shapes, strict=True))


def _matched(weights: Weights, shapes: Mapping[str, Shape]) -> dict[str, LayerTensors]:
    """The file's tensors by layer, in order."""
    tensors = {layer.name: layer for layer in weights.tensors}
    if weights.named:
        missing, unexpected = shapes.keys() - tensors.keys(), tensors.keys() - shapes.keys()
        if missing or unexpected:
            raise ValueError(
                f"expected tensors of {', '.join(shapes)}; missing {', '.join(sorted(missing)) or 'none'}, "
                f"unexpected {', '.join(sorted(unexpected)) or 'none'}"
            )
        matched = {name: tensors[name] for name in shapes}
    else:
        _check_count(weights.tensors, shapes)
        matched = dict(zip(shapes, weights.tensors, strict=True))
    for name, layer in matched.items():
        _check_shape(layer, name, shapes[name])
    return matched


def _check_count(layers: tuple[Layer, ...] | tuple[LayerTensors, ...], shapes: Mapping[str, Shape]) -> None:
    if len(layers) != len(shapes):
        raise ValueError(
            f"expected {len(shapes)} layers with weights ({', '.join(shapes)}), "
            f"found {len(layers)} ({', '.join(layer.name for layer in layers)})"
        )


def _check_shape(layer: Conv2d | ConvTranspose2d | LayerTensors, name: str, shape: Shape) -> None:
    if layer.weight.shape != shape:
        raise ValueError(f"weight of {layer.name!r} ({name}): expected shape {shape}, found {layer.weight.shape}")


def _check_roles(layer: LayerTensors, name: str, *, slope: bool | None) -> None:
    """Whether bias and PReLU slope are there as they should; `slope` None leaves the slope open."""
    if layer.bias is None:
        raise ValueError(f"bias of {layer.name!r} ({name}) is missing")
    if slope is not None and slope != (layer.slope is not None):
        raise ValueError(f"PReLU slope of {layer.name!r} ({name}) is {'missing' if slope else 'unexpected'}")


def _same_size(layer: LayerTensors, name: str, padding_mode: str, activation: str | None) -> Conv2d:
    """A convolution that keeps the size of the image; PReLU only where there is a slope."""
    rows, columns = layer.weight.shape[2:]
    return Conv2d(
        layer.weight,
        layer.bias,
        padding=(rows // 2, columns // 2),
        padding_mode=padding_mode,
        activation=None if activation == "prelu" and layer.slope is None else activation,
        slope=layer.slope,
        name=name,
    )


def _factor(network: Network) -> int:
    """The whole factor by which a network enlarges images of any size."""
    sizes = {n: network.output_size((n, n + 1)) for n in (64, 65)}
    factor = sizes[64][0] // 64
    if any(size != (factor * n, factor * (n + 1)) for n, size in sizes.items()) or factor < 1:
        raise ValueError(
            f"layers must enlarge an image of any size by one whole factor, but lead from (64, 65) to {sizes[64]} "
            f"and from (65, 66) to {sizes[65]}"
        )
    return factor
