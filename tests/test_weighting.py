"""Weightings by a function that Numba compiles: against the slow reference with the same function, and the built-in."""

from __future__ import annotations

import math
import sys
import threading
import time

import numpy as np
import pytest
from conftest import random_image
from reference.denoise_nl_means import denoise_nl_means as reference
from tolerances import assert_close

from fastimg.restoration import denoise_nl_means, denoise_nl_means_sequence, denoise_nl_means_stream

numba = pytest.importorskip("numba")


def cauchy(distance, width=1.0):
    return 1 / (1 + distance / width)


def welsch(distance):
    return math.exp(-distance) if distance <= 5 else 0.0


def powers(distance, exponent):
    return max(0.0, 1 - distance) ** exponent


SMALL = dict(patch_size=5, patch_distance=3, h=0.4)
SHAPES = {
    "image": ((23, 37), None),
    "colours": ((17, 25, 3), -1),
    "volume": ((5, 7, 9), None),
    "volume of colours": ((4, 6, 2, 7), 2),
    "a pixel": ((1, 1), None),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def image(request, rng):
    """An image and the axis of its channels."""
    shape, axis = request.param
    return rng.random(shape, "float32"), axis


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_agrees_with_reference(target, image, fast_mode, sigma):
    x, axis = image
    options = dict(SMALL, fast_mode=fast_mode, sigma=sigma, channel_axis=axis)
    result = denoise_nl_means(x, **options, weighting=cauchy, weighting_args={"width": 0.3})
    assert_close(result, reference(x, **options, weighting=lambda d: cauchy(d, 0.3)), factor=2)


@pytest.mark.parametrize(
    ("name", "function", "arguments"),
    [
        ("welsch", welsch, None),
        ("epanechnikov", powers, {"exponent": 1}),
        ("bisquare", powers, {"exponent": 2}),
        ("modified_bisquare", powers, {"exponent": 8}),
    ],
)
def test_the_builtin_ones_by_functions(target, image, name, function, arguments):
    x, axis = image
    options = dict(SMALL, sigma=0.05, channel_axis=axis)
    result = denoise_nl_means(x, **options, weighting=function, weighting_args=arguments)
    assert_close(result, denoise_nl_means(x, **options, weighting=name), factor=2)  # both are off by one


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_dtypes(target, rng, dtype):
    x = random_image(rng, (25, 33), dtype)
    h = 0.4 * (np.iinfo(dtype).max if x.dtype.kind == "u" else 1)
    result = denoise_nl_means(x, 5, 3, h, weighting=cauchy, preserve_range=True)
    assert result.dtype == dtype
    expected = reference(x.astype(np.float64), 5, 3, h, weighting=cauchy)
    if dtype == "float64":  # arithmetic is in float32
        result, expected = result.astype(np.float32), expected.astype(np.float32)
    assert_close(result, expected)
    if x.dtype.kind == "u":
        scaled = denoise_nl_means(x, 5, 3, 0.4, weighting=cauchy)
        assert_close(scaled, reference(x / np.iinfo(dtype).max, 5, 3, 0.4, weighting=cauchy))


def test_everything_at_once(target, rng):
    x, guide = rng.random((4, 12, 13, 2), "float32"), rng.random((4, 12, 13, 3), "float32")
    options = dict(
        patch_size=3,
        patch_distance=2,
        fast_mode=False,
        h=rng.uniform(0.4, 0.6, x.shape[:3]),
        sigma=rng.uniform(0, 0.1, x.shape[:3]),
        guide=guide,
        weighting=cauchy,
        center_weight=0.7,
        channel_axis=-1,
    )
    assert_close(denoise_nl_means(x, **options), reference(x, **options), factor=2)


def test_sequences_and_streams(target, rng):
    frames = rng.random((5, 20, 22), "float32")
    options = dict(SMALL, weighting=cauchy, weighting_args={"width": 0.5}, temporal_distance=1)
    result = denoise_nl_means_sequence(frames, **options)
    expected = reference(frames, **SMALL, weighting=lambda d: cauchy(d, 0.5), temporal_distance=1)
    assert_close(result, expected)
    np.testing.assert_array_equal(np.stack(list(denoise_nl_means_stream(iter(frames), **options))), result)


def test_layouts_out_and_threads(target, layout, rng):
    x = rng.random((150, 210, 3), "float32")
    options = dict(SMALL, weighting=cauchy, channel_axis=-1)
    expected = denoise_nl_means(x, **options, threads=1)
    out = layout(np.empty_like(x))
    assert denoise_nl_means(layout(x), **options, out=out) is out
    np.testing.assert_array_equal(out, expected)
    for threads in (2, 5):
        np.testing.assert_array_equal(denoise_nl_means(x, **options, threads=threads), expected)


# ---- weights that are odd --------------------------------------------------------------------------------------------


def test_the_pixel_itself_weighs_what_the_function_says(rng):
    """A function that gives the distance 0 no weight leaves out the pixel itself, and all that are like it."""
    x = rng.random((20, 22), "float32")
    result = denoise_nl_means(x, **SMALL, weighting=lambda d: 1.0 if d > 0 else 0.0)
    padded = np.pad(x.astype(np.float64), 3, mode="reflect")
    sums = sum(padded[dy : dy + 20, dx : dx + 22] for dy in range(7) for dx in range(7))
    inner = (slice(6, -6), slice(6, -6))  # beyond it, mirrored patches are the same
    assert_close(result[inner], ((sums - x) / 48)[inner])


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_a_pixel_that_nothing_weighs_stays(target, rng, weight):
    x = rng.random((20, 22), "float32")
    for center_weight in (None, 1):
        result = denoise_nl_means(x, **SMALL, weighting=lambda d: weight, center_weight=center_weight)
        assert_close(result, x)


def test_non_finite_values_stay_local(target, rng):
    x = rng.random((30, 40), "float32")
    for value in (np.nan, np.inf):
        x[15, 20] = value
        result = denoise_nl_means(x, **SMALL, weighting=lambda d: 1.0)  # which would weigh any distance
        near = np.zeros(x.shape, bool)
        near[15 - 3 : 15 + 4, 20 - 3 : 20 + 4] = True
        assert np.isfinite(result[~near]).all()


# ---- compilation -----------------------------------------------------------------------------------------------------


def test_compiled_once(monkeypatch, rng):
    made = []
    cfunc = numba.cfunc
    monkeypatch.setattr(numba, "cfunc", lambda *args, **options: made.append(args) or cfunc(*args, **options))

    def linear(distance, slope):
        return 1 - slope * distance

    for slope in (0.5, 0.7):
        denoise_nl_means(rng.random((8, 9)), **SMALL, weighting=linear, weighting_args={"slope": slope})
    assert len(made) == 1


def test_other_threads_run_meanwhile(rng):
    """The kernel does not hold the GIL while it calls the function."""
    x = rng.random((600, 600), "float32")
    denoise_nl_means(x[:20, :20], **SMALL, weighting=welsch)
    worker = threading.Thread(target=denoise_nl_means, args=(x,), kwargs=dict(SMALL, weighting=welsch, threads=1))
    worker.start()
    turns = 0
    while worker.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 3


BAD = [
    (lambda distance: (distance, 1), "<lambda> must return a weight, got "),
    (lambda distance: "a", "<lambda> must return a weight, got "),
    (lambda distance: distance + "a", rf"<lambda> cannot be compiled by Numba, .*{__name__[-8:]}.py:\d+: "),
    (lambda distance: print(distance, file=None), "cannot be compiled by Numba, "),
]


@pytest.mark.parametrize(("function", "message"), BAD)
def test_functions_that_cannot_be_compiled(function, message):
    with pytest.raises(TypeError, match=message):
        denoise_nl_means(np.zeros((4, 5)), weighting=function)


def test_the_line_is_told():
    def wrong(distance):
        distance = distance + 1
        return distance + "text"

    def raising(distance):
        if distance < 0:
            raise ValueError(distance)
        return 1.0

    line = wrong.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"wrong cannot be compiled by Numba, .*\.py:{line}: "):
        denoise_nl_means(np.zeros((4, 5)), weighting=wrong)
    line = raising.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"raising must not raise, .*\.py:{line}: a kernel cannot report it"):
        denoise_nl_means(np.zeros((4, 5)), weighting=raising)


def test_bad_arguments():
    x = np.zeros((4, 5))
    with pytest.raises(TypeError, match="weighting must be a Python function, got builtin_function_or_method"):
        denoise_nl_means(x, weighting=math.exp)
    for function in (lambda: 1.0, lambda *distances: 1.0, lambda distance, *, k: k):
        with pytest.raises(TypeError, match="weighting must take a distance and named parameters, got "):
            denoise_nl_means(x, weighting=function)
    with pytest.raises(TypeError, match=r"weighting_args must fit cauchy\(distance, width=.*unexpected keyword"):
        denoise_nl_means(x, weighting=cauchy, weighting_args={"power": 2})
    with pytest.raises(TypeError, match=r"weighting_args\['width'\] must be a number, got 'x'"):
        denoise_nl_means(x, weighting=cauchy, weighting_args={"width": "x"})
    with pytest.raises(TypeError, match=r"weighting_args must fit powers.*missing a required argument: 'exponent'"):
        denoise_nl_means(x, weighting=powers)
    with pytest.raises(ValueError, match="weighting_args are for a function, got weighting='welsch'"):
        denoise_nl_means(x, weighting_args={"width": 2})


def test_numba_is_asked_for(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"weighting needs Numba: pip install 'fastimg\[numba\]'"):
        denoise_nl_means(np.zeros((4, 5)), weighting=lambda distance: 1.0)
