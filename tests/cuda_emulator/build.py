"""Libraries compiled by g++ when they are first wanted, and kept on disk under a hash of all that they depend on."""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"


class Build(enum.Enum):
    """How kernels are compiled."""

    PLAIN = ("-O1", "-g1")
    # Every access to memory becomes a call, which csrc/thread_sanitizer_hooks.cpp answers.
    CHECKING = ("-O1", "-g1", "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0")
    # What is found ends the process.
    SANITIZING = (
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined,float-cast-overflow",
        "-fno-sanitize-recover=all",
    )


LANGUAGE = ("-std=c++17", "-fPIC", "-mavx2", "-mfma", "-mf16c", "-fno-semantic-interposition")
# As nvcc does, a multiplication and an addition become one operation. Without -fno-gnu-unique and hidden visibility,
# two libraries would share the static variables of templates, which are shared memory here.
KERNEL_FLAGS = (*LANGUAGE, "-fstack-clash-protection", "-ffp-contract=fast", "-fvisibility=hidden", "-fno-gnu-unique")
WARNINGS = ("-Wall", "-Wno-attributes", "-Wno-unknown-pragmas")
RUNTIME_FLAGS = {
    Build.PLAIN: ("-O2", "-g1"),
    Build.CHECKING: ("-O2", "-g1"),
    Build.SANITIZING: ("-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address"),
}


class CompileError(RuntimeError):
    """What g++ said."""


def cache_folder() -> Path:
    """Where libraries are kept: FASTIMG_EMULATOR_CACHE, else a folder of this user's among the temporary ones."""
    chosen = os.environ.get("FASTIMG_EMULATOR_CACHE")
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"fastimg-cuda-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@functools.cache
def runtime_library(build: Build) -> Path:
    """The runtime that kernels call, compiled."""
    flags = ("-Wall", "-Wextra", *LANGUAGE, "-DEMULATOR_RUNTIME", *RUNTIME_FLAGS[build])
    library = cache_folder() / f"runtime-{_hash(_emulator_text(), *flags)}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            objects = {str(source): f"{folder}/{source.stem}.o" for source in SOURCES.glob("*.cpp")}
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda pair: _run("g++", *flags, "-c", pair[0], "-o", pair[1]), objects.items()))
            _run("g++", *flags, "-shared", *objects.values(), "-o", str(made))
            made.replace(library)
    return library


def kernel_library(code: str, options: Sequence[str], build: Build) -> Path:
    """The kernels of a CUDA C++ file, compiled for the CPU.

    Parameters
    ----------
    code : str
        What the file says.
    options : sequence of str
        NVRTC's: folders of headers and macros are heeded; ``-std=c++17`` and what concerns the device is so anyway.
    build : Build
    """
    folders, macros = _understood(options)
    sources = [code, *(path.read_text() for path in _headers(code, folders))]
    macros = [macro for macro in macros if any(re.search(rf"\b{_macro_name(macro)}\b", text) for text in sources)]
    flags = [*KERNEL_FLAGS, *WARNINGS, *build.value, *(f"-I{folder}" for folder in folders), *macros]
    library = cache_folder() / f"kernels-{_hash(_emulator_text(), *sources, *flags)}.so"
    if not library.exists():
        header = _precompiled_header(build)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = _compile(code, _file_name(code, folders), header, flags, Path(folder))
            made.replace(library)
    return library


@functools.cache
def _precompiled_header(build: Build) -> Path:
    """A header that includes the emulator's, and beside it what g++ takes in its place: half of a kernel's time."""
    flags = (*KERNEL_FLAGS, *WARNINGS, *build.value)
    header = cache_folder() / f"emulator-{_hash(_emulator_text(), *flags)}.hpp"
    precompiled = Path(f"{header}.gch")
    if not precompiled.exists():
        with tempfile.TemporaryDirectory(dir=header.parent) as folder:
            source, made = Path(folder) / header.name, Path(folder) / precompiled.name
            source.write_text(f'#include "{SOURCES / "emulator.hpp"}"\n')
            _run("g++", *flags, "-x", "c++-header", str(source), "-o", str(made))
            source.replace(header)
            made.replace(precompiled)
    return header


def _compile(code: str, name: str, header: Path, flags: list[str], folder: Path) -> Path:
    """Preprocess, look for kernels, add their exports, compile."""
    source, preprocessed, compiled, library = (folder / f"kernels{suffix}" for suffix in (".cpp", ".ii", ".o", ".so"))
    source.write_text(code)
    include = ("-fpch-preprocess", "-include", str(header))
    _run("g++", *flags, "-E", *include, str(source), "-o", str(preprocessed))
    text = preprocessed.read_text().replace(f'"{source}"', f'"{name}"')
    preprocessed.write_text(f'{text}\n# 1 "{SOURCES / "exports"}"\n{_exports(text)}\n')
    _run("g++", *flags, "-fpreprocessed", "-c", str(preprocessed), "-o", str(compiled))
    # libtsan is not linked, and the other sanitizers' libraries come with the process.
    _run("g++", "-shared", str(compiled), "-o", str(library))
    return library


def _exports(preprocessed: str) -> str:
    """Code that makes each kernel known; see csrc/kernel.hpp for the marks."""
    exports = {}
    for head in re.findall(r'extern\s+"C"\s+__attribute__\(\(emulator_kernel\)\)([^;{]*)', preprocessed):
        bounds = re.search(r"__attribute__\(\(emulator_launch_bounds\((.*?)\)\)\)", head, re.DOTALL)
        name = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\(\(.*?\)\)+", "", head, flags=re.DOTALL))
        if name:
            exports[name[1]] = (
                f'extern "C" const __attribute__((visibility("default"))) emulator::Kernel emulator_kernel_{name[1]}'
                f' = emulator::describe_kernel<&{name[1]}>("{name[1]}", {bounds[1] if bounds else 0});'
            )
    return "\n".join(exports.values())


def _understood(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folders of headers and the macros among NVRTC's options."""
    if "--use_fast_math" in options or "-use_fast_math" in options:
        raise ValueError("kernels are to say where they take an approximation: --use_fast_math is not emulated")
    folders = [str(Path(option.removeprefix("-I")).resolve()) for option in options if option.startswith("-I")]
    return folders, [option for option in options if option.startswith("-D")]


def _macro_name(option: str) -> str:
    return re.escape(option.removeprefix("-D").split("=")[0].split("(")[0])


def _headers(code: str, folders: Sequence[str]) -> list[Path]:
    """The headers that the code includes, and those that they include."""
    found: list[Path] = []

    def follow(text: str, here: Sequence[Path]) -> None:
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
            for folder in here:
                path = (folder / name).resolve()
                if path.is_file() and path not in found:
                    found.append(path)
                    follow(path.read_text(), (path.parent, *here))
                    break

    follow(code, [Path(folder) for folder in folders])
    return found


def _file_name(code: str, folders: Sequence[str]) -> str:
    """What to call the code in messages: the file that it was read from, if it is one beside the headers."""
    for folder in folders:
        for path in sorted(Path(folder).glob("*.cu")):
            if path.read_text() == code:
                return str(path)
    return "kernel.cu"


@functools.cache
def _emulator_text() -> str:
    """All that libraries depend on besides their own code and flags; the lines of this folder bear its name in them."""
    texts = (path.read_text() for path in [Path(__file__), *sorted(SOURCES.iterdir())])
    return "".join([_run("g++", "--version"), str(SOURCES), *texts])


def _hash(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()[:24]


def _run(*command: str) -> str:
    """The output of a compiler, for which the current folder is one that no name in its messages depends on."""
    environment = {**os.environ, "LC_ALL": "C", "LD_PRELOAD": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")
    if done.returncode:
        raise CompileError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout
