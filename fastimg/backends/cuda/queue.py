"""Where the work of the CUDA backend goes: a device, and a stream on it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from . import runtime

__all__ = ["Queue"]


class Queue:
    """The operations of the CUDA backend, on one device and in the order of one stream.

    Parameters
    ----------
    device : int
    stream : int, optional
        The address of PyTorch's current stream, for a call on tensors; CuPy's current stream by default.
    """

    def __init__(self, device: int, stream: int | None) -> None:
        self.device = device
        self.stream = stream

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this device and stream CuPy's current ones, and with PyTorch's stream its memory pool."""
        cuda = runtime.cupy().cuda
        with ExitStack() as stack:
            if cuda.Device().id != self.device:
                stack.enter_context(cuda.Device(self.device))
            if self.stream is not None:
                stack.enter_context(cuda.ExternalStream(self.stream, self.device))
                stack.enter_context(cuda.using_allocator(_pool_of_pytorch()))
            yield

    def __getattr__(self, operation: str) -> Any:
        function = _operation(operation)
        if self.stream is None and runtime.cupy().cuda.Device().id == self.device:
            return function
        return partial(self._run, function)

    def _run(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        with self.current():
            return operation(*arguments, **options)


@functools.cache
def _operation(name: str) -> Any:
    return getattr(import_module(__package__), name)


@functools.cache
def _pool_of_pytorch() -> Any:
    """PyTorch's pool for CuPy: it knows PyTorch's streams, and keeps what a graph that it captures was given."""
    memory = sys.modules["torch"].cuda.memory
    take, give_back, ending = memory.caching_allocator_alloc, memory.caching_allocator_delete, sys.is_finalizing
    # At the interpreter's end PyTorch's functions no longer work, and memory needs no giving back.
    free = lambda pointer, device: ending() or give_back(pointer)  # noqa: E731
    return runtime.cupy().cuda.PythonFunctionAllocator(take, free).malloc
