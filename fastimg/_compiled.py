"""Python functions that Numba compiles for the kernels to call."""

from __future__ import annotations

import dis
import functools
import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks

__all__ = ["CompiledFunction", "WithParameters"]


class CompiledFunction:
    """A Python function of a few numbers and of parameters, compiled at its first use and kept.

    What a kernel calls is not the function itself but one around it: on the CPU one for many pixels at a time (`line`),
    on a GPU one for a single pixel (`pixel`), which is linked into the kernel.

    Parameters
    ----------
    function : callable
        A Python function that Numba compiles in nopython mode, from float64 to float64.
    name : str
        What messages call the argument.

    Raises
    ------
    TypeError
        If it is no function of `takes` and of parameters. When used first, if Numba cannot compile it: the message
        tells the line.
    ImportError
        When used first, if Numba is not installed.
    """

    user: str  # who needs Numba
    arguments: str  # what messages call the parameters' values
    takes: tuple[str, ...]  # ahead of the parameters
    gives: tuple[str, ...]
    symbol: str  # the C name of `pixel`
    pixel_signature: str  # its types
    pixel_source: str  # its Python, with `{parameters}` where the function's go

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        if not inspect.isfunction(function):
            raise TypeError(f"{name} must be a Python function, got {type(function).__name__}")
        self._signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in self._signature.parameters.values()}
        if len(self._signature.parameters) < len(self.takes) or kinds != {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
            raise TypeError(f"{name} must take {', '.join(self.takes)} and named parameters, got {self._signature}")
        self._function = function
        self.__name__: str = function.__name__

    def parameters(self, arguments: Mapping[str, Any]) -> NDArray[np.float64]:
        """What the function is to be given beside `takes`, in its order."""
        try:
            bound = self._signature.bind(*(0.0 for _ in self.takes), **arguments)
        except TypeError as error:
            raise TypeError(f"{self.arguments} must fit {self.__name__}{self._signature}: {error}") from None
        bound.apply_defaults()
        values = list(bound.arguments.items())[len(self.takes) :]
        return np.array([_checks.real(value, f"{self.arguments}[{key!r}]") for key, value in values], np.float64)

    @property
    def count(self) -> int:
        """How many parameters there are."""
        return len(self._signature.parameters) - len(self.takes)

    # ---- for the CPU -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def address(self) -> int:
        """Where the machine code of `line` is."""
        return int(self._line.address)

    def line(self, numba: Any, function: Any) -> tuple[Any, Callable[..., None]]:
        """The signature of what the kernel calls for many pixels, and the Python of it; `function` is compiled."""
        raise NotImplementedError

    @functools.cached_property
    def _line(self) -> Any:
        numba = self._numba("numba", "numba")
        signature, line = self.line(numba, self._for_cpu)
        return numba.cfunc(signature, error_model="numpy")(line)

    @functools.cached_property
    def pixel_on_cpu(self) -> Any:
        """What `pixel` is on a GPU, for the CPU: a cfunc, by which the CUDA kernels can be tried without a GPU."""
        numba = self._numba("numba", "numba")
        return numba.cfunc(self.pixel_signature, error_model="numpy")(self.pixel(self._for_cpu))

    @functools.cached_property
    def _for_cpu(self) -> Any:
        """The function compiled alone, so that what is wrong with it is told of it."""
        numba = self._numba("numba", "numba")
        types = numba.core.types
        code = self._function.__code__
        for instruction in dis.get_instructions(code):
            if instruction.opname == "RAISE_VARARGS" and instruction.positions is not None:
                raise TypeError(
                    f"{self.__name__} must not raise, {code.co_filename}:{instruction.positions.lineno}: "
                    "a kernel cannot report it"
                )
        function = numba.njit(self._function, error_model="numpy")
        given = (types.float64,) * len(self._signature.parameters)
        self._compile(numba, "by Numba", lambda: function.compile(given))
        returned = function.overloads[given].signature.return_type
        numbers = (types.Float, types.Integer, types.Boolean)
        found = returned.types if isinstance(returned, types.BaseTuple) else (returned,)
        if len(found) != len(self.gives) or not all(isinstance(number, numbers) for number in found):
            raise TypeError(f"{self.__name__} must return {' and '.join(self.gives)}, got {returned}")
        return function

    # ---- for a GPU ---------------------------------------------------------------------------------------------------

    def lto_ir(self, capability: tuple[int, int]) -> bytes:
        """`pixel` for the linker, under the name `symbol`, for a compute capability."""
        numba = self._numba("numba", "numba")
        _ = self._for_cpu  # which checks it
        self._numba("numba_cuda", "numba-cuda12", "numba-cuda13")
        cuda = importlib.import_module("numba.cuda")
        pixel = self.pixel(cuda.jit(device=True, inline="always")(self._function))  # inlined, it asks for no device
        code: bytes
        code, _ = self._compile(
            numba,
            "by Numba for a GPU",
            lambda: cuda.compile(
                pixel,
                self.pixel_signature,
                cc=capability,
                abi="c",
                abi_info={"abi_name": self.symbol},
                output="ltoir",
            ),
        )
        return code

    # ---- for both ----------------------------------------------------------------------------------------------------

    def pixel(self, function: Any) -> Any:
        """The Python of `pixel` around the compiled function. Numba unpacks no pointers: parameters are written out."""
        scope = {"function": function}
        exec(self.pixel_source.format(parameters="".join(f", parameters[{i}]" for i in range(self.count))), scope)
        return scope["pixel"]

    def _numba(self, module: str, *extras: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            choices = " or ".join(f"'fastimg[{extra}]'" for extra in extras)
            raise ImportError(f"{self.user} needs Numba: pip install {choices} ({error})") from error

    def _compile(self, numba: Any, how: str, compile: Callable[[], Any]) -> Any:
        try:
            return compile()
        except numba.core.errors.NumbaError as error:
            raise TypeError(f"{self.__name__} cannot be compiled {how}, {self._place(error)}") from error

    def _place(self, error: Exception) -> str:
        """The file and line that Numba complains of, and its reason."""
        code = self._function.__code__
        message = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        lines = re.findall(rf'File "[^"]*{re.escape(code.co_filename.rsplit("/", 1)[-1])}", line (\d+)', message)
        for frame, _ in traceback.walk_tb(error.__traceback__):  # what was being typed, where the message does not say
            location = getattr(frame.f_locals.get("self"), "loc", None)
            if location is not None and not lines and location.filename == code.co_filename:
                lines = [location.line]
        reasons = [text.strip() for text in message.splitlines() if text.strip() and not text.startswith("Failed in")]
        return f"{code.co_filename}:{lines[-1] if lines else code.co_firstlineno}: {reasons[0] if reasons else error}"


@dataclass(frozen=True)
class WithParameters:
    """A compiled function and what it is given, for a backend."""

    function: CompiledFunction
    parameters: NDArray[np.float64]

    @property
    def address(self) -> int:
        """For the CPU."""
        return self.function.address
