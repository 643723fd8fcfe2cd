"""Kernels compiled and launched: all that the CUDA backend knows of CuPy.

A kernel is a function of a file in csrc/cuda, specialised by macros, compiled by NVRTC for the device at its first use
and kept on disk by CuPy. It takes one struct by value, described here by a structured dtype, which holds pointers and
strides as well as numbers: one argument is cheaper to pass than twenty.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import linking

__all__ = [
    "BORDER_MODES",
    "Kernel",
    "Launch",
    "c_type",
    "cupy",
    "here",
    "kernel",
    "linked_kernel",
    "upload",
    "view_dtype",
    "view_fields",
]

# As csrc/cuda/support/border.cuh numbers them.
BORDER_MODES = {mode: number for number, mode in enumerate(("nearest", "reflect", "mirror", "wrap", "constant"))}

# By NumPy's characters for dtypes.
C_TYPES = {"B": "uint8_t", "H": "uint16_t", "e": "half", "f": "float"}

DEFAULT_STREAMS = (0, 1)  # which cannot be captured, nor asked
MOST_CONSTANTS = 4096  # arrays of them that are kept

Definitions = tuple[tuple[str, int | str], ...]


@functools.cache
def cupy() -> Any:
    """CuPy, imported when a kernel is first wanted."""
    return import_module("cupy")


def c_type(dtype: np.dtype[Any]) -> str:
    """What kernels call a dtype."""
    return C_TYPES[dtype.char]


# ---- arrays in a struct ----------------------------------------------------------------------------------------------


@functools.cache
def view_dtype(ndim: int) -> np.dtype[Any]:
    """`View<ndim>` of csrc/cuda/support/view.cuh."""
    return np.dtype([("data", np.uint64), ("stride", np.int64, (ndim,))], align=True)


def view_fields(array: Any) -> tuple[int, tuple[int, ...]]:
    """An array as the value of a `view_dtype`: its address, and strides in elements."""
    return address(array), element_strides(array)


def element_strides(array: Any) -> tuple[int, ...]:
    size = array.itemsize
    return tuple([stride // size for stride in array.strides])


def address(array: Any) -> int:
    """Where the first element of a CuPy array lies."""
    pointer: int = array.data.ptr
    return pointer


def merged_axes(*arrays: Any) -> tuple[list[int], list[list[int]]]:
    """Arrays of one shape with as few axes as can stand for it: that shape, and each array's strides in elements.

    Axes of length 1 are dropped, and neighbours that all arrays pass through in one stride become one.
    """
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in arrays]
    for n, *steps in zip(arrays[0].shape, *map(element_strides, arrays), strict=True):
        if n == 1:
            continue
        if shape and all(s[-1] == step * n for s, step in zip(strides, steps, strict=True)):
            shape[-1] *= n
            for s, step in zip(strides, steps, strict=True):
                s[-1] = step
        else:
            shape.append(n)
            for s, step in zip(strides, steps, strict=True):
                s.append(step)
    return (shape, strides) if shape else ([1], [[1] for _ in arrays])


# ---- kernels ---------------------------------------------------------------------------------------------------------


class Kernel:
    """A compiled function and the struct that it takes.

    Parameters
    ----------
    function : callable
        A CuPy function: grid, block, arguments, shared memory.
    parameters : dtype
        The struct, laid out as a C++ compiler does.
    """

    def __init__(self, function: Any, parameters: np.dtype[Any]) -> None:
        self._function = function
        self._parameters = parameters
        # What a launch may ask for without being allowed more: static shared memory counts too.
        self._shared_memory = (48 << 10) - int(function.shared_size_bytes)

    def prepared(
        self, grid: tuple[int, ...], block: tuple[int, ...], values: Mapping[str, Any], shared_memory: int = 0
    ) -> Launch:
        """A launch with these values, of which the addresses may be left to its calls."""
        struct: NDArray[Any] = np.zeros((), self._parameters)
        for name, value in values.items():
            struct[name] = value
        if shared_memory > self._shared_memory:
            self._function.max_dynamic_shared_size_bytes = shared_memory
            self._shared_memory = shared_memory
        return Launch(self._function, grid, block, struct, shared_memory)

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], values: Mapping[str, Any], shared_memory: int = 0
    ) -> None:
        """Launch on the current device and stream, without waiting."""
        self.prepared(grid, block, values, shared_memory)()


class Launch:
    """A kernel with its struct filled in once, to be launched with other addresses: fields by name cost most of a call.

    Parameters
    ----------
    function : callable
        A CuPy function.
    grid, block : tuple of int
    struct : 0-d array
    shared_memory : int
    """

    def __init__(
        self, function: Any, grid: tuple[int, ...], block: tuple[int, ...], struct: NDArray[Any], shared_memory: int
    ) -> None:
        self._function, self._grid, self._block, self._shared_memory = function, grid, block, shared_memory
        self._dtype = struct.dtype
        self._words = np.frombuffer(struct.tobytes(), np.uint64)

    def __call__(self, **values: int | NDArray[Any]) -> None:
        """Launch on the current device and stream, without waiting, with these arrays' addresses.

        Other fields of 8 bytes may be given too, the first of several as a NumPy array.
        """
        words = self._words.copy()
        for name, value in values.items():
            begin = _word(self._dtype, name)
            if isinstance(value, np.ndarray):
                words[begin : begin + value.size] = value.ravel().view(np.uint64)
            else:
                words[begin] = value
        struct = np.ndarray(
            (), self._dtype, words
        )  # a view, which NumPy would take longer to check than CuPy to launch
        self._function(self._grid, self._block, (struct,), shared_mem=self._shared_memory)


@functools.cache
def _word(dtype: np.dtype[Any], name: str) -> int:
    """Which 8 bytes of a struct are a field, or the first of a view: an address."""
    assert dtype.fields is not None
    return int(dtype.fields[name][1]) // 8


def kernel(source: str, name: str, parameters: np.dtype[Any], **definitions: int | str) -> Kernel:
    """The function `name` of csrc/cuda/`source`.cu, specialised by macros, for the current device.

    Parameters
    ----------
    source, name : str
    parameters : dtype
        The struct that the function takes by value.
    **definitions : int or str
        Macros and what they stand for.
    """
    return _kernel(*here(), source, name, parameters, tuple(definitions.items()))


def linked_kernel(
    function: linking.Linkable, source: str, name: str, parameters: np.dtype[Any], **definitions: int | str
) -> Kernel:
    """As `kernel`, of one that calls a function of Python, which becomes part of it."""
    return _linked_kernel(function, *here(), source, name, parameters, tuple(definitions.items()))


def here() -> tuple[Any, int]:
    """The library and the current device, which what is prepared for them is kept by."""
    library = cupy()
    return library, library.cuda.Device().id


@functools.cache
def _kernel(
    library: Any, device: int, source: str, name: str, parameters: np.dtype[Any], definitions: Definitions
) -> Kernel:
    return Kernel(_module(library, device, source, definitions).get_function(name), parameters)


@functools.cache
def _module(library: Any, device: int, source: str, definitions: Definitions) -> Any:
    return library.RawModule(code=_code(source), options=compile_options(definitions), backend="nvrtc")


@functools.cache
def _linked_kernel(
    function: linking.Linkable,
    library: Any,
    device: int,
    source: str,
    name: str,
    parameters: np.dtype[Any],
    definitions: Definitions,
) -> Kernel:
    linked = linking.linked(library, _code(source), compile_options(definitions), function, name)
    return Kernel(linked, parameters)


def _code(source: str) -> str:
    return (sources() / f"{source}.cu").read_text()


def compile_options(definitions: Definitions) -> tuple[str, ...]:
    """What NVRTC is told besides what CuPy adds; the hash of all sources is there for the key of CuPy's cache."""
    macros = (f"-D{name}={value}" for name, value in (("FASTIMG_SOURCES", sources_hash()), *definitions))
    return ("-std=c++17", f"-I{sources()}", *macros)


@functools.cache
def sources() -> Path:
    """The folder of the kernels: beside this file where fastimg is installed, csrc/cuda in its sources."""
    installed = Path(__file__).parent / "kernels"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "csrc" / "cuda"


@functools.cache
def sources_hash() -> str:
    """One hash of all kernel files."""
    digest = hashlib.sha256()
    for path in sorted(sources().rglob("*.cu*")):
        digest.update(path.read_bytes())
    return f"0x{digest.hexdigest()[:16]}"


def shared_memory_limit() -> int:
    """Bytes of shared memory that a block may ask for on the current device."""
    limit: int = cupy().cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
    return limit


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Memory of the current device, from CuPy's pool; for a call on tensors from PyTorch's.

    What a CUDA graph writes while it is replayed must stay its own: while the current stream is captured, memory is
    never given back. (PyTorch's pool does so by itself.)

    Raises
    ------
    MemoryError
        If there is not enough; the message says how much was wanted.
    """
    library = cupy()
    try:
        array = library.empty(shape, dtype)
    except library.cuda.memory.OutOfMemoryError as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise MemoryError(f"{size} bytes are needed on the device: {error}") from error
    stream = library.cuda.get_current_stream()
    if stream.ptr not in DEFAULT_STREAMS and stream.is_capturing():
        _of_graphs.append(array)
    return array


_of_graphs: list[Any] = []


def constants(values: NDArray[Any]) -> Any:
    """Constants on the current device, copied there at the first use; after that nothing waits."""
    key = *here(), values.tobytes(), values.shape, values.dtype
    if key not in _constants:
        if len(_constants) == MOST_CONSTANTS:
            cupy().cuda.Device().synchronize()  # kernels in any stream may still read them
            _constants.clear()
        _constants[key] = upload(values)
    return _constants[key]


_constants: dict[Any, Any] = {}


def upload(values: NDArray[Any]) -> Any:
    """A copy on the current device, there for every stream once this returns."""
    library = cupy()
    copy = library.asarray(values)
    library.cuda.get_current_stream().synchronize()
    return copy
