"""Kernels under AddressSanitizer and UndefinedBehaviorSanitizer, which need a process of their own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

__all__ = ["run_sanitized", "sanitized_environment", "sanitizing"]


def sanitizing() -> bool:
    """Whether the kernels of this process are compiled with sanitizers."""
    return bool(os.environ.get("FASTIMG_EMULATOR_SANITIZE"))


@functools.cache
def _library(name: str) -> str:
    return subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def sanitized_environment() -> dict[str, str]:
    """This process's environment, with what an interpreter needs to run kernels under sanitizers."""
    return {
        **os.environ,
        "FASTIMG_EMULATOR_SANITIZE": "1",
        "LD_PRELOAD": f"{_library('libasan.so')}:{_library('libubsan.so')}",
        # Python frees little at its end, and false stacks for each of many fibres take minutes.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONSAFEPATH": "1",  # modules are found where this process finds them, not in the working directory
    }


def run_sanitized(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter whose kernels are sanitized; the first find ends it with a report on its stderr.

    Parameters
    ----------
    *arguments : str
        Those of the interpreter, such as ``"-m", "pytest", file``; a single one is code.
    timeout : float
        In seconds.
    """
    if len(arguments) == 1:
        arguments = ("-c", *arguments)
    return subprocess.run(
        [sys.executable, *arguments],
        env=sanitized_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


if __name__ == "__main__":  # python -m cuda_emulator.sanitizers -m pytest ...
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], sanitized_environment())
