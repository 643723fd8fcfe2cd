"""The papers' protocol: figures that are known, and what the command prints, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

pyvips = pytest.importorskip("pyvips")

from reference import metrics as reference  # noqa: E402

from fastimg import evaluation, models, transform  # noqa: E402
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


def test_wrong_use(photographs, tmp_path, capsys):
    words = ["evaluate", "fsrcnn", "--scale", "2", "--data"]
    assert main([*words, str(tmp_path / "nowhere")]) == 1
    assert "which is no folder" in capsys.readouterr().err
    assert main([*words, str(photographs), "--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert main(["evaluate", "srcnn", "--scale", "2", "--data", str(photographs)]) == 2
    assert "no weights of SRCNN for scale 2 come with fastimg" in capsys.readouterr().err
    pyvips.Image.new_from_array(np.zeros((14, 40), np.uint8)).write_to_file(str(photographs / "c.png"))
    assert main([*words, str(photographs)]) == 1
    assert "is too small to be measured, border of 2 left out: (14, 40)" in capsys.readouterr().err
