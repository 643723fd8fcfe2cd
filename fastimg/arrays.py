"""What an array is, where it lives, and how it is given back.

The only module that knows of array libraries other than NumPy. None of them is imported: a type is recognised through
`sys.modules`, because an object of a library can only exist once somebody else has imported that library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .backends import cpu

__all__ = ["IMAGE_DTYPES", "Result", "Source", "take"]

MAX_DIMENSIONS = 8
IMAGE_DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "float16", "float32", "float64"))


def take(array: Any, name: str, *, dtypes: Sequence[DTypeLike] = IMAGE_DTYPES) -> Source:
    """Take an argument as an array of one of `dtypes`, without a copy wherever its memory can be followed.

    Parameters
    ----------
    array : numpy.ndarray, CPU torch.Tensor, or anything NumPy can view (buffer protocol, ``__array__``, DLPack, lists)
        At most eight dimensions, any strides. Copied only if its byte order is foreign or its elements are misaligned.
    name : str
        The argument's name, for error messages.
    dtypes : sequence of dtype
        What is accepted.

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
    data, kind, give_back = _as_numpy(array, name)
    accepted = tuple(np.dtype(dtype) for dtype in dtypes)
    if data.dtype.newbyteorder("=") not in accepted:
        expected = ", ".join(dtype.name for dtype in accepted)
        raise TypeError(f"{name} must have one of the dtypes {expected}, got {data.dtype.name}")
    if data.ndim > MAX_DIMENSIONS:
        raise ValueError(f"{name} must have at most {MAX_DIMENSIONS} dimensions, got {data.ndim}")
    if not data.dtype.isnative or not data.flags.aligned:
        data = data.astype(data.dtype.newbyteorder("="))
    return Source(data, name, cpu, kind, give_back)


@dataclass(frozen=True)
class Source:
    """An array argument: its data, the backend that owns it, and the way back to the kind that came in."""

    data: NDArray[Any]
    name: str
    backend: ModuleType
    kind: type
    give_back: Callable[[NDArray[Any]], Any]

    def result(self, shape: Sequence[int], dtypes: Sequence[DTypeLike], out: Any = None) -> Result:
        """Memory for a result: new, or the caller's `out` once it has been checked.

        Parameters
        ----------
        shape : sequence of int
        dtypes : sequence of dtype
            A new array has the first; `out` may have any of them.
        out : array of the same kind as this one, optional
            Where the result goes; any strides. For whatever is not a tensor, anything writable that NumPy can view.

        Raises
        ------
        TypeError
            If `out` is of another kind or dtype, of foreign byte order or misaligned.
        ValueError
            If `out` has another shape, is read-only, or overlaps this array or itself.
        """
        accepted = [np.dtype(dtype) for dtype in dtypes]
        shape = tuple(shape)
        if out is None:
            data = _empty(shape, accepted[0])
            return Result(data, lambda: self.give_back(data))
        data, kind, _ = _as_numpy(out, "out", writable=True)
        if kind is not self.kind:
            raise TypeError(f"out must be of the kind of {self.name}, {self.kind.__name__}, got {type(out).__name__}")
        if data.dtype.newbyteorder("=") not in accepted:
            expected = " or ".join(dtype.name for dtype in accepted)
            raise TypeError(f"out must have dtype {expected}, got {data.dtype.name}")
        if not data.dtype.isnative or not data.flags.aligned:
            raise TypeError("out must have aligned elements of native byte order")
        if data.shape != shape:
            raise ValueError(f"out must have shape {shape}, got {data.shape}")
        if not data.flags.writeable:
            raise ValueError("out is read-only")
        if overlap(data, self.data):
            raise ValueError(f"out must not overlap {self.name}")
        if _overlaps_itself(data):
            raise ValueError("out must not hold one element at two places (a broadcast or sliding view)")
        return Result(data, lambda: out)


@dataclass(frozen=True)
class Result:
    """Memory that a kernel writes, and the way back to the caller."""

    data: NDArray[Any]
    give_back: Callable[[], Any]


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except (ValueError, MemoryError) as error:
        raise MemoryError(f"no room for a result of shape {shape} and dtype {dtype.name}") from error


def overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays share an element; arrays too intricate to decide count as overlapping."""
    try:
        return bool(np.shares_memory(a, b, max_work=1_000_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Whether two indices may stand for one element; what is too intricate to decide counts as overlapping."""
    reach = array.itemsize  # of the axes seen so far, from the smallest stride on
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def _as_numpy(
    array: Any, name: str, *, writable: bool = False
) -> tuple[NDArray[Any], type, Callable[[NDArray[Any]], Any]]:
    """View `array` as NumPy, with its kind and the function that turns a NumPy result into an array of that kind."""
    if isinstance(array, np.ndarray):
        if isinstance(array, (np.matrix, np.ma.MaskedArray)):
            raise TypeError(f"{name} must be a plain array, got {type(array).__name__}")
        return np.asarray(array), np.ndarray, _unchanged
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _torch_as_numpy(array, name, writable), torch.Tensor, torch.from_numpy
    if isinstance(array, type):
        raise TypeError(f"{name} must be an array, got the class {array.__name__}")
    if hasattr(array, "__cuda_array_interface__") or _is_foreign_device(array):
        raise TypeError(_no_cuda(name))
    if writable and not (hasattr(array, "__array_interface__") or isinstance(array, (memoryview, bytearray))):
        raise TypeError(f"{name} must be a NumPy array or a CPU tensor, got {type(array).__name__}")
    try:
        if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
            return np.from_dlpack(array), np.ndarray, _unchanged
        return np.asarray(array), np.ndarray, _unchanged
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} must be an array, got {type(array).__name__}: {error}") from error


def _torch_as_numpy(tensor: Any, name: str, writable: bool) -> NDArray[Any]:
    if tensor.device.type == "cuda":
        raise TypeError(_no_cuda(name))
    if tensor.device.type != "cpu":
        raise TypeError(f"{name} must be on the CPU, got a tensor on {tensor.device}")
    if tensor.requires_grad:
        raise TypeError(f"{name} requires a gradient, which fastimg does not track: pass {name}.detach()")
    if writable and (tensor.is_neg() or tensor.is_conj()):
        raise TypeError(f"{name} must be a tensor that holds its values, got a view that negates or conjugates them")
    try:
        data: NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} of torch dtype {tensor.dtype} cannot be used: {error}") from error
    return data


def _is_foreign_device(array: Any) -> bool:
    """Whether DLPack says that the array is not in the memory of the CPU (DLPack device type 1)."""
    device = getattr(array, "__dlpack_device__", None)
    return callable(device) and int(device()[0]) != 1


def _no_cuda(name: str) -> str:
    return (
        f"{name} lives on a GPU, and this version of fastimg has no CUDA backend: "
        f"copy it to the CPU first (cupy.asnumpy(x), tensor.cpu())"
    )


def _unchanged(result: NDArray[Any]) -> NDArray[Any]:
    return result
