"""Image kernels at the limit of the hardware.

Modules are named as in scikit-image and loaded at first use::

    from fastimg import filters, metrics, restoration, transform
"""

from __future__ import annotations

import importlib
from typing import Any

from ._config import get_config, get_num_threads, set_num_threads, show_config
from ._version import __version__

_MODULES = ("augment", "color", "filters", "metrics", "models", "nn", "opencv", "restoration", "transform", "util")

__all__ = ["__version__", "get_config", "get_num_threads", "set_num_threads", "show_config", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
