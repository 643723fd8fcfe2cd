"""The oracles against SciPy, scikit-image and PyTorch, in float64."""

import numpy as np
import pytest
from reference import borders, color, metrics, random_noise, resize
from reference.conv2d import conv2d
from reference.conv_transpose2d import conv_transpose2d
from reference.denoise_nl_means import denoise_nl_means
from reference.gaussian import gaussian

EXACT = {"rtol": 1e-12, "atol": 1e-12}
SCIPY_MODES = ["nearest", "reflect", "mirror", "wrap", "constant"]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("mode", SCIPY_MODES)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_borders_are_numpys(mode, length):
    numpy_mode = {"nearest": "edge", "reflect": "symmetric", "mirror": "reflect"}.get(mode, mode)
    x = np.arange(1.0, length + 1)
    options = {"constant_values": 9.0} if mode == "constant" else {}
    expected = np.pad(x, 13, mode=numpy_mode, **options)
    np.testing.assert_array_equal(borders.take(x, np.arange(-13, length + 13), 0, mode, 9.0), expected)


@pytest.mark.parametrize("mode", SCIPY_MODES)
@pytest.mark.parametrize(
    ("shape", "sigma", "options"),
    [
        ((13,), 2.0, {}),
        ((11, 17), 1.3, {}),
        ((11, 17), (0.0, 2.5), {}),
        ((3, 2), 4.0, {"truncate": 3.0}),
        ((9, 8, 3), (0.7, 1.9), {"channel_axis": -1}),
        ((2, 9, 8), 1.0, {"channel_axis": 0}),
        ((5, 6, 7), (0.5, 1.0, 2.0), {}),
        ((1, 1), 1.0, {}),
    ],
)
def test_gaussian(rng, mode, shape, sigma, options):
    filters = pytest.importorskip("skimage.filters")
    x = rng.standard_normal(shape)
    expected = filters.gaussian(x, sigma, mode=mode, cval=0.3, preserve_range=True, **options)
    np.testing.assert_allclose(gaussian(x, sigma, mode, 0.3, **options), expected, **EXACT)


def schraudolph_exp(x):
    """The approximation of exp that scikit-image uses: x written into the exponent bits of a double."""
    high = (1048576 / 0.6931471805599453094 * x + (1072693248 - 60801)).astype(np.int32)
    return (high.astype(np.int64) << 32).view(np.float64)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((14, 11), {}),
        ((14, 11), {"sigma": 0.15}),
        ((12, 9), {"patch_size": 4, "patch_distance": 5}),
        ((12, 9), {"patch_size": 1, "patch_distance": 2}),
        ((12, 9), {"h": 0.03}),
        ((3, 2), {"patch_size": 5}),
        ((1, 7), {}),
        ((9, 10, 3), {"channel_axis": -1, "sigma": 0.1}),
        ((2, 9, 10), {"channel_axis": 0}),
        ((6, 7, 5), {"patch_size": 5, "patch_distance": 2}),
        ((6, 7, 5, 2), {"patch_distance": 2, "channel_axis": -1, "sigma": 0.1}),
    ],
)
def test_denoise_nl_means(rng, shape, options):
    restoration = pytest.importorskip("skimage.restoration")
    options = {"patch_size": 3, "patch_distance": 3, "h": 0.2} | options
    x = rng.random(shape)
    theirs = restoration.denoise_nl_means(x, fast_mode=True, **options).reshape(shape)
    np.testing.assert_allclose(denoise_nl_means(x, **options, exp=schraudolph_exp), theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(denoise_nl_means(x, **options), theirs, rtol=0, atol=0.02)


ACTIVATIONS = [
    {},
    {"activation": "relu"},
    {"activation": "leaky_relu"},
    {"activation": "leaky_relu", "slope": -0.5},
    {"activation": "prelu", "slope": [-0.9, 0.3, 2.9, 0.0, 1.0, 0.25]},
]


def activated(torch, y, activation=None, slope=None):
    if activation is None:
        return y
    if activation == "relu":
        return torch.relu(y)
    if activation == "leaky_relu":
        return torch.nn.functional.leaky_relu(y, 0.01 if slope is None else slope)
    return torch.nn.functional.prelu(y, torch.tensor(slope, dtype=y.dtype))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"padding": 1},
        {"padding": (2, 0), "stride": (1, 2)},
        {"padding": "same", "dilation": (2, 1)},
        {"padding": "valid", "groups": 2},
        {"padding": 2, "stride": 3, "dilation": 2, "groups": 2},
    ],
)
def test_conv2d(rng, geometry, padding_mode, activation):
    torch = pytest.importorskip("torch")
    x, bias = rng.standard_normal((2, 4, 9, 11)), rng.standard_normal(6)
    weight = rng.standard_normal((6, 4 // geometry.get("groups", 1), 3, 2))
    layer = torch.nn.Conv2d(4, 6, (3, 2), padding_mode=padding_mode, dtype=torch.float64, **geometry)
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    with torch.no_grad():
        expected = activated(torch, layer(torch.from_numpy(x)), **activation).numpy()
    ours = conv2d(x, weight, bias, **geometry, padding_mode=padding_mode, **activation)
    np.testing.assert_allclose(ours, expected, **EXACT)
    one = conv2d(x[0], weight, bias, **geometry, padding_mode=padding_mode, **activation)
    np.testing.assert_array_equal(one, ours[0])


TRANSPOSED = [
    ((3, 2), {}),
    ((9, 9), {"stride": 2, "padding": 4, "output_padding": 1}),
    ((9, 9), {"stride": 3, "padding": 3}),
    ((9, 9), {"stride": 4, "padding": 4, "output_padding": 3}),
    ((2, 3), {"stride": (3, 2), "padding": (0, 1), "output_padding": (2, 0)}),
    ((3, 3), {"stride": 2, "dilation": (2, 3), "groups": 2, "padding": 1, "output_padding": 1}),
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("kernel", "geometry"), TRANSPOSED)
def test_conv_transpose2d(rng, kernel, geometry, activation):
    torch = pytest.importorskip("torch")
    x, bias = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal(6)
    weight = rng.standard_normal((4, 6 // geometry.get("groups", 1), *kernel))
    tensors = [torch.from_numpy(a) for a in (x, weight, bias)]
    expected = activated(torch, torch.nn.functional.conv_transpose2d(*tensors, **geometry), **activation)
    ours = conv_transpose2d(x, weight, bias, **geometry, **activation)
    np.testing.assert_allclose(ours, expected.numpy(), **EXACT)
    np.testing.assert_array_equal(conv_transpose2d(x[0], weight, bias, **geometry, **activation), ours[0])


@pytest.mark.parametrize("padding_mode", ["replicate", "reflect"])
@pytest.mark.parametrize(("kernel", "geometry"), TRANSPOSED)
def test_conv_transpose2d_continues_the_input(rng, kernel, geometry, padding_mode):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rng.standard_normal((1, 4, 12, 13)))
    weight = rng.standard_normal((4, 6 // geometry.get("groups", 1), *kernel))
    extra = 10
    padded = torch.nn.functional.pad(x, [extra] * 4, mode=padding_mode)
    stride = np.broadcast_to(geometry.get("stride", 1), 2)
    padding = np.broadcast_to(geometry.get("padding", 0), 2)
    options = geometry | {"padding": tuple(int(p + extra * s) for p, s in zip(padding, stride, strict=True))}
    expected = torch.nn.functional.conv_transpose2d(padded, torch.from_numpy(weight), **options)
    ours = conv_transpose2d(x.numpy(), weight, **geometry, padding_mode=padding_mode)
    np.testing.assert_allclose(ours, expected.numpy(), **EXACT)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(9, 31), (14, 10), (29, 12), (40, 26)])
def test_resize_is_torchs_antialiased_one(rng, kernel, shape):
    """Torch takes a = -0.5 when antialiasing; beyond the border it leaves samples out where we repeat one."""
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((20, 26))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None, None], shape, mode=kernel, antialias=True, align_corners=False
    )[0, 0]
    margins = [3 * max(n, o) // n + 1 for n, o in zip(x.shape, shape, strict=True)]
    inner = tuple(slice(margin, -margin) for margin in margins)
    ours = resize.resize(x, shape, kernel)
    np.testing.assert_allclose(ours[inner], expected.numpy()[inner], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 31), (20, 26), (40, 52), (33, 60)])
def test_resize_bilinear_is_torchs(rng, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((20, 26))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None, None], shape, mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(resize.resize(x, shape, "bilinear", anti_aliasing=False), expected.numpy(), **EXACT)


@pytest.mark.parametrize("shape", [(7, 31), (20, 26), (40, 52), (33, 60)])
def test_resize_nearest_is_torchs(rng, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((20, 26))
    expected = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], shape, mode="nearest-exact")
    ours = resize.resize(x, shape, "nearest", anti_aliasing=False)
    np.testing.assert_array_equal(ours, expected[0, 0].numpy())


@pytest.mark.parametrize(("shape", "inner"), [((7, 9), slice(3, -3)), ((42, 54), slice(8, -8))])
def test_resize_lanczos_is_pillows(rng, shape, inner):
    """Pillow leaves out samples beyond the border, and at even factors its outermost taps too."""
    image = pytest.importorskip("PIL.Image")
    x = rng.standard_normal((21, 27)).astype(np.float32)
    expected = np.asarray(image.fromarray(x).resize(shape[::-1], image.Resampling.LANCZOS))
    ours = resize.resize(x, shape, "lanczos3")
    np.testing.assert_allclose(ours[inner, inner], expected[inner, inner], rtol=0, atol=2e-6)


def test_resize_lanczos2_weights():
    """A quarter of the way between two samples: sinc(t) sinc(t / 2) over its sum."""
    t = np.array([1.25, 0.25, -0.75, -1.75])
    expected = np.sin(np.pi * t) * np.sin(np.pi * t / 2) * 2 / (np.pi * t) ** 2
    positions, values = resize.weights(4, 8, "lanczos2")
    row = 3  # at 1.25
    np.testing.assert_array_equal(positions[row][values[row] != 0], [0, 1, 2, 3])
    np.testing.assert_allclose(values[row][values[row] != 0], expected / expected.sum(), **EXACT)


@pytest.mark.parametrize("mode", ["edge", "symmetric", "reflect"])
def test_resize_borders_are_those_of_a_padded_image(rng, mode):
    x = rng.standard_normal((12, 12))
    padded = np.pad(x, 8, mode=mode)
    ours = resize.resize(x, (6, 6), mode=mode)
    np.testing.assert_allclose(ours, resize.resize(padded, (14, 14))[4:-4, 4:-4], **EXACT)


def test_resize_rounds_integers_half_away_from_zero_after_each_axis():
    x = np.array([[0, 1], [1, 1]], np.uint8)
    assert resize.resize(x, (1, 1), "bilinear").item() == 1
    assert resize.resize(x.astype(float), (1, 1), "bilinear").item() == 0.75
    x = np.array([[0, 0], [1, 0]], np.uint8)  # 0.25, but 1 after two roundings
    assert resize.resize(x, (1, 1), "bilinear").item() == 1


def test_color(rng):
    skimage = pytest.importorskip("skimage.color")
    x = rng.random((5, 4, 3))
    np.testing.assert_allclose(color.rgb2ycbcr(x), skimage.rgb2ycbcr(x), **EXACT)
    np.testing.assert_allclose(color.ycbcr2rgb(x * 200), skimage.ycbcr2rgb(x * 200), **EXACT)
    np.testing.assert_allclose(color.rgb2gray(x), skimage.rgb2gray(x), **EXACT)
    np.testing.assert_array_equal(color.gray2rgb(x[..., 0]), skimage.gray2rgb(x[..., 0]))


def test_color_in_integers():
    """The corners of the studio range, and a value that is rounded up."""
    rgb = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255], [1, 2, 3]], np.uint8)
    ycbcr = np.array([[16, 128, 128], [235, 128, 128], [81, 90, 240], [41, 240, 110], [18, 129, 127]], np.uint8)
    np.testing.assert_array_equal(color.rgb2ycbcr_integer(rgb), ycbcr)
    np.testing.assert_array_equal(color.ycbcr2rgb_integer(ycbcr[:2]), rgb[:2])
    np.testing.assert_array_equal(
        color.rgb2ycbcr_integer(rgb.astype(np.uint16) * 257)[:2], ycbcr[:2].astype(np.uint16) * 257
    )
    assert color.ycbcr2rgb_integer(np.array([[255, 255, 255]], np.uint8)).max() == 255


@pytest.mark.parametrize("shape", [(17,), (12, 15), (9, 8, 10)])
def test_mean_squared_error_and_peak_signal_noise_ratio(rng, shape):
    skimage = pytest.importorskip("skimage.metrics")
    x, y = rng.random((2, *shape))
    np.testing.assert_allclose(metrics.mean_squared_error(x, y), skimage.mean_squared_error(x, y), **EXACT)
    expected = skimage.peak_signal_noise_ratio(x, y, data_range=1.5)
    np.testing.assert_allclose(metrics.peak_signal_noise_ratio(x, y, 1.5), expected, **EXACT)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((12, 15), {}),
        ((12, 15), {"win_size": 3}),
        ((12, 15), {"gaussian_weights": True}),
        ((21, 15), {"gaussian_weights": True, "sigma": 1.0, "use_sample_covariance": False}),
        ((12, 15), {"K1": 0.2, "K2": 0.5, "use_sample_covariance": False}),
        ((12, 15), {"gaussian_weights": True, "win_size": 5}),
        ((12, 15, 3), {"channel_axis": -1}),
        ((2, 12, 15), {"channel_axis": 0, "gaussian_weights": True}),
        ((8, 9, 10), {}),
        ((30,), {}),
    ],
)
def test_structural_similarity(rng, shape, options):
    skimage = pytest.importorskip("skimage.metrics")
    x, y = rng.random((2, *shape))
    expected = skimage.structural_similarity(x, y, data_range=1.0, full=True, **options)
    ours = metrics.structural_similarity(x, y, 1.0, full=True, **options)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-9, atol=1e-9)
    assert metrics.structural_similarity(x, y, 1.0, **options) == ours[0]


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize("clip", [True, False])
def test_random_noise(rng, low, clip):
    util = pytest.importorskip("skimage.util")
    x = rng.uniform(low, 1, (13, 9))
    noise = np.random.default_rng(3).normal(0.1, 0.2, x.shape)
    options = {"rng": 3, "clip": clip}
    expected = util.random_noise(x, "gaussian", mean=0.1, var=0.04, **options)
    np.testing.assert_allclose(random_noise.additive(x, noise, clip), expected, **EXACT)
    expected = util.random_noise(x, "speckle", mean=0.1, var=0.04, **options)
    np.testing.assert_allclose(random_noise.speckle(x, noise, clip), expected, **EXACT)
    draw = np.random.default_rng(3)
    chosen, salted = draw.random(x.shape) <= 0.4, draw.random(x.shape) <= 0.3
    expected = util.random_noise(x, "s&p", amount=0.4, salt_vs_pepper=0.3, **options)
    np.testing.assert_array_equal(random_noise.impulses(x, chosen, salted), expected)


def test_random_noise_poisson_levels(rng):
    util = pytest.importorskip("skimage.util")
    x = np.round(rng.random((13, 9)) * 10) / 10
    levels = random_noise.poisson_levels(x)
    expected = util.random_noise(x, "poisson", rng=3, clip=False)
    assert levels == 16
    np.testing.assert_array_equal(np.random.default_rng(3).poisson(x * levels) / levels, expected)
