"""Maps compiled by Numba: the same as the array that the function gives, bit for bit."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from conftest import random_image

from fastimg import transform

pytest.importorskip("numba")


@transform.CompiledMap
def lens(row, column, strength=1e-4, centre=20.0):
    y, x = row - centre, column - centre
    factor = 1 + strength * (x * x + y * y)
    return centre + y * factor, centre + x * factor


@transform.CompiledMap
def swirl(row, column):
    angle = math.sqrt(row * row + column * column) / 40
    return math.cos(angle) * row - math.sin(angle) * column, 1 / (column - 7) if row < 3 else column + 0.5


def table(function: transform.CompiledMap, shape: tuple[int, int], *parameters: float) -> np.ndarray:
    result = np.empty((2, *shape))
    for place in np.ndindex(shape):
        try:
            result[:, *place] = function(*map(float, place), *parameters)
        except ZeroDivisionError:
            result[:, *place] = np.inf
    return result


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_is_its_table(target, rng, kernel, dtype):
    for shape in ((37, 41), (5, 300, 3), (1, 1)):
        image = random_image(rng, shape, dtype)
        for function, parameters in ((lens, {"strength": -2e-4}), (swirl, {})):
            places = table(function, shape[:2], *parameters.values())
            for mode in ("constant", "symmetric"):
                options = {"kernel": kernel, "mode": mode, "cval": 0.2}
                result = transform.warp(image, function, parameters, **options)
                expected = transform.warp(image, places, **options)
                if function is lens:
                    np.testing.assert_array_equal(result, expected)
                else:  # sines of the two may differ in their last bits
                    assert (np.abs(result.astype(float) - expected) > 1e-4).mean() < 0.01


def test_shapes_arguments_and_threads(target, layout, rng):
    image = random_image(rng, (60, 70, 3), "float32")
    result = transform.warp(image, lens, output_shape=(33, 150))
    np.testing.assert_array_equal(result, transform.warp(image, table(lens, (33, 150))))
    out = layout(np.empty((60, 70, 3), np.float32))
    transform.warp(layout(image), lens, {"centre": 35}, out=out)
    np.testing.assert_array_equal(out, transform.warp(image, table(lens, (60, 70), 1e-4, 35.0)))
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(out, transform.warp(image, lens, {"centre": 35}, threads=threads))
    planes = transform.warp(np.moveaxis(image, -1, 0), lens, {"centre": 35}, channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(planes, 0, -1), out)


def test_remains_a_function():
    assert lens(20, 20) == (20, 20)
    assert lens.__name__ == "lens"
    assert lens.address == lens.address


BAD = [
    (lambda row, column: row, "<lambda> must return a row and a column, got float64"),
    (lambda row, column: (row, column, row), "must return a row and a column, got UniTuple"),
    (lambda row, column: (row + "a", column), rf"<lambda> cannot be compiled by Numba, .*{__name__[-8:]}.py:\d+: "),
    (lambda row, column: (print(row, file=None), column), "cannot be compiled by Numba, "),
    (lambda row, column: ("a", "b"), "must return a row and a column, got "),
]


@pytest.mark.parametrize(("function", "message"), BAD)
def test_functions_that_cannot_be_compiled(function, message):
    with pytest.raises(TypeError, match=message):
        transform.warp(np.zeros((4, 5)), transform.CompiledMap(function))


def test_the_line_is_told():
    def wrong(row, column):
        column = column + 1
        return row + "text", column

    line = wrong.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"wrong cannot be compiled by Numba, .*\.py:{line}: "):
        _ = transform.CompiledMap(wrong).address


def test_bad_arguments():
    with pytest.raises(TypeError, match="function must be a Python function, got int"):
        transform.CompiledMap(3)
    for function in (lambda row: (row, row), lambda *places: places, lambda row, column, *, k: (row, k)):
        with pytest.raises(TypeError, match="function must take row, column and named parameters, got "):
            transform.CompiledMap(function)
    image = np.zeros((4, 5))
    with pytest.raises(TypeError, match=r"map_args must fit lens\(row, column, strength=.*unexpected keyword"):
        transform.warp(image, lens, {"power": 2})
    with pytest.raises(TypeError, match=r"map_args\['centre'\] must be a number, got 'x'"):
        transform.warp(image, lens, {"centre": "x"})
    with pytest.raises(TypeError, match=r"map_args must fit .*missing a required argument: 'k'"):
        transform.warp(image, transform.CompiledMap(lambda row, column, k: (row, k)))


def test_numba_is_asked_for(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"CompiledMap needs Numba: pip install 'fastimg\[numba\]'"):
        transform.warp(np.zeros((4, 5)), transform.CompiledMap(lambda row, column: (row, column)))
