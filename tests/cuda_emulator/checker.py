"""Launches watched by the memory checker (csrc/memory_checker.hpp), and what it saw, by lines of the kernels."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .build import Build
from .runtime import Index, changed_settings, library, settings
from .source_lines import UNKNOWN, Place, places

__all__ = ["Accesses", "Problem", "Report", "checking"]

# As csrc/memory_checker.hpp numbers them.
KINDS = (
    "read-after-write race",
    "write-after-write race",
    "write-after-read race",
    "uninitialised read",
    "out of bounds",
    "misaligned",
)
SPACES = ("shared", "global", "")
ACCESSES = ("read", "write", "atomic")


@dataclass(frozen=True)
class Problem:
    """Something that a kernel must not do: the first time that a line, or two, did it.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    space : {'shared', 'global', ''}
        Memory; empty outside all memory.
    file, line, other_file, other_line
        Of the access, and of the earlier one in a race.
    kernel : str
    block, thread : tuple of int
    other_thread : int
        Number of the other thread in its block, -1 unless it is a race.
    count : int
        How many times; an access of several words counts for each.
    """

    kind: str
    space: str
    file: str
    line: int
    other_file: str
    other_line: int
    kernel: str
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    other_thread: int
    count: int

    def __str__(self) -> str:
        other = f", with thread {self.other_thread} at {self.other_file}:{self.other_line}" if self.other_file else ""
        return (
            f"{self.kernel}, block {self.block}, thread {self.thread}, {self.file}:{self.line}: {self.kind}"
            f"{f' in {self.space} memory' if self.space else ''}{other}, {self.count} times"
        )


@dataclass
class Accesses:
    """The requests that warps make to memory by one line.

    Attributes
    ----------
    file : str
    line : int
    kind : {'read', 'write'}
    space : {'shared', 'global'}
    bytes : int
        Of one thread's access.
    requests : int
    passes : int
        What the requests take: passes through the banks of shared memory, sectors of 32 bytes of global memory.
    ideal : int
        The least that as many bytes could take.
    worst : int
        The passes of the worst request.
    """

    file: str
    line: int
    kind: str
    space: str
    bytes: int
    requests: int = 0
    passes: int = 0
    ideal: int = 0
    worst: int = 0


@dataclass
class Report:
    """What the checker saw; complete at the end of `checking`."""

    problems: list[Problem] = field(default_factory=list)
    accesses: list[Accesses] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [str(problem) for problem in self.problems]
        for a in self.accesses:
            unit = "passes" if a.space == "shared" else "sectors"
            rows.append(
                f"{a.file}:{a.line}: {a.space} {a.kind} of {a.bytes} bytes: {a.requests} requests of"
                f" {a.passes / a.requests:.2f} {unit}, ideally {a.ideal / a.requests:.2f}, at most {a.worst}"
            )
        return "\n".join(rows)


@contextmanager
def checking() -> Iterator[Report]:
    """Watch every access to memory of the launches inside.

    Kernels are compiled anew for it, and run some ten times slower.
    """
    if settings().build is not Build.PLAIN:
        raise RuntimeError("launches are watched by one checker at a time")
    report = Report()
    with changed_settings(build=Build.CHECKING):
        library().emulator_start_checking()
        try:
            yield report
        finally:
            library().emulator_stop_checking()
            _fill(report)


# ---- structures of csrc/memory_checker.hpp ---------------------------------------------------------------------------


class _Problem(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int32),
        ("space", ctypes.c_int32),
        ("instruction", ctypes.c_void_p),
        ("other_instruction", ctypes.c_void_p),
        ("kernel", ctypes.c_char_p),
        ("block", Index),
        ("thread", Index),
        ("other_thread", ctypes.c_int32),
        ("count", ctypes.c_int64),
    ]


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_void_p),
        ("bytes", ctypes.c_int32),
        ("access", ctypes.c_uint8),
        ("space", ctypes.c_int32),
        ("requests", ctypes.c_int64),
        ("passes", ctypes.c_int64),
        ("ideal", ctypes.c_int64),
        ("worst", ctypes.c_int32),
    ]


def _all(structure: Any, name: str) -> list[Any]:
    runtime = library()
    rows = (structure * getattr(runtime, f"emulator_{name}_count")())()
    getattr(runtime, f"emulator_get_{name}s")(rows)
    return list(rows)


def _fill(report: Report) -> None:
    problems, instructions = _all(_Problem, "problem"), _all(_Instruction, "instruction")
    returned_to = {i.address for i in instructions}
    place: dict[int | None, Place] = defaultdict(lambda: UNKNOWN)
    place.update(zip(returned_to, places([address - 1 for address in returned_to]), strict=True))
    for p in problems:
        at, other = place[p.instruction], place[p.other_instruction]
        report.problems.append(
            Problem(
                kind=KINDS[p.kind],
                space=SPACES[p.space],
                file=at.file,
                line=at.line,
                other_file=other.file,
                other_line=other.line,
                kernel=p.kernel.decode(),
                block=p.block.as_tuple(),
                thread=p.thread.as_tuple(),
                other_thread=p.other_thread,
                count=p.count,
            )
        )
    report.accesses.extend(_by_line(instructions, place))


def _by_line(instructions: list[Any], place: dict[int | None, Place]) -> list[Accesses]:
    lines: dict[tuple[Any, ...], Accesses] = {}
    for i in instructions:
        if not i.requests:
            continue
        at = place[i.address]
        key = (at.file, at.line, ACCESSES[i.access], SPACES[i.space], i.bytes)
        accesses = lines.setdefault(key, Accesses(*key))
        accesses.requests += i.requests
        accesses.passes += i.passes
        accesses.ideal += i.ideal
        accesses.worst = max(accesses.worst, i.worst)
    return [lines[key] for key in sorted(lines)]
