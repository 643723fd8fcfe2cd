"""Augmentation on the GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime
from .send import send
from .warp import BORDERS

# As csrc/cuda/augment.cu has them.
PACKED, PLANES, ANYWHERE, BLURRED = range(4)
INTERLEAVED, BY_PLANES, STRIDED = range(3)
BLOCK, PART = 256, 4096  # threads, and pixels of a block
BLUR_COLUMNS, BLUR_ROWS = 256, 8
OFFSETS_BLOCK = 96
PIECE = 16  # bytes
MIXED = 4  # samples of a thread
MOST_MERGED_AXES = 3

FIELD_BYTES = 32 << 20  # of scratch for images that are blurred, unless one needs more: what an H100's L2 holds
FARTHEST = 2.0**22  # coordinates that 64 bits of 2^-40 pixels hold with all that is added
MOST_PIXELS = 2**31 - 2 * PART
LONGEST = 2**30 - 1  # samples along an axis of an image, as for warps

_IMAGE = np.dtype(
    [
        ("data", np.uint64),
        ("stride", np.int64, (3,)),
        *((name, np.int32) for name in ("rows", "columns", "number", "far")),
    ],
    align=True,
)
_PARAMETERS = np.dtype(
    [
        ("result", runtime.view_dtype(4)),
        *((name, np.uint64) for name in ("augmentations", "images", "rectangles", "fill", "scale", "offset")),
        *((name, np.uint64) for name in ("field", "blurred", "sums", "offsets")),
        *((name, np.int32) for name in ("rows", "columns", "channels", "parts", "of_image", "mode")),
        *((name, np.int32) for name in ("layout", "in_pieces", "most_radius")),
        *((name, np.float32) for name in ("constant", "unit")),
    ],
    align=True,
)
_MIXING = np.dtype(
    [
        ("images", runtime.view_dtype(MOST_MERGED_AXES)),
        ("shape", np.int64, (MOST_MERGED_AXES,)),
        ("samples", np.int64),
        ("distance", np.int64),
        ("weights", np.uint64),
        ("count", np.int32),
        ("in_pieces", np.int32),
    ],
    align=True,
)


def augment(
    images: Any,
    result: Any,
    augmentations: NDArray[Any],
    mode: str,
    constant: float,
    rectangles: NDArray[np.int32],
    fill: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    threads: int,
) -> None:
    """`images` are (N, rows, columns, channels), or a sequence of (rows, columns, channels); the rest is on the CPU."""
    n, rows, columns, channels = result.shape
    described = _described(images, n)
    if rows * columns > MOST_PIXELS or max(described["rows"].max(), described["columns"].max()) > LONGEST:
        raise ValueError(
            f"images on a GPU may have at most {LONGEST} rows and columns, and results {MOST_PIXELS} pixels, "
            f"got results of {(rows, columns)}"
        )
    radii = (4 * augmentations["blur"].astype(np.float64) + 0.5).astype(np.int64)
    described["far"] = _reach(augmentations["matrix"], rows, columns) > FARTHEST
    order = np.argsort(radii > 0, kind="stable")  # those that are blurred last
    described["number"] = np.arange(n)
    dtype = images[0].dtype
    together = 3 if channels == 3 else 1
    top = np.iinfo(dtype).max if dtype.kind == "u" else 1
    beside = np.rint(np.clip(constant * top, 0, top)) if dtype.kind == "u" else dtype.type(constant)
    sent = _Sent(
        augmentations=augmentations[order],
        images=described[order],
        rectangles=rectangles[order],
        **{"fill": fill, "scale": scale, "offset": offset},
    )
    values = {
        "result": runtime.view_fields(result),
        **sent.shared("fill", "scale", "offset"),
        **{"rows": rows, "columns": columns, "channels": channels},
        "parts": -(-rows * columns // PART),
        "of_image": rectangles.shape[1],
        "mode": runtime.BORDER_MODES[BORDERS[mode]],
        **_layout(result),
        **{"constant": beside, "unit": 1 / top},
    }
    source = {"IN": runtime.c_type(dtype), "CHANNELS": together, "WAY": _way(described, together)}
    batch = _Batch(values, sent, augmentations[order], radii[order], runtime.c_type(result.dtype), together)
    sharp = int((radii == 0).sum())
    if sharp:
        batch.finish(slice(0, sharp), source)
    for some in batch.blurred_groups(sharp):
        batch.blur(some, source)
        batch.finish(some, {"IN": "float", "CHANNELS": together, "WAY": BLURRED})


def mix(images: Any, weights: NDArray[np.float32], threads: int) -> None:
    """Blend each image with its predecessor, the first with the last, in place."""
    shape, (strides,) = runtime.merged_axes(images[0])
    distance = runtime.element_strides(images)[0]
    samples, size = math.prod(shape), images.itemsize
    piece = MIXED * size
    in_pieces = strides == [1] and samples % MIXED == distance % MIXED == runtime.address(images) % piece == 0
    unused = [0] * (MOST_MERGED_AXES - len(shape))
    sent = send(weights)
    values = {
        "images": (runtime.address(images), (*strides, *unused)),
        "shape": (*shape, *unused),
        **{"samples": samples, "distance": distance},
        "weights": runtime.address(sent),
        "count": len(weights),
        "in_pieces": in_pieces,
    }
    blocks = -(-samples // (BLOCK * (MIXED if in_pieces else 1)))
    blend = runtime.kernel("augment", "augment_mix", _MIXING, IN=runtime.c_type(images.dtype), AXES=len(shape))
    blend((blocks,), (BLOCK,), values)


class _Sent:
    """Arrays that have been sent to the device in one piece, each at a multiple of 16 bytes."""

    def __init__(self, **arrays: NDArray[Any]) -> None:
        self._begin: dict[str, int] = {}
        self._sizes = {name: array.nbytes // max(len(array), 1) for name, array in arrays.items()}
        pieces = []
        begin = 0
        for name, array in arrays.items():
            self._begin[name] = begin
            piece = array.tobytes()
            piece += bytes(-len(piece) % PIECE)
            pieces.append(piece)
            begin += len(piece)
        self._memory = send(np.frombuffer(b"".join(pieces), np.uint8))

    def shared(self, *names: str) -> dict[str, int]:
        """The addresses of arrays."""
        return {name: runtime.address(self._memory) + self._begin[name] for name in names}

    def of_images(self, first: int) -> dict[str, int]:
        """Those of what there is for each image, from image `first` on."""
        names = ("augmentations", "images", "rectangles")
        return {name: at + first * self._sizes[name] for name, at in self.shared(*names).items()}


@dataclass
class _Batch:
    """The launches of a batch, of `augmentations` and `radii` in the order in which they have been sent."""

    values: dict[str, Any]
    sent: _Sent
    augmentations: NDArray[Any]
    radii: NDArray[np.int64]
    out: str
    together: int
    field: Any = None
    blurred: Any = None

    def blurred_groups(self, first: int) -> Iterator[slice]:
        """The images from number `first` on, as many at a time as scratch is there for, which is taken here."""
        count = len(self.radii) - first
        image = self.values["rows"] * self.values["columns"] * self.values["channels"]
        group = min(count, max(FIELD_BYTES // (2 * 4 * image), 1))
        if count:
            self.field, self.blurred = (runtime.empty((group, image), np.float32) for _ in range(2))
            self.values |= {"field": runtime.address(self.field), "blurred": runtime.address(self.blurred)}
        for begin in range(first, first + count, max(group, 1)):
            yield slice(begin, min(begin + group, first + count))

    def blur(self, some: slice, source: dict[str, Any]) -> None:
        """Gather these images and blur them."""
        rows, columns, channels = (self.values[name] for name in ("rows", "columns", "channels"))
        most = int(self.radii[some].max())
        self._launch("augment_gather", some, self._blocks(some), **source)
        tiles = -(-rows // BLUR_ROWS) * -(-columns // BLUR_COLUMNS)
        shared = 4 * BLUR_ROWS * (BLUR_COLUMNS + 2 * most)
        values = self._values(some) | {"most_radius": most}
        blocks = (some.stop - some.start) * channels * tiles
        runtime.kernel("augment", "augment_blur", _PARAMETERS)((blocks,), (BLOCK,), values, shared)

    def finish(self, some: slice, source: dict[str, Any]) -> None:
        """All but the blur."""
        scratch = None  # must live until all has been launched
        if self.augmentations["about_mean"][some].any():
            count = some.stop - some.start
            sums = runtime.empty((count, self.values["parts"], self.together), np.float32)
            scratch = sums, runtime.empty((count, 3), np.float32)
            self.values |= {name: runtime.address(a) for name, a in zip(("sums", "offsets"), scratch, strict=True)}
            self._launch("augment_sums", some, self._blocks(some), **source)
            kernel = runtime.kernel("augment", "augment_offsets", _PARAMETERS)
            kernel((count,), (OFFSETS_BLOCK,), self._values(some))
        self._launch("augment", some, self._blocks(some), **source, OUT=self.out)
        del scratch

    def _blocks(self, some: slice) -> int:
        groups = self.values["channels"] // self.together
        return int((some.stop - some.start) * groups * self.values["parts"])

    def _values(self, some: slice) -> dict[str, Any]:
        return {**self.values, **self.sent.of_images(some.start)}

    def _launch(self, name: str, some: slice, blocks: int, **definitions: int | str) -> None:
        kernel = runtime.kernel("augment", name, _PARAMETERS, **definitions)
        kernel((blocks,), (BLOCK,), self._values(some))


def _described(images: Any, n: int) -> NDArray[Any]:
    """Where each image lies."""
    described = np.zeros(n, _IMAGE)
    if isinstance(images, Sequence):
        described["data"] = [runtime.address(image) for image in images]
        described["stride"] = [runtime.element_strides(image) for image in images]
        described["rows"] = [image.shape[0] for image in images]
        described["columns"] = [image.shape[1] for image in images]
    else:
        begin, step = runtime.address(images), images.strides[0]
        described["data"] = (np.arange(n) * step + begin).astype(np.uint64)
        described["stride"] = runtime.element_strides(images)[1:]
        described["rows"], described["columns"] = images.shape[1:3]
    return described


def _reach(matrices: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """How far places lie from an image's first pixel, at most."""
    with np.errstate(over="ignore"):
        reach: NDArray[np.float64] = (np.abs(matrices[:, :2]) @ (columns + 2.0 * BLOCK, rows + 2.0 * BLOCK, 1)).max(
            axis=1
        )
    return reach


def _way(described: NDArray[Any], together: int) -> int:
    """How all images may be gathered: by pixels of 3 samples, or by samples of a channel, that lie side by side."""
    row, column, channel = described["stride"].T
    if (abs(row) >= 2**31).any():
        return ANYWHERE
    if together == 3 and ((column == 3) & (channel == 1)).all():
        return PACKED
    return PLANES if (column == 1).all() else ANYWHERE


def _layout(result: Any) -> dict[str, int]:
    """How the result is written: in rows without gaps, of pixels or of a channel, or wherever it lies."""
    _, _, columns, channels = result.shape
    image, row, column, channel = runtime.element_strides(result)
    if channels == 3 and (column, channel) == (3, 1) and row == 3 * columns:
        return {"layout": INTERLEAVED, "in_pieces": _are_pieces(result, image)}
    if column == 1 and row == columns:
        return {"layout": BY_PLANES, "in_pieces": _are_pieces(result, image, channel if channels > 1 else 0)}
    return {"layout": STRIDED, "in_pieces": False}


def _are_pieces(result: Any, *strides: int) -> bool:
    """Whether all that is so far apart begins at a multiple of 16 bytes."""
    return all(n % PIECE == 0 for n in (runtime.address(result), *(s * result.itemsize for s in strides)))
