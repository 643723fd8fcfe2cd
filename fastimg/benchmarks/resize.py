"""Bicubic and bilinear resizing with antialiasing, as MATLAB and Pillow define it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import transform
from .races import Job, Run, contenders


def job(size: int, channels: int, scale: float, kernel: str, threads: int) -> Job:
    """A float32 image of noise in a plain margin, made larger or smaller.

    The margin is there because PyTorch leaves out taps beyond the border, where fastimg repeats the border's sample.
    """
    shape = (size, size) if channels == 1 else (size, size, channels)
    image = np.full(shape, 0.5, np.float32)
    inner = image[16:-16, 16:-16]
    inner[:] = np.random.default_rng(0).random(inner.shape, np.float32)
    target = (round(size * scale),) * 2
    out = np.empty((*target, *shape[2:]), np.float32)
    axis = None if channels == 1 else -1

    def pytorch() -> Run:
        import torch
        from torch.nn import functional

        torch.set_num_threads(threads)
        planes = torch.from_numpy(image.reshape(1, size, size, channels)).permute(0, 3, 1, 2)

        def run() -> Any:
            with torch.inference_mode():
                resized = functional.interpolate(planes, target, mode=kernel, antialias=True)
            return resized[0].permute(1, 2, 0).numpy().reshape(out.shape)

        return run

    return Job(
        "resize",
        f"{size}² {'grey' if channels == 1 else 'RGB'} float32 × {scale:g}, {kernel}",
        {"size": size, "channels": channels, "dtype": "float32", "scale": scale},
        contenders(
            lambda: transform.resize(image, target, kernel=kernel, channel_axis=axis, out=out, threads=threads),
            PyTorch=pytorch,
        ),
        {"PyTorch": 1e-4},
    )
