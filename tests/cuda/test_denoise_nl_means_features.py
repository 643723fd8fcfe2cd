"""Non-local means of volumes and sequences, with Gaussian patches, guides, maps of strengths: on a device.

Against the NumPy reference, as tests/test_denoise_nl_means_features.py on the CPU, and against the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import without_channels
from reference.denoise_nl_means import denoise_nl_means as reference
from tolerances import assert_close

from fastimg import restoration
from fastimg.backends import cpu, cuda

SMALL: dict[str, Any] = dict(patch_size=5, patch_distance=2, h=0.4)
SHAPES = {
    "image": ((13, 70), None),
    "many channels": ((66, 9, 5), -1),
    "volume": ((5, 7, 9), None),
    "volume of colours": ((4, 6, 2, 7), 2),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def image(request, rng):
    """An image and the axis of its channels."""
    shape, axis = request.param
    return rng.random(shape, "float32"), axis


def on_device(device, function, image: np.ndarray, **options: Any) -> np.ndarray:
    arrays = {name: device.array(o) if type(o) is np.ndarray else o for name, o in options.items()}
    return device.numpy(function(device.array(image), **arrays))


def denoise(device, image: np.ndarray, **options: Any) -> np.ndarray:
    return on_device(device, restoration.denoise_nl_means, image, **options)


def denoise_sequence(device, frames: np.ndarray, **options: Any) -> np.ndarray:
    return on_device(device, restoration.denoise_nl_means_sequence, frames, **options)


def expected(image: np.ndarray, **options: Any) -> np.ndarray:
    arrays = {name: o.astype(np.float64) if isinstance(o, np.ndarray) else o for name, o in options.items()}
    return reference(image, **arrays)


# ---- axes and patches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_modes(device, image, fast_mode, sigma):
    x, axis = image
    options = dict(SMALL, fast_mode=fast_mode, sigma=sigma, channel_axis=axis)
    assert_close(denoise(device, x, **options), expected(x, **options))


@pytest.mark.parametrize("fast_mode", [True, False])
def test_four_axes(device, rng, fast_mode):
    x = rng.random((3, 4, 6, 7), "float32")
    options = dict(patch_size=3, patch_distance=1, h=0.5, fast_mode=fast_mode)
    assert_close(denoise(device, x, **options), expected(x, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_dtypes_of_volumes(device, rng, dtype):
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1.0
    x = (rng.random((5, 8, 9)) * top).astype(dtype)
    options = dict(patch_size=3, patch_distance=2, h=0.5 * top)
    result = denoise(device, x, **options, preserve_range=True)
    assert result.dtype == x.dtype
    assert_close(result, reference(x, **options))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (2, 1, 7), (9, 2, 2)])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_small_volumes(device, rng, shape, fast_mode):
    x = rng.random(shape, "float32")
    options = dict(SMALL, fast_mode=fast_mode)
    assert_close(denoise(device, x, **options), expected(x, **options))


@pytest.mark.parametrize("patch_size", [3, 13, 37, 127])
def test_gaussian_patches(device, rng, patch_size):
    """The larger ones need more than one band of rows."""
    x = rng.random((14, 20), "float32")
    options = dict(patch_size=patch_size, patch_distance=1, h=0.4, fast_mode=False)
    assert_close(denoise(device, x, **options), restoration.denoise_nl_means(x, **options))


def test_many_blocks(device, rng):
    x = rng.random((70, 130), "float32")
    options = dict(patch_size=3, patch_distance=2, h=0.4, fast_mode=False)
    assert_close(denoise(device, x, **options), expected(x, **options))
    volume = rng.random((3, 66, 67), "float32")
    options = dict(patch_size=3, patch_distance=1, h=0.4)
    assert_close(denoise(device, volume, **options), expected(volume, **options))


def test_cutoff_is_exact_for_uint8(device, rng):
    x = rng.integers(0, 9, (3, 20, 21), np.uint8)
    out = device.array(np.empty(x.shape, np.float32))
    options = dict(patch_size=5, patch_distance=2, h=1.5)
    denoise(device, x, **options, preserve_range=True, out=out)
    assert_close(device.numpy(out), reference(x, **options), scale=9)


def test_layouts_of_volumes(device, rng):
    x, h = rng.random((4, 6, 7, 3), "float32"), rng.uniform(0.3, 0.6, (4, 6, 7)).astype(np.float32)
    options = dict(SMALL, channel_axis=-1)
    contiguous = denoise(device, x, **dict(options, h=h))
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        laid_out = np.asfortranarray(x[::-1].transpose(order)).transpose(np.argsort(order))[::-1]
        out = device.array(np.zeros((4, 6, 3, 7), np.float32).swapaxes(2, 3))
        denoise(device, laid_out, **dict(options, h=np.asfortranarray(h)), out=out)
        np.testing.assert_array_equal(device.numpy(out), contiguous)


# ---- strengths of each pixel -----------------------------------------------------------------------------------------


def test_maps(device, image, rng):
    x, axis = image
    h = rng.uniform(0.3, 0.6, without_channels(x.shape, axis)).astype("float32")
    sigma = rng.uniform(0.0, 0.2, h.shape).astype("float32")
    for strengths in (dict(h=h), dict(sigma=sigma), dict(h=h.astype("float16"), sigma=sigma)):
        options = {**SMALL, **strengths, "channel_axis": axis}
        assert_close(denoise(device, x, **options), expected(x, **options), factor=2)


def test_maps_of_integer_images(device, rng):
    x = rng.integers(0, 256, (20, 21), np.uint8)
    h = rng.uniform(0.3, 0.6, x.shape).astype(np.float32)
    options = dict(patch_size=3, patch_distance=2)
    assert_close(denoise(device, x, h=h, **options), expected(x / 255, h=h, **options))
    in_levels = denoise(device, x, h=255 * h, preserve_range=True, **options)
    assert_close(in_levels, expected(x, h=255 * h, **options))


@pytest.mark.parametrize("options", [{}, dict(sigma=0.1), dict(weighting="bisquare")], ids=str)
def test_where_h_is_nothing_the_image_stays(device, rng, options):
    x = rng.random((20, 30), "float32")
    h = np.full(x.shape, 0.5, np.float32)
    h[:, :10], h[:5] = 0, np.nan
    options = dict(options, patch_size=5, patch_distance=2)
    result = denoise(device, x, h=h, **options)
    np.testing.assert_array_equal(result[:, :10], x[:, :10])
    np.testing.assert_array_equal(result[:5], x[:5])
    assert_close(result[5:, 10:], expected(x, h=0.5, **options)[5:, 10:], factor=2)


def test_automatic_strength_from_a_map(device, rng):
    x = rng.random((20, 30), "float32")
    sigma = rng.uniform(0.1, 0.3, x.shape).astype(np.float32)
    automatic = denoise(device, x, patch_size=5, patch_distance=2, h="auto", sigma=sigma)
    assert_close(automatic, restoration.denoise_nl_means(x, 5, 2, h="auto", sigma=sigma), factor=2)


# ---- guides, weightings, the centre ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), [((13, 17), 2), ((13, 17, 3), 1), ((13, 17, 3), 4), ((3, 5, 6, 2), 3)])
def test_guide(device, rng, shape, channels):
    x = rng.random(shape, "float32")
    axis = None if len(shape) == 2 else -1
    guide = rng.random((*without_channels(shape, axis), channels), "float32")
    result = denoise(device, x, **SMALL, guide=guide, channel_axis=axis)
    if axis is None:  # the reference wants channels in both
        assert_close(result, expected(x[..., None], **SMALL, guide=guide, channel_axis=-1)[..., 0])
    else:
        assert_close(result, expected(x, **SMALL, guide=guide, channel_axis=axis))


def test_the_image_as_its_own_guide(device, rng):
    """By another kernel, in another order."""
    x = rng.random((30, 40, 3), "float32")
    options = dict(SMALL, channel_axis=-1)
    assert_close(denoise(device, x, **options, guide=x), denoise(device, x, **options))


def test_dtypes_of_guides(device, rng):
    """h is in the units of the guide; the result has the dtype of the image."""
    x, guide = rng.random((20, 21), "float32"), rng.integers(0, 256, (20, 21), np.uint8)
    options = dict(patch_size=5, patch_distance=2, h=0.4)
    assert_close(denoise(device, x, **options, guide=guide), reference(x, **options, guide=guide / 255))
    levels = denoise(device, guide, **options, guide=x.astype(np.float16), preserve_range=True)
    assert levels.dtype == np.uint8
    assert_close(levels, expected(guide, **options, guide=x.astype(np.float16)))


@pytest.mark.parametrize("weighting", ["epanechnikov", "bisquare", "modified_bisquare"])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_weightings(device, image, weighting, sigma):
    x, axis = image
    options = dict(SMALL, h=0.5, weighting=weighting, sigma=sigma, channel_axis=axis)
    assert_close(denoise(device, x, **options), expected(x, **options), factor=2)


@pytest.mark.parametrize("center_weight", [0, 0.5, 3])
def test_center_weight(device, image, center_weight):
    x, axis = image
    options = dict(SMALL, center_weight=center_weight, channel_axis=axis)
    assert_close(denoise(device, x, **options), expected(x, **options))


def test_a_pixel_like_no_other_stays(device, rng):
    x = rng.integers(0, 256, (20, 70), np.uint8)
    for weight in (0, 1):
        result = denoise(device, x, patch_size=5, patch_distance=2, h=1e-3, center_weight=weight, preserve_range=True)
        np.testing.assert_array_equal(result, x)


def test_everything_at_once(device, rng):
    x, guide = rng.random((4, 12, 13, 2), "float32"), rng.random((4, 12, 13, 3), "float32")
    options = dict(
        patch_size=3,
        patch_distance=2,
        fast_mode=False,
        h=rng.uniform(0.4, 0.6, x.shape[:3]).astype(np.float32),
        sigma=rng.uniform(0, 0.1, x.shape[:3]).astype(np.float32),
        guide=guide,
        weighting="bisquare",
        center_weight=0.7,
        channel_axis=-1,
    )
    assert_close(denoise(device, x, **options), expected(x, **options), factor=2)


@pytest.mark.parametrize(
    "options",
    [
        dict(fast_mode=False),
        dict(weighting="bisquare"),
        dict(weighting="bisquare", sigma=0.1),
        dict(center_weight=1.0, sigma=0.1),
        dict(fast_mode=False, sigma=0.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_stay_local(device, rng, options, value):
    """They spoil the pixels that are as near as the search is wide, and no more, as on the CPU."""
    x = rng.random((20, 30), "float32")
    x[1, 20] = value
    result = denoise(device, x, **SMALL, **options)
    with np.errstate(invalid="ignore"):
        wanted = restoration.denoise_nl_means(x, **SMALL, **options)
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(wanted))
    near = ~np.isfinite(wanted)
    assert_close(result[~near], wanted[~near], factor=2)


# ---- sequences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporal_distance", [0, 1, 9])
@pytest.mark.parametrize("shape", [(5, 9, 11), (4, 8, 9, 3), (2, 8, 9, 5), (1, 6, 7)])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_sequence(device, rng, temporal_distance, shape, fast_mode):
    frames = rng.random(shape, "float32")
    axis = -1 if len(shape) == 4 else None
    options = dict(SMALL, fast_mode=fast_mode, temporal_distance=temporal_distance, channel_axis=axis)
    assert_close(denoise_sequence(device, frames, **options), expected(frames, **options))


def test_sequence_of_many_blocks(device, rng):
    """Searches that a tile serves in parts, several tiles across and down."""
    frames = rng.random((2, 30, 125), "float32")
    options = dict(patch_size=3, patch_distance=12, h=0.3, temporal_distance=1)
    result = denoise_sequence(device, frames, **options)
    assert_close(result, restoration.denoise_nl_means_sequence(frames, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
@pytest.mark.parametrize("channels", [None, 3])
def test_dtypes_of_sequences(device, rng, dtype, channels):
    """From uint8 to uint8 in halves."""
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1.0
    shape = (4, 13, 41) if channels is None else (4, 13, 31, channels)
    frames = np.clip(rng.normal(top / 2, top / 20, shape), 0, top).astype(dtype)
    options = dict(patch_size=5, patch_distance=2, h=top / 20, sigma=top / 40, temporal_distance=1)
    options["channel_axis"] = None if channels is None else -1
    result = denoise_sequence(device, frames, **options, preserve_range=True)
    assert result.dtype == frames.dtype
    assert_close(result, reference(frames, **options))


def test_sequence_with_a_guide_and_maps(device, rng):
    frames, guide = rng.random((4, 9, 10), "float32"), rng.random((4, 9, 10), "float32")
    h = rng.uniform(0.3, 0.6, frames.shape).astype(np.float32)
    options = dict(patch_size=3, patch_distance=2, h=h, guide=guide, temporal_distance=1)
    assert_close(denoise_sequence(device, frames, **options), expected(frames, **options))


@pytest.mark.parametrize("patch_size", [5, 19])
def test_non_finite_values_of_sequences_stay_local(device, rng, patch_size):
    frames = rng.random((4, 12, 30), "float32")
    frames[0, 6, 20] = np.nan
    options = dict(patch_size=patch_size, patch_distance=2, h=0.4, sigma=0.1, temporal_distance=1)
    result = denoise_sequence(device, frames, **options)
    near = np.zeros(frames.shape, bool)
    near[:2, 6 - 2 : 6 + 3, 20 - 2 : 20 + 3] = True
    np.testing.assert_array_equal(~np.isfinite(result), near)
    assert_close(result[~near], restoration.denoise_nl_means_sequence(frames, **options)[~near], factor=2)


def test_automatic_strength_of_sequences(device, rng):
    frames = (128 + 12 * rng.standard_normal((3, 20, 21, 3))).astype(np.uint8)
    options = dict(patch_size=5, patch_distance=2, h="auto", preserve_range=True, channel_axis=-1)
    result = denoise_sequence(device, frames, **options)
    wanted = restoration.denoise_nl_means_sequence(frames, **options)
    assert np.abs(result.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("temporal_distance", [0, 2])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_stream(device, rng, length, temporal_distance, fast_mode):
    """Frames in a buffer that is filled again and again, as a decoder does."""
    frames = rng.random((length, 9, 11, 3), "float32")
    options = dict(SMALL, temporal_distance=temporal_distance, fast_mode=fast_mode, channel_axis=-1)
    buffer = device.array(np.empty(frames.shape[1:], np.float32))

    def one_by_one():
        for frame in frames:
            buffer[...] = device.array(frame)
            yield buffer
            buffer[...] = np.nan

    results = [device.numpy(result) for result in restoration.denoise_nl_means_stream(one_by_one(), **options)]
    np.testing.assert_array_equal(np.stack(results), denoise_sequence(device, frames, **options))


def test_stream_with_maps(device, rng):
    frames = rng.integers(0, 256, (4, 9, 11), np.uint8)
    h = rng.uniform(0.3, 0.5, (9, 11)).astype(np.float32)
    stream = restoration.denoise_nl_means_stream(
        (device.array(frame) for frame in frames), 3, 2, h=device.array(h), temporal_distance=2
    )
    results = np.stack([device.numpy(result) for result in stream])
    assert_close(results, expected(frames / 255, patch_size=3, patch_distance=2, h=h[None], temporal_distance=2))


# ---- what no public function asks for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},  # a stack of images
        dict(outer=((False, 1, False), (False, 2, True))),
        dict(outer=((False, 1, True), (False, 0, False)), patch_before=0),
        dict(outer=((True, 1, True), (False, 2, False))),
        dict(outer=((False, 2, True), (True, 1, False)), truncated=True),
        dict(patch_taps=[0.1, 0.5, 0.4]),
        dict(centre=0.5, truncated=True, weighting="epanechnikov"),
    ],
    ids=str,
)
def test_any_kind_of_axes(device, rng, options):
    image = rng.random((3, 4, 6, 7, 1), "float32")
    options = {
        **dict(patch_before=1, patch_after=1, patch_taps=[], patch_distance=2, truncated=False),
        **dict(outer=((False, 0, False), (False, 0, False)), first_plane=0, weighting="welsch", centre=-1),
        **dict(scale=0.3, excess=0.1, cutoff=1e3, gain=2, threads=1),
        **options,
    }
    result, wanted = device.array(np.empty_like(image)), np.empty_like(image)
    cuda.denoise_nl_means(device.array(image), None, None, None, result, **options)
    cpu.denoise_nl_means(image, None, None, None, wanted, **options)
    assert_close(device.numpy(result), wanted, scale=2)


def test_part_of_the_planes(device, rng):
    """A result of fewer planes than the image, and maps of its planes."""
    image, h = rng.random((2, 5, 6, 7, 3), "float32"), rng.uniform(0.3, 0.6, (2, 2, 6, 7)).astype(np.float32)
    options: dict[str, Any] = dict(patch_before=1, patch_after=1, patch_taps=[], patch_distance=2, truncated=False)
    options |= dict(outer=((False, 0, False), (False, 1, True)), first_plane=2, weighting="welsch", centre=-1)
    options |= dict(scale=0.3, excess=0.0, cutoff=1e3, gain=1, threads=1)
    for mapped in (None, h):
        result = device.array(np.empty((2, 2, 6, 7, 3), np.float32))
        wanted = np.empty(result.shape, np.float32)
        on_gpu = None if mapped is None else device.array(mapped)
        cuda.denoise_nl_means(device.array(image), None, on_gpu, None, result, **options)
        cpu.denoise_nl_means(image, None, mapped, None, wanted, **options)
        assert_close(device.numpy(result), wanted)


# ---- how it runs -----------------------------------------------------------------------------------------------------


CHECKED = {
    "sequence": (denoise_sequence, (2, 10, 40), dict(patch_size=5, patch_distance=1)),
    "sequence of colours": (denoise_sequence, (2, 10, 12, 3), dict(patch_size=5, patch_distance=1)),
    "gaussian": (denoise, (66, 67), dict(patch_size=5, patch_distance=1, fast_mode=False)),
    "centre": (denoise, (13, 14, 3), dict(patch_size=5, patch_distance=1, center_weight=1.0)),
    "volume": (denoise, (3, 9, 10), dict(patch_size=3, patch_distance=1)),
    "volume of colours": (denoise, (3, 9, 10, 2), dict(patch_size=3, patch_distance=1, fast_mode=False)),
    "bands": (denoise, (9, 10), dict(patch_size=47, patch_distance=1, fast_mode=False)),
}


@pytest.mark.parametrize(("function", "shape", "options"), CHECKED.values(), ids=CHECKED)
def test_memory_is_accessed_well(device, rng, function, shape, options):
    """No races, nothing read before it was written, few conflicts of banks."""
    x = rng.random(shape, "float32")
    axis = -1 if shape[-1] <= 3 else None
    with device.checking() as report:
        function(device, x, h=0.4, channel_axis=axis, **options)
    assert report.problems == []
    shared = [access for access in report.accesses if access.space == "shared"]
    assert all(access.passes <= 2 * access.ideal for access in shared)


def test_maps_and_guides_are_accessed_well(device, rng):
    x, guide = rng.random((9, 10), "float32"), rng.random((9, 10, 2), "float32")
    h = rng.uniform(0.3, 0.6, x.shape).astype(np.float32)
    with device.checking() as report:
        denoise(device, x, patch_size=5, patch_distance=1, h=h, guide=guide, weighting="bisquare", center_weight=0.5)
    assert report.problems == []


@pytest.mark.parametrize(("policy", "seed"), [("in_order", 0), ("random", 1), ("run_ahead", 2)])
def test_any_schedule(device, rng, policy, seed):
    if not device.emulated:
        pytest.skip("the schedule of threads is the emulator's")
    x = rng.random((4, 13, 14), "float32")
    with device.library.schedule(policy, seed):
        assert_close(denoise(device, x, **SMALL), expected(x, **SMALL))
        options = dict(SMALL, temporal_distance=1)
        assert_close(denoise_sequence(device, x, **options), expected(x, **options))


def test_one_launch_and_no_scratch(device, rng):
    if not device.emulated:
        pytest.skip("launches are recorded by the emulator")
    x, out = rng.random((3, 9, 10), "float32"), device.array(np.empty((3, 9, 10), np.float32))
    kernels = []
    for function in (denoise, denoise_sequence):
        with device.library.recording() as launches:
            function(device, x, **SMALL, out=out)
        kernels += [launch.kernel for launch in launches]
    assert kernels == ["denoise_nl_means_any", "denoise_nl_means_strips"]


def test_arrays_together(device, rng):
    x, other = rng.random((8, 9), "float32"), np.zeros((8, 9), np.float32)
    for name in ("h", "sigma", "guide"):
        with pytest.raises(ValueError, match=f"{name} must be on the device of image, cuda:0, got the CPU"):
            restoration.denoise_nl_means(device.array(x), **{name: other})
        with pytest.raises(ValueError, match=f"{name} must be on the device of image, the CPU, got cuda:0"):
            restoration.denoise_nl_means(x, **{name: device.array(other)})
    with pytest.raises(TypeError, match="h must have one of the dtypes float16, float32 on a GPU, got float64"):
        restoration.denoise_nl_means(device.array(x), h=device.array(np.ones((8, 9))))
    guide = device.array(x)
    with pytest.raises(ValueError, match="out must not overlap guide"):
        restoration.denoise_nl_means(device.array(other), guide=guide, out=guide)
    with pytest.raises(ValueError, match="frames must be alike"):
        list(restoration.denoise_nl_means_stream([device.array(x), x]))
