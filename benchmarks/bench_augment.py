"""Augmentation of a batch against OpenCV and PyTorch."""

from functools import partial

from fastimg.benchmarks import augment

SHORT = [
    ("photographs-256-224", partial(augment.photographs, 256, 224)),
    ("digits-10000-28", partial(augment.digits, 10_000, 28)),
]
LONG = [
    ("photographs-32-512", partial(augment.photographs, 32, 512)),
    ("digits-10000-64", partial(augment.digits, 10_000, 64)),
]


def test_augment(race, make):
    race(make)
