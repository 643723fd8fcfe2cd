from __future__ import annotations

import ctypes
import math
import mmap
import sys

import numpy as np
import pytest
from conftest import random_image
from reference import warp as reference
from tolerances import assert_close

from fastimg import transform
from fastimg.transform.warping import warp_adjoint

MODES = ["constant", "edge", "symmetric", "reflect", "wrap"]
DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
TURN = transform.AffineTransform(rotation=0.3, scale=(1.1, 0.8), shear=0.1, translation=(3.3, -9.6)).params
TILT = np.array([[1.1, 0.2, -3.7], [-0.1, 0.9, 4.4], [2e-3, -1e-3, 1.02]])
KERNELS = {0: "nearest", 1: "bilinear", 3: "bicubic", "lanczos": "lanczos"}  # by their orders, and one that has none
SHAPES = [(1, 1), (1, 7), (31, 1, 3), (2, 3, 2), (61, 67), (40, 50, 3), (40, 50, 4), (19, 300, 3), (33, 37, 5)]


def top(dtype: str) -> int:
    """What stands for 1."""
    return int(np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else 1


def by(order: int | str) -> dict[str, object]:
    """The arguments that choose an interpolation."""
    return {"kernel": order} if isinstance(order, str) else {"order": order}


def expected(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], *options: object) -> np.ndarray:
    return reference.warp(image, reference.places(matrix, shape), *options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", KERNELS)
def test_agrees_with_reference(target, rng, shape, dtype, order):
    image = random_image(rng, shape, dtype)
    for matrix in (TURN, TILT, np.linalg.inv(TURN)):
        result = transform.warp(image, matrix, **by(order))
        assert result.dtype == (np.float32 if image.dtype.kind == "u" else dtype)
        assert_close(result, expected(image / top(dtype), matrix, shape[:2], order))
        result = transform.warp(image, matrix, **by(order), output_shape=(45, 139), preserve_range=True)
        assert result.dtype == dtype
        assert_close(result, expected(image, matrix, (45, 139), order))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", KERNELS)
@pytest.mark.parametrize("clip", [True, False])
def test_borders(target, rng, mode, order, clip):
    far = transform.AffineTransform(rotation=2, scale=9, translation=(-91.2, 77.7)).params
    for shape in ((13, 17), (1, 17, 3), (2, 3), (1, 1)):
        image = 0.2 + 0.5 * rng.random(shape, dtype=np.float32)
        for matrix in (TURN, far):
            options = {"mode": mode, "cval": 0.9, "clip": clip}
            result = transform.warp(image, matrix, output_shape=(40, 50), **by(order), **options)
            assert_close(result, expected(image, matrix, (40, 50), order, mode, 0.9, clip))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("of_coordinates", ["float32", "float64", "float16", "int32"])
def test_coordinates(target, rng, layout, dtype, of_coordinates):
    image = random_image(rng, (23, 31, 3), dtype)
    coordinates = (rng.random((2, 37, 150)) * 40 - 5).astype(of_coordinates)
    for order in KERNELS:
        result = transform.warp(layout(image), layout(coordinates), **by(order), mode="symmetric", preserve_range=True)
        assert_close(result, reference.warp(image, coordinates, order, "symmetric"))


def test_coordinates_and_matrices_agree(target, rng):
    image = rng.random((61, 83, 3), dtype=np.float32)
    for matrix in (TURN, TILT):
        for order in KERNELS:
            by_matrix = transform.warp(image, matrix, **by(order))
            table = reference.places(matrix, (61, 83))
            np.testing.assert_array_equal(by_matrix, transform.warp(image, table, **by(order)))
            points = transform.warp(
                image, lambda xy, m: transform.ProjectiveTransform(m)(xy), {"m": matrix}, **by(order)
            )
            assert (np.abs(points - by_matrix) > 1e-5).mean() < 1e-3  # the nearest may be another


@pytest.mark.parametrize("order", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(target, layout, rng, dtype, order):
    image = random_image(rng, (45, 38, 3), dtype)
    options = {**by(order), "mode": "reflect", "preserve_range": True, "output_shape": (50, 133)}
    plain = transform.warp(image, TURN, **options)
    np.testing.assert_array_equal(transform.warp(layout(image), TURN, **options), plain)
    out = layout(np.zeros_like(plain))
    assert transform.warp(image, TURN, **options, out=out) is out
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 70, 1100])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_channels_are_independent(target, rng, channels, dtype):
    image = random_image(rng, (9, 23, channels), dtype)
    for order in (0, 1, 3):
        result = transform.warp(image, TURN, order=order, mode="edge", preserve_range=True)
        planes = transform.warp(np.moveaxis(image, -1, 0), TURN, order=order, mode="edge", channel_axis=0, clip=False)
        assert planes.shape == (channels, 9, 23)
        for c in {0, channels // 2, channels - 1}:
            alone = transform.warp(image[..., c], TURN, order=order, mode="edge", preserve_range=True)
            if order < 3:  # which is clipped to the range of all
                np.testing.assert_array_equal(result[..., c], alone)
            single = transform.warp(image[..., c].copy(), TURN, order=order, mode="edge", clip=False)
            np.testing.assert_array_equal(planes[c], single)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(211, 233, 3), (211, 233)])
def test_threads_do_not_change_the_result(target, rng, dtype, shape):
    image = random_image(rng, shape, dtype)
    for order in KERNELS:
        first, *others = (transform.warp(image, TURN, **by(order), threads=n) for n in (1, 2, 3, 8))
        for other in others:
            np.testing.assert_array_equal(first, other)


@pytest.fixture
def fenced():
    """A function that copies an image to between two pages that nobody may read."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs mprotect")
    page, libc, maps = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True), []

    def protect(address: int, flags: int) -> None:
        assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), flags) == 0

    def fence(image: np.ndarray, at_end: bool) -> np.ndarray:
        size = -(-image.nbytes // page) * page
        memory = mmap.mmap(-1, size + 2 * page)
        begin = page + (size - image.nbytes if at_end else 0)
        copy = np.frombuffer(memory, image.dtype, image.size, begin).reshape(image.shape)
        copy[...] = image
        address = copy.ctypes.data - begin
        for fence in (address, address + size + page):
            protect(fence, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0)
            maps.append((memory, fence))
        return copy

    yield fence
    for _, address in maps:
        protect(address, mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_nothing_beside_the_image(target, rng, fenced, channels, dtype):
    """Gathers of 64 bits reach beyond a pixel, but not beyond the image."""
    for shape in ((9, 21, channels), (1, 40, channels), (30, 1, channels)):
        image = random_image(rng, shape, dtype)
        for at_end in (False, True):
            copy = fenced(image, at_end)
            for order in KERNELS:
                for matrix in (np.eye(3), TURN, transform.AffineTransform(translation=(-0.4, -0.6)).params):
                    options = {**by(order), "preserve_range": True}
                    for flip in (np.s_[:], np.s_[::-1], np.s_[:, ::-1]):
                        np.testing.assert_array_equal(
                            transform.warp(copy[flip], matrix, **options),
                            transform.warp(image[flip], matrix, **options),
                        )


def test_offsets_beyond_32_bits(target):
    """An image of 2.5 GiB, of which almost nothing is ever touched."""
    image = np.zeros((5, 2**29), np.uint8)
    image[4, -4:] = [10, 20, 30, 40]
    corner = transform.AffineTransform(translation=(2**29 - 4.5, 4)).params
    result = transform.warp(image, corner, output_shape=(1, 5), preserve_range=True, mode="edge")
    assert result.tolist() == [[5, 15, 25, 35, 40]]
    wide = np.broadcast_to(image[4], (9, 2**29))
    np.testing.assert_array_equal(
        transform.warp(wide, corner, output_shape=(1, 5), preserve_range=True, mode="edge"), result
    )


def test_broadcast_images(target):
    image = np.broadcast_to(np.float32([[1], [2]]), (2, 9))
    np.testing.assert_array_equal(transform.warp(image, np.eye(3)), image)
    image = np.broadcast_to(np.uint8(7), (3, 4, 3))
    np.testing.assert_array_equal(transform.warp(image, np.eye(3), preserve_range=True), image)


@pytest.mark.parametrize("shape", [(1, 7), (5, 1), (31, 67)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_adjoint(target, rng, shape, dtype, mode):
    """The transposed map: <warp(x), g> = <x, warp_adjoint(g)> for each image x of one pixel."""
    size, far = (9, 140), transform.AffineTransform(rotation=2, scale=9, translation=(-91.2, 77.7)).params
    pixels = rng.choice(math.prod(shape), min(math.prod(shape), 9), replace=False)
    images = np.zeros((len(pixels), *shape))
    images.reshape(len(pixels), -1)[np.arange(len(pixels)), pixels] = 1
    gradient = random_image(rng, (2, 3, *size), dtype)
    table = reference.places(TILT, size)
    table[:, 0, :3] = np.nan, np.inf, -1e300
    for order in (0, 1, 3):
        for maps in ([TURN, far], table):
            first, *others = (warp_adjoint(gradient, maps, shape, order, mode, threads=n) for n in (1, 2, 5))
            assert first.shape == (2, 3, *shape)
            assert first.dtype == dtype
            strided = np.repeat(gradient, 2, axis=3)[..., ::2]
            for other in (*others, warp_adjoint(strided, maps, shape, order, mode)):
                np.testing.assert_array_equal(first, other)
            for i in range(2):
                places = table if maps is table else reference.places(maps[i], size)
                seen = np.stack([reference.warp(image, places, order, mode, clip=False) for image in images])
                expected = np.einsum("pyx,cyx->cp", seen, gradient[i].astype(float))
                scale = max(np.einsum("pyx->p", abs(seen)).max(), 1)
                assert_close(first[i].reshape(3, -1)[:, pixels], expected, scale=scale)


def test_adjoint_of_large_images(target, rng):
    """Several bands, tiles and lines that are skipped; some of the pixels against the tap-wise sum."""
    gradient = rng.random((1, 1, 300, 500))
    for maps in ([TURN], [TILT], reference.places(TURN, (300, 500))):
        result = warp_adjoint(gradient, maps, (400, 350), 1, "reflect", threads=2)
        image = rng.random((400, 350))
        places = maps if not isinstance(maps, list) else reference.places(maps[0], (300, 500))
        expected = (reference.warp(image, places, 1, "reflect") * gradient).sum()
        assert (result * image).sum() == pytest.approx(expected, rel=1e-12)


def test_batch(target, rng):
    images = random_image(rng, (3, 20, 30, 3), "uint8")
    maps = [TURN, transform.AffineTransform(rotation=1), TILT.tolist()]
    result = transform.warp(images, maps)
    assert result.shape == images.shape
    for n in range(3):
        np.testing.assert_array_equal(result[n], transform.warp(images[n], maps[n]))
    planes = transform.warp(np.moveaxis(images, -1, 1), maps, output_shape=(9, 8), channel_axis=1)
    assert planes.shape == (3, 3, 9, 8)
    np.testing.assert_array_equal(planes[1, 2], transform.warp(images[1][..., 2], maps[1], output_shape=(9, 8)))
    inside = np.moveaxis(np.moveaxis(images, 0, -1).copy(), -1, 0)  # images side by side in memory
    np.testing.assert_array_equal(transform.warp(inside, maps), result)


def test_exact_properties(target, rng):
    """The identity copies, whatever stands beside; whole shifts and quarter turns only move."""
    for dtype in DTYPES:
        for shape in ((30, 41), (30, 41, 3)):
            image = random_image(rng, shape, dtype)
            for order in KERNELS:
                same = transform.warp(image, np.eye(3), **by(order), preserve_range=True)
                np.testing.assert_array_equal(same, image)
            cval = np.nan if image.dtype.kind == "f" else 7
            moved = transform.warp(image, transform.AffineTransform(translation=(2, 1)), cval=cval, preserve_range=True)
            np.testing.assert_array_equal(moved[:-1, :-2], image[1:, 2:])
            np.testing.assert_array_equal(moved[-1], cval)
    square = random_image(rng, (33, 33), "uint8")
    np.testing.assert_array_equal(transform.rotate(square, 90, preserve_range=True), np.rot90(square))
    np.testing.assert_allclose(transform.warp(np.full((9, 9), 0.3), TURN, order=3, mode="wrap"), 0.3, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_beside_is_cval_exactly(target, rng, dtype):
    image = random_image(rng, (20, 200, 3), dtype)
    matrix = transform.AffineTransform(rotation=0.5, translation=(60, -30)).params
    outside = np.broadcast_to(~inside(matrix, (20, 200))[..., None], image.shape)
    for order in (0, 1, 3):
        result = transform.warp(image, matrix, order=order, cval=0.1)
        assert (result[outside] == result.dtype.type(0.1)).all()


def inside(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Whether the border has no part in a pixel, or is less than two pixels away."""
    rows, columns = reference.places(matrix, shape)
    return (rows > -2.5) & (rows < shape[0] + 1.5) & (columns > -2.5) & (columns < shape[1] + 1.5)


def test_coordinates_that_are_not_finite_or_far(target):
    image = np.arange(1.0, 13, dtype=np.float32).reshape(3, 4)
    rows = np.array([[np.nan, 1, np.inf, 1, 1e300, -1e300, 1, 2.0**40]], np.float64)
    columns = np.array([[1, np.nan, 1, -np.inf, 1, 1, 1e30, 0]], np.float64)
    for mode in MODES:
        for order in (0, 1, 3):
            result = transform.warp(image, np.stack([rows, columns]), None, None, order, mode, -5.0)
            assert_close(result, reference.warp(image, np.stack([rows, columns]), order, mode, -5.0), scale=12)
            np.testing.assert_array_equal(result[0, :4], -5)
    vanishing = np.array([[1, 0, 0], [0, 1, 0], [1, 0, -1.0]])  # the second column lies at infinity
    assert transform.warp(image, vanishing, mode="edge", cval=-5)[:, 1].tolist() == [-5, -5, -5]
    assert np.isfinite(transform.warp(image, 1e200 * np.eye(3), mode="wrap")).all()
    assert (transform.warp(image, np.diag([1e9, 1e9, 1]), mode="constant", cval=3)[1:] == 3).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_far_coordinates_leave_their_neighbours(target, rng, channels):
    """Places of a line are found in another way where one of them is far, and are the same."""
    image = rng.random((40, 50, channels), dtype=np.float32)
    coordinates = rng.random((2, 9, 150)) * 60 - 10
    for order in KERNELS:
        for mode in ("constant", "edge"):
            near = transform.warp(image, coordinates, **by(order), mode=mode)
            for far in (2.0**27, -(2.0**28), np.nan):
                disturbed = coordinates.copy()
                disturbed[:, :, 77] = far
                result = transform.warp(image, disturbed, **by(order), mode=mode)
                np.testing.assert_array_equal(np.delete(result, 77, axis=1), np.delete(near, 77, axis=1))


def test_places_beside_a_pixel_by_less_than_floats_tell_are_on_it(target):
    image = np.full((3, 5), np.nan, np.float32)
    image[1, 2] = 7
    for columns in (2 - 1e-8, 2.0, 2 + 1e-8):
        assert transform.warp(image, np.array([[[1.0]], [[columns]]])).item() == 7


def test_nan(target):
    """It spoils what it has a share in, and no more."""
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = np.nan
    distance = np.abs(np.arange(80) / 2 - 20)
    for order, spoilt, clean in ((0, distance < 0.5, distance > 0.5), (1, distance < 1, distance >= 1)):
        bad = np.isnan(transform.warp(image, np.diag([0.5, 0.5, 1]), order=order, output_shape=(80, 80)))
        assert bad[np.ix_(spoilt, spoilt)].all()
        assert not bad[clean].any()
        assert not bad[:, clean].any()
    bad = np.isnan(transform.warp(image, np.diag([0.5, 0.5, 1]), order=3, output_shape=(80, 80)))
    assert bad[np.ix_(distance < 2, distance < 2)].all()
    assert not bad[distance > 2].any()
    assert not bad[:, distance > 2].any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("shape", [(60, 71), (41, 30, 3)])
def test_scikit_image_by_matrix(rng, shape, order, mode):
    skimage = pytest.importorskip("skimage.transform")
    image = rng.random(shape)
    for matrix in (TURN, TILT):
        for output_shape in (None, (70, 90)):
            options = {"output_shape": output_shape, "order": order, "mode": mode, "cval": 0.25}
            result = transform.warp(image, matrix, **options)
            wrong = np.abs(result - skimage.warp(image, matrix, **options)) > 1e-10
            assert wrong.mean() <= (0 if order else 1e-3)  # it rounds halves that its coordinates may miss
    theirs = skimage.AffineTransform(rotation=0.1, translation=(1, 2))
    np.testing.assert_allclose(transform.warp(image, theirs), skimage.warp(image, theirs), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        transform.warp(image, theirs.inverse), skimage.warp(image, theirs.inverse), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_scikit_image_by_coordinates(rng, order, mode):
    skimage = pytest.importorskip("skimage.transform")
    image = rng.random((30, 40))
    coordinates = rng.random((2, 50, 60)) * 60 - 10
    options = {"order": order, "mode": mode, "cval": 0.25}
    np.testing.assert_allclose(
        transform.warp(image, coordinates, **options), skimage.warp(image, coordinates, **options), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_scikit_image_by_dtype(rng, dtype):
    skimage = pytest.importorskip("skimage.transform")
    image = random_image(rng, (60, 71, 3), dtype)
    result = transform.warp(image, TURN)
    np.testing.assert_allclose(result, skimage.warp(image, TURN), rtol=0, atol=1e-4 if dtype == "float32" else 1e-6)


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("angle", [0, 17, 90, -130.5])
@pytest.mark.parametrize("center", [None, (3, 11.5)])
def test_rotate_is_scikit_images(target, rng, resize, angle, center):
    skimage = pytest.importorskip("skimage.transform")
    for image in (rng.random((30, 41)), rng.random((30, 41, 3))):
        for order in (1, 3):
            options = {"resize": resize, "center": center, "order": order, "mode": "symmetric"}
            np.testing.assert_allclose(
                transform.rotate(image, angle, **options), skimage.rotate(image, angle, **options), rtol=0, atol=1e-9
            )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_opencv_agrees(target, rng, channels, dtype):
    """Its coordinates may have 5 fractional bits: a smooth image, and 1/64 of its slopes."""
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:90, :120]
    image = 127 + 100 * np.sin(x / 9)[..., None] * np.cos(y / 7 + np.arange(channels)[:, None, None]).T.swapaxes(0, 1)
    image = image.astype(dtype).squeeze()
    size = (130, 100)
    inverse = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    result = transform.warp(image, TURN, output_shape=size[::-1], preserve_range=True, mode="edge")
    other = cv2.warpAffine(image, TURN[:2], size, flags=inverse, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(result.astype(float) - other.astype(float)).max() <= 2
    rows, columns = reference.places(TURN, size[::-1]).astype(np.float32)
    other = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    result = transform.warp(image, np.stack([rows, columns]), preserve_range=True, mode="edge")
    assert np.abs(result.astype(float) - other.astype(float)).max() <= 2


def test_lanczos(target, rng):
    """Kernels go by other names too; OpenCV's is of four lobes, and nearly the same where the image is smooth."""
    image = rng.random((40, 50, 3), dtype=np.float32)
    for order, kernel in KERNELS.items():
        np.testing.assert_array_equal(
            transform.warp(image, TURN, **by(order)), transform.warp(image, TURN, kernel=kernel)
        )
    lanczos = transform.rotate(image, 10, kernel="lanczos")
    np.testing.assert_array_equal(lanczos, transform.rotate(image, 10, kernel="lanczos3"))
    np.testing.assert_allclose(transform.warp(np.full((9, 9), 0.3), TURN, kernel="lanczos", mode="wrap"), 0.3)
    for t in (0, 1e-30, 1e-9, 0.5, 1 - 1e-9):  # where weights are divided by next to nothing
        move = transform.AffineTransform(translation=(t, t))
        for dtype in ("float32", "float64"):
            result = transform.warp(image.astype(dtype), move, kernel="lanczos")
            assert_close(result, expected(image, move.params, (40, 50), "lanczos"))
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:90, :120]
    smooth = (0.5 + 0.4 * np.sin(x / 5) * np.cos(y / 4)).astype(np.float32)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LANCZOS4
    other = cv2.warpAffine(smooth, TURN[:2], (120, 90), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(transform.warp(smooth, TURN, kernel="lanczos", mode="edge") - other).max() < 0.01


@pytest.mark.parametrize(("mode", "theirs"), [("constant", "zeros"), ("edge", "border")])
@pytest.mark.parametrize("order", [0, 1])
def test_torch_agrees(target, mode, theirs, order):
    torch = pytest.importorskip("torch")
    image = torch.rand(3, 40, 30)
    place = torch.rand(2, 20, 50) * 60 - 10
    grid = torch.stack([2 * place[1] / 29 - 1, 2 * place[0] / 39 - 1], -1)[None]
    other = torch.nn.functional.grid_sample(
        image[None], grid, mode="bilinear" if order else "nearest", padding_mode=theirs, align_corners=True
    )[0]
    result = transform.warp(image, place, order=order, mode=mode, channel_axis=0)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_allclose(result, other, rtol=0, atol=1e-4)


def test_transforms(rng):
    points = rng.random((5, 2))
    first = transform.AffineTransform(scale=(2, 3), rotation=0.4, shear=0.2, translation=(5, 6))
    second = transform.ProjectiveTransform(TILT)
    np.testing.assert_allclose((first + second)(points), second(first(points)), rtol=1e-12)
    np.testing.assert_allclose(first.inverse(first(points)), points, rtol=1e-12)
    np.testing.assert_allclose(second.inverse(second(points)), points, rtol=1e-10)
    assert type(first.inverse) is type(first + first) is transform.AffineTransform
    assert type(first + second) is transform.ProjectiveTransform
    assert first.params[2].tolist() == first.inverse.params[2].tolist() == [0, 0, 1]
    np.testing.assert_allclose([*first.scale, first.rotation, first.shear], [2, 3, 0.4, 0.2], rtol=1e-12)
    assert first.translation.tolist() == [5, 6]
    assert eval(f"transform.{second!r}").params.tolist() == second.params.tolist()
    np.testing.assert_array_equal(transform.ProjectiveTransform().params, np.eye(3))


@pytest.mark.parametrize("shear", [0.2, (0.2, -0.1)])
@pytest.mark.parametrize("scale", [3, (0.5, 2)])
def test_transforms_are_scikit_images(shear, scale):
    skimage = pytest.importorskip("skimage.transform")
    parts = {"scale": scale, "rotation": 0.7, "shear": shear, "translation": (5, -6)}
    ours, theirs = transform.AffineTransform(**parts), skimage.AffineTransform(**parts)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-12)
    np.testing.assert_allclose(ours.inverse.params, theirs.inverse.params, rtol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-12)
    np.testing.assert_allclose([ours.rotation, ours.shear], [theirs.rotation, theirs.shear], rtol=1e-12)
    np.testing.assert_allclose((ours + ours).params, (theirs + theirs).params, rtol=1e-12)


@pytest.mark.parametrize("pairs", [4, 5, 40])
def test_transforms_from_points(rng, pairs):
    skimage = pytest.importorskip("skimage", "0.26").transform
    src = 100 * rng.random((pairs, 2))
    for truth in (transform.ProjectiveTransform(TILT), transform.AffineTransform(TURN)):
        found = type(truth).from_estimate(src, truth(src))
        np.testing.assert_allclose(found.params, truth.params / truth.params[2, 2], rtol=1e-7, atol=1e-7)
        noisy = truth(src) + rng.normal(0, 0.1, src.shape)
        found = type(truth).from_estimate(src, noisy)
        assert type(found) is type(truth)
        theirs = getattr(skimage, type(truth).__name__).from_estimate(src, noisy)
        np.testing.assert_allclose(found.params, theirs.params, rtol=1e-9, atol=1e-9)
    exact = transform.AffineTransform.from_estimate([(0, 0), (1, 0), (0, 1)], [(1, 2), (3, 2), (1, 5)])
    np.testing.assert_allclose(exact.params, [[2, 0, 1], [0, 3, 2], [0, 0, 1]], atol=1e-12)


def test_points_that_determine_nothing():
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    line = [(0, 0), (1, 1), (2, 2), (3, 3)]
    for kind in (transform.AffineTransform, transform.ProjectiveTransform):
        for src in (line, [(1, 1)] * 4):
            with pytest.raises(ValueError, match="src and dst must determine the transform"):
                kind.from_estimate(src, square)
        with pytest.raises(ValueError, match=r"src must have shape \(N, 2\), N at least [34], got \(2, 2\)"):
            kind.from_estimate(square[:2], square[:2])
        with pytest.raises(ValueError, match="dst must have as many points as src, 5, got 4"):
            kind.from_estimate([*square, (5, 6)], square)
        with pytest.raises(ValueError, match="dst must be finite"):
            kind.from_estimate(square, [(np.nan, 0), *square[1:]])
        with pytest.raises(TypeError, match="src must be points, two numbers each"):
            kind.from_estimate("points", square)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_is_numpys(target, layout, rng, mode, dtype):
    values = {"constant_values": 7} if mode == "constant" else {}
    for shape in ((1, 1), (5, 4), (7, 3, 3)):
        image = layout(random_image(rng, shape, dtype))
        still = [(0, 0)] * (len(shape) - 2)
        for width in (0, 3, (2, 19), ((1, 0), (4, 40))):
            widths = np.broadcast_to(np.array(width), (2, 2)).tolist()
            result = transform.pad(image, width, mode, cval=7)
            assert result.dtype == image.dtype
            np.testing.assert_array_equal(result, np.pad(image, [*widths, *still], mode, **values))


def test_pad_arguments(rng):
    torch = pytest.importorskip("torch")
    image = rng.random((3, 5, 6), dtype=np.float32)
    planes = transform.pad(torch.from_numpy(image), ((1, 2), (3, 4)), "reflect", channel_axis=0)
    np.testing.assert_array_equal(planes, torch.nn.functional.pad(torch.from_numpy(image), (3, 4, 1, 2), "reflect"))
    for width, error, message in (
        (-1, ValueError, "pad_width must be at least 0, got -1"),
        (1.5, TypeError, "pad_width must be an integer, got 1.5"),
        ((1, 2, 3), ValueError, r"pad_width must be an integer, \(before, after\) or .*, got \(1, 2, 3\)"),
    ):
        with pytest.raises(error, match=message):
            transform.pad(image, width)
    with pytest.raises(ValueError, match="mode must be one of"):
        transform.pad(image, 1, "nearest")


READ_ONLY = np.zeros((8, 9), np.float32)
READ_ONLY.flags.writeable = False

BAD = [
    ({"inverse_map": np.eye(2)}, ValueError, r"inverse_map must have shape \(3, 3\), or .*, got \(2, 2\)"),
    ({"inverse_map": np.zeros((4, 3, 3))}, ValueError, r"several matrices make a list\), got \(4, 3, 3\)"),
    ({"inverse_map": np.zeros((2, 0, 3))}, ValueError, "inverse_map must not be empty"),
    ({"inverse_map": np.full((3, 3), np.nan)}, ValueError, "inverse_map must be finite"),
    ({"inverse_map": "abc"}, TypeError, "inverse_map must be a map or an array of numbers, got str"),
    ({"inverse_map": None}, TypeError, "inverse_map must be a map or an array of numbers, got NoneType"),
    ({"inverse_map": np.zeros((2, 4, 4), complex)}, TypeError, "inverse_map must be a map or an array of numbers"),
    ({"inverse_map": [np.eye(3)] * 2}, ValueError, "image must be a batch, images, rows, columns, as there"),
    (
        {"inverse_map": lambda xy: xy[:3]},
        ValueError,
        r"inverse_map must return points of shape \(72, 2\), got \(3, 2\)",
    ),
    (
        {"inverse_map": np.zeros((2, 4, 4)), "output_shape": (4, 5)},
        ValueError,
        r"inverse_map must have shape \(2, 4, 5\) for the output_shape, got \(2, 4, 4\)",
    ),
    ({"output_shape": 5}, ValueError, r"output_shape must be \(rows, columns\) or have 2 entries, got 5"),
    ({"output_shape": (0, 6)}, ValueError, "output_shape must be at least 1, got 0"),
    ({"order": 2}, ValueError, r"order must be 0, 1 or 3 \(other splines are not computed\), got 2"),
    ({"kernel": "lanczos4"}, ValueError, "kernel must be one of 'nearest', .*, got 'lanczos4'"),
    (
        {"kernel": "bicubic", "order": 3},
        ValueError,
        "order and kernel exclude each other, got order=3 and kernel='bicu",
    ),
    ({"order": 1.0}, TypeError, "order must be an integer, got 1.0"),
    ({"mode": "nearest"}, ValueError, "mode must be one of 'constant', 'edge', .*, got 'nearest'"),
    ({"cval": "x"}, TypeError, "cval must be a number, got 'x'"),
    ({"cval": math.inf}, ValueError, "cval must be finite, got inf"),
    ({"clip": 1}, TypeError, "clip must be True or False, got 1"),
    ({"preserve_range": None}, TypeError, "preserve_range must be True or False, got None"),
    ({"channel_axis": 2}, ValueError, "channel_axis must be None or between -2 and 1 for 2 dimensions, got 2"),
    ({"channel_axis": 0}, ValueError, "image must have 2 axes other than channel_axis"),
    ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ({"out": np.zeros((5, 5), np.float32)}, ValueError, r"out must have shape \(8, 9\), got \(5, 5\)"),
    ({"out": np.zeros((8, 9))}, TypeError, "out must have dtype float32, got float64"),
    ({"out": READ_ONLY}, ValueError, "out is read-only"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments, error, message):
    arguments = {"inverse_map": np.eye(3)} | arguments
    with pytest.raises(error, match=message):
        transform.warp(np.zeros((8, 9), np.float32), **arguments)


def test_bad_images():
    with pytest.raises(ValueError, match=r"image must not be empty, got shape \(0, 4\)"):
        transform.warp(np.zeros((0, 4)), np.eye(3))
    with pytest.raises(ValueError, match="image must have 2 or .* dimensions, got 1"):
        transform.warp(np.zeros(4), np.eye(3))
    with pytest.raises(TypeError, match="image must have one of the dtypes uint8, .*, got bool"):
        transform.warp(np.zeros((4, 4), bool), np.eye(3))
    with pytest.raises(ValueError, match="cval must be a number where the result is of uint8, got nan"):
        transform.warp(np.zeros((4, 4), np.uint8), np.eye(3), cval=np.nan, preserve_range=True)
    with pytest.raises(ValueError, match="inverse_map must have one matrix for each of 3 images, got 2"):
        transform.warp(np.zeros((3, 4, 4)), [np.eye(3)] * 2)
    with pytest.raises(ValueError, match="image must have at most 1073741824 rows and columns"):
        transform.warp(np.broadcast_to(np.uint8(0), (2, 2**30 + 1)), np.eye(3), output_shape=(1, 1))
    image = np.zeros((8, 8), np.float32)
    with pytest.raises(ValueError, match="out must not overlap image"):
        transform.warp(image, np.eye(3), output_shape=(4, 4), out=image[:4, :4])
    table = np.zeros((2, 8, 8), np.float32)
    with pytest.raises(ValueError, match="out must not overlap inverse_map"):
        transform.warp(image, table, out=table[0])
    with pytest.raises(MemoryError, match="no room for a result of shape"):
        transform.warp(image, np.eye(3), output_shape=(2**40, 2**40))


def test_bad_transforms():
    with pytest.raises(ValueError, match=r"matrix must have shape \(3, 3\), got \(2, 3\)"):
        transform.ProjectiveTransform(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="matrix must be a matrix of 3 by 3 numbers"):
        transform.ProjectiveTransform([[1, 2], [3]])
    with pytest.raises(ValueError, match=r"matrix must have \(0, 0, 1\) as its last row"):
        transform.AffineTransform(TILT)
    with pytest.raises(ValueError, match="matrix excludes scale, rotation, shear and translation"):
        transform.AffineTransform(np.eye(3), scale=2)
    with pytest.raises(ValueError, match="translation must be two numbers, got 3"):
        transform.AffineTransform(translation=3)
    with pytest.raises(TypeError, match="rotation must be a number, got 'x'"):
        transform.AffineTransform(rotation="x")
    with pytest.raises(ValueError, match="the transform has no inverse"):
        _ = transform.ProjectiveTransform(np.zeros((3, 3))).inverse
    with pytest.raises(ValueError, match=r"coords must have shape \(N, 2\), got \(2,\)"):
        transform.AffineTransform()([1, 2])
    with pytest.raises(TypeError):
        transform.AffineTransform() + 1
    with pytest.raises(ValueError, match="center must be two numbers, got 3"):
        transform.rotate(np.zeros((4, 4)), 3, center=3)
    with pytest.raises(TypeError, match="angle must be a number, got None"):
        transform.rotate(np.zeros((4, 4)), None)
