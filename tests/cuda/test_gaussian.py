"""The Gaussian filter on a device, against the NumPy reference, SciPy and the CPU."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from conftest import LAYOUTS, random_image
from reference.gaussian import gaussian as reference
from tolerances import assert_close

from fastimg import filters

backend = import_module("fastimg.backends.cuda.gaussian")  # the package has the function under this name

MODES = ["nearest", "reflect", "mirror", "constant", "wrap"]


def check(device, image, sigma, *, preserve_range=True, mode="nearest", cval=0.0, channel_axis=None):
    options = {"mode": mode, "cval": cval, "channel_axis": channel_axis}
    result = device.numpy(filters.gaussian(device.array(image), sigma, preserve_range=preserve_range, **options))
    x = image.astype(np.float64)
    if image.dtype.kind == "u" and not preserve_range:
        assert result.dtype == np.float32
        x /= np.iinfo(image.dtype).max
    else:
        assert result.dtype == image.dtype
    assert_close(result, reference(x, sigma, **options))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_agrees_with_reference(device, rng, dtype, mode):
    image = random_image(rng, (61, 144), dtype)
    check(device, image, 1.0, mode=mode, cval=0.3)
    if dtype == "uint8":
        check(device, image, 1.0, mode=mode, cval=0.3, preserve_range=False)


# One sample, one row, one column, primes, smaller than the radius, several tiles in both directions.
SHAPES = [(1, 1), (1, 7), (7, 1), (3, 2), (13, 17), (1, 131), (331, 5), (67, 391), (530, 130)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(device, rng, shape):
    image = random_image(rng, shape, "float32")
    for mode in ("reflect", "constant"):
        check(device, image, 1.0, mode=mode, cval=0.5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (150, 4), (3, 150), (131, 201)])
def test_large_radii(device, rng, shape, mode):
    check(device, random_image(rng, shape, "float32"), (7.6, 9.0), mode=mode, cval=0.3)


@pytest.mark.parametrize("mode", ["mirror", "wrap", "constant"])
def test_radii_beyond_what_a_launch_can_hold(device, rng, mode):
    """257 taps and more go through device memory, in several launches."""
    check(device, random_image(rng, (9, 37), "float32"), (70.0, 250.0), mode=mode, cval=0.3)


# The kernels that run, with the radii along x and y and the distance between samples of a channel.
ROUTES = [
    ((40, 50), 1.0, {}, ["gaussian 4 4 1"]),
    ((40, 50), 0.0, {}, ["gaussian 0 0 1"]),
    ((40, 50), (1.0, 0.0), {}, ["gaussian 0 4 1"]),
    ((40, 50), (0.0, 1.0), {}, ["gaussian 4 0 1"]),
    ((140,), 1.0, {}, ["gaussian 4 0 1"]),
    ((140,), 7.0, {}, ["gaussian_rows"]),
    ((40, 50), (7.0, 1.0), {}, ["gaussian 4 0 1", "gaussian_columns"]),
    ((40, 50), (1.0, 7.0), {}, ["gaussian_rows", "gaussian 0 4 1"]),
    ((40, 50, 3), 1.0, {"channel_axis": -1}, ["gaussian 4 4 3"]),
    ((40, 3, 50), 1.0, {"channel_axis": 1}, ["gaussian 4 4 1"]),
    ((3, 40, 50), 1.0, {"channel_axis": 0}, ["gaussian 4 4 1"]),
    ((40, 50, 6), 1.0, {"channel_axis": -1}, ["gaussian 0 4 1", "gaussian 0 4 1"]),
    ((40, 50, 3), 7.0, {"channel_axis": -1}, ["gaussian_rows", "gaussian_columns"]),
    ((9, 40, 50), 1.0, {}, ["gaussian 4 4 1", "gaussian 0 4 1"]),
    ((9, 40, 50, 3), (1.0, 0.0, 7.0), {"channel_axis": -1}, ["gaussian_rows", "gaussian 0 4 1"]),
    ((9, 10, 11, 12), 1.0, {}, ["gaussian 4 4 1", "gaussian 0 4 1", "gaussian 0 4 1"]),
    ((2, 3, 2, 3, 2, 9, 2, 5), (0, 1.0, 0, 0, 0, 1.0, 0, 0), {}, ["gaussian 0 4 1", "gaussian 0 4 1"]),
    ((2, 3, 2, 3, 2, 9, 2, 5), 0.0, {}, ["gaussian 0 0 1"]),
]


@pytest.mark.parametrize(("shape", "sigma", "options", "route"), ROUTES)
def test_routes(device, rng, monkeypatch, shape, sigma, options, route):
    taken = []
    run = backend._Launch.run

    def record(launch, image, result):
        radii = [launch.definitions.get(name) for name in ("X_RADIUS", "Y_RADIUS", "DISTANCE")]
        taken.append(" ".join([launch.kernel, *(str(r) for r in radii if r is not None)]))
        run(launch, image, result)

    monkeypatch.setattr(backend._Launch, "run", record)
    check(device, random_image(rng, shape, "float32"), sigma, mode="mirror", **options)
    assert taken == route


@pytest.mark.parametrize("radius", [(24, 24), (9, 13), (16, 17), (2, 24)])
def test_unrolled_radii(device, rng, radius):
    sigma = tuple(r / 4 for r in radius)
    check(device, random_image(rng, (90, 145), "float32"), sigma, mode="reflect")


@pytest.mark.parametrize(
    ("dtype", "shape"), [("uint8", (50, 171, 3)), ("uint8", (50, 64, 4)), ("float16", (50, 80, 2))]
)
@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_interleaved_channels(device, rng, dtype, shape, mode):
    image = random_image(rng, shape, dtype)
    check(device, image, 1.0, mode=mode, cval=0.3, channel_axis=-1)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_large_radii_of_other_dtypes(device, rng, dtype):
    image = random_image(rng, (70, 101, 3), dtype)
    check(device, image, 9.0, mode="constant", cval=0.3, channel_axis=-1)
    check(device, image[..., 0].copy(), 9.0, mode="nearest")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "sigma"), [("uint8", 1.0), ("float32", 1.0), ("float32", 7.0)])
def test_any_layout(device, rng, layout, dtype, sigma):
    image = random_image(rng, (37, 70, 3), dtype)
    out = device.array(LAYOUTS[layout](np.zeros_like(image)))
    options = {"channel_axis": -1, "preserve_range": True, "mode": "wrap"}
    assert filters.gaussian(device.array(LAYOUTS[layout](image)), sigma, out=out, **options) is out
    assert_close(device.numpy(out), filters.gaussian(image, sigma, **options).astype(np.float64))


@pytest.mark.parametrize("sigma", [1.0, 7.0])
def test_views(device, rng, sigma):
    image = random_image(rng, (90, 150, 4), "uint8")
    on_device = device.array(image)
    for view in (np.s_[..., :3], np.s_[1:60, 3:101], np.s_[::-1, ::-2, ::-1], np.s_[:, 5:6, 1:]):
        for channel_axis in (-1, None):
            result = filters.gaussian(on_device[view], sigma, channel_axis=channel_axis, preserve_range=True)
            expected = filters.gaussian(image[view], sigma, channel_axis=channel_axis, preserve_range=True)
            assert_close(device.numpy(result), expected.astype(np.float64))


def test_out_of_a_crop_leaves_the_rest_alone(device, rng):
    image = random_image(rng, (37, 141), "float32")
    big = device.array(np.full((50, 160), 7, np.float32))
    for sigma in (1.0, 7.0):
        filters.gaussian(device.array(image), sigma, out=big[5:42, 3:144])
        result = device.numpy(big)
        assert_close(result[5:42, 3:144].copy(), reference(image, sigma))
        result[5:42, 3:144] = 7
        assert (result == 7).all()


def test_integers_round_half_to_even_and_saturate(device):
    image = device.array(np.array([[0, 1, 3, 0]], np.uint8))
    halves = (0.0, float(np.sqrt(-0.5 / np.log(0.5))))  # taps 1/4, 1/2, 1/4 at radius 1
    options = {"truncate": 1.0, "preserve_range": True}
    np.testing.assert_array_equal(device.numpy(filters.gaussian(image, halves, **options)), [[0, 1, 2, 1]])
    exact = device.array(np.zeros((1, 4), np.float32))
    filters.gaussian(image, halves, out=exact, **options)
    np.testing.assert_allclose(device.numpy(exact), [[0.25, 1.25, 1.75, 0.75]], atol=1e-6)
    bright = device.array(np.full((9, 9), 250, np.uint8))
    for cval, expected in ((1e4, 255), (-1e4, 0)):
        result = filters.gaussian(bright, 1.0, mode="constant", cval=cval, preserve_range=True)
        assert device.numpy(result)[0, 0] == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("sigma", "reach"), [((1.0, 1.0), (4, 4)), ((7.0, 8.6), (28, 34))])
def test_not_finite_reaches_as_far_as_the_taps(device, value, sigma, reach):
    image = np.zeros((130, 180), np.float32)
    image[60, 90] = value
    result = device.numpy(filters.gaussian(device.array(image), sigma))
    touched = np.zeros(image.shape, bool)
    touched[60 - reach[0] : 61 + reach[0], 90 - reach[1] : 91 + reach[1]] = True
    np.testing.assert_array_equal(result[touched], np.full(touched.sum(), value, np.float32))
    assert (result[~touched] == 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_scipy(device, rng, mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = random_image(rng, (15, 40, 60), "float32")
    for sigma in ((1.0, 0.0, 1.0), (0.0, 7.0, 1.0)):
        theirs = ndimage.gaussian_filter(image.astype(np.float64), sigma, mode=mode, cval=0.3)
        result = device.numpy(filters.gaussian(device.array(image), sigma, mode=mode, cval=0.3))
        assert_close(result, theirs)


def test_results_do_not_depend_on_what_lies_beside(device, rng):
    """The same bits from vector accesses and from single ones, for an image and a part of a batch."""
    image = random_image(rng, (3, 70, 200), "float32")
    batch = device.numpy(filters.gaussian(device.array(image), 1.0, channel_axis=0))
    wide = np.zeros((70, 401), np.float32)
    wide[:, 1:400:2] = image[1]
    alone = device.numpy(filters.gaussian(device.array(wide)[:, 1:400:2], 1.0))
    np.testing.assert_array_equal(batch[1], alone)


@pytest.mark.parametrize(
    ("shape", "dtype", "sigma", "options"),
    [
        ((70, 256), "float32", 1.0, {}),
        ((37, 131), "float32", 3.0, {"mode": "constant", "cval": 1.0}),
        ((50, 128, 3), "uint8", 1.0, {"channel_axis": -1, "preserve_range": True}),
        ((70, 180), "float32", 9.0, {"mode": "reflect"}),
        ((5, 21), "float32", 70.0, {}),
    ],
)
def test_memory_is_accessed_well(device, rng, shape, dtype, sigma, options):
    """No races, nothing read before it was written, no conflicts of banks, whole sectors."""
    image = random_image(rng, shape, dtype)
    with device.checking() as report:
        filters.gaussian(device.array(image), sigma, **options)
    assert report.problems == []
    for access in report.accesses:
        if access.space == "shared":
            assert access.passes == access.ideal, access
        elif access.bytes == 16:  # rows begin at multiples of 16 bytes, not always of 32
            assert access.passes <= 1.15 * access.ideal, access


def test_bad_arguments(device):
    image = device.array(np.zeros((8, 8), np.float32))
    with pytest.raises(ValueError, match="out must not overlap image"):
        filters.gaussian(image, out=image)
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        filters.gaussian(image, -1.0)
    with pytest.raises(TypeError, match="out must be of the kind of image"):
        filters.gaussian(image, out=np.zeros((8, 8), np.float32))


def test_an_axis_too_long_is_refused():
    layout = backend._Layout(np.dtype(np.float32), (1,))
    with pytest.raises(ValueError, match="at most 1073741823 samples along an axis, got 4294967296"):
        backend._plan(0, (2**32,), layout, layout, (((0.5, 0.25), False, "nearest"),), 0.0, 1.0)


# ---- derivatives, and a mode for each axis ---------------------------------------------------------------------------


def agrees_with_the_cpu(device, image, sigma, **options):
    result = device.numpy(filters.gaussian(device.array(image), sigma, **options))
    wanted = filters.gaussian(image.astype(np.float64), sigma, **options)
    assert_close(result, wanted, scale=max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [1, (0, 3), (2, 1)], ids=str)
def test_derivatives(device, rng, order, mode):
    agrees_with_the_cpu(device, random_image(rng, (61, 144), "float32"), 1.0, order=order, mode=mode, cval=0.3)


@pytest.mark.parametrize("order", [1, (3, 2), (0, 1)], ids=str)
def test_derivatives_of_large_radii(device, rng, order):
    for mode in ("mirror", "constant"):
        image = random_image(rng, (70, 90), "float32")
        agrees_with_the_cpu(device, image, (7.6, 9.0), order=order, mode=mode, cval=0.3)


def test_derivatives_of_volumes_and_channels(device, rng):
    volume = random_image(rng, (9, 13, 40), "float32")
    for order in [(1, 0, 0), (0, 2, 1), (3, 1, 0)]:
        agrees_with_the_cpu(device, volume, 1.0, order=order, mode="constant", cval=0.5)
    rgb = random_image(rng, (33, 50, 3), "float32")
    agrees_with_the_cpu(device, rgb, 1.2, order=(0, 1), channel_axis=-1, mode="reflect")


def test_single_taps_and_single_samples(device, rng):
    agrees_with_the_cpu(device, random_image(rng, (20, 30), "float32"), 1.5, radius=0, order=(2, 0))
    for order in (1, 2):
        agrees_with_the_cpu(device, random_image(rng, (1, 9), "float32"), 1.0, order=order)


def test_a_mode_and_a_radius_for_each_axis(device, rng):
    image = random_image(rng, (40, 70), "float32")
    for modes in [("wrap", "constant"), ("constant", "reflect"), ("mirror", "nearest")]:
        agrees_with_the_cpu(device, image, (2.0, 1.0), mode=modes, cval=0.7)
        agrees_with_the_cpu(device, image, (2.0, 7.0), mode=modes, cval=0.7, order=(0, 1))
    agrees_with_the_cpu(device, image, 2.0, radius=(3, 11))
    agrees_with_the_cpu(device, random_image(rng, (40, 70, 4), "float32"), 1.0, axes=(1, 2), mode="constant", cval=0.2)
