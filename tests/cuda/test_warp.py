"""Warping on a device, against the NumPy reference and the CPU."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference import warp as reference
from tolerances import assert_close

from fastimg import transform

backend = import_module("fastimg.backends.cuda.warp")  # the package has the function under this name

MODES = ["constant", "edge", "symmetric", "reflect", "wrap"]
DTYPES = ["uint8", "uint16", "float16", "float32"]
TURN = transform.AffineTransform(rotation=0.3, scale=(1.1, 0.8), shear=0.1, translation=(3.3, -9.6)).params
TILT = np.array([[1.1, 0.2, -3.7], [-0.1, 0.9, 4.4], [2e-3, -1e-3, 1.02]])
CASES = [  # shape, dtype, orders: every way of loading taps, and of writing tiles
    ((1, 1), "uint8", (0, 1, 3)),
    ((61, 67), "uint8", (0, 1, 3)),
    ((40, 64), "uint16", (1, 3)),
    ((61, 96), "float32", (0, 1, 3)),
    ((40, 50, 3), "uint8", (0, 1, 3)),
    ((40, 64, 3), "uint16", (0, 1)),
    ((40, 50, 3), "float16", (1, 3)),
    ((40, 50, 3), "float32", (0, 1, 3)),
    ((40, 50, 4), "uint8", (0, 1)),
    ((40, 50, 4), "float16", (1,)),
    ((40, 64, 4), "float32", (3,)),
    ((33, 37, 5), "float32", (0, 1, 3)),
]


def on_device(device, image, inverse_map, *arguments, **options) -> np.ndarray:
    return device.numpy(transform.warp(device.array(image), inverse_map, *arguments, **options))


def top(dtype: str) -> int:
    """What stands for 1."""
    return int(np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else 1


def expected(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], *options: object) -> np.ndarray:
    return reference.warp(image, reference.places(matrix, shape), *options)


@pytest.mark.parametrize(("shape", "dtype", "orders"), CASES)
def test_agrees_with_reference(device, rng, shape, dtype, orders):
    image = random_image(rng, shape, dtype)
    for order in orders:
        for matrix in (TURN, TILT) if dtype in ("uint8", "float32") and order else (TURN,):
            result = on_device(device, image, matrix, order=order, output_shape=(45, 139), preserve_range=True)
            assert result.dtype == dtype
            assert_close(result, expected(image, matrix, (45, 139), order))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_become_floats(device, rng, dtype):
    image = random_image(rng, (40, 50, 3), dtype)
    for order in (1, 3):
        result = on_device(device, image, TURN, order=order, cval=0.25)
        assert result.dtype == np.float32
        assert_close(result, expected(image / top(dtype), TURN, (40, 50), order, "constant", 0.25))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_borders(device, rng, mode, order):
    far = transform.AffineTransform(rotation=2, scale=9, translation=(-91.2, 77.7)).params
    for shape in ((13, 17), (1, 17, 3), (2, 3), (1, 1)):
        image = 0.2 + 0.5 * rng.random(shape, dtype=np.float32)
        for matrix in (TURN, far):
            for clip in (True, False):
                result = on_device(device, image, matrix, None, (40, 50), order, mode, 0.9, clip)
                assert_close(result, expected(image, matrix, (40, 50), order, mode, 0.9, clip))


LANCZOS = [((1, 1), "uint8"), ((61, 67), "uint8"), ((61, 96), "float32"), ((40, 64, 3), "uint16")]
LANCZOS += [((40, 50, channels), dtype) for channels in (3, 4, 5) for dtype in ("uint8", "float16", "float32")]


@pytest.mark.parametrize(("shape", "dtype"), LANCZOS)
def test_lanczos(device, rng, shape, dtype):
    """Its weights add up to 1, whatever the fraction, and the identity copies."""
    image = random_image(rng, shape, dtype)
    options = {"kernel": "lanczos", "preserve_range": True, "output_shape": (45, 139)}
    for matrix in (TURN, TILT):
        result = on_device(device, image, matrix, **options)
        assert result.dtype == dtype
        assert_close(result, expected(image, matrix, (45, 139), "lanczos"))
    for mode in MODES:
        clip = dtype in ("uint8", "uint16")  # which hold no less than 0
        result = on_device(device, image, TURN, mode=mode, cval=0.75, clip=clip, **options)
        assert_close(result, expected(image, TURN, (45, 139), "lanczos", mode, 0.75, clip))
    alike = np.full(shape, 0.3 if dtype != "uint8" else 77, dtype)
    found = on_device(device, alike, TURN, mode="wrap", **options)
    assert_close(found, np.full(found.shape, float(alike.flat[0])))
    np.testing.assert_array_equal(on_device(device, image, np.eye(3), kernel="lanczos", preserve_range=True), image)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_coordinates(device, rng, layout, dtype):
    image = random_image(rng, (23, 31, 3), dtype)
    coordinates = (rng.random((2, 37, 150)) * 40 - 5).astype(np.float32)
    coordinates[:, :3] = np.rint(2 * coordinates[:, :3]) / 2  # halves
    table = device.array(LAYOUTS[layout](coordinates))
    for order in (0, 1, 3):
        options = {"order": order, "mode": "symmetric", "preserve_range": True}
        result = on_device(device, LAYOUTS[layout](image), table, **options)
        assert_close(result, reference.warp(image, coordinates, order, "symmetric"))
        if order == 0:
            np.testing.assert_array_equal(result, transform.warp(image, coordinates, **options))
    options = {"kernel": "lanczos", "mode": "symmetric", "preserve_range": True}
    result = on_device(device, LAYOUTS[layout](image), table, **options)
    assert_close(result, reference.warp(image, coordinates, "lanczos", "symmetric"))


NEAREST = [
    TURN,
    TILT,
    np.diag([1 / 6, 1 / 7, 1]),  # halves that double rounds either way
    transform.AffineTransform(translation=(0.5, -1.5)).params,
    transform.AffineTransform(rotation=math.radians(90), translation=(40.5, -0.5)).params,
    transform.AffineTransform(scale=1 / 3, translation=(-1 / 3, 0.5 + 2**-52)).params,
]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("matrix", NEAREST, ids=range(len(NEAREST)))
def test_nearest_pixels_are_the_cpus(device, rng, dtype, matrix):
    image = random_image(rng, (61, 83, 3), dtype)
    options = {"order": 0, "mode": "reflect", "preserve_range": True, "output_shape": (120, 130)}
    np.testing.assert_array_equal(on_device(device, image, matrix, **options), transform.warp(image, matrix, **options))


def test_wide_images(device, rng):
    """16,384 pixels wide, turned, stretched and tilted: as exact as near the origin."""
    image = rng.random((8, 16384), dtype=np.float32)
    for matrix in (
        transform.AffineTransform(rotation=2e-4, scale=(0.9999, 1), translation=(1.3, 0.2)).params,
        transform.AffineTransform(scale=(1e-3, 1), translation=(16370.1, 0)).params,
        np.array([[1, 0, 0.3], [0, 1, 0.4], [1e-9, 1e-8, 1]]),
    ):
        for order in (0, 1, 3):
            result = on_device(device, image, matrix, order=order, mode="edge")
            assert_close(result, transform.warp(image, matrix, order=order, mode="edge"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_layout(device, rng, layout, dtype):
    image = random_image(rng, (45, 38, 3), dtype)
    for order in (1, 3):
        options = {"order": order, "mode": "reflect", "preserve_range": True, "output_shape": (50, 133)}
        plain = on_device(device, image, TURN, **options)
        assert_close(on_device(device, LAYOUTS[layout](image), TURN, **options), plain)
        out = device.array(LAYOUTS[layout](np.zeros_like(plain)))
        assert transform.warp(device.array(image), TURN, **options, out=out) is out
        assert_close(device.numpy(out), plain)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_channels_are_independent(device, rng, channels, dtype):
    image = random_image(rng, (9, 43, channels), dtype)
    result = on_device(device, image, TURN, mode="edge", preserve_range=True)
    planes = np.moveaxis(image, -1, 0).copy()
    by_planes = on_device(device, planes, TURN, mode="edge", preserve_range=True, channel_axis=0)
    assert_close(np.moveaxis(by_planes, 0, -1), result)


@pytest.mark.parametrize("count", [3, 70])
def test_batch(device, rng, count):
    images = random_image(rng, (count, 10, 15, 3), "uint8")
    maps = [transform.AffineTransform(rotation=0.1 * n, translation=(n % 5, 0)) for n in range(count)]
    result = on_device(device, images, maps)
    for n in (0, 1, count // 2, count - 1):
        np.testing.assert_array_equal(result[n], on_device(device, images[n], maps[n]))
    planes = on_device(device, np.moveaxis(images, -1, 1), maps, output_shape=(9, 8), channel_axis=1)
    assert planes.shape == (count, 3, 9, 8)
    alone = on_device(device, images[-1, ..., 2].copy(), maps[-1], output_shape=(9, 8))
    assert_close(planes[-1, 2], alone)
    inside = np.moveaxis(np.moveaxis(images, 0, -1).copy(), -1, 0)  # images side by side in memory
    assert_close(on_device(device, inside, maps), result)


def test_batch_of_maps_of_several_kinds(device, rng):
    images = rng.random((3, 20, 30), dtype=np.float32)
    maps = [TURN, TILT, transform.AffineTransform(translation=(1e12, 0))]
    for order in (0, 1):
        result = on_device(device, images, maps, order=order)
        assert_close(result, transform.warp(images, maps, order=order))


def test_exact_properties(device, rng):
    """The identity copies, whatever stands beside; whole shifts and quarter turns only move."""
    for dtype in DTYPES:
        image = random_image(rng, (30, 41, 3), dtype)
        for order in (0, 1, 3):
            np.testing.assert_array_equal(on_device(device, image, np.eye(3), order=order, preserve_range=True), image)
        cval = np.nan if image.dtype.kind == "f" else 7
        shift = transform.AffineTransform(translation=(2, 1))
        moved = on_device(device, image, shift, cval=cval, preserve_range=True)
        np.testing.assert_array_equal(moved[:-1, :-2], image[1:, 2:])
        np.testing.assert_array_equal(moved[-1], cval)
    square = random_image(rng, (33, 33), "uint8")
    turned = device.numpy(transform.rotate(device.array(square), 90, preserve_range=True))
    np.testing.assert_array_equal(turned, np.rot90(square))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_what_is_beside_is_cval_exactly(device, rng, dtype):
    image = random_image(rng, (20, 200, 3), dtype)
    matrix = transform.AffineTransform(rotation=0.5, translation=(60, -30)).params
    rows, columns = reference.places(matrix, (20, 200))
    near = (rows > -2.5) & (rows < 21.5) & (columns > -2.5) & (columns < 201.5)
    for order in (0, 1, 3):
        result = on_device(device, image, matrix, order=order, cval=0.1)
        assert (result[~near] == result.dtype.type(0.1)).all()


def test_coordinates_that_are_not_finite_or_far(device):
    image = np.arange(1.0, 13, dtype=np.float32).reshape(3, 4)
    rows = np.array([[np.nan, 1, np.inf, 1, 1e30, -1e30, 1, 2.0**40]], np.float32)
    columns = np.array([[1, np.nan, 1, -np.inf, 1, 1, 1e30, 0]], np.float32)
    places = np.stack([rows, columns])
    for mode in MODES:
        for order in (0, 1, 3):
            result = on_device(device, image, device.array(places), None, None, order, mode, -5.0)
            assert_close(result, reference.warp(image, places, order, mode, -5.0), scale=12)
            np.testing.assert_array_equal(result[0, :4], -5)
    vanishing = np.array([[1, 0, 0], [0, 1, 0], [1, 0, -1.0]])  # the second column lies at infinity
    for order in (0, 1):
        assert on_device(device, image, vanishing, mode="edge", cval=-5, order=order)[:, 1].tolist() == [-5, -5, -5]
    np.testing.assert_array_equal(on_device(device, image, 1e200 * np.eye(3), mode="wrap"), image)
    assert (on_device(device, image, np.diag([1e9, 1e9, 1]), mode="constant", cval=3)[1:] == 3).all()
    far = np.array([[-1, 0, 0], [0, -1, 0], [1, 0, -1 + 1e-10]])  # the second column is 1e10 away
    for order in (0, 1):
        result = on_device(device, image, far, mode="edge", order=order)
        assert_close(result, transform.warp(image, far, mode="edge", order=order), scale=12)
    huge = np.array([[1e300, 1e300, 0], [0, 1, 0], [1e-9, 0, 1]])
    assert_close(on_device(device, image, huge, mode="edge"), transform.warp(image, huge, mode="edge"), scale=12)


def test_nan(device):
    """It spoils what it has a share in, and no more; the range that cubic samples are clipped to passes it over."""
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = np.nan
    distance = np.abs(np.arange(80) / 2 - 20)
    half = np.diag([0.5, 0.5, 1])
    for order, spoilt, clean in ((0, distance < 0.5, distance > 0.5), (1, distance < 1, distance >= 1)):
        bad = np.isnan(on_device(device, image, half, order=order, output_shape=(80, 80)))
        assert bad[np.ix_(spoilt, spoilt)].all()
        assert not bad[clean].any()
        assert not bad[:, clean].any()
    bad = np.isnan(on_device(device, image, half, order=3, output_shape=(80, 80)))
    assert bad[np.ix_(distance < 2, distance < 2)].all()
    assert not bad[distance > 2].any()
    assert np.isnan(on_device(device, np.full((5, 5), np.nan, np.float32), half, order=3)).all()
    image[3, 4], image[30, 31] = -1, 2
    sharp = transform.AffineTransform(scale=0.3, translation=(1.1, 1.1)).params
    np.testing.assert_allclose(
        on_device(device, image, sharp, order=3), transform.warp(image, sharp, order=3), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipped_to_the_range_of_the_image(device, rng, dtype):
    """Whatever its layout: side by side, with a rest that fills no piece of 16 bytes, in rows apart."""
    image = random_image(rng, (37, 43, 3), dtype) // 3 if top(dtype) > 1 else random_image(rng, (37, 43, 3), dtype)
    for view in (image, image[1:, 2:], image[::2], image[:1, :1]):
        result = on_device(device, view, TURN, order=3, mode="edge", preserve_range=True)
        assert result.min() >= view.min()
        assert result.max() <= view.max()
        assert_close(result, transform.warp(view, TURN, order=3, mode="edge", preserve_range=True))


def test_rotate(device, rng):
    image = random_image(rng, (30, 41, 3), "uint8")
    for resize in (False, True):
        options = {"resize": resize, "mode": "symmetric", "preserve_range": True}
        result = device.numpy(transform.rotate(device.array(image), 17, **options))
        assert_close(result, transform.rotate(image, 17, **options))


def test_batches_by_torchvisions_parameters(device, rng):
    images = random_image(rng, (2, 30, 41, 3), "uint8")
    corners = np.array([(0, 0), (40, 0), (40, 29), (0, 29)])
    for function, arguments in (
        (transform.affine, ([10, -35], (2, 3), [1, 0.8])),
        (transform.perspective, (corners, np.stack([corners + 3, corners[[1, 2, 3, 0]]]))),
    ):
        options = {"mode": "edge", "preserve_range": True}
        result = device.numpy(function(device.array(images), *arguments, **options))
        assert_close(result, function(images, *arguments, **options))


def test_parts_and_mirror_images(device, rng):
    image = rng.random((9, 11, 3), dtype=np.float32)
    for copy in (False, True):
        np.testing.assert_array_equal(device.numpy(transform.crop(device.array(image), 2, copy)), image[2:-2, 2:-2])
    for axis in (None, 0, 1):
        result = device.numpy(transform.flip(device.array(image), axis))
        np.testing.assert_array_equal(result, np.flip(image, (0, 1) if axis is None else axis))


def test_callables_are_called_on_the_cpu(device, rng):
    image = rng.random((20, 30), dtype=np.float32)

    def swirl(points: np.ndarray, strength: float) -> np.ndarray:
        assert isinstance(points, np.ndarray)
        return points + strength * np.sin(points[:, ::-1] / 5)

    result = on_device(device, image, swirl, {"strength": 2.0})
    assert_close(
        result, transform.warp(image, swirl, {"strength": 2.0}), factor=2
    )  # coordinates are rounded to float32


def test_bad_maps(device):
    image = device.array(np.zeros((8, 9), np.float32))
    with pytest.raises(TypeError, match="inverse_map must have one of the dtypes float32 on a GPU, got float64"):
        transform.warp(image, device.array(np.zeros((2, 4, 4))))
    with pytest.raises(ValueError, match="inverse_map must be on the device of image, cuda:0, got the CPU"):
        transform.warp(image, np.zeros((2, 4, 4), np.float32))
    with pytest.raises(ValueError, match="inverse_map must not be empty"):
        transform.warp(image, device.array(np.zeros((2, 0, 4), np.float32)))
    with pytest.raises(ValueError, match=r"inverse_map must have shape \(2, 8, 8\) for the output_shape"):
        transform.warp(image, device.array(np.zeros((2, 4, 4), np.float32)), output_shape=(8, 8))
    with pytest.raises(TypeError, match=r"image must have one of the dtypes uint8, .* on a GPU, got float64"):
        transform.warp(device.array(np.zeros((8, 9))), np.eye(3))
    table = device.array(np.zeros((2, 8, 8), np.float32))
    with pytest.raises(ValueError, match="out must not overlap inverse_map"):
        transform.warp(image, table, out=table[0])


def test_captured_in_a_graph(device, rng):
    """Matrices go with the launches, and the range of the image is found at every replay."""
    library = device.library
    images, maps = device.array(rng.random((3, 20, 30), dtype=np.float32)), [TURN, TILT, np.eye(3)]
    out = device.array(np.zeros((3, 20, 30), np.float32))
    expected = device.numpy(transform.warp(images, maps, order=3))
    library.cuda.Device().synchronize()
    with library.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        transform.warp(images, maps, order=3, out=out)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(out), expected)


@pytest.mark.parametrize(("order", "matrix"), [(0, TURN), (0, TILT), (1, TURN), (1, TILT), (3, TURN)])
def test_nothing_is_touched_that_should_not_be(device, rng, order, matrix):
    """Words reach beyond a pixel, but not beyond the image, which begins and ends at any byte."""
    with device.checking() as report:
        for shape, dtype, begins in (
            ((21, 71, 3), "uint8", range(4)),
            ((20, 71), "uint8", (0, 3)),
            ((17, 67, 3), "float16", (0, 1)),
        ):
            image = random_image(rng, (math.prod(shape) + 3,), dtype)
            for begin in begins:
                part = image[begin : begin + math.prod(shape)].reshape(shape)
                transform.warp(device.array(part), matrix, order=order, preserve_range=True)
                if order == 3:
                    transform.warp(device.array(part), matrix, kernel="lanczos", preserve_range=True)
        transform.warp(device.array(random_image(rng, (20, 64, 3), "float32")), matrix, order=order)
    assert report.problems == []


def test_tiles_are_read_and_written_whole(device, rng):
    """A small turn: lanes read what lies together, without bank conflicts, and write whole sectors."""
    turn = transform.AffineTransform(rotation=0.02, translation=(1.5, 1)).params
    for shape, dtype in (((64, 192, 3), "uint8"), ((64, 192), "uint8"), ((32, 128, 3), "float32")):
        image, out = (device.array(a) for a in (random_image(rng, shape, dtype), np.zeros(shape, dtype)))
        with device.checking() as report:
            transform.warp(image, turn, preserve_range=True, mode="edge", out=out)
        assert report.problems == []
        for access in report.accesses:
            if access.space == "shared":
                assert access.worst <= 2 * access.bytes, access  # 16 bytes take 4 passes at best
            elif access.kind == "write":
                assert access.passes == access.ideal, access
