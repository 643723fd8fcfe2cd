"""What this installation consists of, and how many threads it uses."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import _checks, _fastimg_cpu
from ._version import __version__

__all__ = ["get_config", "get_num_threads", "set_num_threads", "show_config"]


def get_num_threads() -> int:
    """The number of threads that a call uses unless it says otherwise.

    At first ``FASTIMG_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number of processors this process may use.

    Examples
    --------
    >>> import fastimg
    >>> fastimg.get_num_threads() >= 1
    True
    """
    return _fastimg_cpu.get_num_threads()


def set_num_threads(n: int | None) -> None:
    """Set the number of threads that a call uses unless it says otherwise.

    Parameters
    ----------
    n : int or None
        1 to 1024; None goes back to what the environment says. Results never depend on it.

    Examples
    --------
    >>> import fastimg
    >>> fastimg.set_num_threads(1)
    >>> fastimg.get_num_threads()
    1
    >>> fastimg.set_num_threads(None)
    """
    _fastimg_cpu.set_num_threads(0 if n is None else _checks.integer(n, "n", at_least=1, at_most=_checks.MAX_THREADS))


def get_config() -> dict[str, Any]:
    """Versions, compiler, instruction sets, threads, and whether a GPU can be used, as a dictionary.

    Examples
    --------
    >>> import fastimg
    >>> fastimg.get_config()["targets built"]
    ['baseline', 'v3', 'v4']
    """
    return {
        "fastimg": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "compiler": _fastimg_cpu.compiler(),
        "targets built": _fastimg_cpu.built_targets(),
        "targets supported here": _fastimg_cpu.supported_targets(),
        "target in use": _fastimg_cpu.active_target(),
        "threads": get_num_threads(),
        "cupy": _cupy(),
        "gpu": _gpu(),
        "cuda kernels": _kernel_cache(),
    }


def show_config() -> None:
    """Print `get_config`, one line each.

    Examples
    --------
    >>> import fastimg
    >>> fastimg.show_config()  # doctest: +ELLIPSIS
    fastimg ...
    """
    config = get_config()
    width = max(map(len, config))
    for key, value in config.items():
        print(f"{key:<{width}}  {', '.join(value) if isinstance(value, list) else value}")


def _cupy() -> str:
    loaded = sys.modules.get("cupy")
    if loaded is not None:
        return str(loaded.__version__)
    return "installed" if importlib.util.find_spec("cupy") else "not installed"


def _gpu() -> str:
    """The device that kernels would run on, or why there is none."""
    from .backends.cuda import runtime

    try:
        cupy = runtime.cupy()
    except ImportError:
        return "not used: CuPy is not installed (pip install 'fastimg[cuda13]' or 'fastimg[cuda12]')"
    if not cupy.is_available():
        return "not used: CuPy finds no CUDA device or driver"
    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    return f"{name}, compute capability {device.compute_capability}"


def _kernel_cache() -> str:
    """Where CuPy keeps compiled kernels; the key of one is made of all our sources, its macros and the device."""
    from .backends.cuda import runtime

    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    return f"{folder}, sources {runtime.sources_hash()}"
