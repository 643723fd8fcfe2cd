"""The devices that the tests of the CUDA backend run on: the emulator, and a GPU where there is one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import cuda_emulator
import numpy as np
import pytest

from fastimg.backends.cuda import linking, runtime


class Device:
    """Arrays to and from a device."""

    def __init__(self, library: Any) -> None:
        self.library = library

    @property
    def emulated(self) -> bool:
        return self.library is cuda_emulator

    def array(self, values: np.ndarray) -> Any:
        """A copy on the device with the strides that `values` has, and what lies between its elements."""
        values = np.asarray(values)
        if values.size == 0:
            return self.library.asarray(values)
        low, high = np.lib.array_utils.byte_bounds(values)
        memory = np.frombuffer((ctypes.c_char * (high - low)).from_address(low), values.dtype)
        start = (values.ctypes.data - low) // values.itemsize
        return self._as_strided(self.library.asarray(memory)[start:], values.shape, values.strides)

    def _as_strided(self, array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        if self.emulated:
            return np.lib.stride_tricks.as_strided(array, shape, strides, subok=True)
        return self.library.lib.stride_tricks.as_strided(array, shape, strides)

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(self.library.asnumpy(array))

    def checking(self) -> AbstractContextManager[Any]:
        """Launches inside are watched for races, bounds and uninitialised reads; only where the device is emulated."""
        if not self.emulated:
            pytest.skip("the memory checker is the emulator's")
        return cuda_emulator.checking()


def linked_by_emulator(library: Any, code: str, options: Sequence[str], function: Any, name: str) -> Any:
    """What stands for `linking.linked`: the same kernel, and the function as Numba compiles it for the CPU."""
    linked = {function.symbol: function.pixel_on_cpu.address}
    return library.RawModule(code=code, options=options, linked=linked).get_function(name)


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Every device that there is; the public functions take its arrays."""
    if request.param == "emulated":
        monkeypatch.setattr(runtime, "cupy", lambda: cuda_emulator)
        monkeypatch.setattr(linking, "linked", linked_by_emulator)
        yield Device(cuda_emulator)
        return
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    if not cupy.is_available():
        pytest.skip("needs a GPU")
    if "FASTIMG_WITHOUT_POOL" in os.environ:  # then compute-sanitizer sees where each array ends
        cupy.cuda.set_allocator(None)
    yield Device(cupy)
