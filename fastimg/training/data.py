"""Training pairs: planes of photographs, their bicubic downscale or their noise, patches cut from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..color import rgb2gray, rgb2ycbcr
from ..image_files import SUFFIXES, read_image
from ..transform import rescale, resize
from .settings import SCALES

Plane = NDArray[np.uint8]

SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6)


@dataclass(frozen=True)
class Pair:
    """What a network sees, `low`, float32 with [0, 1] for black to white, and what it should make of it, `high`, uint8.

    `low` is `scale` times smaller, or, for a network that takes an enlarged or a noisy image, of the same size.
    """

    low: NDArray[np.float32]
    high: Plane


def find_images(folders: Sequence[str | Path]) -> list[Path]:
    """All images in the folders, in the order of the folders and of their file names."""
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"data must be folders of images, got {str(folder)!r}, which is no folder")
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not images:
            raise ValueError(f"no images in {str(folder)!r} (looked for {', '.join(sorted(SUFFIXES))})")
        found += images
    return found


def read_luma(path: Path) -> Plane:
    """The luma plane that the super-resolution literature trains and measures on.

    Studio-range BT.601 (16 to 235) of a colour image, rounded to uint8 as MATLAB's `rgb2ycbcr` does; the
    values themselves of a grey image.
    """
    pixels = _read_pixels(path)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(rgb2ycbcr(pixels, preserve_range=True)[..., 0])


def read_grey(path: Path) -> Plane:
    """The grey image, from 0 to 255, that the denoising literature measures on; `rgb2gray` of one in colour."""
    pixels = _read_pixels(path)
    if pixels.ndim == 3:
        pixels = rgb2gray(pixels, preserve_range=True)
    return pixels


def _read_pixels(path: Path) -> Plane:
    """(H, W) of a grey image, (H, W, 3) of one in colour; a WebP file is grey if its three channels are equal."""
    pixels = read_image(path)[0]
    if pixels.dtype != np.uint8:
        raise ValueError(f"{str(path)!r}: images must have 8 bits per channel, got {pixels.dtype}")
    pixels = np.atleast_3d(pixels)
    if pixels.shape[2] < 3 or (path.suffix.lower() == ".webp" and (pixels[..., 1:3] == pixels[..., :1]).all()):
        return np.ascontiguousarray(pixels[..., 0])
    return np.ascontiguousarray(pixels[..., :3])


def small_pair(plane: Plane, scale: int, enlarged: bool = False) -> Pair:
    """Crop to a multiple of `scale`, then downscale in floating point, not quantised; `enlarged`: and upscale again."""
    rows, columns = (size // scale for size in plane.shape)
    high = np.ascontiguousarray(plane[: rows * scale, : columns * scale])
    low = resize(high, (rows, columns), mode="symmetric")
    return Pair(resize(low, high.shape, mode="symmetric") if enlarged else low, high)


def noisy_pair(plane: Plane, sigma: float, seed: int = 0, clipped: bool = False) -> Pair:
    """Add Gaussian noise of standard deviation `sigma`, on the scale 0 to 255; not quantised, `clipped` or not."""
    low = np.random.default_rng(seed).standard_normal(plane.shape, dtype=np.float32)
    low *= sigma
    low += plane
    low /= 255
    return Pair(low.clip(0, 1) if clipped else low, plane)


def make_pairs(
    planes: Iterable[Plane], pair: Callable[[Plane], Pair], factors: Sequence[float], smallest: int
) -> list[Pair]:
    """Pairs of every plane at every factor, without those whose low side is below `smallest`."""
    shrunk = (_shrink(plane, factor) for plane in planes for factor in factors)
    pairs = (pair(plane) for plane in shrunk if min(plane.shape) >= max(smallest, *SCALES))
    return [pair for pair in pairs if min(pair.low.shape) >= smallest]


def _shrink(plane: Plane, factor: float) -> Plane:
    return plane if factor == 1 else rescale(plane, factor, mode="symmetric", preserve_range=True)
