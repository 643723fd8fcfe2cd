"""`conv2d` and `conv_transpose2d` on a device, against the CPU, which is tested against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS
from tolerances import assert_close

from fastimg import nn

PADDINGS = ["zeros", "replicate", "reflect"]


def drawn(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def agrees(device, convolve, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, **options) -> None:
    """The same call on the device and on the CPU; sums of as many products as a kernel has weights."""
    expected = convolve(x, weight, bias, **options)
    on_device = None if bias is None else device.array(bias)
    result = device.numpy(convolve(device.array(x), device.array(weight), on_device, **options))
    assert result.dtype == np.float32
    assert_close(result, expected.astype(np.float64), scale=max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (9, 9), (2, 4)])
def test_kernels_and_borders(device, rng, kernel, padding_mode):
    x, weight = drawn(rng, 2, 4, 13, 17), drawn(rng, 6, 4, *kernel)
    padding = (kernel[0] // 2, kernel[1] // 2)
    agrees(device, nn.conv2d, x, weight, drawn(rng, 6), padding=padding, padding_mode=padding_mode)


@pytest.mark.parametrize(
    "options",
    [
        dict(stride=2),
        dict(stride=(1, 3), padding=(2, 1)),
        dict(dilation=(2, 1), padding=2),
        dict(stride=(3, 2), dilation=(1, 3), padding=(0, 3), padding_mode="replicate"),
    ],
    ids=str,
)
def test_strides_and_dilations(device, rng, options):
    agrees(device, nn.conv2d, drawn(rng, 1, 3, 19, 22), drawn(rng, 5, 3, 3, 3), **options)


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(4, 4, 4), (6, 4, 2), (1, 1, 1), (12, 12, 1), (33, 18, 1)])
def test_channels_and_groups(device, rng, inputs, outputs, groups):
    x, weight = drawn(rng, 1, inputs, 9, 34), drawn(rng, outputs, inputs // groups, 3, 3)
    agrees(device, nn.conv2d, x, weight, drawn(rng, outputs), padding=1, groups=groups)


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "prelu"])
def test_activations(device, rng, activation):
    x, weight = drawn(rng, 1, 3, 8, 9), drawn(rng, 4, 3, 3, 3)
    slope = drawn(rng, 4) if activation == "prelu" else None
    agrees(device, nn.conv2d, x, weight, activation=activation, slope=slope)
    if slope is not None:
        on_device = nn.conv2d(device.array(x), device.array(weight), activation="prelu", slope=device.array(slope))
        expected = nn.conv2d(x, weight, activation="prelu", slope=slope)
        np.testing.assert_allclose(device.numpy(on_device), expected, rtol=0, atol=1e-5)


def test_nan_goes_the_way_of_the_arithmetic(device):
    x = np.ones((1, 1, 5, 6), np.float32)
    x[0, 0, 2, 2] = np.nan
    weight = np.ones((1, 1, 3, 3), np.float32)
    result = device.numpy(nn.conv2d(device.array(x), device.array(weight), padding=1, activation="relu"))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(nn.conv2d(x, weight, padding=1)))


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize(("stride", "padding", "output_padding"), [(2, 4, 1), (3, 3, 0), (4, 4, 3), (1, 2, 0)])
def test_the_papers_deconvolutions(device, rng, stride, padding, output_padding, padding_mode):
    x, weight = drawn(rng, 1, 7, 10, 12), drawn(rng, 7, 1, 9, 9)
    options = dict(stride=stride, padding=padding, output_padding=output_padding, padding_mode=padding_mode)
    agrees(device, nn.conv_transpose2d, x, weight, drawn(rng, 1), **options)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 3, 3, 3), dict(stride=(2, 1), padding=1)),
        ((4, 2, 2, 5), dict(stride=3, groups=2)),
        ((4, 3, 3, 3), dict(stride=2, dilation=(3, 2), padding=(1, 0))),
        ((4, 5, 4, 4), dict(stride=5, output_padding=(4, 0), activation="relu")),
    ],
    ids=str,
)
def test_other_deconvolutions(device, rng, shape, options):
    agrees(device, nn.conv_transpose2d, drawn(rng, 2, 4, 7, 9), drawn(rng, *shape), **options)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (41, 1), (3, 131), (70, 5)])
def test_sizes_that_hurt(device, rng, size):
    agrees(device, nn.conv2d, drawn(rng, 1, 2, *size), drawn(rng, 3, 2, 3, 3), padding=1, padding_mode="replicate")
    agrees(device, nn.conv_transpose2d, drawn(rng, 1, 2, *size), drawn(rng, 2, 1, 5, 5), stride=2, padding=2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(device, rng, layout):
    x, weight = drawn(rng, 2, 3, 11, 14), drawn(rng, 4, 3, 3, 3)
    agrees(device, nn.conv2d, LAYOUTS[layout](x), LAYOUTS[layout](weight), padding=1)
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    agrees(device, nn.conv2d, channels_last, weight, padding=1)
    out = device.array(np.moveaxis(np.zeros((2, 11, 14, 4), np.float32), -1, 1))
    assert nn.conv2d(device.array(channels_last), device.array(weight), padding=1, out=out) is out
    np.testing.assert_allclose(device.numpy(out), nn.conv2d(x, weight, padding=1), rtol=0, atol=1e-5)


def test_empty_batch(device, rng):
    x = device.array(np.zeros((0, 3, 5, 6), np.float32))
    assert nn.conv2d(x, device.array(drawn(rng, 2, 3, 3, 3))).shape == (0, 2, 3, 4)


def test_bad_input(device, rng):
    x, weight = drawn(rng, 1, 3, 5, 6), drawn(rng, 2, 3, 3, 3)
    with pytest.raises(ValueError, match="weight must be on the device of x, cuda:0, got the CPU"):
        nn.conv2d(device.array(x), weight)
    with pytest.raises(ValueError, match="bias must be on the device of x, the CPU, got cuda:0"):
        nn.conv2d(x, weight, device.array(drawn(rng, 2)))
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\), got \(3,\)"):
        nn.conv2d(device.array(x), device.array(weight), device.array(drawn(rng, 3)))
    with pytest.raises(ValueError, match="slope must be finite"):
        nn.conv2d(device.array(x), device.array(weight), activation="prelu", slope=float("nan"))


def test_nothing_is_touched_that_should_not_be(device, rng):
    with device.checking() as report:
        x = device.array(drawn(rng, 1, 5, 17, 37))
        nn.conv2d(x, device.array(drawn(rng, 9, 5, 3, 3)), padding=1)
        nn.conv_transpose2d(x, device.array(drawn(rng, 5, 1, 9, 9)), stride=2, padding=4, output_padding=1)
    assert report.problems == []
