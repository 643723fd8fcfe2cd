"""Structural similarity against scikit-image's."""

from functools import partial

from fastimg.benchmarks import structural_similarity


def _job(size, dtype):
    return f"{size}-{dtype}", partial(structural_similarity.job, size, dtype)


SHORT = [_job(1024, dtype) for dtype in ("uint8", "float32")]
LONG = [_job(size, dtype) for size in (256, 4096) for dtype in ("uint8", "float32")]


def test_structural_similarity(race, make):
    race(make)
