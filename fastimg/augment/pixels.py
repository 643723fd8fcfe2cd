"""Transforms that change values and leave pixels where they are. Values are in [0, 1], whatever the image's dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _checks
from .plan import Draws, Floats, Plan, Stage, bounds, for_channels, per_channel, probability, set_checked

LUMA = np.array((0.299, 0.587, 0.114))
YIQ = np.array((LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)))
# A turn in the plane of I and Q as a map of RGB: the first of these, and the others times its cosine and its sine.
TURNS = (
    np.linalg.inv(YIQ) @ np.array((np.diag((1, 0, 0)), np.diag((0, 1, 1)), ((0, 0, 0), (0, 0, 1), (0, -1, 0)))) @ YIQ
)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur by a Gaussian.

    Parameters
    ----------
    sigma : float or (low, high)
        Standard deviation in pixels of the result, from 0 to 100.
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Notes
    -----
    As ``filters.gaussian(image, sigma, mode="mirror")``: four sigma reach on either side, and a mirrored border. Cost
    grows with sigma; images that did not draw a blur have none of it.

    Examples
    --------
    >>> from fastimg import augment
    >>> augment.GaussianBlur(sigma=(0.1, 2), p=0.2)
    GaussianBlur(sigma=(0.1, 2.0), p=0.2)
    """

    sigma: Any = (0.1, 2.0)
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.BLUR

    def __post_init__(self) -> None:
        set_checked(self, sigma=bounds(self.sigma, "sigma", at_least=0, at_most=100), p=probability(self.p, "p"))

    def add_to(self, plan: Plan, draws: Draws) -> None:
        plan.what["blur"] = np.where(draws.happens(self.p), draws.between(1, self.sigma), 0)


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue, in this order.

    Parameters
    ----------
    brightness, contrast, saturation : float or (low, high)
        Factors, 0 and above; a number x stands for (1 - x, 1 + x). Brightness multiplies; contrast blends with the mean
        grey of the image, saturation with the pixel's grey.
    hue : float or (low, high)
        By which share of a whole turn hues go round, from -0.5 to 0.5; a number x stands for (-x, x).
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range; when used, if images have neither one channel nor three. Where
        there is one, saturation and hue change nothing.

    Notes
    -----
    All four are affine in the colour and become one map, after which values are clipped to [0, 1], once; torchvision's
    ``ColorJitter`` clips after each, takes them in random order, and turns hues in HSV, which is not linear. Here they
    are turned by a rotation in the plane of I and Q of YIQ, which keeps the luma Y = 0.299 R + 0.587 G + 0.114 B:

        C -> T^-1 R(2 pi hue) T C,  T = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))

    A mean grey is that of the image as it comes out of the transforms before, what was filled in included.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> twice = augment.Compose([augment.ColorJitter(brightness=(2, 2))], seed=0)
    >>> twice(np.full((1, 1, 1, 3), 50, np.uint8), index=0)
    array([[[[100, 100, 100]]]], dtype=uint8)
    """

    brightness: Any = 0.0
    contrast: Any = 0.0
    saturation: Any = 0.0
    hue: Any = 0.0
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.COLOR

    def __post_init__(self) -> None:
        factors = {
            name: bounds(getattr(self, name), name, around=1, at_least=0)
            for name in ("brightness", "contrast", "saturation")
        }
        hue = bounds(self.hue, "hue", around=0, at_least=None)
        if not -0.5 <= hue[0] <= hue[1] <= 0.5:
            raise ValueError(f"hue must be between -0.5 and 0.5, got {self.hue!r}")
        set_checked(self, **factors, hue=hue, p=probability(self.p, "p"))

    def add_to(self, plan: Plan, draws: Draws) -> None:
        if plan.channels not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels for ColorJitter, got {plan.channels}")
        happens = draws.happens(self.p)

        def drawn(k: int, limits: tuple[float, float], otherwise: float) -> Floats:
            return np.where(happens, draws.between(k, limits), otherwise)[:, np.newaxis, np.newaxis]

        color = _ColorMap(plan)
        if self.brightness != (1, 1):
            color.scale(drawn(1, self.brightness, 1.0))
        if self.contrast != (1, 1):
            color.blend_with_mean_grey(drawn(2, self.contrast, 1.0))
        if (self.saturation, self.hue) != ((1, 1), (0, 0)) and plan.channels == 3:
            saturation = drawn(3, self.saturation, 1.0)
            turns = hue_rotations(2 * np.pi * drawn(4, self.hue, 0.0)[:, 0, 0])
            color.multiply(saturation * turns + (1 - saturation) * LUMA)  # a turn leaves greys as they are
        color.write(happens)


class _ColorMap:
    """The affine map of a plan's colours, to which others are added.

    A colour v of an image whose mean colour is m becomes ``of_color v + of_mean m + offset``.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.of_color: Floats = plan.what["color"].astype(np.float64)
        self.of_mean: Floats = plan.what["mean_color"].astype(np.float64)
        self.offset: Floats = plan.what["offset"].astype(np.float64)[..., np.newaxis]

    def scale(self, factors: Floats) -> None:
        self.of_color, self.of_mean, self.offset = (factors * x for x in (self.of_color, self.of_mean, self.offset))

    def multiply(self, matrices: Floats) -> None:
        self.of_color, self.of_mean, self.offset = (matrices @ x for x in (self.of_color, self.of_mean, self.offset))

    def blend_with_mean_grey(self, share: Floats) -> None:
        """`share` of the colours and the rest of the mean grey of the image as it has become."""
        grey = np.broadcast_to(LUMA if self.plan.channels == 3 else (1.0, 0.0, 0.0), (3, 3))
        self.of_mean = share * self.of_mean + (1 - share) * (grey @ (self.of_color + self.of_mean))
        self.offset = share * self.offset + (1 - share) * (grey @ self.offset)
        self.of_color = share * self.of_color

    def write(self, happens: NDArray[np.bool_]) -> None:
        what = self.plan.what
        what["color"], what["mean_color"], what["offset"] = self.of_color, self.of_mean, self.offset[..., 0]
        what["recolored"] |= happens
        what["about_mean"] = self.of_mean.any(axis=(1, 2))


def hue_rotations(angles: Floats) -> Floats:
    """(N, 3, 3) maps of RGB that turn hues by angles in radians, red towards green."""
    cosine, sine = (f(angles)[:, np.newaxis, np.newaxis] for f in (np.cos, np.sin))
    rotations: Floats = TURNS[0] + cosine * TURNS[1] + sine * TURNS[2]
    return rotations


@dataclass(frozen=True)
class GaussianNoise:
    """Add normal noise, to each channel its own, and clip.

    Parameters
    ----------
    sigma : float or (low, high)
        Standard deviation, at least 0, where the image's range is 1.
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Notes
    -----
    The numbers are those of `fastimg.util.random_noise`, each a function of the image's key and of the sample's place.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> noisy = augment.Compose([augment.GaussianNoise(10 / 255)], seed=0)
    >>> round(float(noisy(np.full((4, 100, 100, 3), 128, np.uint8), index=0).std()))
    10
    """

    sigma: Any = 0.1
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.NOISE

    def __post_init__(self) -> None:
        set_checked(self, sigma=bounds(self.sigma, "sigma", at_least=0), p=probability(self.p, "p"))

    def add_to(self, plan: Plan, draws: Draws) -> None:
        plan.what["noise"] = np.where(draws.happens(self.p), draws.between(1, self.sigma), 0)
        plan.what["noise_key"] = draws.keys()


@dataclass(frozen=True)
class SaltAndPepper:
    """Make some pixels white and some black.

    Parameters
    ----------
    amount : float or (low, high)
        The share of pixels that are replaced, in [0, 1].
    salt_vs_pepper : float
        The share of white ones among them.
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> salted = augment.Compose([augment.SaltAndPepper(0.25, salt_vs_pepper=1)], seed=0)
    >>> round(float(salted(np.zeros((4, 100, 100, 3), np.float32), index=0).mean()), 2)
    0.25
    """

    amount: Any = 0.05
    salt_vs_pepper: float = 0.5
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.IMPULSES

    def __post_init__(self) -> None:
        set_checked(
            self,
            amount=bounds(self.amount, "amount", at_least=0, at_most=1),
            salt_vs_pepper=probability(self.salt_vs_pepper, "salt_vs_pepper"),
            p=probability(self.p, "p"),
        )

    def add_to(self, plan: Plan, draws: Draws) -> None:
        amount = np.where(draws.happens(self.p), draws.between(1, self.amount), 0)
        plan.what["salt"], plan.what["pepper"] = amount * self.salt_vs_pepper, amount * (1 - self.salt_vs_pepper)
        plan.what["impulse_key"] = draws.keys()


@dataclass(frozen=True)
class Cutout:
    """Fill a rectangle: torchvision's ``RandomErasing``.

    Parameters
    ----------
    scale : (low, high)
        The rectangle's share of the image's area, in [0, 1].
    ratio : (low, high)
        Its height by its width, above 0; its logarithm is drawn uniformly.
    fill : float or sequence of float
        What it is filled with, one number or one for each channel, where the image's range is 1.
    p : float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range; when used, if `fill` has another number of channels.

    Notes
    -----
    Sides are rounded to whole pixels and cut to the image. Masks, keypoints and boxes are left as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> cut = augment.Compose([augment.Cutout(scale=(0.25, 0.25), ratio=(1, 1))], seed=0)
    >>> float(cut(np.ones((1, 8, 8, 3), np.float32), index=0).mean())
    0.75
    """

    scale: Any = (0.02, 0.33)
    ratio: Any = (0.3, 3.3)
    fill: Any = 0.0
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.CUTOUT

    def __post_init__(self) -> None:
        ratio = bounds(self.ratio, "ratio")
        _checks.real(ratio[0], "ratio", above=0)
        set_checked(
            self,
            scale=bounds(self.scale, "scale", at_least=0, at_most=1),
            ratio=ratio,
            fill=per_channel(self.fill, "fill"),
            p=probability(self.p, "p"),
        )

    def add_to(self, plan: Plan, draws: Draws) -> None:
        rows, columns = plan.size()
        area = np.where(draws.happens(self.p), draws.between(1, self.scale), 0) * (rows * columns)
        ratio = np.exp(draws.between(2, (np.log(self.ratio[0]), np.log(self.ratio[1]))))
        height = np.minimum(np.rint(np.sqrt(area * ratio)), rows).astype(np.int64)
        width = np.minimum(np.rint(np.sqrt(area / ratio)), columns).astype(np.int64)
        top, left = draws.choice(3, rows - height + 1), draws.choice(4, columns - width + 1)
        plan.rectangles.append(np.stack([top, left, top + height, left + width], axis=1).astype(np.int32))
        plan.fills.append(for_channels(self.fill, "fill", plan.channels))


@dataclass(frozen=True)
class Normalize:
    """Subtract a mean and divide by a deviation; the result is floating.

    Parameters
    ----------
    mean, std : float or sequence of float
        One number, or one for each channel, where the image's range is 1; `std` above 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range; when used, if there are other numbers of channels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> normalise = augment.Compose([augment.Normalize(mean=0.5, std=0.25)], seed=0)
    >>> normalise(np.array([[[[0, 255]]]], np.uint8), index=0)
    array([[[[-2.,  2.]]]], dtype=float32)
    """

    mean: Any
    std: Any

    stage: ClassVar[Stage] = Stage.NORMALIZE

    def __post_init__(self) -> None:
        mean, std = per_channel(self.mean, "mean"), per_channel(self.std, "std")
        for number in std:
            _checks.real(number, "std", above=0)
        set_checked(self, mean=mean, std=std)

    def add_to(self, plan: Plan, draws: Draws) -> None:
        mean, std = (for_channels(getattr(self, name), name, plan.channels) for name in ("mean", "std"))
        plan.scale, plan.offset = np.float32(1) / std, -mean / std


@dataclass(frozen=True)
class MixUp:
    """Blend each image with the one before it in the batch, and their labels alike.

    Parameters
    ----------
    alpha : float
        Above 0; the image's own share is drawn from the symmetric beta distribution of this parameter.
    p : float
        The probability for each image.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of its range.

    Notes
    -----
    Of H. Zhang, M. Cissé, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018. The first
    image is blended with the last. An image's share depends on the seed and its index alone; whom it is blended with
    depends on the batch.

    The share is drawn from two uniform numbers: with Student's t of 2 alpha degrees of freedom by R. W. Bailey, "Polar
    generation of random variates with the t-distribution", Mathematics of Computation 62 (1994), as
    (1 + t / sqrt(2 alpha + t^2)) / 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> mixed = augment.Compose([augment.MixUp(alpha=0.4)], seed=0)
    >>> images = np.stack([np.zeros((2, 2, 3), np.float32), np.ones((2, 2, 3), np.float32)])
    >>> batch, labels = mixed(images, index=0, labels=np.eye(2, dtype=np.float32))
    >>> bool(np.allclose(batch[:, 0, 0, 0], labels[:, 1]))
    True
    """

    alpha: float = 0.2
    p: float = 1.0

    stage: ClassVar[Stage] = Stage.MIX

    def __post_init__(self) -> None:
        set_checked(self, alpha=_checks.real(self.alpha, "alpha", above=0), p=probability(self.p, "p"))

    def weights(self, draws: Draws) -> NDArray[np.float32]:
        """(N,) shares that images keep of themselves."""
        u, cosine = 1 - draws.uniform(1), np.cos(2 * np.pi * draws.uniform(2))
        with np.errstate(over="ignore", divide="ignore"):  # t may be infinite, and the share 0 or 1
            t = np.sqrt(np.expm1(-np.log(u) / self.alpha)) * cosine  # by sqrt(2 alpha)
            share = 0.5 + 0.5 * np.sign(t) / np.sqrt(1 + 1 / t**2)
        weights: NDArray[np.float32] = np.where(draws.happens(self.p), share, 1).astype(np.float32)
        return weights

    def add_to(self, plan: Plan, draws: Draws) -> None:
        plan.weights = self.weights(draws)
