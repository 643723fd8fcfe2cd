"""Draws the sheets of ``docs/gallery`` from scikit-image's photographs: ``python tools/make_gallery.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage import data
from skimage.restoration import denoise_nl_means as skimage_denoise_nl_means

from fastimg import augment as augmentation
from fastimg import filters, metrics, opencv, restoration

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"

Image = NDArray[np.float32]
PATCH, DISTANCE = 7, 10
STRENGTHS = np.arange(0.3, 1.15, 0.1)  # h in units of sigma


def floats(image: NDArray) -> Image:
    return (image / np.float32(255)).astype(np.float32)


def with_noise(image: Image, sigma: float | NDArray, seed: int = 0) -> Image:
    """Noise of that many levels, rounded to levels as a camera would."""
    noisy = image + np.random.default_rng(seed).normal(0, 1, image.shape) * np.asarray(sigma) / 255
    return (np.clip(np.rint(noisy * 255), 0, 255) / 255).astype(np.float32)


def psnr(image: Image, result: Image) -> float:
    return metrics.peak_signal_noise_ratio(image, np.clip(result, 0, 1).astype(np.float32), data_range=1)


def best(image: Image, sigma: float, method) -> Image:
    """The result of the h that is best for this image."""
    return max((method(strength * sigma / 255) for strength in STRENGTHS), key=lambda result: psnr(image, result))


def levels(image: Image) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def sheet(panels: Mapping[str, Image], columns: int, *, width: float = 3.0) -> Figure:
    """Pictures in rows of so many, each under its title; colour maps are grey."""
    rows = -(-len(panels) // columns)
    height, breadth = next(iter(panels.values())).shape[:2]
    figure = Figure(figsize=(width * columns, rows * (width * height / breadth + 0.35)), layout="constrained")
    for number, (title, picture) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    return figure


def scored(image: Image, results: Mapping[str, Image], crop: tuple[slice, slice]) -> dict[str, Image]:
    """Crops of results, the PSNR of the whole in their titles."""
    return {f"{name}: {psnr(image, result):.2f} dB": result[crop] for name, result in results.items()}


def grey() -> Figure:
    """Grey photograph, noise of 25 levels."""
    image, sigma = floats(data.camera()), 25.0
    noisy = with_noise(image, sigma)
    common = (PATCH, DISTANCE)
    results = {
        "noisy": noisy,
        "OpenCV": best(
            image,
            sigma,
            lambda h: floats(cv2.fastNlMeansDenoising(levels(noisy), None, 255 * h, PATCH, 2 * DISTANCE + 1)),
        ),
        "scikit-image, sigma": best(
            image, sigma, lambda h: skimage_denoise_nl_means(noisy, *common, h, sigma=sigma / 255)
        ),
        "fastimg, sigma": best(
            image, sigma, lambda h: restoration.denoise_nl_means(noisy, *common, h, sigma=sigma / 255)
        ),
        "fastimg, Gaussian patches": best(
            image, sigma, lambda h: restoration.denoise_nl_means(noisy, *common, h, fast_mode=False, sigma=sigma / 255)
        ),
    }
    crop = np.s_[60:260, 160:360]
    return sheet({"camera": image[crop], **scored(image, results, crop)}, 3)


def colour() -> Figure:
    """Colour photograph, noise of 25 levels: channels together, and lightness and chroma apart."""
    image, sigma = floats(data.astronaut()), 25.0
    noisy = with_noise(image, sigma)
    results = {
        "noisy": noisy,
        "channels together, sigma": best(
            image,
            sigma,
            lambda h: restoration.denoise_nl_means(noisy, PATCH, DISTANCE, h, sigma=sigma / 255, channel_axis=-1),
        ),
        "opencv.fastNlMeansDenoisingColored": best(
            image,
            sigma,
            lambda h: floats(
                opencv.fastNlMeansDenoisingColored(levels(noisy)[..., ::-1], None, 255 * h, 255 * h, PATCH, 21)
            )[..., ::-1],
        ),
    }
    crop = np.s_[0:220, 110:330]
    return sheet({"astronaut": image[crop], **scored(image, results, crop)}, 4)


def strengths() -> Figure:
    """Noise that grows from left to right: one strength, and a map of strengths."""
    image = floats(data.coins())
    growing = np.broadcast_to(np.linspace(2, 45, image.shape[1], dtype=np.float32), image.shape)
    noisy = with_noise(image, growing)
    mean = float(growing.mean())
    one = best(image, mean, lambda h: restoration.denoise_nl_means(noisy, PATCH, DISTANCE, h, sigma=mean / 255))
    sigmas = (growing / 255).astype(np.float32)
    mapped = max(
        (
            restoration.denoise_nl_means(noisy, PATCH, DISTANCE, h=(strength * sigmas).astype(np.float32), sigma=sigmas)
            for strength in STRENGTHS
        ),
        key=lambda result: psnr(image, result),
    )
    everything = np.s_[:, :]
    return sheet(
        scored(image, {"noisy": noisy, "one h and sigma": one, "maps of h and sigma": mapped}, everything), 3, width=4
    )


def weightings() -> Figure:
    """The four weightings, each with its best h, on a texture."""
    image, sigma = floats(data.brick()), 25.0
    noisy = with_noise(image, sigma)
    results = {"noisy": noisy}
    for weighting, wider in (("welsch", 1), ("epanechnikov", 2), ("bisquare", 2), ("modified_bisquare", 4)):
        results[weighting] = max(
            (
                restoration.denoise_nl_means(
                    noisy, PATCH, DISTANCE, wider * strength * sigma / 255, sigma=sigma / 255, weighting=weighting
                )
                for strength in STRENGTHS
            ),
            key=lambda result: psnr(image, result),
        )
    crop = np.s_[100:300, 100:300]
    return sheet({"brick": image[crop], **scored(image, results, crop)}, 3)


def sequence() -> Figure:
    """A pan over a photograph, noise of 30 levels in each frame: a frame alone, and with two on each side."""
    photograph, sigma = floats(data.coffee()[..., 1]), 30.0
    frames = np.stack([photograph[100:300, 150 + 3 * i : 400 + 3 * i] for i in range(5)])
    noisy = with_noise(frames, sigma)
    middle = frames[2]
    alone = best(middle, sigma, lambda h: restoration.denoise_nl_means(noisy[2], PATCH, DISTANCE, h, sigma=sigma / 255))
    together = best(
        middle,
        sigma,
        lambda h: restoration.denoise_nl_means_sequence(
            noisy, PATCH, DISTANCE, h, temporal_distance=2, sigma=sigma / 255
        )[2],
    )
    results = {"noisy": noisy[2], "the frame alone": alone, "with two frames on either side": together}
    return sheet(scored(middle, results, np.s_[:, :]), 3, width=4)


def gaussian() -> Figure:
    """Blurs and derivatives of the same photograph."""
    image = floats(data.camera())

    def shown(derivative: Image) -> Image:
        return 0.5 + derivative / (4 * derivative.std())

    def derivative(order: int | Sequence[int]) -> Image:
        return shown(filters.gaussian(image, 2, order=order))

    return sheet(
        {
            "sigma 2": filters.gaussian(image, 2),
            "sigma 10": filters.gaussian(image, 10),
            'sigma 40, method="recursive"': filters.gaussian(image, 40, method="recursive"),
            "sigma (12, 0)": filters.gaussian(image, (12, 0)),
            "order (0, 1)": derivative((0, 1)),
            "order (1, 0)": derivative((1, 0)),
            "Laplacian": shown(filters.gaussian(image, 2, order=(2, 0)) + filters.gaussian(image, 2, order=(0, 2))),
            "order (1, 1)": derivative((1, 1)),
        },
        4,
        width=2.4,
    )


def augment() -> Figure:
    """One photograph, sixteen augmentations: the same pipeline, images 0 to 15 of a seed."""
    photograph = data.astronaut()
    pipeline = augmentation.Compose(
        [
            augmentation.Affine(degrees=25, translate=0.1, scale=(0.8, 1.3), shear=10),
            augmentation.Flip(),
            augmentation.GaussianBlur(sigma=(1, 4), p=0.25),
            augmentation.ColorJitter(brightness=0.35, contrast=0.35, saturation=0.6, hue=0.08),
            augmentation.GaussianNoise(sigma=(0.02, 0.15), p=0.35),
            augmentation.SaltAndPepper(amount=(0.01, 0.08), p=0.2),
            augmentation.Cutout(scale=(0.03, 0.12), fill=0.5, p=0.4),
        ],
        seed=13,
        mode="reflect",
    )
    pictures = floats(pipeline(np.stack([photograph] * 16), index=0))
    return sheet({f"index {i}": picture for i, picture in enumerate(pictures)}, 4, width=1.8)


SHEETS = (grey, colour, strengths, weightings, sequence, gaussian, augment)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    lines = ["# Gallery", "", "Drawn by `tools/make_gallery.py` from photographs that come with scikit-image.", ""]
    for draw in SHEETS:
        figure = draw()
        FigureCanvasAgg(figure)
        path = FOLDER / f"{draw.__name__}.jpg"
        figure.savefig(path, dpi=100, pil_kwargs={"quality": 88})
        lines += [f"## {draw.__doc__.rstrip('.')}", f"![{draw.__name__}]({path.name})", ""]
        print(path)
    notes = "Each method is given the h that is best for the picture; PSNR is that of the whole photograph."
    (FOLDER / "README.md").write_text("\n".join([*lines[:3], notes, *lines[3:]]))


if __name__ == "__main__":
    main()
