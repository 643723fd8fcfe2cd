"""A few jobs that tell in some seconds how a machine fares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import denoise_nl_means, gaussian, layers, networks, resize, structural_similarity, warp
from .races import Job


def jobs(threads: int) -> list[Callable[[], Job]]:
    """Makers of one job of each kind."""
    return [
        partial(denoise_nl_means.same_work, 512, 1, "uint8", threads),
        partial(denoise_nl_means.same_work, 512, 3, "uint8", threads),
        partial(denoise_nl_means.drop_in, "fastNlMeansDenoising", 512, threads),
        partial(denoise_nl_means.like_scikit_image, 256, 2, threads),
        partial(gaussian.job, 1024, 1, "float32", 3.0, threads),
        partial(gaussian.job, 1024, 3, "uint8", 3.0, threads),
        partial(resize.job, 512, 3, 2.0, "bicubic", threads),
        partial(warp.job, 480, 640, 3, "uint8", "bilinear", threads),
        partial(structural_similarity.job, 512, "float32", threads),
        partial(networks.job, "FSRCNN ×2", 256, 256, "zeros", threads),
        partial(layers.job, "conv 3×3, 64→64, stride 2", threads),
    ]
