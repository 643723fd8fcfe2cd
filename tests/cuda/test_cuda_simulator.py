"""What is compiled around a function for a GPU, by Numba's CUDA simulator, which wants a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastimg

SCRIPT = """
import numpy as np
from numba import config, cuda

from fastimg import transform
from fastimg.restoration.compiled import weighting_by

assert config.ENABLE_CUDASIM


@transform.CompiledMap
def lens(row, column, strength, centre):
    y, x = row - centre, column - centre
    factor = 1 + strength * (x * x + y * y)
    return centre + y * factor, centre + x * factor


def cauchy(distance, width):
    return 1 / (1 + distance / width) if distance < 40 else -1.0


weighting = weighting_by(cauchy, {"width": 0.5})
place = lens.pixel(cuda.jit(device=True)(lens.__wrapped__))
weigh = weighting.function.pixel(cuda.jit(device=True)(cauchy))


@cuda.jit
def fill(table, of_map, weights, of_weighting):
    row, column = cuda.grid(2)
    if row < table.shape[1] and column < table.shape[2]:
        column_out = cuda.local.array(1, np.float64)
        table[0, row, column] = place(column_out, float(row), float(column), of_map)
        table[1, row, column] = column_out[0]
        weights[row, column] = weigh(np.float32(row * column), of_weighting)


arguments = {"strength": -2e-3, "centre": 5}
table, weights = np.zeros((2, 9, 13)), np.zeros((9, 13))
fill[(2, 2), (8, 8)](table, lens.parameters(arguments), weights, weighting.parameters)
image = np.random.default_rng(0).random((9, 13))
np.testing.assert_array_equal(transform.warp(image, table), transform.warp(image, lens, arguments))
distances = np.multiply.outer(np.arange(9.0), np.arange(13))
np.testing.assert_allclose(weights, np.where(distances < 40, 1 / (1 + distances / 0.5), 0), rtol=1e-7)
print("the same")
"""


def test_places_and_weights():
    pytest.importorskip("numba_cuda", reason="needs numba-cuda")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(fastimg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run([sys.executable, "-P", "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert done.stdout == "the same\n", done.stderr
