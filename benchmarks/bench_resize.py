"""Resizing with antialiasing against PyTorch's."""

from functools import partial

from fastimg.benchmarks import resize


def _job(size, channels, scale, kernel):
    return f"{size}-{channels}-{scale:g}-{kernel}", partial(resize.job, size, channels, scale, kernel)


SHORT = [_job(1024, channels, scale, "bicubic") for channels in (1, 3) for scale in (2.0, 0.5)]
LONG = [
    _job(size, channels, scale, kernel)
    for size in (256, 2048)
    for channels in (1, 3)
    for scale in (2.0, 0.3)
    for kernel in ("bicubic", "bilinear")
]


def test_resize(race, make):
    race(make)
