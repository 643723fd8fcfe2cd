"""Arrays in the emulated device's memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .cuda import refuse_while_captured
from .runtime import library

__all__ = ["EmulatedArray", "asarray", "asnumpy", "empty", "zeros"]


class _Memory:
    """A buffer of the device, freed with the last array in it."""

    def __init__(self, bytes_: int) -> None:
        self._address = library().emulator_allocate(bytes_)
        self._free = library().emulator_free
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (bytes_,),
            "data": (self._address, False),
        }

    def __del__(self) -> None:
        self._free(self._address)


class _Foreign:
    """Another library's array on the device, its memory kept alive."""

    def __init__(self, array: Any) -> None:
        self._array = array
        interface = array.__cuda_array_interface__
        described = ("version", "typestr", "shape", "strides", "data")
        self.__array_interface__ = {key: interface[key] for key in described if key in interface}


class MemoryPointer:
    """Where an array's first element lies in the device's memory."""

    def __init__(self, array: EmulatedArray) -> None:
        self.ptr: int = array.__cuda_array_interface__["data"][0]


class EmulatedArray(np.ndarray):
    """What stands for `cupy.ndarray`: NumPy's, in the emulated device's memory and with CUDA's interface.

    Views lie in the same memory; copies and the results of arithmetic in their own.
    """

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        pointer = self.ctypes.data
        low, high = np.lib.array_utils.byte_bounds(self) if self.size else (pointer, pointer)
        if not library().emulator_owns(low, high):
            raise TypeError("this array is not in the emulated device's memory: make it by asarray")
        return {
            "version": 3,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "shape": self.shape,
            "strides": None if self.flags.c_contiguous else self.strides,
            "data": (pointer, not self.flags.writeable),
            "stream": 1,
        }

    @property
    def data(self) -> MemoryPointer:  # type: ignore[override]
        """What CuPy has under this name."""
        return MemoryPointer(self)

    @property
    def device(self) -> SimpleNamespace:
        return SimpleNamespace(id=0)

    def get(self) -> np.ndarray:
        """A copy in the host's memory."""
        return asnumpy(self)

    def astype(self, dtype: DTypeLike, **options: Any) -> EmulatedArray:
        if options == {"copy": False} and self.dtype == dtype:
            return self
        return asarray(asnumpy(self).astype(dtype, **options))

    def copy(self, order: Any = "C") -> EmulatedArray:
        return asarray(asnumpy(self).copy(order))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        refuse_while_captured("arithmetic that is done at once")
        on_host = [x.view(np.ndarray) if isinstance(x, EmulatedArray) else x for x in inputs]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) if isinstance(x, EmulatedArray) else x for x in out)
        result = getattr(ufunc, method)(*on_host, **options)
        if out is not None:
            return out[0] if len(out) == 1 else out
        return asarray(result) if isinstance(result, np.ndarray) else result


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = float, order: Any = "C") -> EmulatedArray:
    """An array of unspecified values, here NaN or all bits set."""
    dtype = np.dtype(dtype)
    memory = np.asarray(_Memory(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize))
    return EmulatedArray(shape, dtype, memory, order=order)


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike = float, order: Any = "C") -> EmulatedArray:
    """An array of zeros."""
    result = empty(shape, dtype, order)
    result.fill(0)
    return result


def asarray(values: Any, dtype: DTypeLike = None) -> EmulatedArray:
    """The values on the device: where they are if they lie there, else copied."""
    if hasattr(values, "__cuda_array_interface__"):
        array = values if isinstance(values, EmulatedArray) else np.asarray(_Foreign(values)).view(EmulatedArray)
        if dtype is None or array.dtype == dtype:
            return array
        values = array
    on_host = asnumpy(np.asarray(values, dtype))
    order = "F" if on_host.flags.f_contiguous and not on_host.flags.c_contiguous else "C"
    result = empty(on_host.shape, on_host.dtype, order)
    result[...] = on_host
    return result


def asnumpy(array: ArrayLike) -> np.ndarray:
    """A copy in the host's memory."""
    refuse_while_captured("a copy between host and device")
    return np.array(array, copy=True, subok=False)
