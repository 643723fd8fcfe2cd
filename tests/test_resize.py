from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from reference import resize as reference
from tolerances import assert_close

from fastimg import transform
from fastimg.transform.resizing import resize_adjoint

KERNELS = ["nearest", "bilinear", "bicubic", "lanczos2", "lanczos3"]
MODES = ["edge", "symmetric", "reflect"]
DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
SHAPES = [  # image, output size
    ((1, 1), (1, 1)),
    ((1, 1), (5, 3)),
    ((1, 7), (3, 2)),
    ((31, 1, 3), (7, 9)),
    ((2, 3, 2), (61, 67)),
    ((61, 67), (61, 67)),
    ((61, 67), (122, 134)),
    ((61, 67, 3), (31, 34)),
    ((40, 50, 4), (13, 97)),
    ((40, 50, 4), (97, 13)),
    ((257, 300), (5, 4)),
    ((23, 700, 3), (17, 1201)),
    ((700, 23), (90, 5)),
]


def expected(image: np.ndarray, size: tuple[int, int], *options: object, preserve_range: bool) -> np.ndarray:
    """The oracle under the rule for dtypes."""
    if image.dtype.kind == "u" and not preserve_range:
        image = image / np.iinfo(image.dtype).max
    return reference.resize(image, size, *options)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(target, rng, shape, size, dtype):
    image = random_image(rng, shape, dtype)
    for kernel in KERNELS:
        for anti_aliasing in (True, False):
            options = (kernel, anti_aliasing, "edge")
            result = transform.resize(image, size, kernel=kernel, anti_aliasing=anti_aliasing)
            assert result.dtype == (np.float32 if image.dtype.kind == "u" else dtype)
            assert_close(result, expected(image, size, *options, preserve_range=False))


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_rounded_exactly(target, rng, shape, size, dtype):
    """Not a single sample differs from the rounding of the exact sums."""
    image = random_image(rng, shape, dtype)
    for kernel in KERNELS:
        for anti_aliasing in (True, False):
            options = {"kernel": kernel, "anti_aliasing": anti_aliasing}
            result = transform.resize(image, size, preserve_range=True, **options)
            np.testing.assert_array_equal(result, reference.resize(image, size, **options), strict=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(9, 7), (30, 41), (40, 3), (61, 80)])
def test_borders(target, rng, kernel, mode, size):
    for shape in ((13, 17), (1, 17), (2, 3)):
        image = rng.random(shape, dtype=np.float32)
        result = transform.resize(image, size, kernel=kernel, mode=mode)
        assert_close(result, reference.resize(image, size, kernel, kernel != "nearest", mode))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(target, layout, rng, dtype):
    image = random_image(rng, (45, 38, 3), dtype)
    plain = transform.resize(image, (20, 61), preserve_range=True)
    np.testing.assert_array_equal(transform.resize(layout(image), (20, 61), preserve_range=True), plain)
    out = layout(np.zeros_like(plain))
    assert transform.resize(image, (20, 61), preserve_range=True, out=out) is out
    np.testing.assert_array_equal(out, plain)


def test_axes(target, rng):
    """The same plane whatever stands around it, and wherever."""
    image = rng.random((3, 2, 31, 29), dtype=np.float32)
    result = transform.resize(image, (14, 40), axes=(-2, -1))
    assert result.shape == (3, 2, 14, 40)
    for n in range(3):
        for c in range(2):
            np.testing.assert_array_equal(result[n, c], transform.resize(image[n, c], (14, 40)))
    channels_last = np.moveaxis(image, 1, -1)
    np.testing.assert_array_equal(transform.resize(channels_last, (14, 40), axes=(1, 2)), np.moveaxis(result, 1, -1))
    np.testing.assert_array_equal(transform.resize(image[0], (14, 40), channel_axis=0), result[0])
    np.testing.assert_array_equal(
        transform.resize(image, (40, 14), axes=(3, 2)), transform.resize(image, (14, 40), axes=(2, 3))
    )
    np.testing.assert_array_equal(transform.resize(image[0, 0, :, :, None], (14, 40, 1)), result[0, 0, :, :, None])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 70, 1100])
def test_channels_are_independent(target, rng, channels):
    image = rng.random((9, 11, channels), dtype=np.float32)
    result = transform.resize(image, (6, 15))
    for c in {0, channels // 2, channels - 1}:
        np.testing.assert_allclose(result[..., c], transform.resize(image[..., c], (6, 15)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("size", [(70, 900), (600, 90), (333, 444)])
def test_threads_do_not_change_the_result(target, rng, dtype, size):
    image = random_image(rng, (211, 233, 3), dtype)
    first, *others = (transform.resize(image, size, preserve_range=True, threads=n) for n in (1, 2, 3, 8))
    for other in others:
        np.testing.assert_array_equal(first, other)


def matrix(n: int, size: int, *options: object) -> np.ndarray:
    """What resizes an axis of n samples, as the oracle does it to each of them alone."""
    return reference.resize(np.eye(n), (size, n), *options)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_adjoint(target, rng, shape, size, dtype):
    """The transposed matrices of both axes, for the gradients of PyTorch."""
    gradient = random_image(rng, (2, *size), dtype)
    for kernel in KERNELS:
        for anti_aliasing, mode in ((True, "edge"), (False, "symmetric"), (False, "reflect")):
            rows, columns = (matrix(n, m, kernel, anti_aliasing, mode) for n, m in zip(shape, size, strict=False))
            options = {"anti_aliasing": anti_aliasing, "mode": mode}
            first, *others = (resize_adjoint(gradient, shape[:2], kernel, **options, threads=n) for n in (1, 2, 5))
            expected = rows.T @ gradient.astype(float) @ columns
            assert_close(first, expected, scale=max(np.abs(expected).max(), 1))
            for other in others:
                np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_matlab(target, data_folder, scale, number):
    """Pairs that MATLAB's imresize made, bit for bit."""
    image = pytest.importorskip("PIL.Image")
    folder = data_folder / "sr" / "matlab_imresize"
    high, low = (
        np.asarray(image.open(folder / f"img_{number:03}_SRF_{scale}_{name}.webp").convert("RGB"))
        for name in ("HR", "LR")
    )
    result = transform.rescale(high, 1 / scale, channel_axis=-1, preserve_range=True)
    np.testing.assert_array_equal(result, low, strict=True)
    np.testing.assert_array_equal(transform.resize(high, low.shape[:2], preserve_range=True), low)


def test_rescale(target, rng):
    image = rng.random((20, 31), dtype=np.float32)
    result = transform.rescale(image, 1 / 3)
    assert result.shape == (7, 11)
    assert_close(result, reference.resize(image, (7, 11), scale=(1 / 3, 1 / 3)))
    result = transform.rescale(image, (0.7, 1.3), kernel="lanczos")
    assert result.shape == (14, 41)
    assert_close(result, reference.resize(image, (14, 41), "lanczos3", scale=(0.7, 1.3)))
    assert transform.rescale(np.ones((10, 10)), 1.1).shape == (11, 11)  # 10 * 1.1 is 11.000000000000002
    assert transform.rescale(np.ones((3, 3)), 0.01).shape == (1, 1)
    assert transform.rescale(np.ones((4, 3, 6, 8)), 0.5, axes=(-2, -1)).shape == (4, 3, 3, 4)


@pytest.mark.parametrize("size", [(9, 7), (30, 41), (40, 3), (60, 82)])
@pytest.mark.parametrize(("mode", "theirs"), [("edge", "edge"), ("symmetric", "symmetric"), ("reflect", "reflect")])
def test_order_1_is_scikit_images(rng, size, mode, theirs):
    skimage = pytest.importorskip("skimage.transform")
    image = rng.random((30, 41))
    result = transform.resize(image, size, 1, mode=mode, anti_aliasing=False)
    np.testing.assert_allclose(
        result, skimage.resize(image, size, 1, mode=theirs, anti_aliasing=False), rtol=0, atol=1e-12
    )


def test_orders(rng):
    image = rng.random((12, 13))
    for order, kernel in ((0, "nearest"), (1, "bilinear")):
        np.testing.assert_array_equal(
            transform.resize(image, (5, 20), order), transform.resize(image, (5, 20), kernel=kernel)
        )


@pytest.mark.parametrize(
    ("kernel", "theirs"), [("bilinear", "BILINEAR"), ("bicubic", "BICUBIC"), ("lanczos", "LANCZOS")]
)
def test_pillow_agrees_inside(rng, kernel, theirs):
    """Pillow takes no samples beyond the border, and rounds otherwise between the passes: two levels at most."""
    image = pytest.importorskip("PIL.Image")
    x = random_image(rng, (120, 150, 3), "uint8")
    result = transform.resize(x, (40, 50), kernel=kernel, preserve_range=True).astype(int)
    other = np.asarray(image.fromarray(x).resize((50, 40), image.Resampling[theirs])).astype(int)
    assert np.abs(result - other)[4:-4, 4:-4].max() <= 2


def test_torch(rng):
    torch = pytest.importorskip("torch")
    x = torch.rand(2, 3, 40, 30)
    result = transform.resize(x, (20, 15), axes=(2, 3), kernel="bilinear")
    assert isinstance(result, torch.Tensor)
    other = torch.nn.functional.interpolate(x, (20, 15), mode="bilinear", antialias=True)
    inner = (..., slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(result[inner], other[inner], rtol=0, atol=1e-5)


def test_exact_properties(target, rng):
    """A constant stays what it is; the same size is a copy; the nearest neighbour only copies."""
    assert (transform.resize(np.full((30, 20), 0.3, np.float32), (17, 51)) == np.float32(0.3)).mean() > 0.5
    np.testing.assert_allclose(transform.resize(np.full((30, 20), 0.3), (17, 51)), 0.3, rtol=1e-14)
    image = rng.random((30, 20), dtype=np.float32)
    for kernel in KERNELS:
        np.testing.assert_array_equal(transform.resize(image, (30, 20), kernel=kernel), image)
    np.testing.assert_array_equal(
        transform.resize(image, (60, 40), kernel="nearest"), image.repeat(2, axis=0).repeat(2, axis=1)
    )


def test_nan_stays_within_the_kernel(target):
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = np.nan
    bad = np.isnan(transform.resize(image, (80, 80)))
    assert bad[40:42, 40:42].all()
    assert not bad[:36].any()
    assert not bad[46:].any()
    assert not bad[:, :36].any()
    assert not bad[:, 46:].any()
    image[20, 20] = np.inf
    assert np.isposinf(transform.resize(image, (80, 80), kernel="nearest")[40:42, 40:42]).all()


BAD = [
    ({"output_shape": 5}, ValueError, r"output_shape must be \(rows, columns\) or have 2 entries, got 5"),
    ({"output_shape": (5, 6, 7)}, ValueError, "output_shape must be .* or have 2 entries"),
    ({"output_shape": (0, 6)}, ValueError, "output_shape must be at least 1, got 0"),
    ({"output_shape": (4.5, 6)}, TypeError, "output_shape must be an integer, got 4.5"),
    ({"order": 3}, ValueError, r"order must be 0 or 1 \(for cubic interpolation: kernel='bicubic'\), got 3"),
    ({"order": "1"}, TypeError, "order must be an integer, got '1'"),
    ({"order": 1, "kernel": "bicubic"}, ValueError, "order and kernel exclude each other"),
    ({"kernel": "cubic"}, ValueError, "kernel must be one of 'nearest', .*, got 'cubic'"),
    ({"anti_aliasing": 1}, TypeError, "anti_aliasing must be True or False, got 1"),
    ({"mode": "wrap"}, ValueError, "mode must be one of 'edge', 'symmetric', 'reflect', got 'wrap'"),
    ({"preserve_range": None}, TypeError, "preserve_range must be True or False, got None"),
    ({"channel_axis": 2}, ValueError, "channel_axis must be None or between -2 and 1 for 2 dimensions, got 2"),
    ({"channel_axis": 0}, ValueError, "image must have 2 axes other than channel_axis"),
    ({"axes": (0, 0)}, ValueError, r"axes must be two different axes other than channel_axis, got \(0, 0\)"),
    ({"axes": 1}, ValueError, r"axes must be two axes \(rows, columns\), got 1"),
    ({"axes": (0, 2)}, ValueError, "axes must be .* between -2 and 1 for 2 dimensions, got 2"),
    ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ({"out": np.zeros((5, 5), np.float32)}, ValueError, r"out must have shape \(5, 6\), got \(5, 5\)"),
    ({"out": np.zeros((5, 6))}, TypeError, "out must have dtype float32, got float64"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments, error, message):
    arguments = {"output_shape": (5, 6)} | arguments
    with pytest.raises(error, match=message):
        transform.resize(np.zeros((8, 9), np.float32), **arguments)


def test_bad_images():
    with pytest.raises(ValueError, match=r"image must not be empty, got shape \(0, 4\)"):
        transform.resize(np.zeros((0, 4)), (2, 2))
    with pytest.raises(ValueError, match="image must have 2 or .* dimensions, got 1"):
        transform.resize(np.zeros(4), (2, 2))
    with pytest.raises(TypeError, match="image must have one of the dtypes uint8, .*, got bool"):
        transform.resize(np.zeros((4, 4), bool), (2, 2))
    with pytest.raises(ValueError, match="output_shape must be 3 along axis 2, which is not resized, got 4"):
        transform.resize(np.zeros((4, 4, 3)), (2, 2, 4))
    image = np.zeros((8, 8), np.float32)
    with pytest.raises(ValueError, match="out must not overlap image"):
        transform.resize(image, (4, 4), out=image[:4, :4])


def test_results_beyond_all_memory():
    for size in ((10**30, 3), (2**40, 2**40)):
        with pytest.raises(MemoryError, match=r"no room for a result of shape .* and dtype float32"):
            transform.resize(np.zeros((8, 9), np.float32), size)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "size"), [(12, 24), (12, 18), (4, 34), (30, 7)])
def test_nan_reaches_twice_the_radius_at_most(target, kernel, n, size):
    radius = {"nearest": 0.5, "bilinear": 1, "lanczos": 3, "lanczos3": 3}.get(kernel, 2) * max(1, n / size)
    position = (np.arange(size) + 0.5) * n / size - 0.5
    for place in range(n):
        line = np.ones((1, n), np.float32)
        line[0, place] = np.nan
        spoilt = np.isnan(transform.resize(line, (1, size), kernel=kernel, anti_aliasing=True))[0]
        distance = np.abs(position - place)
        assert not spoilt[distance > 2 * radius].any()
        assert spoilt[distance < 0.45 * radius].all()


def test_bad_scales():
    image = np.zeros((8, 9), np.float32)
    with pytest.raises(ValueError, match="scale must be at least 0.0001, got 0"):
        transform.rescale(image, 0)
    with pytest.raises(ValueError, match="scale must be at least 0.0001, got 1e-300"):
        transform.rescale(image, 1e-300)
    with pytest.raises(ValueError, match="scale must be at most 10000, got 1e\\+308"):
        transform.rescale(image, 1e308)
    with pytest.raises(ValueError, match="scale must be finite, got nan"):
        transform.rescale(image, (1, np.nan))
    with pytest.raises(ValueError, match=r"scale must be a number or two \(rows, columns\), got 3"):
        transform.rescale(image, (1, 2, 3))
    with pytest.raises(TypeError, match="scale must be a number, got 'x'"):
        transform.rescale(image, "x")
    with pytest.raises(ValueError, match="image has 3 dimensions: channel_axis or axes must say which"):
        transform.rescale(np.zeros((8, 9, 3)), 0.5)
