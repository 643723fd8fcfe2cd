"""Gaussian blur against OpenCV, and optionally SciPy and a copy of the same array.

    python benchmarks/bench_gaussian.py [--threads 2] [--size 2048] [--seconds 2] [--all-rivals] [--json results.json]

What is timed: the call with its result's memory given (`out`, `dst`), uint8 to uint8 and float32 to float32, borders
replicated, the same taps for all: full width 2 * int(4 * sigma + 0.5) + 1. Threads are of equal number; OpenCV uses
them for uint8 and runs float32 on one, SciPy and the copy always run on one. Each rival's result is compared with ours
before it is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy
import timing
from numpy.typing import NDArray
from scipy import ndimage

import fastimg
from fastimg import filters

Image = NDArray[Any]

# OpenCV computes integers with taps of 8 fractional bits; SciPy truncates them, after each axis.
TOLERANCE = {"opencv": {"uint8": 4.0, "float32": 1e-3}, "scipy": {"uint8": 3.0, "float32": 1e-3}}


def candidates(image: Image, sigma: float, threads: int, all_rivals: bool) -> dict[str, Callable[[], Image]]:
    """The same blur by each library, each into memory of its own."""
    channel_axis = -1 if image.ndim == 3 else None
    sigmas = (sigma, sigma, 0.0)[: image.ndim]
    width = 2 * int(4 * sigma + 0.5) + 1
    ours, opencv, scipy, copy = (np.empty_like(image) for _ in range(4))

    def run_ours() -> Image:
        return filters.gaussian(image, sigma, channel_axis=channel_axis, preserve_range=True, out=ours, threads=threads)

    def run_opencv() -> Image:
        return cv2.GaussianBlur(image, (width, width), sigma, dst=opencv, borderType=cv2.BORDER_REPLICATE)

    def run_scipy() -> Image:
        return ndimage.gaussian_filter(image, sigmas, mode="nearest", output=scipy)

    def run_copy() -> Image:
        np.copyto(copy, image)
        return copy

    runs: dict[str, Callable[[], Image]] = {"fastimg": run_ours, "opencv": run_opencv}
    return {**runs, "scipy": run_scipy, "copy": run_copy} if all_rivals else runs


def measure(image: Image, sigma: float, threads: int, all_rivals: bool, seconds: float) -> timing.Row:
    """Compare the results, then time."""
    runs = candidates(image, sigma, threads, all_rivals)
    ours = runs["fastimg"]().astype(np.float64)
    differences = {}
    for name, tolerances in TOLERANCE.items():
        if name in runs:
            differences[name] = float(np.abs(runs[name]() - ours).max())
            if differences[name] > tolerances[image.dtype.name]:
                raise SystemExit(f"{name} differs by {differences[name]:g} at sigma {sigma:g}: nothing is timed")
    kind = "RGB" if image.ndim == 3 else "grey"
    job = f"{image.shape[0]}² {kind} {image.dtype.name}, sigma {sigma:g}"
    return timing.Row(job, timing.interleaved(runs, seconds), differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--sigma", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    parser.add_argument("--dtype", nargs="+", choices=["uint8", "float32"], default=["uint8", "float32"])
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each job")
    parser.add_argument("--all-rivals", action="store_true", help="SciPy and a copy of the array too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    cv2.setNumThreads(arguments.threads)
    rng = np.random.default_rng(0)
    rows = []
    for size in arguments.size:
        for dtype in arguments.dtype:
            for shape in ((size, size), (size, size, 3)):
                image = (255 * rng.random(shape)).astype(dtype)
                for sigma in arguments.sigma:
                    rows.append(measure(image, sigma, arguments.threads, arguments.all_rivals, arguments.seconds))
    print(timing.markdown(rows))
    if arguments.json:
        versions = {module.__name__: module.__version__ for module in (fastimg, np, cv2, scipy)}
        timing.write_json(arguments.json, rows, versions, arguments.threads)


if __name__ == "__main__":
    main()
