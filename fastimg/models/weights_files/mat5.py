"""Reading MATLAB 5 MAT-files: arrays of numbers and cell arrays of them.

After a header of 128 bytes come data elements: a tag (type and length in bytes), the data, padding to eight bytes.
Reference: MathWorks, "MAT-File Format", the chapter on level 5. A reader of our own, because a damaged file must be
an error and SciPy's reader can crash on one.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = b"MATLAB 5.0 MAT-file"

_HEADER = 128
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 6, 15  # array classes
_COMPLEX = 0x0800
_MOST_BYTES = 1 << 28  # of a decompressed variable: more than any weights, less than a bomb

Value = NDArray[np.float64] | list["Value"]


def read(data: bytes) -> dict[str, Value]:
    """All variables of a file by name: arrays as float64, cell arrays as lists (column by column).

    Raises
    ------
    ValueError
        If the file is truncated or damaged, or a variable is something else (text, a structure, sparse).
    """
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("the header is damaged")
    elements = _Elements(data[_HEADER:], "<" if data[126:128] == b"IM" else ">")
    variables = {}
    while elements.left():
        kind, content = elements.take()
        if kind == _COMPRESSED:
            kind, content = _Elements(_decompressed(content), elements.order).take()
        name, value = _matrix(kind, _Elements(content, elements.order))
        variables[name] = value
    return variables


@dataclass
class _Elements:
    data: bytes
    order: str
    at: int = 0

    def left(self) -> bool:
        return self.at < len(self.data)

    def take(self) -> tuple[int, bytes]:
        """The next element: type and content."""
        kind, length = self._words()
        start, small = self.at + 8, kind >> 16
        if small:  # type, length and up to four bytes of content in eight bytes
            kind, length, start = kind & 0xFFFF, small, self.at + 4
        if start + length > len(self.data) or (small and length > 4):
            raise ValueError(f"an element of {length} bytes ends after the data")
        padding = 0 if kind == _COMPRESSED else -length % 8
        self.at = self.at + 8 if small else start + length + padding
        return kind, self.data[start : start + length]

    def numbers(self) -> NDArray[np.float64]:
        """The next element, which must hold numbers."""
        kind, content = self.take()
        if kind not in _NUMBERS:
            raise ValueError(f"expected numbers, found an element of type {kind}")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(content) % dtype.itemsize:
            raise ValueError(f"{len(content)} bytes are no whole number of {dtype.name}")
        return np.frombuffer(content, dtype).astype(np.float64)

    def _words(self) -> tuple[int, int]:
        if self.at + 8 > len(self.data):
            raise ValueError("the data ends within a tag")
        kind, length = np.frombuffer(self.data, f"{self.order}u4", 2, self.at)
        return int(kind), int(length)


def _matrix(kind: int, elements: _Elements) -> tuple[str, Value]:
    if kind != _MATRIX:
        raise ValueError(f"expected an array, found an element of type {kind}")
    if not elements.left():  # how an empty cell is stored
        return "", np.empty((0, 0))
    flags = elements.numbers()
    shape = [int(n) for n in elements.numbers()]
    name = elements.take()[1].decode("latin-1")
    array_class, complex_values = (int(flags[0]) & 0xFF, int(flags[0]) & _COMPLEX) if len(flags) else (0, 0)
    count = math.prod(shape)
    if min(shape, default=-1) < 0 or count > _MOST_BYTES:
        raise ValueError(f"variable {name!r}: impossible shape {shape}")
    if array_class == _CELL:
        cells: list[Value] = []
        for _ in range(count):
            inner, content = elements.take()
            cells.append(_matrix(inner, _Elements(content, elements.order))[1])
        return name, cells
    if not _FIRST_NUMERIC <= array_class <= _LAST_NUMERIC or complex_values:
        raise ValueError(f"variable {name!r}: expected real numbers or cells of them, found array class {array_class}")
    values = elements.numbers()
    if len(values) != count:
        raise ValueError(f"variable {name!r}: expected {count} numbers for shape {shape}, found {len(values)}")
    return name, values.reshape(shape, order="F")


def _decompressed(content: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        data = decompressor.decompress(content, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"compressed data is damaged ({error})") from error
    if not decompressor.eof:
        raise ValueError(f"compressed data is truncated, or more than {_MOST_BYTES} bytes")
    return data
