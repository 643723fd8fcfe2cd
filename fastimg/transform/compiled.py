"""Maps of coordinates in Python, compiled by Numba."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checks

__all__ = ["CompiledMap"]


class CompiledMap:
    """A map for `warp` from a Python function of one pixel, compiled by Numba into the kernel.

    Parameters
    ----------
    function : callable
        Takes row and column of the result and parameters, all float64, and returns row and column of the image: a
        Python function that Numba compiles in nopython mode. Several threads at a time call it for all pixels, in no
        order that one could rely on. A division by zero gives an infinity or NaN, as in NumPy.

    Raises
    ------
    TypeError
        If it is no function of two positional arguments or more. When used first, if Numba cannot compile it: the
        message tells the line.
    ImportError
        When used first, if Numba is not installed (``pip install 'fastimg[numba]'``).

    See Also
    --------
    warp : Takes it as `inverse_map`, the parameters by name as `map_args`.

    Notes
    -----
    It is compiled once, at the first use (about a second), and kept with the object. The kernel calls it for lines of
    up to 128 pixels, so that no array of coordinates is made: the result is that of `warp` by the array that the
    function would give. What Numba compiles follows IEEE arithmetic; products are not fused into sums.

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

    __name__: str

    def __init__(self, function: Callable[..., tuple[float, float]]) -> None:
        if not inspect.isfunction(function):
            raise TypeError(f"function must be a Python function, got {type(function).__name__}")
        self._signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in self._signature.parameters.values()}
        if len(self._signature.parameters) < 2 or kinds != {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
            raise TypeError(f"function must take row, column and named parameters, got {self._signature}")
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[float, float]:
        """The function itself, in Python."""
        result: tuple[float, float] = self._function(*args, **kwargs)
        return result

    def parameters(self, arguments: Mapping[str, Any]) -> NDArray[np.float64]:
        """What the function is to be given beside row and column, in its order."""
        try:
            bound = self._signature.bind(0.0, 0.0, **arguments)
        except TypeError as error:
            raise TypeError(f"map_args must fit {self.__name__}{self._signature}: {error}") from None
        bound.apply_defaults()
        values = list(bound.arguments.items())[2:]
        return np.array([_checks.real(value, f"map_args[{name!r}]") for name, value in values], np.float64)

    @functools.cached_property
    def address(self) -> int:
        """Where the compiled code is that gives the coordinates of a line: `CoordinateFunction` of the kernel."""
        return int(self._compiled.address)

    @functools.cached_property
    def _compiled(self) -> Any:
        try:
            numba: Any = importlib.import_module("numba")
        except ImportError as error:
            raise ImportError(f"CompiledMap needs Numba: pip install 'fastimg[numba]' ({error})") from error
        to_fixed_tuple = importlib.import_module("numba.np.unsafe.ndarray").to_fixed_tuple
        types = numba.core.types
        count = len(self._signature.parameters) - 2
        function = numba.njit(self._function, error_model="numpy")
        self._check(numba, function, (types.float64,) * (2 + count))

        def line(y: Any, x: Any, n: Any, out: Any, parameters: Any) -> None:
            coordinates = numba.carray(out, (2, n))
            given = to_fixed_tuple(numba.carray(parameters, (count,)), count)
            for i in range(n):
                coordinates[0, i], coordinates[1, i] = function(float(y), float(x + i), *given)

        numbers = types.CPointer(types.float64)
        signature = types.void(types.int64, types.int64, types.int64, numbers, numbers)
        return numba.cfunc(signature, error_model="numpy")(line)

    def _check(self, numba: Any, function: Any, argument_types: tuple[Any, ...]) -> None:
        """Compile the function alone, so that what is wrong with it is told of it."""
        types = numba.core.types
        try:
            function.compile(argument_types)
        except numba.core.errors.NumbaError as error:
            raise TypeError(f"{self.__name__} cannot be compiled by Numba, {self._place(error)}") from error
        returned = function.overloads[argument_types].signature.return_type
        numbers = (types.Float, types.Integer, types.Boolean)
        pair = returned.types if isinstance(returned, types.BaseTuple) else ()
        if len(pair) != 2 or not all(isinstance(number, numbers) for number in pair):
            raise TypeError(f"{self.__name__} must return a row and a column, got {returned}")

    def _place(self, error: Exception) -> str:
        """The file and line that Numba complains of, and its reason."""
        code = self._function.__code__
        message = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        lines = re.findall(rf'File "[^"]*{re.escape(code.co_filename.rsplit("/", 1)[-1])}", line (\d+)', message)
        reasons = [text.strip() for text in message.splitlines() if text.strip() and not text.startswith("Failed in")]
        return f"{code.co_filename}:{lines[-1] if lines else code.co_firstlineno}: {reasons[0] if reasons else error}"
