"""Affine warping against OpenCV and PyTorch."""

from functools import partial

from fastimg.benchmarks import warp


def _job(rows, columns, channels, dtype):
    return f"{rows}-{channels}-{dtype}", partial(warp.job, rows, columns, channels, dtype)


SHORT = [_job(1080, 1920, 3, dtype) for dtype in ("uint8", "float32")]
LONG = [
    *(_job(1080, 1920, 1, dtype) for dtype in ("uint8", "float32")),
    *(_job(480, 640, channels, dtype) for channels in (1, 3) for dtype in ("uint8", "float32")),
]


def test_warp(race, make):
    race(make)
