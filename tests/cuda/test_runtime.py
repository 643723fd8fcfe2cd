"""How kernels are found, specialised and given their arguments."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import run_python

from fastimg.backends.cuda import runtime

REPOSITORY = Path(__file__).resolve().parents[2] / "csrc" / "cuda"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.cu*"))}


def test_the_package_carries_the_kernels():
    """What is installed is what the repository has."""
    assert "convert_color.cu" in files(runtime.sources())
    assert files(runtime.sources()) == files(REPOSITORY)


def test_the_hash_of_all_sources_is_among_the_options():
    options = runtime.compile_options((("IN", "float"), ("RADIUS", 3)))
    assert f"-DFASTIMG_SOURCES={runtime.sources_hash()}" in options
    assert options[-2:] == ("-DIN=float", "-DRADIUS=3")


@pytest.mark.parametrize("path", sorted(REPOSITORY.rglob("*.cu*")), ids=lambda path: path.name)
def test_kernels_keep_to_the_rules(path):
    """No headers but the project's, inline PTX only in support/, so that NVRTC, nvcc and g++ all compile them."""
    code = path.read_text()
    included = re.findall(r'#include\s+(["<])(.*)[">]', code)
    assert all(mark == '"' for mark, name in included if name != "stdint.h")
    assert path.parent.name == "support" or not re.search(r"\basm\b", code)
    assert "__activemask" not in code
    assert not re.search(r"extern\s+__shared__", code) or path.name == "platform.cuh"


def test_importing_fastimg_imports_no_cuda_backend():
    code = "import fastimg, sys; print([m for m in sys.modules if 'cupy' in m or 'backends.cuda' in m])"
    assert run_python(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("view", "shape", "strides"),
    [
        (np.s_[:, :, :], [120], [1]),
        (np.s_[:, ::2, :], [12, 5], [10, 1]),
        (np.s_[:, :, 1:4], [24, 3], [5, 1]),
        (np.s_[::-1], [4, 30], [-30, 1]),
        (np.s_[1, 2, 3:4], [1], [1]),
        (np.s_[:, 2:3, ::-1], [4, 5], [30, -1]),
    ],
)
def test_axes_are_merged_where_strides_allow(view, shape, strides):
    array = np.zeros((4, 6, 5), np.float32)[view]
    assert runtime.merged_axes(array) == (shape, [strides])


def test_axes_are_merged_only_where_all_arrays_allow():
    a, b = np.zeros((4, 6, 5), np.uint8), np.zeros((4, 6, 10), np.float32)[..., ::2]
    assert runtime.merged_axes(a, b) == ([120], [[1], [2]])
    assert runtime.merged_axes(a, np.zeros((4, 7, 5))[:, 1:]) == ([4, 30], [[30, 1], [35, 1]])


def test_border_modes_are_numbered_as_in_the_kernels():
    code = (runtime.sources() / "support" / "border.cuh").read_text()
    names = re.findall(r"^\s+k(\w+),", code, re.MULTILINE)
    assert {name.lower(): number for number, name in enumerate(names)} == runtime.BORDER_MODES
