"""`affine` and `perspective`, `crop` and `flip`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import random_image

from fastimg import transform

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
PARAMETERS = {"angle": 25.0, "translate": (3.5, -2.25), "scale": 1.3, "shear": (12.0, -7.0), "center": (11.0, 4.5)}
START = np.array([(2, 1), (33, 3), (35, 27), (0, 25)], float)
END = np.array([(5.5, 0), (30, 6), (38, 24), (-2, 28)], float)


def torchvisions_inverse(rows, columns, angle=0.0, translate=(0.0, 0.0), scale=1.0, shear=(0.0, 0.0), center=None):
    """What `torchvision.transforms.functional` computes: the inverse matrix about the middle of the image, in pixels.

    Its coordinates begin at the corner of the first pixel.
    """
    center = (columns / 2, rows / 2) if center is None else center
    cx, cy = center[0] - columns / 2, center[1] - rows / 2
    tx, ty = translate
    turn, sx, sy = (math.radians(x) for x in (angle, *shear))
    a = math.cos(turn - sy) / math.cos(sy)
    b = -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)
    matrix = [x / scale for x in (d, -b, 0.0, -c, a, 0.0)]
    matrix[2] += matrix[0] * (-cx - tx) + matrix[1] * (-cy - ty) + cx
    matrix[5] += matrix[3] * (-cx - tx) + matrix[4] * (-cy - ty) + cy
    return np.array([*matrix, 0, 0, 1]).reshape(3, 3)


def by_grid_sample(image, matrix):
    """An image through the matrix above, as torchvision does it with tensors."""
    torch = pytest.importorskip("torch")
    rows, columns = image.shape
    y, x = np.mgrid[:rows, :columns] + 0.5
    u, v, w = np.einsum("ij,jyx->iyx", matrix, np.stack([x - columns / 2, y - rows / 2, np.ones_like(x)]))
    grid = np.stack([u / w / (columns / 2), v / w / (rows / 2)], axis=-1)
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(image)[None, None], torch.from_numpy(grid)[None], align_corners=False
    )
    return sampled[0, 0].numpy()


@pytest.mark.parametrize("names", [(), ("angle",), ("translate",), ("scale",), ("shear",), tuple(PARAMETERS)])
@pytest.mark.parametrize("shape", [(29, 37), (1, 6), (16, 16)])
def test_affine_is_torchvisions(target, rng, names, shape):
    image = rng.random(shape)
    given = {name: PARAMETERS[name] for name in names}
    theirs = dict(given)
    if "center" in given:
        theirs["center"] = (given["center"][0] + 0.5, given["center"][1] + 0.5)
    expected = by_grid_sample(image, torchvisions_inverse(*shape, **theirs))
    np.testing.assert_allclose(transform.affine(image, **given), expected, rtol=0, atol=1e-12)


def test_affine_is_scikit_images(target, rng):
    """Of one shear, which the two define alike; scikit-image's origin is the first pixel."""
    skimage = pytest.importorskip("skimage.transform")
    image = rng.random((29, 37))
    for shear in ((15, 0), (0, -20)):
        matrix = skimage.AffineTransform(
            scale=1.2, rotation=math.radians(30), shear=[math.radians(s) for s in shear], translation=(4, -3)
        )
        result = transform.affine(image, 30, (4, -3), 1.2, shear, (0, 0))
        np.testing.assert_allclose(result, skimage.warp(image, matrix.inverse), rtol=0, atol=1e-9)
    result = transform.affine(image, -30, center=(3, 5), order=3, mode="symmetric")
    np.testing.assert_allclose(
        result, transform.rotate(image, 30, center=(3, 5), order=3, mode="symmetric"), rtol=0, atol=1e-9
    )


def test_affine_is_opencvs(target):
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:60, :80]
    image = (100 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)  # smooth: its places may have 5 fractional bits
    matrix = cv2.getRotationMatrix2D((30, 20), 33, 0.9)
    result = transform.affine(image, -33, scale=0.9, center=(30, 20), mode="edge")
    other = cv2.warpAffine(image, matrix, (80, 60), borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(result - other).max() < 2


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batches(target, rng, order, dtype):
    image = random_image(rng, (3, 19, 23, 3), dtype)
    options = {"order": order, "mode": "edge", "preserve_range": True, "clip": False}
    angle, scale = [0, 20, -130], np.array([1, 0.7, 2], np.float32)
    translate, shear = [(0, 0), (1.5, 2), (-3, 0.25)], [(0, 0), (10, 0), (-5, 20)]
    result = transform.affine(image, angle, translate, scale, shear, (8, 9), **options)
    for i in range(3):
        given = (angle[i], translate[i], scale[i], shear[i], (8, 9))
        np.testing.assert_array_equal(result[i], transform.affine(image[i], *given, **options))
    start, end = np.stack([START, START + 1, START[::-1]]), END
    planes = transform.perspective(np.moveaxis(image, -1, 1), start, end, channel_axis=1, **options)
    for i in range(3):
        alone = transform.perspective(image[i], start[i], end, **options)
        np.testing.assert_array_equal(np.moveaxis(planes[i], 0, -1), alone)
    assert transform.affine(image[:1], [5]).shape == (1, 19, 23, 3)


def test_the_identity_copies(target, rng):
    for dtype in DTYPES:
        image = random_image(rng, (11, 14, 3), dtype)
        np.testing.assert_array_equal(transform.affine(image, preserve_range=True), image)
    image = rng.random((2, 11, 14))
    np.testing.assert_array_equal(transform.affine(image, np.zeros(2), mode="reflect"), image)
    np.testing.assert_allclose(transform.perspective(image[0], START, START), image[0], rtol=0, atol=1e-12)


def test_perspective_is_torchvisions(target, rng):
    """Its coefficients solve two equations for each point, in coordinates that begin at the first pixel's corner."""
    image = rng.random((29, 37))
    start, end = START + 0.5, END + 0.5
    equations, values = np.zeros((8, 8)), start.ravel()
    for i, ((x, y), (u, v)) in enumerate(zip(end, start, strict=True)):
        equations[2 * i] = [x, y, 1, 0, 0, 0, -u * x, -u * y]
        equations[2 * i + 1] = [0, 0, 0, x, y, 1, -v * x, -v * y]
    matrix = np.append(np.linalg.solve(equations, values), 1).reshape(3, 3)
    move = np.array([[1, 0, -37 / 2], [0, 1, -29 / 2], [0, 0, 1]])
    expected = by_grid_sample(image, move @ matrix @ np.linalg.inv(move))
    np.testing.assert_allclose(transform.perspective(image, START, END), expected, rtol=0, atol=1e-10)


def test_perspective_is_opencvs_and_scikit_images(target, rng):
    cv2 = pytest.importorskip("cv2")
    skimage = pytest.importorskip("skimage.transform")
    matrix = cv2.getPerspectiveTransform(START.astype(np.float32), END.astype(np.float32))
    image = rng.random((29, 37))
    expected = skimage.warp(image, np.linalg.inv(matrix), output_shape=(20, 50), order=3, mode="reflect")
    options = {"output_shape": (20, 50), "order": 3, "mode": "reflect"}
    np.testing.assert_allclose(transform.perspective(image, START, END, **options), expected, rtol=0, atol=1e-9)


def test_tensors(rng):
    torch = pytest.importorskip("torch")
    array = rng.random((2, 3, 15, 17), dtype=np.float32)
    image = torch.from_numpy(array)
    for function, arguments in (
        (transform.affine, ([10, 20], torch.tensor([(1.0, 2.0), (3.0, 4.0)]))),
        (transform.perspective, (START, np.stack([END, END + 1]))),
    ):
        result = function(image, *arguments, channel_axis=1)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result, function(array, *arguments, channel_axis=1))
    part = transform.crop(image[0], 2, channel_axis=0)
    assert part.data_ptr() == image[0, :, 2:, 2:].data_ptr()
    np.testing.assert_array_equal(part, array[0, :, 2:-2, 2:-2])
    copy = transform.crop(image[0], 2, True, channel_axis=0)
    assert isinstance(copy, torch.Tensor)
    np.testing.assert_array_equal(copy, part)
    for axis in (-1, (-2, -1), None):
        mirrored = transform.flip(image[0], axis, channel_axis=0)
        np.testing.assert_array_equal(mirrored, np.flip(array[0], (1, 2) if axis is None else axis))


@pytest.mark.parametrize("dtype", DTYPES)
def test_crop_is_scikit_images(layout, rng, dtype):
    skimage = pytest.importorskip("skimage.util")
    for shape in ((5, 4), (7, 6, 3), (9, 8, 2, 3)):
        image = layout(random_image(rng, shape, dtype))
        still = [(0, 0)] * (len(shape) - 2)
        for width in (0, 1, (2, 1), ((1, 0), (0, 3))):
            widths = np.broadcast_to(np.array(width), (2, 2)).tolist()
            expected = skimage.crop(image, [*widths, *still])
            result = transform.crop(image, width)
            assert np.shares_memory(result, image)
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, expected)
            copy = transform.crop(image, width, copy=True)
            assert copy.flags.c_contiguous
            assert not np.shares_memory(copy, image)
            np.testing.assert_array_equal(copy, expected)
    image = rng.random((3, 9, 8))
    np.testing.assert_array_equal(transform.crop(image, (1, 2), channel_axis=0), image[:, 1:-2, 1:-2])
    np.testing.assert_array_equal(transform.crop(transform.pad(image, 3, channel_axis=0), 3, channel_axis=0), image)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flip_is_numpys(layout, rng, dtype):
    for shape in ((1, 1), (5, 4), (7, 6, 3), (9, 8, 2, 3)):
        image = layout(random_image(rng, shape, dtype))
        for axis in (0, 1, -1, (0, 1), ()):
            result = transform.flip(image, axis)
            assert np.shares_memory(result, image)
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, np.flip(image, axis))
        np.testing.assert_array_equal(transform.flip(image), np.flip(image, (0, 1)))
    image = rng.random((3, 9, 8))
    np.testing.assert_array_equal(transform.flip(image, channel_axis=0), np.flip(image, (1, 2)))
    np.testing.assert_array_equal(transform.flip([[1.0, 2.0]]), [[2.0, 1.0]])


def test_views_of_what_must_not_change(rng):
    image = rng.random((5, 6))
    image.flags.writeable = False
    assert not transform.crop(image, 1).flags.writeable
    assert not transform.flip(image).flags.writeable
    assert transform.crop(image, 1, copy=True).flags.writeable


IMAGE = np.zeros((4, 5))
BATCH = np.zeros((3, 4, 5))

BAD = [
    ("affine", (IMAGE, "x"), TypeError, "angle must be a number or an array of numbers, got 'x'"),
    ("affine", (IMAGE, math.nan), ValueError, "angle must be finite, got nan"),
    ("affine", (IMAGE, [[1.0]]), ValueError, r"angle must have shape \(\) or \(N,\), got \(1, 1\)"),
    ("affine", (BATCH, [1, 2]), ValueError, "angle must have one value or one for each of 3 images, got 2"),
    ("affine", (IMAGE, [1, 2, 3, 4]), ValueError, "image must be a batch, images, rows, columns"),
    ("affine", (np.zeros(()), [1]), ValueError, "image must have 2 or .* dimensions, got 0"),
    ("affine", (IMAGE, 0, 3), ValueError, r"translate must have shape \(2,\) or \(N, 2\), got \(\)"),
    ("affine", (IMAGE, 0, (1, 2, 3)), ValueError, r"translate must have shape \(2,\) or \(N, 2\), got \(3,\)"),
    ("affine", (IMAGE, 0, [(1, 2), (3,)]), TypeError, "translate must be a number or an array of numbers"),
    ("affine", (IMAGE, 0, (0, 0), 0), ValueError, "scale must be above 0, got 0"),
    ("affine", (IMAGE, 0, (0, 0), None), TypeError, "scale must be a number or an array of numbers, got None"),
    ("affine", (IMAGE, 0, (0, 0), 1, 90), ValueError, r"shear must be between -90 and 90 degrees, got \(90, 0.0\)"),
    ("affine", (IMAGE, 0, (0, 0), 1, 0, 3), ValueError, r"center must have shape \(2,\) or \(N, 2\), got \(\)"),
    ("affine", (np.zeros((0, 4)),), ValueError, "image must not be empty"),
    ("affine", (IMAGE.astype(bool),), TypeError, "image must have one of the dtypes"),
    ("perspective", (IMAGE, START[:3], END), ValueError, r"startpoints must have shape \(4, 2\) or \(N, 4, 2\), got"),
    ("perspective", (IMAGE, START, None), TypeError, "endpoints must be a number or an array of numbers, got None"),
    ("perspective", (IMAGE, START, np.full((4, 2), math.inf)), ValueError, "endpoints must be finite"),
    ("perspective", (BATCH, START, END[None]), ValueError, "endpoints must have one value or one for each of 3 images"),
    (
        "perspective",
        (IMAGE, START, [(0, 0), (1, 1), (2, 2), (0, 3)]),
        ValueError,
        "endpoints must have no three of four",
    ),
    (
        "perspective",
        (IMAGE, np.ones((4, 2)), END),
        ValueError,
        "startpoints must have no three of four points on a line",
    ),
    ("crop", (IMAGE, -1), ValueError, "crop_width must be at least 0, got -1"),
    ("crop", (IMAGE, 1.5), TypeError, "crop_width must be an integer, got 1.5"),
    (
        "crop",
        (IMAGE, (1, 2, 3)),
        ValueError,
        r"crop_width must be an integer, \(before, after\) or .*, got \(1, 2, 3\)",
    ),
    ("crop", (IMAGE, 2), ValueError, "crop_width must be less than 4 in all along axis 0, got 2"),
    ("crop", (IMAGE, 1, 1), TypeError, "copy must be True or False, got 1"),
    ("crop", (np.zeros(4), 1), ValueError, "image must have 2 or .* dimensions, got 1"),
    ("crop", (IMAGE.astype(int), 1), TypeError, "image must have one of the dtypes"),
    ("flip", (IMAGE, 2), ValueError, "axis must be None or between -2 and 1 for 2 dimensions, got 2"),
    ("flip", (IMAGE, 1.0), TypeError, "axis must be an integer, got 1.0"),
    ("flip", (IMAGE, (0, -2)), ValueError, r"axis must name each axis once, got \(0, -2\)"),
    ("flip", (np.zeros((0, 3)),), ValueError, "image must not be empty"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "message"), BAD)
def test_bad_arguments(name, arguments, error, message):
    with pytest.raises(error, match=message):
        getattr(transform, name)(*arguments)


def test_channels_are_not_mirrored():
    with pytest.raises(ValueError, match="axis must not be channel_axis, 0, got 0"):
        transform.flip(BATCH, 0, channel_axis=0)
