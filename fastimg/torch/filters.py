"""Linear filters of tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import filters
from ._operator import Operation, Operator, apply, empty_like, is_plain, per_axis

_OPTIONS = "float[] sigma, int[] order, str[] mode, int[]? radius, int[] axes, float truncate, str method, int? threads"


def gaussian(
    image: Tensor,
    sigma: float | Sequence[float] = 1.0,
    *,
    order: int | Sequence[int] = 0,
    mode: str | Sequence[str] = "nearest",
    cval: float = 0.0,
    truncate: float = 4.0,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] = (-2, -1),
    method: str = "direct",
    threads: int | None = None,
) -> Tensor:
    """Blur images with a Gaussian, or take its Gaussian derivatives.

    Parameters
    ----------
    image : (..., H, W) tensor of float16, bfloat16, float32 or float64
        float64 on the CPU only.
    axes : int or sequence of int
        The axes that are filtered, each for itself; by default rows and columns.
    sigma, order, mode, cval, truncate, radius, method, threads
        As in `fastimg.filters.gaussian`.

    Returns
    -------
    tensor of the shape and dtype of `image`
        Channels last if the image has them last.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.filters.gaussian`.

    Notes
    -----
    Differentiable in the image, twice and more often. The gradient is exact at borders too: filters of even order are
    symmetric matrices but for "nearest", which sends to its border samples what fell on their copies, and "mirror",
    which counts them half. It costs what the result costs, a little more with those two, and twice as much for
    derivatives of odd order that reflect. `vmap` takes the image's batch.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> image = torch.zeros(1, 1, 3, 3, requires_grad=True)
    >>> fastimg.torch.gaussian(image, 1.0)[0, 0, 1, 1].backward()
    >>> image.grad[0, 0, 0]
    tensor([0.0903, 0.1199, 0.0903])
    """
    if is_plain(image):
        return _filtered(image, sigma, order, mode, radius, axes, truncate, method, threads, cval)
    which = [axis - image.dim() if axis >= 0 else axis for axis in per_axis(axes, 1)]
    sigma, order, mode = (per_axis(value, len(which)) for value in (sigma, order, mode))
    radius = None if radius is None else per_axis(radius, len(which))
    return _gaussian(image, sigma, order, mode, radius, which, truncate, method, threads, cval)


def _filtered(
    image: Tensor,
    sigma: Any,
    order: Any,
    mode: Any,
    radius: Any,
    axes: Any,
    truncate: float,
    method: str,
    threads: int | None,
    cval: float,
) -> Tensor:
    options = {"truncate": truncate, "radius": radius, "axes": axes, "method": method, "threads": threads}
    return apply(filters.gaussian, image, image.shape, sigma=sigma, order=order, mode=mode, cval=cval, **options)


class Gaussian(Operation):
    """`gaussian` as a module; the arguments are those of the function but for the image.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> blur = fastimg.torch.Gaussian(2.0, mode="reflect")
    >>> blur
    Gaussian(sigma=2.0, mode='reflect')
    >>> blur(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """

    function = staticmethod(gaussian)


# ---- the adjoint -----------------------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    """How one axis is filtered."""

    axis: int
    sigma: float
    order: int
    mode: str
    radius: int | None

    @property
    def is_odd(self) -> bool:
        return self.order % 2 == 1

    @property
    def reflects_oddly(self) -> bool:
        return self.is_odd and self.mode in ("reflect", "mirror")


class _Common(NamedTuple):
    """What holds for all axes."""

    truncate: float
    method: str
    threads: int | None


def _adjoint(
    gradient: Tensor,
    sigma: Sequence[float],
    order: Sequence[int],
    mode: Sequence[str],
    radius: Sequence[int] | None,
    axes: Sequence[int],
    *common: Any,
) -> Tensor:
    radii = [None] * len(axes) if radius is None else radius
    return _transposed(gradient, list(map(_Axis, axes, sigma, order, mode, radii)), _Common(*common))


def _transposed(gradient: Tensor, of_axes: list[_Axis], common: _Common) -> Tensor:
    """Filter with the transposed matrix of each axis.

    With "nearest" a matrix is that of "constant" and, in the columns of the two border samples, what falls on their
    copies outside: these are done apart, on the few rows or columns that the border reaches.
    """
    for i, of_axis in enumerate(of_axes):
        if of_axis.mode == "nearest":
            others = of_axes[:i] + of_axes[i + 1 :]
            result = _transposed(gradient, [*of_axes[:i], of_axis._replace(mode="constant"), *of_axes[i + 1 :]], common)
            ends = _transposed(_on_border(gradient, of_axis, common), others, common)
            last = result.shape[of_axis.axis] - 1
            for end, place in enumerate((0, last)[: ends.shape[of_axis.axis]]):
                result.select(of_axis.axis, place).add_(ends.select(of_axis.axis, end))
            return result
    return _symmetric(gradient, of_axes, common)


def _symmetric(gradient: Tensor, of_axes: list[_Axis], common: _Common) -> Tensor:
    """Without "nearest": by the filters themselves, whose matrices are symmetric or nearly so.

    "mirror" has the border samples once and all others twice in a period, so that its matrix is a symmetric one whose
    outer columns are halved. Odd filters have antisymmetric matrices; what they reflect changes its sign.
    """
    if not of_axes:
        return gradient.clone()
    images = gradient
    for of_axis in of_axes:
        if of_axis.reflects_oddly:
            images = _reflected_oddly(images, of_axis)
        elif of_axis.mode == "mirror":
            images = _ends_times(images.clone(), of_axis.axis, 2.0)
    result = _filtered(
        images,
        [of_axis.sigma for of_axis in of_axes],
        [of_axis.order for of_axis in of_axes],
        ["wrap" if of_axis.reflects_oddly else of_axis.mode for of_axis in of_axes],
        None if of_axes[0].radius is None else [of_axis.radius for of_axis in of_axes],
        [of_axis.axis for of_axis in of_axes],
        *common,
        cval=0.0,
    )
    for of_axis in of_axes:
        if of_axis.is_odd:
            result = result.narrow(of_axis.axis, 0, gradient.shape[of_axis.axis]).neg()
        if of_axis.mode == "mirror":
            _ends_times(result, of_axis.axis, 0.5)
    return result


def _ends_times(images: Tensor, axis: int, factor: float) -> Tensor:
    last = images.shape[axis] - 1
    if last > 0:
        images.select(axis, 0).mul_(factor)
        images.select(axis, last).mul_(factor)
    return images


def _reflected_oddly(images: Tensor, of_axis: _Axis) -> Tensor:
    """A period of the images and their reflection, which has the other sign."""
    axis, n = of_axis.axis, images.shape[of_axis.axis]
    if of_axis.mode == "reflect" or n == 1:
        return torch.cat([images, -images.flip(axis)], axis)
    images = _ends_times(images.clone(), axis, 0.0)
    return torch.cat([images, -images.narrow(axis, 1, n - 2).flip(axis)], axis)


def _on_border(gradient: Tensor, of_axis: _Axis, common: _Common) -> Tensor:
    """The gradient of what stands beyond either border, summed over an axis, which has the two sums instead.

    One if the axis has one sample.
    """
    axis = of_axis.axis
    n = gradient.shape[axis]
    shares = _border_shares(n, *of_axis[1:3], of_axis.radius, *common[:2], gradient.dtype, gradient.device)
    sums = [gradient.narrow(axis, begin, len(share)).movedim(axis, -1) @ share for begin, share in shares]
    return torch.stack(sums, axis)


@functools.lru_cache(maxsize=256)
def _border_shares(
    n: int,
    sigma: float,
    order: int,
    radius: int | None,
    truncate: float,
    method: str,
    dtype: torch.dtype,
    device: torch.device,
) -> list[tuple[int, Tensor]]:
    """For each border sample of n: how much of what stands outside, if it has its value, is in each result.

    Those from a first result to a last, where there is any.
    """
    borders = np.zeros((min(n, 2), n))
    borders[0, 0] = borders[-1, -1] = 1
    options: dict[str, Any] = {"order": order, "radius": radius, "truncate": truncate, "method": method, "axes": -1}
    nearest, constant = (filters.gaussian(borders, sigma, mode=mode, **options) for mode in ("nearest", "constant"))
    shares = []
    for share in nearest - constant:
        reached = np.flatnonzero(share)
        begin, end = (int(reached[0]), int(reached[-1]) + 1) if len(reached) else (0, 0)
        shares.append((begin, torch.from_numpy(share[begin:end]).to(device, dtype)))
    return shares


_gaussian: Operator = Operator(
    f"gaussian(Tensor image, {_OPTIONS}, float cval) -> Tensor",
    _filtered,
    fake=lambda image, *_: empty_like(image, image.shape),
    backward=lambda ctx, gradient: _gaussian_adjoint(gradient, *ctx.options[:-1]),
    batch_axis=True,
)
_gaussian_adjoint: Operator = Operator(
    f"gaussian_adjoint(Tensor gradient, {_OPTIONS}) -> Tensor",
    _adjoint,
    fake=lambda gradient, *_: empty_like(gradient, gradient.shape),
    backward=lambda ctx, gradient: _gaussian(gradient, *ctx.options, 0.0),
    batch_axis=True,
)
