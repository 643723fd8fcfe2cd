"""Affine warping, linear, against OpenCV's, whose coordinates may have 5 fractional bits, and PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import transform
from .races import Job, Run, contenders

# A smooth image: 1/64 of its slopes, and uint8 rounded.
_LEVELS = {"OpenCV": 2.0, "PyTorch": 2.0}


def job(rows: int, columns: int, channels: int, dtype: str, threads: int) -> Job:
    """Turn and scale an image a little; what lies beyond it is 0.

    PyTorch has floats only, and planes of its own; its grid is made before.
    """
    matrix = transform.AffineTransform(rotation=0.1, scale=0.95, translation=(60, -40)).params
    y, x = np.ogrid[:rows, :columns]
    window = np.sin(np.pi * (y + 1) / (rows + 1)) * np.sin(np.pi * (x + 1) / (columns + 1))  # 0 at the border
    image = 200 * window[..., np.newaxis] * (1 + 0.2 * np.cos(x[..., np.newaxis] / 20 + np.arange(channels)))
    image = np.ascontiguousarray((image[..., 0] if channels == 1 else image).astype(dtype))
    ours, theirs = np.empty_like(image), np.empty_like(image)

    def opencv() -> Run:
        import cv2

        cv2.setNumThreads(threads)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return lambda: cv2.warpAffine(image, matrix[:2], (columns, rows), dst=theirs, flags=flags)

    def pytorch() -> Run:
        import torch
        from torch.nn import functional

        torch.set_num_threads(threads)
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image.reshape(rows, columns, channels), -1, 0)))
        pixels = np.indices((rows, columns))[::-1].reshape(2, -1)
        places = (matrix[:2, :2] @ pixels + matrix[:2, 2:]).reshape(2, rows, columns)
        grid = torch.from_numpy((2 * places.transpose(1, 2, 0) / (columns - 1, rows - 1) - 1).astype(np.float32))

        def run() -> Any:
            with torch.inference_mode():
                warped = functional.grid_sample(planes[None], grid[None], align_corners=True)
            return warped[0].permute(1, 2, 0).numpy().reshape(image.shape)

        return run

    rivals = {"OpenCV": opencv} | ({"PyTorch": pytorch} if dtype == "float32" else {})
    return Job(
        "warp",
        f"{columns}×{rows} {'grey' if channels == 1 else 'RGB'} {dtype}, affine, linear",
        {"size": rows, "channels": channels, "dtype": dtype},
        contenders(lambda: transform.warp(image, matrix, preserve_range=True, out=ours, threads=threads), **rivals),
        _LEVELS,
    )
