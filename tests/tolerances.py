"""How far a result may be from its oracle: one table by dtype, each value with its reason.

Oracles compute in float64. Results are compared after rounding to the result's dtype; float tolerances are relative
to the range of the image.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = {
    # Arithmetic in float32 may fall on the other side of a half: one level.
    np.dtype("uint8"): 1,
    np.dtype("uint16"): 1,
    # Half has 11 significant bits: half a unit in the last place at 1.0, and one more for the other side of a tie.
    np.dtype("float16"): 2**-10,
    # Sums of some hundreds of float32 products: a few tens of units in the last place.
    np.dtype("float32"): 5e-6,
    # float64 arithmetic where the operation promises it; the same reasoning.
    np.dtype("float64"): 1e-13,
}


def assert_close(result: np.ndarray, expected: np.ndarray, *, scale: float = 1.0, factor: float = 1.0) -> None:
    """Compare with the tolerance of the result's dtype; `scale` is the range of the values.

    `factor` widens the tolerance for operations whose error is inherently larger; the call says why.
    """
    tolerance = TOLERANCE[result.dtype] * factor
    if result.dtype.kind == "f":
        tolerance *= scale
    assert result.shape == expected.shape
    if result.dtype.kind == "u":
        expected = np.rint(expected)
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=0, atol=tolerance)
