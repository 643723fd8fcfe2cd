"""Training: the loss falls, a resumed run is the uninterrupted one, what is trained is what runs, bad input."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pyvips = pytest.importorskip("pyvips")
pytest.importorskip("tqdm")

from safetensors.numpy import load_file, save_file  # noqa: E402

from fastimg import image_files, models  # noqa: E402
from fastimg.cli import main  # noqa: E402
from fastimg.cli import train as train_command  # noqa: E402
from fastimg.training import Settings, run, train  # noqa: E402
from fastimg.training.data import (  # noqa: E402
    Pair,
    make_pairs,
    noisy_pair,
    read_grey,
    read_luma,
    small_pair,
)
from fastimg.training.muon import Muon, orthogonalised  # noqa: E402
from fastimg.training.networks import Network, build, fsrcnn, plainsr, srcnn  # noqa: E402
from fastimg.training.patches import Patches  # noqa: E402
from fastimg.training.trainer import Trainer  # noqa: E402

SMALL = {"batch": 4, "patch": 12, "margin": 1}
SHAPES = {
    "feature_extraction": (56, 1, 5, 5),
    "shrinking": (12, 56, 1, 1),
    **{f"mapping.{index}": (12, 12, 3, 3) for index in range(4)},
    "expanding": (56, 12, 1, 1),
    "deconvolution": (56, 1, 9, 9),
}


class Interrupted(Exception):
    pass


def losses_of(trainer: Trainer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        trainer.step()
        losses.append(trainer.mean_loss())
    return losses


def identical(one: Path, other: Path) -> bool:
    """Whether two weights files hold the same tensors (the order of the header's metadata is random)."""
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def write_image(path: Path, pixels: np.ndarray) -> None:
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Discs and stripes on gradients, one file in each format."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    row, column = np.mgrid[:66, :80].astype(float)
    for index, suffix in enumerate((".png", ".webp", ".jpg", ".png", ".tif", ".png")):
        planes = []
        for _ in range(3):
            y, x, radius, period = random.uniform((10, 10, 8, 5), (56, 70, 20, 12))
            plane = 60 + row + 40 * (np.hypot(row - y, column - x) < radius)
            planes.append(plane + 30 * (np.sin(column / period * 6.28) > 0))
        write_image(folder / f"{index}{suffix}", np.stack(planes, -1).astype(np.uint8))
    return folder


@pytest.fixture
def pairs(photographs):
    planes = map(read_luma, sorted(photographs.iterdir()))
    return make_pairs(planes, partial(small_pair, scale=2), (1.0, 0.8), smallest=12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("kind", "layers"), [("FSRCNN", fsrcnn), ("PlainSR", plainsr)])
def test_what_is_trained_is_what_runs(kind, layers, scale, tmp_path):
    torch.manual_seed(scale)
    network = Network(layers(scale))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_file(network.export(), tmp_path / "weights")
    model = getattr(models, kind).from_file(tmp_path / "weights", scale)
    x = np.random.default_rng(scale).random((2, 1, 7, 11), dtype=np.float32)
    with torch.inference_mode():
        trained = network(torch.from_numpy(x)).numpy()
    assert trained.shape == (2, 1, 7 * scale, 11 * scale)
    np.testing.assert_allclose(model.network(x), trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("layers", [fsrcnn, plainsr])
def test_export_and_load_are_inverse(layers, scale):
    torch.manual_seed(1)
    one, other = Network(layers(scale)), Network(layers(scale))
    with torch.no_grad():
        for parameter in [*one.parameters(), *other.parameters()]:
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert other.load(one.export()) == 3 * len(layers(scale)) - 1
    x = torch.rand(1, 1, 6, 5)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), one(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 20, 8), (1, 5, 5)])
def test_orthogonalised(rng, shape):
    matrices = rng.standard_normal(shape)
    u, _, v = np.linalg.svd(matrices, full_matrices=False)
    result = orthogonalised(torch.from_numpy(matrices)).numpy()
    found = u.transpose(0, 2, 1) @ result @ v.transpose(0, 2, 1)
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(min(shape[1:])), found.shape), atol=0.4)
    assert not orthogonalised(torch.zeros(shape)).any()


def test_muon_takes_steps_of_one_size(rng):
    kernel = torch.nn.Parameter(torch.zeros(16, 4, 3, 3))
    optimiser = Muon([kernel], lr=1e-2)
    for scale in (1e-6, 1e3):
        before = kernel.detach().clone()
        kernel.grad = scale * torch.from_numpy(rng.standard_normal(kernel.shape, np.float32))
        optimiser.step()
        assert (kernel - before).square().mean().sqrt().item() == pytest.approx(0.2 * 1e-2, rel=0.3)


def test_loss_falls(pairs):
    settings = Settings("fsrcnn", scale=2, iterations=80, **SMALL)
    trainer = Trainer(settings, pairs)
    before = trainer.psnr(pairs)
    losses = losses_of(trainer, 60)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert trainer.psnr(pairs) > before + 3


def test_train_writes_weights(photographs, tmp_path):
    lines = []
    settings = Settings("fsrcnn", scale=3, iterations=6, **SMALL)
    psnr = train(photographs, tmp_path / "x3.safetensors", settings, report=lines.append)
    assert [line.split(":")[0] for line in lines] == ["iteration 6"]
    assert 0 < psnr < 60
    tensors = load_file(tmp_path / "x3.safetensors")
    expected = {f"{key}.weight": shape for key, shape in SHAPES.items()}
    expected |= {f"{key}.bias": shape[:1] for key, shape in SHAPES.items()} | {"deconvolution.bias": (1,)}
    expected |= {f"{key}.slope": shape[:1] for key, shape in SHAPES.items() if key != "deconvolution"}
    assert {key: value.shape for key, value in tensors.items()} == expected
    assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in tensors.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x3.safetensors", "x3.safetensors.checkpoint"]


def test_the_small_network_is_trained_too(photographs, tmp_path):
    train(photographs, tmp_path / "s.safetensors", Settings("fsrcnn-s", scale=2, iterations=2, **SMALL))
    model = models.FSRCNN_s.from_file(tmp_path / "s.safetensors")
    assert model.scale == 2
    assert len(model.network.layers) == 5


def test_srcnn_is_trained_on_enlarged_images(photographs, tmp_path):
    settings = Settings("srcnn", scale=3, iterations=30, **(SMALL | {"patch": 20, "margin": 2}))
    planes = map(read_luma, sorted(photographs.iterdir()))
    trainer = Trainer(settings, make_pairs(planes, partial(small_pair, scale=3, enlarged=True), (1.0,), 20))
    losses = losses_of(trainer, 30)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    train(photographs, tmp_path / "s.safetensors", settings)
    model = models.SRCNN.from_file(tmp_path / "s.safetensors")
    assert model.scale == 3
    x = np.random.default_rng(0).random((1, 1, 9, 12), dtype=np.float32)
    tensors = load_file(tmp_path / "s.safetensors")
    network = Network(srcnn())
    assert network.load(tensors) == 6
    with torch.inference_mode():
        trained = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.network(x), trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("dncnn", "DnCNN"), ("dncnn-s", "DnCNN_s")])
def test_what_is_trained_to_denoise_is_what_runs(tmp_path, name, kind):
    torch.manual_seed(0)
    network = build(Settings(name))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_file(network.export(), tmp_path / "weights")
    x = np.random.default_rng(0).random((9, 14), dtype=np.float32)
    with torch.inference_mode():
        denoised = network(torch.from_numpy(x)[None, None])[0, 0].numpy()
    model = getattr(models, kind).from_file(tmp_path / "weights")
    assert (x - denoised).std() > 0.01
    np.testing.assert_allclose(model.network(x[None])[0], denoised, rtol=0, atol=1e-4 * np.abs(x - denoised).max())


def test_sizes_of_dncnn():
    def weights(name):
        return [p.numel() for p in build(Settings(name)).parameters() if p.ndim == 4]

    assert (len(weights("dncnn")), sum(weights("dncnn"))) == (17, 554_112)
    assert (len(weights("dncnn-s")), sum(weights("dncnn-s"))) == (9, 146_016)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_noise_is_learnt(photographs, tmp_path, precision):
    planes = [read_grey(path) for path in sorted(photographs.iterdir())]
    settings = Settings("dncnn-s", iterations=300, averaging=0.9, precision=precision, **(SMALL | {"patch": 24}))
    trainer = Trainer(settings, make_pairs(planes, partial(noisy_pair, sigma=0), (1.0,), 24))
    noisy = make_pairs(planes, partial(noisy_pair, sigma=25), (1.0,), 24)
    before = trainer.psnr(noisy)
    for _ in range(300):
        trainer.step()
    assert before == pytest.approx(20 * np.log10(255 / 25), abs=0.5)
    assert trainer.psnr(noisy) > before + 3


def test_noise_of_a_batch():
    plane = np.full((64, 64), 128, np.uint8)
    patches = Patches([noisy_pair(plane, 0)], 1, 48, 32, seed=3, noise=55)
    low, high = patches(7)
    np.testing.assert_array_equal(high, np.float32(128 / 255))
    sigmas = 255 * (low - high).numpy().std(axis=(1, 2, 3))
    assert 0 < sigmas.min() < 2
    assert 40 < sigmas.max() < 57
    assert np.median(sigmas) == pytest.approx(55 / 4, abs=8)
    np.testing.assert_array_equal(patches(7)[0], low)
    assert not np.array_equal(patches(8)[0], low)


def test_a_patch_is_cut_from_both_sides_of_a_pair():
    random = np.random.default_rng(0)
    shapes, scale, size = [(13, 9), (8, 30)], 3, 8
    highs = [random.integers(0, 256, (rows * scale, columns * scale), dtype=np.uint8) for rows, columns in shapes]
    pairs = [Pair(np.float32(high[1::3, 1::3] / np.float32(255)), high) for high in highs]
    patches = Patches(pairs, scale, size, 500, seed=1)
    seen = set()
    for low, high in zip(*(array.numpy() for array in patches(5)), strict=True):
        np.testing.assert_array_equal(low[0], high[0, 1::3, 1::3])
        for which, pair in enumerate(pairs):
            for symmetry in range(8):
                turned = np.rot90(high[0].T if symmetry > 3 else high[0], symmetry)
                places = np.lib.stride_tricks.sliding_window_view(pair.high / np.float32(255), turned.shape)[::3, ::3]
                seen |= {(which, symmetry, *place) for place in np.argwhere((places == turned).all((2, 3)))}
    assert {which for which, *_ in seen} == {0, 1}
    assert {symmetry for _, symmetry, *_ in seen} == set(range(8))
    assert {(row, column) for which, _, row, column in seen if which == 0} == {(r, c) for r in range(6) for c in (0, 1)}


def test_patches_are_decided_by_seed_and_index():
    pairs = [noisy_pair(np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8), 0)]
    batches = [
        Patches(pairs, 1, 5, 4, seed=seed)(torch.tensor(index) if as_tensor else index)[1].numpy()
        for seed, index, as_tensor in ((0, 0, False), (0, 0, True), (0, 1, False), (1, 0, False))
    ]
    np.testing.assert_array_equal(batches[0], batches[1])
    assert not any(np.array_equal(batches[0], batch) for batch in batches[2:])


def test_noise_is_finite_whatever_is_drawn(monkeypatch):
    monkeypatch.setattr("fastimg.training.patches._mixed", lambda bits: torch.full_like(bits, -1))  # the largest number
    low, _ = Patches([Pair(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint8))], 1, 4, 1, seed=0, noise=55)(0)
    assert torch.isfinite(low).all()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_plainsr_begins_as_nearest_neighbour(scale):
    x = torch.rand(1, 1, 6, 5)
    with torch.inference_mode():
        enlarged = Network(plainsr(scale))(x)
    repeated = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(enlarged, repeated, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_plainsr_costs_no_more_than_fsrcnn(scale):
    costs = [
        sum(layer.inputs * layer.outputs * layer.kernel**2 for layer in layers)
        for layers in (plainsr(scale), fsrcnn(scale))
    ]
    assert costs[0] <= costs[1] == 12_464


def test_noisy_pair_is_not_quantised_and_clipped_only_if_told():
    pair = noisy_pair(np.zeros((200, 200), np.uint8), 25)
    assert pair.low.dtype == np.float32
    assert pair.low.min() < 0
    assert 255 * pair.low.std() == pytest.approx(25, rel=0.02)
    np.testing.assert_array_equal(noisy_pair(pair.high, 50).low, 2 * pair.low)
    np.testing.assert_array_equal(noisy_pair(pair.high, 25, clipped=True).low, pair.low.clip(0, 1))


def test_denoiser_is_trained_from_the_command_line(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = f"train dncnn-s --data {photographs} --iterations 2 --batch 2 --patch 24 --precision bfloat16 --no-progress"
    assert main(words.split()) == 0
    assert capsys.readouterr().out.endswith("dB on the held-out images\n")
    model = models.DnCNN.from_file(tmp_path / "dncnn-s.safetensors")
    assert len(model.layers) == 9
    assert main([*words.split(), "--resume", "--precision", "float32"]) == 1
    assert "its training run had precision = bfloat16, this one has float32" in capsys.readouterr().err
    assert main([*words.split(), "--scale", "2"]) == 2
    assert capsys.readouterr().err == (
        "fastimg: --scale must not be given for 'dncnn-s', which keeps the size, got 2\n"
    )


def test_resumed_run_is_the_uninterrupted_one(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_VALIDATE_EVERY", 5)
    settings = Settings("fsrcnn", scale=2, iterations=12, mse_share=0.5, **SMALL)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train(photographs, whole, settings)

    def interrupt(line):
        raise Interrupted(line)

    with pytest.raises(Interrupted, match="iteration 5:"):
        train(photographs, parts, settings, report=interrupt)
    assert not identical(parts, whole)
    lines = []
    train(photographs, parts, settings, resume=True, report=lines.append)
    assert [line.split(":")[0] for line in lines] == ["iteration 10", "iteration 12"]
    assert identical(parts, whole)


def test_seed_decides(photographs, tmp_path):
    outputs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        output = tmp_path / name
        train(photographs, output, Settings("fsrcnn", scale=2, iterations=2, seed=seed, **SMALL))
        outputs.append(output)
    assert identical(outputs[0], outputs[1])
    assert not identical(outputs[0], outputs[2])


def test_init_begins_from_the_file(photographs, tmp_path):
    start = tmp_path / "start.safetensors"
    tensors = Network(fsrcnn(2)).export()
    save_file(tensors, start)
    settings = Settings("fsrcnn", scale=3, iterations=1, learning_rate=1e-9, averaging=0.0, **SMALL)
    train(photographs, tmp_path / "x3", settings, init=start)
    for key, value in load_file(tmp_path / "x3").items():
        np.testing.assert_allclose(value, tensors[key], atol=1e-6, err_msg=key)


def test_luma_is_matlabs(tmp_path):
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    write_image(tmp_path / "colours.png", colours)
    np.testing.assert_array_equal(read_luma(tmp_path / "colours.png"), [[16, 235, 81, 145, 41]])
    np.testing.assert_array_equal(read_grey(tmp_path / "colours.png"), [[0, 255, 54, 182, 18]])


def test_what_is_grey(tmp_path):
    """What the file says; a WebP file, which cannot say it, by its values."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    three = np.dstack([grey] * 3)
    write_image(tmp_path / "grey.png", grey)
    write_image(tmp_path / "three.png", three)
    image_files.write_image(tmp_path / "three.webp", three)
    for name in ("grey.png", "three.png", "three.webp"):
        np.testing.assert_array_equal(read_grey(tmp_path / name), grey)
        luma = np.rint(16 + grey * (219 / 255)) if name == "three.png" else grey
        np.testing.assert_array_equal(read_luma(tmp_path / name), luma)


def test_pair_is_cropped_to_a_multiple_of_the_scale():
    plane = np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)
    pair = small_pair(plane, 3)
    np.testing.assert_array_equal(pair.high, plane[:18, :30])
    assert pair.low.shape == (6, 10)
    assert pair.low.dtype == np.float32
    np.testing.assert_allclose(pair.low.mean(), pair.high.mean() / 255, atol=0.02)
    assert not np.array_equal(np.rint(pair.low * 255), pair.low * 255)


def test_command(photographs, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    train_command.add_parser(parser.add_subparsers())
    output = tmp_path / "w.safetensors"
    words = f"train fsrcnn --data {photographs} --scale 2 --output {output} --iterations 2 --patch 12 --threads 1"
    args = parser.parse_args(words.split())
    assert args.run(args) == 0
    assert "dB on the held-out images" in capsys.readouterr().out
    assert output.exists()
    with pytest.raises(SystemExit):
        parser.parse_args(words.replace("--scale 2", "--scale 5").split())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "vdsr"}, "model must be one of 'plainsr', 'fsrcnn', .*, 'dncnn', 'dncnn-s', 'digits', got 'vdsr'"),
        ({"scale": 5}, "scale must be one of 2, 3, 4, got 5"),
        ({"scale": None}, "scale must be one of 2, 3, 4, got None"),
        ({"model": "dncnn"}, "scale must not be given for 'dncnn', which keeps the size, got 2"),
        ({"precision": "float16"}, "precision must be one of 'float32', 'bfloat16', got 'float16'"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"patch": 4, "margin": 2}, "patch must be at least 5, got 4"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite, got nan"),
        ({"mse_share": 1.5}, "mse_share must be at most 1, got 1.5"),
        ({"averaging": -0.1}, "averaging must be at least 0, got -0.1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**31}, "seed must be at most 2147483647, got 2147483648"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**({"model": "fsrcnn", "scale": 2} | wrong))


def test_wrong_settings_are_wrong_usage(tmp_path, capsys):
    output = tmp_path / "x2.safetensors"
    arguments = ["train", "fsrcnn", "--scale", "2", "--data", str(tmp_path), "--output", str(output)]
    assert main([*arguments, "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "fastimg: --seed must be at least 0, got -1\n"
    assert not output.exists()


def test_divergence_is_reported(photographs, tmp_path):
    settings = Settings("fsrcnn", scale=2, iterations=9, learning_rate=1e30, **SMALL)
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at iteration \d: lower learning_rate"):
        train(photographs, tmp_path / "w", settings)
    assert not list(tmp_path.iterdir())


def test_wrong_data(photographs, tmp_path):
    output, settings = tmp_path / "w", Settings("fsrcnn", scale=2, iterations=1, **SMALL)
    with pytest.raises(FileNotFoundError, match="data must be folders of images, got '.*nowhere'"):
        train(tmp_path / "nowhere", output, settings)
    with pytest.raises(ValueError, match="no images in"):
        train(tmp_path, output, settings)
    with pytest.raises(ValueError, match="too few images of at least 400 × 400 pixels .* among 6"):
        train(photographs, output, Settings("fsrcnn", scale=4, patch=100))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes((photographs / "0.png").read_bytes()[:100])
    with pytest.raises(ValueError, match="a.png"):
        train(broken, output, settings)
    deep = tmp_path / "deep"
    deep.mkdir()
    write_image(deep / "a.tif", np.full((80, 80), 1000, np.uint16))
    with pytest.raises(ValueError, match="must have 8 bits per channel, got uint16"):
        train(deep, output, settings)
    with pytest.raises(FileNotFoundError, match="output must lie in a folder that exists"):
        train(photographs, tmp_path / "nowhere" / "w", settings)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        train(photographs, output, settings, threads=0)
    with pytest.raises(ValueError, match="device must be one that PyTorch can use here, got 'abacus'"):
        train(photographs, output, settings, device="abacus")
    assert not output.exists()


def test_wrong_files(photographs, tmp_path):
    output, checkpoint = tmp_path / "w", tmp_path / "w.checkpoint"
    settings = Settings("fsrcnn", scale=2, iterations=1, **SMALL)
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        train(photographs, output, settings, resume=True)
    train(photographs, output, settings)
    with pytest.raises(FileExistsError, match="exists: resume its training run, or have it overwritten"):
        train(photographs, output, settings)
    train(photographs, output, settings, overwrite=True)
    with pytest.raises(ValueError, match="'.*w.checkpoint': its training run had seed = 0, this one has 1"):
        train(photographs, output, Settings("fsrcnn", scale=2, iterations=1, seed=1, **SMALL), resume=True)
    content = checkpoint.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("0.png", "3.png"):
        (other / name).write_bytes((photographs / name).read_bytes())
    with pytest.raises(ValueError, match="its training run had other images"):
        train(other, output, settings, resume=True)
    for damaged in (b"", content[:1000], b"no checkpoint at all", content[: len(content) // 2]):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated or damaged, or no checkpoint of a training run"):
            train(photographs, output, settings, resume=True)
    weights = tmp_path / "weights"
    weights.write_bytes(output.read_bytes()[:500])
    with pytest.raises(ValueError, match="'.*weights': truncated or damaged safetensors file"):
        train(photographs, tmp_path / "new", settings, init=weights)
    save_file({"something.weight": np.zeros(3, np.float32)}, weights)
    with pytest.raises(ValueError, match="'.*weights': no tensor in it fits FSRCNN"):
        train(photographs, tmp_path / "new", settings, init=weights)
    assert not (tmp_path / "new").exists()
