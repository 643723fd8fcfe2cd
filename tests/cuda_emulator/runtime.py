"""The emulator's runtime (csrc/runtime.hpp) as Python sees it, and the settings of launches."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .build import Build, runtime_library
from .sanitizers import sanitizing

__all__ = ["EmulatorError", "schedule", "settings"]


class EmulatorError(RuntimeError):
    """A kernel did what a device does not allow.

    Attributes
    ----------
    kernel : str
    problem : str
    block, thread : tuple of int or None
        Where it happened, if a thread is to blame.
    file : str
    line : int
        Of the kernel; empty and 0 if not known.
    """

    def __init__(
        self,
        kernel: str,
        problem: str,
        block: tuple[int, int, int] | None = None,
        thread: tuple[int, int, int] | None = None,
        file: str = "",
        line: int = 0,
    ) -> None:
        self.kernel, self.problem, self.block, self.thread, self.file, self.line = (
            kernel,
            problem,
            block,
            thread,
            file,
            line,
        )
        place = [kernel]
        if block is not None:
            place.append(f"block {block}, thread {thread}")
        if file:
            place.append(f"{file}:{line}")
        super().__init__(f"{', '.join(place)}: {problem}")


# ---- settings --------------------------------------------------------------------------------------------------------

POLICIES = ("in_order", "reversed", "random", "run_ahead")


@dataclass(frozen=True)
class Settings:
    """How kernels are compiled and in which order threads run."""

    build: Build = Build.PLAIN
    policy: str = "run_ahead"
    seed: int = 0


_settings = Settings(build=Build.SANITIZING if sanitizing() else Build.PLAIN)


def settings() -> Settings:
    """Those of the next launch."""
    return _settings


@contextmanager
def changed_settings(**changes: object) -> Iterator[None]:
    """Other settings for the launches inside."""
    global _settings
    before = _settings
    _settings = replace(before, **changes)  # type: ignore[arg-type]
    try:
        yield
    finally:
        _settings = before


@contextmanager
def schedule(policy: str, seed: int = 0) -> Iterator[None]:
    """The order of threads for the launches inside.

    Parameters
    ----------
    policy : {'in_order', 'reversed', 'random', 'run_ahead'}
        In turns; in turns from the last thread on; any thread; one warp as far as barriers let it, then another.
    seed : int
        For the latter two.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {POLICIES}, not {policy!r}")
    with changed_settings(policy=policy, seed=seed):
        yield


# ---- structures of csrc/runtime.hpp ----------------------------------------------------------------------------------


class Index(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]

    def as_tuple(self) -> tuple[int, int, int]:
        return self.x, self.y, self.z


class Launch(ctypes.Structure):
    _fields_ = [
        ("grid", Index),
        ("block", Index),
        ("dynamic_shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("policy", ctypes.c_int32),
    ]


class Error(ctypes.Structure):
    _fields_ = [
        ("message", ctypes.c_char * 1024),
        ("file", ctypes.c_char * 512),
        ("line", ctypes.c_int32),
        ("in_thread", ctypes.c_int32),
        ("block", Index),
        ("thread", Index),
        ("instruction", ctypes.c_void_p),
    ]


class Parameter(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char), ("bytes", ctypes.c_int32)]


class Kernel(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("parameters", ctypes.POINTER(Parameter)),
        ("parameter_count", ctypes.c_int32),
        ("most_threads", ctypes.c_int32),
        ("shared_begin", ctypes.c_void_p),
        ("shared_end", ctypes.c_void_p),
    ]


@functools.cache
def library() -> ctypes.PyDLL:
    """The runtime, loaded so that kernel libraries find it.

    Watched kernels and others use the same; those under sanitizers need a process of their own. A launch keeps the
    GIL, so that nothing is allocated or freed meanwhile.
    """
    runtime = ctypes.PyDLL(str(runtime_library(_settings.build)), mode=ctypes.RTLD_GLOBAL)
    runtime.emulator_allocate.restype = ctypes.c_void_p
    runtime.emulator_allocate.argtypes = [ctypes.c_size_t]
    runtime.emulator_free.restype = None
    runtime.emulator_free.argtypes = [ctypes.c_void_p]
    runtime.emulator_problem_count.restype = ctypes.c_size_t
    runtime.emulator_instruction_count.restype = ctypes.c_size_t
    runtime.emulator_owns.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    runtime.emulator_launch.argtypes = [
        ctypes.POINTER(Kernel),
        ctypes.POINTER(Launch),
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(Error),
    ]
    return runtime
