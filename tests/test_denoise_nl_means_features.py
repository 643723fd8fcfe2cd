"""Non-local means beyond grey and colour images in fast mode: against the NumPy reference, then scikit-image."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from conftest import without_channels
from reference.denoise_nl_means import denoise_nl_means as slow_reference
from tolerances import assert_close

from fastimg.restoration import denoise_nl_means, denoise_nl_means_sequence, denoise_nl_means_stream, estimate_sigma


def reference(*arguments, **options):
    """What every instruction set is compared with, computed once."""
    return computed_once(pickle.dumps((arguments, options)))


@functools.cache
def computed_once(pickled: bytes):
    arguments, options = pickle.loads(pickled)
    return slow_reference(*arguments, **options)


SMALL = dict(patch_size=5, patch_distance=3, h=0.4)
SHAPES = {
    "image": ((23, 37), None),
    "colours": ((17, 25, 3), -1),
    "two channels": ((17, 25, 2), -1),
    "volume": ((5, 7, 9), None),
    "volume of colours": ((4, 6, 2, 7), 2),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def image(request, rng):
    """An image and the axis of its channels."""
    shape, axis = request.param
    return rng.random(shape, "float32"), axis


# ---- axes and patches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_modes(target, image, fast_mode, sigma):
    x, axis = image
    options = dict(SMALL, fast_mode=fast_mode, sigma=sigma, channel_axis=axis)
    assert_close(denoise_nl_means(x, **options), reference(x, **options), factor=2)


@pytest.mark.parametrize("fast_mode", [True, False])
def test_four_axes(target, rng, fast_mode):
    x = rng.random((3, 4, 6, 7), "float32")
    options = dict(patch_size=3, patch_distance=1, h=0.5, fast_mode=fast_mode)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float64"])
def test_dtypes_of_volumes(target, rng, dtype):
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1.0
    x = (rng.random((5, 8, 9)) * top).astype(dtype)
    options = dict(patch_size=3, patch_distance=2, h=0.5 * top)
    result = denoise_nl_means(x, **options, preserve_range=True)
    assert result.dtype == x.dtype
    assert_close(result.astype("float32") if dtype == "float64" else result, reference(x, **options))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (2, 1, 7), (9, 2, 2)])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_small_volumes(target, rng, shape, fast_mode):
    x = rng.random(shape, "float32")
    options = dict(SMALL, fast_mode=fast_mode)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))


@pytest.mark.parametrize("patch_size", [3, 7, 9, 13])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_patch_sizes(target, rng, patch_size, fast_mode):
    x = rng.random((14, 120), "float32")
    options = dict(patch_size=patch_size, patch_distance=2, h=0.5, fast_mode=fast_mode)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))


def test_many_tiles(target, rng):
    x = rng.random((130, 250), "float32")
    options = dict(patch_size=3, patch_distance=2, h=0.4, fast_mode=False)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))
    volume = rng.random((3, 70, 210), "float32")
    options = dict(patch_size=3, patch_distance=1, h=0.4)
    assert_close(denoise_nl_means(volume, **options), reference(volume, **options))
    one = denoise_nl_means(volume, **options, threads=1)
    np.testing.assert_array_equal(denoise_nl_means(volume, **options, threads=3), one)


@pytest.mark.parametrize("fast_mode", [True, False])
def test_many_planes_in_small_tiles(target, rng, fast_mode):
    x = rng.random((2, 3, 15, 54), "float32")
    options = dict(patch_size=5, patch_distance=1, h=0.4, fast_mode=fast_mode)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((40, 50), dict(fast_mode=False)),
        ((40, 50, 3), dict(fast_mode=False, channel_axis=-1)),
        ((40, 50), dict(fast_mode=False, sigma=0.08)),
        ((12, 14, 16), dict(fast_mode=False)),
        ((12, 14, 16), dict(fast_mode=True)),
        ((12, 14, 16, 2), dict(fast_mode=True, channel_axis=-1, sigma=0.05)),
        ((5, 6, 7, 8), dict(fast_mode=True)),
    ],
    ids=str,
)
def test_agrees_with_scikit_image(target, shape, options):
    restoration = pytest.importorskip("skimage.restoration")
    rng = np.random.default_rng(1)
    clean = np.cumsum(rng.normal(0, 0.03, shape), axis=0) + 0.5
    noisy = clean + rng.normal(0, 0.05, shape)
    settings = dict(patch_size=5, patch_distance=2, h=0.06, **options)
    difference = np.abs(denoise_nl_means(noisy, **settings) - restoration.denoise_nl_means(noisy, **settings))
    # Its exp is up to 4 % off.
    assert difference.max() < 0.01
    assert difference.mean() < 0.001


# ---- strengths of each pixel -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_mode", [True, False])
def test_maps(target, image, rng, fast_mode):
    x, axis = image
    spatial = without_channels(x.shape, axis)
    h = rng.uniform(0.3, 0.6, spatial)
    sigma = rng.uniform(0.0, 0.2, spatial).astype(np.float32)
    for strengths in (dict(h=h), dict(h=0.4, sigma=sigma), dict(h=h.astype("float16"), sigma=sigma)):
        options = dict(SMALL, **{**strengths, "fast_mode": fast_mode, "channel_axis": axis})
        expected = reference(x, **{name: as_float64(value) for name, value in options.items()})
        assert_close(denoise_nl_means(x, **options), expected, factor=2)


def as_float64(value):
    return value.astype(np.float64) if isinstance(value, np.ndarray) else value


def test_constant_maps_change_nothing(target, rng):
    x = rng.random((40, 210), "float32")
    options = dict(patch_size=5, patch_distance=3, sigma=0.05)
    everywhere = np.full(x.shape, 0.4)
    assert_close(denoise_nl_means(x, h=everywhere, **options), denoise_nl_means(x, h=0.4, **options))


def test_maps_of_integer_images(rng):
    x = rng.integers(0, 256, (20, 21), np.uint8)
    h = rng.uniform(0.3, 0.6, x.shape)
    options = dict(patch_size=3, patch_distance=2)
    assert_close(denoise_nl_means(x, h=h, **options), reference(x / 255, h=h, **options))
    in_levels = denoise_nl_means(x, h=255 * h, preserve_range=True, **options)
    assert_close(in_levels, reference(x, h=255 * h, **options))


def test_where_h_is_nothing_the_image_stays(target, rng):
    x = rng.random((20, 30), "float32")
    h = np.full(x.shape, 0.5)
    h[:, :10], h[:5] = 0, np.nan
    result = denoise_nl_means(x, 5, 3, h=h)
    np.testing.assert_array_equal(result[:, :10], x[:, :10])
    np.testing.assert_array_equal(result[:5], x[:5])
    assert_close(result[5:, 10:], denoise_nl_means(x, 5, 3, h=0.5)[5:, 10:])


def test_automatic_strength_from_a_map(rng):
    x = rng.random((20, 30), "float32")
    sigma = rng.uniform(0.1, 0.3, x.shape)
    automatic = denoise_nl_means(x, 5, 3, h="auto", sigma=sigma)
    np.testing.assert_array_equal(automatic, denoise_nl_means(x, 5, 3, h=0.6 * sigma, sigma=sigma))


# ---- guides, weightings, the centre ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_guide(target, image, rng, channels):
    x, axis = image
    spatial = without_channels(x.shape, axis)
    shape = spatial if channels is None else np.insert(spatial, len(spatial) if axis is None else axis, channels)
    if axis == -1 and channels is not None:
        shape = (*spatial, channels)
    guide = rng.random(shape)
    result = denoise_nl_means(x, **SMALL, guide=guide, channel_axis=axis)
    if axis is None and channels is not None:  # the reference wants channels in both
        expected = reference(x[..., None], **SMALL, guide=guide, channel_axis=-1)[..., 0]
    else:
        expected = reference(x, **SMALL, guide=guide, channel_axis=axis)
    assert_close(result, expected)


def test_the_image_as_its_own_guide(target, rng):
    x = rng.random((30, 40, 3), "float32")
    options = dict(SMALL, channel_axis=-1)
    np.testing.assert_array_equal(denoise_nl_means(x, **options, guide=x), denoise_nl_means(x, **options))


def test_dtypes_of_guides(target, rng):
    """h is in the units of the guide; the result has the dtype of the image."""
    x, guide = rng.random((20, 21), "float32"), rng.integers(0, 256, (20, 21), np.uint8)
    assert_close(denoise_nl_means(x, 5, 3, 0.4, guide=guide), reference(x, 5, 3, 0.4, guide=guide / 255))
    levels = denoise_nl_means(guide, 5, 3, 0.4, guide=x, preserve_range=True)
    assert levels.dtype == np.uint8
    assert_close(levels, reference(guide, 5, 3, 0.4, guide=x))


@pytest.mark.parametrize("weighting", ["epanechnikov", "bisquare", "modified_bisquare"])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_weightings(target, image, weighting, sigma):
    x, axis = image
    options = dict(patch_size=5, patch_distance=3, h=0.5, weighting=weighting, sigma=sigma, channel_axis=axis)
    assert_close(denoise_nl_means(x, **options), reference(x, **options), factor=2)


@pytest.mark.parametrize("center_weight", [0, 0.5, 1, 3])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_center_weight(target, image, center_weight, fast_mode):
    x, axis = image
    options = dict(SMALL, center_weight=center_weight, fast_mode=fast_mode, channel_axis=axis)
    assert_close(denoise_nl_means(x, **options), reference(x, **options))


def test_a_pixel_like_no_other_stays(target, rng):
    x = rng.integers(0, 256, (20, 70), np.uint8)
    for weight in (0, 1):
        np.testing.assert_array_equal(denoise_nl_means(x, h=1e-3, center_weight=weight, preserve_range=True), x)


def test_everything_at_once(target, rng):
    x, guide = rng.random((4, 12, 13, 2), "float32"), rng.random((4, 12, 13, 3), "float32")
    options = dict(
        patch_size=3,
        patch_distance=2,
        fast_mode=False,
        h=rng.uniform(0.4, 0.6, x.shape[:3]),
        sigma=rng.uniform(0, 0.1, x.shape[:3]),
        guide=guide,
        weighting="bisquare",
        center_weight=0.7,
        channel_axis=-1,
    )
    assert_close(denoise_nl_means(x, **options), reference(x, **options), factor=2)


@pytest.mark.parametrize(
    "options", [dict(fast_mode=False), dict(weighting="bisquare"), dict(center_weight=1.0)], ids=str
)
def test_non_finite_values_stay_local(target, rng, options):
    x = rng.random((30, 40), "float32")
    x[15, 20] = np.nan
    result = denoise_nl_means(x, **SMALL, **options)
    near = np.zeros(x.shape, bool)
    near[15 - 3 : 15 + 4, 20 - 3 : 20 + 4] = True
    assert np.isfinite(result[~near]).all()


# ---- sequences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporal_distance", [0, 1, 2, 9])
@pytest.mark.parametrize("shape", [(5, 9, 11), (4, 8, 9, 3), (1, 6, 7)])
@pytest.mark.parametrize("fast_mode", [True, False])
def test_sequence(target, rng, temporal_distance, shape, fast_mode):
    frames = rng.random(shape, "float32")
    axis = -1 if len(shape) == 4 else None
    options = dict(SMALL, fast_mode=fast_mode, temporal_distance=temporal_distance, channel_axis=axis)
    assert_close(denoise_nl_means_sequence(frames, **options), reference(frames, **options))


def test_sequence_in_16_bits(target, rng):
    frames = np.clip(rng.normal(128, 12, (4, 30, 41)), 0, 255).astype(np.uint8)
    options = dict(patch_size=5, patch_distance=3, h=12.0, temporal_distance=1)
    assert_close(denoise_nl_means_sequence(frames, **options, preserve_range=True), reference(frames, **options))


def test_sequence_with_a_guide_and_maps(target, rng):
    frames, guide = rng.random((4, 9, 10), "float32"), rng.random((4, 9, 10), "float32")
    options = dict(patch_size=3, patch_distance=2, h=rng.uniform(0.3, 0.6, frames.shape), temporal_distance=1)
    result = denoise_nl_means_sequence(frames, guide=guide, **options)
    assert_close(result, reference(frames, guide=guide, **options))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("temporal_distance", [0, 1, 2])
def test_stream(rng, length, temporal_distance):
    frames = rng.random((length, 9, 11, 3), "float32")
    options = dict(SMALL, temporal_distance=temporal_distance, channel_axis=-1)
    buffer = np.empty(frames.shape[1:], np.float32)
    taken = 0

    def one_by_one():
        nonlocal taken
        for frame in frames:
            buffer[...] = frame  # as a camera fills the same memory again
            taken += 1
            yield buffer
            buffer[...] = np.nan

    results = []
    for result in denoise_nl_means_stream(one_by_one(), **options):
        assert taken == min(len(results) + 1 + temporal_distance, length)
        results.append(result)
    assert len(results) == length
    if length:
        np.testing.assert_array_equal(np.stack(results), denoise_nl_means_sequence(frames, **options))


def test_stream_with_maps(rng):
    frames = rng.integers(0, 256, (4, 9, 11), np.uint8)
    h = rng.uniform(0.3, 0.5, (9, 11))
    results = list(denoise_nl_means_stream(frames, 3, 2, h=h, temporal_distance=2))
    assert_close(np.stack(results), reference(frames / 255, 3, 2, h=h[None], temporal_distance=2))


def test_stream_of_tensors(rng):
    torch = pytest.importorskip("torch")
    frames = torch.from_numpy(rng.random((3, 9, 11), "float32"))
    results = list(denoise_nl_means_stream(frames, 3, 2, h=0.4))
    assert all(isinstance(result, torch.Tensor) for result in results)
    np.testing.assert_array_equal(torch.stack(results), denoise_nl_means_sequence(frames, 3, 2, h=0.4))


def test_automatic_strength_of_sequences(rng):
    frames = (128 + 12 * rng.standard_normal((3, 40, 41, 3))).astype(np.uint8)
    sigma = np.mean([estimate_sigma(frame, True, channel_axis=-1) for frame in frames])
    options = dict(patch_size=5, patch_distance=3, preserve_range=True, channel_axis=-1)
    np.testing.assert_array_equal(
        denoise_nl_means_sequence(frames, h="auto", **options),
        denoise_nl_means_sequence(frames, h=0.6 * sigma, sigma=float(sigma), **options),
    )


FRAMES = np.zeros((3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(frames=FRAMES[0]), ValueError, "frames must have 3 dimensions"),
        (dict(frames=FRAMES[:, None], channel_axis=0), ValueError, "channel_axis must not be the first axis"),
        (dict(frames=FRAMES[:0]), ValueError, "frames must not be empty"),
        (dict(frames=FRAMES, temporal_distance=-1), ValueError, "temporal_distance must be at least 0, got -1"),
        (dict(frames=FRAMES, temporal_distance=1.0), TypeError, "temporal_distance must be an integer, got 1.0"),
        (dict(frames=FRAMES, h=np.ones((8, 8))), ValueError, r"h must be a number or have shape \(3, 8, 8\)"),
        (dict(frames=FRAMES, out=FRAMES), ValueError, "out must not overlap frames"),
    ],
)
def test_bad_sequences(arguments, error, message):
    with pytest.raises(error, match=message):
        denoise_nl_means_sequence(**arguments)


def test_bad_streams():
    with pytest.raises(ValueError, match="patch_size must be odd, got 4"):
        denoise_nl_means_stream([], 4)
    with pytest.raises(ValueError, match="h must be a number or an array for frames that are yet to come, got 'auto'"):
        denoise_nl_means_stream([], h="auto")
    with pytest.raises(ValueError, match=r"frames must be alike: the first is of shape \(8, 8\) and dtype float32"):
        list(denoise_nl_means_stream([FRAMES[0], FRAMES[0, :7]]))
    with pytest.raises(TypeError, match="frames must have one of the dtypes"):
        list(denoise_nl_means_stream([FRAMES[0], FRAMES[0].astype(int)]))
    with pytest.raises(ValueError, match="frames must have 2 dimensions"):
        list(denoise_nl_means_stream([FRAMES]))
