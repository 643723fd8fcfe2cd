"""Functions that Numba compiles become part of the kernels, on every architecture; no GPU is needed for that."""

from __future__ import annotations

import functools
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import resources
from specialisations import ARCHITECTURES

from fastimg.backends.cuda import linking, runtime
from fastimg.restoration.compiled import weighting_by
from fastimg.transform import CompiledMap

numba = pytest.importorskip("numba")
General = import_module(
    "fastimg.backends.cuda.denoise_nl_means"
).General  # the package has the function under this name


@pytest.fixture(scope="module")
def compilers():
    """What compiles and links for a GPU: the extras numba-cuda12 and numba-cuda13."""
    pytest.importorskip("numba_cuda", reason="needs numba-cuda")
    pytest.importorskip("cuda.bindings.nvjitlink", reason="needs nvJitLink")
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs NVRTC")


@functools.cache
def lens() -> CompiledMap:
    def function(row, column, strength=-2e-4, centre=20.0):
        y, x = row - centre, column - centre
        factor = 1 + strength * (x * x + y * y)
        return centre + y * factor, centre + x * factor

    return CompiledMap(function)


WARPS = [("uint8_t", 3, 2), ("float", 1, 4), ("float", 0, 1)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_map_is_part_of_the_kernel(compilers, architecture):
    """Nothing is called, and no register spilled."""
    for types, channels, taps in WARPS:
        definitions = {"IN": types, "OUT": types, "CHANNELS": channels, "TAPS": taps, "MAP": 4}
        cubin = linked("warp", definitions, lens(), architecture)
        assert b"fastimg_place" not in cubin
        code = resources.disassembly(cubin)
        assert "DMUL" in code
        assert "DFMA" not in code  # as on the CPU
        assert not re.findall(r"\b(?:LDL|STL)\b", code)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_weighting_is_part_of_the_kernel(compilers, architecture):
    def weight(distance, width=1.0):
        return max(0.0, 1 - distance / width) ** 2

    function = weighting_by(weight, {}).function
    for patch, channels, options in ((6, 1, {}), (6, 3, {"maps": True}), (7, 3, {"taps": True, "truncated": True})):
        general = General((patch - 1) // 2, patch // 2, (False, False), channels, channels, **options, welsch=False)
        definitions = {"IN": "float", "GUIDE": "float", "OUT": "float", **general.macros, "FUNCTION": 1}
        cubin = linked("denoise_nl_means", definitions, function, architecture)
        assert b"fastimg_weight" not in cubin
        code = resources.disassembly(cubin)
        assert "DFMA" in code
        assert not re.findall(r"\b(?:LDL|STL)\b", code)


def test_as_many_parameters_as_are_allowed(compilers):
    names = ", ".join(f"p{i}" for i in range(linking.MOST_PARAMETERS))
    scope: dict = {}
    exec(f"def place(row, column, {names}): return row, column + p{linking.MOST_PARAMETERS - 1}", scope)
    exec(f"def weight(distance, {names}): return p{linking.MOST_PARAMETERS - 1}", scope)
    arguments = dict.fromkeys(names.split(", "), 1.0)
    for function in (CompiledMap(scope["place"]), weighting_by(scope["weight"], arguments).function):
        assert function.lto_ir((9, 0))


def linked(source: str, definitions: dict, function: linking.Linkable, architecture: str) -> bytes:
    code = (runtime.sources() / f"{source}.cu").read_text()
    return linking.cubin(code, runtime.compile_options(tuple(definitions.items())), function, architecture)


def test_what_is_linked_is_loaded(compilers):
    """What CuPy is asked to do, by a stand-in that has no device."""
    loaded = {}

    def module(path):
        loaded["code"] = Path(path).read_bytes()
        return SimpleNamespace(get_function=lambda name: loaded.setdefault("name", name))

    device = SimpleNamespace(compute_capability="90")
    library = SimpleNamespace(RawModule=module, cuda=SimpleNamespace(Device=lambda: device))
    options = runtime.compile_options((("IN", "float"), ("OUT", "float"), ("CHANNELS", 1), ("TAPS", 2), ("MAP", 4)))
    code = (runtime.sources() / "warp.cu").read_text()
    assert linking.linked(library, code, options, lens(), "warp") == "warp"
    assert loaded["code"].startswith(b"\x7fELF")


def test_helpers_of_the_function_are_linked_too(compilers, monkeypatch):
    """Numba asks the current device for what it is when it compiles a function that the function calls."""
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))

    @numba.njit
    def helper(x):
        return x * x + 1

    def function(row, column):
        return helper(row), max(column, 2.0)

    definitions = {"IN": "float", "OUT": "float", "CHANNELS": 1, "TAPS": 2, "MAP": 4}
    assert b"helper" not in linked("warp", definitions, CompiledMap(function), "sm_90a")


def test_what_only_the_cpu_has_is_told(compilers, monkeypatch):
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))

    def function(row, column):
        column = column + 1
        return np.sort(np.array([row, column]))[0], column

    _ = CompiledMap(function).address
    line = function.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"function cannot be compiled by Numba for a GPU, .*\.py:{line}: "):
        CompiledMap(function).lto_ir((9, 0))


def test_a_type_error_is_told(compilers):
    def function(row, column):
        return row + "text", column

    line = function.__code__.co_firstlineno + 1
    with pytest.raises(TypeError, match=rf"function cannot be compiled by Numba, .*\.py:{line}: "):
        CompiledMap(function).lto_ir((9, 0))


def test_errors_of_the_compiler_and_the_linker(compilers):
    with pytest.raises(RuntimeError, match=r"NVRTC: .*kernel\.cu\(1\): error"):
        linking.cubin("nonsense", [], lens(), "sm_90")
    function = SimpleNamespace(symbol="fastimg_other", lto_ir=lambda capability: b"nonsense")
    with pytest.raises(RuntimeError, match="nvJitLink: "):
        linking.cubin("", [], function, "sm_90")


def test_numba_cuda_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba_cuda", None)
    with pytest.raises(ImportError, match=r"pip install 'fastimg\[numba-cuda12\]' or 'fastimg\[numba-cuda13\]'"):
        lens().lto_ir((9, 0))
