"""What is to happen to each image of a batch in one pass, and the numbers that decide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _checks
from ..backends import cpu

Floats = NDArray[np.float64]

# `Augmentation` of csrc/cpu/augment.hpp, which tells what the fields mean.
AUGMENTATION = np.dtype(
    [
        ("matrix", np.float64, (3, 3)),
        ("noise_key", np.uint64),
        ("impulse_key", np.uint64),
        ("color", np.float32, (3, 3)),
        ("mean_color", np.float32, (3, 3)),
        ("offset", np.float32, 3),
        ("blur", np.float32),
        ("noise", np.float32),
        ("salt", np.float32),
        ("pepper", np.float32),
        ("recolored", np.int32),
        ("about_mean", np.int32),
    ],
    align=True,
)


class Stage(IntEnum):
    """The steps of a pass, in the order in which the kernel takes them."""

    GEOMETRY = 0
    BLUR = 1
    COLOR = 2
    NOISE = 3
    IMPULSES = 4
    CUTOUT = 5
    NORMALIZE = 6
    MIX = 7


REPEATABLE = (Stage.GEOMETRY, Stage.COLOR, Stage.CUTOUT)  # of which one pass takes any number


class Transform(Protocol):
    """What `Compose` takes."""

    stage: ClassVar[Stage]

    def add_to(self, plan: Plan, draws: Draws) -> None:
        """Write into a plan what this transform does to each image, as its numbers decide."""


@dataclass
class Plan:
    """One pass: what the kernel is told about N images of `channels` channels.

    `sizes` are (N, 2), the rows and columns that images have at this point; once the geometry is known they are equal.
    """

    what: NDArray[Any]
    sizes: NDArray[np.int64]
    channels: int
    scale: NDArray[np.float32]  # (channels,), at the end, and then
    offset: NDArray[np.float32]
    rectangles: list[NDArray[np.int32]] = field(default_factory=list)  # (N, 4) each
    fills: list[NDArray[np.float32]] = field(default_factory=list)  # (channels,) each
    weights: NDArray[np.float32] | None = None  # (N,), of mixing

    @classmethod
    def of(cls, sizes: NDArray[np.int64], channels: int) -> Plan:
        """To do nothing."""
        what = np.zeros(len(sizes), AUGMENTATION)
        what["matrix"] = what["color"] = np.eye(3)
        return cls(what, sizes, channels, np.ones(channels, np.float32), np.zeros(channels, np.float32))

    def place(self, matrices: Floats, sizes: NDArray[np.int64]) -> None:
        """Add a geometric transform: (N, 3, 3) matrices from its result's pixels to its image's, and its sizes."""
        self.what["matrix"] = self.what["matrix"] @ matrices
        self.sizes = sizes

    def size(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        rows, columns = (int(n) for n in self.sizes[0])
        if (self.sizes != self.sizes[0]).any():
            raise ValueError(
                "images must be of one size where no transform gives them one (RandomCrop, RandomResizedCrop), got "
                f"{(rows, columns)} and others"
            )
        return rows, columns


class Draws:
    """The random numbers of one transform for N images: eight uniform ones each, and a key for more."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self._words = words  # (N, 12)

    def uniform(self, k: int) -> Floats:
        """Number k < 8, (N,), in [0, 1)."""
        numbers: Floats = self._words[:, k].astype(np.float64) * 2.0**-32
        return numbers

    def between(self, k: int, bounds: tuple[float, float]) -> Floats:
        """Number k as one between two bounds."""
        return bounds[0] + (bounds[1] - bounds[0]) * self.uniform(k)

    def choice(self, k: int, counts: NDArray[Any]) -> NDArray[np.int64]:
        """Number k as an integer from 0 to counts - 1."""
        chosen: NDArray[np.int64] = np.floor(self.uniform(k) * counts).astype(np.int64)
        return chosen

    def happens(self, p: float) -> NDArray[np.bool_]:
        """Whether the transform takes place, which is what number 0 is for."""
        return self.uniform(0) < p

    def keys(self) -> NDArray[np.uint64]:
        """A key for a random field of each image."""
        return self._words[:, 8].astype(np.uint64) | self._words[:, 9].astype(np.uint64) << np.uint64(32)


def draw(indices: NDArray[np.uint64], transforms: int, seed: int) -> list[Draws]:
    """The numbers of all transforms: Philox4x32-10 of key `seed` and counter (image, image >> 32, transform, block)."""
    words = cpu.random_words(indices, transforms, 3, seed).reshape(len(indices), transforms, 12)
    return [Draws(words[:, number]) for number in range(transforms)]


# ---- the arguments of transforms -----------------------------------------------------------------------------------


def set_checked(transform: Any, **values: Any) -> None:
    """Replace what a frozen transform was given by what has been checked."""
    for name, value in values.items():
        object.__setattr__(transform, name, value)


def bounds(
    value: Any, name: str, *, around: float | None = None, at_least: float | None = None, at_most: float | None = None
) -> tuple[float, float]:
    """A range, given as two numbers; or as one, which stands for `around` ± itself, or, without that, for itself."""
    if np.ndim(value) == 0:
        number = _checks.real(value, name, at_least=None if around is None else 0)
        pair = (number, number) if around is None else (around - number, around + number)
        if at_least is not None and around is not None:
            pair = (max(pair[0], at_least), pair[1])
    else:
        if len(value) != 2:
            raise ValueError(f"{name} must be a number or two (low, high), got {value!r}")
        pair = (_checks.real(value[0], name), _checks.real(value[1], name))
    low, high = (_checks.real(end, name, at_least=at_least, at_most=at_most) for end in pair)
    if low > high:
        raise ValueError(f"{name} must be (low, high), got {value!r}")
    return low, high


def probability(value: Any, name: str) -> float:
    return _checks.real(value, name, at_least=0, at_most=1)


def per_channel(value: Any, name: str) -> tuple[float, ...]:
    """One number for all channels, or one for each."""
    numbers = (value,) if np.ndim(value) == 0 else tuple(value)
    if not numbers:
        raise ValueError(f"{name} must not be empty")
    return tuple(_checks.real(number, name) for number in numbers)


def for_channels(values: Sequence[float], name: str, channels: int) -> NDArray[np.float32]:
    if len(values) not in (1, channels):
        raise ValueError(f"{name} must be one number or one for each of the {channels} channels, got {len(values)}")
    return np.broadcast_to(np.asarray(values, np.float32), channels)
