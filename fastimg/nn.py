"""Layers of convolutional networks, under PyTorch's names and with its semantics, with the activation fused in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["conv2d", "conv_transpose2d"]

_ACTIVATIONS = (None, "relu", "leaky_relu", "prelu")
_PADDING_MODES = ("zeros", "replicate", "reflect")
_AXES = ("height", "width")
_MOST = 1 << 20  # stride, padding, dilation: beyond all use, and products of them stay far from overflow

_Pair = tuple[int, int]


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    slope: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convolve images with a bank of filters, add a bias, apply an activation: one pass.

    As `torch.nn.functional.conv2d` (a cross-correlation: the kernel is not flipped), followed by the activation.

    Parameters
    ----------
    x : array of float32, shape (N, C, H, W) or (C, H, W)
        NumPy array or CPU tensor; any strides, channels-last too. N may be 0.
    weight : array of float32, shape (O, C / groups, kernel height, kernel width)
        NumPy array or CPU tensor, whichever kind `x` is.
    bias : array of float32, shape (O,), optional
    stride, dilation : int or pair of int, from 1 to 1,048,576
        Along the height and the width.
    padding : int, pair of int, "same" or "valid"
        Rows and columns added on both sides. "same" keeps the size of the image and needs a stride of 1; where it has
        to add an odd number of rows or columns, the last one comes after the image.
    groups : int
        The channels are split into this many groups, each with filters of its own; `groups=C` is depthwise.
    padding_mode : {"zeros", "replicate", "reflect"}
        What stands in the padding: zeros, the nearest sample, or the mirror image without the border sample, for which
        the padding must be smaller than the image.
    activation : {None, "relu", "leaky_relu", "prelu"}
        "leaky_relu" and "prelu" are the same function, ``y if y > 0 else slope * y``.
    slope : float or array of float, shape (1,) or (O,), optional
        Of any sign. Required by "prelu", 0.01 by default for "leaky_relu".
    out : array of float32 of the kind of `x`, optional
        Where the result goes; any strides.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of float32, shape (N, O, H', W') or (O, H', W'), of the kind of `x`
        ``H' = (H + 2 * padding - dilation * (kernel height - 1) - 1) // stride + 1``.

    Raises
    ------
    TypeError
        If an array is not of dtype float32 or a number is of the wrong type.
    ValueError
        If shapes and arguments do not fit together, or there would be no output.

    See Also
    --------
    conv_transpose2d

    Notes
    -----
    ``O * C / groups * kernel height * kernel width`` multiply-adds per output sample, in float32; each output is
    summed in one fixed order. Infinities and NaNs go the way of the arithmetic: ``inf * 0`` is NaN, a ReLU keeps a NaN.
    On the CPU, kernels of 3 or 5 rows between 12 channels and more are computed four rows at a time (S. Winograd,
    "Arithmetic Complexity of Computations", SIAM 1980): within the same tolerance, but an infinity or a NaN makes NaN
    of the other rows of the four too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import nn
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> mean = np.full((1, 1, 3, 3), 1 / 9, np.float32)
    >>> nn.conv2d(x, mean, padding=1, padding_mode="replicate").round(3)[0, 0]
    array([[1.333, 2.   , 2.667],
           [3.333, 4.   , 4.667],
           [5.333, 6.   , 6.667]], dtype=float32)
    >>> nn.conv2d(x - 4, mean, activation="leaky_relu", slope=0.5, padding=1).round(3)[0, 0, 0]
    array([-0.444, -0.5  , -0.222], dtype=float32)
    """
    source, kernel = _take_images(x, weight)
    groups = _groups(groups, kernel.shape)
    _expect_channels(source.data.shape[-3], kernel.shape[1] * groups, f"weight of shape {kernel.shape}", groups)
    stride, dilation = _pair(stride, "stride", 1), _pair(dilation, "dilation", 1)
    _checks.one_of(padding_mode, "padding_mode", _PADDING_MODES)
    before, after = _padding(padding, kernel.shape[2:], stride, dilation)
    size = source.data.shape[-2:]
    if padding_mode == "reflect":
        _expect_reflectable(before, after, size)
    padded = [n + b + a for n, b, a in zip(size, before, after, strict=True)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape[2:], strict=True)]
    for axis in range(2):
        if padded[axis] < spans[axis] or size[axis] == 0:
            raise ValueError(
                f"x must be at least as large as the kernel, got {_AXES[axis]} {size[axis]}, with padding "
                f"{padded[axis]}, for a kernel that spans {spans[axis]}"
            )
    shape = [(p - span) // s + 1 for p, span, s in zip(padded, spans, stride, strict=True)]
    outputs = kernel.shape[0]
    biases, slopes = _constants(source, bias, activation, slope, outputs)
    count = _checks.threads(threads)
    result = source.result((*source.data.shape[:-3], outputs, *shape), [np.float32], out)
    geometry = (stride, before, dilation, groups, padding_mode)
    images, filled = _batch(source.data), _batch(result.data)
    source.backend.conv2d(images, kernel, biases, *geometry, activation, slopes, filled, count)
    return result.give_back()


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    slope: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Transposed convolution ("deconvolution"), bias and activation in one pass: convolution that enlarges.

    As `torch.nn.functional.conv_transpose2d`, followed by the activation: every input sample adds the kernel, times
    its value, to the output around `stride` times its position.

    Parameters
    ----------
    x : array of float32, shape (N, C, H, W) or (C, H, W)
        NumPy array or CPU tensor; any strides, channels-last too. N may be 0.
    weight : array of float32, shape (C, O / groups, kernel height, kernel width)
        NumPy array or CPU tensor, whichever kind `x` is.
    bias : array of float32, shape (O,), optional
    stride, dilation : int or pair of int, from 1 to 1,048,576
        Along the height and the width.
    padding : int or pair of int
        Rows and columns cut off the result on all sides.
    output_padding : int or pair of int
        Rows and columns added below and on the right; smaller than the stride or the dilation.
    groups : int
        The channels are split into this many groups, each with filters of its own.
    padding_mode : {"zeros", "replicate", "reflect"}
        How the input continues beyond its border, as far as the kernel reaches: with zeros, which is PyTorch's only
        way, with the nearest sample, or with the mirror image without the border sample. The result has the same size
        for all of them: it is that of the enlarged input with correspondingly more `padding`.
    activation : {None, "relu", "leaky_relu", "prelu"}
        "leaky_relu" and "prelu" are the same function, ``y if y > 0 else slope * y``.
    slope : float or array of float, shape (1,) or (O,), optional
        Of any sign. Required by "prelu", 0.01 by default for "leaky_relu".
    out : array of float32 of the kind of `x`, optional
        Where the result goes; any strides.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of float32, shape (N, O, H', W') or (O, H', W'), of the kind of `x`
        ``H' = (H - 1) * stride - 2 * padding + dilation * (kernel height - 1) + output_padding + 1``.

    Raises
    ------
    TypeError
        If an array is not of dtype float32 or a number is of the wrong type.
    ValueError
        If shapes and arguments do not fit together, or there would be no output.

    See Also
    --------
    conv2d

    Notes
    -----
    Each of the ``stride**2`` phases of the output is computed as a convolution of the input with the weights that fall
    on it: ``C / groups * O * kernel height * kernel width`` multiply-adds per input sample, none with an inserted zero.
    Infinities and NaNs go the way of the arithmetic. On the CPU, kernels of 6 rows and columns and more from 12
    channels and more are computed four rows of every phase at a time where that takes fewer multiplications, as
    those of `conv2d` are: an infinity or a NaN makes NaN of what is up to three input samples above and below and one
    beside the outputs that it feeds, too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import nn
    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> nn.conv_transpose2d(x, np.ones((1, 1, 2, 2), np.float32), stride=2)[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]], dtype=float32)
    """
    source, kernel = _take_images(x, weight)
    groups = _groups(groups, kernel.shape)
    _expect_channels(source.data.shape[-3], kernel.shape[0], f"weight of shape {kernel.shape}", groups)
    stride, dilation = _pair(stride, "stride", 1), _pair(dilation, "dilation", 1)
    padding, output_padding = _pair(padding, "padding", 0), _pair(output_padding, "output_padding", 0)
    _checks.one_of(padding_mode, "padding_mode", _PADDING_MODES)
    size = source.data.shape[-2:]
    shape = []
    for axis in range(2):
        n, k, s, p, o, d = (v[axis] for v in (size, kernel.shape[2:], stride, padding, output_padding, dilation))
        if o >= max(s, d):
            raise ValueError(f"output_padding must be smaller than stride ({s}) or dilation ({d}), got {o}")
        length = (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        if n == 0 or length < 1:
            raise ValueError(f"padding must leave some output, got {p} for an input of {_AXES[axis]} {n}")
        if padding_mode == "reflect":
            before, after = transposed_reach(n, k, s, p, d, length)
            if max(before, after) >= n:
                raise ValueError(
                    f"padding_mode 'reflect' needs an input larger than the kernel's reach, "
                    f"got {_AXES[axis]} {n} for {max(before, after)}"
                )
        shape.append(length)
    outputs = kernel.shape[1] * groups
    biases, slopes = _constants(source, bias, activation, slope, outputs)
    count = _checks.threads(threads)
    result = source.result((*source.data.shape[:-3], outputs, *shape), [np.float32], out)
    geometry = (stride, padding, dilation, groups, padding_mode)
    images, filled = _batch(source.data), _batch(result.data)
    source.backend.conv_transpose2d(images, kernel, biases, *geometry, activation, slopes, filled, count)
    return result.give_back()


def _take_images(x: Any, weight: Any) -> tuple[arrays.Source, NDArray[np.float32]]:
    """The images and the kernels, of the right dtype and rank, with at least one channel and weight."""
    source = arrays.take(x, "x", dtypes=[np.float32])
    kernels = arrays.take(weight, "weight", dtypes=[np.float32])
    arrays.expect_together(source, kernels)
    kernel = kernels.data
    _checks.rank(source.data.ndim, "x", (3, 4), "C, H, W or N, C, H, W")
    _checks.rank(kernel.ndim, "weight", (4,), "output and input channels, kernel height, kernel width")
    _checks.non_empty(kernel.shape, "weight")
    return source, kernel


def _batch(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images if images.ndim == 4 else images[np.newaxis]


def _pair(value: Any, name: str, at_least: int) -> _Pair:
    """An int, or a pair of them, as a pair."""
    pair = tuple(value) if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1 else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer or a pair of integers, got {value!r}")
    first, second = (_checks.integer(item, name, at_least=at_least, at_most=_MOST) for item in pair)
    return first, second


def _padding(padding: Any, kernel: Sequence[int], stride: _Pair, dilation: _Pair) -> tuple[_Pair, _Pair]:
    """Rows and columns before and after the image."""
    if isinstance(padding, str):
        _checks.one_of(padding, "padding", ("same", "valid"))
        if padding == "valid":
            return (0, 0), (0, 0)
        if stride != (1, 1):
            raise ValueError(f"padding 'same' needs a stride of 1, got {stride}")
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = total[0] // 2, total[1] // 2
        return before, (total[0] - before[0], total[1] - before[1])
    both = _pair(padding, "padding", 0)
    return both, both


def _groups(value: Any, weight_shape: Sequence[int]) -> int:
    groups = _checks.integer(value, "groups", at_least=1)
    if weight_shape[0] % groups != 0:
        raise ValueError(f"groups must divide the first axis of weight, got {groups} for shape {weight_shape}")
    return groups


def _expect_channels(channels: int, expected: int, what: str, groups: int) -> None:
    if channels != expected:
        raise ValueError(f"x must have {expected} channels for {what} and groups {groups}, got {channels}")


def _expect_reflectable(before: _Pair, after: _Pair, size: Sequence[int]) -> None:
    for axis in range(2):
        widest = max(before[axis], after[axis])
        if widest >= size[axis]:
            raise ValueError(
                f"padding must be smaller than the image for padding_mode 'reflect', "
                f"got {widest} for {_AXES[axis]} {size[axis]}"
            )


def transposed_reach(n: int, kernel: int, stride: int, padding: int, dilation: int, length: int) -> _Pair:
    """How far beyond an input of length n the outputs 0 .. length - 1 read, before it and after it."""
    before = after = 0
    for u in range(kernel):
        shift = u * dilation - padding
        first = shift % stride  # the least output that weight u feeds, and the greatest
        last = length - 1 - (length - 1 - shift) % stride
        if first <= last:
            before = max(before, (shift - first) // stride)
            after = max(after, (last - shift) // stride - (n - 1))
    return before, after


def _constants(
    source: arrays.Source, bias: Any, activation: str | None, slope: Any, outputs: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Bias and slope on the device of `source`, one of each per output channel where there are any."""
    if bias is not None:
        bias = _per_output(source, bias, "bias", [np.float32], outputs, [(outputs,)])
    _checks.one_of(activation, "activation", _ACTIVATIONS)
    if activation in (None, "relu"):
        if slope is not None:
            raise ValueError(f"slope must be None for activation {activation!r}, got {slope!r}")
        return bias, None
    if slope is None:
        if activation == "prelu":
            raise ValueError("slope must be given for activation 'prelu'")
        slope = 0.01
    if not hasattr(slope, "shape"):
        slope = np.array(_checks.real(slope, "slope"))
    elif isinstance(slope, np.ndarray | np.generic) and not (np.abs(slope) <= np.finfo(np.float32).max).all():
        raise ValueError("slope must be finite in float32, got NaN, infinity or a value beyond")
    return bias, _per_output(source, slope, "slope", [np.float32, np.float64], outputs, [(), (1,), (outputs,)])


def _per_output(
    source: arrays.Source, constants: Any, name: str, dtypes: list[Any], outputs: int, shapes: list[tuple[int, ...]]
) -> Any:
    """One float32 per output channel on the device of `source`; what lies on the CPU is copied there, but once."""
    taken = arrays.take(constants, name, dtypes=dtypes)
    if taken.data.shape not in shapes:
        expected = f"have shape ({outputs},)" if len(shapes) == 1 else f"be a number or have shape (1,) or ({outputs},)"
        raise ValueError(f"{name} must {expected}, got {taken.data.shape}")
    if not taken.on_gpu:
        return source.copy_beside(np.ascontiguousarray(np.broadcast_to(taken.data, outputs), np.float32))
    arrays.expect_together(source, taken)
    if taken.data.shape == (outputs,) and taken.data.dtype == np.float32 and taken.data.flags.c_contiguous:
        return taken.data
    values, _ = source.view.new((outputs,), np.dtype(np.float32))
    with source.current():
        values[...] = taken.data
    return values
