"""Models on images of a device: as on the CPU, and in halves on tensor cores."""

from __future__ import annotations

import cuda_emulator
import numpy as np
import pytest

from fastimg import models
from fastimg.backends import cuda


@pytest.fixture(autouse=True)
def small_tiles(device, monkeypatch):
    if device.emulated:
        for name, value in {"COLUMNS": (16,), "ROWS": (8,), "WARPS": (4,)}.items():
            monkeypatch.setitem(cuda.network.__globals__, name, value)


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.random(shape)
    return (values * np.iinfo(dtype).max).astype(dtype) if dtype.startswith("u") else values.astype(dtype)


def top(dtype: str) -> float:
    return float(np.iinfo(dtype).max) if dtype.startswith("u") else 1.0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)], ids=str)
def test_as_on_the_cpu(device, rng, channels, dtype):
    model = models.FSRCNN.from_pretrained(2)
    image = drawn(rng, (9, 13, *channels), dtype)
    result = device.numpy(model(device.array(image)))
    assert result.dtype == image.dtype
    step = {"uint8": 1, "uint16": 1, "float16": 2**-10, "float32": 4e-6}[dtype]
    np.testing.assert_allclose(result.astype(float), model(image).astype(float), rtol=0, atol=step)


@pytest.mark.parametrize("arguments", [{"scale": 4}, {"output_shape": (13, 25)}, {"output_shape": (5, 7)}], ids=str)
@pytest.mark.parametrize("channels", [(), (2,), (4,)], ids=str)
def test_composed_scales_and_sizes(device, rng, channels, arguments):
    model = models.FSRCNN_s.from_pretrained(2)
    image = drawn(rng, (7, 9, *channels), "uint8")
    if channels:
        image[:4, :5, -1] = 0  # transparent
    result = device.numpy(models.upscale(device.array(image), **arguments, model=model))
    expected = models.upscale(image, **arguments, model=model)
    np.testing.assert_allclose(result.astype(int), expected, rtol=0, atol=1)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [(), (4,)], ids=str)
def test_in_halves(device, rng, channels, dtype):
    model = models.FSRCNN.from_pretrained(3)
    image = drawn(rng, (11, 18, *channels), dtype)
    result = device.numpy(model(device.array(image), precision="float16"))
    assert result.dtype == image.dtype
    difference = np.abs(result.astype(float) - model(image)) / top(dtype)
    assert difference.max() < 0.01


def test_grey_integers_are_one_launch(device, rng):
    model = models.FSRCNN.from_pretrained(2)
    image = device.array(drawn(rng, (9, 13), "uint8"))
    out = device.array(np.zeros((18, 26), np.uint8))
    assert model(image, out=out, precision="float16") is out
    if device.emulated:
        with cuda_emulator.recording() as launches:
            model(image, out=out, precision="float16")
        assert [launch.kernel for launch in launches] == ["network"]
    np.testing.assert_allclose(device.numpy(out).astype(int), model(device.numpy(image)), rtol=0, atol=2)


def test_a_model_of_an_enlarged_image(device, rng):
    shapes = [(64, 1, 9), (32, 64, 1), (1, 32, 5)]
    layers = [
        models.Conv2d(
            rng.standard_normal((o, i, k, k)) / np.sqrt(i * k * k),
            padding=k // 2,
            padding_mode="replicate",
            activation="relu" if o > 1 else None,
        )
        for o, i, k in shapes
    ]
    model = models.SRCNN(layers, scale=2)
    image = drawn(rng, (8, 9, 3), "float32")
    expected = model(image)
    np.testing.assert_allclose(device.numpy(model(device.array(image))), expected, rtol=0, atol=1e-5)
    halves = device.numpy(model(device.array(image), precision="float16"))
    np.testing.assert_allclose(halves, expected, rtol=0, atol=0.01)


def test_precision_on_the_cpu(rng):
    model = models.FSRCNN.from_pretrained(2)
    with pytest.raises(ValueError, match="'float32' or 'bfloat16' for an array on the CPU, got 'float16'"):
        model(drawn(rng, (8, 8), "uint8"), precision="float16")
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'float16', 'bfloat16', got 'half'"):
        model(drawn(rng, (8, 8), "uint8"), precision="half")
