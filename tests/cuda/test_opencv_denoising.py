"""`fastimg.opencv`'s non-local means and Lab on a device: whole numbers, equal to the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import LAYOUTS, random_image

from fastimg import arrays, opencv
from fastimg.backends import cpu, cuda
from fastimg.opencv import lab

L1, L2 = opencv.NORM_L1, opencv.NORM_L2


def noisy(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    """Noise around edges, so that some patches resemble each other."""
    unit = 1 if dtype == "uint8" else 257
    steps = np.indices(shape)[1] // 9 * 40 + 30
    return ((steps + rng.normal(0, 8, shape)).clip(0, 255) * unit).astype(dtype)


def to_device(device, argument: Any) -> Any:
    if isinstance(argument, list) and isinstance(argument[0], np.ndarray):
        return [device.array(each) for each in argument]
    return device.array(argument) if isinstance(argument, np.ndarray) else argument


def assert_equal(device, function: Callable[..., Any], image: Any, *arguments: Any) -> None:
    result = device.numpy(function(to_device(device, image), *(to_device(device, a) for a in arguments)))
    np.testing.assert_array_equal(result, function(image, *arguments), strict=True)


# ---- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "norm"), [*((n, L2) for n in range(1, 6)), *((n, L1) for n in (1, 3, 5))])
def test_channels_together(device, rng, channels, norm):
    image = noisy(rng, (20, 30, channels))
    assert_equal(device, opencv.fastNlMeansDenoising, image, [14.0], None, 5, 7, norm)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_uint16(device, rng, channels):
    image = noisy(rng, (20, 30, channels), "uint16")
    assert_equal(device, opencv.fastNlMeansDenoising, image, [14.0 * 257], None, 5, 7, L1)


@pytest.mark.parametrize(("norm", "dtype", "channels"), [(L2, "uint8", 3), (L1, "uint8", 5), (L1, "uint16", 3)])
def test_a_strength_for_each_channel(device, rng, norm, dtype, channels):
    image = noisy(rng, (17, 23, channels), dtype)
    strengths = [(12.0 + 3 * c) * (1 if dtype == "uint8" else 257) for c in range(channels)]
    assert_equal(device, opencv.fastNlMeansDenoising, image, strengths, None, 5, 7, norm)


@pytest.mark.parametrize(("template", "search"), [(1, 1), (1, 9), (3, 5), (8, 6), (5, 27), (17, 3), (19, 5), (127, 3)])
@pytest.mark.parametrize("h", [0, 9.7])
def test_windows_and_strengths(device, rng, template, search, h):
    image = noisy(rng, (20, 30))
    assert_equal(device, opencv.fastNlMeansDenoising, image, None, h, template, search)


@pytest.mark.parametrize("template", [35, 83])
def test_large_templates_of_colours(device, rng, template):
    image = noisy(rng, (70, 90, 3), "uint16") // 256
    assert_equal(device, opencv.fastNlMeansDenoising, image, [9.0], None, template, 3, L1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_extremes(device, rng, dtype):
    """The largest differences, sums and weights, and tables that shared memory does not hold."""
    top = int(np.iinfo(dtype).max)
    image = (rng.integers(0, 2, (18, 21)) * top).astype(dtype)
    for h in (0.01 * top, 1.0 * top):
        assert_equal(device, opencv.fastNlMeansDenoising, image, [h], None, 7, 7, L1)
    if dtype == "uint8":
        assert_equal(device, opencv.fastNlMeansDenoising, image, None, 400, 7, 7)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 40), (40, 1), (2, 3), (1, 1, 3), (66, 61), (65, 117, 3)])
def test_shapes(device, rng, shape):
    assert_equal(device, opencv.fastNlMeansDenoising, noisy(rng, shape), None, 12, 7, 5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device, rng, layout):
    image = noisy(rng, (14, 22, 3))
    expected = opencv.fastNlMeansDenoising(image, None, 12, 5, 5)
    planes = device.array(np.zeros((3, 14, 22), np.uint8))
    out = planes.transpose(1, 2, 0)
    assert opencv.fastNlMeansDenoising(device.array(LAYOUTS[layout](image)), out, 12, 5, 5) is out
    np.testing.assert_array_equal(device.numpy(out), expected)


def test_in_place(device, rng):
    image = noisy(rng, (14, 22, 3))
    for function in (opencv.fastNlMeansDenoising, opencv.fastNlMeansDenoisingColored):
        on_device = device.array(image)
        assert function(on_device, on_device, h=9) is on_device
        np.testing.assert_array_equal(device.numpy(on_device), function(image, h=9))


# ---- sequences, colours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 2, 4])
@pytest.mark.parametrize("temporal", [1, 3, 5])
@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 3)])
def test_sequences_and_their_ends(device, rng, index, temporal, shape):
    frames = [noisy(rng, shape) for _ in range(5)]
    assert_equal(device, opencv.fastNlMeansDenoisingMulti, frames, index, temporal, None, 12, 5, 5)


def test_sequences_of_uint16(device, rng):
    frames = [noisy(rng, (12, 20, 2), "uint16") for _ in range(3)]
    arguments = 1, 3, [3000.0, 2000.0], None, 5, 5, L1
    assert_equal(device, opencv.fastNlMeansDenoisingMulti, frames, *arguments)


def test_several_planes_of_a_stack(device, rng):
    stack = noisy(rng, (1, 6, 12, 20, 1))
    expected = np.zeros((1, 3, 12, 20, 1), np.uint8)
    result = device.array(expected)
    options = dict(
        patch_radius=2,
        patch_distance=2,
        temporal_distance=2,
        first_plane=3,
        weights=np.arange(900, -1, -1, dtype=np.int32),
        shift=5,
        decay=0.0,
        absolute=False,
        threads=1,
    )
    cpu.denoise_nl_means_by_table(stack, None, expected, **options)
    cuda.denoise_nl_means_by_table(device.array(stack), None, result, **options)
    np.testing.assert_array_equal(device.numpy(result), expected)


@pytest.mark.parametrize("strengths", [(10, 7), (3, 30), (0, 0)])
def test_colours(device, rng, strengths):
    assert_equal(device, opencv.fastNlMeansDenoisingColored, noisy(rng, (20, 30, 3)), None, *strengths, 5, 7)


@pytest.mark.parametrize("index", [0, 1])
def test_sequences_of_colours(device, rng, index):
    frames = [noisy(rng, (12, 20, 3)) for _ in range(3)]
    assert_equal(device, opencv.fastNlMeansDenoisingColoredMulti, frames, index, 3, None, 9, 12, 5, 5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (61, 67, 3), (2, 9, 11, 3)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_lab(device, rng, shape, layout):
    image = random_image(rng, shape, "uint8")
    for convert in (lab.bgr_to_lab, lab.lab_to_bgr):
        on_host, on_device = np.zeros_like(image), device.array(LAYOUTS[layout](np.zeros_like(image)))
        convert(arrays.take(image, "image"), on_host, 0)
        source = arrays.take(device.array(LAYOUTS[layout](image)), "image")
        convert(source, on_device, 0)
        np.testing.assert_array_equal(device.numpy(on_device), on_host)
        convert(source, source.data, 0)
        np.testing.assert_array_equal(device.numpy(source.data), on_host)


def test_lab_of_all_levels(device):
    """Every fifteenth level of each channel."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    image = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    for convert in (lab.bgr_to_lab, lab.lab_to_bgr):
        on_host, on_device = np.zeros_like(image), device.array(np.zeros_like(image))
        convert(arrays.take(image, "image"), on_host, 0)
        convert(arrays.take(device.array(image), "image"), on_device, 0)
        np.testing.assert_array_equal(device.numpy(on_device), on_host)


# ---- the device ------------------------------------------------------------------------------------------------------


def test_nothing_is_touched_that_should_not_be(device, rng):
    colours, wide = noisy(rng, (13, 66, 3)), noisy(rng, (9, 14), "uint16")
    with device.checking() as report:
        opencv.fastNlMeansDenoisingColored(device.array(colours), None, 9, 9, 5, 3)
        opencv.fastNlMeansDenoising(device.array(wide), [3000.0], None, 3, 3, L1)
        opencv.fastNlMeansDenoising(device.array(wide), [3000.0], None, 19, 3, L1)
    assert report.problems == []


@pytest.mark.parametrize("shape", [(40, 70), (40, 70, 3)])
def test_shared_memory_has_no_bank_conflicts(device, shape):
    """But for the first words of a row of the guide, and look-ups of weights, which here are all the same."""
    with device.checking() as report:
        opencv.fastNlMeansDenoising(device.array(np.full(shape, 9, np.uint8)), None, 10, 7, 3)
    shared = [line for line in report.accesses if line.space == "shared"]
    assert sum(line.requests for line in shared) > 1000
    assert sum(line.passes for line in shared) <= 1.05 * sum(line.ideal for line in shared)


@pytest.mark.parametrize(("policy", "seed"), [("in_order", 0), ("reversed", 0), ("random", 1), ("run_ahead", 2)])
def test_any_schedule(device, rng, policy, seed):
    if not device.emulated:
        pytest.skip("the schedule of threads is the emulator's")
    with device.library.schedule(policy, seed):
        assert_equal(device, opencv.fastNlMeansDenoising, noisy(rng, (13, 21, 3)), None, 12, 5, 5)


def denoise(image: Any, dst: Any) -> Any:
    return opencv.fastNlMeansDenoising(image, dst, 11, 5, 5)


def denoise_colours(image: Any, dst: Any) -> Any:
    return opencv.fastNlMeansDenoisingColored(image, dst, 11, 13, 5, 5)


def denoise_sequence(image: Any, dst: Any) -> Any:
    return opencv.fastNlMeansDenoisingColoredMulti([image, image[::-1], image], 1, 3, dst, 11, 13, 5, 5)


@pytest.mark.parametrize("operation", [denoise, denoise_colours, denoise_sequence])
def test_captured_in_a_graph(device, rng, operation):
    """After one call, which copies the tables."""
    values = noisy(rng, (12, 17, 3))
    expected = operation(values, np.zeros_like(values))
    image, out = device.array(values), device.array(np.zeros_like(values))
    operation(image, out)
    out[...] = 0
    device.library.cuda.Device().synchronize()
    stream = device.library.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        operation(image, out)
        graph = stream.end_capture()
        assert not device.numpy(out).any()
        later = [device.library.asarray(np.full(n, 7, np.uint8)) for n in (512, 1024, 4096) for _ in range(8)]
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(out), expected)
    assert all((device.numpy(array) == 7).all() for array in later)
