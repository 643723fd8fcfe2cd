from __future__ import annotations

import colorsys
import pickle

import cv2
import numpy as np
import pytest
import torch
from conftest import random_image
from reference import augment as reference
from scipy import stats
from tolerances import assert_close
from torch.nn import functional

from fastimg import augment, transform
from fastimg.augment.plan import AUGMENTATION, draw
from fastimg.backends import cpu

DTYPES = ["uint8", "uint16", "float16", "float32"]
MODES = ["constant", "edge", "symmetric", "reflect", "wrap"]
EVERYTHING = [
    augment.Affine(degrees=30, translate=0.2, scale=(0.7, 1.4), shear=10),
    augment.Flip(horizontal=0.5, vertical=0.5),
    augment.GaussianBlur(sigma=(0.3, 1.5), p=0.5),
    augment.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
    augment.GaussianNoise(sigma=(0.01, 0.1), p=0.7),
    augment.SaltAndPepper(amount=(0, 0.1), p=0.7),
    augment.Cutout(fill=(0.1, 0.5, 0.9), p=0.7),
    augment.Cutout(scale=(0.01, 0.05)),
    augment.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
]


def top(dtype) -> float:
    """What stands for 1."""
    return float(np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else 1.0


def pipeline(*transforms, seed: int = 1, **options) -> augment.Compose:
    return augment.Compose(transforms, seed=seed, **options)


def expected(compose: augment.Compose, images: np.ndarray, index: int = 0) -> np.ndarray:
    """By the oracle, of (N, H, W, C) images and a pipeline of one pass; in [0, 1], or normalised."""
    n, rows, columns, channels = images.shape
    draws = draw(np.arange(index, index + n, dtype=np.uint64), len(compose.transforms), compose.seed)
    (plan,) = compose._plans(draws, np.full((n, 2), (rows, columns)), channels)
    results = []
    for i, image in enumerate(images):
        rectangles = [rectangle[i] for rectangle in plan.rectangles]
        finish = (rectangles, plan.fills, plan.scale.astype(np.float64), plan.offset.astype(np.float64))
        unit = image.astype(np.float64) / top(images.dtype)
        results.append(reference.augment(unit, plan.what[i], plan.size(), compose.mode, compose.fill, *finish))
    return np.stack(results)


# ---- the kernel against the oracle ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_reference(target, rng, dtype, mode):
    images = random_image(rng, (7, 45, 61, 3), dtype)
    fill = 0.375 if dtype == "float16" else 0.4  # what all dtypes have: it is rounded to that of the image
    compose = augment.Compose(EVERYTHING, seed=3, mode=mode, fill=fill)
    result = compose(images, index=11)
    assert result.dtype == np.float32
    assert_close(result, expected(compose, images, 11), factor=5)  # divided by the deviation, 0.22


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("result_dtype", [None, *DTYPES])
def test_dtypes(target, rng, dtype, result_dtype):
    images = random_image(rng, (3, 20, 31, 3), dtype)
    compose = augment.Compose(EVERYTHING[:-1], seed=3, dtype=result_dtype, mode="edge")
    result = compose(images, index=0)
    assert result.dtype == (result_dtype or dtype)
    assert_close(result, expected(compose, images) * top(result.dtype), factor=2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels(target, rng, channels):
    images = random_image(rng, (4, 23, 37, channels), "uint8")
    transforms = [EVERYTHING[k] for k in (0, 1, 2, 4, 5, 7)]
    if channels in (1, 3):
        transforms.insert(3, EVERYTHING[3])
    compose = augment.Compose(transforms, seed=3, dtype="float32", mode="symmetric")
    assert_close(compose(images, index=0), expected(compose, images))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 130), (257, 5), (28, 28)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_that_hurt(target, rng, shape, channels):
    images = random_image(rng, (5, *shape, channels), "uint8")
    for mode in MODES:
        compose = augment.Compose([*EVERYTHING[:6], EVERYTHING[7]], seed=3, dtype="float32", mode=mode)
        assert_close(compose(images, index=0), expected(compose, images))


@pytest.mark.parametrize("shape", [(2, 350, 400, 3), (1, 20, 30_000, 1), (1, 700, 520, 2)])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_images_in_several_strips(target, rng, shape, mode):
    images = random_image(rng, shape, "float32")  # too large to be copied too
    transforms = EVERYTHING[:3] + EVERYTHING[3 if shape[-1] != 2 else 4 : 6]
    compose = augment.Compose(transforms, seed=5, mode=mode)
    assert_close(compose(images, index=0), expected(compose, images), factor=2)


def test_layouts(target, layout, rng):
    images = random_image(rng, (3, 33, 41, 3), "uint8")
    compose = augment.Compose(EVERYTHING, seed=2)
    plain = compose(images, index=0)
    np.testing.assert_array_equal(compose(layout(images), index=0), plain)
    out = layout(np.zeros_like(plain))
    assert compose(images, index=0, out=out) is out
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_first_and_last(target, rng, dtype):
    last = random_image(rng, (3, 33, 41, 3), dtype)
    first = np.ascontiguousarray(np.moveaxis(last, -1, 1))
    results = {}
    for into in (None, 1, -1):
        for axis, images in ((-1, last), (1, first)):
            compose = augment.Compose(EVERYTHING, seed=2, channel_axis=axis, out_channel_axis=into)
            results[axis, into] = compose(images, index=0)
            assert results[axis, into].shape == ((3, 33, 41, 3) if (into or axis) == -1 else (3, 3, 33, 41))
    for (axis, into), result in results.items():
        comparable = result if (into or axis) == -1 else np.moveaxis(result, 1, -1)
        np.testing.assert_array_equal(comparable, results[-1, None])


def test_no_channels(rng):
    images = random_image(rng, (3, 33, 41), "uint8")
    transforms = [EVERYTHING[0], EVERYTHING[3]]
    grey = augment.Compose(transforms, seed=2, channel_axis=None)(images, index=0)
    np.testing.assert_array_equal(grey[..., None], augment.Compose(transforms, seed=2)(images[..., None], index=0))


def test_identity_copies(target, rng):
    for dtype in DTYPES:
        images = random_image(rng, (2, 19, 35, 3), dtype)
        result = pipeline()(images, index=0)
        assert result is not images
        np.testing.assert_array_equal(result, images)


# ---- what is drawn -------------------------------------------------------------------------------------------------


def test_numbers_are_philox():
    seed = 0x0123456789ABCDEF
    indices = np.array([0, 7, 2**32 - 1, 2**32, 2**63 + 5], np.uint64)
    draws = draw(indices, 3, seed)
    for i, index in enumerate(indices):
        for number in range(3):
            words = [reference.uniform(seed, int(index), number, block) for block in range(3)]
            np.testing.assert_array_equal([draws[number].uniform(k)[i] for k in range(8)], np.concatenate(words[:2]))
            key = int(words[2][0] * 2**32) | int(words[2][1] * 2**32) << 32
            assert int(draws[number].keys()[i]) == key


def test_layout_of_parameters():
    assert AUGMENTATION.itemsize == 200  # as csrc/cpu/augment.hpp has it; the binding refuses others
    image = np.zeros((1, 1, 1, 1), np.uint8)
    empty = np.zeros((1, 0, 4), np.int32)
    ones = np.ones(1, np.float32)
    with pytest.raises(ValueError, match="layout"):
        cpu.augment(image, image.copy(), np.zeros(1, np.float64), "edge", 0.0, empty, ones[:0], ones, ones, 1)


def test_results_depend_on_seed_and_index_alone(target, rng):
    images = random_image(rng, (9, 40, 40, 3), "uint8")
    compose = augment.Compose(EVERYTHING, seed=4)
    whole = compose(images, index=100, threads=1)
    for threads in (2, 7):
        np.testing.assert_array_equal(compose(images, index=100, threads=threads), whole)
    pieces = [compose(images[a:b], index=100 + a) for a, b in ((0, 1), (1, 5), (5, 9))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    order = rng.permutation(9)
    np.testing.assert_array_equal(compose(images[order], index=100 + order), whole[order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(compose))(images, index=100), whole)
    assert (compose(images, index=101) != whole).any()
    assert (augment.Compose(EVERYTHING, seed=5)(images, index=100) != whole).any()


def test_instruction_sets_agree(rng):
    from fastimg import _fastimg_cpu

    images = random_image(rng, (4, 60, 50, 3), "uint8")
    before, results = _fastimg_cpu.active_target(), []
    try:
        for name in _fastimg_cpu.supported_targets():
            _fastimg_cpu.select_target(name)
            results.append(augment.Compose(EVERYTHING, seed=4)(images, index=0))
    finally:
        _fastimg_cpu.select_target(before)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-4, rtol=0)


def test_probabilities(rng):
    n, image = 4000, np.full((1, 2, 2, 3), 100, np.uint8)
    images = np.broadcast_to(image, (n, 2, 2, 3))
    for p in (0.0, 0.3, 1.0):
        darker = pipeline(augment.ColorJitter(brightness=(0.5, 0.5), p=p))(images, index=0)
        share = (darker[:, 0, 0, 0] == 50).mean()
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-9
    ramp = np.broadcast_to(np.array([[[[0], [255]]]], np.uint8), (n, 1, 2, 1))
    flipped = pipeline(augment.Flip(horizontal=0.25))(ramp, index=0)
    assert abs((flipped[:, 0, 0, 0] == 255).mean() - 0.25) < 0.03


def test_ranges_are_drawn_uniformly():
    images = np.full((5000, 1, 1, 1), 0.25, np.float32)
    factors = pipeline(augment.ColorJitter(brightness=(0.5, 2)))(images, index=0).ravel() * 4
    assert stats.kstest(factors, stats.uniform(0.5, 1.5).cdf).pvalue > 1e-3
    windows = pipeline(augment.RandomCrop(1))(
        np.broadcast_to(np.arange(5, dtype=np.uint8), (5000, 1, 5))[..., None], index=0
    )
    assert stats.chisquare(np.bincount(windows.ravel(), minlength=5)).pvalue > 1e-3


def test_noise_is_that_of_random_noise(target):
    images = np.full((1, 20, 30, 3), 0.5, np.float32)
    result = pipeline(augment.GaussianNoise(0.05))(images, index=6)
    key = int(draw(np.array([6], np.uint64), 1, 1)[0].keys()[0])
    plain = np.full((3, 20, 30, 1), 0.5, np.float32)
    expected = np.empty_like(plain)
    cpu.random_noise(
        plain, np.ones(plain.shape, np.float32), expected, "gaussian", key, 1.0, 0.0, 1.0, True, 1, deviation=0.05
    )
    np.testing.assert_allclose(result[0], np.moveaxis(expected[..., 0], 0, -1), atol=1e-6)


def test_salt_and_pepper(target):
    images = np.full((4, 100, 100, 3), 100, np.uint8)
    result = pipeline(augment.SaltAndPepper(0.2, salt_vs_pepper=0.75))(images, index=0)
    assert (result == result[..., :1]).all()  # channels together
    for value, share in ((255, 0.15), (0, 0.05), (100, 0.8)):
        assert abs((result == value).mean() - share) < 0.01


def test_cutout():
    images = np.ones((500, 40, 60, 3), np.float32)
    cut = pipeline(augment.Cutout(scale=(0.1, 0.2), ratio=(0.5, 2), fill=(0, 0.25, 0.5)))(images, index=0)
    erased = cut[..., 0] == 0
    for image, hole in zip(cut, erased, strict=True):
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert hole.sum() == height * width
        assert 0.09 < hole.mean() < 0.22
        assert 0.4 < height / width < 2.5
        assert (image[hole] == (0, 0.25, 0.5)).all()
    assert erased.any(axis=0).mean() > 0.95  # anywhere


# ---- geometry ------------------------------------------------------------------------------------------------------

FIXED = {"degrees": (20, 20), "scale": (1.2, 1.2), "shear": (8, 8, -5, -5)}


def smooth(rows: int, columns: int) -> np.ndarray:
    y, x = np.ogrid[:rows, :columns]
    return np.stack([np.sin(x / 9 + c) * np.cos(y / 7 - c) for c in range(3)], axis=-1).astype(np.float32) * 0.4 + 0.5


def test_affine_is_torchvisions(target):
    rows, columns = 48, 65
    image = smooth(rows, columns)
    matrix = reference.inverse_affine(20, (0, 0), 1.2, (8, -5), (rows, columns))
    # torchvision: affine_grid with half pixels, from -1 to 1 between the borders, and grid_sample.
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    places = matrix[:2] @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    grid = torch.from_numpy(((2 * places.T + 1) / (columns, rows) - 1).reshape(1, rows, columns, 2).astype(np.float32))
    tensor = torch.from_numpy(np.moveaxis(image, -1, 0).copy())[None]
    warped = functional.grid_sample(tensor, grid, align_corners=False, padding_mode="zeros")
    result = pipeline(augment.Affine(**FIXED), channel_axis=1)(tensor, index=0)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_allclose(result.numpy(), warped.numpy(), atol=2e-5)


def test_affine_against_opencv():
    image = np.rint(smooth(80, 90) * 255).astype(np.uint8)
    matrix = reference.inverse_affine(20, (0, 0), 1.2, (8, -5), (80, 90))
    options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REFLECT_101}
    warped = cv2.warpAffine(image, matrix[:2], (90, 80), **options)
    result = pipeline(augment.Affine(**FIXED), mode="reflect")(image[None], index=0)[0]
    assert np.abs(result.astype(int) - warped).max() <= 2  # its places have five fractional bits


def test_shifts_and_scales_are_what_they_say():
    image = np.zeros((1, 41, 61, 1), np.float32)
    image[0, 20, 30] = 1
    draws = draw(np.arange(200, dtype=np.uint64), 1, 1)[0]
    moved = pipeline(augment.Affine(translate=(0.25, 0.1)))(np.repeat(image, 200, 0), index=0)[..., 0]
    y, x = np.mgrid[:41, :61]
    mass = moved.sum(axis=(1, 2))
    np.testing.assert_allclose(mass, 1, atol=1e-5)
    np.testing.assert_allclose((moved * x).sum(axis=(1, 2)) - 30, (2 * draws.uniform(5) - 1) * 0.25 * 61, atol=1e-3)
    np.testing.assert_allclose((moved * y).sum(axis=(1, 2)) - 20, (2 * draws.uniform(6) - 1) * 0.1 * 41, atol=1e-3)
    corner = np.zeros((1, 41, 41, 1), np.float32)
    corner[0, 20, 25] = 1  # right of the middle; clockwise means down
    turned = pipeline(augment.Affine(degrees=(90, 90)))(corner, index=0)[0, ..., 0]
    assert turned[25, 20] > 0.999
    larger = pipeline(augment.Affine(scale=(2, 2)))(corner, index=0)[0, ..., 0]
    assert np.unravel_index(larger.argmax(), larger.shape) == (20, 30)


def test_flips_and_crops_are_exact(target, rng):
    images = random_image(rng, (20, 30, 41, 3), "uint8")
    np.testing.assert_array_equal(pipeline(augment.Flip(1, 1))(images, index=0), images[:, ::-1, ::-1])
    draws = draw(np.arange(20, dtype=np.uint64), 1, 1)[0]
    cropped = pipeline(augment.RandomCrop((24, 33), padding=3), fill=1)(images, index=0)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), constant_values=255)
    for i in range(20):
        y, x = int(draws.uniform(1)[i] * 13), int(draws.uniform(2)[i] * 15)
        np.testing.assert_array_equal(cropped[i], padded[i, y : y + 24, x : x + 33])


def test_resized_crop(rng):
    """Windows have the areas and shapes that were asked for, and samples stay between the outermost centres."""
    y, x = np.mgrid[:60, :90].astype(np.float32)
    images = np.broadcast_to(np.stack([x, y], axis=-1) / 100, (300, 60, 90, 2))
    result = (
        pipeline(augment.RandomResizedCrop((32, 40), scale=(0.1, 0.3), ratio=(0.5, 2)), fill=7)(images, index=0) * 100
    )
    left, right = result[:, 0, 0, 0], result[:, 0, -1, 0]
    above, below = result[:, 0, 0, 1], result[:, -1, 0, 1]
    width, height = (right - left) * 40 / 39, (below - above) * 32 / 31
    assert (left >= -1e-3).all()
    assert (above >= -1e-3).all()
    assert (right <= 89.001).all()
    assert (below <= 59.001).all()
    assert ((width * height / 5400 > 0.0999) & (width * height / 5400 < 0.3001)).all()
    assert ((width / height > 0.499) & (width / height < 2.001)).all()
    assert left.min() < 3
    assert right.max() > 86
    np.testing.assert_allclose(
        np.diff(result[..., 0], axis=2), ((right - left) / 39)[:, None, None] + 0 * result[:, :, 1:, 0], atol=1e-3
    )


@pytest.mark.parametrize("size", [1, 2, 8, 17, 40])
def test_resized_crop_of_everything(rng, size):
    """Nothing of what stands beyond the border comes in."""
    images = random_image(rng, (1, 8, 8, 3), "float32")
    result = pipeline(augment.RandomResizedCrop(size, scale=(1, 1), ratio=(1, 1)), fill=9)(images, index=0)
    assert result.shape == (1, size, size, 3)
    assert result.max() <= images.max() + 1e-6
    if size == 8:
        np.testing.assert_allclose(result, images, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 0.02, 1e6])
@pytest.mark.parametrize("mode", ["constant", "edge", "wrap"])
def test_extreme_scales(target, rng, scale, mode):
    """Windows beyond all sizes are not copied; places beyond all floats are beyond the image."""
    images = random_image(rng, (2, 40, 150, 3), "float32")
    compose = pipeline(augment.Affine(degrees=30, scale=(scale, scale)), mode=mode, fill=0.25)
    result, oracle = compose(images, index=0), expected(compose, images)
    near = np.abs(result - oracle).max(axis=-1) < 2e-5
    assert near.mean() > (0.99 if scale > 0.01 else 0.9)  # a place of 1e14 has no fraction that counts


def test_images_of_many_sizes(rng):
    images = [random_image(rng, (n, n + 7, 3), "uint8") for n in (20, 50, 33)]
    compose = pipeline(augment.RandomResizedCrop(24), augment.Flip())
    batch = compose(images, index=5)
    assert batch.shape == (3, 24, 24, 3)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(batch[i], compose(image[None], index=5 + i)[0])
    first = [np.moveaxis(image, -1, 0) for image in images]
    planes = augment.Compose(compose.transforms, 1, channel_axis=1)(first, index=5)
    np.testing.assert_array_equal(planes, np.moveaxis(batch, -1, 1))
    masks = [image[..., 0] for image in images]
    assert compose(images, index=5, masks=masks)[1].shape == (3, 24, 24)
    with pytest.raises(ValueError, match=r"images must be of one size where no transform gives them one"):
        pipeline(augment.Flip())(images, index=0)


# ---- colours -------------------------------------------------------------------------------------------------------


def grey_of(image: torch.Tensor) -> torch.Tensor:
    """torchvision's, whose weights add up to 0.9999."""
    return (image * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)


def blended(a: torch.Tensor, b: torch.Tensor, ratio: float) -> torch.Tensor:
    return (ratio * a + (1 - ratio) * b).clamp(0, 1)


def test_colours_are_torchvisions(rng):
    image = 0.3 + 0.3 * rng.random((40, 50, 3), dtype=np.float32)  # nothing is clipped on the way
    tensor = torch.from_numpy(np.moveaxis(image, -1, 0).copy())
    for factor in (0.5, 1.0, 1.4):
        one = {
            "brightness": blended(tensor, torch.zeros_like(tensor), factor),
            "contrast": blended(tensor, grey_of(tensor).mean(), factor),
            "saturation": blended(tensor, grey_of(tensor), factor),
        }
        for name, result in one.items():
            ours = pipeline(augment.ColorJitter(**{name: (factor, factor)}))(image[None], index=0)[0]
            np.testing.assert_allclose(ours, np.moveaxis(result.numpy(), 0, -1), atol=2e-4)
    step = blended(tensor, torch.zeros_like(tensor), 1.2)
    step = blended(step, grey_of(step).mean(), 0.8)
    step = blended(step, grey_of(step), 1.3)
    jitter = augment.ColorJitter(brightness=(1.2, 1.2), contrast=(0.8, 0.8), saturation=(1.3, 1.3))
    ours = pipeline(jitter)(image[None], index=0)[0]
    np.testing.assert_allclose(ours, np.moveaxis(step.numpy(), 0, -1), atol=5e-4)


def test_hue(rng):
    image = 0.4 + 0.2 * rng.random((1, 20, 20, 3), dtype=np.float32)
    luma = np.array([0.299, 0.587, 0.114])

    def turned(share: float, image: np.ndarray = image) -> np.ndarray:
        return pipeline(augment.ColorJitter(hue=(share, share)))(image, index=0)

    for share in (-0.5, -0.2, 0.1, 0.5):
        np.testing.assert_allclose(turned(share) @ luma, image @ luma, atol=1e-6)
    np.testing.assert_allclose(turned(-0.3, turned(0.3)), image, atol=2e-6)
    grey = np.full((1, 2, 2, 3), 0.6, np.float32)
    np.testing.assert_allclose(turned(0.3, grey), grey, atol=1e-6)
    for color in ((0.6, 0.5, 0.5), (0.5, 0.6, 0.5), (0.5, 0.5, 0.6)):  # about as HSV does, and the same way
        hue = colorsys.rgb_to_hsv(*turned(0.1, np.full((1, 1, 1, 3), color, np.float32))[0, 0, 0].tolist())[0]
        before = colorsys.rgb_to_hsv(*color)[0]
        assert 0.02 < (hue - before) % 1 < 0.18


def test_contrast_is_about_the_mean_of_what_is_seen(rng):
    images = random_image(rng, (3, 40, 40, 3), "float32")
    shift = augment.Affine(translate=0.5)
    moved = pipeline(shift)(images, index=0)
    result = pipeline(shift, augment.ColorJitter(contrast=(0.5, 0.5)))(images, index=0)
    mean = moved.mean(axis=(1, 2)) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(result, 0.5 * moved + 0.5 * mean[:, None, None, None], atol=1e-5)


# ---- fused and one by one ------------------------------------------------------------------------------------------


def one_by_one(transforms, images, **options):
    for transform_ in transforms:
        images = pipeline(transform_, **options)(images, index=0)
    return images


def test_fused_geometry_is_the_product(rng):
    images = random_image(rng, (1, 40, 52, 3), "float32")
    exact = [augment.Flip(1, 0), augment.RandomCrop((40, 52)), augment.Affine(degrees=(180, 180)), augment.Flip(0, 1)]
    np.testing.assert_allclose(pipeline(*exact)(images, index=0), one_by_one(exact, images), atol=1e-5)
    # Where pictures in between are resampled, a smooth image shows the same away from the border.
    image = smooth(100, 120)[None]
    turns = [augment.Affine(**FIXED), augment.Affine(degrees=(-31, -31), scale=(1.1, 1.1)), augment.Flip(1)]
    fused, stepwise = pipeline(*turns)(image, index=0), one_by_one(turns, image)
    inside = np.s_[:, 30:-30, 30:-30]
    np.testing.assert_allclose(fused[inside], stepwise[inside], atol=5e-3)


def test_fused_points_are_the_sequence(rng):
    images = (0.3 + 0.3 * rng.random((2, 40, 52, 3))).astype(np.float32)
    steps = [
        augment.ColorJitter(brightness=(1.1, 1.1), contrast=(0.7, 0.7)),
        augment.ColorJitter(saturation=(0.5, 0.5), contrast=(1.3, 1.3), hue=(0.05, 0.05)),
        augment.Normalize(0.4, 0.3),
    ]
    np.testing.assert_allclose(pipeline(*steps)(images, index=0), one_by_one(steps, images), atol=5e-6)
    levels = np.rint(images * 255).astype(np.uint8)
    fused = pipeline(*steps[:2])(levels, index=0).astype(int)
    assert np.abs(fused - one_by_one(steps[:2], levels)).max() <= 2  # each step rounds


def test_passes():
    """What is out of the kernel's order goes in several passes, and the result is that of one after the other."""
    steps = [
        augment.ColorJitter(brightness=(0.5, 0.5)),
        augment.Flip(1),
        augment.GaussianBlur((1, 1)),
        augment.GaussianBlur((2, 2)),
        augment.RandomCrop(30),
        augment.Normalize(0.5, 0.5),
    ]
    compose = pipeline(*steps)
    assert compose._passes == [[0], [1, 2], [3], [4, 5]]
    images = np.rint(np.stack([smooth(30, 30)] * 2) * 255).astype(np.uint8)
    np.testing.assert_array_equal(compose(images, index=0), one_by_one(steps, images))


def test_blur_is_that_of_filters():
    from fastimg import filters

    images = np.random.default_rng(1).random((3, 40, 50, 3), dtype=np.float32)
    for sigma in (0.1, 0.7, 3.0, 12.0):
        result = pipeline(augment.GaussianBlur((sigma, sigma)))(images, index=0)
        for image, blurred in zip(images, result, strict=True):
            np.testing.assert_allclose(
                blurred, filters.gaussian(image, sigma, mode="mirror", channel_axis=-1), atol=2e-6
            )


# ---- masks, points, boxes, labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_masks_go_with_images(rng, dtype):
    images = random_image(rng, (4, 30, 40, 3), "uint8")
    masks = (rng.random((4, 30, 40)) * 200).astype(dtype)
    geometry = [augment.Affine(degrees=40, scale=(0.5, 1.5)), augment.Flip(), augment.RandomCrop((20, 25))]
    compose = pipeline(*geometry, augment.ColorJitter(0.5), augment.RandomCrop(18), augment.GaussianNoise())
    batch, moved = compose(images, index=3, masks=masks)
    assert batch.shape == (4, 18, 18, 3)
    assert moved.dtype == masks.dtype
    draws = draw(np.arange(3, 7, dtype=np.uint64), 6, 1)
    plans = compose._plans(draws, np.full((4, 2), (30, 40)), 3)
    for i, mask in enumerate(masks):
        matrix = plans[0].what["matrix"][i] @ plans[1].what["matrix"][i]
        nearest = transform.warp(mask.astype(np.float32), matrix, order=0, output_shape=(18, 18))
        np.testing.assert_array_equal(moved[i], nearest.astype(dtype))
    channels = np.stack([masks, masks], axis=-1)
    np.testing.assert_array_equal(compose(images, index=3, masks=channels)[1][..., 1], moved)


def test_mask_fill():
    image, mask = np.zeros((1, 9, 9, 3), np.uint8), np.ones((1, 9, 9), np.uint8)
    compose = pipeline(augment.RandomCrop(19, padding=5), mask_fill=255)
    moved = compose(image, index=0, masks=mask)[1]
    assert (moved == 255).sum() == 19 * 19 - 81


def test_keypoints_and_boxes(rng):
    """A dot is where its point is said to be; a box holds what it held."""
    dots = np.zeros((30, 60, 80, 1), np.float32)
    points = rng.integers(25, 35, (30, 1, 2)) + np.array((10.0, 0.0))
    for dot, ((x, y),) in zip(dots, points.astype(int), strict=True):
        dot[y - 1 : y + 2, x - 1 : x + 2] = 1
    compose = pipeline(augment.Affine(degrees=25, translate=0.1, scale=(0.8, 1.3), shear=10), augment.Flip(0.5, 0.5))
    boxes = np.concatenate([points - 1, points + 2], axis=-1)
    batch, moved, around = compose(dots, index=0, keypoints=points, boxes=boxes)
    y, x = np.mgrid[:60, :80]
    weight = batch[..., 0] / batch[..., 0].sum(axis=(1, 2), keepdims=True)
    centres = np.stack([(weight * x).sum(axis=(1, 2)), (weight * y).sum(axis=(1, 2))], axis=-1)
    np.testing.assert_allclose(moved[:, 0], centres, atol=0.05)
    for image, (left, up, right, down) in zip(batch[..., 0], around[:, 0], strict=True):
        rows, columns = np.nonzero(image > 0.5)
        assert left - 0.5 <= columns.min() <= columns.max() <= right - 0.5
        assert up - 0.5 <= rows.min() <= rows.max() <= down - 0.5
        assert right - left < 8
        assert down - up < 8


def test_boxes_of_flips_and_borders():
    image = np.zeros((1, 10, 20, 3), np.uint8)
    boxes = [np.array([[0.0, 0, 20, 10], [2, 3, 5, 7], [-5, 2, 3, 4]])]
    moved = pipeline(augment.Flip(1))(image, index=0, boxes=boxes)[1]
    assert isinstance(moved, list)
    np.testing.assert_allclose(moved[0], [[0, 0, 20, 10], [15, 3, 18, 7], [17, 2, 20, 4]])
    empty = pipeline(augment.Flip(1))(image, index=0, boxes=[np.zeros((0, 4))], keypoints=[np.zeros((0, 2))])
    assert empty[1][0].shape == (0, 2)
    assert empty[2][0].shape == (0, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixing(target, layout, rng, dtype):
    images = random_image(rng, (5, 30, 47, 3), dtype)
    labels = np.eye(5, dtype=np.float32)
    compose = pipeline(augment.Flip(), augment.MixUp(alpha=0.6, p=0.8))
    out = layout(np.zeros_like(images))
    batch, mixed = compose(images, index=2, labels=labels, out=out)
    assert batch is out
    flipped = pipeline(augment.Flip())(images, index=2).astype(np.float64)
    partners, weights = compose.mixture(5, index=2)
    share = weights.astype(np.float64)[:, None, None, None]
    assert_close(batch, share * flipped + (1 - share) * flipped[partners], factor=1.01)
    np.testing.assert_allclose(mixed, weights[:, None] * labels + (1 - weights)[:, None] * labels[partners], atol=1e-6)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)


def test_mixing_one_image_leaves_it(rng):
    images = random_image(rng, (1, 5, 5, 3), "uint8")
    np.testing.assert_array_equal(pipeline(augment.MixUp())(images, index=0), images)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha):
    weights = pipeline(augment.MixUp(alpha))
    drawn = weights.mixture(20_000, index=0)[1].astype(np.float64)
    places = np.linspace(0.01, 0.99, 99)[:, np.newaxis]
    np.testing.assert_allclose((drawn < places).mean(axis=1), stats.beta(alpha, alpha).cdf(places[:, 0]), atol=0.015)
    assert abs(drawn.mean() - 0.5) < 0.02
    assert abs(drawn.var() - 0.25 / (2 * alpha + 1)) < 0.005


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: augment.Affine(degrees="x"), TypeError, "degrees must be a number, got 'x'"),
        (lambda: augment.Affine(degrees=-5), ValueError, "degrees must be at least 0, got -5"),
        (lambda: augment.Affine(degrees=(5, 1)), ValueError, r"degrees must be \(low, high\), got \(5, 1\)"),
        (lambda: augment.Affine(scale=(0, 1)), ValueError, "scale must be above 0, got 0"),
        (lambda: augment.Affine(translate=1.5), ValueError, "translate must be at most 1, got 1.5"),
        (lambda: augment.Affine(translate=(1, 1, 1)), ValueError, "translate must be a number or two"),
        (lambda: augment.Affine(shear=90), ValueError, "shear must be below 90 degrees, got 90"),
        (lambda: augment.Affine(p=1.1), ValueError, "p must be at most 1, got 1.1"),
        (lambda: augment.Affine(degrees=(1, 2, 3)), ValueError, "degrees must be a number or two"),
        (lambda: augment.Flip(horizontal=-1), ValueError, "horizontal must be at least 0, got -1"),
        (lambda: augment.RandomCrop(0), ValueError, "size must be at least 1, got 0"),
        (lambda: augment.RandomCrop(2.5), TypeError, "size must be an integer, got 2.5"),
        (lambda: augment.RandomCrop((1, 2, 3)), ValueError, "size must be an integer or two"),
        (lambda: augment.RandomCrop(2, padding=-1), ValueError, "padding must be at least 0, got -1"),
        (lambda: augment.RandomResizedCrop(2, scale=(0.5, 2)), ValueError, "scale must be at most 1, got 2"),
        (lambda: augment.RandomResizedCrop(2, ratio=(0, 2)), ValueError, "ratio must be above 0, got 0"),
        (lambda: augment.GaussianBlur(-1), ValueError, "sigma must be at least 0, got -1"),
        (lambda: augment.GaussianBlur((0, 1e9)), ValueError, "sigma must be at most 100, got 1e\\+09"),
        (lambda: augment.ColorJitter(contrast=(-1, 1)), ValueError, "contrast must be at least 0, got -1"),
        (lambda: augment.ColorJitter(hue=0.7), ValueError, "hue must be between -0.5 and 0.5, got 0.7"),
        (lambda: augment.GaussianNoise(float("nan")), ValueError, "sigma must be finite, got nan"),
        (lambda: augment.SaltAndPepper(2), ValueError, "amount must be at most 1, got 2"),
        (lambda: augment.Cutout(fill=()), ValueError, "fill must not be empty"),
        (lambda: augment.Normalize(0, 0), ValueError, "std must be above 0, got 0"),
        (lambda: augment.MixUp(0), ValueError, "alpha must be above 0, got 0"),
        (lambda: pipeline(augment.Flip), TypeError, "transforms must be those of fastimg.augment, got <class"),
        (lambda: pipeline(seed=-1), ValueError, "seed must be at least 0, got -1"),
        (lambda: pipeline(mode="zeros"), ValueError, "mode must be one of 'constant', "),
        (lambda: pipeline(channel_axis=0), ValueError, "channel_axis must be one of -1, 1, None, got 0"),
        (lambda: pipeline(dtype="int32"), TypeError, "dtype must be one of uint8, .*, got 'int32'"),
        (lambda: pipeline(augment.Normalize(0, 1), dtype="uint8"), ValueError, "dtype must be floating with Normalize"),
        (lambda: pipeline(augment.Normalize(0, 1), augment.Flip()), ValueError, "Normalize must come after all"),
        (lambda: pipeline(augment.MixUp(), augment.Flip()), ValueError, "MixUp must come last"),
        (lambda: pipeline(channel_axis=None, out_channel_axis=1), ValueError, "out_channel_axis must be None where"),
    ],
)
def test_refused_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


IMAGES = np.zeros((2, 8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(IMAGES[0], index=0), ValueError, r"images must have 4 dimensions \(N, H, W, C\), got 3"),
        (lambda f: f([IMAGES], index=0), ValueError, r"images must have 3 dimensions \(H, W, C\), got 4"),
        (lambda f: f([], index=0), ValueError, "images must not be empty"),
        (lambda f: f(IMAGES[:0], index=0), ValueError, r"images must not be empty, got shape \(0, 8, 9, 3\)"),
        (lambda f: f(IMAGES.astype(int), index=0), TypeError, "images must have one of the dtypes uint8, .* got int64"),
        (lambda f: f([IMAGES[0], IMAGES[0].astype("f4")], index=0), ValueError, "images must be of one kind, dtype"),
        (lambda f: f([IMAGES[0], IMAGES[0, ..., :1]], index=0), ValueError, "images must be of one kind, dtype"),
        (lambda f: f(IMAGES, index=-1), ValueError, "index must be at least 0, got -1"),
        (lambda f: f(IMAGES, index=[1.0, 2.0]), TypeError, "index must be an integer or an array of them"),
        (lambda f: f(IMAGES, index=[1, 2, 3]), ValueError, r"index must be an integer or of shape \(2,\)"),
        (lambda f: f(IMAGES, index=[1, -3]), ValueError, "index must be at least 0, got -3"),
        (lambda f: f(IMAGES, index=0, masks=IMAGES[:1, ..., 0]), ValueError, "masks must be as many as the images, 2"),
        (
            lambda f: f(IMAGES, index=0, masks=IMAGES[:, :5, :, 0]),
            ValueError,
            "masks must have the size of their images",
        ),
        (
            lambda f: f(IMAGES, index=0, masks=IMAGES[..., 0].astype(int)),
            TypeError,
            "masks must have one of the dtypes",
        ),
        (lambda f: f(IMAGES, index=0, masks=IMAGES[:, :, 0, 0]), ValueError, "masks must have 2 or 3 dimensions"),
        (
            lambda f: f(IMAGES, index=0, keypoints=np.zeros((1, 3, 2))),
            ValueError,
            "keypoints must be for 2 images, got 1",
        ),
        (
            lambda f: f(IMAGES, index=0, keypoints=np.zeros((2, 3, 3))),
            ValueError,
            r"keypoints must be of shape \(K, 2\)",
        ),
        (lambda f: f(IMAGES, index=0, boxes=np.zeros((2, 4))), ValueError, r"boxes must be of shape \(K, 4\)"),
        (lambda f: f(IMAGES, index=0, labels=np.eye(2)), ValueError, "labels have a meaning with MixUp only"),
        (lambda f: f(IMAGES, index=0, out=IMAGES), ValueError, "out must not overlap images"),
        (lambda f: f(IMAGES, index=0, out=np.zeros((2, 8, 9, 1), np.uint8)), ValueError, "out must have shape"),
        (lambda f: f(IMAGES, index=0, out=np.zeros((2, 8, 9, 3), "f4")), TypeError, "out must have dtype uint8"),
        (lambda f: f(IMAGES, index=0, threads=0), ValueError, "threads must be at least 1, got 0"),
    ],
)
def test_refused_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(pipeline(augment.Flip()))


def test_refused_at_use():
    with pytest.raises(ValueError, match=r"size must be at most that of the image and its padding, got \(9, 9\)"):
        pipeline(augment.RandomCrop(9))(IMAGES, index=0)
    with pytest.raises(ValueError, match="images must have 1 or 3 channels for ColorJitter, got 2"):
        pipeline(augment.ColorJitter(0.1))(IMAGES[..., :2], index=0)
    with pytest.raises(ValueError, match="mean must be one number or one for each of the 3 channels, got 2"):
        pipeline(augment.Normalize((0, 0), 1))(IMAGES, index=0)
    with pytest.raises(ValueError, match=r"labels must be of shape \(2, K\), got \(3, 3\)"):
        pipeline(augment.MixUp())(IMAGES, index=0, labels=np.eye(3))


def test_overlap_with_one_of_a_sequence():
    memory = np.zeros((3, 8, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="out must not overlap images"):
        pipeline(augment.Flip())([IMAGES[0], memory[2]], index=0, out=memory[1:])


def test_read_only_images(rng):
    images = random_image(rng, (2, 8, 9, 3), "uint8")
    images.flags.writeable = False
    np.testing.assert_array_equal(pipeline(augment.Flip(1))(images, index=0), images[:, :, ::-1])


def test_nan_stays_where_it_is(target):
    images = np.full((1, 12, 40, 3), 0.5, np.float32)
    images[0, 5, 20] = np.nan
    steps = [augment.Flip(1), augment.ColorJitter(brightness=(1.1, 1.1)), augment.GaussianNoise(0.01)]
    result = pipeline(*steps)(images, index=0)
    assert np.isnan(result[0, 5, 19]).all()
    assert np.isnan(result).sum() == 3
    assert pipeline(*steps, dtype="uint8")(images, index=0)[0, 5, 19].tolist() == [0, 0, 0]


def test_tensors(rng):
    images = torch.from_numpy(random_image(rng, (2, 3, 20, 30), "uint8"))
    masks = images[:, 0].clone()
    compose = augment.Compose(EVERYTHING, seed=1, channel_axis=1)
    batch, moved = compose(images, index=0, masks=masks)
    assert isinstance(batch, torch.Tensor)
    assert isinstance(moved, torch.Tensor)
    np.testing.assert_array_equal(batch.numpy(), compose(images.numpy(), index=0))
    out = torch.empty_like(batch)
    assert compose(list(images), index=0, out=out) is out
    assert torch.equal(out, batch)
