"""Affine and perspective maps by torchvision's parameters, for whole batches too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _checks, arrays
from .projective import AffineTransform, ProjectiveTransform
from .warping import warp, warped_axes

__all__ = ["affine", "perspective"]

Floats = NDArray[np.float64]


def affine(
    image: Any,
    angle: ArrayLike = 0.0,
    translate: ArrayLike = (0.0, 0.0),
    scale: ArrayLike = 1.0,
    shear: ArrayLike = 0.0,
    center: ArrayLike | None = None,
    order: int | None = None,
    mode: str = "constant",
    cval: float = 0.0,
    clip: bool = True,
    preserve_range: bool = False,
    *,
    kernel: str | None = None,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Rotate, scale, shear and shift an image: torchvision's ``affine``.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        As in `warp`; a batch, images first, if a parameter has a value for each image.
    angle : float or (N,) array_like, optional
        In degrees, **clockwise**, other than in `rotate`.
    translate : (tx, ty) or (N, 2) array_like, optional
        By how many pixels along columns and rows, done last.
    scale : float or (N,) array_like, optional
        Above 0; more than 1 enlarges.
    shear : float, (shear_x, shear_y) or (N, 2) array_like, optional
        In degrees, between -90 and 90, done first: x, then y. A number is `shear_x`.
    center : (column, row) or (N, 2) array_like, optional
        What stays where it is but for `translate`; by default the middle, (columns / 2 - 0.5, rows / 2 - 0.5).
    order, mode, cval, clip, preserve_range, kernel, channel_axis, out, threads
        As in `warp`.

    Returns
    -------
    array
        Of the image's kind and shape; floating images keep their dtype.

    Raises
    ------
    TypeError, ValueError
        If a parameter is none of finite numbers of such shapes; as `warp`.

    See Also
    --------
    AffineTransform : The same kind of map with scikit-image's parameters, for `warp`.
    rotate : With scikit-image's parameters.

    Notes
    -----
    A point p goes to ``center + translate + R @ Y @ X @ (p - center) * scale``, with the rotation R, ``Y = [[1, 0],
    [-tan(shear_y), 1]]`` and ``X = [[1, -tan(shear_x)], [0, 1]]``. Coordinates are those of pixel centres, in which
    torchvision's `center` is half a pixel less along both axes; its default interpolation is ``order=0``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> transform.affine(image, 90, order=0)
    array([[3., 1.],
           [4., 2.]])
    >>> transform.affine(np.stack([image, image]), translate=[(1, 0), (0, 1)])
    array([[[0., 1.],
            [0., 3.]],
    <BLANKLINE>
           [[0., 0.],
            [1., 2.]]])
    """
    if np.ndim(shear) == 0:
        shear = (shear, 0.0)  # type: ignore[assignment]
    data = arrays.take(image, "image").data
    batch, (angles, shifts, scales, shears, centers) = _per_image(
        data.shape,
        angle=(angle, ()),
        translate=(translate, (2,)),
        scale=(scale, ()),
        shear=(shear, (2,)),
        center=((0, 0) if center is None else center, (2,)),
    )
    if (scales <= 0).any():
        raise ValueError(f"scale must be above 0, got {scale!r}")
    if (abs(shears) >= 90).any():
        raise ValueError(f"shear must be between -90 and 90 degrees, got {shear!r}")
    if center is None:
        rows, columns = (data.shape[axis] for axis in warped_axes(data, channel_axis, batch))
        centers = centers + np.array([columns / 2 - 0.5, rows / 2 - 0.5])
    maps = [_affine_map(*values).inverse for values in zip(angles, shifts, scales, shears, centers, strict=True)]
    options: dict[str, Any] = {"kernel": kernel, "channel_axis": channel_axis, "out": out, "threads": threads}
    inverse_map = maps if batch else maps[0]
    return warp(image, inverse_map, None, None, order, mode, cval, clip, preserve_range, **options)


def perspective(
    image: Any,
    startpoints: ArrayLike,
    endpoints: ArrayLike,
    order: int | None = None,
    mode: str = "constant",
    cval: float = 0.0,
    clip: bool = True,
    preserve_range: bool = False,
    *,
    output_shape: Sequence[int] | None = None,
    kernel: str | None = None,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Move four points of an image to others, straight lines staying straight: torchvision's ``perspective``.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        As in `warp`; a batch, images first, if there are points for each image.
    startpoints, endpoints : (4, 2) or (N, 4, 2) array_like
        Points, a column and a row for each, and where they go.
    order, mode, cval, clip, preserve_range, output_shape, kernel, channel_axis, out, threads
        As in `warp`.

    Returns
    -------
    array
        Of the image's kind; floating images keep their dtype.

    Raises
    ------
    TypeError, ValueError
        If points are none of finite numbers of such shapes, or three of four lie on a line; as `warp`.

    See Also
    --------
    ProjectiveTransform.from_estimate : The map of more points, for `warp`.

    Notes
    -----
    Coordinates are those of pixel centres, in which torchvision's points are half a pixel less along both axes; its
    default interpolation for tensors is ``order=1``, as here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.arange(9.0).reshape(3, 3)
    >>> corners = np.array([(0, 0), (2, 0), (2, 2), (0, 2)])
    >>> transform.perspective(image, corners, corners[[1, 2, 3, 0]]).round(6) + 0.0
    array([[6., 3., 0.],
           [7., 4., 1.],
           [8., 5., 2.]])
    """
    shape = arrays.take(image, "image").data.shape
    batch, (starts, ends) = _per_image(shape, startpoints=(startpoints, (4, 2)), endpoints=(endpoints, (4, 2)))
    for name, points in (("startpoints", starts), ("endpoints", ends)):
        if any(map(_has_line, points)):
            raise ValueError(f"{name} must have no three of four points on a line")
    maps = [ProjectiveTransform.from_estimate(end, start) for start, end in zip(starts, ends, strict=True)]
    options: dict[str, Any] = {"kernel": kernel, "channel_axis": channel_axis, "out": out, "threads": threads}
    inverse_map = maps if batch else maps[0]
    return warp(image, inverse_map, None, output_shape, order, mode, cval, clip, preserve_range, **options)


def _per_image(image_shape: Sequence[int], **given: tuple[Any, tuple[int, ...]]) -> tuple[bool, list[Floats]]:
    """Whether a parameter has a value for each image of a batch, and for each image the values of all.

    `given` are the parameters, and of what shape a single value is.
    """
    _checks.rank(len(image_shape), "image", range(2, 8))
    values = {name: _numbers(value, name, shape) for name, (value, shape) in given.items()}
    several = [name for name, (_, shape) in given.items() if values[name].ndim > len(shape)]
    images = image_shape[0] if several else 1
    for name in several:
        if len(values[name]) != images:
            raise ValueError(f"{name} must have one value or one for each of {images} images, got {len(values[name])}")
    return bool(several), [np.broadcast_to(values[name], (images, *shape)) for name, (_, shape) in given.items()]


def _numbers(value: Any, name: str, shape: tuple[int, ...]) -> Floats:
    """Finite numbers of a shape, or of that shape for each image."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or an array of numbers, got {value!r}")
    if array.shape != shape and (array.ndim == 0 or array.shape[1:] != shape):
        expected = f"{shape} or (N, {', '.join(map(str, shape))})" if shape else "() or (N,)"
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return array.astype(np.float64)


def _affine_map(angle: float, translate: Floats, scale: float, shear: Floats, center: Floats) -> ProjectiveTransform:
    shear_x, shear_y = np.radians(shear).tolist()
    to_middle = AffineTransform(translation=(-center).tolist())
    sheared = AffineTransform(scale=scale, shear=shear_x) + AffineTransform(shear=(0.0, shear_y))
    turned = AffineTransform(rotation=math.radians(angle), translation=(center + translate).tolist())
    return to_middle + sheared + turned


def _has_line(points: Floats) -> bool:
    """Whether three of four points lie on a line."""
    least = 1e-9 * float(np.ptp(points, axis=0).max()) ** 2
    for triangle in itertools.combinations(points, 3):
        (a, b), (c, d) = triangle[1] - triangle[0], triangle[2] - triangle[0]
        if abs(a * d - b * c) <= least:
            return True
    return False
