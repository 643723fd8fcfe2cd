"""Augmentation of a batch, against a pipeline of OpenCV's calls and one of PyTorch's operations, image by image.

All do what one set of numbers says: the rivals are told the matrices and strengths that fastimg has drawn, fused as far
as their calls allow, and draw noise of their own. PyTorch goes as torchvision's v2 transforms do, whose formulations
these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import augment
from ..augment.plan import Plan, draw
from .races import Job, Run, contenders

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIGMA = 0.02
PHOTOGRAPHS = (
    augment.Affine(degrees=15, translate=0.1, scale=(0.9, 1.1), shear=5),
    augment.Flip(),
    augment.GaussianBlur(sigma=(0.5, 2), p=0.2),
    augment.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02),
    augment.GaussianNoise(SIGMA, p=0.5),
    augment.Cutout(p=0.5),
    augment.Normalize(MEAN, STD),
)
DIGITS = (augment.Affine(degrees=15, translate=0.1, scale=(0.9, 1.1), shear=5), augment.GaussianNoise(SIGMA))
_SLACK = 8 / 255  # OpenCV's places have 5 fractional bits; images between steps are rounded
_NOISE = 2 * 6.7 * SIGMA  # of two who draw their own


def photographs(count: int, size: int, threads: int) -> Job:
    """uint8 RGB to normalised float32: geometry, blur, colours, noise, a hole, and ImageNet's mean and deviation."""
    images = _smooth(count, size, 3)
    difference = float((_SLACK + _NOISE) / min(STD))
    return _job("RGB to float32, everything", images, PHOTOGRAPHS, np.float32, difference, threads)


def digits(count: int, size: int, threads: int) -> Job:
    """uint8 grey: geometry and noise."""
    return _job(
        "grey uint8, affine and noise", _smooth(count, size, 1), DIGITS, np.uint8, 255 * (_SLACK + _NOISE), threads
    )


def _smooth(count: int, size: int, channels: int) -> NDArray[np.uint8]:
    """Pictures that fade to black at their borders, so that all borders are alike."""
    y, x = np.ogrid[:size, :size]
    window = np.sin(np.pi * (y + 0.5) / size) * np.sin(np.pi * (x + 0.5) / size)
    phase = np.arange(count)[:, np.newaxis, np.newaxis, np.newaxis] + 2 * np.arange(channels)
    wave = 1 + 0.3 * np.cos(x[..., np.newaxis] / size * 6 + phase)
    return np.rint(160 * window[..., np.newaxis] * wave).astype(np.uint8)


def _job(what: str, images: NDArray[np.uint8], transforms: Any, dtype: Any, difference: float, threads: int) -> Job:
    count, size = images.shape[:2]
    compose = augment.Compose(transforms, seed=1)
    ours = np.empty(images.shape, dtype)

    def plan() -> Plan:
        draws = draw(np.arange(count, dtype=np.uint64), len(transforms), compose.seed)
        return compose._plans(draws, np.full((count, 2), size, np.int64), images.shape[-1])[0]

    def rival(make: Callable[..., Run]) -> Callable[[], Run]:
        return lambda: make(images, plan, np.empty(images.shape, dtype), threads)

    return Job(
        "augment",
        f"{count} × {size}×{size} {what}",
        {"size": size, "count": count, "channels": images.shape[-1], "dtype": "uint8"},
        contenders(
            lambda: compose(images, index=0, out=ours, threads=threads), OpenCV=rival(_opencv), PyTorch=rival(_pytorch)
        ),
        {"OpenCV": difference, "PyTorch": difference},
    )


def _opencv(images: NDArray[np.uint8], plan: Callable[[], Plan], results: NDArray[Any], threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    noise = np.empty(images.shape[1:], np.float32)

    def run() -> Any:
        drawn = plan()
        for i, (image, what, result) in enumerate(zip(images, drawn.what, results, strict=True)):
            x = cv2.warpAffine(image, what["matrix"][:2], image.shape[1::-1], flags=flags).reshape(image.shape)
            if what["blur"] > 0:
                x = cv2.GaussianBlur(x, (0, 0), float(what["blur"]))
            if what["recolored"]:
                shift = what["mean_color"] @ cv2.mean(x)[:3] + 255 * what["offset"]
                x = cv2.transform(x, np.column_stack([what["color"], shift]))
            if what["noise"] > 0:
                cv2.randn(noise, 0, 255 * float(what["noise"]))
                x = cv2.add(x, noise, dtype=cv2.CV_8U)
            for rectangles in drawn.rectangles:
                top, left, bottom, right = rectangles[i]
                x[top:bottom, left:right] = 0
            if result.dtype == np.uint8:
                result[...] = x.reshape(result.shape)
            else:
                cv2.subtract(x, (*(255 * m for m in MEAN), 0), dst=result, dtype=cv2.CV_32F)
                cv2.multiply(result, (*(1 / (255 * s) for s in STD), 0), dst=result)
        return results

    return run


def _pytorch(images: NDArray[np.uint8], plan: Callable[[], Plan], results: NDArray[Any], threads: int) -> Run:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    size = images.shape[1]
    last = torch.linspace(-1 + 1 / size, 1 - 1 / size, size)
    base = torch.stack([*torch.meshgrid(last, last, indexing="xy"), torch.ones(size, size)], dim=-1).reshape(1, -1, 3)
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    to_unit = np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])
    from_unit = np.linalg.inv(to_unit)

    def one(image: Any, what: Any, rectangles: Any, normalised: bool) -> Any:
        theta = torch.from_numpy((to_unit @ what["matrix"] @ from_unit)[None, :2].astype(np.float32))
        grid = base.bmm(theta.transpose(1, 2)).view(1, size, size, 2)
        x = functional.grid_sample(image[None].float(), grid, align_corners=False)[0].round_().to(torch.uint8)
        x = x.float().div_(255)
        if what["blur"] > 0:
            radius = int(4 * what["blur"] + 0.5)
            taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / float(what["blur"])) ** 2)
            kernel = torch.outer(taps / taps.sum(), taps / taps.sum()).expand(len(x), 1, -1, -1)
            x = functional.conv2d(functional.pad(x[None], [radius] * 4, "reflect"), kernel, groups=len(x))[0]
        if what["recolored"]:
            shift = torch.from_numpy(what["mean_color"]) @ x.mean(dim=(1, 2)) + torch.from_numpy(what["offset"].copy())
            x = (torch.einsum("dc,chw->dhw", torch.from_numpy(what["color"]), x) + shift[:, None, None]).clamp_(0, 1)
        if what["noise"] > 0:
            x = (x + torch.randn_like(x) * float(what["noise"])).clamp_(0, 1)
        for top, left, bottom, right in rectangles:
            x[:, top:bottom, left:right] = 0
        return (x - mean) / std if normalised else x.mul(255).round_().to(torch.uint8)

    def run() -> Any:
        drawn = plan()
        with torch.inference_mode():
            batch = torch.stack(
                [
                    one(image, what, [r[i] for r in drawn.rectangles], results.dtype != np.uint8)
                    for i, (image, what) in enumerate(zip(planes, drawn.what, strict=True))
                ]
            )
        return batch.permute(0, 2, 3, 1).numpy()

    return run
