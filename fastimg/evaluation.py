"""The quality of models of super-resolution and of denoising, under the protocols of their papers.

Super-resolution, for each image: the luma plane that the literature measures on (studio-range BT.601, 8 bits), cut to a
multiple of the scale, made smaller by MATLAB's antialiased bicubic without rounding, enlarged, rounded to 8 bits; as
many pixels as the scale are left out on each side.

Denoising: the grey image, with Gaussian noise of known standard deviation that is neither clipped nor rounded and the
same in every run; the result rounded to 8 bits.

PSNR, and SSIM in windows of 11 × 11 (Gaussian, sigma 1.5) that lie inside. The figures of a set are the means of its
images'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, metrics, restoration, transform
from .models import DnCNN, SuperResolution
from .training.data import Pair, Plane, find_images, noisy_pair, read_grey, read_luma, small_pair

__all__ = [
    "DENOISING",
    "SUPER_RESOLUTION",
    "Evaluation",
    "Score",
    "as_json",
    "as_table",
    "bicubic",
    "contact_sheet",
    "evaluate",
    "evaluate_denoising",
    "means",
    "non_local_means",
    "unchanged",
]

SUPER_RESOLUTION = "studio-range Y, MATLAB bicubic, shaved by the scale, 8 bits"
DENOISING = "grey, Gaussian noise neither clipped nor rounded, seeded by the image's number, results of 8 bits"

Method = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Enlarges or denoises a plane, black to white as [0, 1]."""

# Of non-local means, by `fast_mode`, in units of sigma: no set of photographs has its best outside.
_STRENGTHS = {True: (0.4, 0.5, 0.6, 0.7, 0.8), False: (0.7, 0.8, 0.9, 1.0)}


@dataclass(frozen=True)
class Score:
    """PSNR in decibels, and the mean structural similarity."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of several methods on one image, and the planes that they were measured on."""

    image: str
    scores: dict[str, Score]
    truth: Plane
    results: dict[str, Plane]


def bicubic(scale: int) -> Method:
    """MATLAB's bicubic interpolation as a method."""

    def enlarge(low: NDArray[np.float32]) -> NDArray[np.float32]:
        enlarged: NDArray[np.float32] = transform.rescale(low, scale, mode="symmetric")
        return enlarged

    return enlarge


def evaluate(methods: Mapping[str, SuperResolution | Method], data: str | Path, scale: int) -> list[Evaluation]:
    """Measure methods of enlarging on a folder of images.

    Parameters
    ----------
    methods : mapping of str to SuperResolution or callable
        By name; a callable takes a luma plane, (H, W) float32 in [0, 1], and gives (scale * H, scale * W).
    data : path
        A folder of 8-bit images.
    scale : int

    Returns
    -------
    list of Evaluation
        One for each image, in the order of the file names.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such folder, or an image in it is smaller than the pixels left out and the window of SSIM.

    Notes
    -----
    The protocol is that of C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural
    Network", ECCV 2016.

    Examples
    --------
    >>> from fastimg import evaluation, models
    >>> methods = {"bicubic": evaluation.bicubic(2), "FSRCNN": models.FSRCNN.from_pretrained(2)}
    >>> evaluations = evaluation.evaluate(methods, "Set5", scale=2)  # doctest: +SKIP
    """
    return [
        _evaluation(methods, path, small_pair(read_luma(path), scale), border=scale) for path in find_images([data])
    ]


def evaluate_denoising(methods: Mapping[str, DnCNN | Method], data: str | Path, sigma: float) -> list[Evaluation]:
    """Measure methods of denoising on a folder of images.

    Parameters
    ----------
    methods : mapping of str to DnCNN or callable
        By name; a callable takes a grey plane, (H, W) float32 with black to white as [0, 1] and noise beyond, and
        gives one of the same shape.
    data : path
        A folder of 8-bit images.
    sigma : float
        Standard deviation of the noise, on the scale 0 to 255.

    Returns
    -------
    list of Evaluation
        One for each image, in the order of the file names.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such folder, or an image in it is smaller than the window of SSIM, or `sigma` is not above 0.

    Notes
    -----
    The protocol is that of K. Zhang, W. Zuo, Y. Chen, D. Meng, L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning
    of Deep CNN for Image Denoising", IEEE Transactions on Image Processing, 2017.

    Examples
    --------
    >>> from fastimg import evaluation, models
    >>> methods = {"noisy": evaluation.unchanged, "DnCNN-s": models.DnCNN_s.from_pretrained()}
    >>> evaluations = evaluation.evaluate_denoising(methods, "Set12", sigma=25)  # doctest: +SKIP
    """
    _checks.real(sigma, "sigma", above=0)
    return [
        _evaluation(methods, path, noisy_pair(read_grey(path), sigma, seed), border=0)
        for seed, path in enumerate(find_images([data]))
    ]


def unchanged(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
    """The noisy image itself as a method."""
    return noisy


def non_local_means(data: str | Path, sigma: float) -> Method:
    """Non-local means that know `sigma`, with the `h` and `fast_mode` that are best for a folder, as a method."""
    level = sigma / 255
    methods: list[Method] = [
        partial(restoration.denoise_nl_means, h=strength * level, sigma=level, fast_mode=fast)
        for fast, strengths in _STRENGTHS.items()
        for strength in strengths
    ]
    scores = means(evaluate_denoising({str(number): method for number, method in enumerate(methods)}, data, sigma))
    return methods[max(range(len(methods)), key=lambda number: scores[str(number)].psnr)]


def _evaluation(methods: Mapping[str, Callable[..., Any]], path: Path, pair: Pair, border: int) -> Evaluation:
    """The scores of the methods on a pair, `border` pixels left out on each side."""
    inside = tuple(slice(border, n - border) for n in pair.high.shape)
    truth = pair.high[inside]
    if min(n - 2 * border for n in pair.high.shape) < 11:
        raise ValueError(f"{str(path)!r} is too small to be measured, border of {border} left out: {pair.high.shape}")
    results = {name: _rounded(method(pair.low))[inside] for name, method in methods.items()}
    return Evaluation(path.name, {name: _score(truth, result) for name, result in results.items()}, truth, results)


def _rounded(plane: NDArray[np.float32]) -> Plane:
    """To 8 bits, halves upwards as MATLAB does."""
    rounded: Plane = np.floor(np.clip(plane, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rounded


def _score(truth: Plane, result: Plane) -> Score:
    similarity = metrics.structural_similarity(
        truth, result, data_range=255, gaussian_weights=True, use_sample_covariance=False
    )
    return Score(metrics.peak_signal_noise_ratio(truth, result, data_range=255), float(similarity))


def means(evaluations: Sequence[Evaluation]) -> dict[str, Score]:
    """The means over the images, by method."""
    return {
        name: Score(
            float(np.mean([e.scores[name].psnr for e in evaluations])),
            float(np.mean([e.scores[name].ssim for e in evaluations])),
        )
        for name in evaluations[0].scores
    }


def as_table(evaluations: Sequence[Evaluation]) -> str:
    """PSNR / SSIM of each image and their means, as a Markdown table."""
    rows = [(e.image, e.scores) for e in evaluations] + [("mean", means(evaluations))]
    names = list(evaluations[0].scores)
    lines = [f"| image | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for image, scores in rows:
        cells = (f"{scores[name].psnr:.2f} / {scores[name].ssim:.4f}" for name in names)
        lines.append(f"| {image} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(evaluations: Sequence[Evaluation], notes: Mapping[str, Any]) -> str:
    """The same as data, after `notes` on what was measured."""
    content: dict[str, Any] = {
        **notes,
        "images": {e.image: {name: asdict(score) for name, score in e.scores.items()} for e in evaluations},
        "mean": {name: asdict(score) for name, score in means(evaluations).items()},
    }
    return json.dumps(content, indent=2) + "\n"


# ---- contact sheet ---------------------------------------------------------------------------------------------------

_CROP = 96  # pixels, shown twice as large
_MARGIN = 12
_TITLE = 28


def contact_sheet(evaluations: Sequence[Evaluation]) -> NDArray[np.uint8]:
    """Crops of the truth and of every method's result, one row for each image: (H, W, 3).

    The crop is where the methods differ most. Needs Matplotlib, for the labels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ["truth", *evaluations[0].results]
    width, height = (2 * _CROP + _MARGIN) * len(names), (2 * _CROP + _TITLE) * len(evaluations)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(evaluations), len(names), squeeze=False)
    for row, evaluation in zip(grid, evaluations, strict=True):
        crop = _most_different(list(evaluation.results.values()))
        for axes, name in zip(row, names, strict=True):
            plane = evaluation.truth if name == "truth" else evaluation.results[name]
            axes.imshow(plane[crop], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            score = "" if name == "truth" else f" {evaluation.scores[name].psnr:.2f} dB"
            axes.set_title(f"{evaluation.image if name == 'truth' else name}{score}", fontsize=8, pad=3)
            axes.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - _TITLE / height, wspace=0.03, hspace=0.13)
    canvas.draw()
    sheet: NDArray[np.uint8] = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    return sheet


def _most_different(results: Sequence[Plane]) -> tuple[slice, ...]:
    """The square in which the results vary most among each other."""
    spread = np.std(np.stack(results).astype(np.float32), axis=0)
    side = min(_CROP, *spread.shape)
    sums = np.pad(spread.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(np.argmax(boxes), boxes.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)
