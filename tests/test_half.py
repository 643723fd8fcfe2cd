"""float16 to float and back, on every instruction set, through an operation that adds a constant to each sample."""

from __future__ import annotations

import numpy as np
import pytest

from fastimg import util

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit, but that any NaN equals any other."""
    return bool(((a.view(np.uint16) == b.view(np.uint16)) | (np.isnan(a) & np.isnan(b))).all())


@pytest.fixture(params=["vectors", "single values"])
def halves(request) -> np.ndarray:
    return EVERY if request.param == "vectors" else np.repeat(EVERY, 2)[::2]


def test_every_half_survives(target, halves):
    result = util.random_noise(halves, "salt", 1, clip=False, amount=0.0)
    assert same(np.ascontiguousarray(result), EVERY)


# Sums that fall between halves, on ties, beyond the largest, among the subnormal ones.
ADDENDS = [1 / 3, -1 / 3, 1e-3, 2**-11, 3 * 2**-12, 2**-24, 2**-25, 3 * 2**-26, -(2**-25), 1.7e-5, 17.0, 1e3, 65504.0]


@pytest.mark.parametrize("addend", ADDENDS)
def test_floats_round_as_numpy_rounds(target, halves, addend):
    result = util.random_noise(halves, "gaussian", 1, clip=False, mean=addend, var=0)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (EVERY.astype(np.float32) + np.float32(addend)).astype(np.float16)
    assert same(np.ascontiguousarray(result), expected)


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0, 2.5, -1.0, -0.5])
def test_products_round_as_numpy_rounds(target, halves, factor):
    result = util.random_noise(halves, "speckle", 1, clip=False, mean=factor - 1, var=0)  # exact in float32
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (EVERY.astype(np.float32) * np.float32(factor)).astype(np.float16)
    assert (np.ascontiguousarray(result) == expected)[np.isfinite(EVERY)].all()
    assert np.isnan(result[np.isnan(EVERY)]).all()
