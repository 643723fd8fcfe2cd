"""The demonstration, on a small piece of its photograph."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run_python

from fastimg import demo, image_files
from fastimg.cli import main

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
pytest.importorskip("pyvips")

SIZE = 128


@pytest.fixture(scope="module")
def steps() -> demo.Steps:
    badge = demo.photograph()[320 : 320 + SIZE, 100 : 100 + SIZE]
    return demo.process(np.ascontiguousarray(badge), white_pixels=180)


def test_photograph_comes_with_scikit_image() -> None:
    image = demo.photograph()
    assert (image.shape, image.dtype) == ((512, 512, 3), np.uint8)


def test_damage(steps: demo.Steps) -> None:
    """As many white pixels as asked for, and noise of the strength that is told, where nothing clips it."""
    assert (steps.damaged[steps.white] == 255).all()
    already_white = int((steps.noisy == 255).all(axis=-1).sum())
    assert 180 - already_white <= steps.white.sum() <= 180
    middle = (steps.photograph > 60) & (steps.photograph < 195)
    noise = (steps.noisy.astype(float) - steps.photograph)[middle]
    assert abs(noise.std() - demo.NOISE) < 0.05 * demo.NOISE
    assert abs(noise.mean()) < 0.5


def test_each_step_does_what_it_is_for(steps: demo.Steps) -> None:
    original = steps.photograph
    assert demo.psnr(original, steps.denoised) > demo.psnr(original, steps.damaged) + 3
    assert demo.ssim(original, steps.denoised) > demo.ssim(original, steps.damaged) + 0.1
    assert demo.psnr(original, steps.clean_fsrcnn) > demo.psnr(original, steps.clean_bicubic) + 0.5
    assert demo.psnr(steps.denoised, steps.fsrcnn) > demo.psnr(steps.denoised, steps.bicubic) + 0.2
    for image in (steps.bicubic, steps.fsrcnn, steps.clean_bicubic, steps.clean_fsrcnn):
        assert (image.shape, image.dtype) == (original.shape, np.uint8)
    assert steps.halved.shape == (SIZE // 2, SIZE // 2, 3)


def test_figures_are_those_of_scikit_image(steps: demo.Steps) -> None:
    from skimage import metrics

    table = demo.figures(steps)
    for image in (steps.damaged, steps.denoised, steps.bicubic, steps.fsrcnn, steps.clean_fsrcnn):
        psnr = metrics.peak_signal_noise_ratio(steps.photograph, image)
        ssim = metrics.structural_similarity(steps.photograph, image, channel_axis=-1)
        assert re.search(rf"{psnr:.2f}\s+{ssim:.4f}", table)
    for where in (steps.white, ~steps.white):
        before, after = (
            metrics.peak_signal_noise_ratio(steps.photograph[where], image[where])
            for image in (steps.damaged, steps.denoised)
        )
        assert re.search(rf"{before:.2f}\s+{after:.2f}\n", table + "\n")


def test_times(steps: demo.Steps) -> None:
    cv2 = pytest.importorskip("cv2")
    cv2.setNumThreads(1)
    timings = demo.measure(steps, rounds=2)
    assert cv2.getNumThreads() == 1, "OpenCV's threads are as they were"
    assert [timing.step for timing in timings] == [demo.NL_MEANS, demo.HALVING, demo.BICUBIC, demo.FSRCNN]
    assert all(timing.ours > 0 for timing in timings)
    assert [timing.opencv is not None for timing in timings] == [True, False, True, False]
    table = demo.times(timings)
    for timing in timings:
        assert re.search(rf"{timing.step}\s+{timing.ours:.1f}", table)
    assert f"{timings[0].ours:.0f} ms (OpenCV: {timings[0].opencv:.0f} ms)" in demo.caption(timings)


def test_times_without_opencv(steps: demo.Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    timings = demo.measure(steps, rounds=1)
    assert all(timing.opencv is None for timing in timings)
    assert demo.times(timings).count("OpenCV is not installed") == len(timings)


def test_opencv_does_the_same_job(steps: demo.Steps) -> None:
    """What is timed against each other is alike in what it makes of the picture."""
    cv2 = pytest.importorskip("cv2")
    size = 2 * demo.PATCH_DISTANCE + 1
    denoised = cv2.fastNlMeansDenoising(steps.damaged, None, demo.STRENGTH, demo.PATCH_SIZE, size)
    assert demo.psnr(denoised, steps.denoised) > 28
    doubled = cv2.resize(steps.halved, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert demo.psnr(doubled, steps.bicubic) > 38


def test_picture(steps: demo.Steps) -> None:
    picture = demo.draw(steps, "a caption")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) > 1000
    assert (picture[:20] == 255).all(), "a margin"
    assert (picture[-40:] < 128).any(), "the caption"
    assert len(np.unique(picture[..., 0])) > 200, "photographs"


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps: demo.Steps
) -> None:
    monkeypatch.setattr(demo, "photograph", lambda: steps.photograph)
    output = tmp_path / "picture.png"
    assert main(["demo", "--output", str(output)]) == 0
    said = capsys.readouterr()
    for text in ("denoised by non-local means", "doubled by FSRCNN", "Milliseconds", f"The picture: {output}"):
        assert text in said.out
    assert said.err == ""
    assert os.listdir(tmp_path) == ["picture.png"]
    assert min(image_files.read_image(output)[0].shape[:2]) > 1000

    assert main(["demo", "--output", str(output)]) == 2
    assert capsys.readouterr().err == f"fastimg: {output} exists (--overwrite replaces it)\n"
    output.write_bytes(b"old")
    monkeypatch.setattr(demo, "draw", lambda *_: steps.photograph)
    assert main(["demo", "--output", str(output), "--overwrite"]) == 0
    np.testing.assert_array_equal(image_files.read_image(output)[0], steps.photograph)


@pytest.mark.parametrize("output", ["missing/demo.png", "demo.pdf"])
def test_output_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    assert main(["demo", "--output", str(tmp_path / output)]) == 2
    assert capsys.readouterr().err.startswith(f"fastimg: {tmp_path / output}: ")


@pytest.mark.parametrize("missing", ["skimage", "matplotlib"])
def test_what_is_missing_is_told(tmp_path: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from fastimg.cli import main\n"
        f"sys.exit(main(['demo', '--output', {str(tmp_path / 'demo.png')!r}]))"
    )
    run = run_python(code)
    assert run.returncode == 1
    assert run.stderr == "fastimg: the demo needs scikit-image and Matplotlib: pip install 'fastimg[demo]'\n"
