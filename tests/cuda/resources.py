"""What every CUDA kernel needs on every architecture, found by compiling it as CuPy does, without a GPU.

`python tests/cuda/resources.py` writes the table `resources.csv` anew; `test_resources.py` compares. NVRTC reports
registers, spills, stack frames and static shared memory; occupancy follows from them.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path

from specialisations import Specialisation

from fastimg.backends.cuda import runtime

TABLE = Path(__file__).with_name("resources.csv")
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120")


@dataclass(frozen=True)
class Multiprocessor:
    """What the blocks of an architecture share (CUDA C++ Programming Guide, "Compute Capabilities")."""

    threads: int
    blocks: int
    shared_memory: int
    reserved_per_block: int
    registers: int = 65536


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(1024, 16, 65536, 0),
    "sm_80": Multiprocessor(2048, 32, 167936, 1024),
    "sm_86": Multiprocessor(1536, 16, 102400, 1024),
    "sm_89": Multiprocessor(1536, 24, 102400, 1024),
    "sm_90a": Multiprocessor(2048, 32, 233472, 1024),
    "sm_100": Multiprocessor(2048, 32, 233472, 1024),
    "sm_120": Multiprocessor(1536, 24, 102400, 1024),
}


@dataclass(frozen=True)
class Resources:
    """One row of the table. `occupancy` is the share of a multiprocessor's threads that can be resident, in percent."""

    kernel: str
    definitions: str
    architecture: str
    registers: int
    stack: int
    spills: int
    static_shared: int
    dynamic_shared: int
    occupancy: int


def specialisations() -> list[Specialisation]:
    """All of them, of all source files."""
    folder = Path(__file__).with_name("specialisations")
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [s for name in modules for s in import_module(f"specialisations.{name}").SPECIALISATIONS]


def architectures(specialisation: Specialisation) -> tuple[str, ...]:
    """Those that it is compiled for."""
    return ARCHITECTURES[ARCHITECTURES.index(specialisation.at_least) :]


def compile_cubin(specialisation: Specialisation, architecture: str) -> tuple[bytes, str]:
    """The machine code and the compiler's report, with the options that CuPy's RawModule passes."""
    from cuda.bindings import nvrtc

    code = (runtime.sources() / f"{specialisation.source}.cu").read_bytes()
    options = [
        *runtime.compile_options(tuple(specialisation.definitions.items())),
        f"-arch={architecture}",
        "-ftz=true",
        "--device-as-default-execution-space",
        "--ptxas-options=-v",
    ]
    _, program = nvrtc.nvrtcCreateProgram(code, f"{specialisation.source}.cu".encode(), 0, [], [])
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    report = log.rstrip(b"\0").decode()
    if int(error):
        raise RuntimeError(f"{specialisation} for {architecture}:\n{report}")
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    cubin = b" " * size
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(program)
    return cubin, report


def resources(specialisation: Specialisation, architecture: str, report: str) -> Resources:
    """What the compiler reports of one kernel."""
    entry = re.search(
        rf"Compiling entry function '{specialisation.kernel}'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)",
        report,
        re.DOTALL,
    )
    if entry is None:
        raise RuntimeError(f"no report on {specialisation.kernel} in:\n{report}")
    stack, stores, loads, registers = map(int, entry.groups()[:4])
    shared = re.search(r"(\d+) bytes smem", entry[5])
    static_shared = int(shared[1]) if shared else 0
    return Resources(
        kernel=f"{specialisation.source}:{specialisation.kernel}",
        definitions=" ".join(f"{name}={value}" for name, value in specialisation.definitions.items()),
        architecture=architecture,
        registers=registers,
        stack=stack,
        spills=stores + loads,
        static_shared=static_shared,
        dynamic_shared=specialisation.shared_memory,
        occupancy=occupancy(architecture, specialisation, registers, static_shared),
    )


def occupancy(architecture: str, specialisation: Specialisation, registers: int, static_shared: int) -> int:
    """Percent of the threads of a multiprocessor that blocks of this kernel can fill."""
    sm = MULTIPROCESSORS[architecture]
    warps = -(-specialisation.threads // 32)
    registers_per_block = -(-registers * 32 // 256) * 256 * warps  # given out by warps, 256 at a time
    shared = static_shared + specialisation.shared_memory + sm.reserved_per_block
    blocks = min(
        sm.blocks,
        sm.threads // (32 * warps),
        sm.registers // registers_per_block,
        sm.shared_memory // shared if shared else sm.blocks,
    )
    return round(100 * blocks * 32 * warps / sm.threads)


def disassembly(cubin: bytes) -> str:
    """The machine code as text (SASS)."""
    tool = Path(sysconfig.get_paths()["platlib"]) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Outcome:
    """One specialisation on one architecture: its row, instructions that are missing, accesses to local memory."""

    row: Resources
    missing: tuple[str, ...]
    local: tuple[str, ...]


def examine(specialisation: Specialisation) -> list[Outcome]:
    """Compile a specialisation for every architecture and look at the result."""
    outcomes = []
    for architecture in architectures(specialisation):
        cubin, report = compile_cubin(specialisation, architecture)
        code = disassembly(cubin)
        wanted = specialisation.instructions if architecture != "sm_75" else ()
        missing = tuple(name for name in wanted if not re.search(rf"\b{re.escape(name)}", code))
        local = tuple(sorted(set(re.findall(r"\b(?:LDL|STL)\b", code))))
        outcomes.append(Outcome(resources(specialisation, architecture, report), missing, local))
    return outcomes


def examine_all() -> Iterator[Outcome]:
    """All specialisations, in the table's order, on all processors."""
    with ProcessPoolExecutor() as pool:
        for outcomes in pool.map(examine, specialisations()):
            yield from outcomes


def read_table() -> list[Resources]:
    """The checked-in table."""
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {field.name: int if field.type == "int" else str for field in fields(Resources)}
    return [Resources(**{name: kinds[name](value) for name, value in row.items()}) for row in rows]


def write_table(rows: list[Resources]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Resources)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    write_table([outcome.row for outcome in examine_all()])
