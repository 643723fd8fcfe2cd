"""Non-local means against OpenCV and scikit-image: `python benchmarks/bench_denoise_nl_means.py [--json FILE]`.

OpenCV takes uint8 only and weighs patches of 7 x 7 pixels; scikit-image's patches of nominal width 7 are 6 x 6. Against
OpenCV the kernel is called with OpenCV's patch and cutoff, so that both do the same work and the results agree within
a level; float32 is set against OpenCV's uint8 of the same image, since OpenCV has no float.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from skimage import data
from skimage.restoration import denoise_nl_means as skimage_denoise_nl_means
from timing import Row, interleaved, markdown, write_json

from fastimg import restoration
from fastimg.backends import cpu

PATCH, DISTANCE, STRENGTH = 7, 10, 10.0


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """A noisy grey and a noisy colour photograph, 1024 x 1024, uint8."""
    rng = np.random.default_rng(0)
    grey = np.tile(data.camera(), (2, 2))
    colour = np.tile(data.astronaut(), (2, 2, 1))
    return tuple(np.clip(image + rng.normal(0, 15, image.shape), 0, 255).astype(np.uint8) for image in (grey, colour))


def as_opencv(image: np.ndarray, out: np.ndarray, threads: int) -> np.ndarray:
    """The kernel with OpenCV's patch, cutoff (weights below 0.001 are 0) and units."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    norm = channels * STRENGTH**2 * PATCH**2
    cpu.denoise_nl_means(
        image.reshape(1, 1, *image.shape[:2], channels),
        None,
        None,
        None,
        out.reshape(1, 1, *image.shape[:2], channels),
        patch_before=PATCH // 2,
        patch_after=PATCH // 2,
        patch_taps=[],
        patch_distance=DISTANCE,
        truncated=False,
        outer=[(False, 0, False)] * 2,
        first_plane=0,
        weighting="welsch",
        scale=1 / norm,
        excess=0.0,
        cutoff=math.log(1000) * norm,
        centre=-1.0,
        gain=1.0,
        threads=threads,
    )
    return out


def against_opencv(job: str, image: np.ndarray, reference: np.ndarray, threads: int, seconds: float) -> Row:
    out = np.empty_like(image)
    search = 2 * DISTANCE + 1

    def opencv() -> np.ndarray:
        return cv2.fastNlMeansDenoising(reference, None, STRENGTH, PATCH, search)

    difference = np.abs(as_opencv(image, out, threads).astype(np.float64) - opencv()).max()
    if difference > 2:
        raise SystemExit(f"{job}: results differ by {difference} levels")
    candidates = {"fastimg": lambda: as_opencv(image, out, threads), "OpenCV": opencv}
    return Row(job, interleaved(candidates, seconds), {"OpenCV": float(difference)})


def against_scikit_image(image: np.ndarray, threads: int, seconds: float) -> Row:
    arguments = {"patch_size": PATCH, "patch_distance": DISTANCE, "h": 0.04}
    expected = skimage_denoise_nl_means(image, **arguments)
    result = restoration.denoise_nl_means(image, **arguments, threads=threads)
    difference = float(np.abs(result - expected).max())
    if difference > 0.02:  # scikit-image's exp is up to 4 % off
        raise SystemExit(f"scikit-image: results differ by {difference}")
    candidates = {
        "fastimg": lambda: restoration.denoise_nl_means(image, **arguments, threads=threads),
        "scikit-image": lambda: skimage_denoise_nl_means(image, **arguments),
    }
    return Row("512² grey float32", interleaved(candidates, seconds), {"scikit-image": difference})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="time for each job")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    threads, seconds = arguments.threads, arguments.seconds
    cv2.setNumThreads(threads)
    grey, colour = photographs()
    rows = [
        against_opencv("1024² grey uint8", grey, grey, threads, seconds),
        against_opencv("1024² grey float32", grey.astype(np.float32), grey, threads, seconds),
        against_opencv("1024² RGB uint8", colour, colour, threads, seconds),
        against_scikit_image(grey[:512, :512].astype(np.float32) / 255, threads, seconds),
    ]
    print(markdown(rows))
    if arguments.json:
        packages = ("numpy", "opencv-python-headless", "scikit-image")
        write_json(arguments.json, rows, {package: version(package) for package in packages}, threads)


if __name__ == "__main__":
    main()
