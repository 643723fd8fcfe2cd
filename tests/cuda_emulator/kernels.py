"""What stands for `cupy.RawModule`: kernels compiled for the CPU, and their launches."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import EmulatedArray
from .build import Build, kernel_library
from .cuda import get_current_stream
from .runtime import POLICIES, EmulatorError, Error, Index, Kernel, Launch, library, settings
from .source_lines import Place, places

__all__ = ["LaunchRecord", "RawModule", "recording"]

SHARED_WITHOUT_ASKING = 48 << 10
SHARED_AT_MOST = 227 << 10
THREADS_AT_MOST = 1024
BLOCK_AT_MOST = (1024, 1024, 64)
GRID_AT_MOST = (2**31 - 1, 65535, 65535)


class RawModule:
    """Kernels of a CUDA C++ file, compiled when one is first asked for.

    Parameters
    ----------
    code : str
        What the file says.
    options : sequence of str
        NVRTC's: ``-I`` and ``-D`` count.
    backend : str
        Any.
    linked : mapping of str to int, optional
        Addresses of the functions that the code declares ``extern "C" __device__``, ``fastimg_`` ahead of their names.
    """

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        linked: Mapping[str, int] | None = None,
    ) -> None:
        self._code = code + _definitions(code) if linked else code
        self._options = tuple(options)
        self._linked = dict(linked or {})
        self._libraries: dict[Build, ctypes.CDLL] = {}

    def get_function(self, name: str) -> Function:
        """The kernel of that name, which is ``extern "C"``."""
        function = Function(self, name)
        self.kernel(name)
        return function

    def kernel(self, name: str) -> Kernel:
        """What the library says of the kernel, for the present settings."""
        build = settings().build
        if build not in self._libraries:
            library()
            self._libraries[build] = ctypes.CDLL(str(kernel_library(self._code, self._options, build)))
        try:
            return Kernel.in_dll(self._libraries[build], f"emulator_kernel_{name}")
        except ValueError:
            raise ValueError(f'no kernel extern "C" __global__ void {name}(...) in the code') from None

    def link(self) -> None:
        """Set what the library calls; other modules of the same code share it."""
        for name, address in self._linked.items():
            ctypes.c_void_p.in_dll(self._libraries[settings().build], f"emulator_linked_{name}").value = address


def _definitions(code: str) -> str:
    """Those of functions that are declared to be linked in: a pointer to each, set before a launch, and its call."""
    definitions = []
    declarations = re.findall(r'extern "C" __device__ (\w+) (fastimg_\w+)\(([^()]*)\);', code)
    for result, name, parameters in declarations:
        arguments = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", parameters))
        # Not among what is zero-initialised, which is shared memory.
        place = '__attribute__((visibility("default"), section(".data")))'
        definitions.append(
            f'\nextern "C" {place} decltype(&{name}) emulator_linked_{name} = nullptr;\n'
            f'extern "C" {result} {name}({parameters}) {{ return emulator_linked_{name}({arguments}); }}\n'
        )
    return "".join(definitions)


class Function:
    """A kernel, launched by a call as CuPy's functions are.

    Attributes
    ----------
    shared_size_bytes : int
        Static shared memory; here that of all kernels of the module.
    max_dynamic_shared_size_bytes : int
        What a launch may ask for. Without asking, 48 KiB together with static shared memory.
    """

    def __init__(self, module: RawModule, name: str) -> None:
        self._module = module
        self.name = name
        self._most_shared: int | None = None

    @property
    def shared_size_bytes(self) -> int:
        kernel = self._module.kernel(self.name)
        return (kernel.shared_end or 0) - (kernel.shared_begin or 0)

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        if self._most_shared is None:
            return max(0, SHARED_WITHOUT_ASKING - self.shared_size_bytes)
        return self._most_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, bytes_: int) -> None:
        if not 0 <= bytes_ <= SHARED_AT_MOST - self.shared_size_bytes:
            raise EmulatorError(self.name, f"{bytes_} bytes of shared memory: a block has at most {SHARED_AT_MOST}")
        self._most_shared = bytes_

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        grid, block = _three(grid), _three(block)
        kernel = self._module.kernel(self.name)
        self._check_size(kernel, grid, block, shared_mem)
        values = [_value(self.name, i, kernel, args) for i in range(max(len(args), kernel.parameter_count))]
        addresses = (ctypes.c_void_p * max(1, len(values)))(*(value.ctypes.data for value in values))

        def work(values: Sequence[np.ndarray] = values) -> None:  # the addresses are theirs
            chosen = settings()
            launch = Launch(Index(*grid), Index(*block), shared_mem, chosen.seed, POLICIES.index(chosen.policy))
            error = Error()
            for record in _records:
                record.append(LaunchRecord(self.name, grid, block, shared_mem))
            self._module.kernel(self.name)
            self._module.link()
            if library().emulator_launch(kernel, launch, addresses, error):
                raise self._exception(error)

        get_current_stream().do(work)

    def _check_size(self, kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...], shared_memory: int) -> None:
        if not all(1 <= n <= most for n, most in zip(grid, GRID_AT_MOST, strict=True)):
            raise EmulatorError(self.name, f"a grid of {grid}: between 1 and {GRID_AT_MOST} can be launched")
        if not all(1 <= n <= most for n, most in zip(block, BLOCK_AT_MOST, strict=True)):
            raise EmulatorError(self.name, f"a block of {block}: between 1 and {BLOCK_AT_MOST} can be launched")
        most_threads = kernel.most_threads or THREADS_AT_MOST
        if math.prod(block) > most_threads:
            raise EmulatorError(self.name, f"a block of {block}: the kernel allows {most_threads} threads")
        most_shared = self.max_dynamic_shared_size_bytes
        if shared_memory > most_shared:
            raise EmulatorError(
                self.name, f"{shared_memory} bytes of shared memory: max_dynamic_shared_size_bytes is {most_shared}"
            )

    def _exception(self, error: Error) -> EmulatorError:
        place = Place(error.file.decode(), error.line)
        if error.instruction:
            place = places([error.instruction])[0]
        block, thread = (error.block.as_tuple(), error.thread.as_tuple()) if error.in_thread else (None, None)
        return EmulatorError(self.name, error.message.decode(), block, thread, place.file, place.line)


def _three(sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in sizes)
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"one to three sizes are needed, not {sizes}")
    return sizes + (1,) * (3 - len(sizes))


# ---- arguments -------------------------------------------------------------------------------------------------------


def _value(kernel_name: str, i: int, kernel: Kernel, args: Sequence[Any]) -> np.ndarray:
    """Argument i in memory as CuPy would pass it, checked against the kernel's parameter."""
    count = kernel.parameter_count
    if len(args) != count:
        raise TypeError(f"{kernel_name} takes {count} arguments, not {len(args)}")
    argument, parameter = args[i], kernel.parameters[i]
    kind, bytes_ = parameter.kind.decode(), parameter.bytes
    if isinstance(argument, EmulatedArray):
        fits = kind == "v" or (kind == "p" and bytes_ == argument.itemsize)
        value = np.array(argument.__cuda_array_interface__["data"][0], np.uint64)
    else:
        value = _scalar(kernel_name, i, argument)
        fits = value.dtype.itemsize == (8 if kind in "pv" else bytes_) and _is_kind(value.dtype, kind)
    if not fits:
        wanted = {"p": f"a pointer to values of {bytes_} bytes", "v": "a pointer", "s": f"a struct of {bytes_} bytes"}
        expected = wanted.get(kind, f"{'a float' if kind == 'f' else 'an integer'} of {bytes_} bytes")
        given = f"an array of {argument.dtype}" if isinstance(argument, EmulatedArray) else f"{value.dtype}"
        raise TypeError(f"argument {i} of {kernel_name} is {expected}; {given} was given")
    return value


def _scalar(kernel_name: str, i: int, argument: Any) -> np.ndarray:
    if isinstance(argument, np.ndarray | np.generic):
        value = np.ascontiguousarray(argument)
        if value.size == 1:
            return value
        raise TypeError(f"argument {i} of {kernel_name}: {value.size} values on the host cannot be passed")
    if isinstance(argument, bool | int | float):
        return np.asarray(argument)  # 64 bits, but for bool
    raise TypeError(f"argument {i} of {kernel_name}: {type(argument).__name__} cannot be passed")


def _is_kind(dtype: np.dtype[Any], kind: str) -> bool:
    """Whether NumPy's type is of a parameter's kind; pointers are passed as integers."""
    return dtype.kind in {"f": "f", "s": "V"}.get(kind, "iub")


# ---- records ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LaunchRecord:
    """One launch."""

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_memory: int


_records: list[list[LaunchRecord]] = []


@contextmanager
def recording() -> Iterator[list[LaunchRecord]]:
    """A list that the launches inside are added to."""
    record: list[LaunchRecord] = []
    _records.append(record)
    try:
        yield record
    finally:
        _records.pop()
