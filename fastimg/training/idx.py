"""IDX files: the format of MNIST's images and labels, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _files

_MAGIC = {0x00000801: 1, 0x00000803: 3}  # bytes, and so many dimensions
_MOST = 2**31  # bytes that a file may hold
_TRAINING_IMAGES = [f"train-images{dot}idx3-ubyte{suffix}" for dot in "-." for suffix in ("", ".gz")]


def find_digits(folders: Sequence[str | Path]) -> list[Path]:
    """The file of training images in each folder, under one of the names that it goes by."""
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"data must be folders of IDX files, got {str(folder)!r}, which is no folder")
        paths = [folder / name for name in _TRAINING_IMAGES if (folder / name).is_file()]
        if not paths:
            raise ValueError(f"no digits in {str(folder)!r} (looked for {', '.join(_TRAINING_IMAGES)})")
        found.append(paths[0])
    return found


def read_digits(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The (n, rows, columns) images of an IDX file, which must hold images."""
    images = read_idx(path)
    if images.ndim != 3:
        raise ValueError(f"{os.fspath(path)!r}: holds {len(images)} labels, no images")
    return images


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an IDX file of images or labels, plain or compressed by gzip.

    Parameters
    ----------
    path : path

    Returns
    -------
    (n, rows, columns) or (n,) array of uint8
        Images or labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no IDX file of bytes in one or three dimensions, is truncated, damaged, longer than its header
        says, or holds 2 GiB or more; the error names the file.

    Examples
    --------
    >>> from fastimg.training.idx import read_idx
    >>> read_idx("train-images-idx3-ubyte.gz").shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    name = repr(os.fspath(path))
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            return _read(gzip.GzipFile(fileobj=file) if compressed else file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name}: truncated or damaged gzip file ({error})") from error
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def write_idx(path: str | os.PathLike[str], values: ArrayLike) -> None:
    """Write images or labels as an IDX file, compressed if its name ends in ".gz".

    Parameters
    ----------
    path : path
        An existing file is replaced once the new one is complete.
    values : (n, rows, columns) or (n,) array of uint8

    Raises
    ------
    TypeError, ValueError
        If `values` has another dtype or other dimensions.
    """
    array = np.asarray(values)
    if array.dtype != np.uint8:
        raise TypeError(f"values must be uint8, got {array.dtype}")
    magic = {ndim: magic for magic, ndim in _MAGIC.items()}.get(array.ndim)
    if magic is None:
        raise ValueError(f"values must have 1 or 3 dimensions, got {array.ndim}")
    content = np.array([magic, *array.shape], ">u4").tobytes() + array.tobytes()
    _files.write_whole(path, gzip.compress(content, mtime=0) if os.fspath(path).endswith(".gz") else content)


def _read(file: IO[bytes] | gzip.GzipFile) -> NDArray[np.uint8]:
    magic = int.from_bytes(_exactly(file, 4), "big")
    if magic not in _MAGIC:
        expected = " or ".join(f"0x{number:08x}" for number in _MAGIC)
        raise ValueError(f"no IDX file of images or labels: begins with 0x{magic:08x}, expected {expected}")
    shape = np.frombuffer(_exactly(file, 4 * _MAGIC[magic]), ">u4").tolist()
    size = math.prod(shape)
    if size >= _MOST:
        raise ValueError(f"its header tells of {' × '.join(map(str, shape))} bytes, more than is read")
    content = _exactly(file, size)
    if file.read(1):
        raise ValueError(f"goes on after the {size} bytes that its header tells of")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()  # one that can be written to


def _exactly(file: IO[bytes] | gzip.GzipFile, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ValueError(f"truncated: {len(content)} bytes where {count} were expected")
    return content
