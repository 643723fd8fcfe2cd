"""Image files to NumPy arrays and back: PNG, TIFF, JPEG and WebP, by libvips.

Needs the extra ``cli`` (``pip install 'fastimg[cli]'``): pyvips carries libvips in its wheel.

What is read, and as what:

=========================  ===============================================================
file                       array
=========================  ===============================================================
grey, grey + alpha         (H, W), (H, W, 2)
RGB, RGBA                  (H, W, 3), (H, W, 4)
8 bit, 16 bit, float TIFF  uint8, uint16, float32
palette; 1, 2 and 4 bit    expanded to 8 bit RGB or RGBA (palette) or grey (the others)
CMYK                       converted to sRGB by its colour profile, with an `ImageFileWarning`
animation, several pages   refused: one file is one image
64 bit, signed, Lab, ...   refused
=========================  ===============================================================

Pixels are kept as stored: a file that says by its orientation tag that it lies on its side is not
turned, and the tag goes into the file that is written. Alpha is not premultiplied.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, _files

__all__ = ["SUFFIXES", "ImageFileError", "ImageFileWarning", "Metadata", "read_image", "write_image"]

_FORMAT_OF_SUFFIX = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
}

SUFFIXES = frozenset(_FORMAT_OF_SUFFIX)
"""Endings (lower case, with the dot) of the files that `write_image` can make."""

_COLOUR_CHANNELS = {"b-w": 1, "grey16": 1, "rgb": 3, "srgb": 3, "rgb16": 3, "scrgb": 3}
_DTYPE_OF_VIPS = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
_VIPS_OF_DTYPE = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_INTERPRETATION = {
    ("uchar", 1): "b-w",
    ("uchar", 3): "srgb",
    ("ushort", 1): "grey16",
    ("ushort", 3): "rgb16",
    ("float", 1): "b-w",
    ("float", 3): "srgb",
}
_PREVIEW = "jpeg-thumbnail-data"
_KEPT = ("exif-", "icc-profile-data", "iptc-data", _PREVIEW, "orientation", "resolution-unit", "xmp-data")
_72_DPI = 72 / 25.4  # what readers assume of a file without a resolution
_UNKNOWN_RESOLUTION = (1.0, 1.0)  # libvips' own, in pixels per mm, when the file has none


class ImageFileError(ValueError):
    """A file that cannot be read, or an image that its file format cannot hold.

    Attributes
    ----------
    path : str
        The file.
    what : str
        What is wrong with it, in one line.
    """

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        self.path = os.fspath(path)
        self.what = what
        super().__init__(f"{self.path}: {what}")


class ImageFileWarning(UserWarning):
    """Something about the image was changed so that the file or the array could hold it."""


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels: colour profile, EXIF, XMP, IPTC, orientation, resolution.

    Opaque: made by `read_image`, to be given to `write_image`.
    """

    _resolution: tuple[float, float]
    _fields: Mapping[str, tuple[int, Any]] = field(repr=False)

    @property
    def on_its_side(self) -> bool:
        """Whether the image is shown with rows and columns exchanged, as its orientation tag says."""
        return self._fields.get("orientation", (0, 1))[1] in (5, 6, 7, 8)


def read_image(path: str | os.PathLike[str]) -> tuple[NDArray[Any], Metadata]:
    """Read an image file.

    Parameters
    ----------
    path : path
        A PNG, TIFF, JPEG or WebP file, recognised by its content.

    Returns
    -------
    image : (H, W) or (H, W, C) array of uint8, uint16 or float32
        C is 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
    metadata : Metadata
        What `write_image` needs to keep colour profile, EXIF, orientation and resolution.

    Raises
    ------
    ImageFileError
        The content is truncated, damaged, of another format, or of a kind that the table above refuses.
    OSError
        The file cannot be opened.
    ImportError
        pyvips is not installed.

    Warns
    -----
    ImageFileWarning
        A CMYK image was converted to sRGB.

    Notes
    -----
    Of an animated PNG the still image is read that any PNG reader shows. PNG's ``gAMA`` and ``cHRM``
    chunks are not kept; a colour profile is.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from fastimg import image_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "grey.png")
    ...     image_files.write_image(path, np.full((2, 3), 65535, np.uint16))
    ...     image, metadata = image_files.read_image(path)
    >>> image
    array([[65535, 65535, 65535],
           [65535, 65535, 65535]], dtype=uint16)
    """
    vips = _vips()
    if not Path(path).is_file() and Path(path).exists():
        raise ImageFileError(path, "not a regular file")
    data = Path(path).read_bytes()
    name = _format_of(data)
    if name is None:
        what = "empty file" if not data else "not a PNG, TIFF, JPEG or WebP file"
        raise ImageFileError(path, what)
    load = getattr(vips.Image, f"{name.lower()}load_buffer")
    try:
        stored = load(data, access="sequential", fail_on="error")
        image = _as_grey_or_rgb(stored, path)
        pixels = image.write_to_memory()
    except vips.Error as error:
        raise ImageFileError(path, f"truncated, damaged or unsupported {name} file{_reason(error)}") from error
    shape = (image.height, image.width) + ((image.bands,) if image.bands > 1 else ())
    dtype = _DTYPE_OF_VIPS[image.format]
    return np.frombuffer(pixels, dtype=dtype).reshape(shape), _metadata(stored)


def write_image(
    path: str | os.PathLike[str],
    image: NDArray[Any],
    metadata: Metadata | None = None,
    *,
    quality: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image file, whole or not at all.

    It is written beside its place under another name, then renamed.

    Parameters
    ----------
    path : path
        Where to. The ending chooses the format: .png, .tif, .tiff, .jpg, .jpeg, .webp.
    image : (H, W) or (H, W, C) array of uint8, uint16 or float32
        C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA). float32 goes into TIFF only.
    metadata : Metadata, optional
        From `read_image`. A colour profile of another colour space than the image's is left out, and so
        is a preview image, which would show the old pixels.
    quality : int, optional
        1 to 100, of JPEG (default 95) and WebP (default: lossless). PNG and TIFF are always lossless.
    overwrite : bool, optional
        Replace a file that is there already.

    Raises
    ------
    ImageFileError
        The format cannot hold the image: transparency in JPEG, float32 outside of TIFF, too many pixels.
    FileExistsError
        The file exists and `overwrite` is False.
    OSError
        The file cannot be written.
    ValueError, TypeError
        `image` or `quality` is not as described.
    ImportError
        pyvips is not installed.

    Warns
    -----
    ImageFileWarning
        16 bit became 8 bit, an alpha channel that was opaque everywhere was left out, or EXIF was, because
        the format has no place for it (of EXIF, libvips writes orientation and resolution into TIFF).

    Notes
    -----
    WebP has no grey images: a grey one is read back as RGB with three equal channels.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from fastimg import image_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image_files.write_image(os.path.join(folder, "black.webp"), np.zeros((4, 4, 3), np.uint8))
    ...     os.listdir(folder)
    ['black.webp']
    """
    vips = _vips()
    name = _FORMAT_OF_SUFFIX.get(Path(path).suffix.lower())
    if name is None:
        raise ImageFileError(path, f"the ending must be one of {', '.join(sorted(SUFFIXES))}")
    if quality is not None:
        quality = _checks.integer(quality, "quality", at_least=1, at_most=100)
    if not isinstance(metadata, Metadata | None):
        raise TypeError(f"metadata must be what read_image gave, or None, got {metadata!r}")
    overwrite = _checks.boolean(overwrite, "overwrite")
    pixels = _fit(_checked(image), name, path)
    if name == "TIFF" and metadata is not None and "exif-data" in metadata._fields:
        warnings.warn("EXIF was left out but for orientation and resolution", ImageFileWarning, stacklevel=2)
    try:
        data = _encode(_with_metadata(_to_vips(vips, pixels), metadata), name, quality)
    except vips.Error as error:
        raise ImageFileError(path, f"cannot be written as {name}{_reason(error)}") from error
    if os.path.exists(path) and not os.path.isfile(path):
        raise ImageFileError(path, "is not a regular file: it cannot be replaced")
    _files.write_whole(path, data, overwrite=overwrite)


@cache
def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:  # OSError: pyvips is there, libvips is not
        raise ImportError("image files need pyvips: pip install 'fastimg[cli]'") from error
    return pyvips


def _format_of(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return None


def _reason(error: Any) -> str:
    """The first line of libvips' own words: the later ones repeat it for each layer that it passed."""
    lines = [line.strip() for line in error.detail.splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""


def _as_grey_or_rgb(image: Any, path: str | os.PathLike[str]) -> Any:
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise ImageFileError(path, f"holds {pages} pages or frames: one image is expected")
    if image.interpretation == "cmyk":
        warnings.warn("CMYK was converted to sRGB", ImageFileWarning, stacklevel=3)
        image = image.colourspace("srgb")
    colours = _COLOUR_CHANNELS.get(image.interpretation)
    if colours is None or image.bands - colours not in (0, 1):
        what = f"{image.bands} channels of colour space {image.interpretation}"
        raise ImageFileError(path, f"holds {what}: grey or RGB, with or without alpha, is expected")
    if image.format not in _DTYPE_OF_VIPS:
        what = f"samples of type {image.format}"
        raise ImageFileError(path, f"holds {what}: 8 or 16 bit unsigned, or floating, is expected")
    return image


def _metadata(image: Any) -> Metadata:
    names = [name for name in image.get_fields() if name.startswith(_KEPT)]
    fields = {name: (image.get_typeof(name), image.get(name)) for name in names}
    if _PREVIEW in fields:  # an empty one replaces the one that lies within exif-data
        fields[_PREVIEW] = (fields[_PREVIEW][0], b"")
    return Metadata((image.xres, image.yres), fields)


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image must be a NumPy array, got {type(image).__name__}")
    if image.dtype.name not in _VIPS_OF_DTYPE:
        raise TypeError(f"image must be uint8, uint16 or float32, got {image.dtype}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (2,), (3,), (4,)):
        raise ValueError(f"image must be of shape (H, W) or (H, W, 1..4), got {image.shape}")
    if image.size == 0:
        raise ValueError(f"image must not be empty, got shape {image.shape}")
    return image[:, :, np.newaxis] if image.ndim == 2 else image


def _fit(image: NDArray[Any], name: str, path: str | os.PathLike[str]) -> NDArray[Any]:
    """The (H, W, C) image as the file format can hold it."""
    if image.dtype == np.float32 and name != "TIFF":
        raise ImageFileError(path, f"{name} cannot hold float32: choose .tif, or convert to uint8 or uint16")
    if name == "JPEG" and image.shape[2] in (2, 4):
        if (image[:, :, -1] != np.iinfo(image.dtype).max).any():
            raise ImageFileError(path, "JPEG cannot hold transparency: choose .png, .tif or .webp")
        warnings.warn("the alpha channel, opaque everywhere, was left out", ImageFileWarning, stacklevel=3)
        image = image[:, :, :-1]
    if name in ("JPEG", "WebP") and image.dtype == np.uint16:
        warnings.warn(f"16 bit became 8 bit, all that {name} holds", ImageFileWarning, stacklevel=3)
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image


def _to_vips(vips: Any, image: NDArray[Any]) -> Any:
    height, width, channels = image.shape
    image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    kind = _VIPS_OF_DTYPE[image.dtype.name]
    made = vips.Image.new_from_memory(image.data, width, height, channels, kind)
    colours = channels - 1 if channels in (2, 4) else channels
    return made.copy(interpretation=_INTERPRETATION[kind, colours], xres=_72_DPI, yres=_72_DPI)


def _with_metadata(image: Any, metadata: Metadata | None) -> Any:
    if metadata is None:
        return image
    if metadata._resolution != _UNKNOWN_RESOLUTION:
        image = image.copy(xres=metadata._resolution[0], yres=metadata._resolution[1])
    for name, (kind, value) in metadata._fields.items():
        if name == "icc-profile-data" and not _profile_fits(value, image.bands):
            continue
        image.set_type(kind, name, value)
    return image


def _profile_fits(profile: bytes, bands: int) -> bool:
    return bytes(profile)[16:20] == (b"GRAY" if bands < 3 else b"RGB ")


def _encode(image: Any, name: str, quality: int | None) -> bytes:
    if name == "PNG":
        data = image.pngsave_buffer(filter="all")
    elif name == "TIFF":
        predictor = "none" if image.format == "float" else "horizontal"
        huge = image.width * image.height * image.bands * struct.calcsize("f") > 2**31
        data = image.tiffsave_buffer(compression="deflate", predictor=predictor, bigtiff=huge)
    elif name == "JPEG":
        data = image.jpegsave_buffer(Q=95 if quality is None else quality, optimize_coding=True)
    elif quality is None:
        data = image.webpsave_buffer(lossless=True, exact=True)
    else:
        data = image.webpsave_buffer(Q=quality, exact=True)
    return bytes(data)
