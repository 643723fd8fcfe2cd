"""What an array is, where it lives, and how it is given back.

The only module that knows of array libraries other than NumPy. None of them is imported: a type is recognised through
`sys.modules`, because an object of a library can only exist once somebody else has imported that library. CuPy alone is
imported for arrays that live on a GPU, because it compiles and launches the kernels there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .backends import cpu

__all__ = ["IMAGE_DTYPES", "Result", "Source", "take"]

MAX_DIMENSIONS = 8
IMAGE_DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "float16", "float32", "float64"))

_ON_CPU = 1  # DLPack's number of the device type


def take(array: Any, name: str, *, dtypes: Sequence[DTypeLike] = IMAGE_DTYPES) -> Source:
    """Take an argument as an array of one of `dtypes`, without a copy wherever its memory can be followed.

    Parameters
    ----------
    array : numpy.ndarray, cupy.ndarray, torch.Tensor on the CPU or a CUDA device, or anything that NumPy or CuPy views
        At most eight dimensions, any strides. What NumPy or CuPy views: the buffer protocol, ``__array__``, DLPack,
        ``__cuda_array_interface__``, lists. Copied only if, on the CPU, its byte order is foreign or its elements are
        misaligned.
    name : str
        The argument's name, for error messages.
    dtypes : sequence of dtype
        What is accepted. float64 is accepted on the CPU only.

    Returns
    -------
    Source

    Raises
    ------
    TypeError
        If it is not an array, its dtype is not one of `dtypes`, or it lives on a device without a backend here.
    ValueError
        If it has more than eight dimensions.
    """
    view = _view(array, name)
    data = view.data
    accepted = _accepted(tuple(dtypes), view.device is not None)
    if not _is_among(data.dtype, accepted):
        expected = ", ".join(dtype.name for dtype in accepted)
        where = " on a GPU" if view.device is not None else ""
        raise TypeError(f"{name} must have one of the dtypes {expected}{where}, got {data.dtype.name}")
    if data.ndim > MAX_DIMENSIONS:
        raise ValueError(f"{name} must have at most {MAX_DIMENSIONS} dimensions, got {data.ndim}")
    if not _is_plain(view):
        if view.device is not None:
            raise TypeError(f"{name} must have aligned elements of native byte order")
        data = data.astype(data.dtype.newbyteorder("="))
    return Source(data, name, view)


@dataclass(slots=True)  # frozen ones take three times as long to make
class View:
    """An array as NumPy or CuPy sees it, and how one more of its kind is made.

    `device` is None on the CPU; `kind` is the type of the arrays that come back; `new` makes one of a shape and dtype,
    as the backend and as the caller see it. `address` is that of the first element.
    """

    data: Any
    kind: type
    backend: Any
    new: Callable[[tuple[int, ...], np.dtype[Any]], tuple[Any, Any]]
    device: int | None = None
    address: int = 0
    writable: bool = True


@dataclass(slots=True)
class Source:
    """An array argument: its data, its name, and where it came from.

    `data` is a NumPy array on the CPU and a CuPy array on a GPU.
    """

    data: Any
    name: str
    view: View

    @property
    def backend(self) -> Any:
        """The operations on the device where the array lives."""
        return self.view.backend

    @property
    def on_gpu(self) -> bool:
        return self.view.device is not None

    def current(self) -> AbstractContextManager[Any]:
        """Inside, what CuPy does goes where the backend's work goes; nothing to do on the CPU."""
        return self.backend.current() if self.on_gpu else nullcontext()

    def copy_beside(self, constants: NDArray[Any]) -> Any:
        """A few constants where this array lives; on the CPU themselves. The same values are copied only once."""
        if not self.on_gpu:
            return constants
        return self.backend.constants(np.asarray(constants, np.float32))

    def result(self, shape: Sequence[int], dtypes: Sequence[DTypeLike], out: Any = None, name: str = "out") -> Result:
        """Memory for a result: new, or the caller's `out` once it has been checked.

        Parameters
        ----------
        shape : sequence of int
        dtypes : sequence of dtype
            A new array has the first; `out` may have any of them.
        out : array of the same kind and on the same device as this one, optional
            Where the result goes; any strides. For NumPy, anything writable that NumPy can view.
        name : str
            What messages call `out`.

        Raises
        ------
        TypeError
            If `out` is of another kind or dtype, of foreign byte order or misaligned.
        ValueError
            If `out` has another shape, is read-only, lies on another device, or overlaps this array or itself.
        """
        accepted = [np.dtype(dtype) for dtype in dtypes]
        shape = tuple(shape)
        if out is None:
            data, given = self._new(shape, accepted[0])
            return Result(data, lambda: given)
        view = _view(out, name, writable=True)
        data = view.data
        if view.kind is not self.view.kind:
            expected = self.view.kind.__name__
            raise TypeError(f"{name} must be of the kind of {self.name}, {expected}, got {type(out).__name__}")
        if view.device != self.view.device:
            raise ValueError(
                f"{name} must be on the device of {self.name}, {_place(self.view.device)}, got {_place(view.device)}"
            )
        if not _is_among(data.dtype, accepted):
            expected = " or ".join(dtype.name for dtype in accepted)
            raise TypeError(f"{name} must have dtype {expected}, got {data.dtype.name}")
        if not _is_plain(view):
            raise TypeError(f"{name} must have aligned elements of native byte order")
        if data.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {data.shape}")
        if not view.writable:
            raise ValueError(f"{name} is read-only")
        expect_apart(data, self, name)
        if _overlaps_itself(data):
            raise ValueError(f"{name} must not hold one element at two places (a broadcast or sliding view)")
        return Result(data, lambda: out)

    def apart_from(self, out: Any, name: str = "out") -> Source:
        """This array, or a copy of it if `out`, where the result goes, overlaps it."""
        if not self.overlaps(out, name):
            return self
        with self.current():
            return replace(self, data=self.data.copy())

    def overlaps(self, out: Any, name: str = "out") -> bool:
        """Whether `out`, where a result goes, shares an element with this array."""
        return overlap(_view(out, name, writable=True).data, self.data)

    def _new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
        try:
            return self.view.new(shape, dtype)
        except (ValueError, MemoryError, RuntimeError) as error:
            raise MemoryError(f"no room for a result of shape {shape} and dtype {dtype.name}") from error


def expect_together(first: Source, second: Source) -> None:
    """Refuse two arguments that live on different devices."""
    if second.view.device != first.view.device:
        raise ValueError(
            f"{second.name} must be on the device of {first.name}, {_place(first.view.device)}, "
            f"got {_place(second.view.device)}"
        )


def expect_alike(first: Source, other: Source) -> None:
    """Refuse two images of one argument that differ in kind, device, shape or dtype."""

    def traits(source: Source) -> tuple[Any, ...]:
        return source.data.shape, source.data.dtype, source.view.kind.__name__, _place(source.view.device)

    if traits(first) != traits(other):
        told = "of shape {} and dtype {} ({} on {})"
        raise ValueError(
            f"{other.name} must be alike: the first is {told.format(*traits(first))}, "
            f"another {told.format(*traits(other))}"
        )


def expect_apart(out: Any, source: Source, name: str = "out") -> None:
    """Refuse memory for a result that shares an element with an argument."""
    if overlap(out, source.data):
        raise ValueError(f"{name} must not overlap {source.name}")


@dataclass(slots=True)
class Result:
    """Memory that a kernel writes, and the way back to the caller."""

    data: Any
    give_back: Callable[[], Any]


def overlap(a: Any, b: Any) -> bool:
    """Whether two arrays share an element; arrays too intricate to decide count as overlapping."""
    if type(a) is not type(b) or (type(a) is not np.ndarray and _apart(a, b)):
        return False  # one on the CPU and one on a GPU, or far from each other
    try:
        return bool(np.shares_memory(_addresses(a), _addresses(b), max_work=1_000_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _apart(a: Any, b: Any) -> bool:
    """Whether one array on a GPU ends before the other begins."""
    (a_begin, a_end), (b_begin, b_end) = _extent(a), _extent(b)
    return a_end <= b_begin or b_end <= a_begin


def _extent(array: Any) -> tuple[int, int]:
    begin = end = array.data.ptr
    for n, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            begin += stride * (n - 1)
        else:
            end += stride * (n - 1)
    return begin, end + array.itemsize


class _Memory:
    """Where an array lies, for NumPy to look at but never to read."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def _addresses(array: Any) -> NDArray[Any]:
    if type(array) is np.ndarray:
        return array
    interface = {"shape": array.shape, "typestr": array.dtype.str, "strides": array.strides, "version": 3}
    return np.asarray(_Memory({**interface, "data": (array.data.ptr, False)}))


def _overlaps_itself(array: Any) -> bool:
    """Whether two indices may stand for one element; what is too intricate to decide counts as overlapping."""
    reach = array.itemsize  # of the axes seen so far, from the smallest stride on
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


@functools.cache
def _accepted(dtypes: tuple[DTypeLike, ...], on_gpu: bool) -> list[np.dtype[Any]]:
    accepted = [np.dtype(dtype) for dtype in dtypes]
    return [dtype for dtype in accepted if dtype != np.float64] if on_gpu else accepted


def _is_among(dtype: np.dtype[Any], accepted: Sequence[np.dtype[Any]]) -> bool:
    """Whether a dtype is accepted, in whatever byte order."""
    return dtype in accepted or dtype.newbyteorder("=") in accepted


def _is_plain(view: View) -> bool:
    """Whether elements are aligned and of native byte order."""
    data = view.data
    if view.device is None:
        return bool(data.dtype.isnative and data.flags.aligned)
    size = data.itemsize
    return bool(data.dtype.isnative and view.address % size == 0 and not any(step % size for step in data.strides))


def _place(device: int | None) -> str:
    return "the CPU" if device is None else f"cuda:{device}"


# ---- each kind of array ----------------------------------------------------------------------------------------------


def _view(array: Any, name: str, *, writable: bool = False) -> View:
    """See `array` as NumPy or CuPy does."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _view_of_tensor(array, name, torch, writable)
    if isinstance(array, type):
        raise TypeError(f"{name} must be an array, got the class {array.__name__}")
    if hasattr(type(array), "__cuda_array_interface__"):  # a property, which takes its time to make
        return _view_on_gpu(array, name)
    if isinstance(array, np.ndarray):
        if isinstance(array, (np.matrix, np.ma.MaskedArray)):
            raise TypeError(f"{name} must be a plain array, got {type(array).__name__}")
        return _view_of_numpy(np.asarray(array))
    if hasattr(array, "__cuda_array_interface__") or _is_foreign_device(array):
        return _view_on_gpu(array, name)
    if writable and not (hasattr(array, "__array_interface__") or isinstance(array, (memoryview, bytearray))):
        raise TypeError(f"{name} must be a NumPy or CuPy array or a tensor, got {type(array).__name__}")
    try:
        if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
            return _view_of_numpy(np.from_dlpack(array))
        return _view_of_numpy(np.asarray(array))
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} must be an array, got {type(array).__name__}: {error}") from error


def _view_of_numpy(data: NDArray[Any]) -> View:
    def new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
        result: NDArray[Any] = np.empty(shape, dtype)
        return result, result

    return View(data, np.ndarray, cpu, new, writable=data.flags.writeable)


def _is_foreign_device(array: Any) -> bool:
    """Whether DLPack says that the array is not in the memory of the CPU."""
    device = getattr(array, "__dlpack_device__", None)
    return callable(device) and int(device()[0]) != _ON_CPU


def _view_on_gpu(array: Any, name: str) -> View:
    cupy = _cupy(name)
    data, read_only = array, False  # as arrays of CuPy are not
    if not isinstance(array, cupy.ndarray):
        interface = getattr(array, "__cuda_array_interface__", None)
        read_only = interface is not None and bool(interface["data"][1])
        try:
            data = cupy.from_dlpack(array) if interface is None else cupy.asarray(array)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise TypeError(
                f"{name} must be an array that CuPy can view, got {type(array).__name__}: {error}"
            ) from error
    device = int(data.device.id)

    def new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
        with cupy.cuda.Device(device):
            result = _cuda("runtime").empty(shape, dtype)
        return result, result

    return View(data, cupy.ndarray, _queue(device, None), new, device, data.data.ptr, not read_only)


def _view_of_tensor(tensor: Any, name: str, torch: Any, writable: bool) -> View:
    if tensor.device.type not in ("cpu", "cuda"):
        raise TypeError(f"{name} must be on the CPU or a CUDA device, got a tensor on {tensor.device}")
    if tensor.requires_grad:
        raise TypeError(f"{name} requires a gradient, which fastimg does not track: pass {name}.detach()")
    if writable and (tensor.is_neg() or tensor.is_conj()):
        raise TypeError(f"{name} must be a tensor that holds its values, got a view that negates or conjugates them")
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.device.type == "cuda":
        return _view_of_cuda_tensor(tensor, name, torch)
    try:
        data: NDArray[Any] = tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} of torch dtype {tensor.dtype} cannot be used: {error}") from error

    def new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
        result: NDArray[Any] = np.empty(shape, dtype)
        return result, torch.from_numpy(result)

    return View(data, torch.Tensor, cpu, new)


def _view_of_cuda_tensor(tensor: Any, name: str, torch: Any) -> View:
    """The memory of a tensor as CuPy sees it; results come from PyTorch's pool, work goes to its current stream."""
    cupy, device = _cupy(name), tensor.device

    def as_cupy(tensor: Any) -> Any:
        dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
        strides = tuple(stride * dtype.itemsize for stride in tensor.stride())
        extent = sum(stride * (n - 1) for stride, n in zip(strides, tensor.shape, strict=True)) + dtype.itemsize
        memory = cupy.cuda.UnownedMemory(tensor.data_ptr(), max(extent, 0), tensor, device.index)
        return cupy.ndarray(tuple(tensor.shape), dtype, cupy.cuda.MemoryPointer(memory, 0), strides)

    def new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
        result = torch.empty(shape, dtype=getattr(torch, dtype.name), device=device)
        return as_cupy(result), result

    try:
        data = as_cupy(tensor)
    except TypeError as error:
        raise TypeError(f"{name} of torch dtype {tensor.dtype} cannot be used: {error}") from error
    queue = _queue(device.index, torch.cuda.current_stream(device).cuda_stream)
    return View(data, torch.Tensor, queue, new, device.index, tensor.data_ptr())


def _cupy(name: str) -> Any:
    try:
        return _cuda("runtime").cupy()
    except ImportError as error:
        raise TypeError(
            f"{name} lives on a GPU, and CuPy, which runs the kernels there, is not installed: "
            f"pip install 'fastimg[cuda13]' (or [cuda12]), or copy it to the CPU (tensor.cpu())"
        ) from error


def _queue(device: int, stream: int | None) -> Any:
    return _cuda("queue").Queue(device, stream)


@functools.cache
def _cuda(module: str) -> Any:
    """A module of the CUDA backend, which nothing imports before a GPU is wanted."""
    return import_module(f".backends.cuda.{module}", __package__)
