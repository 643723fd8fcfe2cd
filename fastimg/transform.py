"""Geometric transforms: resizing with the kernels and values of MATLAB's ``imresize``, warping with scikit-image's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["AffineTransform", "ProjectiveTransform", "rescale", "resize", "rotate", "warp"]

KERNELS = ("nearest", "bilinear", "bicubic", "lanczos", "lanczos2", "lanczos3")
MODES = ("edge", "symmetric", "reflect")
WARP_MODES = ("constant", "edge", "symmetric", "reflect", "wrap")
_LEAST_SCALE = 1e-4  # that `rescale` takes: the kernel reaches 1 / scale samples however small the image


def resize(
    image: Any,
    output_shape: Sequence[int],
    order: int | None = None,
    *,
    kernel: str | None = None,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    preserve_range: bool = False,
    channel_axis: int | None = None,
    axes: Sequence[int] | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Resize two axes of an image to a given size.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        At least two dimensions, at most seven; any strides. Axes that are not resized (channels, a batch) may stand
        anywhere.
    output_shape : sequence of int
        The new size, (rows, columns); or the shape of the whole result, equal to the image's but for the two axes.
    order : {0, 1}, optional
        scikit-image's name for two of the kernels: 0 is ``kernel="nearest"``, 1 is ``kernel="bilinear"``. Its higher
        orders are splines, which are not computed here.
    kernel : {"bicubic", "bilinear", "nearest", "lanczos", "lanczos2", "lanczos3"}, optional
        Bicubic by default (a = -0.5, as MATLAB and Pillow). "lanczos" is "lanczos3".
    anti_aliasing : bool, optional
        Whether to stretch the kernel by the factor of shrinking, so that every input sample has its share. By default
        True, but False for the nearest neighbour. Without effect when enlarging.
    mode : {"edge", "symmetric", "reflect"}, optional
        What stands beyond the border, under NumPy's names: its sample repeated (MATLAB's older versions), the mirror
        image with the border sample (MATLAB's newer versions) or without.
    preserve_range : bool, optional
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it keeps dtype and range, and is
        rounded half away from zero and clipped after each of the two passes, as MATLAB does.
    channel_axis : int, optional
        An axis that is not resized. Without it, and without `axes`, the first two axes are resized.
    axes : pair of int, optional
        The two axes to resize, (rows, columns), where they are not the first two other than `channel_axis`:
        ``(-2, -1)`` for a batch in NCHW.
    out : array, optional
        Where the result goes; must not overlap `image`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the image's kind; floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype.
    ValueError
        If the image is empty, or an argument out of range; the message says which and what was expected.

    Notes
    -----
    Sample i of n stands for the interval from i/n to (i + 1)/n of the image, so corners align, not the centres of
    corner samples. Along an axis scaled by r, output sample i is the mean of the input samples p with weights
    ``k(f * ((i + 0.5) / r - 0.5 - p))`` over their sum, where f = min(r, 1) with anti-aliasing and 1 without. The axis
    that shrinks most comes first, rows if equal.

    The defaults are MATLAB's, not those of `skimage.transform.resize` (linear, ``mode="reflect"``, a Gaussian filter
    before shrinking). uint8, in and out, equals MATLAB's ``imresize`` bit for bit. With ``kernel="bilinear",
    anti_aliasing=False`` values are those of `skimage.transform.resize` with ``order=1, anti_aliasing=False``;
    scikit-image's own anti-aliasing gives other values. With ``kernel="nearest", anti_aliasing=True`` the result is the
    mean over the area.

    Arithmetic is in float32, for float64 images and for uint16 with `preserve_range` in float64 (on a GPU in 64-bit
    integers, which rounds the same but for one in thousands of exact halves when shrinking). Bicubic enlarging
    takes 8 multiply-adds per output sample; shrinking takes as many per input sample. Scratch is a few hundred
    kilobytes per thread. Every output sample is a sum over equally many input samples, some of them with weight 0: a
    NaN or infinity makes NaN of all within the kernel's radius, and of some up to twice as far.

    References
    ----------
    .. [1] R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
       Speech, and Signal Processing 29 (1981), 1153-1160.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.arange(16, dtype=np.float32).reshape(4, 4)
    >>> transform.resize(image, (2, 2), kernel="bilinear")
    array([[ 3.125,  4.875],
           [10.125, 11.875]], dtype=float32)
    >>> photo = np.zeros((480, 640, 3), np.uint8)
    >>> transform.resize(photo, (240, 320), preserve_range=True).shape
    (240, 320, 3)
    """
    source = arrays.take(image, "image")
    rows_and_columns = _axes(source.data, channel_axis, axes)
    size = _output_size(source.data.shape, rows_and_columns, output_shape)
    scales = [n / source.data.shape[axis] for n, axis in zip(size, rows_and_columns, strict=True)]
    name = _kernel(kernel, order)
    return _resample(source, rows_and_columns, size, scales, name, anti_aliasing, mode, preserve_range, out, threads)


def rescale(
    image: Any,
    scale: float | Sequence[float],
    order: int | None = None,
    *,
    kernel: str | None = None,
    anti_aliasing: bool | None = None,
    mode: str = "edge",
    preserve_range: bool = False,
    channel_axis: int | None = None,
    axes: Sequence[int] | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Scale two axes of an image by a factor.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions, or more with `channel_axis` or `axes` saying which are scaled; any strides.
    scale : float or pair of float
        Output samples per input sample, from 0.0001 to 10,000; a pair is (rows, columns). 0.5 halves the image.
    order, kernel, anti_aliasing, mode, preserve_range, channel_axis, axes, out, threads
        As in `resize`.

    Returns
    -------
    array
        Of the image's kind, with ceil(n * scale) samples along an axis of n.

    Raises
    ------
    TypeError, ValueError
        As `resize`; ValueError also if a scale is out of its range, or the image has more than two dimensions
        and neither `channel_axis` nor `axes` is given.

    See Also
    --------
    resize : The same to a given size, with the notes on values and cost.

    Notes
    -----
    As MATLAB's ``imresize(image, scale)``: the size is rounded up, and samples are taken at exactly the given scale.
    `skimage.transform.rescale` rounds the size to the nearest integer and adapts the scale to it, which
    ``resize(image, np.round(...))`` does here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> transform.rescale(np.ones((5, 8, 3), np.float32), 0.5, channel_axis=-1).shape
    (3, 4, 3)
    """
    source = arrays.take(image, "image")
    if source.data.ndim > 2 and channel_axis is None and axes is None:
        raise ValueError(
            f"image has {source.data.ndim} dimensions: channel_axis or axes must say which two of them are scaled"
        )
    rows_and_columns = _axes(source.data, channel_axis, axes)
    pair = (scale, scale) if np.ndim(scale) == 0 else tuple(scale)  # type: ignore[arg-type]
    if len(pair) != 2:
        raise ValueError(f"scale must be a number or two (rows, columns), got {len(pair)}")
    scales = [_checks.real(value, "scale", at_least=_LEAST_SCALE, at_most=1 / _LEAST_SCALE) for value in pair]
    size = [_scaled(source.data.shape[axis], s) for axis, s in zip(rows_and_columns, scales, strict=True)]
    name = _kernel(kernel, order)
    return _resample(source, rows_and_columns, size, scales, name, anti_aliasing, mode, preserve_range, out, threads)


def _kernel(kernel: str | None, order: int | None) -> str:
    if order is not None:
        if kernel is not None:
            raise ValueError(f"order and kernel exclude each other, got order={order!r} and kernel={kernel!r}")
        orders = {0: "nearest", 1: "bilinear"}
        if _checks.integer(order, "order") not in orders:
            raise ValueError(f"order must be 0 or 1 (for cubic interpolation: kernel='bicubic'), got {order}")
        return orders[order]
    name: str = "bicubic" if kernel is None else _checks.one_of(kernel, "kernel", KERNELS)
    return "lanczos3" if name == "lanczos" else name


def _axes(data: NDArray[Any], channel_axis: int | None, axes: Sequence[int] | None) -> tuple[int, int]:
    """The two axes to resize, rows and columns."""
    _checks.rank(data.ndim, "image", range(2, 8))
    _checks.non_empty(data.shape, "image")
    channel = _checks.axis(channel_axis, "channel_axis", data.ndim)
    if axes is None:
        free = [axis for axis in range(data.ndim) if axis != channel]
        if len(free) < 2:
            raise ValueError(f"image must have 2 axes other than channel_axis, got shape {data.shape}")
        return free[0], free[1]
    if np.ndim(axes) != 1 or len(axes) != 2:
        raise ValueError(f"axes must be two axes (rows, columns), got {axes!r}")
    rows, columns = (_checks.axis(_checks.integer(axis, "axes"), "axes", data.ndim) for axis in axes)
    assert rows is not None
    assert columns is not None
    if rows == columns or channel in (rows, columns):
        raise ValueError(f"axes must be two different axes other than channel_axis, got {tuple(axes)}")
    return rows, columns


def _output_size(shape: tuple[int, ...], axes: tuple[int, int], output_shape: Sequence[int]) -> list[int]:
    if np.ndim(output_shape) != 1 or len(output_shape) not in (2, len(shape)):
        raise ValueError(f"output_shape must be (rows, columns) or have {len(shape)} entries, got {output_shape!r}")
    sizes = [_checks.integer(n, "output_shape", at_least=1) for n in output_shape]
    if len(sizes) == 2:
        return sizes
    for axis, n in enumerate(shape):
        if axis not in axes and sizes[axis] != n:
            raise ValueError(f"output_shape must be {n} along axis {axis}, which is not resized, got {sizes[axis]}")
    return [sizes[axis] for axis in axes]


def _scaled(n: int, scale: float) -> int:
    """ceil(n * scale), but the nearest integer where only rounding errors keep the product from it."""
    product = n * scale
    nearest = round(product)
    return max(nearest, 1) if abs(product - nearest) < 1e-9 * max(product, 1) else math.ceil(product)


def _resample(
    source: arrays.Source,
    axes: tuple[int, int],
    size: Sequence[int],
    scales: Sequence[float],
    kernel: str,
    anti_aliasing: bool | None,
    mode: str,
    preserve_range: bool,
    out: Any,
    threads: int | None,
) -> Any:
    if anti_aliasing is None:
        anti_aliasing = kernel != "nearest"
    anti_aliasing = _checks.boolean(anti_aliasing, "anti_aliasing")
    _checks.one_of(mode, "mode", MODES)
    keep = _checks.boolean(preserve_range, "preserve_range") or source.data.dtype.kind == "f"
    shape = list(source.data.shape)
    shape[axes[0]], shape[axes[1]] = size
    count = _checks.threads(threads)
    result = source.result(shape, [source.data.dtype if keep else np.float32], out)

    columns_first = scales[1] < scales[0]
    rows, columns = axes
    if abs(source.data.strides[rows]) < abs(source.data.strides[columns]):  # lines of memory become lines of the kernel
        rows, columns, columns_first, scales = columns, rows, not columns_first, (scales[1], scales[0])
    image, target = _arranged(source.data, result.data, rows, columns)
    source.backend.resize(image, target, *scales, kernel, anti_aliasing, mode, columns_first, count)
    return result.give_back()


MOST_CHANNELS = 1024  # that the kernel takes together: its scratch grows with them


def _arranged(image: NDArray[Any], result: NDArray[Any], rows: int, columns: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both arrays as the kernel takes them: a batch, rows, columns, and the channels that lie inside the columns."""
    strides = [abs(stride) for stride in image.strides]
    others = [axis for axis in range(image.ndim) if axis not in (rows, columns)]
    inside = [a for a in others if 0 < strides[a] < strides[columns] and image.shape[a] <= MOST_CHANNELS]
    if not inside:
        order = [*others, rows, columns]
        return image.transpose(order)[..., np.newaxis], result.transpose(order)[..., np.newaxis]
    channels = min(inside, key=lambda axis: strides[axis])
    order = [*(axis for axis in others if axis != channels), rows, columns, channels]
    return image.transpose(order), result.transpose(order)


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
        self.params: NDArray[np.float64] = np.eye(3) if matrix is None else _matrix(matrix, "matrix")

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


def warp(
    image: Any,
    inverse_map: Any,
    map_args: Mapping[str, Any] | None = None,
    output_shape: Sequence[int] | None = None,
    order: int | None = None,
    mode: str = "constant",
    cval: float = 0.0,
    clip: bool = True,
    preserve_range: bool = False,
    *,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Warp an image: every pixel of the result shows the image at the place that a map gives.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        On the CPU. Two dimensions or more; the first two are rows and columns, but for `channel_axis`; any strides.
    inverse_map : (3, 3) array_like, transform, callable, (2, rows, columns) array, or list of matrices or transforms
        What goes from the result's coordinates to the image's. A matrix sends (column, row, 1) to a multiple of it; a
        transform holds one as ``params``, as those of this module and of scikit-image do. A callable takes (M, 2)
        points, columns first, and returns as many. An array holds coordinates for each pixel, **rows first**, best as
        float32 (OpenCV's ``map2, map1``). A list holds a map of the first two kinds for each image of a batch, whose
        first axis counts images.
    map_args : mapping, optional
        Keyword arguments for a callable.
    output_shape : (rows, columns), optional
        By default the image's, or that of the array of coordinates. The image's other axes may stand too.
    order : {1, 0, 3}, optional
        The interpolation: linear (default), the nearest pixel, or cubic.
    mode : {"constant", "edge", "symmetric", "reflect", "wrap"}, optional
        What stands beyond the border, under NumPy's names: `cval`, the border's pixel, the mirror image with it or
        without, or the other side.
    cval : float, optional
        In the units of the result; not a number if you like, where the result is of floats.
    clip : bool, optional
        Whether cubic interpolation, which overshoots, is clipped to the range of the image (and `cval`).
    preserve_range : bool, optional
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it keeps dtype and range, and is
        rounded to the nearest and clipped.
    channel_axis : int, optional
        An axis that is not warped, where it is not the last of three.
    out : array, optional
        Where the result goes; must not overlap `image` or the coordinates.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array
        Of the image's kind; floating images keep their dtype.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image of another dtype or on a GPU.
    ValueError
        If the image is empty, or an argument out of range; the message says which and what was expected.

    See Also
    --------
    rotate : Around a point.
    resize : With antialiasing, which warping has not: an image that shrinks much should be blurred first.

    Notes
    -----
    Coordinates are those of pixel centres: the first pixel is at 0, the last of n at n - 1. Between them and the pixels
    beyond the border the image is interpolated, so that half a pixel beyond it fades into `cval`. The nearest pixel to
    a half is the next. Cubic interpolation is by Catmull and Rom's spline (Keys' kernel, a = -0.5 [1]_), as
    scikit-image's is for matrices; for coordinates scikit-image takes a B-spline, so order 3 differs there. Coordinates
    that are not finite give `cval` in every mode; beyond 2**30 they are taken for that.

    Values are those of `skimage.transform.warp` otherwise, which rounds the matrix to float32 for float32 images and
    returns float64 for integers. Places are computed in float64, samples in float32, of float64 images in float64. A
    NaN spoils linear samples where it has weight, cubic ones up to two pixels from it.

    References
    ----------
    .. [1] R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
       Speech, and Signal Processing 29 (1981), 1153-1160.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> image = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> transform.warp(image, transform.AffineTransform(translation=(0.5, 0)), mode="edge")
    array([[0.5, 1.5, 2. ],
           [3.5, 4.5, 5. ]], dtype=float32)
    >>> rows, columns = np.mgrid[:2, :3].astype(np.float32)
    >>> transform.warp(image, np.stack([rows, 2 - columns]))
    array([[2., 1., 0.],
           [5., 4., 3.]], dtype=float32)
    """
    source = _on_cpu(arrays.take(image, "image"), "warp")
    shape = source.data.shape
    batch = isinstance(inverse_map, list | tuple) and all(np.ndim(_params(item)) == 2 for item in inverse_map)
    rows_and_columns = _warped_axes(source.data, channel_axis, batch)
    matrices = _matrices(inverse_map, shape[0] if batch else None)
    coordinates = None
    if matrices is None and not callable(inverse_map):
        coordinates = _coordinates(inverse_map)
        if output_shape is None:
            output_shape = coordinates.shape[1:]
    size = [shape[a] for a in rows_and_columns]
    if output_shape is not None:
        size = _output_size(shape, rows_and_columns, output_shape)
    if matrices is None and coordinates is None:
        coordinates = _mapped(inverse_map, map_args or {}, size)
    if coordinates is not None and coordinates.shape[1:] != tuple(size):
        raise ValueError(f"inverse_map must have shape {(2, *size)} for the output_shape, got {coordinates.shape}")
    kernels = {0: "nearest", 1: "bilinear", 3: "bicubic"}
    kernel = _checks.one_of(1 if order is None else _checks.integer(order, "order"), "order", tuple(kernels))
    _checks.one_of(mode, "mode", WARP_MODES)
    clip = _checks.boolean(clip, "clip")
    dtype, top = source.data.dtype, 1
    keep = _checks.boolean(preserve_range, "preserve_range") or dtype.kind == "f"
    if not keep:
        top = np.iinfo(dtype).max
    fill = cval if isinstance(cval, float | np.floating) and math.isnan(cval) else _checks.real(cval, "cval")
    if math.isnan(fill) and keep and dtype.kind == "u":
        raise ValueError(f"cval must be a number where the result is of {dtype.name}, got {cval}")
    fill *= top
    count = _checks.threads(threads)
    whole = list(shape)
    whole[rows_and_columns[0]], whole[rows_and_columns[1]] = size
    result = source.result(whole, [dtype if keep else np.float32], out)
    if coordinates is not None and arrays.overlap(result.data, coordinates):
        raise ValueError("out must not overlap inverse_map")

    low, high = _range(source.data, fill, mode) if clip and order == 3 else (-math.inf, math.inf)
    pair = _arranged(source.data, result.data, *rows_and_columns)
    options = (kernels[kernel], mode, fill, low, high, count)
    if coordinates is not None:
        source.backend.remap(*pair, coordinates, *options)
    else:
        source.backend.warp(*pair, matrices, *options)
    return result.give_back()


def rotate(
    image: Any,
    angle: float,
    resize: bool = False,
    center: Sequence[float] | None = None,
    order: int | None = None,
    mode: str = "constant",
    cval: float = 0.0,
    clip: bool = True,
    preserve_range: bool = False,
    *,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Rotate an image around a point.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        As in `warp`.
    angle : float
        In degrees, counter-clockwise.
    resize : bool, optional
        Whether the result is as large as the rotated image; otherwise as the image.
    center : (column, row), optional
        What stays where it is; by default the middle, (columns / 2 - 0.5, rows / 2 - 0.5).
    order, mode, cval, clip, preserve_range, channel_axis, out, threads
        As in `warp`.

    Returns
    -------
    array
        Of the image's kind; floating images keep their dtype.

    Raises
    ------
    TypeError, ValueError
        As `warp`.

    See Also
    --------
    warp : Any transform, with the notes on values.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import transform
    >>> transform.rotate(np.array([[1.0, 2.0], [3.0, 4.0]]), 90, order=0)
    array([[2., 4.],
           [1., 3.]])
    >>> transform.rotate(np.zeros((30, 40)), 45, resize=True).shape
    (49, 49)
    """
    source = _on_cpu(arrays.take(image, "image"), "rotate")
    radians = math.radians(_checks.real(angle, "angle"))
    rows, columns = (source.data.shape[axis] for axis in _warped_axes(source.data, channel_axis, False))
    middle = (columns / 2 - 0.5, rows / 2 - 0.5) if center is None else _pair(center, "center")
    back = AffineTransform(translation=(-middle[0], -middle[1]))
    turn: ProjectiveTransform = back + AffineTransform(rotation=radians) + AffineTransform(translation=middle)
    output_shape = None
    if _checks.boolean(resize, "resize"):
        corners = turn.inverse([(0, 0), (0, rows - 1), (columns - 1, rows - 1), (columns - 1, 0)])
        begin, end = corners.min(axis=0), corners.max(axis=0)
        output_shape = [round(n) for n in (end - begin + 1)[::-1]]
        turn = AffineTransform(translation=begin.tolist()) + turn
    options: dict[str, Any] = {"channel_axis": channel_axis, "out": out, "threads": threads}
    return warp(image, turn, None, output_shape, order, mode, cval, clip, preserve_range, **options)


_MOST_ROWS = 2**30  # that the kernels of warping count


def _on_cpu(source: arrays.Source, function: str) -> arrays.Source:
    if source.on_gpu:
        raise TypeError(
            f"{source.name} must be on the CPU: {function} has no kernel for a GPU yet; copy it "
            f"(tensor.cpu(), cupy.asnumpy)"
        )
    return source


def _warped_axes(data: NDArray[Any], channel_axis: int | None, batch: bool) -> tuple[int, int]:
    _checks.rank(data.ndim, "image", range(2, 8))
    channel = _checks.axis(channel_axis, "channel_axis", data.ndim)
    if not batch:
        rows, columns = _axes(data, channel_axis, None)
    else:
        free = [axis for axis in range(1, data.ndim) if axis != channel]
        if len(free) < 2 or channel == 0:
            raise ValueError(
                f"image must be a batch, as inverse_map is a list: images, rows, columns; got {data.shape}"
            )
        rows, columns = _axes(data, channel_axis, free[:2])
    for axis in (rows, columns):
        if data.shape[axis] > _MOST_ROWS:
            raise ValueError(f"image must have at most {_MOST_ROWS} rows and columns, got shape {data.shape}")
    return rows, columns


def _matrix(value: Any, name: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a matrix of 3 by 3 numbers: {error}") from None
    if matrix.shape != (3, 3):
        raise ValueError(f"{name} must have shape (3, 3), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got {matrix.tolist()}")
    return matrix


def _params(transform: Any) -> Any:
    return getattr(transform, "params", transform)


def _matrices(inverse_map: Any, images: int | None) -> NDArray[np.float64] | None:
    """The matrices of a map, one for each of so many images; None where it is no matrix."""
    if images is None:
        params = _params(inverse_map)
        return _matrix(params, "inverse_map")[np.newaxis] if np.shape(params) == (3, 3) else None
    if len(inverse_map) != images:
        raise ValueError(f"inverse_map must have one matrix for each of {images} images, got {len(inverse_map)}")
    return np.stack([_matrix(_params(item), "inverse_map") for item in inverse_map])


def _coordinates(inverse_map: Any) -> NDArray[Any]:
    try:
        array = np.asarray(inverse_map)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"inverse_map must be a map or an array, got {type(inverse_map).__name__}: {error}") from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"inverse_map must be a map or an array of numbers, got {type(inverse_map).__name__}")
    if array.ndim != 3 or array.shape[0] != 2:
        expected = "(3, 3), or (2, rows, columns) for coordinates (several matrices make a list)"
        raise ValueError(f"inverse_map must have shape {expected}, got {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"inverse_map must not be empty, got shape {array.shape}")
    dtype = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    return np.require(array, dtype, ["A"])


def _mapped(function: Callable[..., Any], arguments: Mapping[str, Any], size: Sequence[int]) -> NDArray[Any]:
    """The coordinates that a function gives for all pixels, rows first."""
    rows, columns = np.indices(size, np.float64)
    points = np.column_stack([columns.ravel(), rows.ravel()])
    found = np.asarray(function(points, **arguments), np.float64)
    if found.shape != points.shape:
        raise ValueError(f"inverse_map must return points of shape {points.shape}, got {found.shape}")
    return found.T[::-1].reshape(2, *size)


def _range(data: NDArray[Any], fill: float, mode: str) -> tuple[float, float]:
    """The range of the image, and of what stands beside it."""
    low, high = float(np.fmin.reduce(data, axis=None)), float(np.fmax.reduce(data, axis=None))
    return (float(np.fmin(low, fill)), float(np.fmax(high, fill))) if mode == "constant" else (low, high)


def _affine_matrix(
    scale: float | Sequence[float] | None,
    rotation: float | None,
    shear: float | Sequence[float] | None,
    translation: Sequence[float] | None,
) -> NDArray[np.float64]:
    sx, sy = (1.0, 1.0) if scale is None else _pair((scale, scale) if np.ndim(scale) == 0 else scale, "scale")
    shear_x, shear_y = (0.0, 0.0) if shear is None else _pair((shear, 0.0) if np.ndim(shear) == 0 else shear, "shear")
    tx, ty = (0.0, 0.0) if translation is None else _pair(translation, "translation")
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


def _pair(value: Any, name: str) -> tuple[float, float]:
    if isinstance(value, str) or np.ndim(value) != 1 or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, got {value!r}")
    return _checks.real(value[0], name), _checks.real(value[1], name)
