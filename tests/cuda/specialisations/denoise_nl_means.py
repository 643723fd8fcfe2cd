"""Of non-local means: with the macros that the backend chooses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import Specialisation

_backend = import_module("fastimg.backends.cuda.denoise_nl_means")  # the package has the function under this name


def _strips(image: str, result: str, channels: int, patch: int, excess: int, packed: bool = False) -> Specialisation:
    strip = _backend.strip_for(channels, patch, packed)
    return Specialisation(
        "denoise_nl_means",
        "denoise_nl_means_strips",
        {"IN": image, "OUT": result, "EXCESS": excess, **strip.macros((patch - 1) // 2, patch // 2)},
        threads=128,
        instructions=("MUFU.EX2.F16", "HFMA2", "HSET2") if packed else ("MUFU.EX2", "FFMA"),
    )


def _any(types: str, patch: int, in_patch: tuple[bool, bool], channels: int, guide: int, **rest: Any) -> Specialisation:
    """With a guide of so many channels; types of the image, the guide and the result."""
    before = patch // 2 if rest.get("taps") else (patch - 1) // 2
    general = _backend.General(before, patch // 2, in_patch, channels, guide, **rest)
    names = {"f": "float", "h": "half", "b": "uint8_t", "w": "uint16_t"}
    macros = {name: names[letter] for name, letter in zip(("IN", "GUIDE", "OUT"), types, strict=True)}
    return Specialisation(
        "denoise_nl_means",
        "denoise_nl_means_any",
        macros | general.macros,
        threads=512,
        shared_memory=general.shared_memory,
        instructions=("LDG", "MUFU.EX2") if general.welsch else ("LDG",),
    )


_IMAGE, _VOLUME, _ALL = (False, False), (False, True), (True, True)
_GAUSSIAN: dict[str, Any] = {"taps": True, "truncated": True}
_EVERYTHING: dict[str, Any] = {**_GAUSSIAN, "maps": True, "centre": True, "welsch": False}

SPECIALISATIONS = [
    *(_strips("float", "float", 1, patch, 1) for patch in (4, 6, 7, 10, 16)),
    *(_strips("float", "float", 3, patch, 1) for patch in (6, 10)),
    _strips("float", "float", 1, 6, 0),
    _strips("uint8_t", "float", 1, 6, 0),
    _strips("half", "half", 1, 6, 1),
    *(_strips("uint8_t", "uint8_t", 1, patch, 1, packed=True) for patch in (6, 8, 16)),
    *(_strips("uint8_t", "uint8_t", 3, patch, 1, packed=True) for patch in (6, 9)),
    _strips("uint8_t", "uint8_t", 1, 6, 0, packed=True),
    # Wide patches, many channels.
    *(_any(types, 18, _IMAGE, 1, 1) for types in ("fff", "bbb")),
    _any("fff", 126, _IMAGE, 1, 1),
    _any("fff", 6, _IMAGE, 4, 4),
    # Gaussian patches.
    *(_any(types, 7, _IMAGE, 1, 1, **_GAUSSIAN) for types in ("fff", "bbb", "hhh")),
    *(_any("fff", patch, _IMAGE, 3, 3, **_GAUSSIAN) for patch in (7, 127)),
    # Volumes.
    *(_any(types, 6, _VOLUME, 1, 1) for types in ("fff", "bbb", "wwf")),
    _any("fff", 7, _VOLUME, 1, 1, **_GAUSSIAN),
    _any("fff", 6, _VOLUME, 3, 3),
    _any("fff", 6, _ALL, 1, 1),
    # Guides, maps, weightings, the centre's weight.
    _any("fbf", 6, _IMAGE, 1, 3),
    *(_any("fff", 6, _IMAGE, channels, channels, maps=True) for channels in (1, 3)),
    *(_any("fff", 6, _IMAGE, channels, channels, centre=True) for channels in (1, 3)),
    _any("fff", 6, _IMAGE, 3, 3, welsch=False),
    *(_any("fff", 7, planes, 4, 4, **_EVERYTHING) for planes in (_IMAGE, _ALL)),
    _any("fff", 127, _ALL, 4, 4, **_EVERYTHING),
]
