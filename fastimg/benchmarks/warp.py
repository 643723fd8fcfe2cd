"""Warping: affine maps against OpenCV's, PyTorch's and scikit-image's, and a lens against OpenCV's table of places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import transform
from .races import Job, Run, contenders

# A smooth image: OpenCV's coordinates may have 5 fractional bits, so 1/64 of its slopes; and uint8 rounded.
# Its cubic kernel is another (a = -0.75).
_LEVELS = {"OpenCV": 2.0, "PyTorch": 2.0, "scikit-image": 2.0}
_ORDERS = {"bilinear": 1, "bicubic": 3}


def job(rows: int, columns: int, channels: int, dtype: str, kernel: str, threads: int) -> Job:
    """Turn and scale an image a little; what lies beyond it is 0.

    PyTorch has floats only, and planes of its own; its grid is made before. scikit-image runs on one thread, and
    makes float64 of integers.
    """
    matrix = transform.AffineTransform(rotation=0.1, scale=0.95, translation=(60, -40)).params
    image = _image(rows, columns, channels, dtype)
    ours, theirs = np.empty_like(image), np.empty_like(image)

    def opencv() -> Run:
        import cv2

        cv2.setNumThreads(threads)
        flags = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[kernel] | cv2.WARP_INVERSE_MAP
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
                warped = functional.grid_sample(planes[None], grid[None], mode=kernel, align_corners=True)
            return warped[0].permute(1, 2, 0).numpy().reshape(image.shape)

        return run

    def scikit_image() -> Run:
        import skimage.transform

        options = {"order": _ORDERS[kernel], "preserve_range": True}
        return lambda: skimage.transform.warp(image, matrix, **options)

    rivals: dict[str, Callable[[], Run]] = {"OpenCV": opencv, "scikit-image": scikit_image}
    if dtype == "float32":
        rivals["PyTorch"] = pytorch
    options: dict[str, Any] = {"kernel": kernel, "preserve_range": True, "out": ours, "threads": threads}
    return Job(
        "warp",
        f"{_name(rows, columns, channels, dtype)}, affine, {kernel}",
        {"size": rows, "channels": channels, "dtype": dtype, "kernel": kernel},
        contenders(lambda: transform.warp(image, matrix, **options), **rivals),
        _LEVELS,
    )


def lens(rows: int, columns: int, channels: int, dtype: str, threads: int) -> Job:
    """Undo a lens's distortion by a function that Numba compiles. OpenCV's array of places is made before."""
    image = _image(rows, columns, channels, dtype)
    ours, table, theirs = (np.empty_like(image) for _ in range(3))
    parameters = {"strength": 0.1, "size": float(columns), "middle_row": rows / 2, "middle_column": columns / 2}
    places = np.stack(_distorted(*np.indices((rows, columns), np.float64), **parameters)).astype(np.float32)
    compiled = transform.CompiledMap(_distorted)
    options: dict[str, Any] = {"preserve_range": True, "threads": threads}

    def opencv() -> Run:
        import cv2

        cv2.setNumThreads(threads)
        return lambda: cv2.remap(image, places[1], places[0], cv2.INTER_LINEAR, dst=theirs)

    def by_table() -> Run:
        return lambda: transform.warp(image, places, out=table, **options)

    return Job(
        "warp",
        f"{_name(rows, columns, channels, dtype)}, lens, bilinear",
        {"size": rows, "channels": channels, "dtype": dtype, "kernel": "bilinear"},
        contenders(
            lambda: transform.warp(image, compiled, parameters, out=ours, **options),
            **{"OpenCV": opencv, "fastimg,_table": by_table},
        ),
        _LEVELS | {"fastimg, table": 2.0},
    )


def _distorted(row: Any, column: Any, strength: Any, size: Any, middle_row: Any, middle_column: Any) -> tuple[Any, Any]:
    y, x = (row - middle_row) / size, (column - middle_column) / size
    squared = x * x + y * y
    factor = 1 - strength * squared * (1 + squared)
    return middle_row + size * y * factor, middle_column + size * x * factor


def _image(rows: int, columns: int, channels: int, dtype: str) -> NDArray[Any]:
    y, x = np.ogrid[:rows, :columns]
    window = np.sin(np.pi * (y + 1) / (rows + 1)) * np.sin(np.pi * (x + 1) / (columns + 1))  # 0 at the border
    image = 200 * window[..., np.newaxis] * (1 + 0.2 * np.cos(x[..., np.newaxis] / 20 + np.arange(channels)))
    return np.ascontiguousarray((image[..., 0] if channels == 1 else image).astype(dtype))


def _name(rows: int, columns: int, channels: int, dtype: str) -> str:
    return f"{columns}×{rows} {'grey' if channels == 1 else 'RGB'} {dtype}"
