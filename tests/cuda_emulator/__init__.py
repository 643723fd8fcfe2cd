"""CUDA C++ kernels on the CPU: what stands for CuPy where there is no GPU.

`README.md` says what it finds and what it cannot.
"""

from . import cuda
from .arrays import EmulatedArray, asarray, asnumpy, empty, zeros
from .build import CompileError
from .checker import Accesses, Problem, Report, checking
from .kernels import LaunchRecord, RawModule, recording
from .runtime import EmulatorError, schedule
from .sanitizers import run_sanitized, sanitized_environment, sanitizing

__all__ = [
    "Accesses",
    "CompileError",
    "EmulatedArray",
    "EmulatorError",
    "LaunchRecord",
    "Problem",
    "RawModule",
    "Report",
    "asarray",
    "asnumpy",
    "checking",
    "cuda",
    "empty",
    "is_available",
    "ndarray",
    "recording",
    "run_sanitized",
    "sanitized_environment",
    "sanitizing",
    "schedule",
    "zeros",
]

ndarray = EmulatedArray


def is_available() -> bool:
    return True
