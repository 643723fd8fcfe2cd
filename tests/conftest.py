"""What every test may ask for: each instruction set, each way an image may lie in memory, the data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastimg
from fastimg import _fastimg_cpu

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=_fastimg_cpu.built_targets())
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this build, the kernels switched to it; skips those that this processor lacks."""
    name: str = request.param
    if name not in _fastimg_cpu.supported_targets():
        pytest.skip(f"this processor does not run {name}")
    before = _fastimg_cpu.active_target()
    _fastimg_cpu.select_target(name)
    yield name
    _fastimg_cpu.select_target(before)


def _padded_crop(a: np.ndarray) -> np.ndarray:
    """The same values as a crop out of a larger array."""
    big = np.zeros(tuple(n + 3 for n in a.shape), a.dtype)
    inner = big[tuple(slice(1, 1 + n) for n in a.shape)]
    inner[...] = a
    return inner


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "crop": _padded_crop,
    "flipped": lambda a: np.ascontiguousarray(a[tuple(slice(None, None, -1) for _ in a.shape)])[
        tuple(slice(None, None, -1) for _ in a.shape)
    ],
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Callable[[np.ndarray], np.ndarray]:
    """A function that lays an array out differently in memory without changing its values."""
    return LAYOUTS[request.param]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20160801)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of test images and weights that are not part of the project."""
    folder = Path(os.environ.get("FASTIMG_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the test images and weights that FASTIMG_DATA points to")
    return folder


def without_channels(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    """The spatial part of a shape whose channels lie along `axis`."""
    return shape if axis is None else tuple(np.delete(shape, axis))


def random_image(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Noise that fills the dtype's range; [0, 1] for floats."""
    dtype = np.dtype(dtype)
    if dtype.kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return rng.random(shape).astype(dtype)


def python_environment(**variables: str) -> dict[str, str]:
    """The environment of a new interpreter that imports this fastimg, with no other variables of ours than those given.

    Not the fastimg of the current folder: there the sources may lie without their extension.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTIMG_") and k != "OMP_NUM_THREADS"}
    package = str(Path(fastimg.__file__).resolve().parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**inherited, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", **variables}


def run_python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter in `python_environment`; a single argument is code."""
    if len(arguments) == 1:
        arguments = ("-c", *arguments)
    return subprocess.run(
        [sys.executable, *arguments],
        env=python_environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
