"""Denoising networks on a device, against the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image

from fastimg import models


@pytest.mark.parametrize(("dtype", "precision"), [("uint8", "float32"), ("float32", "float32"), ("float32", "float16")])
def test_dncnn(device, rng, dtype, precision):
    weights = [rng.standard_normal(shape) * 0.1 for shape in ((8, 1, 3, 3), (8, 8, 3, 3), (1, 8, 3, 3))]
    activations = ("relu", "relu", None)
    layers = [models.Conv2d(w, padding=1, activation=a) for w, a in zip(weights, activations, strict=True)]
    model = models.DnCNN(layers)
    image = random_image(rng, (33, 40, 3), dtype)
    result = device.numpy(model(device.array(image), precision=precision))
    assert result.dtype == image.dtype
    tolerance = 1 if dtype == "uint8" else 2e-3 if precision == "float16" else 1e-5
    np.testing.assert_allclose(result.astype(float), model(image).astype(float), rtol=0, atol=tolerance)
