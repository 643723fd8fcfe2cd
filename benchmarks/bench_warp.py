"""Warping against OpenCV, PyTorch and scikit-image: affine maps, and a lens."""

from functools import partial

from fastimg.benchmarks import warp


def _job(rows, columns, channels, dtype, kernel):
    return f"{rows}-{channels}-{dtype}-{kernel}", partial(warp.job, rows, columns, channels, dtype, kernel)


SHORT = [
    *(_job(1080, 1920, 3, dtype, kernel) for kernel in ("bilinear", "bicubic") for dtype in ("uint8", "float32")),
    *((f"lens-{channels}", partial(warp.lens, 1080, 1920, channels, "float32")) for channels in (1, 3)),
]
LONG = [
    *(_job(1080, 1920, 1, dtype, kernel) for kernel in ("bilinear", "bicubic") for dtype in ("uint8", "float32")),
    *(_job(480, 640, channels, dtype, "bilinear") for channels in (1, 3) for dtype in ("uint8", "float32")),
]


def test_warp(race, make):
    race(make)
