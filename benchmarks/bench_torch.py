"""`fastimg.torch`, forward and backward, against PyTorch's own operations: batches of eight RGB images of 512².

A contender returns the result and its gradient where their shapes are one, else the gradient alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastimg.benchmarks import Job, contenders


def _job(name: str, parameters: dict[str, Any], make: Callable[[Any, int], dict[str, Any]], threads: int) -> Job:
    """`make` gives each contender's function of an image, from PyTorch and the number of threads."""
    import torch

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(8, 3, 512, 512, generator=generator).requires_grad_()
    functions = make(torch, threads)

    def step(function: Callable[[Any], Any], weights: Any) -> Callable[[], Any]:
        def run() -> Any:
            result = function(image)
            (gradient,) = torch.autograd.grad(result, image, weights)
            if gradient.shape != result.shape:
                return gradient.numpy()
            return result.detach().numpy(), gradient.numpy()

        return run

    with torch.no_grad():
        weights = torch.rand(functions["fastimg"](image).shape, generator=generator)
    ours, *rivals = (step(function, weights) for function in functions.values())
    names = [rival.replace(" ", "_") for rival in functions if rival != "fastimg"]
    makers = {rival: lambda run=run: run for rival, run in zip(names, rivals, strict=True)}
    tolerances = dict.fromkeys((rival.replace("_", " ") for rival in names), 2e-5)
    return Job(
        name.split(",")[0], name, {"batch": 8, "size": 512, **parameters}, contenders(ours, **makers), tolerances
    )


def gaussian(sigma: float, threads: int) -> Job:
    """PyTorch's separable filter, depthwise, and of planes that are a batch of grey images; both pad first."""

    def make(torch: Any, threads: int) -> dict[str, Any]:
        import fastimg.torch

        functional = torch.nn.functional
        radius = int(4 * sigma + 0.5)
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        taps /= taps.sum()

        def separable(image: Any) -> Any:
            channels = image.shape[1]
            padded = functional.pad(image, (radius,) * 4, mode="replicate")
            columns = functional.conv2d(padded, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
            return functional.conv2d(columns, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

        return {
            "fastimg": lambda image: fastimg.torch.gaussian(image, sigma, threads=threads),
            "PyTorch depthwise": separable,
            "PyTorch planes": lambda image: separable(image.flatten(0, 1)[:, None]).view(image.shape),
        }

    return _job(f"gaussian with gradient, sigma {sigma:g}", {"sigma": sigma}, make, threads)


def resize(size: int, threads: int) -> Job:
    """Bilinear, without anti-aliasing, as `torch.nn.functional.interpolate` does it."""

    def make(torch: Any, threads: int) -> dict[str, Any]:
        import fastimg.torch

        options = {"mode": "bilinear", "align_corners": False}
        return {
            "fastimg": lambda image: fastimg.torch.resize(
                image, (size, size), "bilinear", anti_aliasing=False, threads=threads
            ),
            "PyTorch": lambda image: torch.nn.functional.interpolate(image, (size, size), **options),
        }

    return _job(f"resize with gradient, to {size}²", {"to": size}, make, threads)


def warp(threads: int) -> Job:
    """Affine, linear; the grid of `torch.nn.functional.grid_sample` is made before."""

    def make(torch: Any, threads: int) -> dict[str, Any]:
        import fastimg.torch

        matrix = torch.tensor([[0.95, -0.1, 30.0], [0.1, 0.95, -20.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        points = torch.from_numpy(np.indices((512, 512))[::-1].reshape(2, -1).astype(np.float64))
        places = (matrix[:2, :2] @ points + matrix[:2, 2:]).reshape(2, 512, 512)
        grid = (2 * places.permute(1, 2, 0) / 511 - 1).float().expand(8, -1, -1, -1)
        options = {"padding_mode": "border", "align_corners": True}
        return {
            "fastimg": lambda image: fastimg.torch.warp(image, matrix, mode="edge", threads=threads),
            "PyTorch": lambda image: torch.nn.functional.grid_sample(image, grid, **options),
        }

    job = _job("warp with gradient, affine", {}, make, threads)
    return Job(job.operation, job.name, job.parameters, job.contenders, {"PyTorch": 2e-3})  # places of float32


def structural_similarity(threads: int) -> Job:
    """PyTorch's means over windows of 7 × 7 by `torch.nn.functional.avg_pool2d`; the gradient is that of the sum."""

    def make(torch: Any, threads: int) -> dict[str, Any]:
        import fastimg.torch

        other = torch.rand(8, 3, 512, 512, generator=torch.Generator().manual_seed(1))
        c1, c2, factor = 0.01**2, 0.03**2, 49 / 48
        similarity = fastimg.torch.StructuralSimilarity(data_range=1.0, threads=threads)

        def formula(x: Any) -> Any:
            mean = partial(torch.nn.functional.avg_pool2d, kernel_size=7, stride=1)
            ux, uy = mean(x), mean(other)
            vx, vy, vxy = (
                factor * (mean(a * b) - ua * ub)
                for a, b, ua, ub in ((x, x, ux, ux), (other, other, uy, uy), (x, other, ux, uy))
            )
            index = (2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
            return x.numel() * index.mean()

        return {
            "fastimg": lambda x: x.numel() * similarity(x, other),
            "PyTorch": formula,
        }

    return _job("structural_similarity with gradient", {}, make, threads)


SHORT = [*((f"gaussian-{sigma:g}", partial(gaussian, sigma)) for sigma in (1.0, 3.0))]
LONG = [
    ("gaussian-5", partial(gaussian, 5.0)),
    *((f"resize-{size}", partial(resize, size)) for size in (256, 1024)),
    ("warp", warp),
    ("structural_similarity", structural_similarity),
]


def test_torch(race, make):
    race(make)
