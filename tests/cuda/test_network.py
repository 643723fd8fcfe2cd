"""Networks on a device: layer by layer as on the CPU, and in one launch within what halves allow."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace

import cuda_emulator
import numpy as np
import pytest
from conftest import LAYOUTS
from tolerances import assert_close

from fastimg import metrics, models
from fastimg.backends import cuda
from fastimg.backends.cuda import runtime
from fastimg.models import Conv2d, ConvTranspose2d, Network, PixelShuffle, layers

# Inputs, weights and the results of each layer are rounded to 11 bits: 2^-12 of the values each time, and errors add up
# over the layers as their weights let them.
HALF = 2e-3

plans = cuda.network.__globals__
SHARED_MEMORY = 227 << 10  # of sm_90


@pytest.fixture(autouse=True)
def small_tiles(request, device, monkeypatch):
    """Several blocks and steps even for small images; on a GPU the tiles that it would choose."""
    if device.emulated and "tiles_of_a_large_device" not in request.function.__name__:
        monkeypatch.setitem(plans, "COLUMNS", (16,))
        monkeypatch.setitem(plans, "ROWS", (4, 8))
        monkeypatch.setitem(plans, "WARPS", (4,))


def convolution(rng, outputs, inputs, k, **options):
    weight = rng.standard_normal((outputs, inputs, k, k)) * 0.7 / np.sqrt(inputs * k * k)
    return Conv2d(weight, rng.standard_normal(outputs) * 0.05, **{"padding": k // 2, **options})


def prelu(rng, outputs):
    return {"activation": "prelu", "slope": rng.uniform(-1.2, 1.2, outputs), "padding_mode": "replicate"}


def fused(device, network, x, **options):
    return device.numpy(network(device.array(x), precision="float16", **options))


def assert_fused(device, network, x, *, factor=1.0):
    expected = network(x)
    result = fused(device, network, x)
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=HALF * factor * np.abs(expected).max())


# --- in one launch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fsrcnn(device, rng, scale):
    """White noise, which is harder on halves than any photograph."""
    assert_fused(device, models.FSRCNN.from_pretrained(scale).network, rng.random((1, 20, 23), np.float32), factor=2)


def test_fsrcnn_with_the_tiles_of_a_large_device(device, rng):
    network = models.FSRCNN.from_pretrained(2).network
    assert_fused(device, network, rng.random((1, 1, 25, 170), np.float32), factor=2)


def test_quality_of_fsrcnn_on_a_photograph(device):
    skimage = pytest.importorskip("skimage")
    truth = skimage.data.camera()[200:296, 200:296].astype(np.float32) / 255
    small = truth.reshape(48, 2, 48, 2).mean((1, 3))[np.newaxis]
    network = models.FSRCNN.from_pretrained(2).network
    expected, result = network(small), fused(device, network, small)
    np.testing.assert_allclose(result, expected, rtol=0, atol=HALF)
    quality, expected_quality = (
        metrics.peak_signal_noise_ratio(truth, np.clip(x[0], 0, 1), data_range=1) for x in (result, expected)
    )
    assert abs(quality - expected_quality) < 0.02


def test_srcnn(device, rng):
    relu = {"activation": "relu", "padding_mode": "replicate"}
    for middle in (1, 5):
        network = Network(
            [
                convolution(rng, 64, 1, 9, **relu),
                convolution(rng, 32, 64, middle, **relu),
                convolution(rng, 1, 32, 5, padding_mode="replicate"),
            ]
        )
        assert_fused(device, network, rng.random((1, 9, 21), np.float32))


def test_fsrcnn_s_of_three_channels(device, rng):
    network = Network(
        [
            convolution(rng, 32, 3, 5, **prelu(rng, 32)),
            convolution(rng, 5, 32, 1, **prelu(rng, 5)),
            convolution(rng, 5, 5, 3, **prelu(rng, 5)),
            convolution(rng, 32, 5, 1, **prelu(rng, 32)),
            ConvTranspose2d(rng.standard_normal((32, 3, 9, 9)) * 0.02, np.arange(3.0), 2, 4, 1),
        ]
    )
    assert_fused(device, network, rng.random((2, 3, 10, 19), np.float32))


CHAINS = {
    "one layer": lambda rng: [convolution(rng, 1, 1, 3)],
    "one layer, 1×1": lambda rng: [convolution(rng, 2, 3, 1, activation="relu")],
    "one deconvolution": lambda rng: [ConvTranspose2d(rng.standard_normal((1, 1, 4, 4)), None, 2, 1)],
    "sizes": lambda rng: [convolution(rng, 6, 1, 7), convolution(rng, 3, 6, 3), convolution(rng, 2, 3, 5)],
    "no bias": lambda rng: [Conv2d(rng.standard_normal((4, 2, 3, 3)) / 4, padding=1), convolution(rng, 1, 4, 1)],
    "mixed borders": lambda rng: [
        convolution(rng, 4, 1, 3, padding_mode="replicate"),
        convolution(rng, 24, 4, 5, activation="leaky_relu"),
        convolution(rng, 1, 24, 3, padding_mode="replicate", activation="relu"),
    ],
    "1×1 after 1×1": lambda rng: [
        convolution(rng, 20, 2, 1, activation="relu"),
        convolution(rng, 17, 20, 1, **prelu(rng, 1)),
        convolution(rng, 8, 17, 1),
        convolution(rng, 1, 8, 3, **prelu(rng, 1)),
    ],
    "more channels than a pass": lambda rng: [
        convolution(rng, 80, 1, 3, activation="relu"),
        convolution(rng, 72, 80, 1, activation="relu"),
        convolution(rng, 70, 72, 3),
    ],
    "oblong kernels": lambda rng: [
        Conv2d(rng.standard_normal((8, 1, 1, 5)) / 3, padding=(0, 2), padding_mode="replicate"),
        Conv2d(rng.standard_normal((2, 8, 3, 1)) / 5, np.ones(2), padding=(1, 0)),
    ],
    "pixel shuffle": lambda rng: [
        convolution(rng, 5, 1, 5, activation="relu"),
        convolution(rng, 12, 5, 3, **prelu(rng, 12)),
        PixelShuffle(2, 3),
    ],
    "odd deconvolution": lambda rng: [
        convolution(rng, 20, 1, 3),
        ConvTranspose2d(rng.standard_normal((20, 2, 5, 3)) / 8, np.ones(2), 3, (0, 1), 1, **prelu(rng, 2)),
    ],
    "deconvolution without overlap": lambda rng: [
        convolution(rng, 8, 1, 3),
        ConvTranspose2d(rng.standard_normal((8, 1, 1, 1)), None, 2, 0, 1),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(device, rng, name):
    network = Network(CHAINS[name](rng))
    assert_fused(device, network, rng.standard_normal((network.in_channels, 19, 18), np.float32))


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_sizes(device, rng, mode):
    network = Network(
        [
            convolution(rng, 4, 1, 5, padding_mode=mode, activation="relu"),
            convolution(rng, 4, 4, 3, padding_mode=mode),
            ConvTranspose2d(rng.standard_normal((4, 1, 6, 6)) / 5, np.ones(1), 2, 1, 0, padding_mode=mode),
        ]
    )
    for size in [(1, 1), (1, 17), (33, 1), (2, 3), (4, 16), (5, 33), (16, 15)]:
        assert_fused(device, network, rng.random((1, *size), np.float32))
    assert_fused(device, network, rng.random((5, 1, 7, 9), np.float32))


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_and_out(device, rng, name):
    network = Network([convolution(rng, 4, 2, 3, activation="relu"), convolution(rng, 2, 4, 3)])
    x = LAYOUTS[name](rng.random((2, 2, 9, 20), np.float32))
    expected = fused(device, network, np.ascontiguousarray(x))
    np.testing.assert_array_equal(fused(device, network, x), expected)
    out = device.array(LAYOUTS[name](np.full((2, 2, 9, 20), -1, np.float32)))
    assert network(device.array(x), out=out, precision="float16") is out
    np.testing.assert_array_equal(device.numpy(out), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_dtypes(device, rng, dtype):
    network = Network([convolution(rng, 4, 1, 3, activation="relu"), convolution(rng, 1, 4, 3)])
    x = rng.random((1, 9, 17), np.float32)
    top = 1
    if np.dtype(dtype).kind == "u":
        top = np.iinfo(dtype).max
        x = np.rint(x * top) / np.float32(top)
    expected = np.clip(network(x) * 3, 0, 1) if top > 1 else network(x) * 3
    tripled = Network([network.layers[0], Conv2d(network.layers[1].weight * 3, network.layers[1].bias * 3, padding=1)])
    given = (x * top + 0.25 * (top > 1)).astype(dtype)
    result = fused(device, tripled, given)
    assert result.dtype == dtype
    np.testing.assert_allclose(result / top, expected, rtol=0, atol=2 * HALF + 0.5 / 255 * (dtype == "uint8"))
    out = device.array(np.zeros(x.shape, np.float32))
    tripled(device.array(given), out=out, precision="float16")
    if top > 1:
        out_values = np.clip(device.numpy(out), 0, 1)
        np.testing.assert_array_equal(result, np.rint(out_values * top).astype(dtype))


def test_extreme_values(device):
    network = Network([Conv2d(np.full((1, 1, 3, 3), 1e4), padding=1, activation="relu"), Conv2d(np.ones((1, 1, 1, 1)))])
    x = np.zeros((1, 6, 18), np.float32)
    x[0, 3, 3], x[0, 3, 13] = -100, np.nan
    result = fused(device, network, x)
    assert not result[0, :, :8].any()  # beyond what the layers see, a NaN reaches its cell of 8 pixels
    assert np.isnan(result[0, 2:5, 12:15]).all()


def test_results_do_not_depend_on_tiles(device, rng, monkeypatch):
    network = models.FSRCNN.from_pretrained(2).network
    x = rng.random((1, 13, 37), np.float32)
    monkeypatch.setitem(plans, "ROWS", (8,))
    monkeypatch.setitem(plans, "WARPS", (8, 16))
    monkeypatch.setitem(plans, "COLUMNS", (80,))
    expected = fused(device, network, x)
    monkeypatch.setitem(plans, "COLUMNS", (32,))
    again = Network(network.layers)
    np.testing.assert_allclose(fused(device, again, x), expected, rtol=0, atol=1e-5)  # sums in another order


def test_a_network_of_many_channels_is_cut_where_margins_would_cost_more():
    """All of nine layers of 48 fits shared memory, in steps of 16 columns with a margin of 8 on either side."""
    dilated = models.DnCNN_s.from_pretrained().network.layers[:-1]
    layers = [replace(layer, dilation=1, padding=1) for layer in dilated]
    parts = plans["cut"](layers, SHARED_MEMORY)
    assert 1 < len(parts) < len(layers)
    assert sum(part.cost for part in parts) < 0.6 * plans["make_plan"](layers, SHARED_MEMORY).layout.cost
    assert len(plans["cut"](models.FSRCNN.from_pretrained(2).network.layers, SHARED_MEMORY)) == 1


@pytest.mark.parametrize("limit", [64 << 10, 99 << 10])
def test_smaller_devices(device, rng, monkeypatch, limit):
    monkeypatch.setattr(plans["runtime"], "shared_memory_limit", lambda: limit)
    network = models.FSRCNN.from_pretrained(2).network
    assert_fused(device, network, rng.random((1, 5, 18), np.float32))


def test_one_launch_and_nothing_kept_beyond_the_network(device, rng):
    network = Network([convolution(rng, 4, 1, 3), convolution(rng, 1, 4, 3)])
    x = rng.random((1, 9, 17), np.float32)
    fused(device, network, x)
    copy = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(fused(device, copy, x), fused(device, network, x))
    if device.emulated:
        out = device.array(x)
        images = device.array(x)
        with cuda_emulator.recording() as launches:
            network(images, out=out, precision="float16")
        assert [launch.kernel for launch in launches] == ["network"]
    gone = weakref.ref(network)
    count = len(layers._kept)
    del network
    gc.collect()
    assert gone() is None
    assert len(layers._kept) < count


# --- in several launches ------------------------------------------------------------------------------------------


def launches_of(device, network, x) -> int:
    images = device.array(x)
    with cuda_emulator.recording() as launches:
        network(images, precision="float16")
    return len(launches)


def small_device(monkeypatch, kilobytes: int) -> None:
    monkeypatch.setattr(runtime, "shared_memory_limit", lambda: kilobytes << 10)


def test_layers_too_wide_to_stay_together(device, rng, monkeypatch):
    small_device(monkeypatch, 64)
    chain = [convolution(rng, 64, 64, 3, activation="relu") for _ in range(3)]
    network = Network([convolution(rng, 64, 1, 3, activation="relu"), *chain, convolution(rng, 1, 64, 3)])
    x = rng.random((2, 1, 9, 21), np.float32)
    assert_fused(device, network, x)
    assert not device.emulated or 1 < launches_of(device, network, x) < 5


def test_a_layer_in_shares_of_its_channels(device, rng, monkeypatch):
    small_device(monkeypatch, 40)
    network = Network([convolution(rng, 150, 96, 3, **prelu(rng, 150))])
    x = rng.random((96, 6, 20), np.float32)
    assert_fused(device, network, x)
    assert not device.emulated or launches_of(device, network, x) > 1


def test_enlarged_twice(device, rng):
    network = Network(
        [
            convolution(rng, 8, 1, 3, activation="relu"),
            ConvTranspose2d(rng.standard_normal((8, 6, 4, 4)) * 0.2, None, 2, 1, activation="relu"),
            convolution(rng, 4, 6, 3),
            PixelShuffle(2),
            convolution(rng, 1, 1, 3, padding_mode="replicate"),
        ]
    )
    x = rng.random((1, 7, 18), np.float32)
    assert network(x).shape == (1, 28, 72)
    assert_fused(device, network, x)
    result = network(device.array((x * 255).astype(np.uint8)), precision="float16")
    assert result.dtype == np.uint8
    assert not device.emulated or launches_of(device, network, x) == 3


# --- what does not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: [convolution(rng, 1, 1, 3, stride=2, name="a")], r"layer 'a'.*stride must be 1, it is \(2, 2\)"),
        (lambda rng: [convolution(rng, 1, 1, 3, padding=0, name="a")], "layer 'a'.*keep the size.*3×3, .*0"),
        (lambda rng: [convolution(rng, 1, 1, 4, padding=2, name="a")], "layer 'a'.*odd kernel.*4×4"),
        (lambda rng: [convolution(rng, 1, 1, 3, dilation=2, padding=1, name="a")], "layer 'a'.*dilation and groups"),
        (lambda rng: [Conv2d(np.ones((2, 1, 1, 1)), groups=2, name="a")], "layer 'a'.*dilation and groups"),
        (lambda rng: [convolution(rng, 1, 1, 3, padding_mode="reflect", name="a")], "layer 'a'.*'reflect'"),
        (lambda rng: [ConvTranspose2d(np.ones((1, 1, 2, 2)), None, (1, 2), name="a")], r"layer 'a'.*\(1, 2\)"),
        (lambda rng: [PixelShuffle(2, name="a")], "layer 'a'.*no layer before it"),
        (
            lambda rng: [convolution(rng, 1, 1, 3), Conv2d(np.ones((1, 1, 19, 19)), padding=9, name="a")],
            "layer 'a'.*19 rows, at most",
        ),
        (
            lambda rng: [convolution(rng, 2048, 1, 3, name="a"), convolution(rng, 1, 2048, 9, name="b")],
            "precision must be 'float32' for layer 'b'.*bytes of shared memory are needed",
        ),
    ],
)
def test_names_the_layer_that_cannot_be_fused(device, rng, make, message):
    network = Network(make(rng))
    x = device.array(rng.random((network.in_channels, 24, 24), np.float32))
    with pytest.raises(ValueError, match=message):
        network(x, precision="float16")


def test_precision_is_checked(device, rng):
    network = Network([convolution(rng, 1, 1, 3)])
    x = rng.random((1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'float16', 'bfloat16', got 'half'"):
        network(device.array(x), precision="half")
    with pytest.raises(ValueError, match="'float32' or 'bfloat16' for an array on the CPU, got 'float16'"):
        network(x, precision="float16")
    with pytest.raises(TypeError, match="x must have one of the dtypes uint8, uint16, float16, float32"):
        network(device.array(x.astype(np.int16)))


# --- layer by layer -----------------------------------------------------------------------------------------------


def test_float32_agrees_with_the_cpu(device, rng):
    chain = [
        convolution(rng, 6, 2, 5, **prelu(rng, 1)),
        Conv2d(rng.standard_normal((8, 3, 1, 3)), padding=(0, 2), dilation=(1, 2), groups=2, activation="leaky_relu"),
        ConvTranspose2d(rng.standard_normal((8, 2, 4, 3)), np.ones(4), (2, 1), (1, 1), (1, 0), 2, **prelu(rng, 4)),
        PixelShuffle(2),
    ]
    network = Network(chain)
    for shape in [(2, 7, 5), (3, 2, 13, 17)]:
        x = rng.standard_normal(shape, np.float32)
        expected = network(x)
        result = device.numpy(network(device.array(x)))
        assert_close(result, expected, scale=np.abs(expected).max())
        out = device.array(np.zeros_like(expected))
        assert network(device.array(x), out=out) is out
        np.testing.assert_array_equal(device.numpy(out), result)


# --- the memory checker -------------------------------------------------------------------------------------------


def test_memory(device, rng):
    """No race, nothing out of bounds or uninitialised; loads and stores near what the hardware does at best."""
    network = models.FSRCNN.from_pretrained(2).network
    x = device.array(rng.random((1, 9, 20), np.float32))
    with device.checking() as report:
        network(x, precision="float16")
    assert report.problems == []
    shared = [access for access in report.accesses if access.space == "shared"]
    # Neighbouring pixels of 12 channels overlap in the banks where they are written, and a step whose pieces come from
    # several rows may find two of them in the same ones.
    assert sum(access.passes for access in shared) <= 1.35 * sum(access.ideal for access in shared)


# --- sums and integers --------------------------------------------------------------------------------------------


def residual(rng) -> Network:
    head = convolution(rng, 8, 1, 3, **prelu(rng, 8), name="head")
    blocks = [
        layer
        for name in ("first", "second")
        for layer in (
            convolution(rng, 8, 8, 3, **prelu(rng, 8), name=name),
            convolution(rng, 8, 8, 3),
            models.Add(input_of=name),
        )
    ]
    return Network([head, *blocks, convolution(rng, 1, 8, 3), models.Add(input_of="head")])


def test_sums_as_on_the_cpu(device, rng):
    network = residual(rng)
    x = rng.random((2, 1, 19, 23), np.float32)
    np.testing.assert_allclose(device.numpy(network(device.array(x))), network(x), rtol=0, atol=1e-5)
    assert_fused(device, network, x, factor=2)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_dtypes_at_both_ends(device, rng, dtype, precision):
    network = residual(rng)
    x = rng.random((2, 1, 11, 18))
    x = (x * np.iinfo(dtype).max).astype(dtype) if dtype.startswith("u") else x.astype(dtype)
    for out_dtype in ("uint8", "uint16", "float16", "float32"):
        out = device.array(np.ones(x.shape, out_dtype))
        assert network(device.array(x), out=out, precision=precision) is out
        expected = network(x, out=np.empty(x.shape, out_dtype))
        top = np.iinfo(out_dtype).max if out_dtype.startswith("u") else 1
        tolerance = 4 * HALF * top if precision == "float16" else 1.0 if top > 1 else 2e-3
        np.testing.assert_allclose(device.numpy(out).astype(float), expected.astype(float), rtol=0, atol=tolerance)
