"""What every CUDA kernel needs on every architecture, found by compiling it as CuPy does, without a GPU.

`python tests/cuda/resources.py` brings the table `resources.csv` up to date: it compiles for every architecture what
changed since, which takes minutes. NVRTC reports registers, spills, stack frames and static shared memory, occupancy
follows from them, and the machine code shows its instructions. Each row bears the fingerprint of the sources that it
was made from, so that `test_resources.py` need compile only a part again to know that the table holds.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path

from specialisations import Specialisation

from fastimg.backends.cuda import runtime

TABLE = Path(__file__).with_name("resources.csv")


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
    """One row of the table.

    `occupancy` is the share of a multiprocessor's threads that can be resident, in percent; `local` counts accesses to
    local memory; `missing` names the instructions meant that are not there.
    """

    kernel: str
    definitions: str
    architecture: str
    registers: int
    stack: int
    spills: int
    static_shared: int
    dynamic_shared: int
    occupancy: int
    local: int
    missing: str
    fingerprint: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kernel, self.definitions, self.architecture


def specialisations() -> list[Specialisation]:
    """All of them, of all source files."""
    folder = Path(__file__).with_name("specialisations")
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [s for name in modules for s in import_module(f"specialisations.{name}").SPECIALISATIONS]


def one_of_each_kernel() -> list[Specialisation]:
    """The first specialisation of every kernel."""
    first: dict[tuple[str, str], Specialisation] = {}
    for specialisation in specialisations():
        first.setdefault((specialisation.source, specialisation.kernel), specialisation)
    return list(first.values())


def keys(specialisation: Specialisation) -> list[tuple[str, str, str]]:
    """Those of its rows."""
    kernel = f"{specialisation.source}:{specialisation.kernel}"
    definitions = " ".join(f"{name}={value}" for name, value in specialisation.definitions.items())
    return [(kernel, definitions, architecture) for architecture in specialisation.architectures]


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


def examine(specialisation: Specialisation) -> list[Resources]:
    """Compile a specialisation for its architectures and look at the results."""
    rows = []
    for kernel, definitions, architecture in keys(specialisation):
        cubin, report = compile_cubin(specialisation, architecture)
        registers, stack, spills, static_shared = reported(specialisation.kernel, report)
        code = disassembly(cubin)
        wanted = specialisation.instructions if architecture != "sm_75" else ()
        row = Resources(
            kernel,
            definitions,
            architecture,
            registers,
            stack,
            spills,
            static_shared,
            specialisation.shared_memory,
            occupancy(architecture, specialisation, registers, static_shared),
            local=len(re.findall(r"\b(?:LDL|STL)\b", code)),
            missing=" ".join(name for name in wanted if not re.search(rf"\b{re.escape(name)}", code)),
            fingerprint=fingerprint(specialisation.source),
        )
        rows.append(row)
    return rows


def reported(kernel: str, report: str) -> tuple[int, int, int, int]:
    """Registers, bytes of stack, of spills and of static shared memory of a kernel, from the compiler's report."""
    entry = re.search(
        rf"Compiling entry function '{kernel}'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)",
        report,
        re.DOTALL,
    )
    if entry is None:
        raise RuntimeError(f"no report on {kernel} in:\n{report}")
    stack, stores, loads, registers = map(int, entry.groups()[:4])
    shared = re.search(r"(\d+) bytes smem", entry[5])
    return registers, stack, stores + loads, int(shared[1]) if shared else 0


@functools.cache
def fingerprint(source: str) -> str:
    """Of a kernel file and the headers that it includes, by whatever way."""
    digest, pending, seen = hashlib.sha256(), [f"{source}.cu"], set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        text = (runtime.sources() / name).read_text()
        digest.update(text.encode())
        included = re.findall(r'#include "(.*)"', text)
        pending += sorted(f"support/{Path(header).name}" for header in included)
    return digest.hexdigest()[:12]


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


def examine_all(chosen: Sequence[Specialisation]) -> Iterator[Resources]:
    """The rows of specialisations, in their order, found on all processors."""
    with ProcessPoolExecutor() as pool:
        for rows in pool.map(examine, chosen):
            yield from rows


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


def update_table() -> None:
    """Compile what is not in the table or was compiled from other sources, and drop what is in use no more."""
    rows = {row.key: row for row in read_table() if row.fingerprint == fingerprint(row.kernel.partition(":")[0])}
    wanted = specialisations()
    rows |= {row.key: row for row in examine_all([s for s in wanted if not rows.keys() >= set(keys(s))])}
    write_table([rows[key] for specialisation in wanted for key in keys(specialisation)])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    update_table()
