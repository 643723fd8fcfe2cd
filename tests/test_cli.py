"""The command line: what it makes of files, folders and patterns, and what it refuses."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import python_environment, run_python

import fastimg
from fastimg import filters, image_files, models, restoration
from fastimg.cli import main
from fastimg.image_files import read_image, write_image

pytest.importorskip("pyvips")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code and what it said on stderr. stdout stays empty."""

    def run_(*arguments: Any) -> tuple[int, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's way out
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return run_


def picture(shape: tuple[int, ...] = (24, 20, 3), dtype: str = "uint8", seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0.2, 0.5, shape[0]), np.linspace(0, 0.4, shape[1]))
    ramp = ramp.reshape(ramp.shape + (1,) * (len(shape) - 2))
    values = np.clip(ramp + rng.normal(0, 0.05, shape), 0, 1)
    return values.astype(dtype) if dtype == "float32" else np.rint(values * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and what is none, in a folder."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    write_image(source / "a.png", picture(seed=1))
    write_image(source / "b.TIF", picture(seed=2))
    write_image(source / "c.webp", picture(seed=3))
    write_image(source / "sub" / "a.png", picture(seed=4))
    (source / "notes.txt").write_text("not an image")
    return source


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


# ---- what the commands do to an image


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(24, 20), (24, 20, 3)])
def test_denoise(tmp_path: Path, run: Run, shape: tuple[int, ...], dtype: str) -> None:
    image = picture(shape, dtype)
    write_image(tmp_path / "in.tif", image)
    options = ("--h", 12, "--sigma", 9, "--patch-size", 5, "--patch-distance", 4)
    assert run("denoise", *options, tmp_path / "in.tif", tmp_path / "out.tif") == (0, "")
    unit = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    expected = restoration.denoise_nl_means(
        image,
        patch_size=5,
        patch_distance=4,
        h=12 * unit,
        sigma=9 * unit,
        preserve_range=True,
        channel_axis=-1 if image.ndim == 3 else None,
    )
    np.testing.assert_array_equal(read_image(tmp_path / "out.tif")[0], expected)
    assert np.std(expected / unit) < np.std(image / unit)


def test_strength_means_the_same_at_any_depth(tmp_path: Path, run: Run) -> None:
    image = picture()
    write_image(tmp_path / "8.png", image)
    write_image(tmp_path / "16.png", image.astype(np.uint16) * 257)
    for name in ("8.png", "16.png"):
        assert run("denoise", "--h", 15, "--sigma", 10, tmp_path / name, tmp_path / f"out{name}") == (0, "")
    eight, sixteen = (read_image(tmp_path / f"out{name}")[0] for name in ("8.png", "16.png"))
    assert np.abs(sixteen / 257 - eight).max() <= 0.5 + 1 / 257


@pytest.mark.parametrize(
    ("options", "h", "sigma"), [((), "auto", 0), (("--sigma", 20), "auto", 20), (("--sigma", 20, "--h", 5), 5, 20)]
)
def test_denoise_defaults(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], h: Any, sigma: float
) -> None:
    seen: dict[str, Any] = {}

    def spy(image: np.ndarray, **arguments: Any) -> np.ndarray:
        seen.update(arguments)
        return image

    monkeypatch.setattr(restoration, "denoise_nl_means", spy)
    write_image(tmp_path / "in.png", picture())
    assert run("denoise", *options, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    assert (seen["h"], seen["sigma"]) == (h, sigma)
    assert (seen["patch_size"], seen["patch_distance"]) == (7, 10)


@pytest.mark.parametrize("options", [(), ("--model", "dncnn-s")])
@pytest.mark.parametrize("shape", [(24, 20, 2), (24, 20, 4)])
def test_denoise_keeps_alpha(tmp_path: Path, run: Run, shape: tuple[int, ...], options: tuple[str, ...]) -> None:
    image = picture(shape)
    write_image(tmp_path / "in.png", image)
    assert run("denoise", *options, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    back, _ = read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(back[:, :, -1], image[:, :, -1])
    assert (back[:, :, :-1] != image[:, :, :-1]).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(24, 20), (24, 20, 3)])
def test_denoise_by_a_network(tmp_path: Path, run: Run, shape: tuple[int, ...], dtype: str) -> None:
    image = picture(shape, dtype)
    write_image(tmp_path / "in.tif", image)
    assert run("denoise", "--model", "dncnn-s", tmp_path / "in.tif", tmp_path / "out.tif") == (0, "")
    network = models.DnCNN_s.from_pretrained()
    np.testing.assert_array_equal(read_image(tmp_path / "out.tif")[0], network(image))
    network.save(tmp_path / "own.safetensors")
    options = ("--model", "dncnn-s", "--weights", tmp_path / "own.safetensors")
    assert run("denoise", *options, tmp_path / "in.tif", tmp_path / "own.tif") == (0, "")
    np.testing.assert_array_equal(read_image(tmp_path / "own.tif")[0], network(image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(24, 20), (24, 20, 3)])
def test_blur(tmp_path: Path, run: Run, shape: tuple[int, ...], dtype: str) -> None:
    image = picture(shape, dtype)
    write_image(tmp_path / "in.tif", image)
    options = ("--sigma", 2.5, "--mode", "reflect", "--truncate", 3)
    assert run("blur", *options, tmp_path / "in.tif", tmp_path / "out.tif") == (0, "")
    expected = filters.gaussian(
        image,
        sigma=2.5,
        mode="reflect",
        truncate=3,
        preserve_range=True,
        channel_axis=-1 if image.ndim == 3 else None,
    )
    np.testing.assert_array_equal(read_image(tmp_path / "out.tif")[0], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [2, 4])
def test_blur_of_transparent_images(tmp_path: Path, run: Run, channels: int, dtype: str) -> None:
    """White, and black that is hidden: no grey may come out, and the edge of alpha is soft."""
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    image = np.zeros((32, 32, channels), dtype)
    image[:, :16] = top
    write_image(tmp_path / "in.tif", image)
    assert run("blur", "--sigma", 2, tmp_path / "in.tif", tmp_path / "out.tif") == (0, "")
    back, _ = read_image(tmp_path / "out.tif")
    colours, alpha = back[..., :-1], back[..., -1]
    assert (colours[alpha > 0] >= top * (1 - 1e-6)).all()
    assert ((alpha > 0) & (alpha < top)).any()
    assert back.dtype == image.dtype


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 3), (12, 10, 4)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upscale(tmp_path: Path, run: Run, shape: tuple[int, ...], scale: int) -> None:
    image = picture(shape)
    write_image(tmp_path / "in.png", image)
    assert run("upscale", "--scale", scale, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    back, _ = read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(back, models.PlainSR.from_pretrained(scale)(image))
    assert back.shape == (12 * scale, 10 * scale, *shape[2:])


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--scale", 8), (96, 80)),
        (("--scale", 6, "--model", "fsrcnn-s"), (72, 60)),
        (("--size", "33x50"), (50, 33)),
        (("--size", "33x"), (40, 33)),
        (("--size", "x100"), (100, 83)),
        (("--size", "5x6"), (6, 5)),
        (("--size", "1x"), (1, 1)),
    ],
)
def test_upscale_to_composed_scales_and_sizes(
    tmp_path: Path, run: Run, options: tuple[Any, ...], size: tuple[int, int]
) -> None:
    image = picture((12, 10, 4))
    image[:4, :5, 3] = 0
    write_image(tmp_path / "in.png", image)
    assert run("upscale", *options, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    back, _ = read_image(tmp_path / "out.png")
    model = models.FSRCNN_s if "--model" in options else models.PlainSR
    np.testing.assert_array_equal(back, models.upscale(image, output_shape=size, model=model))


@pytest.mark.parametrize(("orientation", "shape"), [(1, (20, 33)), (3, (20, 33)), (6, (33, 20)), (8, (33, 20))])
def test_sizes_are_those_of_the_image_as_it_is_shown(
    tmp_path: Path, run: Run, orientation: int, shape: tuple[int, int]
) -> None:
    """A photograph that was taken with the camera on its side lies so in the file."""
    pil = pytest.importorskip("PIL.Image")
    tags = pil.Exif()
    tags[0x0112] = orientation
    pil.fromarray(picture((12, 10, 3))).save(tmp_path / "in.jpg", exif=tags)
    assert run("upscale", "--size", "33x20", tmp_path / "in.jpg", tmp_path / "out.jpg") == (0, "")
    assert read_image(tmp_path / "out.jpg")[0].shape == (*shape, 3)
    assert run("upscale", "--size", "x60", tmp_path / "in.jpg", tmp_path / "tall.jpg") == (0, "")
    with pil.open(tmp_path / "tall.jpg") as tall:
        assert tall.getexif()[0x0112] == orientation
        assert tall.size == ((50, 60) if orientation in (1, 3) else (60, 72))


def test_networks_in_bfloat16(tmp_path: Path, run: Run) -> None:
    image = picture((12, 10))
    write_image(tmp_path / "in.png", image)
    assert run("upscale", "--precision", "bfloat16", tmp_path / "in.png", tmp_path / "large.png") == (0, "")
    large, _ = read_image(tmp_path / "large.png")
    np.testing.assert_array_equal(large, models.PlainSR.from_pretrained(2)(image, precision="bfloat16"))
    denoise = ("denoise", "--precision", "bfloat16")
    assert run(*denoise, "--model", "dncnn-s", tmp_path / "in.png", tmp_path / "clean.png") == (0, "")
    clean, _ = read_image(tmp_path / "clean.png")
    np.testing.assert_array_equal(clean, models.DnCNN_s.from_pretrained()(image, precision="bfloat16"))
    refused(run(*denoise, tmp_path / "in.png", tmp_path / "b.png"), "--precision needs --model")


def test_upscale_by_each_model(tmp_path: Path, run: Run, rng: np.random.Generator) -> None:
    write_image(tmp_path / "in.png", picture((8, 9)))
    weights = tmp_path / "srcnn.safetensors"
    shapes = [(64, 1, 9, 9), (32, 64, 1, 1), (1, 32, 5, 5)]
    models.SRCNN(
        [models.Conv2d(rng.normal(0, 0.01, s), np.zeros(s[0]), padding=s[-1] // 2, name=str(s)) for s in shapes], 3
    ).save(weights)
    command = ("upscale", "--model", "srcnn")
    assert run(*command, "--weights", weights, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    assert read_image(tmp_path / "out.png")[0].shape == (24, 27)
    for name in ("plainsr", "fsrcnn", "fsrcnn-s", "srcnn"):
        assert run("upscale", "--model", name, tmp_path / "in.png", tmp_path / f"{name}.png") == (0, "")
        assert read_image(tmp_path / f"{name}.png")[0].shape == (16, 18)


def test_upscale_with_weights_of_ones_own(tmp_path: Path, run: Run) -> None:
    models.FSRCNN.from_pretrained(3).save(tmp_path / "mine.safetensors")
    write_image(tmp_path / "in.png", picture((8, 9)))
    weights = ("--model", "fsrcnn", "--weights", tmp_path / "mine.safetensors")
    assert run("upscale", *weights, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    assert read_image(tmp_path / "out.png")[0].shape == (24, 27), "the weights tell the scale"
    assert run("upscale", "--scale", 9, *weights, tmp_path / "in.png", tmp_path / "out9.png") == (0, "")
    assert read_image(tmp_path / "out9.png")[0].shape == (72, 81), "they are used again and again"
    assert run("upscale", "--size", "50x40", *weights, tmp_path / "in.png", tmp_path / "sized.png") == (0, "")
    assert read_image(tmp_path / "sized.png")[0].shape == (40, 50)
    result = run("upscale", "--scale", 2, *weights, tmp_path / "in.png", tmp_path / "out2.png")
    refused(result, "scale must be a power of 3, by which FSRCNN(scale=3) enlarges, got 2")


def test_weights_that_do_not_tell_their_scale(tmp_path: Path, run: Run) -> None:
    torch = pytest.importorskip("torch")
    state = {}
    for i, layer in enumerate(models.FSRCNN.from_pretrained(3).network.layers):
        state |= {f"{2 * i}.weight": torch.tensor(layer.weight), f"{2 * i}.bias": torch.tensor(layer.bias)}
        if layer.slope is not None:
            state[f"{2 * i + 1}.weight"] = torch.tensor(layer.slope)
    torch.save(state, tmp_path / "mine.pt")
    write_image(tmp_path / "in.png", picture((8, 9)))
    weights = ("--model", "fsrcnn", "--weights", tmp_path / "mine.pt")
    assert run("upscale", "--scale", 3, *weights, tmp_path / "in.png", tmp_path / "out.png") == (0, "")
    assert read_image(tmp_path / "out.png")[0].shape == (24, 27)
    refused(run("upscale", *weights, tmp_path / "in.png", tmp_path / "b.png"), "scale must be given")


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_weights_that_are_none(tmp_path: Path, run: Run, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "w.safetensors").write_bytes(content)
    write_image(tmp_path / "in.png", picture((8, 9)))
    code, err = run("upscale", "--weights", tmp_path / "w.safetensors", tmp_path / "in.png", tmp_path / "out.png")
    assert code == 2
    assert err.startswith("fastimg: --weights: ")
    assert "w.safetensors" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("command", ["denoise", "blur", "upscale"])
def test_threads_do_not_change_the_result(tmp_path: Path, run: Run, command: str) -> None:
    write_image(tmp_path / "in.png", picture((50, 40, 3)))
    for threads in (1, 2, 5):
        assert run(command, "--threads", threads, tmp_path / "in.png", tmp_path / f"{threads}.png") == (0, "")
    one = (tmp_path / "1.png").read_bytes()
    assert (tmp_path / "2.png").read_bytes() == one
    assert (tmp_path / "5.png").read_bytes() == one


@pytest.mark.parametrize(("command", "module", "function"), [("blur", filters, "gaussian")])
def test_threads_are_handed_on(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: str, module: Any, function: str
) -> None:
    seen = []

    def spy(image: np.ndarray, **arguments: Any) -> np.ndarray:
        seen.append(arguments["threads"])
        return image

    monkeypatch.setattr(module, function, spy)
    write_image(tmp_path / "in.png", picture())
    assert run(command, "--threads", 3, tmp_path / "in.png", tmp_path / "a.png") == (0, "")
    assert run(command, tmp_path / "in.png", tmp_path / "b.png") == (0, "")
    assert seen == [3, None]


# ---- files, folders, patterns


def test_folder_to_folder(folder: Path, tmp_path: Path, run: Run) -> None:
    assert run("blur", folder, tmp_path / "new" / "out") == (0, "")
    assert names(tmp_path / "new" / "out") == ["a.png", "b.TIF", "c.webp"]
    for name, seed in (("a.png", 1), ("b.TIF", 2), ("c.webp", 3)):
        expected = filters.gaussian(picture(seed=seed), preserve_range=True, channel_axis=-1)
        np.testing.assert_array_equal(read_image(tmp_path / "new" / "out" / name)[0], expected)


def test_pattern_to_folder(folder: Path, tmp_path: Path, run: Run) -> None:
    assert run("blur", folder / "*.png", tmp_path / "out") == (0, "")
    assert names(tmp_path / "out") == ["a.png"]
    assert run("blur", folder / "[bc].*", tmp_path / "more") == (0, "")
    assert names(tmp_path / "more") == ["b.TIF", "c.webp"]


def test_several_inputs(folder: Path, tmp_path: Path, run: Run) -> None:
    """As a shell makes of an unquoted pattern; each file once."""
    assert run("blur", folder / "a.png", folder / "c.webp", folder / "*.png", tmp_path / "out") == (0, "")
    assert names(tmp_path / "out") == ["a.png", "c.webp"]


def test_file_into_folder(folder: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "there").mkdir()
    assert run("blur", folder / "a.png", tmp_path / "there") == (0, "")
    assert names(tmp_path / "there") == ["a.png"]
    assert run("blur", folder / "a.png", f"{tmp_path}/new/") == (0, "")
    assert names(tmp_path / "new") == ["a.png"]


def test_the_ending_chooses_the_format(folder: Path, tmp_path: Path, run: Run) -> None:
    assert run("blur", folder / "a.png", tmp_path / "a.JPG", "--quality", 80) == (0, "")
    assert (tmp_path / "a.JPG").read_bytes().startswith(b"\xff\xd8\xff")


def test_quality_reaches_the_file(folder: Path, tmp_path: Path, run: Run) -> None:
    for quality in (10, 90):
        assert run("blur", "--quality", quality, folder / "a.png", tmp_path / f"{quality}.jpg") == (0, "")
    assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "90.jpg").stat().st_size


def test_a_name_with_brackets_is_a_name(folder: Path, tmp_path: Path, run: Run) -> None:
    (folder / "a.png").rename(folder / "a[1].png")
    assert run("blur", folder / "a[1].png", tmp_path / "out.png") == (0, "")
    assert (tmp_path / "out.png").exists()


def test_metadata_survive(tmp_path: Path, run: Run) -> None:
    from PIL import Image

    Image.fromarray(picture()).save(tmp_path / "in.png", dpi=(200, 200), icc_profile=_srgb())
    assert run("denoise", tmp_path / "in.png", tmp_path / "out.jpg") == (0, "")
    with Image.open(tmp_path / "out.jpg") as result:
        assert result.info["icc_profile"] == _srgb()
        assert result.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def _srgb() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# ---- refused as a whole, before anything is written: exit code 2


def refused(result: tuple[int, str], what: str) -> None:
    code, err = result
    assert code == 2
    assert err.startswith("fastimg: ")
    assert what in err
    assert err.count("\n") == 1


def test_clashing_names(folder: Path, tmp_path: Path, run: Run) -> None:
    refused(run("blur", folder / "**" / "*.png", tmp_path / "out"), "would both become")
    assert not (tmp_path / "out").exists()


def test_two_inputs_of_one_name(folder: Path, run: Run) -> None:
    before = (folder / "a.png").read_bytes()
    refused(run("blur", "--overwrite", folder / "a.png", folder / "sub" / "a.png", folder), "would both become")
    assert (folder / "a.png").read_bytes() == before


def test_an_output_is_not_another_input(folder: Path, run: Run) -> None:
    (folder / "a.png").rename(folder / "sub" / "c.webp")
    before = (folder / "c.webp").read_bytes()
    refused(run("blur", "--overwrite", folder / "sub" / "c.webp", folder / "c.webp", folder), "is another input")
    assert (folder / "c.webp").read_bytes() == before


@pytest.mark.parametrize("output", ["taken", "out.png"])
def test_several_inputs_need_a_folder(folder: Path, tmp_path: Path, run: Run, output: str) -> None:
    (tmp_path / "taken").write_text("a file")
    refused(run("blur", folder, tmp_path / output), "must be a folder for these inputs")
    refused(run("blur", folder / "*.png", tmp_path / output), "must be a folder for these inputs")
    assert (tmp_path / "taken").read_text() == "a file"
    assert not (tmp_path / "out.png").exists()


def test_output_of_unknown_format(folder: Path, tmp_path: Path, run: Run) -> None:
    refused(run("blur", folder / "a.png", tmp_path / "a.bmp"), "ends in one of .jpeg, .jpg, .png, .tif, .tiff, .webp")
    refused(run("blur", folder / "a.png", tmp_path / "a"), "must be an existing folder, or a file that ends in")


def test_output_in_a_missing_folder(folder: Path, tmp_path: Path, run: Run) -> None:
    refused(run("blur", folder / "a.png", tmp_path / "missing" / "a.png"), "there is no folder")
    assert not (tmp_path / "missing").exists()


def test_no_images_there(folder: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    refused(run("blur", tmp_path / "empty", tmp_path / "out"), "no image files there")
    refused(run("blur", folder / "*.txt", tmp_path / "out"), "no image files there")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "COMMAND"),
        (["sharpen", "a.png", "b.png"], "invalid choice: 'sharpen'"),
        (["denoise", "a.png"], "the following arguments are required: OUTPUT"),
        (["denoise", "--h", "0", "a.png", "b.png"], "argument --h: must be > 0, got 0"),
        (["denoise", "--h", "nan", "a.png", "b.png"], "argument --h: must be finite, got nan"),
        (["denoise", "--h", "strong", "a.png", "b.png"], "argument --h: must be a number, got strong"),
        (["denoise", "--sigma", "-1", "a.png", "b.png"], "argument --sigma: must be >= 0, got -1"),
        (["denoise", "--patch-size", "4", "a.png", "b.png"], "argument --patch-size: must be odd, got 4"),
        (
            ["denoise", "--patch-distance", "0", "a.png", "b.png"],
            "argument --patch-distance: must be in 1..255, got 0",
        ),
        (["denoise", "--weights", "w", "a.png", "b.png"], "--weights needs --model"),
        (["denoise", "--model", "dncnn", "a.png", "b.png"], "--weights: no weights of DnCNN come with fastimg"),
        (["denoise", "--model", "dncnn-s", "--h", "9", "a.png", "b.png"], "--h and --sigma are for non-local means"),
        (["blur", "--sigma", "inf", "a.png", "b.png"], "argument --sigma: must be finite, got inf"),
        (["blur", "--truncate", "0", "a.png", "b.png"], "argument --truncate: must be > 0, got 0"),
        (["blur", "--mode", "mirrored", "a.png", "b.png"], "argument --mode: invalid choice: 'mirrored'"),
        (["blur", "--quality", "101", "a.png", "b.png"], "argument --quality: must be in 1..100, got 101"),
        (["blur", "--threads", "0", "a.png", "b.png"], "argument --threads: must be in 1..1024, got 0"),
        (["blur", "--threads", "two", "a.png", "b.png"], "argument --threads: must be a whole number, got two"),
        (["blur", "--overwrite", "--skip-existing", "a.png", "b.png"], "not allowed with argument"),
        (["upscale", "--scale", "5", "a.png", "b.png"], "scale must be a product of 2, 3 and 4, by which PlainSR"),
        (["upscale", "--scale", "1", "a.png", "b.png"], "argument --scale: must be >= 2, got 1"),
        (["upscale", "--scale", "2.5", "a.png", "b.png"], "argument --scale: must be a whole number, got 2.5"),
        (["upscale", "--size", "x", "a.png", "b.png"], "argument --size: must be WIDTHxHEIGHT, WIDTHx or xHEIGHT"),
        (["upscale", "--size", "0x90", "a.png", "b.png"], "in whole numbers > 0, got 0x90"),
        (["upscale", "--size", "1920", "a.png", "b.png"], "in whole numbers > 0, got 1920"),
        (["upscale", "--size", "-5x9", "a.png", "b.png"], "argument --size: "),
        (["upscale", "--size", "9x9", "--scale", "2", "a.png", "b.png"], "--scale: not allowed with argument --size"),
        (["upscale", "--model", "magic", "a.png", "b.png"], "argument --model: invalid choice: 'magic'"),
    ],
)
def test_usage(run: Run, arguments: list[str], what: str) -> None:
    code, err = run(*arguments)
    assert code == 2
    assert what in err


# ---- some files fail, the others are done: exit code 1


def test_one_bad_file_among_good_ones(folder: Path, tmp_path: Path, run: Run) -> None:
    data = (folder / "b.TIF").read_bytes()
    (folder / "b.TIF").write_bytes(data[: len(data) // 2])
    (folder / "a0.png").write_bytes(b"")
    (folder / "z.jpg").write_text("not an image")
    code, err = run("blur", folder, tmp_path / "out")
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0] == f"fastimg: {folder}/a0.png: empty file"
    assert lines[1].startswith(f"fastimg: {folder}/b.TIF: truncated, damaged or unsupported TIFF file (")
    assert lines[2] == f"fastimg: {folder}/z.jpg: not a PNG, TIFF, JPEG or WebP file"
    assert names(tmp_path / "out") == ["a.png", "c.webp"]


def test_missing_input(folder: Path, tmp_path: Path, run: Run) -> None:
    missing = folder / "missing.png"
    result = run("blur", missing, tmp_path / "out.png")
    assert result == (1, f"fastimg: {missing}: No such file or directory\n")
    assert run("blur", missing, folder / "a.png", tmp_path / "out")[0] == 1
    assert names(tmp_path / "out") == ["a.png"]


def test_existing_files(folder: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.TIF").write_bytes(b"precious")
    code, err = run("blur", folder, out)
    assert (code, err) == (
        1,
        f"fastimg: {folder}/b.TIF: exists (--overwrite replaces it, --skip-existing leaves it): {out}/b.TIF\n",
    )
    assert (out / "b.TIF").read_bytes() == b"precious"
    assert names(out) == ["a.png", "b.TIF", "c.webp"]
    made = (out / "a.png").stat().st_mtime_ns
    assert run("blur", "--skip-existing", folder, out) == (0, "")
    assert (out / "b.TIF").read_bytes() == b"precious"
    assert (out / "a.png").stat().st_mtime_ns == made
    assert run("blur", "--overwrite", folder, out) == (0, "")
    assert read_image(out / "b.TIF")[0].shape == (24, 20, 3)
    assert (out / "a.png").stat().st_mtime_ns > made


def test_in_place(folder: Path, run: Run) -> None:
    before = names(folder)
    assert run("blur", "--overwrite", folder, folder) == (0, "")
    expected = filters.gaussian(picture(seed=1), preserve_range=True, channel_axis=-1)
    np.testing.assert_array_equal(read_image(folder / "a.png")[0], expected)
    assert names(folder) == before


def test_what_the_format_cannot_hold(tmp_path: Path, run: Run) -> None:
    transparent, deep = tmp_path / "transparent.png", tmp_path / "deep.png"
    write_image(transparent, picture((8, 8, 4)))
    write_image(deep, picture((8, 8), "uint16"))
    result = run("blur", transparent, tmp_path / "out.jpg")
    what = f"{tmp_path}/out.jpg: JPEG cannot hold transparency: choose .png, .tif or .webp"
    assert result == (1, f"fastimg: {transparent}: {what}\n")
    result = run("blur", deep, tmp_path / "out.webp")
    assert result == (0, f"fastimg: {deep}: 16 bit became 8 bit, all that WebP holds\n")
    assert names(tmp_path) == ["deep.png", "out.webp", "transparent.png"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "place"), "place: No space left on device"),
        (PermissionError(13, "Permission denied", "place"), "place: Permission denied"),
        (ValueError("image must\nbe larger"), "image must be larger"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_each_failure_is_one_line(
    folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(image_files, "write_image", fail)
    assert run("blur", folder / "a.png", tmp_path / "out.png") == (1, f"fastimg: {folder}/a.png: {line}\n")


def test_output_folder_that_cannot_be_made(folder: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    code, err = run("blur", folder / "a.png", folder / "c.webp", tmp_path / "file" / "out")
    assert code == 1
    assert err.count("Not a directory") == err.count("\n") == 2


# ---- interrupts, terminals, processes


def test_interrupt_in_this_process(folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(filters, "gaussian", interrupt)
    assert run("blur", folder, tmp_path / "out") == (130, "fastimg: interrupted\n")


def test_interrupt_by_signal(tmp_path: Path) -> None:
    """Control-C in the middle of a folder: whole files only, and no others."""
    (tmp_path / "in").mkdir()
    for i in range(150):  # some seconds of work, of which the first file is a small part
        write_image(tmp_path / "in" / f"{i:03}.png", picture((64, 64, 3), seed=i))
    command = [sys.executable, "-m", "fastimg", "denoise", "--patch-distance", "40"]
    command += [str(tmp_path / "in"), str(tmp_path / "out")]
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell has its background jobs ignore it
    process = subprocess.Popen(command, env=python_environment(), stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    until = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "fastimg: interrupted\n"
    done = names(tmp_path / "out")
    assert len(done) < 150
    for name in done:
        assert read_image(tmp_path / "out" / name)[0].shape == (64, 64, 3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "pattern", "options", "shown"),
    [
        (Terminal, "*.*", [], True),
        (Terminal, "*.*", ["--no-progress"], False),
        (Terminal, "a.png", [], False),
        (io.StringIO, "*.*", [], False),
    ],
    ids=["terminal", "hidden", "one file", "no terminal"],
)
def test_progress(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    pattern: str,
    options: list[str],
    shown: bool,
) -> None:
    said = stream()
    monkeypatch.setattr(sys, "stderr", said)
    (folder / "b.TIF").write_text("not an image")
    (tmp_path / "out").mkdir()
    code = main(["blur", *options, str(folder / pattern), str(tmp_path / "out")])
    monkeypatch.undo()
    line = f"fastimg: {folder}/b.TIF: not a PNG, TIFF, JPEG or WebP file\n" if pattern == "*.*" else ""
    assert code == (1 if line else 0)
    if shown:
        assert "3/3" in said.getvalue()
        assert f"\r{line}" in said.getvalue(), "the bar makes room for messages"
    else:
        assert said.getvalue() == line


@pytest.mark.parametrize("module", ["fastimg", "fastimg.cli"])
def test_python_m(module: str) -> None:
    assert run_python("-m", module, "--version").stdout == f"fastimg {fastimg.__version__}\n"


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    fastimg.show_config()
    assert said == capsys.readouterr().out
    assert fastimg.__version__ in said


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for command in ("denoise", "blur", "upscale", "info"):
        assert f"\n    {command} " in said


def test_start_up_loads_nothing_heavy() -> None:
    code = (
        "import sys, fastimg.cli\n"
        "try: fastimg.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'skimage', 'scipy', 'matplotlib', 'cv2', 'pyvips', 'tqdm', 'cupy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run_python(code).stdout.splitlines()[-1] == "[]"


def test_missing_pyvips(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyvips'] = None\n"
        "from fastimg.cli import main\n"
        f"sys.exit(main(['blur', {str(folder)!r}, {str(tmp_path / 'out')!r}]))"
    )
    run = run_python(code)
    assert run.returncode == 1
    assert run.stderr == "fastimg: image files need pyvips: pip install 'fastimg[cli]'\n"
    assert not (tmp_path / "out").exists()
