from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.conv2d import conv2d as reference
from tolerances import assert_close

from fastimg import _fastimg_cpu, nn


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def check(x, weight, *arguments, layout=np.asarray, **keywords):
    result = nn.conv2d(layout(x), layout(weight), *arguments, **keywords)
    keywords.pop("threads", None)
    expected = reference(x, weight, *arguments, **keywords)
    assert result.dtype == np.float32
    # Each of the summed products is rounded to its own size, so the error goes by their size, not by the sum's.
    scale = float(np.abs(weight).sum((1, 2, 3)).max() * np.abs(x).max())
    assert_close(result, expected, scale=max(scale, 1.0))


@st.composite
def calls(draw):
    """Arguments of a call that has some output."""
    groups, group_inputs, group_outputs = (draw(st.integers(1, n)) for n in (3, 3, 6))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding_mode = draw(st.sampled_from(["zeros", "replicate", "reflect"]))
    size = draw(st.tuples(st.integers(1, 20), st.integers(1, 70)))
    most = [min(6, n - 1) if padding_mode == "reflect" else 6 for n in size]
    padding = tuple(draw(st.integers(0, p)) for p in most)
    size = tuple(max(n, span - 2 * p, p + 1) for n, span, p in zip(size, spans, padding, strict=True))
    activation = draw(st.sampled_from([None, "relu", "leaky_relu", "prelu"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    outputs = group_outputs * groups
    slope = None
    if activation == "prelu":
        slope = draw(st.sampled_from([normal(rng, outputs), normal(rng, 1), -0.9, 1.5]))
    x = normal(rng, draw(st.integers(1, 2)), group_inputs * groups, *size)
    weight = normal(rng, outputs, group_inputs, *kernel)
    bias = normal(rng, outputs) if draw(st.booleans()) else None
    keywords = {"padding_mode": padding_mode, "activation": activation, "slope": slope}
    return (x, weight, bias, stride, padding, dilation, groups), keywords, draw(st.sampled_from(list(LAYOUTS)))


@settings(max_examples=150, deadline=None)
@given(call=calls(), target=st.sampled_from(_fastimg_cpu.supported_targets()), threads=st.integers(1, 3))
def test_any_arguments(call, target, threads):
    arguments, keywords, layout = call
    before = _fastimg_cpu.active_target()
    _fastimg_cpu.select_target(target)
    try:
        check(*arguments, **keywords, threads=threads, layout=LAYOUTS[layout])
    finally:
        _fastimg_cpu.select_target(before)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel"),
    [(1, 56, 5), (56, 12, 1), (12, 12, 3), (12, 56, 1), (20, 32, 5), (32, 1, 5), (3, 7, 9)],
)
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
def test_layers_of_known_networks(target, rng, inputs, outputs, kernel, padding_mode):
    x, weight = normal(rng, 1, inputs, 13, 53), normal(rng, outputs, inputs, kernel, kernel)
    slope = normal(rng, outputs)
    check(x, weight, normal(rng, outputs), 1, kernel // 2, padding_mode=padding_mode, activation="prelu", slope=slope)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("rows", [3, 4, 7, 33])
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups"),
    [(16, 16, (3, 3), 1), (15, 40, (5, 5), 1), (32, 34, (3, 5), 2), (17, 15, (5, 1), 1), (64, 64, (3, 3), 1)],
)
def test_two_rows_at_once(target, rng, inputs, outputs, kernel, groups, rows, padding_mode):
    """Layers wide enough for Winograd's algorithm, which rounds a little more."""
    x, weight = normal(rng, 2, inputs, rows, 53), normal(rng, outputs, inputs // groups, *kernel)
    slope = normal(rng, outputs)
    keywords = dict(padding_mode=padding_mode, activation="prelu", slope=slope)
    check(x, weight, normal(rng, outputs), 1, (kernel[0] // 2, 4), (1, 2), groups, **keywords)
    check(x, weight, None, 1, (2, 0), groups=groups, padding_mode=padding_mode)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (1, 3, 1, 50), (1, 3, 50, 1), (2, 3, 2, 2), (1, 1, 211, 307), (1, 40, 61, 127), (1, 200, 5, 300)],
    ids=str,
)
@pytest.mark.parametrize("outputs", [1, 5])
def test_sizes_from_one_pixel_to_many_tiles(target, rng, shape, outputs):
    x = normal(rng, *shape)
    check(x, normal(rng, outputs, shape[1], 3, 3), padding=1, padding_mode="replicate")
    check(x, normal(rng, outputs, shape[1], 7, 5), padding=(3, 2))


def test_kernel_larger_than_the_image(target, rng):
    check(normal(rng, 1, 2, 3, 4), normal(rng, 3, 2, 11, 9), padding=(5, 4))
    check(normal(rng, 1, 2, 3, 4), normal(rng, 3, 2, 11, 9), padding=(9, 12), padding_mode="replicate")


@pytest.mark.parametrize("outputs", [1, 6])
def test_steps_beyond_the_kernel(target, rng, outputs):
    """Rows and columns that no weight reads, and strides and dilations larger than the image."""
    x = normal(rng, 1, 5, 41, 67)
    for kernel in ((1, 1), (3, 2)):
        weight = normal(rng, outputs, 5, *kernel)
        for geometry in ((9, 0), ((1, 1000), 0), ((100, 7), 3), (2**20, 1), (4, 12, (12, 9)), (1, 60, (60, 50))):
            check(x, weight, None, *geometry)


@pytest.mark.parametrize("multiplier", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(target, rng, multiplier, stride):
    x, weight = normal(rng, 2, 6, 37, 41), normal(rng, 6 * multiplier, 1, 3, 3)
    check(x, weight, normal(rng, 6 * multiplier), stride, 1, groups=6)


def test_many_channels(target, rng):
    check(normal(rng, 1, 400, 6, 9), normal(rng, 3, 400, 3, 3), padding=1)
    check(normal(rng, 1, 2, 9, 9), normal(rng, 133, 2, 3, 3), padding=1)


def test_any_layout(target, layout, rng):
    x, weight = normal(rng, 2, 5, 23, 29), normal(rng, 6, 5, 3, 3)
    for stride in (1, 2):
        check(x, weight, stride=stride, padding=1, padding_mode="reflect", layout=layout)


def test_channels_last_and_out_of_any_layout(target, layout, rng):
    x, weight = normal(rng, 2, 19, 53, 7), normal(rng, 6, 7, 3, 3)
    images = np.moveaxis(x, -1, 1)
    expected = nn.conv2d(np.ascontiguousarray(images), weight)
    np.testing.assert_array_equal(nn.conv2d(images, weight), expected)
    out = layout(np.full_like(expected, np.nan))
    assert nn.conv2d(images, weight, out=out) is out
    np.testing.assert_array_equal(out, expected)
    last = np.moveaxis(np.full((2, 17, 51, 6), np.nan, np.float32), -1, 1)
    np.testing.assert_array_equal(nn.conv2d(images, weight, out=last), expected)


def test_crop_of_out_leaves_its_surroundings(target, rng):
    x, weight = normal(rng, 1, 2, 21, 45), normal(rng, 1, 2, 3, 3)
    frame = np.full((1, 3, 25, 51), 7, np.float32)
    nn.conv2d(x, weight, padding=1, out=frame[:, 1:2, 2:-2, 3:-3])
    check_frame = frame.copy()
    check_frame[:, 1:2, 2:-2, 3:-3] = 7
    assert (check_frame == 7).all()
    np.testing.assert_array_equal(frame[:, 1:2, 2:-2, 3:-3], nn.conv2d(x, weight, padding=1))


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 20), (8, 1), (16, 20)])
def test_threads_do_not_change_the_result(target, rng, inputs, outputs):
    x, weight = normal(rng, 2, inputs, 83, 211), normal(rng, outputs, inputs, 5, 5)
    expected = nn.conv2d(x, weight, padding=2, threads=1)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(nn.conv2d(x, weight, padding=2, threads=threads), expected)


def test_an_output_does_not_depend_on_the_rest_of_the_image(target, rng):
    x, weight = normal(rng, 1, 5, 90, 200), normal(rng, 7, 5, 3, 3)
    whole = nn.conv2d(x, weight)
    np.testing.assert_array_equal(nn.conv2d(x[:, :, 13:57, 31:150], weight), whole[:, :, 13:55, 31:148])


def test_three_dimensions_as_one_image(rng):
    x, weight = normal(rng, 3, 9, 11), normal(rng, 4, 3, 3, 3)
    result = nn.conv2d(x, weight)
    assert result.shape == (4, 7, 9)
    np.testing.assert_array_equal(result, nn.conv2d(x[np.newaxis], weight)[0])


def test_no_images(rng):
    assert nn.conv2d(normal(rng, 0, 3, 9, 11), normal(rng, 4, 3, 3, 3)).shape == (0, 4, 7, 9)


def test_same_and_valid(target, rng):
    x = normal(rng, 1, 2, 17, 19)
    for kernel, dilation in (((3, 5), 1), ((4, 2), 1), ((2, 4), (3, 1))):
        weight = normal(rng, 3, 2, *kernel)
        for mode in ("zeros", "replicate", "reflect"):
            check(x, weight, padding="same", dilation=dilation, padding_mode=mode)
        assert nn.conv2d(x, weight, padding="same", dilation=dilation).shape[2:] == (17, 19)
        check(x, weight, padding="valid", dilation=dilation)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_where_it_is_read(target, rng, value):
    x, weight = normal(rng, 1, 3, 40, 70), normal(rng, 5, 3, 3, 3)
    x[0, 1, 20, 33] = value
    for activation in (None, "relu", "leaky_relu"):
        result = nn.conv2d(x, weight, padding=1, activation=activation)
        touched = np.zeros_like(result, bool)
        touched[:, :, 19:22, 32:35] = True
        assert np.isfinite(result[~touched]).all()
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(
                np.isnan(result), np.isnan(reference(x, weight, padding=1, activation=activation))
            )
        if activation == "relu" and not np.isnan(value):
            assert (result >= 0).all()


def test_agrees_with_torch(target, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    for groups, stride, padding, dilation in ((1, 1, 2, 1), (2, (2, 1), (0, 3), (1, 2)), (4, 3, 1, 1)):
        x, weight = normal(rng, 2, 4, 33, 47), normal(rng, 8, 4 // groups, 3, 5)
        bias, slope = normal(rng, 8), normal(rng, 8)
        arguments = (stride, padding, dilation, groups)
        tensors = [torch.from_numpy(a) for a in (x, weight, bias, slope)]
        expected = functional.prelu(functional.conv2d(*tensors[:3], *arguments), tensors[3])
        result = nn.conv2d(x, weight, bias, *arguments, activation="prelu", slope=slope)
        np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)
        layer = torch.nn.Conv2d(4, 8, (3, 5), padding="same", padding_mode="reflect", bias=False)
        expected = layer(tensors[0]).detach()
        result = nn.conv2d(x, layer.weight.detach(), padding="same", padding_mode="reflect")
        np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)


def test_tensors_in_tensors_out(rng):
    torch = pytest.importorskip("torch")
    x, weight, bias = normal(rng, 1, 3, 9, 9), normal(rng, 2, 3, 3, 3), normal(rng, 2)
    expected = nn.conv2d(x, weight, bias)
    tensor = torch.from_numpy(x)
    out = torch.empty(expected.shape)
    result = nn.conv2d(tensor, torch.from_numpy(weight), torch.from_numpy(bias), out=out)
    assert result is out
    np.testing.assert_array_equal(out.numpy(), expected)
    mixed = nn.conv2d(tensor.to(memory_format=torch.channels_last), weight, bias)
    assert isinstance(mixed, torch.Tensor)
    np.testing.assert_array_equal(mixed.numpy(), expected)
    assert isinstance(nn.conv2d(x, torch.from_numpy(weight)), np.ndarray)


X = np.zeros((1, 4, 8, 9), np.float32)
W = np.zeros((6, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("error", "message", "arguments", "keywords"),
    [
        (TypeError, "x must have one of the dtypes float32, got float64", (X.astype(float), W), {}),
        (TypeError, "weight must have one of the dtypes float32, got float16", (X, W.astype(np.float16)), {}),
        (TypeError, "bias must have one of the dtypes float32, got float64", (X, W, np.zeros(6)), {}),
        (ValueError, r"x must have 3 or 4 dimensions \(C, H, W or N, C, H, W\), got 2", (X[0, 0], W), {}),
        (ValueError, "weight must have 4 dimensions .*, got 3", (X, W[0]), {}),
        (ValueError, r"weight must not be empty, got shape \(0, 4, 3, 3\)", (X, W[:0]), {}),
        (
            ValueError,
            r"x must have 2 channels for weight of shape \(6, 2, 3, 3\) and groups 1, got 4",
            (X, W[:, :2]),
            {},
        ),
        (ValueError, r"groups must divide the first axis of weight, got 4 for shape \(6, 4", (X, W), {"groups": 4}),
        (ValueError, "groups must be at least 1, got 0", (X, W), {"groups": 0}),
        (ValueError, r"bias must have shape \(6,\), got \(5,\)", (X, W, np.zeros(5, np.float32)), {}),
        (ValueError, "stride must be at least 1, got 0", (X, W), {"stride": 0}),
        (
            ValueError,
            r"stride must be an integer or a pair of integers, got \(1, 1, 1\)",
            (X, W),
            {"stride": (1, 1, 1)},
        ),
        (TypeError, "stride must be an integer, got 1.5", (X, W), {"stride": 1.5}),
        (TypeError, "stride must be an integer, got b'..01..01'", (X, W), {"stride": b"\1\1"}),
        (ValueError, "stride must be at most 1048576, got 1152921504606846976", (X, W), {"stride": 2**60}),
        (ValueError, "padding must be at most 1048576, got 2147483648", (X, W), {"padding": 2**31}),
        (ValueError, "dilation must be at most 1048576, got 1000000", (X, W), {"dilation": (1, 10**30)}),
        (ValueError, "padding must be at least 0, got -1", (X, W), {"padding": (0, -1)}),
        (ValueError, "padding must be one of 'same', 'valid', got 'full'", (X, W), {"padding": "full"}),
        (
            ValueError,
            r"padding 'same' needs a stride of 1, got \(1, 2\)",
            (X, W),
            {"padding": "same", "stride": (1, 2)},
        ),
        (ValueError, "dilation must be at least 1, got 0", (X, W), {"dilation": (1, 0)}),
        (ValueError, "x must be at least as large as the kernel, got height 8, .* spans 9", (X, W), {"dilation": 4}),
        (ValueError, "padding_mode must be one of 'zeros', .*, got 'circular'", (X, W), {"padding_mode": "circular"}),
        (
            ValueError,
            "padding must be smaller than the image for padding_mode 'reflect', got 8 for height 8",
            (X, W),
            {"padding": 8, "padding_mode": "reflect"},
        ),
        (ValueError, "activation must be one of None, 'relu', .*, got 'gelu'", (X, W), {"activation": "gelu"}),
        (ValueError, "slope must be given for activation 'prelu'", (X, W), {"activation": "prelu"}),
        (ValueError, "slope must be None for activation 'relu', got 0.1", (X, W), {"activation": "relu", "slope": 0.1}),
        (
            ValueError,
            r"slope must be a number or have shape \(1,\) or \(6,\), got \(4,\)",
            (X, W),
            {"activation": "prelu", "slope": np.zeros(4)},
        ),
        (ValueError, "slope must be finite, got nan", (X, W), {"activation": "prelu", "slope": float("nan")}),
        (ValueError, "slope must be finite in float32", (X, W), {"activation": "prelu", "slope": np.array([np.nan])}),
        (ValueError, "slope must be finite in float32", (X, W), {"activation": "prelu", "slope": np.float64(1e300)}),
        (TypeError, "slope must be a number, got True", (X, W), {"activation": "prelu", "slope": True}),
        (
            ValueError,
            r"out must have shape \(1, 6, 6, 7\), got \(1, 6, 8, 9\)",
            (X, W),
            {"out": np.zeros((1, 6, 8, 9), "f")},
        ),
        (ValueError, "threads must be at least 1, got 0", (X, W), {"threads": 0}),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_bad_input(error, message, arguments, keywords):
    with pytest.raises(error, match=message):
        nn.conv2d(*arguments, **keywords)


def test_out_must_not_be_the_input():
    with pytest.raises(ValueError, match="out must not overlap x"):
        nn.conv2d(X, np.zeros((4, 4, 1, 1), np.float32), out=X)
