"""Non-local means: patches of 7 x 7 and a window of 21 x 21 unless said otherwise.

OpenCV takes integers only, weighs patches of 7 x 7 pixels, leaves out weights below 0.001 and rounds the others;
scikit-image's patches of nominal width 7 are 6 x 6, and its exponential is off by up to 4 %. Each is raced at its own
work.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import opencv, restoration
from ..backends import cpu
from .races import Job, Run, contenders

PATCH, DISTANCE, STRENGTH = 7, 10, 10.0


def picture(size: int, channels: int) -> Any:
    """A smooth scene of waves and edges with noise of 15 levels, uint8: no two patches are alike, many similar."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / 512.0
    scene = 110 + 60 * np.sin(9 * x + 4 * np.sin(5 * y)) + 50 * (np.sin(21 * x * y) > 0.3)
    tinted = scene[..., np.newaxis] * np.linspace(1, 0.7, channels)
    noisy = np.clip(tinted + rng.normal(0, 15, tinted.shape), 0, 255).astype(np.uint8)
    return noisy[..., 0] if channels == 1 else noisy


def same_work(size: int, channels: int, dtype: str, threads: int) -> Job:
    """fastimg's kernel with OpenCV's patches and cutoff against OpenCV, on uint8 also where fastimg computes floats."""
    image = picture(size, channels)
    ours = image.astype(dtype)
    out = np.empty_like(ours)

    def run() -> Any:
        norm = channels * STRENGTH**2 * PATCH**2
        cpu.denoise_nl_means(
            ours.reshape(1, 1, size, size, channels),
            None,
            None,
            None,
            out.reshape(1, 1, size, size, channels),
            patch_before=PATCH // 2,
            patch_after=PATCH // 2,
            patch_taps=[],
            patch_distance=DISTANCE,
            truncated=False,
            outer=[(False, 0, False)] * 2,
            first_plane=0,
            weighting="welsch",
            scale=1 / norm,
            excess=0.0,
            cutoff=math.log(1000) * norm,
            centre=-1.0,
            gain=1.0,
            threads=threads,
        )
        return out

    return Job(
        "denoise_nl_means",
        f"{size}² {'grey' if channels == 1 else 'RGB'} {dtype}, 7/21",
        {"size": size, "channels": channels, "dtype": dtype},
        contenders(run, OpenCV=lambda: _opencv("fastNlMeansDenoising", image, threads)),
        {"OpenCV": 2.0},
    )


def drop_in(name: str, size: int, threads: int) -> Job:
    """A function of `fastimg.opencv` against OpenCV's of the same name: equal in every sample."""
    image = picture(size, 3 if "Colored" in name else 1)
    search = 2 * DISTANCE + 1
    strengths = (STRENGTH, STRENGTH) if "Colored" in name else (STRENGTH,)
    return Job(
        f"opencv.{name}",
        f"{size}² uint8, 7/21, bit by bit",
        {"size": size, "dtype": "uint8"},
        contenders(
            lambda: getattr(opencv, name)(image, None, *strengths, PATCH, search, threads=threads),
            OpenCV=lambda: _opencv(name, image, threads),
        ),
        {"OpenCV": 0.0},
    )


def _opencv(name: str, image: Any, threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    strengths = (STRENGTH, STRENGTH) if "Colored" in name else (STRENGTH,)
    return lambda: getattr(cv2, name)(image, None, *strengths, PATCH, 2 * DISTANCE + 1)


def like_scikit_image(size: int, ndim: int, threads: int) -> Job:
    """Images with patches of 7 and a window of 21, volumes with 5 and 7, float32, fast mode."""
    patch, distance = (PATCH, DISTANCE) if ndim == 2 else (5, 3)
    flat = picture(size, 1).astype(np.float32) / 255
    noise = np.random.default_rng(1).normal(0, 0.06, (size,) * ndim)
    image = flat if ndim == 2 else np.clip(flat + noise, 0, 1).astype(np.float32)
    options: dict[str, Any] = {"patch_size": patch, "patch_distance": distance, "h": 0.04}

    def scikit_image() -> Run:
        from skimage.restoration import denoise_nl_means

        return lambda: denoise_nl_means(image, **options)

    return Job(
        "denoise_nl_means",
        f"{size}{'²' if ndim == 2 else '³'} float32, {patch}/{2 * distance + 1}",
        {"size": size, "ndim": ndim, "dtype": "float32"},
        contenders(
            lambda: restoration.denoise_nl_means(image, **options, threads=threads),
            **{"scikit-image": scikit_image},
        ),
        {"scikit-image": 0.03},
    )
