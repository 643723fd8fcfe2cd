"""Of non-local means by whole weights: with the macros that the backend chooses."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from . import Specialisation

_backend = import_module(
    "fastimg.backends.cuda.denoise_nl_means_by_table"
)  # the package has the function under this name


def _block(
    dtype: str, radius: int, channels: int, guide: int, *, absolute: bool = False, weights: int = 600
) -> Specialisation:
    """With a guide of so many channels, and weights in shared memory if there are any."""
    block = _backend.block_for(np.dtype(dtype), absolute, radius, channels, guide)
    packed = dtype == "uint8" and 1 < guide <= 4
    return Specialisation(
        "denoise_nl_means_by_table",
        "denoise_nl_means_by_table",
        block.macros(shared=weights > 0),
        threads=block.threads,
        shared_memory=block.shared_memory + 4 * weights,
        instructions=("LDS", "IDP.4A") if packed else ("LDS",),
    )


SPECIALISATIONS = [
    *(_block("uint8", 3, channels, channels) for channels in (1, 2, 3, 4)),
    *(_block("uint8", radius, 1, 1) for radius in (0, 8, 9, 63)),
    *(_block("uint8", radius, 3, 3) for radius in (0, 8, 9)),
    _block("uint8", 3, 1, 3),
    _block("uint8", 3, 5, 5),
    *(_block("uint8", 3, channels, channels, weights=0) for channels in (1, 3)),
    *(_block("uint8", 3, channels, channels, absolute=True) for channels in (1, 3)),
    *(_block("uint16", 3, channels, channels, absolute=True, weights=0) for channels in (1, 3, 5)),
    *(_block("uint16", radius, 3, 3, absolute=True, weights=0) for radius in (0, 8, 63)),
    _block("uint16", 3, 1, 3, absolute=True),
]
