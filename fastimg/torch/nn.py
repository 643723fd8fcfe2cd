"""Layers of convolutional networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import nn as layers
from ._operator import Operator, apply, empty_like, is_plain, is_tracked, per_axis

_OPTIONS = "SymInt groups, str padding_mode, str? activation, int? threads"


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    slope: float | Tensor | None = None,
    threads: int | None = None,
) -> Tensor:
    """Convolve images with a bank of filters, add a bias, apply an activation.

    Parameters
    ----------
    x : (N, C, H, W) or (C, H, W) tensor of float16, bfloat16 or float32
    weight : (O, C / groups, kernel height, kernel width) tensor of that dtype
    bias : (O,) tensor of that dtype, optional
    stride, padding, dilation, groups, padding_mode, activation, slope, threads
        As in `fastimg.nn.conv2d`.

    Returns
    -------
    (N, O, H', W') or (O, H', W') tensor of the dtype of `x`
        Channels last if the images have them last. Computed in float32; under `torch.autocast` of float32.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.nn.conv2d`.

    Notes
    -----
    Differentiable in all tensors, twice and more often. Where no gradient is wanted all is done in one pass. Where one
    is, the padding, unless of zeros, and the activation are PyTorch's, as they have to be remembered; the gradient of
    the convolution is PyTorch's too.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> mean = torch.full((1, 1, 3, 3), 1 / 9)
    >>> fastimg.torch.conv2d(torch.ones(1, 1, 4, 4), mean, padding=1)[0, 0, 0]
    tensor([0.4444, 0.6667, 0.6667, 0.4444])
    """
    given = (x, weight, bias, slope)
    if _is_plain(*given):
        return _convolved(*given, stride, padding, dilation, groups, padding_mode, activation, threads)
    stride, dilation = per_axis(stride, 2), per_axis(dilation, 2)
    before, after = _margins(padding, weight.shape[2:], stride, dilation)
    tracked = _is_tracked(*given)
    if before != after or (tracked and padding_mode != "zeros"):
        x, before, padding_mode = _padded(x, before, after, padding_mode), [0, 0], "zeros"
    options = (stride, before, dilation, groups, padding_mode)
    return _with_activation(_conv2d, (x, *given[1:]), options, activation, threads, tracked)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    slope: float | Tensor | None = None,
    threads: int | None = None,
) -> Tensor:
    """Transposed convolution ("deconvolution"), bias and activation.

    Parameters
    ----------
    x : (N, C, H, W) or (C, H, W) tensor of float16, bfloat16 or float32
    weight : (C, O / groups, kernel height, kernel width) tensor of that dtype
    bias : (O,) tensor of that dtype, optional
    stride, padding, output_padding, groups, dilation, padding_mode, activation, slope, threads
        As in `fastimg.nn.conv_transpose2d`.

    Returns
    -------
    (N, O, H', W') or (O, H', W') tensor of the dtype of `x`
        Channels last if the images have them last. Computed in float32; under `torch.autocast` of float32.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.nn.conv_transpose2d`.

    See Also
    --------
    conv2d : With the notes on gradients.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> fastimg.torch.conv_transpose2d(x, torch.ones(1, 1, 2, 2), stride=2)[0, 0, 0]
    tensor([1., 1., 2., 2.])
    """
    given = (x, weight, bias, slope)
    if _is_plain(*given):
        sizes = (stride, padding, output_padding, dilation)
        return _convolved_transposed(*given, *sizes, groups, padding_mode, activation, threads)
    stride, dilation = per_axis(stride, 2), per_axis(dilation, 2)
    padding, output_padding = per_axis(padding, 2), per_axis(output_padding, 2)
    tracked = _is_tracked(*given)
    if tracked and padding_mode != "zeros":
        size = _transposed_size(x, weight, stride, padding, output_padding, dilation)
        reach = [
            max(layers.transposed_reach(*of_axis))
            for of_axis in zip(x.shape[-2:], weight.shape[2:], stride, padding, dilation, size, strict=True)
        ]
        x, padding_mode = _padded(x, reach, reach, padding_mode), "zeros"
        padding = [p + r * s for p, r, s in zip(padding, reach, stride, strict=True)]
    whole = (stride, padding, output_padding, dilation, groups, padding_mode)
    return _with_activation(_conv_transpose2d, (x, *given[1:]), whole, activation, threads, tracked)


class Conv2d(nn.Conv2d):  # type: ignore[misc]
    """`torch.nn.Conv2d` with an activation, by `conv2d`.

    Parameters
    ----------
    activation : {None, "relu", "leaky_relu", "prelu"}
        The slope of "prelu" is a parameter, one for each channel, 0.25 at first.
    **options
        All others are those of `torch.nn.Conv2d`; `padding_mode` is "zeros", "replicate" or "reflect".

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> layer = fastimg.torch.Conv2d(3, 8, 5, padding=2, padding_mode="replicate", activation="prelu")
    >>> layer(torch.ones(1, 3, 9, 9)).shape
    torch.Size([1, 8, 9, 9])
    """

    def __init__(self, *positional: Any, activation: str | None = None, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.activation, self.slope = activation, _slope(activation, self.out_channels, self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
            activation=self.activation,
            slope=self.slope,
        )


class ConvTranspose2d(nn.ConvTranspose2d):  # type: ignore[misc]
    """`torch.nn.ConvTranspose2d` with an activation and every border, by `conv_transpose2d`.

    Parameters
    ----------
    activation : {None, "relu", "leaky_relu", "prelu"}
        The slope of "prelu" is a parameter, one for each channel, 0.25 at first.
    padding_mode : {"zeros", "replicate", "reflect"}
    **options
        All others are those of `torch.nn.ConvTranspose2d`.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> fastimg.torch.ConvTranspose2d(4, 1, 9, stride=2, padding=4, output_padding=1)(torch.ones(1, 4, 5, 5)).shape
    torch.Size([1, 1, 10, 10])
    """

    def __init__(
        self, *positional: Any, activation: str | None = None, padding_mode: str = "zeros", **options: Any
    ) -> None:
        super().__init__(*positional, **options)
        self.padding_mode = padding_mode
        self.activation, self.slope = activation, _slope(activation, self.out_channels, self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            padding_mode=self.padding_mode,
            activation=self.activation,
            slope=self.slope,
        )


def _slope(activation: str | None, channels: int, like: Tensor) -> nn.Parameter | None:
    return nn.Parameter(like.new_full((channels,), 0.25)) if activation == "prelu" else None


# ---- with and without gradient ---------------------------------------------------------------------------------------


def _is_plain(*given: Any) -> bool:
    return is_plain(*(tensor for tensor in given if isinstance(tensor, Tensor)))


def _is_tracked(*given: Any) -> bool:
    return is_tracked(*(tensor for tensor in given if isinstance(tensor, Tensor)))


def _with_activation(
    operator: Operator,
    given: tuple[Any, ...],
    options: tuple[Any, ...],
    activation: str | None,
    threads: int | None,
    tracked: bool,
) -> Tensor:
    """A convolution and its activation: one operator, or where a gradient is wanted two."""
    x, weight, bias, slope = given
    if x.dim() == 3:
        return _with_activation(operator, (x[None], *given[1:]), options, activation, threads, tracked)[0]
    if activation == "leaky_relu" and slope is None:
        slope = 0.01
    if slope is not None and not isinstance(slope, Tensor):
        slope = weight.new_full((1,), slope)
    if not tracked:
        return operator(x, weight, bias, slope, *options, activation, threads)
    y = operator(x, weight, bias, None, *options, None, threads)
    if activation == "relu":
        return functional.relu(y)
    return y if slope is None else functional.prelu(y, slope.to(y.dtype))


def _margins(
    padding: Any, kernel: Sequence[int], stride: list[int], dilation: list[int]
) -> tuple[list[int], list[int]]:
    """Rows and columns before and after the image."""
    if padding == "same":
        if stride != [1, 1]:
            raise ValueError(f"padding 'same' needs a stride of 1, got {tuple(stride)}")
        both = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [n // 2 for n in both], [n - n // 2 for n in both]
    before = per_axis(0 if padding == "valid" else padding, 2)
    return before, before


def _padded(x: Tensor, before: list[int], after: list[int], padding_mode: str) -> Tensor:
    mode = "constant" if padding_mode == "zeros" else padding_mode
    return functional.pad(x, (before[1], after[1], before[0], after[0]), mode)


# ---- the operators ---------------------------------------------------------------------------------------------------


def _computed(
    function: Callable[..., Tensor],
    x: Tensor,
    channels: int,
    size: Sequence[int],
    others: Sequence[Any],
    **options: Any,
) -> Tensor:
    """A layer of tensors that float32 holds; `others` are weight, bias and slope."""

    def single(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().float() if value.dtype in (torch.float16, torch.bfloat16) else value.detach()

    weight, bias, slope = map(single, others)
    shape = (*x.shape[:-3], channels, *size)
    return apply(function, single(x), shape, weight=weight, bias=bias, slope=slope, **options).to(x.dtype)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
    activation: str | None,
    threads: int | None,
) -> Tensor:
    size = _size(x, weight, stride, padding, dilation)
    others = (weight, bias, slope)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "threads": threads}
    options |= {"padding_mode": padding_mode, "activation": activation}
    return _computed(layers.conv2d, x, weight.shape[0], size, others, **options)


def _convolved_transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
    activation: str | None,
    threads: int | None,
) -> Tensor:
    size = _transposed_size(x, weight, stride, padding, output_padding, dilation)
    others = (weight, bias, slope)
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    options |= {"groups": groups, "padding_mode": padding_mode, "activation": activation, "threads": threads}
    return _computed(layers.conv_transpose2d, x, weight.shape[1] * groups, size, others, **options)


def _size(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any) -> list[int]:
    """Rows and columns of a convolution."""
    stride, dilation = per_axis(stride, 2), per_axis(dilation, 2)
    pairs = (*_margins(padding, weight.shape[2:], stride, dilation), dilation, stride)
    lengths = zip(x.shape[-2:], weight.shape[2:], *pairs, strict=True)
    return [(n + before + after - d * (k - 1) - 1) // s + 1 for n, k, before, after, d, s in lengths]


def _transposed_size(
    x: Tensor, weight: Tensor, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> list[int]:
    """Rows and columns of a transposed convolution."""
    pairs = (per_axis(value, 2) for value in (stride, padding, output_padding, dilation))
    lengths = zip(x.shape[-2:], weight.shape[2:], *pairs, strict=True)
    return [(n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in lengths]


def _convolution_gradients(ctx: Any, gradient: Tensor, *, transposed: bool) -> tuple[Tensor | None, ...]:
    x, weight, bias, _ = ctx.saved_tensors
    stride, padding, *extra, dilation, groups, padding_mode, activation, _ = ctx.options
    if padding_mode != "zeros" or activation is not None:
        raise NotImplementedError("the operator has a gradient for zeros as padding and no activation only")
    channels = None if bias is None else list(bias.shape)
    wanted = [bool(want) for want in ctx.needs_input_grad[:3]]
    output_padding = extra[0] if extra else [0, 0]
    options = (channels, stride, padding, dilation, transposed, output_padding, groups, wanted)
    return (*torch.ops.aten.convolution_backward(gradient, x, weight, *options), None)


_TENSORS = "Tensor x, Tensor weight, Tensor? bias, Tensor? slope"
_conv2d: Operator = Operator(
    f"conv2d({_TENSORS}, SymInt[] stride, SymInt[] padding, SymInt[] dilation, {_OPTIONS}) -> Tensor",
    _convolved,
    fake=lambda x, weight, _bias, _slope, stride, padding, dilation, *_: empty_like(
        x, (x.shape[0], weight.shape[0], *_size(x, weight, stride, padding, dilation))
    ),
    backward=functools.partial(_convolution_gradients, transposed=False),
    keep=True,
    autocast=torch.float32,
)
_conv_transpose2d: Operator = Operator(
    f"conv_transpose2d({_TENSORS}, SymInt[] stride, SymInt[] padding, SymInt[] output_padding, SymInt[] dilation, "
    f"{_OPTIONS}) -> Tensor",
    _convolved_transposed,
    fake=lambda x, weight, _bias, _slope, stride, padding, extra, dilation, groups, *_: empty_like(
        x, (x.shape[0], weight.shape[1] * groups, *_transposed_size(x, weight, stride, padding, extra, dilation))
    ),
    backward=functools.partial(_convolution_gradients, transposed=True),
    keep=True,
    autocast=torch.float32,
)
