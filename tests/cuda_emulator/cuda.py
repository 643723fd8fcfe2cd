"""What stands for `cupy.cuda`: one device, whose streams do their work at once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

__all__ = [
    "Device",
    "ExternalStream",
    "Graph",
    "Stream",
    "get_current_stream",
    "memory",
    "refuse_while_captured",
    "runtime",
]


class Device:
    """The emulated device, number 0, of an H100's limits."""

    compute_capability = "90"
    attributes: ClassVar[dict[str, int]] = {
        "MultiProcessorCount": 4,
        "MaxSharedMemoryPerBlockOptin": 227 << 10,
        "MaxThreadsPerBlock": 1024,
    }

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = 0 if device is None else int(getattr(device, "id", device))
        if self.id != 0:
            raise CUDARuntimeError(f"there is no device {self.id}: the emulated one is 0")

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def synchronize(self) -> None:
        """Nothing is ever under way, but what is captured cannot be waited for."""
        refuse_while_captured("waiting for the device")


class Stream:
    """A stream, current inside `with`. Work is done at once, or kept for a graph while the stream is captured."""

    ptr = 2  # the default streams are 0 and 1

    def __init__(self, non_blocking: bool = False) -> None:
        self._captured: list[Callable[[], None]] | None = None

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        _streams.pop()

    def synchronize(self) -> None:
        """Nothing is ever under way, but what is captured cannot be waited for."""
        refuse_while_captured("waiting for a stream")

    def begin_capture(self) -> None:
        """From here on, what is launched on this stream becomes a graph."""
        self._captured = []

    def end_capture(self) -> Graph:
        """What has been launched since `begin_capture`."""
        graph = Graph(self._captured or [])
        self._captured = None
        return graph

    def is_capturing(self) -> bool:
        return self._captured is not None

    def do(self, work: Callable[[], None]) -> None:
        """Run a launch, or keep it for the graph."""
        if self._captured is None:
            work()
        else:
            self._captured.append(work)


class ExternalStream(Stream):
    """A stream by its address."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        super().__init__()
        self.ptr = ptr
        self.device_id = device_id


class Graph:
    """Launches, done again at each `launch`."""

    def __init__(self, launches: list[Callable[[], None]]) -> None:
        self._launches = launches

    def launch(self) -> None:
        for work in self._launches:
            get_current_stream().do(work)


_streams: list[Stream] = [ExternalStream(0)]


def get_current_stream() -> Stream:
    return _streams[-1]


def refuse_while_captured(what: str) -> None:
    """Raise if the current stream is captured: a graph holds launches alone."""
    if get_current_stream().is_capturing():
        raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is captured")


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""


class OutOfMemoryError(MemoryError):
    """Memory that the device does not have."""


runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
