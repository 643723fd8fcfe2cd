"""Networks against their layers, one by one: what runs in pieces through all layers must be the same, bit for bit."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import run_python

from fastimg import _fastimg_cpu, metrics, nn
from fastimg.backends import cpu
from fastimg.models import FSRCNN, Add, Conv2d, ConvTranspose2d, Network, PixelShuffle

MODES = ("zeros", "replicate", "reflect")


def added(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.shape != y.shape:
        raise ValueError("shapes differ")
    return x + y


def layer_by_layer(network: Network, x: np.ndarray) -> np.ndarray:
    read = {}
    for layer in network.layers:
        read[layer.name] = x
        if isinstance(layer, Add):
            x = added(x, read[layer.input_of])
            continue
        if isinstance(layer, PixelShuffle):
            r = layer.factor
            n, channels, rows, columns = x.shape
            blocks = x.reshape(n, channels // r**2, r, r, rows, columns)
            x = blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, rows * r, columns * r)
            continue
        options = dict(bias=layer.bias, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
        options |= dict(groups=layer.groups, padding_mode=layer.padding_mode)
        options |= dict(activation=layer.activation, slope=layer.slope)
        if isinstance(layer, Conv2d):
            x = nn.conv2d(x, layer.weight, **options)
        else:
            x = nn.conv_transpose2d(x, layer.weight, output_padding=layer.output_padding, **options)
    return x


def conv(inputs: int, outputs: int, kernel: int, *, groups: int = 1, **options) -> Conv2d:
    rng = np.random.default_rng((inputs, outputs, kernel))
    weight = rng.standard_normal((outputs, inputs // groups, kernel, kernel)) / kernel
    if options.get("activation") == "prelu":
        options["slope"] = rng.uniform(-0.5, 0.5, outputs)
    return Conv2d(weight, rng.standard_normal(outputs), groups=groups, **options)


def deconv(inputs: int, outputs: int, kernel: int, **options) -> ConvTranspose2d:
    rng = np.random.default_rng((inputs, outputs, kernel, 1))
    return ConvTranspose2d(
        rng.standard_normal((inputs, outputs, kernel, kernel)) / kernel, rng.standard_normal(outputs), **options
    )


def networks(mode: str) -> dict[str, list]:
    same = dict(padding=1, padding_mode=mode)
    return {
        "fsrcnn": [
            conv(1, 8, 5, padding=2, padding_mode=mode, activation="prelu"),
            conv(8, 4, 1, activation="prelu"),
            conv(4, 4, 3, **same, activation="relu"),
            conv(4, 8, 1),
            deconv(8, 1, 9, stride=2, padding=4, output_padding=1, padding_mode=mode),
        ],
        "strides, dilation and a deconvolution inside": [
            conv(2, 3, 3, padding=(2, 1), padding_mode=mode),
            conv(3, 5, 3, stride=2, padding=1, padding_mode=mode),
            conv(5, 4, 5, dilation=2, padding=4, padding_mode=mode),
            deconv(4, 6, 4, stride=3, padding=1, padding_mode=mode),
            conv(6, 1, 3, **same),
        ],
        "strides beyond the kernel": [
            conv(1, 4, 3, **same),
            conv(4, 4, 2, stride=(3, 5)),
            deconv(4, 5, 2, stride=3),
            conv(5, 3, 1),
        ],
        "shuffles and groups": [
            PixelShuffle(2, channels=1),
            conv(1, 4, 3, **same),
            conv(4, 18, 3, **same),
            PixelShuffle(3, channels=2),
            conv(2, 2, 3, groups=2, stride=2, **same),
            conv(2, 16, 1, activation="relu"),
            PixelShuffle(2, channels=4),
            PixelShuffle(2),
        ],
        "padding beyond the kernel": [
            conv(1, 4, 3, padding=3, padding_mode=mode),
            conv(4, 4, 3, padding=4, padding_mode=mode),
            conv(4, 1, 1, padding=2, padding_mode=mode),
        ],
        "no padding": [conv(1, 4, 5), conv(4, 4, 3), conv(4, 1, 7)],
        "residual blocks": [
            conv(1, 6, 3, **same, name="head"),
            conv(6, 6, 3, **same, activation="relu", name="first"),
            conv(6, 6, 3, **same),
            Add(input_of="first"),
            conv(6, 6, 3, **same, activation="relu", name="second"),
            conv(6, 6, 3, **same),
            Add(input_of="second"),
            Add(input_of="first"),
            conv(6, 1, 3, **same),
            Add(input_of="head"),
        ],
        "its own input": [conv(3, 3, 5, padding=2, padding_mode=mode, name="a"), Add(input_of="a")],
        "added where no tap reads": [
            conv(1, 5, 1, name="a"),
            conv(5, 4, 1, stride=2),
            deconv(4, 4, 2, stride=2, padding=0, output_padding=0),
            conv(4, 8, 3, **same, name="b"),
            PixelShuffle(2, channels=2),
            conv(2, 1, 3, stride=2, **same),
            Add(input_of="a"),
            conv(1, 4, 1, name="c"),
            conv(4, 4, 5, padding=2, padding_mode=mode, groups=2),
            PixelShuffle(2),
        ],
        "four rows at once": [
            conv(4, 16, 3, **same),
            conv(16, 16, 5, padding=2, padding_mode=mode, activation="prelu", name="a"),
            conv(16, 32, 3, padding=(1, 2), dilation=(1, 2), padding_mode=mode, activation="relu"),
            conv(32, 16, 3, groups=2, **same),
            Add(input_of="a"),
        ],
        "four rows at once, of cells": [
            conv(1, 16, 3, **same),
            conv(16, 16, 3, **same),
            PixelShuffle(2, channels=4),
            conv(4, 20, 3, stride=2, **same),
            conv(20, 16, 3, activation="relu"),
        ],
        "many channels": [conv(3, 40, 3, **same, activation="relu"), conv(40, 13, 3, **same), conv(13, 9, 1)],
    }


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (13, 40), (33, 17), (60, 300), (130, 61)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", networks("zeros"))
def test_pieces_are_the_whole(target, rng, name, mode, size):
    network = Network(networks(mode)[name])
    x = rng.standard_normal((2, network.in_channels, *size), np.float32)
    try:
        expected = layer_by_layer(network, x)
    except ValueError:  # too small for a layer, or sizes that differ
        with pytest.raises(ValueError, match="x has too few rows or columns|adds the input of"):
            network(x)
        return
    for threads in (1, 3):
        np.testing.assert_array_equal(network(x, threads=threads), expected)


@pytest.mark.parametrize("mode", MODES)
def test_bands_may_begin_anywhere(target, rng, mode):
    # A layer of the middle may need a row beyond the border for a band that itself begins well inside.
    first = [conv(1, 56, 5, padding=2, padding_mode=mode), conv(56, 12, 1)]
    mapping = [conv(12, 12, 3, padding=1, padding_mode=mode) for _ in range(4)]
    last = [conv(12, 56, 1), deconv(56, 1, 9, stride=2, padding=4, output_padding=1, padding_mode=mode)]
    network = Network([*first, *mapping, *last])
    x = rng.standard_normal((1, 1, 48, 48), np.float32)
    expected = network(x, threads=1)
    for threads in range(2, 20):
        np.testing.assert_array_equal(network(x, threads=threads), expected)


def test_only_shuffles(rng):
    x = rng.standard_normal((1, 16, 3, 5), np.float32)
    network = Network([PixelShuffle(2, channels=4), PixelShuffle(2)])
    np.testing.assert_array_equal(network(x), layer_by_layer(network, x))


def test_strides_of_memory(rng):
    network = Network(networks("reflect")["fsrcnn"])
    x = rng.standard_normal((1, 1, 40, 50), np.float32)
    flipped = np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    out = np.zeros((1, 1, 100, 80), np.float32).transpose(0, 1, 3, 2)
    expected = network(x)
    assert network(flipped, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_one_network_in_many_threads(rng):
    network = Network(networks("zeros")["fsrcnn"])
    images = [rng.standard_normal((1, 30 + i, 70), np.float32) for i in range(12)]
    expected = [network(image, threads=1) for image in images]
    again = pickle.loads(pickle.dumps(network))
    with ThreadPoolExecutor(4) as pool:
        for result, one in zip(pool.map(again, images), expected, strict=True):
            np.testing.assert_array_equal(result, one)


MEMORY = """
import resource
import numpy as np
from fastimg.models import Conv2d, Network

def conv(inputs, outputs):
    return Conv2d(np.full((outputs, inputs, 3, 3), 0.01), padding=1, activation="relu")

network = Network([conv(1, 32), conv(32, 32), conv(32, 1)])
x = np.ones((1, 1200, 1600), np.float32)
out = np.zeros_like(x)
network(x[:, :64, :64], threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
network(x, out=out, threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory in KB, as Linux tells it")
def test_memory():
    """Intermediate images, 240 MB each here, are never there as a whole."""
    assert int(run_python(MEMORY).stdout) < 2 * 8 * 1024 + 4096


def in_unit(x: np.ndarray) -> np.ndarray:
    return x * np.float32(1 / np.iinfo(x.dtype).max) if x.dtype.kind == "u" else x.astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("name", ["fsrcnn", "residual blocks", "shuffles and groups"])
def test_integers_at_both_ends(target, rng, name, dtype):
    network = Network(networks("reflect")[name])
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    x = (rng.random((2, network.in_channels, 40, 53)) * top).astype(dtype)
    expected = network(in_unit(x))
    for out_dtype in ("uint8", "uint16", "float16", "float32"):
        out = np.empty(expected.shape, out_dtype)
        assert network(x, out=out) is out
        if out_dtype.startswith("u"):
            most = np.float32(np.iinfo(out_dtype).max)
            np.testing.assert_array_equal(out, np.clip(np.rint(expected * most), 0, most).astype(out_dtype))
        else:
            np.testing.assert_array_equal(out, expected.astype(out_dtype))
    assert network(x).dtype == dtype
    padded = np.zeros((2, network.in_channels, 40, 106), dtype)
    padded[..., ::2] = x
    np.testing.assert_array_equal(network(padded[..., ::2]), network(x))


def test_nan_becomes_zero(target):
    x = np.full((1, 3, 40), np.nan, np.float32)
    assert (Network([Conv2d(np.ones((1, 1, 1, 1)))])(x, out=np.ones((1, 3, 40), np.uint8)) == 0).all()


def test_what_cannot_be_added():
    head, strided, shuffle = conv(1, 4, 3, padding=1, name="head"), conv(4, 4, 3, stride=2, name="s"), PixelShuffle(2)
    for layers, message in (
        ([Add(input_of="head")], "one layer before it, but 0 are called 'head'"),
        ([head, Add(input_of="add")], "one layer before it, but 0 are called 'add'"),
        ([head, conv(4, 1, 1, name="head"), Add(input_of="head")], "but 2 are called 'head'"),
        ([head, strided, Add(input_of="s")], r"'s' has stride \(2, 2\)"),
        ([head, shuffle, Add(input_of="pixel_shuffle")], "'pixel_shuffle' has a PixelShuffle"),
        ([head, Add(input_of="head")], "layer 'add' adds the 1 channels that 'head' takes to 4"),
    ):
        with pytest.raises(ValueError, match=message):
            Network(layers)
    with pytest.raises(TypeError, match="layer 'add': input_of must be a string, got int"):
        Add(3)
    with pytest.raises(ValueError, match=r"adds the input of 'a', \(8, 9\) rows and columns .*, to \(6, 7\)"):
        Network([conv(1, 1, 3, name="a"), Add(input_of="a")])(np.ones((1, 8, 9), np.float32))


# ---- bfloat16 ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["widened", "dot", "tiles"])
def multiplier(request, monkeypatch) -> str:
    if request.param not in _fastimg_cpu.bfloat16_multipliers():
        pytest.skip(f"this processor does not multiply bfloat16 by {request.param}")
    monkeypatch.setattr(cpu, "bfloat16_multipliers", lambda: [request.param])
    return request.param


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Rounded to 8 bits, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def stays_in_float32(layer: Conv2d | ConvTranspose2d, is_first: bool, multiplier: str) -> bool:
    """Where pairs of bfloat16 would take AVX512-BF16 as long: the image's, and those of five rows at once."""
    if multiplier != "dot" or is_first:
        return multiplier == "dot"
    channels, inputs, rows, _ = layer.weight.shape
    five = isinstance(layer, Conv2d) and rows == 5 and layer.stride == (1, 1) and layer.dilation[0] == 1
    return five and min(channels // layer.groups, inputs) >= 12


def rounded_layer_by_layer(network: Network, x: np.ndarray, multiplier: str) -> np.ndarray:
    """With weights and what passes between layers in bfloat16, all else in float32."""
    read, is_first = {}, True
    for layer in network.layers:
        if isinstance(layer, Add):
            x = added(x, read[layer.input_of])
        elif isinstance(layer, PixelShuffle):
            x = layer_by_layer(Network([layer]), x)
        else:
            exact = stays_in_float32(layer, is_first, multiplier)
            x = x if exact or is_first else to_bfloat16(x)
            read[layer.name] = x
            weight = layer.weight if exact else to_bfloat16(layer.weight)
            x = layer_by_layer(Network([replace(layer, weight=weight)]), x)
            is_first = False
    return x


@pytest.mark.parametrize("size", [(1, 1), (13, 40), (60, 300)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", networks("zeros"))
def test_bfloat16(target, multiplier, rng, name, mode, size):
    network = Network(networks(mode)[name])
    x = rng.random((2, network.in_channels, *size), np.float32)
    try:
        expected = rounded_layer_by_layer(network, x, multiplier)
    except ValueError:
        pytest.skip("too small for a layer")
    result = network(x, precision="bfloat16", threads=1)
    np.testing.assert_array_equal(network(x, precision="bfloat16", threads=3), result)
    # Sums in another order are now and then rounded to the neighbour, 2^-8 away.
    error = np.abs(result - expected)
    scale = np.abs(expected).max()
    assert error.max() <= 2**-7 * scale
    assert error.mean() <= 2**-11 * scale


def test_bfloat16_of_integers_and_what_is_not_finite(multiplier, rng):
    network = Network(networks("replicate")["fsrcnn"])
    x = rng.integers(0, 256, (1, 30, 40), np.uint8)
    result = network(x, out=np.empty((1, 60, 80), np.float32), precision="bfloat16")
    np.testing.assert_allclose(result, network(in_unit(x), precision="bfloat16"), rtol=0, atol=1e-6)
    spoilt = in_unit(x)
    spoilt[0, 15, 20] = np.nan
    far, near = network(spoilt, precision="bfloat16")[0], network(in_unit(x), precision="bfloat16")[0]
    assert np.isnan(far[30, 40])
    np.testing.assert_array_equal(far[:10], near[:10])
    infinite = Network([conv(1, 2, 1), conv(2, 1, 1)])(np.full((1, 2, 20), np.inf, np.float32), precision="bfloat16")
    assert not np.isfinite(infinite).any()


def test_pairs_of_bfloat16_are_no_denormals(multiplier, rng):
    """Not to threads that take those for zero. Of the last of odd channels the upper half of a pair is zero."""
    torch = pytest.importorskip("torch")
    network = Network([conv(1, 3, 3), conv(3, 4, 3), conv(4, 1, 3)])
    x = rng.random((1, 20, 40), "float32")
    expected = network(x, precision="bfloat16", threads=1)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush denormals")
    try:
        result = network(x, precision="bfloat16", threads=1)
    finally:
        torch.set_flush_denormal(False)
    np.testing.assert_array_equal(result, expected)


def test_bfloat16_is_for_the_cpu(rng):
    network = Network(networks("zeros")["no padding"])
    with pytest.raises(ValueError, match="'float32' or 'bfloat16' for an array on the CPU, got 'float16'"):
        network(rng.random((1, 40, 40), np.float32), precision="float16")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_quality_in_bfloat16(multiplier, scale):
    skimage = pytest.importorskip("skimage")
    truth = skimage.data.camera()[: 480 // scale * scale, : 480 // scale * scale].astype(np.float32) / 255
    rows, columns = (n // scale for n in truth.shape)
    small = truth.reshape(rows, scale, columns, scale).mean((1, 3))[np.newaxis]
    network = FSRCNN.from_pretrained(scale).network
    quality = [
        metrics.peak_signal_noise_ratio(truth, np.clip(y[0], 0, 1))
        for y in (network(small), network(small, precision="bfloat16"))
    ]
    assert quality[0] - quality[1] < 0.02
