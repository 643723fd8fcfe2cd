"""Projective and affine transforms of the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import _checks

__all__ = ["AffineTransform", "ProjectiveTransform"]


class ProjectiveTransform:
    """A projective transform of the plane, a homography.

    Parameters
    ----------
    matrix : (3, 3) array_like, optional
        The homogeneous matrix; by default the identity.

    Attributes
    ----------
    params : (3, 3) array of float64
        The matrix. A point (x, y), its column first, goes to (u / w, v / w) with (u, v, w) = params @ (x, y, 1).

    Raises
    ------
    TypeError, ValueError
        If the matrix is none of 3 by 3 finite numbers.

    Notes
    -----
    ``a + b`` is the transform that does `a` first, then `b`; ``a(points)`` transforms points, ``a.inverse`` goes back.
    Names and values are those of `skimage.transform`, whose own transforms `warp` takes too.

    Examples
    --------
    >>> from fastimg import transform
    >>> tilt = transform.ProjectiveTransform([[1, 0, 0], [0, 1, 0], [0.5, 0, 1]])
    >>> tilt([[2.0, 4.0]])
    array([[1., 2.]])
    >>> tilt.inverse([[1.0, 2.0]])
    array([[2., 4.]])
    """

    def __init__(self, matrix: Any = None) -> None:
        self.params: NDArray[np.float64] = np.eye(3) if matrix is None else matrix_of(matrix, "matrix")

    @classmethod
    def from_estimate(cls, src: Any, dst: Any) -> Self:
        """The transform that sends points nearest to others.

        Parameters
        ----------
        src, dst : (N, 2) array_like
            Points, a column and a row for each, and where they go: four pairs or more, three for an affine transform.

        Returns
        -------
        transform
            Exact for the least number of pairs, otherwise that of least total squares, of coordinates normalised to
            mean 0 and variance 1.

        Raises
        ------
        TypeError, ValueError
            If points are no such arrays of finite numbers, too few, or do not determine the transform: more than two on
            a line where there are four.

        Notes
        -----
        The values are those of `skimage.transform`, whose ``from_estimate`` returns a false object where this raises.
        O(N).

        References
        ----------
        .. [1] R. I. Hartley, "In defense of the eight-point algorithm", IEEE Transactions on Pattern Analysis and
           Machine Intelligence 19 (1997), 580-593.

        Examples
        --------
        >>> from fastimg import transform
        >>> page = [(10, 12), (90, 8), (95, 120), (5, 110)]
        >>> upright = transform.ProjectiveTransform.from_estimate([(0, 0), (80, 0), (80, 100), (0, 100)], page)
        >>> upright([(80, 100)]).round(6)
        array([[ 95., 120.]])

        ``transform.warp(image, upright, output_shape=(101, 81))`` is the page without its perspective.
        """
        free = 6 if issubclass(cls, AffineTransform) else 8
        points, targets = _points(src, "src", free // 2), _points(dst, "dst", free // 2)
        if len(points) != len(targets):
            raise ValueError(f"dst must have as many points as src, {len(points)}, got {len(targets)}")
        normal, normal_target = _normalising(points), _normalising(targets)
        (x, y), (u, v) = (
            (points @ normal[:2, :2] + normal[:2, 2]).T,
            (targets @ normal_target[:2, :2] + normal_target[:2, 2]).T,
        )
        one, zero = np.ones_like(x), np.zeros_like(x)
        equations = np.concatenate(
            [
                np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, u], -1),
                np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, v], -1),
            ]
        )[:, [*range(free), 8]]
        _, sizes, directions = np.linalg.svd(equations, full_matrices=len(equations) <= free)
        solution = directions[-1]
        if sizes[free - 1] < 1e-9 * sizes[0] or abs(solution[-1]) < 1e-9:
            raise ValueError("src and dst must determine the transform: too many points lie on a line")
        matrix = np.eye(3)
        matrix.flat[:free] = -solution[:-1] / solution[-1]
        matrix = np.linalg.inv(normal_target) @ matrix @ normal
        matrix /= matrix[2, 2]
        if free == 6:
            matrix[2] = (0, 0, 1)  # exactly
        return cls(matrix)

    def __call__(self, coords: Any) -> NDArray[np.float64]:
        """Transform points.

        Parameters
        ----------
        coords : (N, 2) array_like
            A column and a row for each.

        Returns
        -------
        (N, 2) array of float64
        """
        points = np.asarray(coords, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"coords must have shape (N, 2), got {points.shape}")
        u = points @ self.params[:, :2].T + self.params[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            result: NDArray[np.float64] = u[:, :2] / u[:, 2:]
        return result

    @property
    def inverse(self) -> ProjectiveTransform:
        """The transform that goes back; ValueError if there is none."""
        try:
            matrix = np.linalg.inv(self.params)
        except np.linalg.LinAlgError:
            raise ValueError(f"the transform has no inverse: {self!r}") from None
        if isinstance(self, AffineTransform):
            matrix[2] = (0, 0, 1)  # exactly
        return type(self)(matrix)

    def __add__(self, other: ProjectiveTransform) -> ProjectiveTransform:
        if not isinstance(other, ProjectiveTransform):
            return NotImplemented
        affine = isinstance(self, AffineTransform) and isinstance(other, AffineTransform)
        return (AffineTransform if affine else ProjectiveTransform)(other.params @ self.params)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.params.tolist()})"


class AffineTransform(ProjectiveTransform):
    """An affine transform of the plane.

    Parameters
    ----------
    matrix : (3, 3) array_like, optional
        The homogeneous matrix, with (0, 0, 1) as its last row; excludes the others.
    scale : float or (sx, sy), optional
        Along columns and rows, done first.
    rotation : float, optional
        In radians, from the direction of columns to that of rows: clockwise as images are shown.
    shear : float or (shear_x, shear_y), optional
        Angles in radians.
    translation : (tx, ty), optional
        Along columns and rows, done last.

    Attributes
    ----------
    params : (3, 3) array of float64

    Raises
    ------
    TypeError, ValueError
        If the matrix is not affine, an argument is no finite number, or both ways are used.

    See Also
    --------
    ProjectiveTransform : What all transforms can do.

    Examples
    --------
    >>> from fastimg import transform
    >>> move = transform.AffineTransform(scale=2, translation=(10, 0))
    >>> move.params
    array([[ 2.,  0., 10.],
           [ 0.,  2.,  0.],
           [ 0.,  0.,  1.]])
    >>> (move + move)([[1, 1]])
    array([[34.,  4.]])
    """

    def __init__(
        self,
        matrix: Any = None,
        *,
        scale: float | Sequence[float] | None = None,
        rotation: float | None = None,
        shear: float | Sequence[float] | None = None,
        translation: Sequence[float] | None = None,
    ) -> None:
        if matrix is None:
            matrix = _affine_matrix(scale, rotation, shear, translation)
        elif any(part is not None for part in (scale, rotation, shear, translation)):
            raise ValueError("matrix excludes scale, rotation, shear and translation")
        super().__init__(matrix)
        if self.params[2].tolist() != [0, 0, 1]:
            raise ValueError(f"matrix must have (0, 0, 1) as its last row, got {tuple(self.params[2].tolist())}")

    @property
    def scale(self) -> tuple[float, float]:
        """Along columns and rows."""
        (a, b), (c, d) = self.params[:2, :2].tolist()
        return math.hypot(a, c), math.hypot(b, d) / math.hypot(math.tan(self.shear), 1)

    @property
    def rotation(self) -> float:
        """In radians."""
        return math.atan2(self.params[1, 0], self.params[0, 0])

    @property
    def shear(self) -> float:
        """In radians, along columns."""
        return math.atan2(-self.params[0, 1], self.params[1, 1]) - self.rotation

    @property
    def translation(self) -> NDArray[np.float64]:
        """Along columns and rows."""
        return self.params[:2, 2]


def _affine_matrix(
    scale: float | Sequence[float] | None,
    rotation: float | None,
    shear: float | Sequence[float] | None,
    translation: Sequence[float] | None,
) -> NDArray[np.float64]:
    sx, sy = (1.0, 1.0) if scale is None else pair_of((scale, scale) if np.ndim(scale) == 0 else scale, "scale")
    shear_x, shear_y = (0.0, 0.0) if shear is None else pair_of((shear, 0.0) if np.ndim(shear) == 0 else shear, "shear")
    tx, ty = (0.0, 0.0) if translation is None else pair_of(translation, "translation")
    angle = 0.0 if rotation is None else _checks.real(rotation, "rotation")
    cos, sin, tan_x, tan_y = math.cos(angle), math.sin(angle), math.tan(shear_x), math.tan(shear_y)
    return (
        np.array(
            [
                [sx * (cos + tan_y * sin), -sy * (tan_x * cos + sin), tx],
                [sx * (sin - tan_y * cos), -sy * (tan_x * sin - cos), ty],
                [0, 0, 1],
            ]
        )
        + 0.0
    )  # no negative zeros


def _points(value: Any, name: str, least: int) -> NDArray[np.float64]:
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be points, two numbers each: {error}") from None
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
        raise ValueError(f"{name} must have shape (N, 2), N at least {least}, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite")
    return points


def _normalising(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix that moves points to mean 0 and scales them to variance 1."""
    mean = points.mean(axis=0)
    deviation = math.sqrt(((points - mean) ** 2).mean()) or 1.0  # of one point again and again, which is refused later
    return np.array([[1, 0, -mean[0]], [0, 1, -mean[1]], [0, 0, deviation]]) / deviation


def matrix_of(value: Any, name: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a matrix of 3 by 3 numbers: {error}") from None
    if matrix.shape != (3, 3):
        raise ValueError(f"{name} must have shape (3, 3), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got {matrix.tolist()}")
    return matrix


def pair_of(value: Any, name: str) -> tuple[float, float]:
    if isinstance(value, str) or np.ndim(value) != 1 or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, got {value!r}")
    return _checks.real(value[0], name), _checks.real(value[1], name)
