"""Image files: what is kept, what is refused, what is left behind."""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_python
from PIL import Image, ImageCms

from fastimg import _files
from fastimg.image_files import ImageFileError, ImageFileWarning, read_image, write_image

pyvips = pytest.importorskip("pyvips")

SHAPES = {"grey": (37, 23), "grey+alpha": (37, 23, 2), "RGB": (37, 23, 3), "RGBA": (37, 23, 4)}
LOSSLESS = {  # what goes into each format and comes back the same
    ".png": {"uint8": SHAPES, "uint16": SHAPES},
    ".tif": {"uint8": SHAPES, "uint16": SHAPES, "float32": SHAPES},
    ".webp": {"uint8": {"RGB": SHAPES["RGB"], "RGBA": SHAPES["RGBA"]}},
}
ROUND_TRIPS = [
    pytest.param(suffix, dtype, shape, id=f"{suffix[1:]} {dtype} {kind}")
    for suffix, dtypes in LOSSLESS.items()
    for dtype, shapes in dtypes.items()
    for kind, shape in shapes.items()
]
SUFFIXES = [".png", ".tif", ".jpg", ".webp"]


def picture(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 1) -> np.ndarray:
    """Noise over the whole range of the dtype; floats beyond [0, 1]."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0.5, 1, shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def smooth(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    """A gradient, which JPEG keeps to within a few grey levels."""
    ramp = np.add.outer(np.linspace(0.1, 0.5, shape[0]), np.linspace(0, 0.4, shape[1]))
    ramp = np.broadcast_to(ramp.reshape(ramp.shape + (1,) * (len(shape) - 2)), shape)
    return np.rint(ramp * np.iinfo(dtype).max).astype(dtype)


def exif(orientation: int = 6) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Maker of cameras"
    tags.get_ifd(0x8769)[0x9003] = "2020:02:29 12:00:00"
    return tags


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(("suffix", "dtype", "shape"), ROUND_TRIPS)
def test_lossless_round_trip(tmp_path: Path, suffix: str, dtype: str, shape: tuple[int, ...]) -> None:
    image = picture(shape, dtype)
    path = tmp_path / f"image{suffix}"
    write_image(path, image)
    back, _ = read_image(path)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)
    assert back.flags.c_contiguous
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("shape", [(37, 23), (37, 23, 3)])
def test_jpeg_is_close(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = smooth(shape)
    write_image(tmp_path / "a.jpeg", image)
    back, _ = read_image(tmp_path / "a.jpeg")
    assert back.shape == image.shape
    assert np.abs(back.astype(int) - image).max() <= 4


def test_webp_makes_grey_rgb(tmp_path: Path) -> None:
    image = picture((9, 7))
    write_image(tmp_path / "a.webp", image)
    back, _ = read_image(tmp_path / "a.webp")
    np.testing.assert_array_equal(back, np.dstack([image] * 3))


def test_a_single_channel_is_grey(tmp_path: Path) -> None:
    image = picture((9, 7, 1))
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], image[:, :, 0])


def test_any_strides(tmp_path: Path) -> None:
    image = picture((20, 30, 3))[::-2, 3:25:3, ::-1]
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], image)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_other_readers_agree(tmp_path: Path, suffix: str) -> None:
    image = picture((19, 31, 4))
    write_image(tmp_path / f"a{suffix}", image)
    with Image.open(tmp_path / f"a{suffix}") as other:
        np.testing.assert_array_equal(np.asarray(other), image)


def test_quality_trades_size(tmp_path: Path) -> None:
    image = picture((64, 64, 3))
    for suffix in (".jpg", ".webp"):
        write_image(tmp_path / f"low{suffix}", image, quality=20)
        write_image(tmp_path / f"high{suffix}", image, quality=90)
        write_image(tmp_path / f"default{suffix}", image)
        low, high, default = ((tmp_path / f"{name}{suffix}").stat().st_size for name in ("low", "high", "default"))
        assert low < high < default


@pytest.mark.parametrize("written", SUFFIXES)
@pytest.mark.parametrize("read", SUFFIXES)
def test_metadata_are_kept(tmp_path: Path, read: str, written: str) -> None:
    Image.fromarray(smooth((20, 30, 3))).save(tmp_path / f"in{read}", exif=exif(), icc_profile=SRGB, dpi=(300, 300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageFileWarning)  # EXIF into TIFF: tested below
        image, metadata = read_image(tmp_path / f"in{read}")
        write_image(tmp_path / f"out{written}", image, metadata)
    assert image.shape == (20, 30, 3), "pixels are kept as stored"
    with Image.open(tmp_path / f"out{written}") as result:
        tags = result.getexif()
        assert tags[0x0112] == 6
        assert result.info["icc_profile"] == SRGB
        if ".tif" not in (read, written):
            assert tags[0x010F] == "Maker of cameras"
            assert tags.get_ifd(0x8769)[0x9003] == "2020:02:29 12:00:00"
        if ".webp" not in (read, written):  # WebP has no place for it but EXIF, which Pillow did not fill
            assert result.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_exif_left_out_of_tiff_is_told(tmp_path: Path) -> None:
    Image.fromarray(smooth((20, 30, 3))).save(tmp_path / "in.jpg", exif=exif())
    image, metadata = read_image(tmp_path / "in.jpg")
    with pytest.warns(ImageFileWarning, match="EXIF was left out but for orientation"):
        write_image(tmp_path / "out.tif", image, metadata)


def test_no_resolution_becomes_72_dpi(tmp_path: Path) -> None:
    Image.fromarray(smooth((20, 30, 3))).save(tmp_path / "in.png")
    image, metadata = read_image(tmp_path / "in.png")
    write_image(tmp_path / "out.png", image, metadata)
    with Image.open(tmp_path / "out.png") as result:
        assert result.info["dpi"] == pytest.approx((72, 72), rel=1e-3)


def test_profile_of_another_colour_space_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(smooth((20, 30, 3))).save(tmp_path / "in.png", icc_profile=SRGB)
    image, metadata = read_image(tmp_path / "in.png")
    write_image(tmp_path / "out.png", image[:, :, 0], metadata)
    with Image.open(tmp_path / "out.png") as result:
        assert "icc_profile" not in result.info
        assert result.mode == "L"


def test_old_preview_is_not_kept(tmp_path: Path) -> None:
    """EXIF of a camera carries a thumbnail, which would show the image as it was."""
    thumbnail = tmp_path / "thumbnail.jpg"
    Image.new("RGB", (16, 16), "red").save(thumbnail)
    Image.fromarray(smooth((20, 30, 3))).save(tmp_path / "in.jpg", exif=exif())
    camera = pyvips.Image.new_from_file(str(tmp_path / "in.jpg")).copy()
    camera.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", thumbnail.read_bytes())
    camera.jpegsave(str(tmp_path / "camera.jpg"))
    assert thumbnail.read_bytes()[20:] in (tmp_path / "camera.jpg").read_bytes()
    image, metadata = read_image(tmp_path / "camera.jpg")
    write_image(tmp_path / "out.jpg", image, metadata)
    assert thumbnail.read_bytes()[20:] not in (tmp_path / "out.jpg").read_bytes()
    with Image.open(tmp_path / "out.jpg") as result:
        assert result.getexif()[0x010F] == "Maker of cameras"


# ---- kinds of file that need a decision


def test_palette_is_expanded(tmp_path: Path) -> None:
    colours = Image.fromarray(picture((16, 16, 3))).quantize(16)
    for suffix in (".png", ".tif"):
        colours.save(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}")[0], np.asarray(colours.convert("RGB")))


def test_transparent_palette_becomes_rgba(tmp_path: Path) -> None:
    Image.fromarray(picture((16, 16, 3))).quantize(8).save(tmp_path / "a.png", transparency=0)
    back, _ = read_image(tmp_path / "a.png")
    assert back.shape == (16, 16, 4)
    assert (back[:, :, 3] == 0).any()
    assert (back[:, :, 3] == 255).any()


def test_one_bit_becomes_8_bit(tmp_path: Path) -> None:
    bits = picture((16, 16)) > 100
    for suffix in (".png", ".tif"):
        Image.fromarray(bits).save(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}")[0], np.where(bits, 255, 0))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"a{suffix}")
    with pytest.warns(ImageFileWarning, match="CMYK was converted to sRGB"):
        back, metadata = read_image(tmp_path / f"a{suffix}")
    assert back.shape == (8, 8, 3)
    assert (back[..., 0] > 180).all()
    assert (back[..., 1:] < 80).all()
    write_image(tmp_path / "out.png", back, metadata)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png")[0], back)


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_several_images_in_a_file_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(picture((16, 16, 3), seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageFileError, match="holds 3 pages or frames: one image is expected"):
        read_image(tmp_path / f"a{suffix}")


def test_signed_samples_are_refused(tmp_path: Path) -> None:
    Image.fromarray(picture((16, 16)).astype(np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageFileError, match="holds samples of type int: 8 or 16 bit unsigned, or floating"):
        read_image(tmp_path / "a.tif")


def test_64_bit_samples_are_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", picture((8, 8), "float32").astype(np.float64))
    with pytest.raises(ImageFileError, match="unsupported TIFF file .*samples out of range"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_float_tiff_of_others(tmp_path: Path, dtype: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    image = picture((8, 9, 3), "float32").astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    back, _ = read_image(tmp_path / "a.tif")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, image)


def test_other_colour_spaces_are_refused(tmp_path: Path) -> None:
    pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").colourspace("xyz").tiffsave(str(tmp_path / "a.tif"))
    with pytest.raises(ImageFileError, match="3 channels of colour space xyz: grey or RGB"):
        read_image(tmp_path / "a.tif")


# ---- unreadable files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    """Cut at any length, a file is refused in one line, or has lost none of its pixels."""
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth((40, 30, 3)) + picture((40, 30, 3)) % 8)
    whole, data = read_image(path)[0], path.read_bytes()
    messages = []
    for length in [*range(0, len(data), max(1, len(data) // 60)), len(data) - 1]:
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path)[0], whole)
        except ImageFileError as error:
            messages.append(str(error))
    assert len(messages) >= 59
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty file"),
        (b"GIF89a" + bytes(50), "not a PNG, TIFF, JPEG or WebP file"),
        (b"hello, this is text", "not a PNG, TIFF, JPEG or WebP file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "truncated, damaged or unsupported PNG file"),
        (b"\xff\xd8\xff" + bytes(100), "truncated, damaged or unsupported JPEG file"),
        (b"II*\0" + bytes(100), "truncated, damaged or unsupported TIFF file"),
        (b"RIFF\0\0\0\0WEBP" + bytes(100), "truncated, damaged or unsupported WebP file"),
    ],
)
def test_not_an_image(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageFileError, match=what) as caught:
        read_image(tmp_path / "a.png")
    assert caught.value.path == str(tmp_path / "a.png")
    assert caught.value.what.startswith(what)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a.png"):
        read_image(tmp_path / "a.png")


def test_the_content_decides_not_the_ending(tmp_path: Path) -> None:
    image = picture((9, 7))
    write_image(tmp_path / "a.png", image)
    (tmp_path / "a.png").rename(tmp_path / "a[1],Q=5.jpg")  # and brackets are no options of libvips
    np.testing.assert_array_equal(read_image(tmp_path / "a[1],Q=5.jpg")[0], image)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    for value in range(20):
        write_image(tmp_path / "a.png", np.full((8, 8), value, np.uint8), overwrite=True)
        assert (read_image(tmp_path / "a.png")[0] == value).all()


# ---- images that a format cannot hold


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_float_goes_into_tiff_only(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ImageFileError, match="cannot hold float32: choose .tif"):
        write_image(tmp_path / f"a{suffix}", picture((8, 8), "float32"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(8, 8, 2), (8, 8, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_transparency_and_jpeg(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    image = smooth(shape, dtype)
    with pytest.raises(ImageFileError, match="JPEG cannot hold transparency"):
        write_image(tmp_path / "a.jpg", image)
    assert os.listdir(tmp_path) == []
    image[:, :, -1] = np.iinfo(dtype).max
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_image(tmp_path / "a.jpg", image)
    assert "the alpha channel, opaque everywhere, was left out" in [str(w.message) for w in caught]
    assert read_image(tmp_path / "a.jpg")[0].shape == ((8, 8) if shape[2] == 2 else (8, 8, 3))


def test_16_bit_becomes_8_bit(tmp_path: Path) -> None:
    image = picture((16, 16, 3), "uint16")
    with pytest.warns(ImageFileWarning, match="16 bit became 8 bit, all that WebP holds"):
        write_image(tmp_path / "a.webp", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp")[0], np.rint(image / 257))
    with pytest.warns(ImageFileWarning, match="16 bit became 8 bit, all that JPEG holds"):
        write_image(tmp_path / "a.jpg", smooth((16, 16), "uint16"))
    assert np.abs(read_image(tmp_path / "a.jpg")[0] - smooth((16, 16), "uint16") / 257).max() <= 4


def test_too_large_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="cannot be written as WebP .*too large"):
        write_image(tmp_path / "a.webp", np.zeros((1, 20000), np.uint8))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([[1, 2]], TypeError, "image must be a NumPy array, got list"),
        (np.zeros((4, 4)), TypeError, "image must be uint8, uint16 or float32, got float64"),
        (np.zeros((4, 4), bool), TypeError, "image must be uint8, uint16 or float32, got bool"),
        (np.zeros(4, np.uint8), ValueError, r"image must be of shape .* got \(4,\)"),
        (np.zeros((4, 4, 5), np.uint8), ValueError, r"image must be of shape .* got \(4, 4, 5\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"image must not be empty, got shape \(0, 4\)"),
    ],
)
def test_bad_image(tmp_path: Path, image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        write_image(tmp_path / "a.png", image)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quality": "a"}, "quality must be an integer, got 'a'"),
        ({"quality": True}, "quality must be an integer, got True"),
        ({"metadata": "x"}, "metadata must be what read_image gave, or None, got 'x'"),
        ({"overwrite": "no"}, "overwrite must be True or False, got 'no'"),
    ],
)
def test_arguments_of_the_wrong_type(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        write_image(tmp_path / "a.jpg", smooth((8, 8)), **arguments)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("dtype", "ending"), [(">u2", "png"), (">f4", "tif"), ("<u2", "png")])
def test_either_byte_order(tmp_path: Path, dtype: str, ending: str) -> None:
    image = np.array([[0, 1, 258], [3157, 6315, 65535]], dtype)
    write_image(tmp_path / f"a.{ending}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}")[0], image)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="a.png: not a regular file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_bad_quality(tmp_path: Path, quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality must be at (least 1|most 100), got {quality}"):
        write_image(tmp_path / "a.jpg", smooth((8, 8)), quality=quality)


def test_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="the ending must be one of .jpeg, .jpg, .png, .tif, .tiff, .webp"):
        write_image(tmp_path / "a.bmp", smooth((8, 8)))


# ---- whole or not at all


def test_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="the file exists.*a.png"):
        write_image(path, picture((8, 8)))
    assert path.read_bytes() == b"precious"
    write_image(path, picture((8, 8)), overwrite=True)
    np.testing.assert_array_equal(read_image(path)[0], picture((8, 8)))
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["write", "rename"])
def test_nothing_is_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, when: str
) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture((8, 8)))
    before = path.read_bytes()

    def fail(*args: Any) -> None:
        raise failure

    if when == "rename":
        monkeypatch.setattr(os, "replace", fail)
    else:
        monkeypatch.setattr(_files, "open", _open_that_writes_half(failure), raising=False)
    with pytest.raises(type(failure)) as error:
        write_image(path, picture((9, 9)), overwrite=True)
    if isinstance(error.value, OSError):
        assert error.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def _open_that_writes_half(failure: BaseException) -> Any:
    class HalfWritten(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            super().write(data[: len(data) // 2])
            raise failure

    return HalfWritten


def test_permissions(tmp_path: Path) -> None:
    """A new file gets those of any new file, a replaced one keeps its own."""
    old = os.umask(0o027)
    try:
        write_image(tmp_path / "a.png", picture((8, 8)))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    (tmp_path / "a.png").chmod(0o604)
    write_image(tmp_path / "a.png", picture((8, 8)), overwrite=True)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o604


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "a.png").symlink_to(tmp_path / "there" / "b.png")
    write_image(tmp_path / "a.png", picture((8, 8)))
    write_image(tmp_path / "a.png", picture((9, 9)), overwrite=True)
    assert (tmp_path / "a.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "there" / "b.png")[0], picture((9, 9)))


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="is not a regular file"):
        write_image(tmp_path / "a.png", picture((8, 8)), overwrite=True)
    assert os.listdir(tmp_path) == ["a.png"]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_image(tmp_path / "missing" / "a.png", picture((8, 8)))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        write_image(tmp_path / "file" / "a.png", picture((8, 8)))
    if os.getuid() == 0:  # root writes everywhere but where the kernel itself forbids it
        with pytest.raises(OSError, match="/proc"):
            write_image("/proc/a.png", picture((8, 8)))
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(PermissionError):
            write_image(tmp_path / "closed" / "a.png", picture((8, 8)))


def test_missing_pyvips_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyvips'] = None\n"
        "from fastimg import image_files\n"
        "try: image_files.read_image('a.png')\n"
        "except ImportError as error: print(error)"
    )
    assert run_python(code).stdout.strip() == "image files need pyvips: pip install 'fastimg[cli]'"
