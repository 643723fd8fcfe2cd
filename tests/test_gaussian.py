from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.gaussian import gaussian as reference
from reference.gaussian import taps
from tolerances import assert_close

from fastimg import filters

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
MODES = ["nearest", "reflect", "mirror", "constant", "wrap"]


def expected(image: np.ndarray, sigma=1.0, *, preserve_range=True, **options) -> np.ndarray:
    x = image.astype(np.float64)
    if image.dtype.kind == "u" and not preserve_range:
        x /= np.iinfo(image.dtype).max
    return reference(x, sigma, **options)


def check(image: np.ndarray, sigma=1.0, *, preserve_range=True, **options) -> None:
    result = filters.gaussian(image, sigma, preserve_range=preserve_range, **options)
    if image.dtype.kind == "u" and not preserve_range:
        assert result.dtype == np.float32
    else:
        assert result.dtype == image.dtype
    assert_close(result, expected(image, sigma, preserve_range=preserve_range, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_reference(target, rng, dtype, mode):
    image = random_image(rng, (61, 67), dtype)
    check(image, 1.3, mode=mode, cval=0.25)
    check(image, 4.0, mode=mode, cval=0.25, preserve_range=False)


# (shape, sigma, options): one sample, one row, one column, primes, smaller than the radius, wider and higher than the
# pieces that the kernel works in, some axes left alone, volumes, channels anywhere.
SHAPES = [
    ((1, 1), 2.0, {}),
    ((1, 7), 1.0, {}),
    ((7, 1), 1.0, {}),
    ((1,), 3.0, {}),
    ((1009,), 5.0, {}),
    ((3, 2), 6.0, {}),
    ((13, 17), 20.0, {}),
    ((67, 1031), 1.0, {}),
    ((331, 5), 2.0, {}),
    ((300, 530), (9.0, 0.3), {}),
    ((40, 50), (0.0, 2.0), {}),
    ((40, 50), (2.0, 0.0), {}),
    ((40, 50), 0.0, {}),
    ((41, 43), 0.05, {}),
    ((37, 301, 3), 2.0, {"channel_axis": -1}),
    ((37, 3, 41), 1.5, {"channel_axis": 1}),
    ((3, 37, 41), (0.7, 3.0), {"channel_axis": 0}),
    ((19, 23, 40), 1.0, {"channel_axis": 2}),
    ((29, 2), 2.0, {"channel_axis": 1}),
    ((5,), [], {"channel_axis": 0}),
    ((11, 13, 17), 1.0, {}),
    ((11, 13, 17), (0.8, 0.0, 2.0), {}),
    ((5, 12, 13, 3), 1.0, {"channel_axis": -1}),
    ((4, 5, 6, 7), 0.6, {}),
]


@pytest.mark.parametrize(("shape", "sigma", "options"), SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_shapes_that_hurt(target, rng, shape, sigma, options, dtype):
    image = random_image(rng, shape, dtype)
    check(image, sigma, **options)
    check(image, sigma, mode="constant", cval=0.5, **options)


@pytest.mark.parametrize("radius", range(35))
def test_every_radius(target, rng, radius):
    check(random_image(rng, (50, 40), "float32"), 3.0, truncate=radius / 3, mode="mirror")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channel_axis", [None, 0, 1, -1])
def test_layouts(target, layout, rng, mode, channel_axis):
    image = random_image(rng, (33, 35, 4), "float32")
    out = layout(np.zeros_like(image))
    options = {"mode": mode, "cval": 0.5, "channel_axis": channel_axis}
    assert filters.gaussian(layout(image), 1.2, out=out, **options) is out
    assert_close(out, expected(image, 1.2, **options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_of_every_dtype(target, layout, rng, dtype):
    image = layout(random_image(rng, (30, 31, 3), dtype))
    out = layout(np.zeros_like(image))
    filters.gaussian(image, 2.0, out=out, channel_axis=-1, preserve_range=True)
    assert_close(out, expected(image, 2.0, channel_axis=-1))


def test_channels_of_wider_pixels(target, rng):
    rgba = random_image(rng, (45, 47, 4), "uint8")
    result = filters.gaussian(rgba[..., 2::-1], 1.0, channel_axis=-1, preserve_range=True)
    assert_close(result, expected(rgba[..., 2::-1], 1.0, channel_axis=-1))


@pytest.mark.parametrize("misaligned", [0, 1, 13])
def test_images_larger_than_caches(target, misaligned):
    """Beyond 32 MiB whole cache lines go past the caches, wherever rows begin."""
    image = np.random.default_rng(5).random((2903, 2897), np.float32)
    memory = np.zeros(image.size + 64, np.float32)
    out = memory[misaligned : misaligned + image.size].reshape(image.shape)
    filters.gaussian(image, 1.0, out=out)
    for rows in (slice(0, 100), slice(1400, 1500), slice(2803, 2903)):
        near = slice(max(rows.start - 10, 0), rows.stop + 10)
        band = filters.gaussian(image[near], 1.0)[rows.start - near.start :][:100]
        inner = slice(0 if rows.start == 0 else 1, None)
        np.testing.assert_allclose(out[rows][inner], band[inner], rtol=0, atol=2e-7)
    assert not memory[:misaligned].any()
    assert not memory[misaligned + image.size :].any()


def test_out_of_a_crop_leaves_the_rest_alone(target, rng):
    image = random_image(rng, (37, 41), "float32")
    big = np.full((50, 60), 7, np.float32)
    filters.gaussian(image, 2.0, out=big[5:42, 3:44])
    assert_close(big[5:42, 3:44].copy(), expected(image, 2.0))
    big[5:42, 3:44] = 7
    assert (big == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "channel_axis"), [((515, 700), None), ((300, 601, 3), -1), ((9, 80, 90), None)])
def test_threads_do_not_change_a_bit(target, rng, dtype, shape, channel_axis):
    image = random_image(rng, shape, dtype)
    results = [filters.gaussian(image, 2.0, channel_axis=channel_axis, threads=n) for n in (1, 2, 3, 8)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_integers_round_half_to_even_and_out_may_be_float(target):
    image = np.array([[0, 1, 3, 0]], np.uint8)
    halves = (0.0, float(np.sqrt(-0.5 / np.log(0.5))))  # taps 1/4, 1/2, 1/4 at radius 1
    exact = np.array([[0.25, 1.25, 1.75, 0.75]], np.float32)
    out = np.zeros_like(exact)
    filters.gaussian(image, halves, truncate=1.0, preserve_range=True, out=out)
    np.testing.assert_allclose(out, exact, atol=1e-6)
    np.testing.assert_array_equal(filters.gaussian(image, halves, truncate=1.0, preserve_range=True), [[0, 1, 2, 1]])


def test_integers_saturate(target):
    image = np.full((9, 9), 250, np.uint8)
    options = {"mode": "constant", "preserve_range": True}
    assert filters.gaussian(image, 2.0, cval=1e4, **options)[0, 0] == 255
    assert filters.gaussian(image, 2.0, cval=-1e4, **options)[0, 0] == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_reaches_as_far_as_the_taps(target, dtype, value):
    image = np.zeros((45, 60), dtype)
    image[20, 30] = value
    result = filters.gaussian(image, (1.0, 2.0))
    touched = np.zeros(image.shape, bool)
    touched[16:25, 22:39] = True
    np.testing.assert_array_equal(result[touched], np.full(touched.sum(), value, dtype))
    assert (result[~touched] == 0).all()


def test_opposite_infinities_give_nan():
    image = np.zeros((1, 20), np.float32)
    image[0, [5, 9]] = np.inf, -np.inf
    result = filters.gaussian(image, 1.0)[0]
    assert np.isnan(result[5:10]).all()
    assert (result[1:5] == np.inf).all()
    assert (result[10:14] == -np.inf).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_agrees_with_scikit_image(rng, dtype, mode):
    skimage_filters = pytest.importorskip("skimage.filters")
    image = random_image(rng, (40, 50, 3), dtype)
    options = {"sigma": (1.0, 2.5), "mode": mode, "cval": 0.3, "channel_axis": -1, "truncate": 3.0}
    for preserve_range in (False, True) if dtype.startswith("float") else (False,):
        theirs = skimage_filters.gaussian(image, preserve_range=preserve_range, **options)
        ours = filters.gaussian(image, preserve_range=preserve_range, **options)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_scipy(rng, mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = rng.random((15, 20, 25))
    theirs = ndimage.gaussian_filter(image, (1.0, 0.0, 2.0), mode=mode, cval=0.3)
    np.testing.assert_allclose(filters.gaussian(image, (1.0, 0.0, 2.0), mode=mode, cval=0.3), theirs, atol=1e-13)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("sigma", [1.0, 3.0, 10.0])
def test_agrees_with_opencv(rng, dtype, sigma):
    cv2 = pytest.importorskip("cv2")
    image = random_image(rng, (120, 130, 3), dtype)
    width = 2 * int(4 * sigma + 0.5) + 1
    theirs = cv2.GaussianBlur(image, (width, width), sigma, borderType=cv2.BORDER_REPLICATE)
    ours = filters.gaussian(image, sigma, channel_axis=-1, preserve_range=True)
    tolerance = 1e-5 if dtype == "float32" else 2  # its fixed point arithmetic is up to 1.5 levels off
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_tensors_in_tensors_out(rng, dtype):
    torch = pytest.importorskip("torch")
    image = random_image(rng, (3, 20, 30), dtype)
    result = filters.gaussian(torch.from_numpy(image), 1.5, channel_axis=0)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), filters.gaussian(image, 1.5, channel_axis=0))
    out = torch.empty_like(result)
    assert filters.gaussian(torch.from_numpy(image), 1.5, channel_axis=0, out=out) is out
    assert torch.equal(out, result)


def test_image_is_not_touched(rng):
    image = rng.random((30, 30))
    before = image.copy()
    image.flags.writeable = False
    filters.gaussian(image, 2.0)
    np.testing.assert_array_equal(image, before)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
sigmas = st.floats(0.0, 6.0)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, sigma=sigmas, mode=st.sampled_from(MODES), value=st.floats(-1e3, 1e3))
def test_constant_stays_constant(shape, sigma, mode, value):
    result = filters.gaussian(np.full(shape, value), sigma, mode=mode, cval=value)
    np.testing.assert_allclose(result, value, rtol=1e-13, atol=1e-300)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, sigma=sigmas, mode=st.sampled_from(MODES), seed=st.integers(0, 2**32 - 1))
def test_linear(shape, sigma, mode, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(shape), rng.random(shape)
    blurred = [filters.gaussian(x, sigma, mode=mode) for x in (a, b, 2 * a - 3 * b)]
    np.testing.assert_allclose(blurred[2], 2 * blurred[0] - 3 * blurred[1], rtol=0, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, sigma=sigmas, mode=st.sampled_from(MODES), seed=st.integers(0, 2**32 - 1))
def test_commutes_with_flips_and_transposition(shape, sigma, mode, seed):
    image = np.random.default_rng(seed).random(shape)
    result = filters.gaussian(image, sigma, mode=mode)
    for change in (np.flipud, np.fliplr, np.transpose):
        np.testing.assert_allclose(
            filters.gaussian(np.ascontiguousarray(change(image)), sigma, mode=mode), change(result), rtol=0, atol=1e-13
        )


@settings(max_examples=30, deadline=None)
@given(sigma=st.floats(0.2, 5.0), truncate=st.floats(0.5, 5.0))
def test_impulse_response_is_the_taps(sigma, truncate):
    image = np.zeros((61, 61))
    image[30, 30] = 1
    weights = taps(sigma, truncate)
    radius = len(weights) // 2
    response = np.zeros_like(image)
    response[30 - radius : 31 + radius, 30 - radius : 31 + radius] = np.outer(weights, weights)
    np.testing.assert_allclose(filters.gaussian(image, sigma, truncate=truncate), response, rtol=0, atol=1e-15)


@pytest.mark.parametrize("sigma", [1e-200, 1e-155, 5e-324])
def test_a_tiny_sigma_cut_far_out_changes_nothing(sigma):
    image = np.random.default_rng(0).random((5, 6))
    np.testing.assert_array_equal(filters.gaussian(image, sigma, truncate=9 / sigma if sigma > 1e-300 else 4), image)


# ---- derivatives, and what else SciPy has -------------------------------------------------------------------------


def check_against_scipy(image: np.ndarray, sigma, channel_axis=None, **options) -> None:
    """SciPy's filter of the same name in float64; values of derivatives are small, so that the range is theirs."""
    from scipy import ndimage

    axes = options.pop("axes", tuple(a for a in range(image.ndim) if channel_axis is None or a != channel_axis))
    theirs = {**options, "mode": options.get("mode", "nearest")}
    wanted = ndimage.gaussian_filter(image.astype(np.float64), sigma, axes=axes, **theirs)
    result = filters.gaussian(image, sigma, axes=axes, channel_axis=channel_axis, **options)
    assert_close(result, wanted, scale=max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1, 2, 3, (0, 1), (1, 0), (2, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives(target, rng, dtype, order, mode):
    for shape, sigma in [((61, 67), 1.3), ((40, 90), (5.0, 0.7)), ((7, 300), (0.6, 12.0))]:
        check_against_scipy(random_image(rng, shape, dtype), sigma, order=order, mode=mode)


@pytest.mark.parametrize("order", [1, 2, (0, 1, 2), (3, 0, 1)], ids=str)
@pytest.mark.parametrize("mode", ["mirror", "constant"])
def test_derivatives_of_volumes(target, rng, order, mode):
    check_against_scipy(random_image(rng, (13, 17, 19), "float32"), 1.1, order=order, mode=mode)


def test_derivatives_of_channels_and_layouts(target, layout, rng):
    image = layout(random_image(rng, (30, 31, 3), "float32"))
    check_against_scipy(image, 1.5, channel_axis=2, order=(1, 2), mode="reflect")
    check_against_scipy(np.moveaxis(image, 2, 0), 1.5, channel_axis=0, order=(0, 3), mode="wrap")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_small_images(target, rng, shape, order):
    for mode in MODES:
        check_against_scipy(random_image(rng, shape, "float64"), 1.0, order=order, mode=mode)


def test_a_mode_an_order_and_a_radius_for_each_axis(target, rng):
    for modes in [("wrap", "constant"), ("constant", "reflect"), ("mirror", "nearest")]:
        check_against_scipy(random_image(rng, (40, 41), "float32"), (2.0, 1.0), mode=modes, order=(0, 1))
        check_against_scipy(random_image(rng, (40, 41), "float32"), (2.0, 1.0), mode=modes, cval=0.7)
    check_against_scipy(random_image(rng, (40, 41), "float32"), 2.0, radius=(3, 11))
    check_against_scipy(random_image(rng, (40, 41), "float32"), 2.0, radius=0, order=(2, 0))


def test_axes(target, rng):
    image = random_image(rng, (9, 20, 21), "float32")
    check_against_scipy(image, (1.0, 2.0), axes=(2, 0), order=(1, 0), mode=("wrap", "nearest"))
    check_against_scipy(image, 1.0, axes=(1,))
    np.testing.assert_array_equal(filters.gaussian(image, 1.0, axes=1), filters.gaussian(image, (0, 1.0, 0)))
    np.testing.assert_array_equal(filters.gaussian(image, 1.0, axes=()), image)


def test_a_constant_outside_has_no_derivative(target):
    """SciPy sets `cval` beside derivatives that it has already taken: an edge where there is none."""
    image = np.full((20, 20, 5), 3, np.float32)
    for order in [(1, 0, 0), (0, 1, 0), (0, 0, 3), (1, 2, 0)]:
        np.testing.assert_allclose(filters.gaussian(image, 1.0, order=order, mode="constant", cval=3), 0, atol=1e-5)


def test_derivatives_of_integers(target, rng):
    image = random_image(rng, (30, 40), "uint8")
    wanted = filters.gaussian(image.astype(np.float64), 1.0, order=(0, 1))
    assert_close(filters.gaussian(image, 1.0, order=(0, 1), preserve_range=True), np.maximum(wanted, 0))
    assert_close(filters.gaussian(image, 1.0, order=(0, 1)), wanted / 255)
    out = np.empty(image.shape, np.float32)
    assert_close(filters.gaussian(image, 1.0, order=(0, 1), preserve_range=True, out=out), wanted, scale=255)


BAD = [
    ({"order": 4}, ValueError, "order must be at most 3, got 4"),
    ({"order": 1.0}, TypeError, "order must be an integer, got 1.0"),
    ({"order": (1, 2, 3)}, ValueError, r"order must be one value or one per spatial axis \(2\), got \(1, 2, 3\)"),
    ({"mode": ("nearest", "edge")}, ValueError, "mode must be one of 'nearest', .*, got 'edge'"),
    ({"mode": ("nearest",)}, ValueError, r"mode must be one value or one per spatial axis \(2\)"),
    ({"radius": -1}, ValueError, "radius must be at least 0, got -1"),
    ({"radius": 10_001}, ValueError, "radius must be at most 10000, got 10001"),
    ({"axes": (0, 0)}, ValueError, r"axes must be different axes other than channel_axis, got \(0, 0\)"),
    ({"axes": (0, 1), "channel_axis": -1}, ValueError, "axes must be different axes other than channel_axis"),
    ({"axes": 2}, ValueError, "axes must be None or between -2 and 1 for 2 dimensions, got 2"),
    ({"sigma": -1.0}, ValueError, "sigma must be at least 0, got -1"),
    ({"sigma": float("nan")}, ValueError, "sigma must be finite, got nan"),
    ({"sigma": (1.0, float("inf"))}, ValueError, "sigma must be finite, got inf"),
    ({"sigma": "1"}, TypeError, "sigma must be a number, got '1'"),
    ({"sigma": True}, TypeError, "sigma must be a number, got True"),
    ({"sigma": 10**400}, ValueError, "sigma must be finite, got inf"),
    ({"sigma": (1.0, 2.0, 3.0)}, ValueError, r"sigma must be one value or one per spatial axis \(2\), got"),
    ({"sigma": 1e9}, ValueError, "truncate \\* sigma must be at most 10000, got 4e\\+09"),
    ({"truncate": -1.0}, ValueError, "truncate must be at least 0, got -1"),
    ({"mode": "edge"}, ValueError, "mode must be one of 'nearest', .*, got 'edge'"),
    ({"cval": "0"}, TypeError, "cval must be a number, got '0'"),
    ({"cval": float("nan")}, ValueError, "cval must be finite, got nan"),
    ({"channel_axis": 2}, ValueError, "channel_axis must be None or between -2 and 1 for 2 dimensions, got 2"),
    ({"channel_axis": 0, "sigma": (1.0, 1.0)}, ValueError, r"sigma must be one value or one per spatial axis \(1\)"),
    ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ({"out": np.zeros((8, 9))}, ValueError, r"out must have shape \(8, 8\), got \(8, 9\)"),
    ({"out": np.zeros((8, 8), np.float32)}, TypeError, "out must have dtype float64, got float32"),
    ({"out": [[0.0] * 8] * 8}, TypeError, "out must be a NumPy or CuPy array or a tensor, got list"),
    ({"out": np.broadcast_to(np.zeros(8), (8, 8))}, ValueError, "out is read-only"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        filters.gaussian(np.zeros((8, 8)), **arguments)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((0, 4)), ValueError, r"image must not be empty, got shape \(0, 4\)"),
        (np.float64(3), ValueError, "image must have 1 or .* dimensions, got 0"),
        (np.zeros((1,) * 9), ValueError, "image must have at most 8 dimensions, got 9"),
        (np.zeros((4, 4), complex), TypeError, "image must have one of the dtypes uint8, .*, got complex128"),
        ("picture", TypeError, "image must have one of the dtypes"),
    ],
)
def test_bad_images(image, error, message):
    with pytest.raises(error, match=message):
        filters.gaussian(image)


def test_bad_out_changes_nothing(rng):
    image = rng.random((20, 20))
    before = image.copy()
    with pytest.raises(ValueError, match="out must not overlap image"):
        filters.gaussian(image, out=image)
    with pytest.raises(ValueError, match="out must not overlap image"):
        filters.gaussian(image[:15], out=image[5:])
    np.testing.assert_array_equal(image, before)
    with pytest.raises(TypeError, match="preserve_range must be True or False, got 1"):
        filters.gaussian(np.zeros((4, 4), np.uint8), preserve_range=1)
    with pytest.raises(TypeError, match="out must have dtype float32, got float64"):
        filters.gaussian(np.zeros((4, 4), np.uint8), out=np.zeros((4, 4)))
