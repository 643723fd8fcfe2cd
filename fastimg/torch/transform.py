"""Resizing and warping of tensors."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import transform
from ..transform.resizing import resize_adjoint
from ..transform.warping import warp_adjoint
from ._operator import Operation, Operator, apply, empty_like, is_plain

# ---- resize ----------------------------------------------------------------------------------------------------------

_RESIZE_OPTIONS = "SymInt[] size, str kernel, bool? anti_aliasing, str mode, int? threads"
_WIDEST_RADIUS = 3  # of the kernels, that of "lanczos3"


def resize(
    image: Tensor,
    output_shape: Sequence[int],
    kernel: str = "bicubic",
    *,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    threads: int | None = None,
) -> Tensor:
    """Resize images, the last two axes of a tensor.

    Parameters
    ----------
    image : (..., H, W) tensor of uint8, uint16, float16, bfloat16, float32 or float64
        float64 on the CPU only.
    output_shape : pair of int
        The new rows and columns.
    kernel, anti_aliasing, mode, threads
        As in `fastimg.transform.resize`.

    Returns
    -------
    (..., H', W') tensor of the dtype of `image`
        Channels last if the image has them last. Integers are rounded.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.transform.resize`.

    Notes
    -----
    Differentiable in floating images, twice and more often. The gradient is the same computation with transposed
    weights, and takes as long as the result; on a GPU two products with sparse matrices, in PyTorch. `vmap` takes the
    image's batch.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    >>> fastimg.torch.resize(image, (8, 8)).sum().backward()
    >>> image.grad.sum()
    tensor(192.)
    """
    size = list(output_shape)
    if is_plain(image):
        return _resized(image, size, kernel, anti_aliasing, mode, threads)
    return _resize(image, size, kernel, anti_aliasing, mode, threads)


class Resize(Operation):
    """`resize` as a module; the arguments are those of the function but for the image.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> fastimg.torch.Resize((2, 3))(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 1, 2, 3])
    """

    function = staticmethod(resize)


def _resized(
    image: Tensor,
    size: Sequence[int],
    kernel: str,
    anti_aliasing: bool | None,
    mode: str,
    threads: int | None,
) -> Tensor:
    options = {"anti_aliasing": anti_aliasing, "mode": mode, "threads": threads}
    shape = (*image.shape[:-2], *size)
    return apply(
        transform.resize, image, shape, output_shape=size, kernel=kernel, axes=(-2, -1), preserve_range=True, **options
    )


def _resize_transposed(
    gradient: Tensor, size: Sequence[int], kernel: str, anti_aliasing: bool | None, mode: str, threads: int | None
) -> Tensor:
    """Multiply with the transposed weights of rows and of columns; `size` is that of the image."""
    shape = (*gradient.shape[:-2], *size)
    if gradient.numel() == 0:
        return empty_like(gradient, shape)
    if not gradient.is_cuda:
        options = {"anti_aliasing": anti_aliasing, "mode": mode, "threads": threads}
        return apply(resize_adjoint, gradient, shape, image_size=size, kernel=kernel, **options)
    dtype = gradient.dtype if gradient.dtype == torch.float64 else torch.float32
    rows, columns = (
        _weights(n, gradient.shape[axis], kernel, anti_aliasing, mode, dtype, gradient.device)
        for n, axis in zip(size, (-2, -1), strict=True)
    )
    images = gradient.to(dtype).reshape(-1, *gradient.shape[-2:])
    by_rows = torch.stack([rows @ image for image in images])
    by_columns = columns @ by_rows.reshape(-1, images.shape[-1]).T
    result = empty_like(gradient, shape)
    return result.copy_(by_columns.T.reshape(result.shape))


@functools.lru_cache(maxsize=64)
def _weights(
    n: int, size: int, kernel: str, anti_aliasing: bool | None, mode: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The transposed weights of an axis of n samples resized to `size`: a sparse matrix of n rows.

    As the kernel itself has them: it resizes impulses, many at a time, so far apart that no result sees two of them.
    """
    scale = size / n
    apart = min(n, 2 * math.ceil(_WIDEST_RADIUS / min(scale, 1)) + 5)
    impulses = np.zeros((apart, n))
    samples = np.arange(n)
    impulses[samples % apart, samples] = 1
    seen = transform.resize(impulses, (apart, size), kernel=kernel, anti_aliasing=anti_aliasing, mode=mode)
    first, result = np.nonzero(np.abs(seen) > 1e-15)  # the kernel of Lanczos is not quite 0 where it should be
    weights = seen[first, result]
    middle = (result + 0.5) / scale - 0.5
    sample = first if apart == n else first + apart * np.rint((middle - first) / apart).astype(np.int64)
    order = np.lexsort((result, sample))
    starts = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=n))])
    with warnings.catch_warnings():  # PyTorch tells once that such matrices are new
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(starts), torch.from_numpy(result[order]), torch.from_numpy(weights[order]), (n, size)
        )
    return matrix.to(dtype).to(device)


_resize: Operator = Operator(
    f"resize(Tensor image, {_RESIZE_OPTIONS}) -> Tensor",
    _resized,
    fake=lambda image, size, *_: empty_like(image, (*image.shape[:-2], *size)),
    backward=lambda ctx, gradient: _resize_adjoint(gradient, ctx.shapes[0][-2:], *ctx.options[1:]),
    batch_axis=True,
)
_resize_adjoint: Operator = Operator(
    f"resize_adjoint(Tensor gradient, {_RESIZE_OPTIONS}) -> Tensor",
    _resize_transposed,
    fake=lambda gradient, size, *_: empty_like(gradient, (*gradient.shape[:-2], *size)),
    backward=lambda ctx, gradient: _resize(gradient, ctx.shapes[0][-2:], *ctx.options[1:]),
    batch_axis=True,
)


# ---- warp ------------------------------------------------------------------------------------------------------------

_WARP_OPTIONS = "SymInt[] size, int order, str mode, float cval, int? threads"
_FARTHEST = 2.0**30  # beyond it a coordinate is taken for none


def warp(
    image: Tensor,
    inverse_map: Tensor,
    output_shape: Sequence[int] | None = None,
    order: int = 1,
    mode: str = "constant",
    cval: float = 0.0,
    *,
    threads: int | None = None,
) -> Tensor:
    """Warp images: every pixel of the result shows the image at the place that a map gives.

    Parameters
    ----------
    image : (N, C, H, W), (C, H, W) or (H, W) tensor of uint8, uint16, float16, bfloat16, float32 or float64
        float64 on the CPU only.
    inverse_map : (3, 3), (N, 3, 3), (N, 2, H', W') or (1, 2, H', W') tensor of float32 or float64
        A matrix for all images or one for each, which sends (column, row, 1) of the result to a multiple of that of
        the image; best on the CPU. Or the coordinates of each pixel, **rows first**, for each image or for all.
    output_shape : pair of int, optional
        The rows and columns of the result; by default those of the coordinates, or else the image's.
    order, mode, cval, threads
        As in `fastimg.transform.warp`. Cubic interpolation is never clipped to the image's range.

    Returns
    -------
    tensor of the dtype of `image`
        Channels last if the image has them last. Integers are rounded.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.transform.warp`; ValueError if the shape of `inverse_map` is none of those.

    See Also
    --------
    fastimg.transform.warp : Coordinates and borders, in whose terms `torch.nn.functional.grid_sample` has
        ``align_corners=True`` and calls "edge" border.

    Notes
    -----
    Differentiable in floating images, matrices and coordinates, twice and more often where the interpolation is. The
    gradient in images takes about as long as the result. That in coordinates, and on a GPU both, are by PyTorch: of
    ``order=1`` with "constant", "edge" and "reflect" by its `grid_sample`, in some two or three times the time of the
    result; else tap by tap, in ten times that and more. On a GPU the order of sums, and with it their rounding, is not
    determined. A coordinate that is not finite has no gradient.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> shift = torch.tensor([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]], requires_grad=True)
    >>> shifted = fastimg.torch.warp(image, shift, mode="edge")
    >>> shifted
    tensor([[[[0.5000, 1.5000, 2.5000, 3.0000]]]], grad_fn=<ViewBackward0>)
    >>> shifted.sum().backward()
    >>> shift.grad[0, 2]
    tensor(3.)
    """
    images = image.reshape((1,) * (4 - image.dim()) + image.shape)
    n = images.shape[0]
    shape = tuple(inverse_map.shape)
    matrices = shape in ((3, 3), (n, 3, 3))
    if image.dim() not in (2, 3, 4) or not (matrices or (len(shape) == 4 and shape[0] in (1, n) and shape[1] == 2)):
        raise ValueError(
            f"inverse_map must have shape (3, 3), ({n}, 3, 3), or (1 or {n}, 2, rows, columns) for an image of 2 to 4 "
            f"dimensions, {tuple(image.shape)}, got {shape}"
        )
    size = list(output_shape or (image if matrices else inverse_map).shape[-2:])
    if matrices and inverse_map.requires_grad:
        inverse_map = _places(inverse_map, size).to(image.device)
    result = _warp(images, inverse_map, size, order, mode, cval, threads)
    return result.reshape(*image.shape[:-2], *size)


class Warp(Operation):
    """`warp` as a module of two inputs, images and maps; the arguments are the function's others.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> fastimg.torch.Warp(mode="edge")(torch.ones(2, 3, 5, 5), torch.eye(3)).shape
    torch.Size([2, 3, 5, 5])
    """

    function = staticmethod(warp)
    inputs = 2


def _warped(
    images: Tensor,
    inverse_map: Tensor,
    size: Sequence[int],
    order: int,
    mode: str,
    cval: float,
    threads: int | None,
) -> Tensor:
    options: dict[str, Any] = {"order": order, "mode": mode, "cval": cval, "threads": threads}
    inverse_map = inverse_map.detach()
    if images.dtype == torch.bfloat16:
        return _warped(images.float(), inverse_map, size, **options).to(torch.bfloat16)
    options |= {"clip": False, "preserve_range": True}
    images, result = images.detach(), empty_like(images, (*images.shape[:2], *size))
    if inverse_map.dim() < 4:
        maps = _matrices(inverse_map, len(images))
        return transform.warp(images, maps, output_shape=size, channel_axis=1, out=result, **options)
    for image, coordinates, out in zip(images, inverse_map.expand(len(images), -1, -1, -1), result, strict=True):
        transform.warp(image, coordinates, output_shape=size, channel_axis=0, out=out, **options)
    return result


def _warp_transposed(
    gradient: Tensor, inverse_map: Tensor, size: Sequence[int], order: int, mode: str, threads: int | None
) -> Tensor:
    """What the pixels of the result give back to those of the images, of which `size` is the rows and columns."""
    if gradient.dtype == torch.bfloat16:
        return _warp_transposed(gradient.float(), inverse_map, size, order, mode, threads).to(torch.bfloat16)
    gradient, inverse_map = gradient.detach(), inverse_map.detach()
    result = empty_like(gradient, (*gradient.shape[:2], *size))
    if gradient.is_cuda:
        options: dict[str, Any] = {"order": order, "mode": mode, "cval": 0.0, "of_places": False}
        return result.copy_(_gradient_by_pytorch(torch.zeros_like(result), inverse_map, gradient, **options))
    options = {"image_size": size, "order": order, "mode": mode, "threads": threads}
    if inverse_map.dim() < 4:
        return warp_adjoint(gradient, _matrices(inverse_map, len(gradient)), out=result, **options)
    for one, coordinates, out in zip(gradient, inverse_map.expand(len(gradient), -1, -1, -1), result, strict=True):
        warp_adjoint(one[None], coordinates, out=out[None], **options)
    return result


def _matrices(inverse_map: Tensor, images: int) -> list[Any]:
    """A matrix for each image."""
    matrices = list(inverse_map.double().cpu().numpy().reshape(-1, 3, 3))
    return matrices * (images // len(matrices))


def _places(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """The rows and columns that matrices give to the pixels of the result."""
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64, device=matrices.device) for n in size), indexing="ij"
    )
    points = torch.stack([columns, rows, torch.ones_like(rows)]).flatten(1)
    x, y, w = (matrices.double().reshape(-1, 3, 3) @ points).unflatten(2, tuple(size)).unbind(1)
    return torch.stack([y / w, x / w], 1)


def _warp_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Of the images, and of the coordinates if the map is of coordinates."""
    images, inverse_map = ctx.saved_tensors
    _, order, mode, cval, threads = ctx.options
    of_images, of_places = None, None
    if ctx.needs_input_grad[0]:
        of_images = _warp_adjoint(gradient, inverse_map, images.shape[-2:], order, mode, threads)
    if ctx.needs_input_grad[1] and inverse_map.dim() == 4:
        of_places = _gradient_by_pytorch(images, inverse_map, gradient, order, mode, cval, of_places=True)
    return of_images, of_places


def _adjoint_gradients(ctx: Any, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Of the gradient that the adjoint takes, and of the coordinates: those of warping what comes back."""
    gradient, inverse_map = ctx.saved_tensors
    _, order, mode, threads = ctx.options
    of_gradient, of_places = None, None
    if ctx.needs_input_grad[0]:
        of_gradient = _warp(images, inverse_map, gradient.shape[-2:], order, mode, 0.0, threads)
    if ctx.needs_input_grad[1] and inverse_map.dim() == 4:
        of_places = _gradient_by_pytorch(images, inverse_map, gradient, order, mode, 0.0, of_places=True)
    return of_gradient, of_places


def _gradient_by_pytorch(
    images: Tensor, inverse_map: Tensor, gradient: Tensor, order: int, mode: str, cval: float, of_places: bool
) -> Tensor:
    """The gradient of the images or of the coordinates."""
    arithmetic = torch.float64 if images.dtype == torch.float64 else torch.float32
    coordinates = inverse_map
    if inverse_map.dim() < 4:
        coordinates = _places(inverse_map, gradient.shape[-2:]).to(images.device)
    coordinates = coordinates.expand(len(images), -1, -1, -1)
    known = (coordinates.isfinite() & (coordinates.abs() <= _FARTHEST)).all(1, keepdim=True)
    coordinates, gradient = coordinates.where(known, 0), (gradient * known).to(arithmetic)
    given = (images.to(arithmetic), coordinates, gradient, mode, cval, [not of_places, of_places])
    if order == 1 and mode in _PADDING_MODES and min(images.shape[-2:]) > 1 and not torch.is_grad_enabled():
        found = _linear_gradients(*given)[of_places]
    else:
        found = _gradients(*given, order)[of_places]
    assert found is not None
    return found.to(inverse_map.dtype).sum_to_size(inverse_map.shape) if of_places else found.to(images.dtype)


_Gradients = tuple[Tensor | None, Tensor | None]  # of images and places, those that are wanted
_PADDING_MODES = {"constant": 0, "edge": 1, "reflect": 2}  # as PyTorch numbers them


def _linear_gradients(
    images: Tensor, places: Tensor, gradient: Tensor, mode: str, cval: float, wanted: list[bool]
) -> _Gradients:
    """By PyTorch's kernel, which has no gradient itself, and in float32 rounds places to 1e-7 of the image's size."""
    down, across = (2 / (n - 1) for n in images.shape[-2:])
    rows, columns = places.unbind(1)
    grid = torch.stack([columns * across - 1, rows * down - 1], -1).to(images.dtype)
    of_images, of_grid = torch.ops.aten.grid_sampler_2d_backward(
        gradient, images - cval, grid, 0, _PADDING_MODES[mode], True, wanted
    )
    of_places = torch.stack([of_grid[..., 1] * down, of_grid[..., 0] * across], 1) if wanted[1] else None
    return of_images if wanted[0] else None, of_places


def _gradients(
    images: Tensor, places: Tensor, gradient: Tensor, mode: str, cval: float, wanted: list[bool], order: int
) -> _Gradients:
    """Tap by tap."""
    ys, xs = (
        _taps(of_axis, n, order, mode, images.dtype)
        for of_axis, n in zip(places.unbind(1), images.shape[-2:], strict=True)
    )
    flat = images.flatten(2)
    of_images, of_rows, of_columns = (
        torch.zeros_like(flat),
        torch.zeros_like(gradient[:, 0]),
        torch.zeros_like(gradient[:, 0]),
    )
    for row, inside_y, weight_y, slope_y in ys:
        for column, inside_x, weight_x, slope_x in xs:
            inside = (inside_y & inside_x)[:, None]
            index = (row * images.shape[-1] + column)[:, None].expand_as(gradient).flatten(2)
            if wanted[0]:
                share = gradient * (weight_y * weight_x)[:, None] * inside
                of_images = of_images.scatter_add(2, index, share.flatten(2))
            if wanted[1]:
                seen = flat.gather(2, index).reshape(gradient.shape).where(inside, cval)
                change = (seen * gradient).sum(1)
                of_rows = of_rows + change * slope_y * weight_x
                of_columns = of_columns + change * weight_y * slope_x
    return (
        of_images.reshape(images.shape) if wanted[0] else None,
        torch.stack([of_rows, of_columns], 1) if wanted[1] else None,
    )


_Tap = tuple[Tensor, Tensor, Tensor, Tensor]  # index, whether it is inside, weight, the weight's derivative


def _taps(places: Tensor, n: int, order: int, mode: str, dtype: torch.dtype) -> list[_Tap]:
    """The samples of an axis of n that an interpolation takes around places."""
    first = (places + 0.5).floor() if order == 0 else places.floor()
    t = (places - first).to(dtype)
    one = torch.ones_like(t)
    if order == 0:
        weights = {0: (one, 0 * one)}
    elif order == 1:
        weights = {0: (1 - t, -one), 1: (t, one)}
    else:
        weights = {k: _cubic(t - k) for k in (-1, 0, 1, 2)}
    first = first.long()
    return [(*_inside(first + k, n, mode), *weight) for k, weight in weights.items()]


def _cubic(x: Tensor) -> tuple[Tensor, Tensor]:
    """Keys' kernel of a = -0.5 and its derivative, up to a distance of 2."""
    a, sign = x.abs(), x.sign()
    near = a <= 1
    value = torch.where(near, (1.5 * a - 2.5) * a * a + 1, ((-0.5 * a + 2.5) * a - 4) * a + 2)
    return value, sign * torch.where(near, (4.5 * a - 5) * a, (-1.5 * a + 5) * a - 4)


def _inside(index: Tensor, n: int, mode: str) -> tuple[Tensor, Tensor]:
    """The sample that stands for one at `index`, and whether there is one."""
    inside = torch.ones_like(index, dtype=torch.bool)
    if mode == "constant":
        inside = (index >= 0) & (index < n)
    if mode in ("constant", "edge"):
        return index.clamp(0, n - 1), inside
    if mode == "wrap":
        return index % n, inside
    repeated = mode == "symmetric"  # the border sample is
    period = 2 * n if repeated else max(2 * n - 2, 1)
    index = index % period
    return torch.minimum(index, period - repeated - index), inside


_warp: Operator = Operator(
    f"warp(Tensor image, Tensor inverse_map, {_WARP_OPTIONS}) -> Tensor",
    _warped,
    fake=lambda images, inverse_map, size, *_: empty_like(images, (*images.shape[:2], *size)),
    backward=_warp_gradients,
    keep=True,
)
_warp_adjoint: Operator = Operator(
    "warp_adjoint(Tensor gradient, Tensor inverse_map, SymInt[] size, int order, str mode, int? threads) -> Tensor",
    _warp_transposed,
    fake=lambda gradient, inverse_map, size, *_: empty_like(gradient, (*gradient.shape[:2], *size)),
    backward=_adjoint_gradients,
    keep=True,
)
