"""Gaussian blur: the same taps, replicated borders, memory for the result given where a library takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import filters
from .races import Job, Run, contenders

# OpenCV computes integers with taps of 8 fractional bits; SciPy truncates them, after each axis.
_LEVELS = {"OpenCV": 4.0, "SciPy": 3.0, "PyTorch": 1.0, "fastimg, recursive": 1.0}


def job(size: int, channels: int, dtype: str, sigma: float, threads: int) -> Job:
    """Blur a square image of noise.

    OpenCV runs float32 on one thread, SciPy all of it. PyTorch has no blur: two depthwise convolutions, floats only.
    """
    shape = (size, size) if channels == 1 else (size, size, channels)
    image = (255 * np.random.default_rng(0).random(shape)).astype(dtype)
    axis = None if channels == 1 else -1
    width = 2 * int(4 * sigma + 0.5) + 1
    ours, recursive, theirs = (np.empty_like(image) for _ in range(3))

    def blur(out: Any, method: str = "direct") -> Any:
        options: dict[str, Any] = {"channel_axis": axis, "preserve_range": True, "out": out, "threads": threads}
        return filters.gaussian(image, sigma, method=method, **options)

    def opencv() -> Run:
        import cv2

        cv2.setNumThreads(threads)
        return lambda: cv2.GaussianBlur(image, (width, width), sigma, dst=theirs, borderType=cv2.BORDER_REPLICATE)

    def scipy() -> Run:
        from scipy import ndimage

        out = np.empty_like(image)
        sigmas = (sigma, sigma, 0.0)[: image.ndim]
        return lambda: ndimage.gaussian_filter(image, sigmas, mode="nearest", output=out)

    def copy() -> Run:
        out = np.empty_like(image)
        return lambda: np.copyto(out, image)

    rivals = {"OpenCV": opencv, "SciPy": scipy, "copy": copy}
    if dtype == "float32" and channels == 1:
        rivals["PyTorch"] = lambda: _pytorch(image, sigma, width // 2, threads)
    if sigma >= 10:
        rivals["fastimg,_recursive"] = lambda: lambda: blur(recursive, "recursive")
    return Job(
        "gaussian",
        f"{size}² {'grey' if channels == 1 else 'RGB'} {dtype}, σ = {sigma:g}",
        {"size": size, "channels": channels, "dtype": dtype, "sigma": sigma},
        contenders(lambda: blur(ours), **rivals),
        {name: level if dtype == "uint8" else 0.02 for name, level in _LEVELS.items()},
    )


def _pytorch(image: Any, sigma: float, radius: int, threads: int) -> Run:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    side = filters.normal_weights(sigma, radius)
    taps = torch.from_numpy(np.concatenate([side[:0:-1], side]).astype(np.float32))
    planes = torch.from_numpy(image)[None, None]

    def run() -> Any:
        with torch.inference_mode():
            padded = functional.pad(planes, (radius,) * 4, mode="replicate")
            across = functional.conv2d(padded, taps.reshape(1, 1, 1, -1))
            return functional.conv2d(across, taps.reshape(1, 1, -1, 1))[0, 0].numpy()

    return run
