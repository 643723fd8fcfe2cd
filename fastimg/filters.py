"""Linear filters, under scikit-image's names and with its semantics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays
from ._recursive_gaussian import RecursiveFilter, recursive_filter

__all__ = ["gaussian"]

_MODES = ("nearest", "reflect", "mirror", "constant", "wrap")
_MAX_RADIUS = 10_000  # time grows with the square of it however small the image


def gaussian(
    image: Any,
    sigma: float | Sequence[float] = 1.0,
    *,
    order: int | Sequence[int] = 0,
    mode: str | Sequence[str] = "nearest",
    cval: float = 0.0,
    preserve_range: bool = False,
    truncate: float = 4.0,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    method: str = "direct",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Blur an image with a Gaussian, or take its Gaussian derivatives.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Any number of dimensions up to 8, any strides, not empty.
    sigma : float or sequence of float
        Standard deviation in pixels, the same for all spatial axes or one for each. An axis with 0 is left alone.
    order : int or sequence of int
        Of the derivative, the same for all spatial axes or one for each: 0 blurs, 1 to 3 take the first to third
        derivative of the blurred image, per pixel.
    mode : {"nearest", "reflect", "mirror", "constant", "wrap"} or a sequence of them, one for each spatial axis
        What stands outside the image: its border sample (``a a | a b c | c c``), its mirror image with the border
        sample (``b a | a b c | c b``) or without it (``c b | a b c | b a``), `cval`, or its other side.
    cval : float
        The constant outside for mode "constant", in the units of the result.
    preserve_range : bool
        Concerns integer images only. False (scikit-image's default): the result is float32, scaled to [0, 1].
        True: the result has the image's dtype and range, rounded half to even; derivatives below 0 become 0 there,
        unless `out` is float32.
    truncate : float
        The Gaussian is cut at this many standard deviations: its radius is ``int(truncate * sigma + 0.5)``, at most
        10,000, its full width twice that plus 1.
    radius : int or sequence of int, optional
        The radius itself, the same for all spatial axes or one for each; `truncate` means nothing then.
    axes : int or sequence of int, optional
        The spatial axes, in the order of `sigma` and the others; by default all but `channel_axis`.
    channel_axis : int, optional
        The axis of the channels, which are blurred each for itself; None if there is none.
    method : {"direct", "recursive"}
        "direct" sums taps. "recursive" approximates the whole Gaussian, cut nowhere, at a cost that does not depend on
        `sigma`; see the notes for its error. `truncate` means nothing to it, and `radius` must be None.
    out : array of the same kind as `image`, optional
        Where the result goes, of the image's shape and the result's dtype; float32 is accepted for any integer image.
        Any strides; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of the same kind and shape as `image`
        Floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or dtype.
    ValueError
        If the image is empty, a sigma is negative or not finite, the number of sigmas, orders, modes or radii is not
        that of the spatial axes, an axis is given twice, `out` cannot be written or overlaps `image`, or another
        argument is out of its range.

    Notes
    -----
    Agrees with `skimage.filters.gaussian` and with `scipy.ndimage.gaussian_filter`, on which that rests. Computes in
    float32, float64 images in float64, and rounds once, at the end. Differs in dtype alone: integer images become
    float32 (there float64) or, with `preserve_range`, stay integer, and float16 stays float16. With mode "constant" all
    that lies outside is `cval`, so that derivatives there are 0; SciPy puts `cval` beside derivatives taken before.

    With method "direct": one pass over the image, O(n * sigma) operations. Scratch memory per thread is proportional to
    the radius and independent of the image. A third filtered axis costs as many reads of the image as it has taps, a
    fourth the product of both.

    A NaN spreads to the box that the taps reach around it and no further; so does an infinity, which gives infinities
    of its sign and NaN where it meets one of the other sign. Where the result is an integer, it saturates.

    With method "recursive" (R. Deriche, "Recursively implementing the Gaussian and its derivatives", INRIA RR-1893,
    1993; here three pairs of poles, fitted anew): one pass over the image for each filtered axis, O(n) operations,
    fewer than "direct" from a sigma of about 5 on. For an image of magnitudes up to 1, an axis adds an error of at most
    1e-5 (less than what cutting at ``truncate=4`` does), 5e-5 / sigma, 4e-4 / sigma**2, 1e-3 / sigma**3 for `order` 0
    to 3; computed in float32 and without derivatives, another 1e-8 * sigma. Constants stay what they are. Scratch
    memory per thread is proportional to the longest axis; results of another type than that computed in take memory
    for the image in that type too, if more than one axis is filtered. On a GPU scratch for an axis, one at a time, is
    48 bytes for each 32 samples of a line, 1.5 bytes a sample. A NaN or an infinity spreads over its lines to their
    ends.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import filters
    >>> image = np.zeros((3, 3))
    >>> image[1, 1] = 1
    >>> filters.gaussian(image, sigma=1).round(4)
    array([[0.0586, 0.0965, 0.0586],
           [0.0965, 0.1592, 0.0965],
           [0.0586, 0.0965, 0.0586]])
    >>> ramp = np.tile(np.arange(20.0), (3, 1))
    >>> filters.gaussian(ramp, sigma=1, order=(0, 1))[1, 9:11].round(2)
    array([1., 1.])
    >>> wide = filters.gaussian(image, sigma=300, mode="reflect", method="recursive")
    >>> np.allclose(wide, image.mean())
    True
    >>> rgb = np.full((4, 5, 3), 200, np.uint8)
    >>> filters.gaussian(rgb, sigma=2, channel_axis=-1, preserve_range=True).dtype
    dtype('uint8')
    """
    source = arrays.take(image, "image")
    shape, dtype = source.data.shape, source.data.dtype
    _checks.rank(len(shape), "image", range(1, 9))
    _checks.non_empty(shape, "image")
    channel = _checks.axis(channel_axis, "channel_axis", len(shape))
    spatial = _spatial_axes(axes, channel, len(shape))
    cut = _checks.real(truncate, "truncate", at_least=0)
    recursive = _checks.one_of(method, "method", ("direct", "recursive")) == "recursive"
    if recursive and radius is not None:
        raise ValueError(f"radius must be None with method 'recursive', whose filters are cut nowhere, got {radius!r}")
    of_axes = zip(
        _one_per_axis(sigma, "sigma", len(spatial), lambda s, name: _checks.real(s, name, at_least=0)),
        _one_per_axis(order, "order", len(spatial), lambda n, name: _checks.integer(n, name, at_least=0, at_most=3)),
        _one_per_axis(mode, "mode", len(spatial), lambda m, name: _checks.one_of(m, name, _MODES)),
        _one_per_axis(radius, "radius", len(spatial), _radius),
        strict=True,
    )
    filters: list[Any]
    if recursive:
        operation = source.backend.gaussian_recursive
        filters = [RecursiveFilter()] * len(shape)
        for axis, (s, n, border, _) in zip(spatial, of_axes, strict=True):
            if s > _MAX_RADIUS:
                raise ValueError(f"sigma must be at most {_MAX_RADIUS} with method 'recursive', got {s:g}")
            filters[axis] = recursive_filter(s, n, border, np.float64 if dtype == np.float64 else np.float32)
    else:
        operation = source.backend.gaussian
        filters = [AxisFilter()] * len(shape)
        for axis, (s, n, border, reach) in zip(spatial, of_axes, strict=True):
            filters[axis] = AxisFilter(_taps(s, n, _reach(s, cut) if reach is None else reach), n % 2 == 1, border)
    fill = _checks.real(cval, "cval")
    scale = 1.0
    dtypes = [dtype]
    if dtype.kind == "u":
        if not _checks.boolean(preserve_range, "preserve_range"):
            scale = 1.0 / np.iinfo(dtype).max
            dtypes = []
        dtypes.append(np.dtype(np.float32))
    n_threads = _checks.threads(threads)
    result = source.result(shape, dtypes, out)
    operation(source.data, result.data, filters, fill / scale, scale, n_threads)
    return result.give_back()


class AxisFilter(NamedTuple):
    """What is done along an axis: its taps at distance 0, 1, ..., radius, those before it negative if it is odd."""

    taps: tuple[float, ...] = ()
    odd: bool = False
    mode: str = "nearest"


def _spatial_axes(axes: Any, channel: int | None, ndim: int) -> list[int]:
    if axes is None:
        return [axis for axis in range(ndim) if axis != channel]
    numbers: list[int] = []
    for item in axes if isinstance(axes, list | tuple) else [axes]:
        axis = _checks.axis(item, "axes", ndim)
        if axis is None or axis == channel or axis in numbers:
            raise ValueError(f"axes must be different axes other than channel_axis, got {axes!r}")
        numbers.append(axis)
    return numbers


def _one_per_axis(value: Any, name: str, n: int, checked: Callable[[Any, str], Any]) -> list[Any]:
    """One checked value per spatial axis."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return [checked(value, name)] * n
    if np.ndim(value) != 1 or len(value) != n:
        raise ValueError(f"{name} must be one value or one per spatial axis ({n}), got {value!r}")
    return [checked(item, name) for item in value]


def _radius(value: Any, name: str) -> int | None:
    return None if value is None else _checks.integer(value, name, at_least=0, at_most=_MAX_RADIUS)


def _reach(sigma: float, truncate: float) -> int:
    """The radius of a Gaussian that is cut at so many standard deviations."""
    radius = truncate * sigma + 0.5
    if radius >= _MAX_RADIUS + 1:
        raise ValueError(f"truncate * sigma must be at most {_MAX_RADIUS}, got {truncate * sigma:g}")
    return int(radius)


# Hermite's polynomials: the derivatives of a Gaussian are its products with them.
_HERMITE = ((1.0,), (0.0, 1.0), (-1.0, 0.0, 1.0), (0.0, -3.0, 0.0, 1.0))


@functools.lru_cache(maxsize=256)
def _taps(sigma: float, order: int, radius: int) -> tuple[float, ...]:
    """Taps of a Gaussian or its derivative at distance 0, 1, ..., radius; those of the Gaussian sum to 1."""
    if sigma <= 1e-15 or (order == 0 and (radius == 0 or sigma < 0.02)):  # the second tap is 0: exp(-1250)
        return ()
    weights = normal_weights(sigma, radius)
    if order:
        distances = np.arange(radius + 1.0) / sigma
        weights *= np.polynomial.polynomial.polyval(distances, _HERMITE[order]) / sigma**order
    return tuple(weights.tolist())


def normal_weights(sigma: float, radius: int) -> NDArray[np.float64]:
    """A Gaussian at distance 0, 1, ..., radius; over both sides it sums to 1."""
    weights: NDArray[np.float64] = np.exp(-0.5 * (np.arange(radius + 1.0) / sigma) ** 2)
    weights /= 2 * weights.sum() - 1
    return weights
