"""PSNR of non-local means: `python benchmarks/quality_denoise_nl_means.py FOLDER... [--json FILE]`.

White Gaussian noise of known sigma is added to each grey image of a folder and rounded to uint8, from which every
library starts. Patch 7, search 21 x 21. Each method is given the h that is best for the mean PSNR of the folder, from a
grid in units of sigma: the table says what a method can do, not how well its default was chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage.restoration import denoise_nl_means as skimage_denoise_nl_means
from tqdm import tqdm

from fastimg import image_files, metrics, restoration

PATCH, DISTANCE = 7, 10
SIGMAS = (15, 25, 50)
STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)  # h in units of sigma

Method = Callable[[np.ndarray, float, float], np.ndarray]  # of a noisy image in [0, 1], h and sigma


def opencv(noisy: np.ndarray, h: float, sigma: float) -> np.ndarray:
    levels = np.rint(noisy * 255).astype(np.uint8)
    return cv2.fastNlMeansDenoising(levels, None, 255 * h, PATCH, 2 * DISTANCE + 1) / 255


METHODS: dict[str, Method] = {
    "OpenCV": opencv,
    "scikit-image, sigma": lambda x, h, sigma: skimage_denoise_nl_means(x, PATCH, DISTANCE, h, sigma=sigma),
    "fastimg": lambda x, h, sigma: restoration.denoise_nl_means(x, PATCH, DISTANCE, h),
    "fastimg, sigma": lambda x, h, sigma: restoration.denoise_nl_means(x, PATCH, DISTANCE, h, sigma=sigma),
    "fastimg, sigma, Gaussian patches": lambda x, h, sigma: restoration.denoise_nl_means(
        x, PATCH, DISTANCE, h, fast_mode=False, sigma=sigma
    ),
}


def images_of(folder: Path) -> list[np.ndarray]:
    """The grey images of a folder, in the order of their names."""
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".png", ".webp", ".jpg", ".bmp", ".tif")
    )
    images = [image_files.read_image(path)[0] for path in paths]
    return [image if image.ndim == 2 else image[..., 0] for image in images]


def with_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noisy = image + np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (np.clip(np.rint(noisy), 0, 255) / 255).astype(np.float32)


def measured(images: list[np.ndarray], sigma: float) -> dict[str, dict[str, float]]:
    """The mean PSNR of each method with its best h."""
    noisy = [with_noise(image, sigma, seed) for seed, image in enumerate(images)]
    rows = {"noisy": {"psnr": mean_psnr(images, noisy)}}
    for name, method in METHODS.items():
        scores = {}
        for strength in STRENGTHS:
            h = strength * sigma / 255
            results = [
                method(x, h, sigma / 255) for x in tqdm(noisy, desc=f"{name}, h = {strength} sigma", leave=False)
            ]
            scores[strength] = mean_psnr(images, results)
        best = max(scores, key=scores.__getitem__)
        rows[name] = {"psnr": scores[best], "h in sigmas": best}
    return rows


def mean_psnr(images: list[np.ndarray], results: list[np.ndarray]) -> float:
    pairs = zip(images, results, strict=True)
    return float(
        np.mean(
            [
                metrics.peak_signal_noise_ratio(image / 255, np.clip(result, 0, 1).astype(np.float64), data_range=1.0)
                for image, result in pairs
            ]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    results = {}
    names = ["noisy", *METHODS]
    print("| images | sigma | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 2) + "|")
    for folder in arguments.folders:
        images = images_of(folder)
        for sigma in SIGMAS:
            rows = results[f"{folder.name}, sigma {sigma}"] = measured(images, sigma)
            cells = [
                f"{row['psnr']:.2f}" + (f" ({row['h in sigmas']} σ)" if len(row) > 1 else "") for row in rows.values()
            ]
            print(f"| {folder.name} | {sigma} | " + " | ".join(cells) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
