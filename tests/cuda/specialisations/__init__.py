"""The specialisations of the kernels that the backend uses, one module per source file, for the compile matrix."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Specialisation:
    """One kernel as it is compiled and launched.

    `threads` and `shared_memory` (dynamic, in bytes) are those of a block; `instructions` the SASS mnemonics that must
    be there from sm_80 on; `at_least` the oldest architecture that it is compiled for.
    """

    source: str
    kernel: str
    definitions: dict[str, int | str] = field(hash=False)
    threads: int
    shared_memory: int = 0
    instructions: tuple[str, ...] = ()
    at_least: str = "sm_75"
