"""Maps of coordinates in Python, compiled by Numba."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from .._compiled import CompiledFunction

__all__ = ["CompiledMap"]


class CompiledMap(CompiledFunction):
    """A map for `warp` from a Python function of one pixel, compiled by Numba into the kernel.

    Parameters
    ----------
    function : callable
        Takes row and column of the result and parameters, all float64, and returns row and column of the image: a
        Python function that Numba compiles in nopython mode. Several threads at a time call it for all pixels, in no
        order that one could rely on. A division by zero gives an infinity or NaN, as in NumPy. It must not raise.

    Raises
    ------
    TypeError
        If it is no function of two positional arguments or more. When used first, if Numba cannot compile it: the
        message tells the line.
    ImportError
        When used first, if Numba is not installed (``pip install 'fastimg[numba]'``; for images on a GPU
        ``'fastimg[numba-cuda12]'`` or ``'fastimg[numba-cuda13]'``).

    See Also
    --------
    warp : Takes it as `inverse_map`, the parameters by name as `map_args`.

    Notes
    -----
    It is compiled once, at the first use (about a second), and kept with the object. The kernel calls it for lines of
    up to 128 pixels, so that no array of coordinates is made: the result is that of `warp` by the array that the
    function would give. What Numba compiles follows IEEE arithmetic; products are not fused into sums.

    On a GPU it is compiled anew for each kind of image (half a second), with up to 28 parameters, and linked into the
    kernel. There products may be fused into sums, and sines and the like are CUDA's: places differ in their last bits,
    and a nearest pixel may differ where a place is that near to a half. Functions that it calls, of NumPy say, must be
    known to Numba there.

    It also serves as a decorator. scikit-image's maps, which take (M, 2) points, columns first, need no wrapping:
    `warp` calls them once.

    Examples
    --------
    >>> from fastimg import transform
    >>> def magnify(row, column, factor=1.0):
    ...     return row / factor, column / factor
    >>> lens = transform.CompiledMap(magnify)
    >>> lens(2, 3, factor=2)
    (1.0, 1.5)

    ``transform.warp(image, lens, {"factor": 2})`` shows the image twice as large.
    """

    user = "CompiledMap"
    arguments = "map_args"
    takes = ("row", "column")
    gives = ("a row", "a column")
    symbol = "fastimg_place"
    pixel_signature = "float64(CPointer(float64), float64, float64, CPointer(float64))"
    pixel_source = """
def pixel(column_out, row, column, parameters):
    row, column_out[0] = function(row, column{parameters})
    return row
"""

    def __init__(self, function: Callable[..., tuple[float, float]]) -> None:
        super().__init__(function, "function")
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[float, float]:
        """The function itself, in Python."""
        result: tuple[float, float] = self._function(*args, **kwargs)
        return result

    def line(self, numba: Any, function: Any) -> tuple[Any, Callable[..., None]]:
        """`CoordinateFunction` of the kernel."""
        to_fixed_tuple = importlib.import_module("numba.np.unsafe.ndarray").to_fixed_tuple
        count = self.count

        def line(y: Any, x: Any, n: Any, out: Any, parameters: Any) -> None:
            coordinates = numba.carray(out, (2, n))
            given = to_fixed_tuple(numba.carray(parameters, (count,)), count)
            for i in range(n):
                coordinates[0, i], coordinates[1, i] = function(float(y), float(x + i), *given)

        types = numba.core.types
        numbers = types.CPointer(types.float64)
        return types.void(types.int64, types.int64, types.int64, numbers, numbers), line
