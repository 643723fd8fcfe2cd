"""Kernels into which a function is linked that Numba compiles.

Both come as the compilers' intermediate code (LTO-IR), which nvJitLink optimises as one: the function becomes part of
the kernel as if it had been written there. None of this needs a device, only what follows it: the code is loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PARAMETERS", "Linkable", "check_parameters", "cubin", "linked"]

MOST_PARAMETERS = 28  # Python passes more than 30 arguments in a list, and such a call Numba does not inline

# What CuPy tells NVRTC when it compiles a module.
AS_CUPY = ("-ftz=true", "--device-as-default-execution-space")


class Linkable(Protocol):
    """A function that a kernel declares `extern "C" __device__` under the name `symbol`."""

    symbol: str

    def lto_ir(self, capability: tuple[int, int]) -> bytes:
        """Its code for a compute capability."""

    def __hash__(self) -> int:
        """Kernels are kept by it."""


def check_parameters(parameters: NDArray[np.float64], name: str) -> None:
    """Raise ValueError if `name` has more parameters than a function on a GPU can have."""
    if len(parameters) > MOST_PARAMETERS:
        raise ValueError(f"{name} on a GPU may have at most {MOST_PARAMETERS} parameters, got {len(parameters)}")


def linked(library: Any, code: str, options: Sequence[str], function: Linkable, name: str) -> Any:
    """The kernel `name` of a file for the current device, with the function in it."""
    capability: str = library.cuda.Device().compute_capability
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin(code, options, function, f"sm_{capability}"))
        file.flush()
        return library.RawModule(path=file.name).get_function(name)  # loads it


def cubin(code: str, options: Sequence[str], function: Linkable, architecture: str) -> bytes:
    """The machine code of a file and a function for an architecture, ``sm_90`` say.

    No product is added without being rounded, so that a function gives what it gives on the CPU; what the file itself
    fuses, it says.
    """
    number = architecture.removeprefix("sm_").rstrip("a")
    ours = _lto_ir(code, [*options, *AS_CUPY, f"-arch={architecture}", "-dlto"])
    theirs = function.lto_ir((int(number[:-1]), int(number[-1])))
    return _link([ours, theirs], ["-lto", "-ftz=1", "-fma=0", f"-arch={architecture}"])


def _lto_ir(code: str, options: list[str]) -> bytes:
    nvrtc = import_module("cuda.bindings.nvrtc")

    def call(function: Any, *arguments: Any) -> Any:
        error, *values = function(*arguments)
        if int(error):
            _, size = nvrtc.nvrtcGetProgramLogSize(program)
            log = b" " * size
            nvrtc.nvrtcGetProgramLog(program, log)
            raise RuntimeError(f"NVRTC: {log.rstrip(bytes(1)).decode()}")
        return values[0] if values else None

    program = call(nvrtc.nvrtcCreateProgram, code.encode(), b"kernel.cu", 0, [], [])
    call(nvrtc.nvrtcCompileProgram, program, len(options), [option.encode() for option in options])
    found = b" " * int(call(nvrtc.nvrtcGetLTOIRSize, program))
    call(nvrtc.nvrtcGetLTOIR, program, found)
    call(nvrtc.nvrtcDestroyProgram, program)
    return found


def _link(parts: list[bytes], options: list[str]) -> bytes:
    nvjitlink = import_module("cuda.bindings.nvjitlink")
    handle = nvjitlink.create(len(options), options)
    try:
        for i, part in enumerate(parts):
            nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, part, len(part), f"part {i}")
        nvjitlink.complete(handle)
        found = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, found)
    except nvjitlink.nvJitLinkError as error:
        log = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, log)
        raise RuntimeError(f"nvJitLink: {error}: {log.decode()}") from error
    finally:
        nvjitlink.destroy(handle)
    return bytes(found)
