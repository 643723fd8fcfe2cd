"""The demonstration: a photograph is damaged, denoised, halved and doubled; figures, times and a picture of it.

Needs the extra ``demo``: the photograph comes with scikit-image, the picture is drawn by Matplotlib, and times are
compared with OpenCV where it is installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import get_num_threads, metrics, models, restoration, transform, util

__all__ = ["Steps", "Timing", "caption", "draw", "figures", "measure", "photograph", "process", "times"]

WHITE_PIXELS = 3000
NOISE = 15.0  # standard deviation, on the scale 0-255
STRENGTH = 24.0  # h of non-local means, on the same scale
PATCH_SIZE = 7
PATCH_DISTANCE = 10
SEED = 1

NL_MEANS, HALVING, BICUBIC, FSRCNN = "non-local means", "halving, bicubic", "doubling, bicubic", "doubling, FSRCNN"

_PAPER, _INK, _FAINT = "#ffffff", "#14171c", "#5f6774"
_MARKS = ("#ff8a00", "#00a3e0")
_DETAILS = ((0.14, 0.36, 0.2), (0.63, 0.25, 0.2))  # top, left and side, in parts of the photograph's

Image = NDArray[np.uint8]
Job = Callable[[], Any]


@dataclass(frozen=True)
class Steps:
    """The photograph and what became of it, (H, W, 3) each."""

    photograph: Image
    noisy: Image  # Gaussian noise alone
    damaged: Image  # white pixels as well
    denoised: Image
    halved: Image  # (H/2, W/2, 3)
    bicubic: Image  # `halved`, doubled
    fsrcnn: Image  # `halved`, doubled
    clean_bicubic: Image  # the photograph itself, halved and doubled
    clean_fsrcnn: Image

    @property
    def white(self) -> NDArray[np.bool_]:
        """Where white pixels were put, (H, W)."""
        changed: NDArray[np.bool_] = (self.damaged != self.noisy).any(axis=-1)
        return changed


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one step, the median of several runs, beside OpenCV's."""

    step: str
    ours: float
    opencv: float | None
    rival: str  # what OpenCV was asked to do, or why there is nothing to ask for


def photograph() -> Image:
    """Astronaut Eileen Collins, 512 by 512, in the public domain, from scikit-image."""
    from skimage import data

    image: Image = np.ascontiguousarray(data.astronaut())
    return image


def process(image: Image, white_pixels: int = WHITE_PIXELS) -> Steps:
    """Damage an (H, W, 3) photograph of even size and repair it."""
    noisy = util.random_noise(image, "gaussian", rng=SEED, var=NOISE**2, preserve_range=True)
    damaged = util.random_noise(noisy, "salt", rng=SEED + 1, count=white_pixels, channel_axis=-1, preserve_range=True)
    denoised = _denoise(damaged)
    network = models.FSRCNN.from_pretrained(2)
    halved, clean_halved = _halve(denoised), _halve(image)
    return Steps(
        photograph=image,
        noisy=noisy,
        damaged=damaged,
        denoised=denoised,
        halved=halved,
        bicubic=_double(halved),
        fsrcnn=network(halved),
        clean_bicubic=_double(clean_halved),
        clean_fsrcnn=network(clean_halved),
    )


def psnr(reference: Image, image: Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(metrics.peak_signal_noise_ratio(reference, image, data_range=255))


def ssim(reference: Image, image: Image) -> float:
    """Structural similarity, the mean over the channels."""
    return float(metrics.structural_similarity(reference, image, channel_axis=-1, data_range=255))


def figures(steps: Steps) -> str:
    """The table of PSNR and SSIM before and after each step."""
    rows = [
        ("damaged: white pixels and Gaussian noise", steps.damaged, None),
        ("denoised by non-local means", steps.denoised, None),
        ("  halved, then doubled by bicubic", steps.bicubic, steps.denoised),
        ("  halved, then doubled by FSRCNN", steps.fsrcnn, steps.denoised),
        ("the photograph halved, doubled by bicubic", steps.clean_bicubic, steps.photograph),
        ("the photograph halved, doubled by FSRCNN", steps.clean_fsrcnn, steps.photograph),
    ]
    lines = [
        f"{'':42}{'against the photograph':>24}{'against what was halved':>26}",
        f"{'':42}{'PSNR dB':>14}{'SSIM':>10}{'PSNR dB':>16}{'SSIM':>10}",
    ]
    for name, image, halved in rows:
        line = f"{name:42}{psnr(steps.photograph, image):14.2f}{ssim(steps.photograph, image):10.4f}"
        if halved is not None:
            line += f"{psnr(halved, image):16.2f}{ssim(halved, image):10.4f}"
        lines.append(line)
    white = steps.white
    lines += ["", f"{'What non-local means does to each damage':42}{'before':>14}{'after':>10}"]
    for name, where in ((f"PSNR dB at the {white.sum()} white pixels", white), ("PSNR dB everywhere else", ~white)):
        before, after = (psnr(steps.photograph[where], image[where]) for image in (steps.damaged, steps.denoised))
        lines.append(f"{name:42}{before:14.2f}{after:10.2f}")
    return "\n".join(lines)


def measure(steps: Steps, rounds: int = 5) -> list[Timing]:
    """Time each step and, where OpenCV is installed, its function for the same job, in turn and on as many threads."""
    network = models.FSRCNN.from_pretrained(2)
    cv2 = _opencv()
    window = 2 * PATCH_DISTANCE + 1
    jobs: list[tuple[str, Job, Job | None, str]] = [
        (
            NL_MEANS,
            lambda: _denoise(steps.damaged),
            lambda: cv2.fastNlMeansDenoising(steps.damaged, None, STRENGTH, PATCH_SIZE, window),
            "fastNlMeansDenoising, the same parameters",
        ),
        (HALVING, lambda: _halve(steps.denoised), None, "no antialiased bicubic there"),
        (
            BICUBIC,
            lambda: _double(steps.halved),
            lambda: cv2.resize(steps.halved, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
            "resize, INTER_CUBIC",
        ),
        (FSRCNN, lambda: network(steps.halved), None, "no such network there without a download"),
    ]
    if cv2 is None:
        return [_timing(step, ours, None, "OpenCV is not installed", rounds) for step, ours, *_ in jobs]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(get_num_threads())
    try:
        return [_timing(step, ours, theirs, rival, rounds) for step, ours, theirs, rival in jobs]
    finally:
        cv2.setNumThreads(threads)


def times(timings: Sequence[Timing]) -> str:
    """The table of milliseconds."""
    title = f"Milliseconds ({_threads()} each)"
    lines = [f"{title:42}{'fastimg':>14}{'OpenCV':>10}"]
    for timing in timings:
        line = f"{timing.step:42}{timing.ours:14.1f}"
        if timing.opencv is None:
            line += f"{'-':>10}{'':10}{timing.rival}"
        else:
            line += f"{timing.opencv:10.1f}{f'({timing.opencv / timing.ours:.1f} x)':>9} {timing.rival}"
        lines.append(line)
    return "\n".join(lines)


def caption(timings: Sequence[Timing]) -> str:
    """One line below the picture: what was done, and in what time."""
    took = {timing.step: f"{timing.ours:.0f} ms" for timing in timings}
    took |= {t.step: f"{took[t.step]} (OpenCV: {t.opencv:.0f} ms)" for t in timings if t.opencv is not None}
    window = 2 * PATCH_DISTANCE + 1
    return "   ·   ".join(
        (
            f"{WHITE_PIXELS} white pixels, Gaussian noise of σ = {NOISE:.0f}",
            f"non-local means with patches of {PATCH_SIZE} × {PATCH_SIZE} in {window} × {window}, h = {STRENGTH:.0f}: "
            + took[NL_MEANS],
            f"FSRCNN: {took[FSRCNN]}",
            _threads(),
        )
    )


def draw(steps: Steps, footer: str = "") -> Image:
    """The picture of before and after, (H, W, 3): a column for each step, with two details enlarged below it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    original = steps.photograph
    columns = [
        ("Photograph", "{1} × {0}".format(*original.shape), original),
        ("Damaged", _against(original, steps.damaged), steps.damaged),
        ("Non-local means", _against(original, steps.denoised), steps.denoised),
        ("… halved, bicubic × 2", _against(original, steps.bicubic), steps.bicubic),
        ("… halved, FSRCNN × 2", _against(original, steps.fsrcnn), steps.fsrcnn),
    ]
    side, gap, margin, head, foot = 3.8, 0.12, 0.3, 1.75, 0.6  # inches
    width = 2 * margin + len(columns) * (side + gap) - gap
    height = head + (1 + len(_DETAILS)) * (side + gap) - gap + foot
    figure = Figure(figsize=(width, height), dpi=100, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        """Text that starts `x` inches from the left and stands `y` inches below the top."""
        figure.text(x / width, 1 - y / height, text, **style)

    write(margin, 0.65, "A photograph, damaged and repaired", size=29, weight="bold", color=_INK)
    write(margin, height - 0.2, footer, size=13, color=_FAINT)
    for column, (title, numbers, image) in enumerate(columns):
        x = margin + column * (side + gap)
        write(x, head - 0.4, title, size=17, weight="bold", color=_INK)
        write(x, head - 0.12, numbers, size=14, color=_FAINT)
        for row in range(1 + len(_DETAILS)):
            y = head + row * (side + gap)
            axes = figure.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))
            axes.set_axis_off()
            if row == 0:
                _show_whole(axes, image)
            else:
                _show_detail(axes, image, row - 1)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


def _show_whole(axes: Any, image: Image) -> None:
    axes.imshow(image, interpolation="antialiased")
    for which, colour in enumerate(_MARKS):
        top, left, side = _detail(image, which)
        _frame(axes, (left, top), side, colour, 2)


def _show_detail(axes: Any, image: Image, which: int) -> None:
    top, left, side = _detail(image, which)
    axes.imshow(image[top : top + side, left : left + side], interpolation="nearest")
    _frame(axes, (0, 0), side, _MARKS[which], 4)


def _frame(axes: Any, corner: tuple[int, int], side: int, colour: str, width: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((corner[0] - 0.5, corner[1] - 0.5), side, side, fill=False, linewidth=width, edgecolor=colour)
    )


def _detail(image: Image, which: int) -> tuple[int, int, int]:
    """Top, left and side of a detail in pixels."""
    top, left, side = (round(part * image.shape[0]) for part in _DETAILS[which])
    return top, left, side


def _against(original: Image, image: Image) -> str:
    return f"{psnr(original, image):.2f} dB   SSIM {ssim(original, image):.3f}"


def _denoise(image: Image) -> Image:
    result: Image = restoration.denoise_nl_means(
        image, PATCH_SIZE, PATCH_DISTANCE, STRENGTH, preserve_range=True, channel_axis=-1
    )
    return result


def _halve(image: Image) -> Image:
    return _resize(image, image.shape[0] // 2, image.shape[1] // 2)


def _double(image: Image) -> Image:
    return _resize(image, image.shape[0] * 2, image.shape[1] * 2)


def _resize(image: Image, height: int, width: int) -> Image:
    """Bicubic, antialiased where it shrinks."""
    result: Image = transform.resize(image, (height, width), preserve_range=True, channel_axis=-1)
    return result


def _threads() -> str:
    count = get_num_threads()
    return f"{count} thread{'s' if count > 1 else ''}"


def _opencv() -> Any:
    """OpenCV's module, None where it is not installed."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def _timing(step: str, ours: Job, theirs: Job | None, rival: str, rounds: int) -> Timing:
    own, *other = _medians([ours] if theirs is None else [ours, theirs], rounds)
    return Timing(step, own, other[0] if other else None, rival)


def _medians(jobs: Sequence[Job], rounds: int) -> list[float]:
    """Medians in milliseconds of jobs run in turn, after one run of each that does not count."""
    spent: list[list[float]] = [[] for _ in jobs]
    for turn in range(rounds + 1):
        for job, durations in zip(jobs, spent, strict=True):
            start = time.perf_counter()
            job()
            if turn > 0:
                durations.append(1000 * (time.perf_counter() - start))
    return [statistics.median(durations) for durations in spent]
