"""Augmentation on a device: the same draw as on the CPU, and the same pictures."""

from __future__ import annotations

from importlib import import_module

import cuda_emulator
import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from tolerances import assert_close

from fastimg import augment

backend = import_module("fastimg.backends.cuda.augment")  # the package has the function under this name

DTYPES = ["uint8", "uint16", "float16", "float32"]
MODES = ["constant", "edge", "symmetric", "reflect", "wrap"]
GEOMETRY = [
    augment.Affine(degrees=30, translate=0.2, scale=(0.7, 1.4), shear=10),
    augment.Flip(horizontal=0.5, vertical=0.5),
]
BLUR = augment.GaussianBlur(sigma=(0.3, 1.5), p=0.5)
COLORS = augment.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8)
NOISE = [augment.GaussianNoise(sigma=(0.01, 0.1), p=0.7), augment.SaltAndPepper(amount=(0, 0.1), p=0.7)]
HOLES = [augment.Cutout(fill=(0.1, 0.5, 0.9), p=0.7), augment.Cutout(scale=(0.01, 0.05))]
NORMALIZE = augment.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
EVERYTHING = [*GEOMETRY, BLUR, COLORS, *NOISE, *HOLES, NORMALIZE]
ALONE = {
    **{type(transform).__name__: [transform] for transform in EVERYTHING},
    "RandomCrop": [augment.RandomCrop((24, 33), padding=3)],
    "RandomResizedCrop": [augment.RandomResizedCrop((40, 37))],
    "nothing": [],
}


def on_device(device, compose: augment.Compose, images: np.ndarray, **options) -> np.ndarray:
    return device.numpy(compose(device.array(images), index=5, **options))


def assert_as_on_the_cpu(device, compose: augment.Compose, images: np.ndarray, factor: float = 2) -> None:
    """Both results round; what is divided by a small deviation is as much further off."""
    expected, result = compose(images, index=5), on_device(device, compose, images)
    assert result.dtype == expected.dtype
    assert_close(result, expected.astype(np.float64), factor=1 if result.dtype.kind == "u" else factor)


@pytest.mark.parametrize("transforms", ALONE.values(), ids=ALONE)
def test_each_transform(device, rng, transforms):
    images = random_image(rng, (7, 45, 61, 3), "uint8")
    for dtype in (None, "float32"):
        if dtype is None and NORMALIZE in transforms:
            continue
        compose = augment.Compose(transforms, seed=3, mode="reflect", dtype=dtype)
        assert_as_on_the_cpu(device, compose, images, 5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_everything(device, rng, dtype, mode):
    images = random_image(rng, (5, 45, 61, 3), dtype)
    assert_as_on_the_cpu(device, augment.Compose(EVERYTHING, seed=3, mode=mode, fill=0.4), images, 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("result_dtype", DTYPES)
def test_dtypes(device, rng, dtype, result_dtype):
    images = random_image(rng, (3, 20, 31, 3), dtype)
    compose = augment.Compose(EVERYTHING[:-1], seed=3, dtype=result_dtype, mode="edge")
    assert_as_on_the_cpu(device, compose, images)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels(device, rng, channels):
    images = random_image(rng, (4, 23, 37, channels), "uint8")
    colors = [COLORS] if channels in (1, 3) else []
    compose = augment.Compose([*GEOMETRY, BLUR, *colors, *NOISE, HOLES[1]], seed=3, dtype="float32", mode="symmetric")
    assert_as_on_the_cpu(device, compose, images)
    first = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    planes = augment.Compose(compose.transforms, seed=3, dtype="float32", mode="symmetric", channel_axis=1)
    np.testing.assert_allclose(
        np.moveaxis(on_device(device, planes, first), 1, -1), on_device(device, compose, images), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 130), (257, 5), (28, 28), (64, 100), (2, 4200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_that_hurt(device, rng, shape, channels):
    """Smaller than what a warp takes, of one block and of several, with a random field that begins within a chunk."""
    images = random_image(rng, (3, *shape, channels), "uint8")
    for mode in ("constant", "reflect"):
        compose = augment.Compose([*GEOMETRY, BLUR, COLORS, *NOISE, HOLES[1]], seed=3, dtype="float32", mode=mode)
        assert_as_on_the_cpu(device, compose, images)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_layouts(device, rng, layout, dtype):
    images = random_image(rng, (3, 33, 40, 3), dtype)
    compose = augment.Compose(EVERYTHING, seed=2)
    plain = on_device(device, compose, images)
    assert_close(on_device(device, compose, LAYOUTS[layout](images)), plain.astype(np.float64), factor=5)
    out = device.array(LAYOUTS[layout](np.zeros_like(plain)))
    assert compose(device.array(images), index=5, out=out) is out
    np.testing.assert_array_equal(device.numpy(out), plain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_first_and_last(device, rng, dtype):
    last = random_image(rng, (3, 32, 44, 3), dtype)
    first = np.ascontiguousarray(np.moveaxis(last, -1, 1))
    results = []
    for into in (1, -1):
        for axis, images in ((-1, last), (1, first)):
            compose = augment.Compose(EVERYTHING[:-1], seed=2, channel_axis=axis, out_channel_axis=into)
            result = on_device(device, compose, images)
            assert result.shape == ((3, 32, 44, 3) if into == -1 else (3, 3, 32, 44))
            results.append(result if into == -1 else np.moveaxis(result, 1, -1))
    for result in results[1:]:
        assert_close(result, results[0].astype(np.float64))


def test_no_channels(device, rng):
    images = random_image(rng, (3, 33, 41), "uint8")
    transforms = [*GEOMETRY, COLORS, *NOISE]
    grey = on_device(device, augment.Compose(transforms, seed=2, channel_axis=None), images)
    np.testing.assert_array_equal(
        grey[..., None], on_device(device, augment.Compose(transforms, seed=2), images[..., None])
    )


def test_exact_properties(device, rng):
    """Nothing copies; flips and crops only move."""
    for dtype in DTYPES:
        images = random_image(rng, (2, 19, 35, 3), dtype)
        np.testing.assert_array_equal(on_device(device, augment.Compose([], seed=0), images), images)
        flipped = on_device(device, augment.Compose([augment.Flip(1, 1)], seed=0), images)
        np.testing.assert_array_equal(flipped, images[:, ::-1, ::-1])
        crop = augment.Compose([augment.RandomCrop((12, 20), padding=9)], seed=0, fill=1)
        np.testing.assert_array_equal(on_device(device, crop, images), crop(images, index=5))


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1e3, 1e7])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_scales(device, rng, scale, mode):
    """Places that 64 bits do not hold are found in double."""
    images = random_image(rng, (3, 20, 30, 3), "uint8")
    compose = augment.Compose([augment.Affine(scale=(scale, scale), degrees=0)], seed=0, dtype="float32", mode=mode)
    if scale > 1e-3 or mode in ("constant", "edge"):  # further out, a place's rounding is a good part of a pixel
        assert_as_on_the_cpu(device, compose, images, 5)
    else:
        assert np.isfinite(on_device(device, compose, images)).all()


@pytest.mark.parametrize("images_at_a_time", [1, 2, 100])
def test_blurred_images_in_groups(device, rng, monkeypatch, images_at_a_time):
    images = random_image(rng, (9, 21, 300, 3), "uint8")  # several tiles of columns
    monkeypatch.setattr(backend, "FIELD_BYTES", images_at_a_time * 2 * 4 * images[0].size)
    compose = augment.Compose([*GEOMETRY, augment.GaussianBlur((0, 3), p=0.7), COLORS, *NOISE], seed=7, dtype="float32")
    assert_as_on_the_cpu(device, compose, images)


@pytest.mark.parametrize("sigma", [0.12, 0.125, 5, 100])
def test_blurs(device, rng, sigma):
    """From nothing to more than the image; rows and columns shorter than the filter are mirrored again and again."""
    for shape in ((3, 5), (37, 41)):
        images = random_image(rng, (2, *shape, 1), "float32")
        assert_as_on_the_cpu(device, augment.Compose([augment.GaussianBlur((sigma, sigma))], seed=0), images)


def test_images_of_many_sizes(device, rng):
    shapes = [(30, 40, 3), (33, 21, 3), (64, 50, 3), (50, 90, 3)]
    images = [random_image(rng, shape, "uint8") for shape in shapes]
    compose = augment.Compose([augment.RandomResizedCrop((24, 32)), *EVERYTHING[1:]], seed=1)
    masks = [random_image(rng, shape[:2], "uint8") for shape in shapes]
    on_host, masks_on_host = compose(images, index=5, masks=masks)
    arrays = [device.array(image) for image in images]
    arrays[2] = device.array(LAYOUTS["every other"](images[2]))  # one that has no fast way takes it from all
    for given in ([device.array(image) for image in images], arrays):
        result, moved = compose(given, index=5, masks=[device.array(mask) for mask in masks])
        assert_close(device.numpy(result), on_host.astype(np.float64), factor=5)
        np.testing.assert_array_equal(device.numpy(moved), masks_on_host)


@pytest.mark.parametrize("dtype", ["bool", *DTYPES])
def test_what_goes_with_images(device, rng, dtype):
    """Masks on the device, by the nearest pixel; points, boxes and labels on the CPU."""
    images = random_image(rng, (40, 21, 30, 3), "uint8")
    masks = rng.integers(0, 2, (40, 21, 30, 2)).astype(dtype)
    targets = {"keypoints": rng.random((40, 4, 2)) * 20, "boxes": np.tile([3.0, 4, 10, 12], (40, 1, 1))}
    targets["labels"] = np.eye(40, dtype=np.float32)
    compose = augment.Compose([*GEOMETRY, augment.MixUp(alpha=0.4, p=0.7)], seed=4, mask_fill=1)
    expected = compose(images, index=5, masks=masks, **targets)
    found = compose(device.array(images), index=5, masks=device.array(masks), **targets)
    assert_close(device.numpy(found[0]), expected[0].astype(np.float64))
    assert found[1].dtype == dtype
    np.testing.assert_array_equal(device.numpy(found[1]), expected[1])
    for moved, wanted in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(moved, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_mixing(device, rng, layout, dtype):
    compose = augment.Compose([augment.MixUp(alpha=0.5, p=0.8)], seed=2)
    for count in (1, 2, 8, 19):  # fewer than a thread reads ahead, as many, more
        images = random_image(rng, (count, 8, 12, 3), dtype)
        out = device.array(LAYOUTS[layout](np.zeros_like(images)))
        result = device.numpy(compose(device.array(images), index=5, out=out))
        assert_close(result, compose(images, index=5).astype(np.float64))


def test_passes(device, rng):
    """What stands out of the kernel's order takes another pass, and integers are rounded between."""
    images = random_image(rng, (4, 30, 41, 3), "uint8")
    compose = augment.Compose([NOISE[0], *GEOMETRY, BLUR, *NOISE, NORMALIZE], seed=2)
    expected, result = compose(images, index=5), on_device(device, compose, images)
    assert (np.abs(result - expected) > 1e-4).mean() < 1e-3  # a level between passes, here and there
    assert np.abs(result - expected).max() < 1.5 / 255 / 0.2


def test_nan_stays_where_it_is(device):
    images = np.full((2, 20, 40, 3), 0.5, np.float32)
    images[0, 10, 20, 1] = np.nan
    compose = augment.Compose([augment.ColorJitter(brightness=(0.9, 0.9)), augment.GaussianNoise(0.01)], seed=0)
    bad = np.isnan(on_device(device, compose, images))
    assert bad[0, 10, 20].any()
    assert bad.sum() <= 3
    np.testing.assert_array_equal(bad, np.isnan(compose(images, index=5)))
    integers = augment.Compose([], seed=0, dtype="uint8")
    assert on_device(device, integers, images)[0, 10, 20].tolist() == [128, 0, 128]


def test_the_same_bits_every_time(device, rng):
    images = random_image(rng, (4, 70, 90, 3), "uint8")
    compose = augment.Compose(EVERYTHING, seed=4)
    whole = on_device(device, compose, images)
    parts = [device.numpy(compose(device.array(images[a:b]), index=5 + a)) for a, b in ((0, 1), (1, 4))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    if device.emulated:
        for order in ("reversed", "random"):
            with cuda_emulator.schedule(order, seed=1):
                np.testing.assert_array_equal(on_device(device, compose, images), whole)


def test_large_batch(device, rng):
    """More numbers than fit a launch."""
    images = random_image(rng, (70, 9, 10, 3), "uint8")
    assert_as_on_the_cpu(device, augment.Compose(EVERYTHING, seed=4), images, 5)


def test_captured_in_a_graph(device, rng):
    """A graph holds one draw and does it to what lies in the images' memory."""
    library = device.library
    images = device.array(random_image(rng, (3, 30, 41, 3), "uint8"))
    masks = device.array(random_image(rng, (3, 30, 41), "uint8"))
    compose = augment.Compose([*EVERYTHING, augment.MixUp()], seed=4)
    out = device.array(np.zeros((3, 30, 41, 3), np.float32))
    expected = device.numpy(compose(images, index=5, masks=masks)[0])
    library.cuda.Device().synchronize()
    with library.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        compose(images, index=5, masks=masks, out=out)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(out), expected)


def test_refused(device, rng):
    images = random_image(rng, (2, 9, 10, 3), "uint8")
    compose = augment.Compose([augment.Flip()], seed=0)
    given = device.array(images)
    with pytest.raises(ValueError, match="masks must be on the device of images, cuda:0, got the CPU"):
        compose(given, index=0, masks=images[..., 0])
    with pytest.raises(ValueError, match="images must be on the device of images, cuda:0, got the CPU"):
        compose([given[0], images[1]], index=0)
    with pytest.raises(TypeError, match="out must be of the kind of images"):
        compose(given, index=0, out=np.zeros_like(images))
    with pytest.raises(ValueError, match="out must not overlap images"):
        compose(given, index=0, out=given)
    with pytest.raises(TypeError, match="images must have one of the dtypes .* on a GPU, got float64"):
        compose(device.array(images.astype(np.float64)), index=0)


@pytest.mark.parametrize("channel_axis", [-1, 1])
def test_nothing_is_touched_that_should_not_be(device, rng, channel_axis):
    with device.checking() as report:
        for shape, dtype in (((2, 21, 71, 3), "uint8"), ((2, 13, 17, 3), "float16"), ((2, 20, 64, 3), "float32")):
            images = random_image(rng, shape, dtype)
            images = images if channel_axis == -1 else np.ascontiguousarray(np.moveaxis(images, -1, 1))
            compose = augment.Compose([*EVERYTHING, augment.MixUp()], seed=4, channel_axis=channel_axis, mode="edge")
            compose(device.array(images), index=5)
    assert report.problems == []


def test_results_are_written_whole(device, rng):
    """Stores fill sectors, channels first and last; shared memory is read without conflicts that count."""
    images = device.array(random_image(rng, (2, 32, 64, 3), "uint8"))
    for axis in (-1, 1):
        for dtype in ("float32", "uint8"):
            compose = augment.Compose([*GEOMETRY, *NOISE], seed=4, dtype=dtype, mode="edge", out_channel_axis=axis)
            with device.checking() as report:
                compose(images, index=5)
            assert report.problems == []
            for access in report.accesses:
                if access.space == "global" and access.kind == "write" and access.bytes == 16:
                    assert access.passes == access.ideal, access
