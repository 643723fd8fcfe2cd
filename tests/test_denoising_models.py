"""`models.DnCNN`: against PyTorch, and with published weights on published images."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from safetensors.numpy import save_file

from fastimg import image_files, metrics, models


@pytest.fixture
def layers(rng):
    def layer(inputs, outputs, activation=None):
        weight = rng.standard_normal((outputs, inputs, 3, 3)) * 0.1
        return models.Conv2d(weight, rng.standard_normal(outputs) * 0.05, padding=1, activation=activation)

    return [layer(1, 5, "relu"), layer(5, 5, "relu"), layer(5, 1)]


def by_pytorch(layers, x):
    torch = pytest.importorskip("torch")
    y = torch.from_numpy(x.astype(np.float32))[None, None]
    for number, layer in enumerate(layers):
        weight, bias = (torch.from_numpy(np.array(a)) for a in (layer.weight, layer.bias))
        y = torch.nn.functional.conv2d(y, weight, bias, padding=1)
        y = torch.relu(y) if number + 1 < len(layers) else y
    return np.clip(x - y[0, 0].numpy(), 0, 1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (31, 40)])
def test_subtracts_what_the_network_tells(target, rng, layers, shape):
    x = random_image(rng, shape, "float32")
    np.testing.assert_allclose(models.DnCNN(layers)(x), by_pytorch(layers, x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_every_dtype(rng, layers, dtype):
    image = random_image(rng, (20, 21), dtype)
    before = image.copy()
    result = models.DnCNN(layers)(image)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(image, before)
    top = np.iinfo(dtype).max if image.dtype.kind == "u" else 1
    wanted = by_pytorch(layers, image.astype(np.float64) / top) * top
    np.testing.assert_allclose(result.astype(float), wanted, rtol=0, atol=0.51 if top > 1 else 2**-10)


def test_channels_one_by_one_and_out(rng, layers):
    model = models.DnCNN(layers)
    rgb = random_image(rng, (20, 21, 3), "uint8")
    out = np.zeros_like(rgb)
    assert model(rgb, out=out) is out
    for channel in range(3):
        np.testing.assert_array_equal(out[..., channel], model(rgb[..., channel]))
    np.testing.assert_array_equal(model(rgb[..., :1])[..., 0], out[..., 0])
    view = rgb.transpose(1, 0, 2)[::-1, ::2]
    np.testing.assert_array_equal(model(view.copy()), model(view))


def test_colour_and_tensors(rng):
    torch = pytest.importorskip("torch")
    model = models.DnCNN([models.Conv2d(rng.standard_normal((3, 3, 3, 3)) * 0.05, padding=1)])
    rgb = random_image(rng, (20, 21, 3), "float32")
    result = model(torch.from_numpy(rgb))
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), model(rgb))
    with pytest.raises(ValueError, match=r"image must have 3 channels for a network of colour, got shape \(20, 21\)"):
        model(rgb[..., 0])


def test_files(tmp_path, rng, layers):
    torch = pytest.importorskip("torch")
    model = models.DnCNN(layers)
    model.save(tmp_path / "model.safetensors")
    state = {}
    for number, layer in enumerate(layers):
        state[f"model.{2 * number}.weight"] = torch.from_numpy(np.array(layer.weight))
        state[f"model.{2 * number}.bias"] = torch.from_numpy(np.array(layer.bias))
    torch.save(state, tmp_path / "model.pth")
    image = random_image(rng, (20, 21), "float32")
    for name in ("model.safetensors", "model.pth"):
        np.testing.assert_array_equal(models.DnCNN.from_file(tmp_path / name)(image), model(image))
    torch.save({"a.weight": torch.zeros(4, 1, 5, 5), "a.bias": torch.zeros(4)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth: weight of 'a': expected 3×3 kernels, found shape \(4, 1, 5, 5\)"):
        models.DnCNN.from_file(tmp_path / "other.pth")


def test_small_one(layers):
    model = models.DnCNN_s.from_pretrained()
    assert repr(model) == "DnCNN_s(9 layers, 1 channels)"
    assert sum(layer.weight.size for layer in model.layers) == 146_016
    assert [layer.dilation for layer in model.layers] == [(d, d) for d in (1, 1, 2, 3, 4, 3, 2, 1, 1)]
    with pytest.raises(ValueError, match=r"eight to 48 channels and one to 1 channel, got layers to \[5, 5, 1\]"):
        models.DnCNN_s(layers)
    with pytest.raises(ValueError, match="no weights of DnCNN come with fastimg"):
        models.DnCNN.from_pretrained()


def test_file_without_tensors(tmp_path):
    save_file({}, tmp_path / "weights")
    with pytest.raises(ValueError, match="weights: layers must hold at least one layer"):
        models.DnCNN.from_file(tmp_path / "weights")


def test_slopes_make_it_leaky(tmp_path, rng):
    shapes = {"0.weight": (3, 1, 3, 3), "0.bias": (3,), "0.slope": (3,), "1.weight": (1, 3, 3, 3), "1.bias": (1,)}
    tensors = {f"convolution.{name}": rng.random(shape, np.float32) - 0.5 for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "weights")
    first, last = models.DnCNN.from_file(tmp_path / "weights").layers
    assert (first.activation, last.activation) == ("prelu", None)
    np.testing.assert_array_equal(first.slope, tensors["convolution.0.slope"])
    save_file(tensors | {"convolution.1.slope": np.ones(1, np.float32)}, tmp_path / "weights")
    with pytest.raises(ValueError, match=r"'convolution.1' has a PReLU slope, which the last layer must not have"):
        models.DnCNN.from_file(tmp_path / "weights")


def test_names_of_the_layers(tmp_path):
    tensors = {f"convolution.{n}.weight": np.zeros((1, 1, 3, 3), np.float32) for n in (0, 2)}
    save_file(tensors, tmp_path / "weights")
    with pytest.raises(ValueError, match="expected tensors of convolution.0 to convolution.1, found .*convolution.2"):
        models.DnCNN.from_file(tmp_path / "weights")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers must hold at least one layer"),
        ([models.Conv2d(np.zeros((2, 1, 3, 3)), padding=1)], "from one channel to one or .*, got 1 to 2"),
        ([models.Conv2d(np.zeros((1, 1, 3, 3)))], r"layers must keep the size of the image, but lead .* to \(62, 63\)"),
    ],
)
def test_bad_layers(layers, message):
    with pytest.raises(ValueError, match=message):
        models.DnCNN(layers)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((0, 4)), ValueError, r"image must not be empty, got shape \(0, 4\)"),
        (np.zeros((4, 4, 2)), ValueError, "image must have 1 or 3 channels in its last dimension, got 2"),
        (np.zeros(4), ValueError, "image must have 2 or 3 dimensions"),
        (np.zeros((4, 4), int), TypeError, "image must have one of the dtypes"),
    ],
)
def test_bad_images(layers, image, error, message):
    with pytest.raises(error, match=message):
        models.DnCNN(layers)(image)


def test_published_psnr(data_folder):
    """Over all of Set12 the mean is 30.45 dB, the paper's 30.44; here are three of its images."""
    pytest.importorskip("torch")
    model = models.DnCNN.from_file(data_folder / "weights" / "dncnn" / "dncnn_25.pth")
    for number, published in ((1, 30.18), (4, 29.41), (5, 30.28)):
        image = image_files.read_image(data_folder / "denoise" / "Set12" / f"{number:02}.webp")[0]
        grey = (image if image.ndim == 2 else image[..., 0]) / 255.0
        noisy = (grey + np.random.default_rng(number - 1).normal(0, 25 / 255, grey.shape)).astype(np.float32)
        result = np.rint(model(noisy) * 255.0) / 255
        assert abs(metrics.peak_signal_noise_ratio(grey, result, data_range=1) - published) < 0.2
