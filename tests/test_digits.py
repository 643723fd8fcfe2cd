"""Handwritten digits: IDX files, those that are drawn, and `models.DigitDenoiser` from training to inference."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from fastimg import filters, metrics, models, restoration
from fastimg.cli import main
from fastimg.training import Settings, digits, train
from fastimg.training.idx import find_digits, read_idx, write_idx

NOISE = 0.5


@pytest.fixture(scope="module")
def drawn():
    return digits.draw(640, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("digits")
    write_idx(folder / "train-images-idx3-ubyte.gz", drawn[0])
    write_idx(folder / "train-labels-idx1-ubyte.gz", drawn[1])
    return folder


@pytest.fixture
def one_thread():
    torch = pytest.importorskip("torch")
    pytest.importorskip("tqdm")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


def noisy_digits(factor, count=60):
    """As in the classic example: Gaussian noise, clipped."""
    clean = digits.draw(count, seed=2)[0] / np.float32(255)
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    return clean, (clean + factor * noise).clip(0, 1)


def psnr(clean, images):
    return np.mean([metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(clean, images, strict=True)])


def of_filters(clean, noisy):
    """PSNR of non-local means and of Gaussians, at the best strength of each."""
    non_local = [
        [restoration.denoise_nl_means(image, patch_size=5, patch_distance=6, h=h) for image in noisy]
        for h in np.arange(0.1, 1.3, 0.1)
    ]
    gaussian = [[filters.gaussian(image, sigma) for image in noisy] for sigma in (0.5, 0.75, 1, 1.25)]
    return [max(psnr(clean, images) for images in results) for results in (non_local, gaussian)]


@pytest.mark.parametrize("name", ["plain", "compressed.gz"])
def test_idx_files_come_back(tmp_path, drawn, name):
    for values in (*drawn, drawn[0][:0], np.zeros((1, 5, 3), np.uint8)):
        write_idx(tmp_path / name, values)
        back = read_idx(tmp_path / name)
        assert back.dtype == np.uint8
        assert back.flags.writeable
        np.testing.assert_array_equal(back, values)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_idx_byte_by_byte(tmp_path):
    """The layout of http://yann.lecun.com/exdb/mnist, where every number is big-endian."""
    (tmp_path / "images").write_bytes(bytes.fromhex("00000803 00000002 00000001 00000003") + bytes(range(6)))
    (tmp_path / "labels").write_bytes(bytes.fromhex("00000801 00000003 070901"))
    np.testing.assert_array_equal(read_idx(tmp_path / "images"), [[[0, 1, 2]], [[3, 4, 5]]])
    np.testing.assert_array_equal(read_idx(tmp_path / "labels"), [7, 9, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "truncated: 0 bytes where 4 were expected"),
        ("0000", "truncated: 2 bytes where 4 were expected"),
        ("00000803 00000001", "truncated: 4 bytes where 12 were expected"),
        ("00000801 00000003 0102", "truncated: 2 bytes where 3 were expected"),
        ("00000801 00000001 0102", "goes on after the 1 bytes that its header tells of"),
        (
            "00000d03 00000001",
            "no IDX file of images or labels: begins with 0x00000d03, expected 0x00000801 or 0x00000803",
        ),
        ("01080000 01000000 01", "begins with 0x01080000"),
        ("89504e47 0d0a1a0a", "begins with 0x89504e47"),
        (
            "00000803 ffffffff ffffffff ffffffff",
            "tells of 4294967295 × 4294967295 × 4294967295 bytes, more than is read",
        ),
        ("00000801 80000000", "tells of 2147483648 bytes, more than is read"),
    ],
)
def test_bad_idx_files(tmp_path, content, message):
    for name, written in (("plain", bytes.fromhex(content)), ("packed.gz", gzip.compress(bytes.fromhex(content)))):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(ValueError, match=f"'.*{name}': .*{message}"):
            read_idx(tmp_path / name)


def test_damaged_gzip(tmp_path, folder):
    whole = (folder / "train-labels-idx1-ubyte.gz").read_bytes()
    for damaged in (whole[:5], whole[:-20], whole[:20] + b"\xff" * 20 + whole[40:], whole[:-8] + bytes(8)):
        (tmp_path / "labels").write_bytes(damaged)
        with pytest.raises(ValueError, match="labels': truncated or damaged gzip file"):
            read_idx(tmp_path / "labels")


def test_a_long_gzip_file_is_not_unpacked(tmp_path):
    (tmp_path / "long.gz").write_bytes(gzip.compress(bytes.fromhex("00000801 00000001") + bytes(2**24)))
    with pytest.raises(ValueError, match="goes on after the 1 bytes"):
        read_idx(tmp_path / "long.gz")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(TypeError, match="values must be uint8, got float64"):
        write_idx(tmp_path / "a", np.zeros(3))
    with pytest.raises(ValueError, match="values must have 1 or 3 dimensions, got 2"):
        write_idx(tmp_path / "a", np.zeros((3, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_names_of_the_file(tmp_path):
    with pytest.raises(ValueError, match="no digits in '.*' .looked for train-images-idx3-ubyte, "):
        find_digits([tmp_path])
    with pytest.raises(FileNotFoundError, match="data must be folders of IDX files, got '.*nowhere'"):
        find_digits([tmp_path / "nowhere"])
    names = [f"train-images{dot}idx3-ubyte{suffix}" for dot in ".-" for suffix in (".gz", "")]
    for name in names:  # each goes before those there already
        write_idx(tmp_path / name, np.zeros((1, 28, 28), np.uint8))
        assert find_digits([tmp_path]) == [tmp_path / name]


def test_drawn_digits(drawn):
    images, labels = drawn
    assert np.array_equal(digits.draw(9, seed=3)[0], digits.draw(9, seed=3)[0])
    assert not np.array_equal(digits.draw(9, seed=3)[0], digits.draw(9, seed=4)[0])
    assert set(labels) == set(range(10))
    rows, columns = (images.max(axis) > 127 for axis in (2, 1))
    longest = np.maximum(rows.sum(1), columns.sum(1))
    assert longest.min() >= 17
    assert longest.max() <= 22
    middle = [(image * np.mgrid[:28, :28]).sum((1, 2)) / image.sum() for image in images.astype(float)]
    np.testing.assert_allclose(middle, 13.5, atol=1.5)
    assert images.mean() / 255 == pytest.approx(0.13, abs=0.02)  # as MNIST's


@pytest.mark.parametrize("factor", [0.1, 0.25, 0.5])
def test_weights_that_come_with_fastimg(factor):
    model = models.DigitDenoiser.from_pretrained()
    assert repr(model) == "DigitDenoiser(4 layers, 1 channels)"
    assert sum(layer.weight.size for layer in model.layers) == 19_008
    clean, noisy = noisy_digits(factor)
    assert psnr(clean, model(noisy)) > max(*of_filters(clean, noisy), psnr(clean, noisy)) + 2


def test_batches(rng):
    model = models.DigitDenoiser.from_pretrained()
    for dtype in ("uint8", "uint16", "float16", "float32", "float64"):
        top = 1 if dtype.startswith("float") else np.iinfo(dtype).max
        images = (noisy_digits(NOISE, 7)[1] * top).astype(dtype)
        result = model(images)
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        for image, one in zip(images, result, strict=True):
            np.testing.assert_array_equal(model(image), one)
    out = np.zeros_like(images)
    assert model(images[::-1], out=out) is out
    np.testing.assert_array_equal(out, result[::-1])
    with pytest.raises(ValueError, match="image must have 2 or 3 dimensions .rows and columns, after .*, got 4"):
        model(images[None])
    with pytest.raises(ValueError, match=r"image must not be empty, got shape \(0, 28, 28\)"):
        model(images[:0])
    with pytest.raises(ValueError, match="layers must lead from one channel to one, got 3"):
        models.DigitDenoiser([models.Conv2d(np.zeros((3, 3, 3, 3)), padding=1)])


def test_what_is_trained_is_what_runs(one_thread, folder, tmp_path):
    """The same numbers, and on other digits the PSNR that training tells, far above what filters reach."""
    from fastimg.training.networks import build

    lines = []
    settings = Settings("digits", iterations=150, batch=16, averaging=0.95)
    assert (settings.patch, settings.margin) == (28, 0)
    told = train(folder, tmp_path / "digits.safetensors", settings, report=lines.append)
    model = models.DigitDenoiser.from_file(tmp_path / "digits.safetensors")
    clean, noisy = noisy_digits(NOISE)
    result = psnr(clean, model(noisy))
    assert result == pytest.approx(told, abs=0.7)
    assert result > psnr(clean, noisy) + 6
    assert result > max(of_filters(clean, noisy)) + 2

    from safetensors.numpy import load_file

    network = build(settings)
    assert network.load(load_file(tmp_path / "digits.safetensors")) == 8
    with one_thread.inference_mode():
        trained = network(one_thread.from_numpy(noisy)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(model(noisy), trained.clip(0, 1), rtol=0, atol=1e-5)


def test_digits_are_neither_turned_nor_noisy_beyond_the_range(one_thread, drawn):
    from fastimg.training.data import noisy_pair
    from fastimg.training.trainer import Trainer

    pairs = [noisy_pair(image, 0) for image in drawn[0][:10]]
    trainer = Trainer(Settings("digits", batch=40), pairs)
    seen = {digit.numpy().tobytes() for digit in trainer.patches(0)[1]}
    assert seen <= {pair.low.tobytes() for pair in pairs}
    seen = []
    trainer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer.step()
    assert (seen[0].min(), seen[0].max()) == (0, 1)


def test_command(one_thread, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "digits", "--data", str(folder), "--iterations", "2", "--batch", "2", "--no-progress"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("dB on the held-out images\n")
    assert len(models.DigitDenoiser.from_file("digits.safetensors").layers) == 4
    assert main([*words, "--resume", "--patch", "20"]) == 1
    assert "its training run had patch = 28, this one has 20" in capsys.readouterr().err
    (tmp_path / "labels").mkdir()
    write_idx(tmp_path / "labels" / "train-images-idx3-ubyte", np.zeros(5, np.uint8))
    assert main([*words, "--overwrite", "--data", "labels"]) == 1
    assert "train-images-idx3-ubyte': holds 5 labels, no images" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--data", str(tmp_path)]) == 1
    assert "no digits in" in capsys.readouterr().err
