"""Enlarging by composed scales and to any size, and what becomes of images as people have them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from reference import super_resolution as reference
from tolerances import assert_close

from fastimg import models

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]


@pytest.fixture(scope="module")
def whole_photograph():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def photograph(whole_photograph):
    return np.ascontiguousarray(whole_photograph[20:116, 160:272])


def top(image):
    return np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1


def expected_of(chain, image, size):
    steps = [(model.network.layers, model.scale, isinstance(model, models.SRCNN)) for model in chain]
    levels = top(image) if image.dtype.kind == "u" else None
    return reference.upscale(steps, image / np.float64(top(image)), size, levels) * top(image)


def assert_agrees(result, expected):
    """A second network makes more of what the first one's arithmetic is off by; so does any of a rounded colour."""
    factor = 1 if result.dtype in (np.uint8, np.float16) else 4
    assert_close(result.astype(np.float32) if result.dtype == np.float64 else result, expected, factor=factor)


def small(*scales):
    return [models.FSRCNN_s.from_pretrained(scale) for scale in scales]


def srcnn(rng, scale, colours=1):
    shapes = [(64, colours, 9), (32, 64, 1), (colours, 32, 5)]
    layers = [
        models.Conv2d(
            rng.standard_normal((o, i, k, k)) / np.sqrt(i * k * k),
            padding=k // 2,
            padding_mode="replicate",
            activation="relu" if o > colours else None,
        )
        for o, i, k in shapes
    ]
    return models.SRCNN(layers, scale)


# --- scales -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_composed_scales_agree_with_reference(rng, channels, dtype):
    image = random_image(rng, (5, 4, *channels), dtype)
    result = models.upscale(image, 6, model=models.FSRCNN_s)
    assert result.dtype == image.dtype
    assert_agrees(result, expected_of(small(2, 3), image, (30, 24)))


@pytest.mark.parametrize(("scale", "steps"), [(8, (2, 4)), (9, (3, 3)), (12, (3, 4)), (16, (4, 4)), (24, (2, 3, 4))])
def test_steps_are_few_and_small_ones_first(rng, scale, steps):
    image = rng.random((3, 2), np.float32)
    assert [model.scale for model in models.upscaling.chain(models.FSRCNN_s, scale)] == list(steps)
    result = models.upscale(image, scale, model=models.FSRCNN_s)
    assert_agrees(result, expected_of(small(*steps), image, (3 * scale, 2 * scale)))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_one_step_is_the_model(rng, channels, scale):
    image = random_image(rng, (9, 11, *channels), "uint8")
    expected = models.PlainSR.from_pretrained(scale)(image)
    np.testing.assert_array_equal(models.upscale(image, scale), expected)
    shape = (9 * scale, 11 * scale)
    np.testing.assert_array_equal(models.upscale(image, output_shape=shape), expected)


@pytest.mark.parametrize("colours", [1, 3])
def test_one_model_again_and_again(rng, colours):
    model = srcnn(rng, 3, colours)
    for image in (rng.random((5, 4), np.float32), rng.random((5, 4, 3), np.float32)):
        assert_agrees(models.upscale(image, 9, model=model), expected_of([model] * 2, image, (45, 36)))
        assert_agrees(
            models.upscale(image, output_shape=(20, 21), model=model), expected_of([model] * 2, image, (20, 21))
        )


def test_nothing_is_rounded_between_the_steps(photograph):
    for image in (photograph, photograph[..., 1]):
        whole = models.upscale(image, 8, model=models.FSRCNN_s)
        real = models.upscale(image.astype(np.float32) / 255, 8, model=models.FSRCNN_s)
        assert np.abs(whole - real * 255).max() < 0.502


def test_composed_scales_beat_bicubic(whole_photograph):
    for scale in (6, 8):
        luma, reduced = reference.protocol_pair(whole_photograph, scale)
        enlarged = models.upscale(reduced.astype(np.float32), scale)
        bicubic = reference.bicubic(reduced, scale)
        quality = [reference.protocol_quality(luma, image, scale)[0] for image in (enlarged, bicubic)]
        assert quality[0] > quality[1] + 0.5


@pytest.mark.parametrize("arguments", [{"scale": 6}, {"output_shape": (50, 51)}])
def test_overshoots_are_clipped_between_the_steps(rng, arguments):
    """Black and white, where networks overshoot most."""
    image = rng.integers(0, 2, (9, 9), np.uint8).astype(np.float32)
    for stacked in (image, np.stack([image] * 3, axis=-1)):
        result = models.upscale(stacked, **arguments, model=models.FSRCNN_s)
        assert_agrees(result, expected_of(small(2, 3), stacked, result.shape[:2]))


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize(
    ("size", "steps"),
    [((11, 13), (2,)), ((16, 35), (2, 3)), ((40, 6), (2, 3)), ((5, 7), ()), ((7, 4), ()), ((1, 1), ()), ((8, 6), (2,))],
)
def test_sizes_agree_with_reference(rng, channels, dtype, size, steps):
    image = random_image(rng, (7, 7, *channels), dtype)
    result = models.upscale(image, output_shape=size, model=models.FSRCNN_s)
    assert result.dtype == image.dtype
    assert result.shape == (*size, *channels)
    assert_agrees(result, expected_of(small(*steps), image, size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_size_it_has_changes_nothing(rng, dtype):
    image = random_image(rng, (9, 8, 3), dtype)
    if dtype == "float64":  # kept, but computed in float32
        image = image.astype(np.float32).astype(dtype)
    np.testing.assert_array_equal(models.upscale(image, output_shape=(9, 8)), image)
    np.testing.assert_array_equal(models.upscale(image, output_shape=(9, 8, 3)), image)


@pytest.mark.parametrize("arguments", [{"scale": 6}, {"output_shape": (20, 31)}, {"output_shape": (5, 4)}])
def test_layouts_out_and_threads(rng, layout, arguments):
    for shape, dtype in (((7, 8), "uint16"), ((7, 8, 4), "uint8"), ((7, 8, 3), "float64")):
        image = random_image(rng, shape, dtype)
        expected = models.upscale(image, **arguments, model=models.FSRCNN_s, threads=1)
        np.testing.assert_array_equal(
            models.upscale(layout(image), **arguments, model=models.FSRCNN_s, threads=3), expected
        )
        out = layout(np.zeros_like(expected))
        assert models.upscale(image, **arguments, model=models.FSRCNN_s, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_tensors(rng):
    torch = pytest.importorskip("torch")
    image = random_image(rng, (6, 7, 4), "uint8")
    for arguments in ({"scale": 6}, {"output_shape": (20, 31)}):
        result = models.upscale(torch.from_numpy(image), **arguments)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.numpy(), models.upscale(image, **arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "exactly one of scale and output_shape must be given, got scale=None and output_shape=None"),
        ({"scale": 2, "output_shape": (9, 9)}, ValueError, r"got scale=2 and output_shape=\(9, 9\)"),
        ({"scale": 5}, ValueError, "scale must be a product of 2, 3 and 4, by which PlainSR enlarges, got 5"),
        ({"scale": 1}, ValueError, "scale must be at least 2, got 1"),
        ({"scale": 2.0}, TypeError, "scale must be an integer, got 2.0"),
        ({"output_shape": 9}, ValueError, r"output_shape must be \(rows, columns\) or have 3 entries, got 9"),
        ({"output_shape": (9, 9, 4)}, ValueError, "output_shape must be 3 along axis 2, which is not resized, got 4"),
        ({"output_shape": (9, 0)}, ValueError, "output_shape must be at least 1, got 0"),
        ({"output_shape": (9.5, 9)}, TypeError, "output_shape must be an integer, got 9.5"),
        (
            {"scale": 2, "model": "fsrcnn"},
            TypeError,
            "model must be a SuperResolution or a class of them, got 'fsrcnn'",
        ),
        ({"scale": 2, "model": models.DnCNN}, TypeError, "model must be a SuperResolution or a class of them"),
        (
            {"scale": 8, "model": models.SuperResolution},
            ValueError,
            "no weights of SuperResolution for scale 2 come with",
        ),
        ({"scale": 2, "precision": "half"}, ValueError, "precision must be one of"),
        ({"scale": 2, "threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"output_shape": (2, 2), "threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"output_shape": (2, 2), "precision": "half"}, ValueError, "precision must be one of"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        models.upscale(np.ones((4, 4, 3)), **arguments)


def test_wrong_models_and_out(rng):
    image = rng.random((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"scale must be a power of 3, by which SRCNN\(scale=3\) enlarges, got 6"):
        models.upscale(image, 6, model=srcnn(rng, 3))
    with pytest.raises(ValueError, match=r"model must enlarge, got SRCNN\(scale=1\)"):
        models.upscale(image, output_shape=(9, 9), model=srcnn(rng, 1))
    with pytest.raises(ValueError, match=r"out must have shape \(32, 32\), got \(8, 8\)"):
        models.upscale(image, 8, out=np.empty((8, 8), np.float32))
    with pytest.raises(ValueError, match="image must not be empty"):
        models.upscale(image[:0], output_shape=(3, 3))


# --- alpha --------------------------------------------------------------------------------------------------------


def logo(rng, dtype="uint8", garbage=True):
    """A disc and a bar with soft edges, one colour each, and whatever comes under alpha 0."""
    y, x = np.mgrid[:40, :44]
    disc = np.clip(10.3 - np.hypot(y - 17, x - 15), 0, 1)
    bar = np.clip(4.6 - np.abs(x - 35), 0, 1)
    unit = np.zeros((40, 44, 4))
    unit[..., :3] = np.where((bar > 0)[..., np.newaxis], (0.1, 0.3, 0.8), (0.9, 0.2, 0.1))
    unit[..., 3] = np.maximum(disc, bar)
    if garbage:
        hidden = unit[..., 3] == 0
        unit[hidden, :3] = rng.random((hidden.sum(), 3))
    return unit.astype(dtype) if dtype.startswith("f") else np.rint(unit * np.iinfo(dtype).max).astype(dtype)


ENLARGEMENTS = [{"scale": 2}, {"scale": 3}, {"scale": 4}, {"scale": 8}, {"output_shape": (61, 90)}]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("arguments", [*ENLARGEMENTS, {"output_shape": (13, 15)}], ids=str)
def test_what_is_hidden_does_not_matter(rng, arguments, dtype):
    first, second = logo(rng, dtype), logo(rng, dtype)
    assert (first != second).any()
    np.testing.assert_array_equal(models.upscale(first, **arguments), models.upscale(second, **arguments))
    grey = [np.ascontiguousarray(image[..., 1::2]) for image in (first, second)]
    np.testing.assert_array_equal(models.upscale(grey[0], **arguments), models.upscale(grey[1], **arguments))


@pytest.mark.parametrize("arguments", ENLARGEMENTS, ids=str)
def test_flat_colours_keep_their_colour_to_the_edge(rng, arguments):
    result = models.upscale(logo(rng), **arguments)
    rows, columns = result.shape[:2]
    for colour, part in (
        ((0.9, 0.2, 0.1), slice(0, columns * 24 // 44)),
        ((0.1, 0.3, 0.8), slice(columns * 31 // 44, None)),
    ):
        seen, alpha = result[:, part, :3], result[:, part, 3:] / 255
        assert alpha.any(axis=(1, 2)).sum() > rows / 3
        assert (np.abs(seen - np.multiply(colour, 255)) * alpha).max() <= 2  # as it shows over any background


def test_nan_that_is_hidden_does_not_matter(rng):
    image = logo(rng, "float32")
    hidden = image[..., 3] == 0
    expected = models.upscale(image, 2)
    for garbage in (np.nan, np.inf, -7.0):
        image[hidden, :3] = garbage
        np.testing.assert_array_equal(models.upscale(image, 2), expected)


@pytest.mark.filterwarnings("error")
def test_nan_that_is_seen_stays_where_the_network_sees_it(rng):
    image = logo(rng, "float32")
    clean = models.upscale(image, 2)
    for value in (np.nan, np.inf):
        image[17, 15, 1] = value
        result = models.upscale(image, 2)
        far = np.ones(result.shape[:2], bool)
        far[:, 30 - 20 : 32 + 20] = False  # four rows are computed at once, in each of five layers: all rows here
        np.testing.assert_allclose(result[far], clean[far], rtol=0, atol=1e-4)  # hidden colours are means of others
        assert np.isnan(result[34:36, 30:32, 1]).all()
        image[17, 15, 1] = 0.2
    image[17, 15, 3] = np.nan
    np.testing.assert_allclose(models.upscale(image, 2)[far], clean[far], rtol=0, atol=1e-4)


def test_what_is_opaque_is_as_without_alpha(photograph):
    """Beyond the reach of network and interpolation nothing is different at all."""
    image = np.dstack([photograph, np.full(photograph.shape[:2], 255, np.uint8)])
    image[:, :40, 3] = 0
    for dtype in ("uint8", "float32"):
        typed = image if dtype == "uint8" else image.astype(np.float32) / 255
        for scale in (2, 8):
            result, opaque = models.upscale(typed, scale), models.upscale(np.ascontiguousarray(typed[..., :3]), scale)
            np.testing.assert_array_equal(result[:, 60 * scale :, :3], opaque[:, 60 * scale :])
            assert (result[:, 60 * scale :, 3] == top(typed)).all()


def test_alpha_that_is_the_same_everywhere_changes_no_colour(photograph):
    for alpha in (255, 128, 1):
        image = np.dstack([photograph, np.full(photograph.shape[:2], alpha, np.uint8)])
        np.testing.assert_array_equal(models.upscale(image, 2)[..., :3], models.upscale(photograph, 2))


def test_faint_pixels_count_for_little(rng):
    """At an alpha of 1 of 255 a colour is known to no more than a bit: editors leave black and white there."""
    image = logo(rng)
    clean = models.upscale(image, 4).astype(int)
    image[..., 3] = np.maximum(image[..., 3], 1)
    noisy = models.upscale(image, 4).astype(int)
    for background in (0, 255):
        over = [(image[..., :3] - background) * image[..., 3:] / 255 for image in (clean, noisy)]
        assert np.abs(over[0] - over[1]).max() <= 16


def test_veils_keep_their_colours(photograph):
    """A colour gives way only where alpha is far less than around it, not in what is half or hardly seen."""
    image = np.dstack([photograph, np.full(photograph.shape[:2], 10, np.uint8)])
    image[:, 56:, 3] = 100
    result, opaque = models.upscale(image, 2), models.upscale(photograph, 2)
    away = np.r_[:80, 108 : result.shape[1]]
    np.testing.assert_array_equal(result[:, away, :3], opaque[:, away])


def test_nothing_is_visible(rng):
    image = logo(rng)
    image[..., 3] = 0
    assert (models.upscale(image, 2)[..., 3] == 0).all()
    assert (models.upscale(image[:1, :1], 2)[..., 3] == 0).all()


# --- what becomes of images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_flat_colours_stay(rng, scale):
    greys = np.r_[0:256:15]
    colours = np.vstack([np.repeat(greys[:, np.newaxis], 3, 1), rng.integers(0, 256, (20, 3)), 255 * np.eye(3)])
    for colour in colours.astype(np.uint8):
        result = models.upscale(np.broadcast_to(colour, (9, 9, 3)), scale)
        assert np.abs(result.astype(int) - colour).max() <= 1
    for grey in greys.astype(np.uint8):
        assert np.abs(models.upscale(np.full((9, 9), grey), scale).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("arguments", ENLARGEMENTS, ids=str)
def test_photographs_keep_brightness_and_colour(photograph, arguments):
    result = models.upscale(photograph, **arguments)
    np.testing.assert_allclose(result.mean((0, 1)), photograph.mean((0, 1)), rtol=0, atol=0.5)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_there_are_no_seams(rng, scale):
    """What a pixel becomes depends on its neighbourhood alone, wherever a kernel has cut the image into pieces."""
    image = random_image(rng, (150, 170, 3), "uint8")
    whole = models.upscale(image, scale, model=models.FSRCNN_s)
    crop = models.upscale(image[31:140, 27:161], scale, model=models.FSRCNN_s)
    margin = 12
    inner = crop[margin * scale : -margin * scale, margin * scale : -margin * scale].astype(int)
    there = whole[(31 + margin) * scale : (140 - margin) * scale, (27 + margin) * scale : (161 - margin) * scale]
    assert np.abs(inner - there).max() <= 1  # a half may be rounded to either side


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("arguments", ENLARGEMENTS, ids=str)
def test_integers_saturate(dtype, arguments):
    """A chequerboard of black and white: the network overshoots, and nothing wraps around."""
    image = np.zeros((16, 18), dtype)
    image[::4, ::3] = image[1::4, ::3] = np.iinfo(dtype).max
    for shape in ((), (3,), (4,)):
        stacked = np.stack([image] * shape[0], axis=-1) if shape else image
        if shape == (4,):
            stacked[..., 3] = np.iinfo(dtype).max
        result = models.upscale(stacked, **arguments)
        real = models.upscale((stacked / np.float64(np.iinfo(dtype).max)).astype(np.float32), **arguments)
        assert real.min() == 0
        assert np.abs(result / np.iinfo(dtype).max - real).max() <= 0.51 / np.iinfo(dtype).max + 2e-5
