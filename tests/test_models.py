from __future__ import annotations

import json
import pickle
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, random_image
from reference import resize
from reference import super_resolution as reference
from reference.graphdef import field
from tolerances import assert_close

from fastimg import models
from fastimg.models import Conv2d, ConvTranspose2d, Network, PixelShuffle
from fastimg.models.weights_files.protobuf import Message

DECONVOLUTION = {2: (2, 4, 1), 3: (3, 3, 0), 4: (4, 4, 3)}
DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]


def convolution(rng, outputs, inputs, k, **options):
    scale = 0.7 / np.sqrt(inputs * k * k)
    weight = rng.standard_normal((outputs, inputs, k, k)) * scale
    return Conv2d(weight, rng.standard_normal(outputs) * 0.05, padding=k // 2, padding_mode="replicate", **options)


def prelu(rng, outputs):
    return {"activation": "prelu", "slope": rng.uniform(-1.2, 1.2, outputs)}


def fsrcnn_layers(rng, scale=2, colours=1, d=32, s=5, m=1):
    """FSRCNN-s with random weights that keep values near [0, 1]."""
    shapes = [(d, colours, 5), (s, d, 1), *[(s, s, 3)] * m, (d, s, 1)]
    layers = [convolution(rng, o, i, k, **prelu(rng, o)) for o, i, k in shapes]
    stride, padding, output_padding = DECONVOLUTION[scale]
    weight = rng.standard_normal((d, colours, 9, 9)) * 0.02
    geometry = {"stride": stride, "padding": padding, "output_padding": output_padding, "padding_mode": "replicate"}
    return [*layers, ConvTranspose2d(weight, np.full(colours, 0.4), **geometry)]


def srcnn_layers(rng, middle=1, colours=1):
    relu = {"activation": "relu"}
    return [
        convolution(rng, 64, colours, 9, **relu),
        convolution(rng, 32, 64, middle, **relu),
        replace(convolution(rng, colours, 32, 5), bias=np.full(colours, 0.4)),
    ]


def plainsr_layers(rng, scale=2, colours=1):
    widths = models.PlainSR.widths[scale]
    hidden = [convolution(rng, n, inputs, 3, **prelu(rng, n)) for inputs, n in pairwise((colours, *widths))]
    last = replace(convolution(rng, colours * scale**2, widths[-1], 3), bias=np.full(colours * scale**2, 0.4))
    return [*hidden, last, PixelShuffle(scale, colours)]


def unit(image):
    return image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else image.astype(np.float64)


def expected_of(model, image):
    takes_enlarged = isinstance(model, models.SRCNN)
    levels = np.iinfo(image.dtype).max if image.dtype.kind == "u" else None
    result = reference.enlarge(model.network.layers, unit(image), model.scale, takes_enlarged, levels)
    return result * (levels or 1)


# --- layers and networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (13, 17)])
@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_network_agrees_with_reference(target, rng, size, batch):
    layers = [
        convolution(rng, 6, 2, 5, **prelu(rng, 1)),
        Conv2d(rng.standard_normal((8, 3, 1, 3)), padding=(0, 2), dilation=(1, 2), groups=2, activation="leaky_relu"),
        ConvTranspose2d(rng.standard_normal((8, 2, 4, 3)), np.ones(4), (2, 1), (1, 1), (1, 0), 2, **prelu(rng, 4)),
        PixelShuffle(2),
    ]
    network = Network(layers)
    x = rng.standard_normal((*batch, 2, *size), np.float32)
    result = network(x)
    expected = reference.run(layers, x.reshape(-1, 2, *size).astype(np.float64)).reshape(result.shape)
    assert result.shape == (*batch, 1, *network.output_size(size))
    assert_close(result, expected, scale=np.abs(expected).max())


def test_network_takes_any_layout_and_out(rng, layout):
    network = Network(fsrcnn_layers(rng))
    x = rng.random((2, 1, 11, 12), np.float32)
    expected = network(x)
    np.testing.assert_array_equal(network(layout(x)), expected)
    out = layout(np.empty_like(expected))
    assert network(x, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_network_takes_tensors(rng):
    torch = pytest.importorskip("torch")
    for last in (fsrcnn_layers(rng)[-1], PixelShuffle(4, 2)):
        network = Network([*fsrcnn_layers(rng)[:-1], last])
        x = rng.random((1, 7, 6), np.float32)
        result = network(torch.from_numpy(x))
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.numpy(), network(x))


def test_pixel_shuffle_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    x = rng.random((2, 18, 4, 5), np.float32)
    expected = torch.nn.functional.pixel_shuffle(torch.from_numpy(x), 3).numpy()
    np.testing.assert_array_equal(Network([PixelShuffle(3, 2)])(x), expected)
    np.testing.assert_array_equal(Network([PixelShuffle(3, 2)])(x[0]), expected[0])


def test_layers_are_frozen(rng):
    weight = np.ones((1, 1, 3, 3))
    layer = Conv2d(weight)
    weight[...] = 2
    assert layer.weight.dtype == np.float32
    assert layer.weight.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[...] = 2
    with pytest.raises(FrozenInstanceError):
        layer.stride = (2, 2)
    assert layer.stride == (1, 1)
    assert Conv2d(weight, activation="leaky_relu").slope == np.float32(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": np.ones((3, 3))}, r"layer 'a': weight must have four dimensions.*\(3, 3\)"),
        ({"weight": np.ones((2, 0, 3, 3))}, "none of them empty"),
        ({"weight": np.full((1, 1, 3, 3), np.inf)}, "weight must be finite"),
        ({"bias": np.ones(3)}, r"bias must have shape \(2,\), got \(3,\)"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"stride": (1, 2, 3)}, "stride must be an integer or a pair"),
        ({"padding": -1}, "padding must be at least 0"),
        ({"dilation": (1, 0)}, "dilation must be at least 1"),
        ({"groups": 3}, "groups must divide the weight's 2 channels, got 3"),
        ({"groups": 0}, "groups must be at least 1"),
        ({"padding_mode": "circular"}, "padding_mode must be one of 'zeros', 'replicate', 'reflect', got 'circular'"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"activation": "prelu"}, "activation 'prelu' needs a slope"),
        ({"activation": "relu", "slope": np.ones(1)}, "activation 'relu' takes no slope"),
        ({"activation": "prelu", "slope": np.ones(3)}, r"slope must have shape \(1,\) or \(2,\), got \(3,\)"),
    ],
)
def test_layers_name_what_is_wrong(arguments, message):
    for kind in (Conv2d, ConvTranspose2d):
        with pytest.raises(ValueError, match=message) as error:
            kind(**{"weight": np.ones((2, 2, 3, 3)), "name": "a", **arguments})
        assert "layer 'a'" in str(error.value)


def test_networks_name_what_does_not_fit(rng):
    three, five = convolution(rng, 3, 1, 3, name="three"), convolution(rng, 1, 5, 3, name="five")
    with pytest.raises(ValueError, match="layer 'five' takes 5 channels, but 'three' before it gives 3"):
        Network([three, five])
    with pytest.raises(ValueError, match="at least one layer"):
        Network([])
    with pytest.raises(TypeError, match="got str"):
        Network(["conv"])
    with pytest.raises(ValueError, match="layer 'pixel_shuffle': factor must be at least 1, got 0"):
        PixelShuffle(0)
    network = Network([replace(three, padding=0)])
    with pytest.raises(ValueError, match="x must have 1 channels"):
        network(np.ones((2, 5, 5), np.float32))
    with pytest.raises(ValueError, match=r"too few rows or columns, \(2, 5\): after layer 'three' .* \(0, 3\)"):
        network(np.ones((1, 2, 5), np.float32))
    with pytest.raises(ValueError, match="must not be empty"):
        network(np.ones((1, 0, 5), np.float32))
    with pytest.raises(ValueError, match="x must have 3 or 4 dimensions"):
        network(np.ones((5, 5), np.float32))
    with pytest.raises(TypeError, match="x must have one of the dtypes uint8, uint16, float16, float32, got float64"):
        network(np.ones((1, 5, 5)))
    with pytest.raises(ValueError, match=r"out must have shape \(3, 3, 3\)"):
        network(np.ones((1, 5, 5), np.float32), out=np.ones((3, 5, 5), np.float32))


# --- models on images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_images_agree_with_reference(rng, dtype, channels):
    model = models.FSRCNN_s.from_layers(fsrcnn_layers(rng))
    image = random_image(rng, (13, 10, *channels), dtype)
    result = model(image)
    assert result.dtype == image.dtype
    if dtype == "float64":  # kept, but computed in float32
        result = result.astype(np.float32)
    assert_close(result, expected_of(model, image))


def test_tall_images_agree_with_reference(rng):
    """Colours are finished some rows at a time."""
    model = models.FSRCNN_s(fsrcnn_layers(rng, 3))
    image = random_image(rng, (45, 4, 4), "uint8")
    assert_close(model(image), expected_of(model, image))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["PlainSR", "FSRCNN", "FSRCNN_s", "SRCNN"])
def test_models_agree_with_reference(target, rng, kind, scale):
    model_class = getattr(models, kind)
    if kind == "SRCNN":
        layers = srcnn_layers(rng, 2 * scale - 3)
    elif kind == "PlainSR":
        layers = plainsr_layers(rng, scale)
    else:
        layers = fsrcnn_layers(
            rng, scale, 1, model_class.channels, model_class.shrunk_channels, model_class.mapping_layers
        )
    model = model_class(layers, scale)
    image = random_image(rng, (9, 11, 3), "uint8")
    assert_close(model(image), expected_of(model, image))


@pytest.mark.parametrize("channels", [(), (2,), (3,)])
@pytest.mark.parametrize("kind", ["FSRCNN_s", "SRCNN"])
def test_networks_of_three_channels_see_chroma(rng, channels, kind):
    layers = fsrcnn_layers(rng, colours=3) if kind == "FSRCNN_s" else srcnn_layers(rng, colours=3)
    model = getattr(models, kind)(layers, 2)
    image = random_image(rng, (8, 9, *channels), "float32")
    assert_close(model(image), expected_of(model, image))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1, 3), (2, 3, 4)])
def test_small_images(rng, shape):
    for model in (models.FSRCNN_s(fsrcnn_layers(rng, 3)), models.SRCNN(srcnn_layers(rng), 3)):
        image = random_image(rng, shape, "float32")
        assert_close(model(image), expected_of(model, image))


def test_image_layouts_and_out(rng, layout):
    model = models.FSRCNN_s(fsrcnn_layers(rng))
    for shape, dtype in (((7, 8), "uint16"), ((7, 8, 4), "uint8"), ((7, 8, 3), "float64")):
        image = random_image(rng, shape, dtype)
        expected = model(image)
        np.testing.assert_array_equal(model(layout(image)), expected)
        out = layout(np.zeros_like(expected))
        assert model(image, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_tensors(rng, dtype):
    torch = pytest.importorskip("torch")
    model = models.FSRCNN_s(fsrcnn_layers(rng))
    image = random_image(rng, (6, 7, 3), dtype)
    result = model(torch.from_numpy(image))
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), model(image))
    out = torch.empty_like(result)
    assert model(torch.from_numpy(image), out=out) is out
    np.testing.assert_array_equal(out.numpy(), result.numpy())


def test_results_are_clipped(rng):
    layers = fsrcnn_layers(rng)
    bright = replace(layers[-1], bias=np.array([3.0]))
    dark = replace(layers[-1], bias=np.array([-3.0]))
    image = random_image(rng, (5, 6, 3), "uint8")
    for last, value in ((bright, 255), (dark, 0)):
        model = models.FSRCNN_s([*layers[:-1], last])
        assert (model(image) == value).all()
        assert (model(image / 255) == value / 255).all()


def test_alpha_is_bicubic(rng):
    model = models.FSRCNN_s(fsrcnn_layers(rng))
    image = random_image(rng, (9, 8, 4), "uint8")
    opaque = image.copy()
    opaque[..., 3] = 255
    assert (model(opaque)[..., 3] == 255).all()
    np.testing.assert_array_equal(model(opaque)[..., :3], model(image[..., :3]))
    expected = np.clip(np.rint(reference.bicubic(image[..., 3].astype(float), 2)), 0, 255)
    assert np.abs(model(image)[..., 3].astype(int) - expected).max() <= 1


def test_nan_stays_where_the_network_sees_it(rng):
    model = models.FSRCNN_s(fsrcnn_layers(rng))
    image = rng.random((40, 41), np.float32)
    clean = model(image)
    image[20, 20] = np.nan
    result = model(image)
    assert np.isnan(result[40:42, 40:42]).all()
    reach = 2 * (2 + 1 + 3)
    far = np.ones(result.shape, bool)
    rows_at_once = 2 * 3  # by which the deconvolution's rows spread it further
    far[40 - reach - rows_at_once : 42 + reach + rows_at_once, 40 - reach : 42 + reach] = False
    np.testing.assert_array_equal(result[far], clean[far])


def test_threads_do_not_change_the_result(target, rng):
    image = random_image(rng, (67, 59, 4), "float32")
    for model in (models.FSRCNN(fsrcnn_layers(rng, d=56, s=12, m=4)), models.SRCNN(srcnn_layers(rng, 5), 2)):
        expected = model(image, threads=1)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(model(image, threads=threads), expected)


def test_many_threads_may_share_a_model(rng):
    model = models.FSRCNN_s(fsrcnn_layers(rng))
    images = [random_image(rng, (20 + i, 30), "float32") for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for result, image in zip(pool.map(model, images), images, strict=True):
            np.testing.assert_array_equal(result, model(image))


def test_models_are_picklable(rng):
    model = models.FSRCNN_s(fsrcnn_layers(rng, 3))
    again = pickle.loads(pickle.dumps(model))
    image = random_image(rng, (6, 7, 3), "uint8")
    assert repr(again) == "FSRCNN_s(scale=3)"
    np.testing.assert_array_equal(again(image), model(image))


def test_a_network_of_ones_own(rng):
    """A sub-pixel network in a few lines, saved and loaded by the class that knows no architecture."""
    layers = [
        convolution(rng, 8, 1, 3, activation="relu", name="a"),
        convolution(rng, 4, 8, 3, name="b"),
        PixelShuffle(2),
    ]
    model = models.SuperResolution(layers)
    image = random_image(rng, (9, 7, 3), "uint8")
    assert model.scale == 2
    assert_close(model(image), expected_of(model, image))


def test_the_worked_example_of_the_documentation(rng, tmp_path, monkeypatch):
    """Bicubic interpolation written as a network."""
    text = (ROOT / "docs/models.md").read_text()
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def cubic" in block)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    image = rng.random((20, 24), np.float32)
    assert_close(names["again"](image), np.clip(resize.resize(image, (40, 48)), 0, 1))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.ones(5), ValueError, "image must have 2 or 3 dimensions"),
        (np.ones((2, 3, 4, 3)), ValueError, "image must have 2 or 3 dimensions"),
        (np.ones((4, 4, 5)), ValueError, "image must have 1, 2, 3 or 4 channels in its last dimension, got 5"),
        (np.ones((0, 4)), ValueError, "image must not be empty"),
        (np.ones((4, 4), bool), TypeError, "image must have one of the dtypes uint8"),
        (np.ones((4, 4), np.int32), TypeError, "got int32"),
        ("photo.png", TypeError, "image must"),
    ],
)
def test_bad_images(rng, image, error, message):
    with pytest.raises(error, match=message):
        models.FSRCNN_s(fsrcnn_layers(rng))(image)


def test_bad_out_changes_nothing(rng):
    model, image = models.FSRCNN_s(fsrcnn_layers(rng)), random_image(rng, (4, 5, 3), "uint8")
    read_only = np.zeros((8, 10, 3), np.uint8)
    read_only.flags.writeable = False
    for out, error, message in [
        (np.zeros((8, 10), np.uint8), ValueError, r"out must have shape \(8, 10, 3\), got \(8, 10\)"),
        (np.zeros((8, 10, 3), np.float32), TypeError, "out must have dtype uint8, got float32"),
        (read_only, ValueError, "out is read-only"),
    ]:
        with pytest.raises(error, match=message):
            model(image, out=out)
        assert not out.any()
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        model(image, threads=0)


# --- architectures ------------------------------------------------------------------------------------------------


def weights(model):
    return sum(layer.weight.size for layer in model.network.layers)


def test_sizes_of_the_papers(rng):
    assert weights(models.FSRCNN(fsrcnn_layers(rng, d=56, s=12, m=4))) == 12_464
    assert weights(models.FSRCNN_s(fsrcnn_layers(rng))) == 3_937
    for middle, count in ((1, 8_032), (3, 24_416), (5, 57_184)):
        assert weights(models.SRCNN(srcnn_layers(rng, middle), 2)) == count


def test_layers_get_the_papers_names(rng):
    model = models.FSRCNN(fsrcnn_layers(rng, d=56, s=12, m=4))
    assert [layer.name for layer in model.network.layers] == [
        "feature_extraction",
        "shrinking",
        "mapping.0",
        "mapping.1",
        "mapping.2",
        "mapping.3",
        "expanding",
        "deconvolution",
    ]
    names = [layer.name for layer in models.SRCNN(srcnn_layers(rng), 2).network.layers]
    assert names == ["patch_extraction", "nonlinear_mapping", "reconstruction"]
    names = [layer.name for layer in models.PlainSR(plainsr_layers(rng, 3)).network.layers]
    mappings = [f"mapping.{i}" for i in range(5)]
    assert names == ["feature_extraction", *mappings, "sub_pixel_convolution", "pixel_shuffle"]


def test_wrong_architectures(rng):
    good = fsrcnn_layers(rng)
    with pytest.raises(
        ValueError, match=r"\(feature_extraction\): expected shape \(56, 1, 5, 5\), found \(32, 1, 5, 5\)"
    ):
        models.FSRCNN(fsrcnn_layers(rng, m=4))
    with pytest.raises(ValueError, match="expected 5 layers with weights .*, found 4"):
        models.FSRCNN_s(good[1:])
    with pytest.raises(ValueError, match=r"\(deconvolution\): expected a ConvTranspose2d, found a Conv2d"):
        models.FSRCNN_s([*good[:-1], Conv2d(np.ones((1, 32, 9, 9)))])
    with pytest.raises(ValueError, match=r"scale must be 2, which the layers enlarge by, got 3"):
        models.FSRCNN_s(good, 3)
    with pytest.raises(ValueError, match=r"lead from \(64, 65\) to \(125, 129\)"):
        models.FSRCNN_s([*good[:-1], replace(good[-1], output_padding=0, padding=(5, 4))])
    with pytest.raises(ValueError, match="scale must be given"):
        models.SRCNN(srcnn_layers(rng))
    with pytest.raises(ValueError, match="scale must be at least 1"):
        models.SRCNN(srcnn_layers(rng), 0)
    with pytest.raises(
        ValueError, match=r"\(nonlinear_mapping\): expected shape \(32, 64, 5, 5\), found \(32, 64, 7, 7\)"
    ):
        models.SRCNN(srcnn_layers(rng, 7), 2)
    with pytest.raises(ValueError, match="whole factor"):
        models.SRCNN([replace(layer, padding=0) for layer in srcnn_layers(rng)], 2)
    with pytest.raises(ValueError, match="from one channel to one or from three to three, got 1 to 2"):
        models.SuperResolution([Conv2d(np.ones((2, 1, 1, 1)))])
    with pytest.raises(ValueError, match="at least one layer"):
        models.SuperResolution([])
    with pytest.raises(ValueError, match="expected 5 layers"):
        models.FSRCNN_s([])
    with pytest.raises(ValueError, match="expected a PixelShuffle as the last layer, found nothing"):
        models.PlainSR([])
    with pytest.raises(ValueError, match="expected a PixelShuffle as the last layer, found a ConvTranspose2d"):
        models.PlainSR(good)
    with pytest.raises(ValueError, match=r"scale must be one of 2, 3, 4, got 5"):
        models.PlainSR([*plainsr_layers(rng)[:-1], PixelShuffle(5)])
    with pytest.raises(ValueError, match=r"\(sub_pixel_convolution\): expected shape \(16, 15, 3, 3\), found \(9, 15"):
        models.PlainSR([*plainsr_layers(rng, 4)[:-2], convolution(rng, 9, 15, 3), PixelShuffle(4)])


@pytest.mark.parametrize("kind", ["PlainSR", "FSRCNN", "FSRCNN_s", "SRCNN"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pretrained_beats_bicubic(scale, kind):
    data = pytest.importorskip("skimage.data")
    luma, reduced = reference.protocol_pair(data.astronaut()[:240, :240], scale)
    enlarged = getattr(models, kind).from_pretrained(scale)(reduced.astype(np.float32))
    psnr, ssim = reference.protocol_quality(luma, enlarged, scale)
    bicubic_psnr, bicubic_ssim = reference.protocol_quality(luma, reference.bicubic(reduced, scale), scale)
    assert psnr > bicubic_psnr + 0.5
    assert ssim > bicubic_ssim


def test_missing_pretrained_weights():
    with pytest.raises(ValueError, match=r"no weights of SRCNN for scale 5 come with fastimg; SRCNN\.from_file"):
        models.SRCNN.from_pretrained(5)
    with pytest.raises(ValueError, match="no weights of FSRCNN for scale 7"):
        models.FSRCNN.from_pretrained(7)
    with pytest.raises(TypeError, match="scale must be an integer, got '2'"):
        models.FSRCNN.from_pretrained("2")


# --- weights on the standard images -----------------------------------------------------------------------------

GOLDEN = {
    "FSRCNN": ("FSRCNN", "FSRCNN_x{}.mat"),
    "FSRCNN-s": ("FSRCNN_s", "FSRCNN-s_x{}.mat"),
    "SRCNN-91 9-1-5": ("SRCNN", "SRCNN_91x{}.mat"),
    "SRCNN-IN 9-5-5": ("SRCNN", "SRCNN_INx{}.mat"),
}


@pytest.fixture(scope="module")
def set5(data_folder):
    """Luma and its reduction, by image and scale."""
    image_file = pytest.importorskip("PIL.Image")
    golden = json.loads((data_folder / "sr/set5_golden.json").read_text())
    pairs = {}
    for name in golden["images"]:
        with image_file.open(data_folder / f"sr/Set5/{name}_GT.webp") as file:
            rgb = np.asarray(file.convert("RGB"))
        pairs |= {(name, scale): reference.protocol_pair(rgb, scale) for scale in (2, 3, 4)}
    return golden, pairs


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", GOLDEN)
def test_the_papers_quality(data_folder, set5, name, scale):
    """The golden values have three and four decimals; more than a thousandth apart would be another protocol."""
    golden, pairs = set5
    kind, file = GOLDEN[name]
    model = getattr(models, kind).from_file(data_folder / "weights/authors" / file.format(scale), scale)
    for image, expected in zip(golden["images"], golden["psnr_ssim"][f"x{scale}"][name], strict=True):
        luma, reduced = pairs[image, scale]
        quality = reference.protocol_quality(luma, model(reduced.astype(np.float32)), scale)
        assert quality[0] == pytest.approx(expected[0], rel=0, abs=1e-3), image
        assert quality[1] == pytest.approx(expected[1], rel=0, abs=2e-4), image


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pytorch_checkpoint_agrees_with_pytorch(data_folder, rng, scale):
    """A network of three channels with zero padding, and one PReLU after all mapping layers."""
    torch = pytest.importorskip("torch")
    path = data_folder / f"weights/pytorch/FSRCNN-x{scale}.pt"
    state = torch.load(path, map_location="cpu", weights_only=True)
    modules = {"feature_extract": torch.nn.Conv2d(3, 56, 5, padding=2), "activation_1": torch.nn.PReLU(56)}
    modules |= {"shrink": torch.nn.Conv2d(56, 12, 1), "activation_2": torch.nn.PReLU(12)}
    modules |= {f"map_{i}": torch.nn.Conv2d(12, 12, 3, padding=1) for i in (1, 2, 3, 4)}
    modules |= {"activation_3": torch.nn.PReLU(12), "expand": torch.nn.Conv2d(12, 56, 1)}
    modules |= {"activation_4": torch.nn.PReLU(56)}
    modules["deconv"] = torch.nn.ConvTranspose2d(56, 3, 9, scale, padding=4, output_padding=scale - 1)
    theirs = torch.nn.Sequential()
    for name, module in modules.items():
        theirs.add_module(name, module)
    theirs.load_state_dict(state)

    model = models.FSRCNN.from_file(path, scale)
    x = rng.random((3, 40, 31), np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)[None])[0].numpy()
    assert_close(model.network(x), expected.astype(np.float64), factor=4)  # two float32 results


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["FSRCNN", "FSRCNN_s"])
def test_opencv_graph_agrees_with_opencv(data_folder, rng, kind, scale):
    """OpenCV 5 does not import depth to space any more, so it runs the graph up to there."""
    cv2 = pytest.importorskip("cv2")
    path = data_folder / "weights/opencv" / f"{kind.replace('_s', '-small')}_x{scale}.pb"
    model = getattr(models, kind).from_file(path)
    assert model.scale == scale
    nodes = Message(path.read_bytes()).all_bytes(1)
    convolutions = [n for n in nodes if Message(n).text(2) not in ("DepthToSpace", "BiasAdd", "Transpose")]
    network = cv2.dnn.readNetFromTensorflow(np.frombuffer(b"".join(field(1, n) for n in convolutions), np.uint8))
    image = rng.random((37, 29), np.float32)
    network.setInput(image[None, None])
    (bias_node,) = (n for n in map(Message, nodes) if n.text(1) == {"FSRCNN": "b8", "FSRCNN_s": "b5"}[kind])
    attributes = {entry.text(1): entry.message(2) for entry in bias_node.messages(5)}
    bias = struct.unpack("<f", attributes["value"].message(8).bytes(5))
    expected = reference.pixel_shuffle(network.forward(), scale)[0] + bias
    assert_close(model.network(image[None]), expected.astype(np.float64), factor=4)  # two float32 results
