"""Warping by any map, with scikit-image's values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checks, arrays
from .axes import arranged, output_size, two_axes
from .compiled import CompiledMap
from .projective import AffineTransform, ProjectiveTransform, matrix_of, pair_of

__all__ = ["rotate", "warp"]

MODES = ("constant", "edge", "symmetric", "reflect", "wrap")
KERNELS = ("nearest", "bilinear", "bicubic", "lanczos", "lanczos3")
_MOST_ROWS = 2**30  # that the kernels of warping count


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
    kernel: str | None = None,
    channel_axis: int | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Warp an image: every pixel of the result shows the image at the place that a map gives.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Two dimensions or more; the first two are rows and columns, but for `channel_axis`; any strides. On a GPU not
        float64.
    inverse_map : (3, 3) array_like, transform, callable, CompiledMap, (2, rows, columns) array, or list
        What goes from the result's coordinates to the image's. A matrix sends (column, row, 1) to a multiple of it; a
        transform holds one as ``params``, as those of this module and of scikit-image do. A callable takes (M, 2)
        points, columns first, and returns as many; a `CompiledMap` has a function of one pixel, which becomes part of
        the kernel. An array holds coordinates for each pixel, **rows first**, best as float32 (OpenCV's ``map2,
        map1``). A list holds matrices or transforms, one for each image of a batch, whose first axis counts images.
    map_args : mapping, optional
        Keyword arguments for a callable or a `CompiledMap`, of which the latter takes numbers.
    output_shape : (rows, columns), optional
        By default the image's, or that of the array of coordinates. The image's other axes may stand too.
    order : {1, 0, 3}, optional
        scikit-image's name for three of the kernels: 1 is ``kernel="bilinear"``, 0 is ``kernel="nearest"``, 3 is
        ``kernel="bicubic"``. Its orders 2, 4 and 5 are splines, which are not computed here.
    mode : {"constant", "edge", "symmetric", "reflect", "wrap"}, optional
        What stands beyond the border, under NumPy's names: `cval`, the border's pixel, the mirror image with it or
        without, or the other side.
    cval : float, optional
        In the units of the result; not a number if you like, where the result is of floats.
    clip : bool, optional
        Whether cubic and Lanczos interpolation, which overshoot, are clipped to the range of the image (and `cval`).
    preserve_range : bool, optional
        Only for integer images: if False, the result is float32 in [0, 1]; if True, it keeps dtype and range, and is
        rounded to the nearest and clipped.
    kernel : {"bilinear", "nearest", "bicubic", "lanczos"}, optional
        The interpolation, under the names of `resize`; excludes `order`. "lanczos" has three lobes
        and is "lanczos3".
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
        If an argument is of the wrong type, or the image of another dtype.
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
    scikit-image's is for matrices; for coordinates scikit-image takes a B-spline, so order 3 differs there. Lanczos'
    kernel has 6 by 6 taps, ``sinc(x) * sinc(x / 3)`` over their sum. Coordinates that are not finite give `cval` in
    every mode; beyond 2**30 they are taken for that.

    On a GPU matrices come from the CPU, with the launch; an array of coordinates is float32 and lies beside the image.
    A callable is called on the CPU, and its coordinates are rounded to float32 and copied, which waits for the device:
    make the array yourself, once. Places of matrices are within 2**-29 pixels of the CPU's (2**-44 of the coordinate
    where the matrix is projective), and nearest pixels are the same.

    Values are those of `skimage.transform.warp` otherwise, which rounds the matrix to float32 for float32 images and
    returns float64 for integers. Places are computed in float64, samples in float32, of float64 images in float64. A
    NaN spoils linear samples where it has weight, cubic ones up to two pixels from it, Lanczos' up to three.

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
    source = arrays.take(image, "image")
    shape = source.data.shape
    batch = isinstance(inverse_map, list | tuple) and all(np.ndim(_params(item)) == 2 for item in inverse_map)
    rows_and_columns = warped_axes(source.data, channel_axis, batch)
    matrices = _matrices(inverse_map, shape[0] if batch else None)
    coordinates = None
    if matrices is None and not callable(inverse_map):
        coordinates = _coordinates(inverse_map, source)
        if output_shape is None:
            output_shape = coordinates.shape[1:]
    size = [shape[a] for a in rows_and_columns]
    if output_shape is not None:
        size = output_size(shape, rows_and_columns, output_shape)
    compiled = inverse_map if isinstance(inverse_map, CompiledMap) else None
    if matrices is None and coordinates is None and compiled is None:
        coordinates = _mapped(inverse_map, map_args or {}, size, source)
    if coordinates is not None and coordinates.shape[1:] != tuple(size):
        raise ValueError(f"inverse_map must have shape {(2, *size)} for the output_shape, got {coordinates.shape}")
    interpolation = _interpolation(kernel, order)
    _checks.one_of(mode, "mode", MODES)
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

    overshoots = interpolation in ("bicubic", "lanczos3")
    low, high = _limits(source, fill, mode) if clip and overshoots else (-math.inf, math.inf)
    pair = arranged(source.data, result.data, *rows_and_columns, batch=0 if batch else None)
    options = (interpolation, mode, fill, low, high, count)
    if compiled is not None:
        function = compiled if source.on_gpu else compiled.address
        source.backend.warp_by_function(*pair, function, compiled.parameters(map_args or {}), *options)
    elif coordinates is not None:
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
    kernel: str | None = None,
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
    order, mode, cval, clip, preserve_range, kernel, channel_axis, out, threads
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
    source = arrays.take(image, "image")
    radians = math.radians(_checks.real(angle, "angle"))
    rows, columns = (source.data.shape[axis] for axis in warped_axes(source.data, channel_axis, False))
    middle = (columns / 2 - 0.5, rows / 2 - 0.5) if center is None else pair_of(center, "center")
    back = AffineTransform(translation=(-middle[0], -middle[1]))
    turn: ProjectiveTransform = back + AffineTransform(rotation=radians) + AffineTransform(translation=middle)
    output_shape = None
    if _checks.boolean(resize, "resize"):
        corners = turn.inverse([(0, 0), (0, rows - 1), (columns - 1, rows - 1), (columns - 1, 0)])
        begin, end = corners.min(axis=0), corners.max(axis=0)
        output_shape = [round(n) for n in (end - begin + 1)[::-1]]
        turn = AffineTransform(translation=begin.tolist()) + turn
    options: dict[str, Any] = {"kernel": kernel, "channel_axis": channel_axis, "out": out, "threads": threads}
    return warp(image, turn, None, output_shape, order, mode, cval, clip, preserve_range, **options)


def warp_adjoint(
    gradient: Any,
    inverse_map: Any,
    image_size: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """The gradient of images that `warp` made others of, from the gradient of those: (N, C, H, W) floats on a CPU.

    The map is a list of matrices or an array of coordinates, for all images alike.
    """
    source = arrays.take(gradient, "gradient")
    images, channels = source.data.shape[:2]
    options = (_interpolation(None, order), _checks.one_of(mode, "mode", MODES), _checks.threads(threads))
    result = source.result((images, channels, *image_size), [source.data.dtype], out)
    pair = [np.moveaxis(data, 1, -1) for data in (source.data, result.data)]
    if isinstance(inverse_map, list):
        source.backend.warp_adjoint(*pair, _matrices(inverse_map, images), *options)
    else:
        source.backend.remap_adjoint(*pair, _coordinates(inverse_map, source), *options)
    return result.give_back()


def _interpolation(kernel: str | None, order: int | None) -> str:
    if order is not None:
        if kernel is not None:
            raise ValueError(f"order and kernel exclude each other, got order={order!r} and kernel={kernel!r}")
        orders = {0: "nearest", 1: "bilinear", 3: "bicubic"}
        if _checks.integer(order, "order") not in orders:
            raise ValueError(f"order must be 0, 1 or 3 (other splines are not computed), got {order}")
        return orders[order]
    name: str = "bilinear" if kernel is None else _checks.one_of(kernel, "kernel", KERNELS)
    return "lanczos3" if name == "lanczos" else name


def warped_axes(data: NDArray[Any], channel_axis: int | None, batch: bool) -> tuple[int, int]:
    _checks.rank(data.ndim, "image", range(2, 8))
    channel = _checks.axis(channel_axis, "channel_axis", data.ndim)
    if not batch:
        rows, columns = two_axes(data, channel_axis, None)
    else:
        free = [axis for axis in range(1, data.ndim) if axis != channel]
        if len(free) < 2 or channel == 0:
            raise ValueError(
                f"image must be a batch, images, rows, columns, as there is one map for each; got {data.shape}"
            )
        rows, columns = two_axes(data, channel_axis, free[:2])
    for axis in (rows, columns):
        if data.shape[axis] > _MOST_ROWS:
            raise ValueError(f"image must have at most {_MOST_ROWS} rows and columns, got shape {data.shape}")
    return rows, columns


def _params(transform: Any) -> Any:
    return getattr(transform, "params", transform)


def _matrices(inverse_map: Any, images: int | None) -> NDArray[np.float64] | None:
    """The matrices of a map, one for each of so many images; None where it is no matrix."""
    if images is None:
        params = _params(inverse_map)
        return matrix_of(params, "inverse_map")[np.newaxis] if np.shape(params) == (3, 3) else None
    if len(inverse_map) != images:
        raise ValueError(f"inverse_map must have one matrix for each of {images} images, got {len(inverse_map)}")
    return np.stack([matrix_of(_params(item), "inverse_map") for item in inverse_map])


def _coordinates(inverse_map: Any, source: arrays.Source) -> Any:
    if source.on_gpu:
        table = arrays.take(inverse_map, "inverse_map", dtypes=(np.float32,))
        arrays.expect_together(source, table)
        return _checked(table.data)
    try:
        array = np.asarray(inverse_map)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"inverse_map must be a map or an array, got {type(inverse_map).__name__}: {error}") from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"inverse_map must be a map or an array of numbers, got {type(inverse_map).__name__}")
    dtype = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    return np.require(_checked(array), dtype, ["A"])


def _checked(table: Any) -> Any:
    if table.ndim != 3 or table.shape[0] != 2:
        expected = "(3, 3), or (2, rows, columns) for coordinates (several matrices make a list)"
        raise ValueError(f"inverse_map must have shape {expected}, got {table.shape}")
    if 0 in table.shape:
        raise ValueError(f"inverse_map must not be empty, got shape {table.shape}")
    return table


def _mapped(
    function: Callable[..., Any], arguments: Mapping[str, Any], size: Sequence[int], source: arrays.Source
) -> Any:
    """The coordinates that a function gives for all pixels, rows first, where the image is."""
    rows, columns = np.indices(size, np.float64)
    points = np.column_stack([columns.ravel(), rows.ravel()])
    found = np.asarray(function(points, **arguments), np.float64)
    if found.shape != points.shape:
        raise ValueError(f"inverse_map must return points of shape {points.shape}, got {found.shape}")
    table = found.T[::-1].reshape(2, *size)
    return source.backend.upload(table.astype(np.float32)) if source.on_gpu else table


def _limits(source: arrays.Source, fill: float, mode: str) -> tuple[float, float] | tuple[None, None]:
    """The range of the image, and of what stands beside it; on a GPU its kernels find it, and nothing waits."""
    if source.on_gpu:
        return None, None
    data = source.data
    low, high = float(data.min()), float(data.max())
    if math.isnan(low):  # a slower way around it
        low, high = float(np.fmin.reduce(data, axis=None)), float(np.fmax.reduce(data, axis=None))
    return (float(np.fmin(low, fill)), float(np.fmax(high, fill))) if mode == "constant" else (low, high)
