from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYOUTS
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.conv_transpose2d import conv_transpose2d as reference
from tolerances import assert_close

from fastimg import _fastimg_cpu, nn


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def check(x, weight, *arguments, layout=np.asarray, **keywords):
    result = nn.conv_transpose2d(layout(x), layout(weight), *arguments, **keywords)
    keywords.pop("threads", None)
    expected = reference(x, weight, *arguments, **keywords)
    assert result.dtype == np.float32
    # Each of the summed products is rounded to its own size, so the error goes by their size, not by the sum's.
    scale = float(np.abs(weight).sum((0, 2, 3)).max() * np.abs(x).max())
    assert_close(result, expected, scale=max(scale, 1.0))


@st.composite
def calls(draw):
    """Arguments of a call that has some output and, for reflect, an input that the kernel does not reach across."""
    groups, group_inputs, group_outputs = (draw(st.integers(1, n)) for n in (3, 3, 6))
    kernel = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding_mode = draw(st.sampled_from(["zeros", "replicate", "reflect"]))
    padding = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 40)))
    least = [
        max(1, 1 + (2 * p - span - o + s - 1) // s) for p, span, o, s in zip(padding, spans, extra, stride, strict=True)
    ]
    if padding_mode == "reflect":
        least = [max(n, (span + o) // s + 2) for n, span, o, s in zip(least, spans, extra, stride, strict=True)]
    size = [max(n, m) for n, m in zip(size, least, strict=True)]
    activation = draw(st.sampled_from([None, "relu", "leaky_relu", "prelu"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    outputs = group_outputs * groups
    slope = draw(st.sampled_from([normal(rng, outputs), normal(rng, 1), -0.9])) if activation == "prelu" else None
    x = normal(rng, draw(st.integers(1, 2)), group_inputs * groups, *size)
    weight = normal(rng, group_inputs * groups, group_outputs, *kernel)
    bias = normal(rng, outputs) if draw(st.booleans()) else None
    keywords = {"padding_mode": padding_mode, "activation": activation, "slope": slope}
    layout = draw(st.sampled_from(list(LAYOUTS)))
    return (x, weight, bias, stride, padding, extra, groups, dilation), keywords, layout


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


@pytest.mark.parametrize("outputs", [1, 4])
def test_strides_beyond_the_output(target, rng, outputs):
    for size in ((1, 1), (1, 30), (7, 1)):
        x, weight = normal(rng, 1, 3, *size), normal(rng, 3, outputs, 4, 3)
        for stride in (50, (3, 200), (2**20, 2)):
            stride = tuple(s if n == 1 else 2 for s, n in zip(np.broadcast_to(stride, 2).tolist(), size, strict=True))
            check(x, weight, None, stride, (1, 0))


@pytest.mark.parametrize("geometry", [(2, 4, 1), (3, 3, 0), (4, 4, 3)], ids=["x2", "x3", "x4"])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_deconvolution_of_fsrcnn(target, rng, geometry, padding_mode, outputs):
    x, weight = normal(rng, 1, 56, 19, 61), normal(rng, 56, outputs, 9, 9)
    check(x, weight, normal(rng, outputs), *geometry, padding_mode=padding_mode)
    assert nn.conv_transpose2d(x, weight, None, *geometry).shape[2:] == (19 * geometry[0], 61 * geometry[0])


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (1, 3, 1, 50), (1, 3, 50, 1), (2, 3, 2, 2), (1, 1, 131, 207), (1, 60, 41, 127)], ids=str
)
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_sizes_from_one_pixel_to_many_tiles(target, rng, shape, outputs):
    x = normal(rng, *shape)
    check(x, normal(rng, shape[1], outputs, 3, 4), None, 2, 1)
    check(x, normal(rng, shape[1], outputs, 5, 5), None, (1, 3), padding_mode="replicate")


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, (2, 3)], ids=str)
@pytest.mark.parametrize("kernel", [3, 5, 6, 7, 9, (9, 5)], ids=str)
@pytest.mark.parametrize(("groups", "outputs"), [(1, 1), (1, 13), (2, 3)])
def test_of_many_channels(target, rng, stride, kernel, groups, outputs):
    # Those whose outputs are made several rows at once, and their neighbours.
    x, weight = normal(rng, 1, 13 * groups, 10, 35), normal(rng, 13 * groups, outputs, *np.broadcast_to(kernel, 2))
    check(x, weight, normal(rng, outputs * groups), stride, 1, 0, groups, activation="relu")


def test_stride_larger_than_the_kernel_leaves_the_bias(target, rng):
    x, weight, bias = normal(rng, 1, 2, 5, 6), normal(rng, 2, 3, 2, 2), normal(rng, 3)
    result = nn.conv_transpose2d(x, weight, bias, 5)
    for channel in range(3):
        np.testing.assert_array_equal(result[0, channel, 2::5], bias[channel])
    check(x, weight, bias, 5)


def test_any_layout(target, layout, rng):
    x, weight = normal(rng, 2, 5, 23, 29), normal(rng, 5, 3, 3, 3)
    check(x, weight, None, 2, 1, layout=layout)


def test_channels_last_and_out_of_any_layout(target, layout, rng):
    x, weight = normal(rng, 2, 19, 53, 7), normal(rng, 7, 2, 3, 3)
    images = np.moveaxis(x, -1, 1)
    expected = nn.conv_transpose2d(np.ascontiguousarray(images), weight, stride=2)
    np.testing.assert_array_equal(nn.conv_transpose2d(images, weight, stride=2), expected)
    out = layout(np.full_like(expected, np.nan))
    assert nn.conv_transpose2d(images, weight, stride=2, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_crop_of_out_leaves_its_surroundings(target, rng):
    x, weight = normal(rng, 1, 2, 11, 25), normal(rng, 2, 1, 3, 3)
    frame = np.full((1, 3, 27, 57), 7, np.float32)
    inner = frame[:, 1:2, 2:-2, 3:-3]
    nn.conv_transpose2d(x, weight, None, 2, out=inner)
    np.testing.assert_array_equal(inner, nn.conv_transpose2d(x, weight, None, 2))
    inner[...] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("outputs", [1, 8])
def test_threads_do_not_change_the_result(target, rng, outputs):
    x, weight = normal(rng, 2, 6, 43, 111), normal(rng, 6, outputs, 5, 5)
    expected = nn.conv_transpose2d(x, weight, None, 2, threads=1)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(nn.conv_transpose2d(x, weight, None, 2, threads=threads), expected)


def test_three_dimensions_and_no_images(rng):
    x, weight = normal(rng, 3, 9, 11), normal(rng, 3, 4, 3, 3)
    np.testing.assert_array_equal(nn.conv_transpose2d(x, weight), nn.conv_transpose2d(x[np.newaxis], weight)[0])
    assert nn.conv_transpose2d(normal(rng, 0, 3, 9, 11), weight, stride=2).shape == (0, 4, 19, 23)


def test_is_the_adjoint_of_conv2d(target, rng):
    weight, stride, padding = normal(rng, 4, 3, 3, 5), (2, 3), (1, 2)
    x = normal(rng, 1, 3, 21, 31)
    y = nn.conv2d(x, weight, None, stride, padding)
    other = normal(rng, *y.shape)
    back = nn.conv_transpose2d(other, weight, None, stride, padding)
    assert back.shape == x.shape
    assert np.vdot(y.astype(float), other) == pytest.approx(np.vdot(x.astype(float), back), rel=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is_read(target, rng, value):
    x, weight = normal(rng, 1, 3, 20, 40), normal(rng, 3, 1, 3, 3)
    x[0, 1, 10, 17] = value
    result = nn.conv_transpose2d(x, weight, None, 2)
    touched = np.zeros_like(result, bool)
    touched[:, :, 20:23, 34:37] = True
    np.testing.assert_array_equal(np.isfinite(result), ~touched)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_of_many_channels_goes_no_further_than_four_rows(target, rng, value):
    x, weight = normal(rng, 1, 16, 20, 40), normal(rng, 16, 1, 9, 9)
    x[0, 1, 10, 17] = value
    finite = np.isfinite(nn.conv_transpose2d(x, weight, None, 2, 4))
    assert not finite[:, :, 16:25, 30:39].any()
    assert finite[:, :, : 16 - 6].all()
    assert finite[:, :, 25 + 6 :].all()
    assert finite[..., : 30 - 2].all()
    assert finite[..., 39 + 2 :].all()


def test_agrees_with_torch(target, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    geometries = [(2, 1, 1, 1, 1), ((3, 1), (0, 2), (2, 0), 2, 1), (4, 2, 3, 1, (1, 5)), (1, 0, 1, 4, 2)]
    for stride, padding, output_padding, groups, dilation in geometries:
        x, weight = normal(rng, 2, 4, 13, 27), normal(rng, 4, 3, 5, 4)
        bias, slope = normal(rng, 3 * groups), normal(rng, 3 * groups)
        arguments = (stride, padding, output_padding, groups, dilation)
        tensors = [torch.from_numpy(a) for a in (x, weight, bias, slope)]
        expected = functional.prelu(functional.conv_transpose2d(*tensors[:3], *arguments), tensors[3])
        result = nn.conv_transpose2d(x, weight, bias, *arguments, activation="prelu", slope=slope)
        np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)


def test_tensors_in_tensors_out(rng):
    torch = pytest.importorskip("torch")
    x, weight = normal(rng, 1, 3, 9, 9), normal(rng, 3, 2, 3, 3)
    result = nn.conv_transpose2d(torch.from_numpy(x), weight, stride=2)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), nn.conv_transpose2d(x, torch.from_numpy(weight), stride=2))


X = np.zeros((1, 4, 8, 9), np.float32)
W = np.zeros((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("error", "message", "arguments", "keywords"),
    [
        (TypeError, "x must have one of the dtypes float32, got float64", (X.astype(float), W), {}),
        (ValueError, r"x must have 3 or 4 dimensions \(C, H, W or N, C, H, W\), got 2", (X[0, 0], W), {}),
        (ValueError, "weight must have 4 dimensions .*, got 3", (X, W[0]), {}),
        (ValueError, r"x must have 2 channels for weight of shape \(2, 3, 3, 3\) and groups 1, got 4", (X, W[:2]), {}),
        (ValueError, "groups must divide the first axis of weight, got 3 for shape", (X, W), {"groups": 3}),
        (ValueError, r"bias must have shape \(6,\), got \(3,\)", (X, W, np.zeros(3, np.float32)), {"groups": 2}),
        (ValueError, "stride must be at least 1, got 0", (X, W), {"stride": 0}),
        (TypeError, "padding must be an integer, got 'same'", (X, W), {"padding": "same"}),
        (
            ValueError,
            r"output_padding must be smaller than stride \(2\) or dilation \(1\), got 2",
            (X, W),
            {"stride": 2, "output_padding": 2},
        ),
        (ValueError, "padding must leave some output, got 5 for an input of height 8", (X, W), {"padding": 5}),
        (ValueError, "dilation must be at least 1, got 0", (X, W), {"dilation": 0}),
        (
            ValueError,
            "'reflect' needs an input larger than the kernel's reach, got height 2 for 2",
            (X[:, :, :2], W),
            {"padding_mode": "reflect"},
        ),
        (ValueError, "padding_mode must be one of 'zeros', .*, got 'edge'", (X, W), {"padding_mode": "edge"}),
        (ValueError, "slope must be given for activation 'prelu'", (X, W), {"activation": "prelu"}),
        (ValueError, "out must have shape", (X, W), {"out": X}),
        (TypeError, "threads must be an integer, got 1.5", (X, W), {"threads": 1.5}),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_bad_input(error, message, arguments, keywords):
    with pytest.raises(error, match=message):
        nn.conv_transpose2d(*arguments, **keywords)
