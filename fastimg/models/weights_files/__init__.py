"""Weights files of every kind that people have, read without executing anything from them.

One module per format, each with a `read(path)` that gives the same `Weights`. The format is recognised by the
file's content, whatever its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..layers import Layer
from . import mat5, matlab, pytorch, safetensors, tensorflow
from .contents import LayerTensors, Weights

__all__ = ["LayerTensors", "Weights", "read", "write"]

_ANY_PICKLE = b"\x80"  # PyTorch's older format; its reader refuses what is not a plain state dict


def read(path: str | os.PathLike[str]) -> Weights:
    """Read a weights file: safetensors, MATLAB `.mat`, PyTorch checkpoint or TensorFlow `.pb`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of no known format, truncated, or holds what is not weights; the message names the file.
    ImportError
        If the format needs a package that is not installed; the message says which.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(128)
    try:
        if head.startswith(mat5.MAGIC):
            return matlab.read(path)
        if head[8:9] == b"{":  # after eight bytes of length, which may begin as any of the others does
            return safetensors.read(path)
        if head.startswith((b"PK\x03\x04", _ANY_PICKLE)):
            return pytorch.read(path)
        if head.startswith(tensorflow.FIRST_BYTE):
            return tensorflow.read(path)
        if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
            raise ValueError("MATLAB 7.3 (HDF5) files are not read; save it again with save(..., '-v7')")
        raise ValueError(
            "expected safetensors, a MATLAB 5 .mat file, a PyTorch checkpoint or a TensorFlow .pb graph, found "
            + (f"a file that begins with {head[:8]!r}" if head else "an empty file")
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write(path: str | os.PathLike[str], layers: tuple[Layer, ...], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that describes and holds the layers."""
    safetensors.write(Path(path), layers, metadata)
