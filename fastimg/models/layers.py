"""Networks as data: a tuple of layers, each a frozen description with its weights.

A layer says what is computed, never how. `Network` checks that the layers fit one another and has a backend run them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _checks, arrays, nn
from .._planes import Float32

Pair = int | tuple[int, int]  # rows and columns; one number for both

PRECISIONS = ("float32", "float16", "bfloat16")
_PADDING_MODES = ("zeros", "replicate", "reflect")
_ACTIVATIONS = (None, "relu", "leaky_relu", "prelu")


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Convolution (as in PyTorch: a correlation) with bias and activation.

    Parameters
    ----------
    weight : (C_out, C_in / groups, kh, kw) array of float32
    bias : (C_out,) array of float32, optional
    stride, padding, dilation : int or pair of int (rows, columns)
    groups : int
    padding_mode : {"zeros", "replicate", "reflect"}
        What stands outside the image.
    activation : {None, "relu", "leaky_relu", "prelu"}
    slope : (1,) or (C_out,) array of float32, optional
        What values below zero are multiplied by; any sign. For "prelu", and "leaky_relu" (0.01 by default).
    name : str
        Names the layer in errors and its tensors in files.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or shape, out of its range, or not finite. The message names layer and field.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg.models import Conv2d
    >>> layer = Conv2d(np.zeros((8, 3, 5, 5)), np.zeros(8), padding=2, activation="relu", name="first")
    >>> layer.in_channels, layer.out_channels, layer.output_size((480, 640))
    (3, 8, (480, 640))
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_mode: str = "zeros"
    activation: str | None = None
    slope: NDArray[Any] | None = None
    name: str = "conv2d"

    def __post_init__(self) -> None:
        _check(self, {"stride": 1, "padding": 0, "dilation": 1})

    @property
    def in_channels(self) -> int:
        return int(self.weight.shape[1]) * self.groups

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[0])

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of height and width `size`."""
        lengths = zip(size, self.weight.shape[2:], *map(_pair, (self.stride, self.padding, self.dilation)), strict=True)
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in lengths)
        return rows, columns

    def reach_beyond(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns beyond an input of height and width `size` are read."""
        return _pair(self.padding)


@dataclass(frozen=True, eq=False)
class ConvTranspose2d:
    """Transposed convolution (as in PyTorch) with bias and activation.

    Parameters
    ----------
    weight : (C_in, C_out / groups, kh, kw) array of float32
    output_padding : int or pair of int (rows, columns)
        Rows and columns added at the far end of the result.
    padding_mode : {"zeros", "replicate", "reflect"}
        "replicate" and "reflect" continue the input beyond its border as far as the kernel reaches.

    The other parameters, and the errors, are those of `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg.models import ConvTranspose2d
    >>> ConvTranspose2d(np.zeros((56, 1, 9, 9)), stride=2, padding=4, output_padding=1).output_size((480, 640))
    (960, 1280)
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    groups: int = 1
    dilation: Pair = (1, 1)
    padding_mode: str = "zeros"
    activation: str | None = None
    slope: NDArray[Any] | None = None
    name: str = "conv_transpose2d"

    def __post_init__(self) -> None:
        _check(self, {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1})

    @property
    def in_channels(self) -> int:
        return int(self.weight.shape[0])

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[1]) * self.groups

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of height and width `size`."""
        pairs = map(_pair, (self.stride, self.padding, self.output_padding, self.dilation))
        lengths = zip(size, self.weight.shape[2:], *pairs, strict=True)
        rows, columns = ((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in lengths)
        return rows, columns

    def reach_beyond(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns beyond an input of height and width `size` are read."""
        pairs = map(_pair, (self.stride, self.padding, self.dilation))
        lengths = zip(size, self.weight.shape[2:], *pairs, self.output_size(size), strict=True)
        rows, columns = (max(nn.transposed_reach(*length)) for length in lengths)
        return rows, columns


@dataclass(frozen=True, eq=False)
class PixelShuffle:
    """Rearranges (C·r², H, W) into (C, r·H, r·W), channel c·r² + i·r + j to row i, column j of its block.

    Parameters
    ----------
    factor : int
        r.
    channels : int
        C, the channels that come out.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an integer of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg.models import Network, PixelShuffle
    >>> Network([PixelShuffle(2)])(np.arange(4, dtype=np.float32).reshape(4, 1, 1))
    array([[[0., 1.],
            [2., 3.]]], dtype=float32)
    """

    factor: int
    channels: int = 1
    name: str = "pixel_shuffle"

    def __post_init__(self) -> None:
        for field in ("factor", "channels"):
            _checks.integer(getattr(self, field), f"layer {self.name!r}: {field}", at_least=1)

    @property
    def in_channels(self) -> int:
        return self.channels * self.factor**2

    @property
    def out_channels(self) -> int:
        return self.channels

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of height and width `size`."""
        return size[0] * self.factor, size[1] * self.factor


@dataclass(frozen=True, eq=False)
class Add:
    """Adds what an earlier layer has read: a residual connection.

    Parameters
    ----------
    input_of : str
        Name of that layer: a `Conv2d` of stride 1 or a `ConvTranspose2d`. What it reads and what comes from the layer
        before this one must have the same channels, rows and columns.

    Raises
    ------
    TypeError
        If `input_of` is not a string.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg.models import Add, Conv2d, Network
    >>> half = Conv2d(np.full((1, 1, 1, 1), 0.5), name="half")
    >>> Network([half, Add(input_of="half")])(np.array([[[2.0, 4.0]]], np.float32))
    array([[[3., 6.]]], dtype=float32)
    """

    input_of: str
    name: str = "add"

    def __post_init__(self) -> None:
        if not isinstance(self.input_of, str):
            raise TypeError(f"layer {self.name!r}: input_of must be a string, got {type(self.input_of).__name__}")

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of height and width `size`."""
        return size


Layer = Conv2d | ConvTranspose2d | PixelShuffle | Add

_DTYPES = [dtype for dtype in arrays.IMAGE_DTYPES if dtype != np.float64]


class Network:
    """A chain of layers.

    Parameters
    ----------
    layers : iterable of Conv2d, ConvTranspose2d, PixelShuffle or Add
        In the order in which they run.

    Raises
    ------
    TypeError
        If something else than a layer is among the layers.
    ValueError
        If there is no layer, if one does not take the channels that the one before it gives, or if an `Add` names no
        layer before it, more than one, or one whose input cannot be added there.

    Notes
    -----
    The cost is the sum of the layers' (see `fastimg.nn`). On the CPU the image goes through all layers a few rows of a
    strip at a time, so that intermediate results stay in the cache; each thread takes 8 MB at most (more only where
    strips of 64 columns do), usually one. On a GPU with precision "float32" layers run one by one, in two buffers of
    the size of the largest intermediate results.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg.models import Conv2d, Network
    >>> box = Conv2d(np.full((1, 1, 3, 3), 1 / 9, np.float32), padding=1, padding_mode="replicate")
    >>> Network([box, box])(np.ones((1, 4, 5), np.float32)).shape
    (1, 4, 5)
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers: tuple[Layer, ...] = tuple(layers)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layers must be Conv2d, ConvTranspose2d, PixelShuffle or Add, got {type(layer).__name__}"
                )
        self._lenders: dict[int, int] = {}  # by the place of an Add: that of the layer whose input it adds
        self.in_channels, self.out_channels = self._connect()

    def __repr__(self) -> str:
        return f"Network({self.in_channels} -> {self.out_channels} channels, {len(self.layers)} layers)"

    def _connect(self) -> tuple[int, int]:
        """The channels that go in and come out, if the layers fit one another."""
        inputs: list[int] = []  # channels, by layer
        channels = 0
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Add):
                lender = self._lenders[i] = _lender(layer, self.layers[:i])
                inputs.append(channels)
                if inputs[lender] != channels:
                    raise ValueError(
                        f"layer {layer.name!r} adds the {inputs[lender]} channels that {layer.input_of!r} takes "
                        f"to {channels}"
                    )
                continue
            if i > 0 and layer.in_channels != channels:
                raise ValueError(
                    f"layer {layer.name!r} takes {layer.in_channels} channels, "
                    f"but {self.layers[i - 1].name!r} before it gives {channels}"
                )
            inputs.append(layer.in_channels)
            channels = layer.out_channels
        return inputs[0], channels

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of height and width `size`."""
        for layer in self.layers:
            size = layer.output_size(size)
        return size

    def __call__(self, x: Any, *, out: Any = None, threads: int | None = None, precision: str = "float32") -> Any:
        """Run the network.

        Parameters
        ----------
        x : (N, C, H, W) or (C, H, W) array of uint8, uint16, float16 or float32
            Integers stand for [0, 1].
        out : array of any of these dtypes, optional
            Receives the result; integers are rounded half to even and clipped, NaN becomes 0. By default of the dtype
            of `x`.
        threads : int, optional
            By default `fastimg.get_num_threads()`. The result does not depend on it.
        precision : {"float32", "float16", "bfloat16"}
            "bfloat16", on the CPU only: weights and what passes between layers may be rounded to bfloat16, the image to
            16 bits, sums in float32. Several times as fast where the processor has AMX; by a third or so with
            AVX512-BF16, where layers that gain nothing stay in float32; slower elsewhere. FSRCNN's results on
            photographs in [0, 1] change by 0.02 at most, its PSNR by 0.02 dB; PlainSR's PSNR by 0.08 dB.
            "float16", on a GPU only: on tensor cores, with weights and intermediate results rounded to float16 and
            sums in float32; a network of few channels in one launch, others in a few. For `Conv2d` that keep the size
            of the image, `ConvTranspose2d` and `PixelShuffle`, of one group and dilation 1, that pad with zeros or
            replicate. FSRCNN's results on photographs in [0, 1] change by 0.002 at most.

        Returns
        -------
        array
            Of the kind of `x`.

        Raises
        ------
        TypeError
            If `x` is no array, or of another dtype.
        ValueError
            If `x` has other channels or too few rows or columns, or `out` does not fit. With precision "float16", if
            `x` is not on a GPU, or if a layer does not fit there: the message says which, and why.
        """
        _checks.one_of(precision, "precision", PRECISIONS)
        source = arrays.take(x, "x", dtypes=_DTYPES)
        elsewhere = "bfloat16" if source.on_gpu else "float16"
        if precision == elsewhere:
            where, here = ("a GPU", "float16") if source.on_gpu else ("the CPU", "bfloat16")
            raise ValueError(f"precision must be 'float32' or {here!r} for an array on {where}, got {precision!r}")
        shape = source.data.shape
        _checks.rank(len(shape), "x", (3, 4), "channels, rows and columns, after an optional batch")
        _checks.non_empty(shape, "x")
        if shape[-3] != self.in_channels:
            raise ValueError(f"x must have {self.in_channels} channels, got shape {shape}")
        last = self._checked_shape(shape)
        n_threads = _checks.threads(threads)
        result = source.result(last, [source.data.dtype, *_DTYPES], out)
        images, results = (a if a.ndim == 4 else a[np.newaxis] for a in (source.data, result.data))
        kept = _kept_by_device(self, source)
        source.backend.network(images, results, self.layers, kept, n_threads, precision)
        return result.give_back()

    def _checked_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result for an input of `shape`, which must be large enough for every layer."""
        size = (shape[-2], shape[-1])
        inputs = []
        for i, layer in enumerate(self.layers):
            inputs.append(size)
            if i in self._lenders and inputs[self._lenders[i]] != size:
                raise ValueError(
                    f"layer {layer.name!r} adds the input of {self.layers[self._lenders[i]].name!r}, "
                    f"{inputs[self._lenders[i]]} rows and columns for an x of {shape[-2:]}, to {size}"
                )
            before, size = size, layer.output_size(size)
            if min(size) < 1:
                raise ValueError(
                    f"x has too few rows or columns, {shape[-2:]}: after layer {layer.name!r} they would be {size}"
                )
            if isinstance(layer, Conv2d | ConvTranspose2d) and layer.padding_mode == "reflect":
                reach = layer.reach_beyond(before)
                if any(r >= n for r, n in zip(reach, before, strict=True)):
                    raise ValueError(
                        f"x has too few rows or columns, {shape[-2:]}: "
                        f"layer {layer.name!r} reflects {reach} of {before}"
                    )
        return (*shape[:-3], self.out_channels, *size)


def _lender(layer: Add, before: tuple[Layer, ...]) -> int:
    """The place of the layer whose input is added."""
    places = [i for i, other in enumerate(before) if other.name == layer.input_of]
    where = f"layer {layer.name!r}: input_of must name"
    if len(places) != 1:
        raise ValueError(f"{where} one layer before it, but {len(places)} are called {layer.input_of!r}")
    lender = before[places[0]]
    if not isinstance(lender, Conv2d | ConvTranspose2d) or (isinstance(lender, Conv2d) and lender.stride != (1, 1)):
        found = f"stride {lender.stride}" if isinstance(lender, Conv2d) else f"a {type(lender).__name__}"
        raise ValueError(f"{where} a Conv2d of stride 1 or a ConvTranspose2d, but {layer.input_of!r} has {found}")
    return places[0]


# What a device keeps of a network, by device; it goes when the network does, and is not pickled with it.
_kept: WeakKeyDictionary[Network, dict[int | str, dict[str, Any]]] = WeakKeyDictionary()


def _kept_by_device(network: Network, source: arrays.Source) -> dict[str, Any]:
    device = (source.view.device or 0) if source.on_gpu else "cpu"
    return _kept.setdefault(network, {}).setdefault(device, {})


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _check(layer: Conv2d | ConvTranspose2d, pairs: dict[str, int]) -> None:
    """Check a layer's fields, `pairs` and the least they may be among them, and give them their final form."""
    where = f"layer {layer.name!r}:"

    def put(field: str, value: object) -> None:
        object.__setattr__(layer, field, value)

    for field, least in pairs.items():
        put(field, _checked_pair(getattr(layer, field), f"{where} {field}", least))
    weight = _frozen(layer.weight, f"{where} weight")
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"{where} weight must have four dimensions, none of them empty, got shape {weight.shape}")
    put("weight", weight)
    groups = _checks.integer(layer.groups, f"{where} groups", at_least=1)
    if weight.shape[0] % groups:
        raise ValueError(f"{where} groups must divide the weight's {weight.shape[0]} channels, got {groups}")
    channels = layer.out_channels
    if layer.bias is not None:
        put("bias", _frozen(layer.bias, f"{where} bias"))
        if layer.bias.shape != (channels,):
            raise ValueError(f"{where} bias must have shape ({channels},), got {layer.bias.shape}")
    _checks.one_of(layer.padding_mode, f"{where} padding_mode", _PADDING_MODES)
    _checks.one_of(layer.activation, f"{where} activation", _ACTIVATIONS)
    if layer.activation == "leaky_relu" and layer.slope is None:
        put("slope", np.array([0.01]))
    sloped = layer.activation in ("leaky_relu", "prelu")
    if sloped != (layer.slope is not None):
        raise ValueError(f"{where} activation {layer.activation!r} {'needs a' if sloped else 'takes no'} slope")
    if layer.slope is not None:
        put("slope", np.atleast_1d(_frozen(layer.slope, f"{where} slope")))
        if layer.slope.shape not in ((1,), (channels,)):
            raise ValueError(f"{where} slope must have shape (1,) or ({channels},), got {layer.slope.shape}")


def _checked_pair(value: Any, name: str, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer or a pair of them, got {value!r}")
    rows, columns = (_checks.integer(v, name, at_least=least) for v in pair)
    return rows, columns


def _frozen(array: ArrayLike, what: str) -> Float32:
    """A float32 copy that nobody can change."""
    with np.errstate(over="ignore"):  # what does not fit becomes Inf
        result = np.array(array, np.float32, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"{what} must be finite, got NaN or Inf")
    result.flags.writeable = False
    return result
