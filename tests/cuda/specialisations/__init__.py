"""The specialisations of the kernels that the backend uses, one module per source file, for the compile matrix."""

from __future__ import annotations

from dataclasses import dataclass, field

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120")


@dataclass(frozen=True)
class Specialisation:
    """One kernel as it is compiled and launched.

    `threads` and `shared_memory` (dynamic, in bytes) are those of a block; `instructions` the SASS mnemonics that must
    be there from sm_80 on; `architectures` those that it is used on.
    """

    source: str
    kernel: str
    definitions: dict[str, int | str] = field(hash=False)
    threads: int
    shared_memory: int = 0
    instructions: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ARCHITECTURES
