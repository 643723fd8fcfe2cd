"""The papers' protocol: figures that are known, and what the command prints, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

pyvips = pytest.importorskip("pyvips")

from reference import metrics as reference  # noqa: E402

from fastimg import evaluation, image_files, models, restoration, transform  # noqa: E402
from fastimg.cli import main  # noqa: E402


@pytest.fixture
def photographs(tmp_path):
    """Two grey images whose luma is their values."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    row, column = np.mgrid[:61, :70]
    for name, period in (("a.png", 9), ("b.png", 14)):
        plane = 120 + 60 * np.sin(row / period) + 50 * np.sin(column / period * 1.3)
        pyvips.Image.new_from_array(plane.astype(np.uint8)).write_to_file(str(folder / name))
    return folder


def test_protocol_step_by_step(photographs):
    truth = pyvips.Image.new_from_file(str(photographs / "a.png")).numpy()[:60, :69]
    low = transform.resize(truth, (20, 23), mode="symmetric")
    enlarged = np.floor(np.clip(transform.resize(low, (60, 69), mode="symmetric"), 0, 1) * 255 + 0.5)
    error = np.mean((truth.astype(float) - enlarged)[3:-3, 3:-3] ** 2)
    result = evaluation.evaluate({"bicubic": evaluation.bicubic(3)}, photographs, 3)
    assert [e.image for e in result] == ["a.png", "b.png"]
    score = result[0].scores["bicubic"]
    assert score.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    expected = reference.structural_similarity(
        truth[3:-3, 3:-3].astype(float),
        enlarged[3:-3, 3:-3],
        data_range=255,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert score.ssim == pytest.approx(float(np.mean(expected)), abs=1e-9)


def test_means_are_of_images(photographs):
    result = evaluation.evaluate({"bicubic": evaluation.bicubic(2)}, photographs, 2)
    each = [e.scores["bicubic"].psnr for e in result]
    assert evaluation.means(result)["bicubic"].psnr == pytest.approx(np.mean(each))


def test_denoising_protocol_step_by_step(photographs):
    truth = pyvips.Image.new_from_file(str(photographs / "b.png")).numpy()
    noise = np.random.default_rng(1).standard_normal(truth.shape, dtype=np.float32)
    noisy = truth + 30 * noise
    quantised = np.clip(np.floor(noisy + 0.5), 0, 255)
    seen = []
    methods = {"noisy": evaluation.unchanged, "spy": lambda plane: seen.append(plane) or plane}
    result = evaluation.evaluate_denoising(methods, photographs, 30)
    assert [e.image for e in result] == ["a.png", "b.png"]
    np.testing.assert_allclose(255 * seen[1], noisy, rtol=0, atol=1e-3)
    error = np.mean((truth - quantised) ** 2)
    assert result[1].scores["noisy"].psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    assert result[1].truth.shape == truth.shape


def test_sigma_must_be_positive(photographs):
    with pytest.raises(ValueError, match="sigma must be above 0, got 0"):
        evaluation.evaluate_denoising({"noisy": evaluation.unchanged}, photographs, 0)


def test_non_local_means_is_the_best(photographs):
    best = evaluation.non_local_means(photographs, 30)
    level = 30 / 255
    methods = {"best": best, "noisy": evaluation.unchanged}
    for fast in (True, False):
        for strength in (0.2, 0.5, 0.8, 1.2):
            methods[f"{fast}, {strength}"] = lambda plane, fast=fast, strength=strength: restoration.denoise_nl_means(
                plane, h=strength * level, sigma=level, fast_mode=fast
            )
    mean = evaluation.means(evaluation.evaluate_denoising(methods, photographs, 30))
    assert max(mean, key=lambda name: mean[name].psnr) == "best"
    assert mean["best"].psnr > mean["noisy"].psnr + 5


def test_shipped_weights_beat_bicubic(tmp_path):
    data = pytest.importorskip("skimage.data")
    pyvips.Image.new_from_array(data.camera()).write_to_file(str(tmp_path / "camera.png"))
    for scale in (2, 3, 4):
        methods = {"bicubic": evaluation.bicubic(scale), "ours": models.FSRCNN.from_pretrained(scale)}
        mean = evaluation.means(evaluation.evaluate(methods, tmp_path, scale))
        assert mean["ours"].psnr > mean["bicubic"].psnr + 0.5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_authors_figures(data_folder, scale):
    """The authors' weights give the figures of their paper, Table 3 (91 + 100 images)."""
    paper = {2: 37.00, 3: 33.16, 4: 30.70}
    bicubic = {2: 33.66, 3: 30.39, 4: 28.42}
    model = models.FSRCNN.from_file(data_folder / "weights" / "authors" / f"FSRCNN_x{scale}.mat", scale)
    methods = {"bicubic": evaluation.bicubic(scale), "FSRCNN": model}
    mean = evaluation.means(evaluation.evaluate(methods, data_folder / "sr" / "Set5", scale))
    assert mean["FSRCNN"].psnr == pytest.approx(paper[scale], abs=0.01)
    assert mean["bicubic"].psnr == pytest.approx(bicubic[scale], abs=0.01)


# ---- the weights that come with fastimg

SHIPPED = {  # PSNR and SSIM, as README.md and the model card have them
    ("PlainSR", "Set5"): {2: (37.36, 0.9578), 3: (33.33, 0.9181), 4: (31.01, 0.8768)},
    ("PlainSR", "Set14"): {2: (32.84, 0.9109), 3: (29.56, 0.8282), 4: (27.83, 0.7628)},
    ("FSRCNN", "Set5"): {2: (37.15, 0.9573), 3: (33.21, 0.9169), 4: (30.82, 0.8745)},
    ("FSRCNN", "Set14"): {2: (32.68, 0.9101), 3: (29.49, 0.8273), 4: (27.71, 0.7602)},
    ("FSRCNN_s", "Set5"): {2: (36.66, 0.9543), 3: (32.63, 0.9088), 4: (30.32, 0.8598)},
    ("FSRCNN_s", "Set14"): {2: (32.35, 0.9064), 3: (29.18, 0.8199), 4: (27.31, 0.7485)},
    ("SRCNN", "Set5"): {2: (37.01, 0.9563), 3: (32.97, 0.9135), 4: (30.60, 0.8679)},
    ("SRCNN", "Set14"): {2: (32.60, 0.9089), 3: (29.38, 0.8242), 4: (27.57, 0.7555)},
}


@pytest.fixture(scope="module")
def papers_sets(data_folder, tmp_path_factory):
    """Set5 and Set14 as the papers have them: `bridge` is a grey file, `man` a grey image in a file of colours."""
    sets = tmp_path_factory.mktemp("sets")
    for path in (data_folder / "sr").glob("Set*/*.webp"):
        folder = sets / path.parent.name
        folder.mkdir(exist_ok=True)
        image = image_files.read_image(path)[0]
        image_files.write_image(folder / f"{path.stem}.png", image[..., 0] if path.stem == "bridge" else image)
    return sets


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "data"), SHIPPED)
def test_figures_of_super_resolution(papers_sets, name, data, scale):
    model = getattr(models, name).from_pretrained(scale)
    mean = evaluation.means(evaluation.evaluate({name: model}, papers_sets / data, scale))
    psnr, ssim = SHIPPED[name, data][scale]
    assert mean[name].psnr == pytest.approx(psnr, abs=0.006)
    assert mean[name].ssim == pytest.approx(ssim, abs=0.0001)


DENOISED = {15: (32.52, 0.8963), 25: (30.22, 0.8556), 50: (27.10, 0.7789)}  # likewise, of DnCNN_s on Set12


@pytest.mark.parametrize("sigma", DENOISED)
def test_figures_of_denoising(data_folder, sigma):
    model = models.DnCNN_s.from_pretrained()
    evaluations = evaluation.evaluate_denoising({"DnCNN_s": model}, data_folder / "denoise" / "Set12", sigma)
    score = evaluation.means(evaluations)["DnCNN_s"]
    psnr, ssim = DENOISED[sigma]
    assert score.psnr == pytest.approx(psnr, abs=0.006)
    assert score.ssim == pytest.approx(ssim, abs=0.0001)


# ---- the command


def test_command(photographs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    figures, sheet = tmp_path / "figures.json", tmp_path / "sheet.png"
    models.FSRCNN.from_pretrained(2).save(tmp_path / "other.safetensors")
    words = ["evaluate", "fsrcnn", "--data", str(photographs), "--scale", "2", "--json", str(figures)]
    words += ["--sheet", str(sheet), "--against", str(tmp_path / "other.safetensors")]
    assert main(words) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "| image | bicubic | FSRCNN | other |"
    assert [line.split(" | ")[0] for line in table[2:]] == ["| a.png", "| b.png", "| mean"]
    content = json.loads(figures.read_text())
    assert content["mean"]["FSRCNN"] == content["mean"]["other"]
    assert set(content["images"]) == {"a.png", "b.png"}
    drawn = pyvips.Image.new_from_file(str(sheet)).numpy()
    assert drawn.ndim == 3
    assert len(np.unique(drawn)) > 50
    before = figures.read_bytes()
    assert main(words) == 2
    assert "exists (--overwrite replaces it)" in capsys.readouterr().err
    assert figures.read_bytes() == before
    assert main([*words, "--overwrite"]) == 0


def test_command_for_denoisers(photographs, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    words = ["evaluate", "dncnn-s", "--data", str(photographs), "--sigma", "25", "--json", str(figures)]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[0] == "| image | noisy | non-local means | DnCNN_s |"
    content = json.loads(figures.read_text())
    assert content["sigma"] == 25
    assert content["mean"]["DnCNN_s"]["psnr"] > content["mean"]["noisy"]["psnr"] + 5
    words = ["evaluate", "dncnn-s", "--data", str(photographs), "--sigma", "25"]
    assert main([*words, "--scale", "2"]) == 2
    assert capsys.readouterr().err == "fastimg: dncnn-s needs --sigma, and takes no --scale\n"
    assert main(["evaluate", "fsrcnn", "--data", str(photographs)]) == 2
    assert capsys.readouterr().err == "fastimg: fsrcnn needs --scale, and takes no --sigma\n"
    assert main(["evaluate", "dncnn", "--data", str(photographs), "--sigma", "25"]) == 2
    assert "no weights of DnCNN come with fastimg; DnCNN.from_file(path) loads your own" in capsys.readouterr().err


def test_wrong_use(photographs, tmp_path, capsys):
    words = ["evaluate", "fsrcnn", "--scale", "2", "--data"]
    assert main([*words, str(tmp_path / "nowhere")]) == 1
    assert "which is no folder" in capsys.readouterr().err
    assert main([*words, str(photographs), "--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    pyvips.Image.new_from_array(np.zeros((14, 40), np.uint8)).write_to_file(str(photographs / "c.png"))
    assert main([*words, str(photographs)]) == 1
    assert "is too small to be measured, border of 2 left out: (14, 40)" in capsys.readouterr().err


def test_networks_of_other_kinds_are_measured_beside(photographs, tmp_path, capsys):
    models.SRCNN.from_pretrained(2).save(tmp_path / "other.safetensors")
    words = ["evaluate", "plainsr", "--data", str(photographs), "--scale", "2", "--against"]
    assert main([*words, str(tmp_path / "other.safetensors")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "| image | bicubic | PlainSR | other |"
    models.DnCNN_s.from_pretrained().save(tmp_path / "denoiser.safetensors")
    assert main([*words, str(tmp_path / "denoiser.safetensors")]) == 2
    assert "expected" in capsys.readouterr().err


def test_files_of_one_name_stay_apart(photographs, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "same.safetensors", tmp_path / "a" / "same.safetensors"]
    for path in paths:
        models.FSRCNN.from_pretrained(2).save(path)
    words = ["evaluate", "fsrcnn", "--data", str(photographs), "--scale", "2"]
    assert main([*words, "--weights", str(paths[0]), "--against", str(paths[1])]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"| image | bicubic | same | {paths[1]} |"
