"""What stands for `cupy.cuda`: one device, which has one stream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

__all__ = ["Device", "ExternalStream", "get_current_stream", "memory", "runtime"]


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
        """Nothing is ever under way."""


class ExternalStream:
    """A stream by its address, current inside `with`. Work is done at once, whatever the stream."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        self.ptr = ptr
        self.device_id = device_id

    def __enter__(self) -> ExternalStream:
        _streams.append(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        _streams.pop()

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def is_capturing(self) -> bool:
        """Graphs are not emulated."""
        return False


_streams = [ExternalStream(0)]


def get_current_stream() -> ExternalStream:
    return _streams[-1]


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""


class OutOfMemoryError(MemoryError):
    """Memory that the device does not have."""


runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
