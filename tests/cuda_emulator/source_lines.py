"""From instructions back to lines of the kernel."""

from __future__ import annotations

import ctypes
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .build import SOURCES


@dataclass(frozen=True, order=True)
class Place:
    """A line."""

    file: str
    line: int


UNKNOWN = Place("", 0)


class _DlInfo(ctypes.Structure):
    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    ]


def places(instructions: Sequence[int]) -> list[Place]:
    """The line of each instruction: of inlined functions the innermost that is in the kernel's own file.

    What a kernel's header does for it counts as done where the header's function is called.
    """
    by_library: dict[str, dict[int, int]] = defaultdict(dict)
    for instruction in instructions:
        info = _DlInfo()
        if ctypes.CDLL(None).dladdr(ctypes.c_void_p(instruction), ctypes.byref(info)):
            by_library[info.file.decode()][instruction] = instruction - info.base
    found: dict[int, Place] = {}
    for library, offsets in by_library.items():
        for instruction, chain in zip(offsets, _chains(library, list(offsets.values())), strict=True):
            found[instruction] = _in_kernel(chain)
    return [found.get(instruction, UNKNOWN) for instruction in instructions]


def _chains(library: str, offsets: Sequence[int]) -> list[list[Place]]:
    """For each offset the line, and the lines of the calls through which it was inlined."""
    command = ["addr2line", "--addresses", "--inlines", "--exe", library, *map(hex, offsets)]
    chains: list[list[Place]] = []
    for row in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if row.startswith("0x"):
            chains.append([])
            continue
        file, _, line = row.partition(" (")[0].rpartition(":")
        if not file.lstrip("/").count("/"):  # code without a file; "/" is where build.py runs g++
            file = file.lstrip("/")
        chains[-1].append(Place(file, int(line) if line.isdigit() else 0))
    return chains


def _in_kernel(chain: Sequence[Place]) -> Place:
    """The innermost line in the kernel's file, which is where the outermost is; else the innermost outside csrc."""
    ours = [place for place in chain if place.line and not place.file.startswith(str(SOURCES))]
    if not ours:
        return UNKNOWN
    return next(place for place in ours if place.file == ours[-1].file)
