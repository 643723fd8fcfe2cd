"""Metrics of tensors that can be losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import metrics
from ._operator import Operation, Operator, is_plain
from .filters import gaussian

_OPTIONS = (
    "float data_range, int? win_size, bool gaussian_weights, bool use_sample_covariance, float K1, float K2, "
    "float sigma, int? threads"
)
_EVEN = 1e9  # of a Gaussian whose taps are all alike


def structural_similarity(
    im1: Tensor,
    im2: Tensor,
    *,
    data_range: float,
    win_size: int | None = None,
    gaussian_weights: bool = False,
    use_sample_covariance: bool = True,
    K1: float = 0.01,
    K2: float = 0.03,
    sigma: float = 1.5,
    threads: int | None = None,
) -> Tensor:
    """Mean structural similarity of images.

    Parameters
    ----------
    im1, im2 : (..., H, W) tensors of float16, bfloat16, float32 or float64
        Every plane is compared for itself, over rows and columns.
    data_range, win_size, gaussian_weights, use_sample_covariance, K1, K2, sigma, threads
        As in `fastimg.metrics.structural_similarity`.

    Returns
    -------
    tensor of no dimensions
        The mean over all planes; float64 for float64 images, else float32.

    Raises
    ------
    TypeError, ValueError
        As `fastimg.metrics.structural_similarity`.

    Notes
    -----
    Differentiable in both images, twice and more often. The gradient takes five filtered planes for each, and four to
    bring their derivatives back, in the dtype of the images: in float32 it is off by some 1e-4 of itself where images
    are flat, as PyTorch's own arithmetic is.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> image = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    >>> fastimg.torch.structural_similarity(image, image, data_range=1.0)
    tensor(1.)
    """
    options = (data_range, win_size, gaussian_weights, use_sample_covariance, K1, K2, sigma, threads)
    if is_plain(im1, im2):
        return _similarity(im1, im2, *options)
    return _structural_similarity(im1, im2, *options)


class StructuralSimilarity(Operation):
    """`structural_similarity` as a module of two inputs; ``1 - similarity`` is a loss.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> similarity = fastimg.torch.StructuralSimilarity(data_range=1.0, gaussian_weights=True)
    >>> similarity(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).item() < 0.01
    True
    """

    function = staticmethod(structural_similarity)
    inputs = 2


def _similarity(
    im1: Tensor,
    im2: Tensor,
    data_range: float,
    win_size: int | None,
    gaussian_weights: bool,
    use_sample_covariance: bool,
    K1: float,
    K2: float,
    sigma: float,
    threads: int | None,
) -> Tensor:
    im1, im2 = (im.detach().float() if im.dtype == torch.bfloat16 else im.detach() for im in (im1, im2))
    value = metrics.structural_similarity(
        im1.reshape(-1, *im1.shape[-2:]),
        im2.reshape(-1, *im2.shape[-2:]),
        data_range=data_range,
        win_size=win_size,
        channel_axis=0,
        gaussian_weights=gaussian_weights,
        use_sample_covariance=use_sample_covariance,
        K1=K1,
        K2=K2,
        sigma=sigma,
        threads=threads,
    )
    return torch.as_tensor(value, dtype=_result_dtype(im1), device=im1.device)


def _result_dtype(image: Tensor) -> torch.dtype:
    return torch.float64 if image.dtype == torch.float64 else torch.float32


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Through the means of x, y, x², y² and xy over the window, whose matrix is symmetric."""
    given = ctx.saved_tensors
    x, y = (image.to(_result_dtype(image)) for image in given)
    data_range, win_size, gaussian_weights, use_sample_covariance, k1, k2, sigma, threads = ctx.options
    radius = int(3.5 * sigma + 0.5) if gaussian_weights else (win_size or 7) // 2
    width = win_size or 2 * radius + 1
    samples = width**2
    factor = samples / (samples - 1) if use_sample_covariance else 1.0
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    border = width // 2
    inner = (*x.shape[:-2], *(n - 2 * border for n in x.shape[-2:]))
    count = torch.Size(inner).numel()
    share = functional.pad((gradient.to(x.dtype) / count).expand(inner), (border,) * 4)

    def window(*planes: Tensor) -> tuple[Tensor, ...]:
        deviation = sigma if gaussian_weights else _EVEN
        means = gaussian(torch.stack(planes), deviation, radius=radius, mode="reflect", threads=threads)
        return tuple(means.unbind(0))

    x_mean, y_mean, xx, yy, xy = window(x, y, x * x, y * y, x * y)
    a1, b1 = 2 * x_mean * y_mean + c1, x_mean**2 + y_mean**2 + c1
    a2 = 2 * factor * (xy - x_mean * y_mean) + c2
    b2 = factor * (xx - x_mean**2 + yy - y_mean**2) + c2
    similarity = a1 * a2 / (b1 * b2)
    by_xy = 2 * factor * share * a1 / (b1 * b2)
    by_xx = -factor * share * similarity / b2  # and by yy

    def by_mean(own: Tensor, other: Tensor) -> Tensor:
        direct = 2 * share * (other * a2 / (b1 * b2) - own * similarity / b1)
        return direct - 2 * own * by_xx - other * by_xy

    by_x, by_y, by_xx, by_xy = window(by_mean(x_mean, y_mean), by_mean(y_mean, x_mean), by_xx, by_xy)
    of_x, of_y = by_x + 2 * x * by_xx + y * by_xy, by_y + 2 * y * by_xx + x * by_xy
    return of_x.to(given[0].dtype), of_y.to(given[1].dtype)


_structural_similarity: Operator = Operator(
    f"structural_similarity(Tensor im1, Tensor im2, {_OPTIONS}) -> Tensor",
    _similarity,
    fake=lambda im1, *_: im1.new_empty((), dtype=_result_dtype(im1)),
    backward=_gradients,
    keep=True,
    autocast=torch.float32,
)
