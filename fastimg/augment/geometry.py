"""Transforms that move pixels. All of them are affine; those next to each other become one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _checks
from .plan import Draws, Floats, Plan, Stage, bounds, probability, set_checked


def _matrices(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, n: int) -> Floats:
    """n times ((a, b, c), (d, e, f), (0, 0, 1)); each entry is a number or (n,)."""
    matrices = np.zeros((n, 3, 3))
    for place, entry in zip(np.ndindex(2, 3), (a, b, c, d, e, f), strict=True):
        matrices[:, place[0], place[1]] = entry
    matrices[:, 2, 2] = 1
    return matrices


def _size(value: Any) -> tuple[int, int]:
    pair = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"size must be an integer or two (rows, columns), got {value!r}")
    rows, columns = (_checks.integer(n, "size", at_least=1) for n in pair)
    return rows, columns


@dataclass(frozen=True)
class Affine:
    """Rotate, shear, scale and shift about the middle of the image: Keras' and torchvision's affine transform.

    Parameters
    ----------
    degrees : float or (low, high)
        The angle of rotation, clockwise as images are shown; a number stands for (-degrees, degrees).
    translate : float or (horizontal, vertical)
        The largest shift either way, as a share of the width and of the height, in [0, 1].
    scale : (low, high)
        The factor of magnification, above 0; 2 shows things twice as large.
    shear : float, (low, high) or (x_low, x_high, y_low, y_high)
        Angles of shear in degrees, below 90, along the rows, and along the columns too if four are given. A number
        stands for (-shear, shear).
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Notes
    -----
    The matrix is that of torchvision's ``RandomAffine``: a shift by up to `translate`, after a rotation, after a shear,
    about ((W - 1) / 2, (H - 1) / 2) in coordinates of pixel centres. torchvision rounds shifts to whole pixels, here
    they are what was drawn.

    Examples
    --------
    >>> from fastimg import augment
    >>> augment.Affine(degrees=15, translate=0.1, scale=(0.9, 1.1))
    Affine(degrees=(-15.0, 15.0), translate=(0.1, 0.1), scale=(0.9, 1.1), shear=(0.0, 0.0, 0.0, 0.0), p=1.0)
    """

    degrees: Any = 0.0
    translate: Any = 0.0
    scale: Any = (1.0, 1.0)
    shear: Any = 0.0
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.GEOMETRY

    def __post_init__(self) -> None:
        shear = self.shear
        if np.ndim(shear) == 1 and len(shear) == 4:
            shear = (*bounds(shear[:2], "shear"), *bounds(shear[2:], "shear"))
        else:
            shear = (*bounds(shear, "shear", around=0), 0.0, 0.0)
        if any(abs(angle) >= 90 for angle in shear):
            raise ValueError(f"shear must be below 90 degrees, got {self.shear!r}")
        translate = (self.translate,) * 2 if np.ndim(self.translate) == 0 else tuple(self.translate)
        if len(translate) != 2:
            raise ValueError(f"translate must be a number or two (horizontal, vertical), got {self.translate!r}")
        scale = bounds(self.scale, "scale")
        _checks.real(scale[0], "scale", above=0)
        set_checked(
            self,
            degrees=bounds(self.degrees, "degrees", around=0),
            translate=tuple(_checks.real(share, "translate", at_least=0, at_most=1) for share in translate),
            scale=scale,
            shear=shear,
            p=probability(self.p, "p"),
        )

    def add_to(self, plan: Plan, draws: Draws) -> None:
        happens = draws.happens(self.p)
        rows, columns = plan.sizes[:, 0], plan.sizes[:, 1]

        def drawn(k: int, limits: tuple[float, float], otherwise: float = 0.0) -> Floats:
            return np.where(happens, draws.between(k, limits), otherwise)

        angle = np.radians(drawn(1, self.degrees))
        shear_x, shear_y = np.radians(drawn(2, self.shear[:2])), np.radians(drawn(3, self.shear[2:]))
        scale = drawn(4, self.scale, 1.0)
        shift_x = drawn(5, (-self.translate[0], self.translate[0])) * columns
        shift_y = drawn(6, (-self.translate[1], self.translate[1])) * rows

        # Forwards ((a, b), (c, d)) * scale, of determinant scale ** 2, about the middle.
        a = np.cos(angle - shear_y) / np.cos(shear_y)
        b = -a * np.tan(shear_x) - np.sin(angle)
        c = np.sin(angle - shear_y) / np.cos(shear_y)
        d = -c * np.tan(shear_x) + np.cos(angle)
        inverse = [entry / scale for entry in (d, -b, -c, a)]
        x, y = (columns - 1) / 2, (rows - 1) / 2
        from_x, from_y = x + shift_x, y + shift_y
        matrices = _matrices(
            inverse[0],
            inverse[1],
            x - inverse[0] * from_x - inverse[1] * from_y,
            inverse[2],
            inverse[3],
            y - inverse[2] * from_x - inverse[3] * from_y,
            len(rows),
        )
        plan.place(matrices, plan.sizes)


@dataclass(frozen=True)
class Flip:
    """Exchange left and right, or top and bottom.

    Parameters
    ----------
    horizontal, vertical : float
        The probability of each.

    Raises
    ------
    TypeError, ValueError
        If one is no probability.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> mirror = augment.Compose([augment.Flip(horizontal=1)], seed=0, channel_axis=None)
    >>> mirror(np.array([[[1, 2, 3]]], np.uint8), index=0)
    array([[[3, 2, 1]]], dtype=uint8)
    """

    horizontal: float = 0.5
    vertical: float = 0.0

    stage: ClassVar[Stage] = Stage.GEOMETRY

    def __post_init__(self) -> None:
        set_checked(
            self,
            horizontal=probability(self.horizontal, "horizontal"),
            vertical=probability(self.vertical, "vertical"),
        )

    def add_to(self, plan: Plan, draws: Draws) -> None:
        last = plan.sizes - 1
        mirrored, upside_down = draws.uniform(0) < self.horizontal, draws.uniform(1) < self.vertical
        x, y = np.where(mirrored, -1.0, 1.0), np.where(upside_down, -1.0, 1.0)
        matrices = _matrices(
            x, 0, np.where(mirrored, last[:, 1], 0), 0, y, np.where(upside_down, last[:, 0], 0), len(x)
        )
        plan.place(matrices, plan.sizes)


@dataclass(frozen=True)
class RandomCrop:
    """A window of a given size, anywhere in the image.

    Parameters
    ----------
    size : int or (rows, columns)
        Of the window.
    padding : int
        By how many pixels the window may reach beyond the image on each side.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no integer or out of range; when used, if an image with its padding is smaller than `size`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> crop = augment.Compose([augment.RandomCrop(32, padding=4)], seed=0)
    >>> crop(np.zeros((10, 32, 32, 3), np.uint8), index=0).shape
    (10, 32, 32, 3)
    """

    size: Any
    padding: int = 0

    stage: ClassVar[Stage] = Stage.GEOMETRY

    def __post_init__(self) -> None:
        set_checked(self, size=_size(self.size), padding=_checks.integer(self.padding, "padding", at_least=0))

    def add_to(self, plan: Plan, draws: Draws) -> None:
        free = plan.sizes + 2 * self.padding - self.size
        if (free < 0).any():
            least = tuple(int(n) for n in plan.sizes.min(axis=0))
            raise ValueError(f"size must be at most that of the image and its padding, got {self.size} for {least}")
        top, left = (draws.choice(1 + axis, free[:, axis] + 1) - self.padding for axis in (0, 1))
        plan.place(_matrices(1, 0, left, 0, 1, top, len(free)), np.broadcast_to(np.int64(self.size), free.shape))


@dataclass(frozen=True)
class RandomResizedCrop:
    """A window of random size and shape, anywhere in the image, brought to a given size: the crop of ImageNet training.

    Parameters
    ----------
    size : int or (rows, columns)
        Of the result.
    scale : (low, high)
        The window's share of the image's area, above 0, at most 1.
    ratio : (low, high)
        The window's width by its height, above 0; its logarithm is drawn uniformly.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Notes
    -----
    Windows have any place and size, not whole pixels only. A window that would be wider or higher than the image is cut
    to it, where torchvision's ``RandomResizedCrop`` draws another. Samples stay between the centres of the image's
    pixels, so that nothing from beyond the border comes in. There is no antialiasing: images more than twice as large
    as the result should be reduced before (`fastimg.transform.resize`).

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> crop = augment.Compose([augment.RandomResizedCrop(64)], seed=0)
    >>> crop([np.zeros((90, 80, 3), np.uint8), np.zeros((70, 100, 3), np.uint8)], index=0).shape
    (2, 64, 64, 3)
    """

    size: Any
    scale: Any = (0.08, 1.0)
    ratio: Any = (3 / 4, 4 / 3)

    stage: ClassVar[Stage] = Stage.GEOMETRY

    def __post_init__(self) -> None:
        scale, ratio = bounds(self.scale, "scale", at_most=1), bounds(self.ratio, "ratio")
        _checks.real(scale[0], "scale", above=0)
        _checks.real(ratio[0], "ratio", above=0)
        set_checked(self, size=_size(self.size), scale=scale, ratio=ratio)

    def add_to(self, plan: Plan, draws: Draws) -> None:
        area = draws.between(1, self.scale) * plan.sizes.prod(axis=1)
        ratio = np.exp(draws.between(2, (np.log(self.ratio[0]), np.log(self.ratio[1]))))
        entries = []
        for axis, extent in ((1, np.sqrt(area * ratio)), (0, np.sqrt(area / ratio))):
            entries.append(_window(extent, plan.sizes[:, axis], self.size[axis], draws.uniform(3 + axis)))
        (x, left), (y, top) = entries
        matrices = _matrices(x, 0, left, 0, y, top, len(area))
        plan.place(matrices, np.broadcast_to(np.int64(self.size), plan.sizes.shape))


def _window(extent: Floats, whole: NDArray[np.int64], samples: int, share: Floats) -> tuple[Floats, Floats]:
    """Step and first place of `samples` in a window of an axis, the first and last no further out than its pixels'."""
    limit = np.minimum(whole, (whole - 1) * (samples / max(samples - 1, 1)))
    extent = np.minimum(extent, np.maximum(limit, 1e-6))
    step = extent / samples
    margin = np.maximum(0.5 - 0.5 * step, 0)  # how far the outermost samples must keep from the border
    begin = margin + share * np.maximum(whole - extent - 2 * margin, 0)
    return step, begin + 0.5 * step - 0.5
