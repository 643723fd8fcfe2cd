"""Handwritten digits drawn by a program: to train and test where the real ones are not at hand.

A digit is a few strokes, each a smooth curve through points that shake from one digit to the next; it is slanted,
turned, stretched and bent, and drawn with a soft pen that presses more here and less there. As in MNIST it is white on
black, fits a box of 20 × 20 pixels and has its centre of mass in the middle of 28 × 28.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import _checks

Points = NDArray[np.float64]

SIZE = 28
_BOX = 20
_SAMPLES = 160  # per digit: 0.4 pixels from one to the next in the longest

# The ways to write each digit: strokes through points, x to the right and y down in hundredths of the digit's size.
_STYLES = (
    ("55,0 20,20 10,60 40,100 80,75 88,30 55,0 45,3",),
    ("50,0 50,50 50,100", "28,25 52,0 / 52,0 50,100", "28,25 52,0 / 52,0 50,100 / 20,100 80,100"),
    ("10,25 40,0 80,20 65,55 10,100 / 10,100 90,95", "10,20 50,0 80,25 50,70 15,97 10,80 35,80 95,100"),
    (
        "15,10 55,0 80,20 62,42 35,48 / 35,48 75,58 82,82 50,100 10,90",
        "15,3 80,2 / 80,2 40,40 / 40,40 80,55 75,90 40,100 10,90",
    ),
    ("20,5 12,55 / 12,55 90,50 / 75,0 68,100", "65,0 10,65 / 10,65 95,65 / 65,0 65,100"),
    ("85,0 25,3 / 25,3 20,42 / 20,42 60,38 85,65 60,97 10,92",),
    ("70,0 30,30 12,70 40,100 80,78 60,53 18,68",),
    ("10,5 90,5 / 90,5 55,50 40,100", "10,5 90,5 / 90,5 55,50 40,100 / 30,50 80,48"),
    ("75,12 45,0 25,20 50,45 80,75 50,100 20,78 50,45 78,18",),
    (
        "80,20 50,0 18,25 45,50 80,25 / 80,20 75,60 60,100",
        "80,20 50,0 18,25 45,50 80,25 / 80,20 80,70 50,100 15,92",
    ),
)


def draw(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw digits.

    Parameters
    ----------
    count : int
    seed : int, optional

    Returns
    -------
    images : (count, 28, 28) array of uint8
        White on black.
    labels : (count,) array of uint8
        0 to 9, as often as chance has it.

    Examples
    --------
    >>> from fastimg.training import digits
    >>> images, labels = digits.draw(100)
    >>> images.shape, labels.shape
    ((100, 28, 28), (100,))
    """
    count = _checks.integer(count, "count", at_least=0)
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count, dtype=np.uint8)
    images = np.empty((count, SIZE, SIZE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:] = _draw(int(label), random)
    return images, labels


def _draw(digit: int, random: np.random.Generator) -> NDArray[np.uint8]:
    style = _STYLES[digit][random.integers(len(_STYLES[digit]))]
    strokes = [np.array([point.split(",") for point in stroke.split()], float) / 100 for stroke in style.split("/")]
    curves = [_smooth(stroke + random.normal(0, 0.03, stroke.shape)) for stroke in strokes]
    lengths = np.array([np.hypot(*np.diff(curve, axis=0).T).sum() for curve in curves])
    counts = np.maximum(2, _SAMPLES * lengths / lengths.sum()).astype(int)
    points = np.concatenate([_evenly(curve, count) for curve, count in zip(curves, counts, strict=True)])
    pen = random.uniform(1.4, 3.8) * (1 + 0.15 * np.sin(np.linspace(0, random.uniform(3, 12), len(points))))
    points = _placed(_distorted(points, random), _BOX - pen.max())
    softness = random.uniform(1, 1.8)  # pixels from white to black
    across = np.arange(SIZE)
    x, y = points.T
    distance = np.hypot(across[:, None] - x, across[:, None, None] - y)  # (rows, columns, samples)
    white = ((pen / 2 - distance).max(axis=2) / softness + 0.5).clip(0, 1)
    pixels: NDArray[np.uint8] = np.rint(255 * white).astype(np.uint8)
    return pixels


def _smooth(points: Points) -> Points:
    """The Catmull-Rom spline through the points."""
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    p = np.vstack([before, points, after])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    pieces = b + t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + d - a))) / 2
    return np.vstack([pieces.transpose(1, 0, 2).reshape(-1, 2), points[-1:]])


def _evenly(curve: Points, count: int) -> Points:
    """`count` points of a curve at equal distances along it."""
    along = np.concatenate([[0], np.hypot(*np.diff(curve, axis=0).T).cumsum()])
    places = np.linspace(0, along[-1], count)
    return np.stack([np.interp(places, along, curve[:, axis]) for axis in (0, 1)], axis=1)


def _distorted(points: Points, random: np.random.Generator) -> Points:
    """Bent by waves as long as the digit or half as long, slanted, turned and made narrower or wider."""
    amplitude, frequency, phase = random.normal(0, 0.03, 2), random.uniform(3, 8, 2), random.uniform(0, 6.28, 2)
    points = points + amplitude * np.sin(frequency * points[:, ::-1] + phase)
    angle, slant, width = random.normal(0, 0.12), random.normal(-0.15, 0.2), random.uniform(0.55, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = turn @ np.array([[width, slant], [0, 1]])
    distorted: Points = points @ affine.T
    return distorted


def _placed(points: Points, size: float) -> Points:
    """Scaled to `size` pixels, rows or columns, and the centre in the middle of the image."""
    points = points * (size / np.ptp(points, axis=0).max())
    placed: Points = points - points.mean(axis=0) + (SIZE - 1) / 2
    return placed
