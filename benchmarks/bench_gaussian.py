"""Gaussian blur: float32 and uint8, grey and RGB, small and large sigmas, sizes up to 4096²."""

from functools import partial

from fastimg.benchmarks import gaussian


def _jobs(sizes, sigmas):
    for size in sizes:
        for dtype in ("float32", "uint8"):
            for channels in (1, 3):
                for sigma in sigmas:
                    name = f"{size}-{channels}-{dtype}-{sigma:g}"
                    yield name, partial(gaussian.job, size, channels, dtype, sigma)


SHORT = [
    *_jobs([2048], [1.0, 3.0, 10.0]),
    *((f"{size}-1-float32-3", partial(gaussian.job, size, 1, "float32", 3.0)) for size in (256, 512, 1024, 4096)),
]
LONG = [*_jobs([512, 1024, 4096], [1.0, 10.0, 30.0]), *_jobs([2048], [30.0])]


def test_gaussian(race, make):
    race(make)
