"""`fastimg.opencv` on a device, against the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from fastimg import opencv


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gaussian_blur(device, rng, dtype):
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    image = (rng.random((40, 50, 3)) * top).astype(dtype)
    for size, sigma in [((5, 5), 0), ((0, 0), 1.5), ((13, 7), 2.0)]:
        wanted = opencv.GaussianBlur(image, size, sigma)
        result = device.numpy(opencv.GaussianBlur(device.array(image), size, sigma))
        np.testing.assert_allclose(result.astype(float), wanted.astype(float), rtol=0, atol=1 if top > 1 else 1e-6)
    in_place = device.array(image)
    assert opencv.GaussianBlur(in_place, (5, 5), 0, in_place) is in_place
    np.testing.assert_allclose(
        device.numpy(in_place).astype(float), opencv.GaussianBlur(image, (5, 5), 0).astype(float), rtol=0, atol=1
    )
