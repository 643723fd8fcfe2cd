"""A whole training run: read the images, train, validate, keep checkpoints, write the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save
from tqdm import tqdm

from .. import _files
from .data import SHRINKS, Pair, find_images, make_pairs, noisy_pair, read_grey, read_luma, small_pair
from .idx import find_digits, read_digits
from .settings import Settings
from .trainer import Trainer

_VALIDATE_EVERY = 2000
_HELD_OUT = 16  # one image in so many is validated on
_SIGMA = 25.0  # of the noise that denoisers are validated on
_SIGMA_OF_DIGITS = 127.5
_NAMES = {
    "plainsr": "PlainSR",
    "fsrcnn": "FSRCNN",
    "fsrcnn-s": "FSRCNN_s",
    "srcnn": "SRCNN",
    "dncnn": "DnCNN",
    "dncnn-s": "DnCNN_s",
    "digits": "DigitDenoiser",
}


def run(
    data: Sequence[Path],
    output: Path,
    settings: Settings,
    *,
    init: Path | None,
    resume: bool,
    overwrite: bool,
    device: str,
    report: Callable[[str], None] | None,
    progress: bool,
) -> float:
    """See `fastimg.training.train`."""
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    _check_files(output, checkpoint, resume, overwrite)
    files = find_digits(data) if settings.digits else find_images(data)
    training, validation = _pairs(files, settings)
    trainer = Trainer(settings, training, device)
    names = [path.name for path in files]
    if resume:
        _named(checkpoint, lambda: trainer.restore(checkpoint.read_bytes(), names))
    elif init is not None:
        _named(init, lambda: _begin_from(trainer, init.read_bytes()))

    psnr = trainer.psnr(validation)
    with tqdm(
        total=settings.iterations,
        initial=trainer.iteration,
        desc=_NAMES[settings.model] + (f" ×{settings.scale}" if settings.scale else ""),
        postfix=f"{psnr:.2f} dB",
        unit="step",
        disable=not progress,
    ) as bar:
        while trainer.iteration < settings.iterations:
            trainer.step()
            bar.update()
            if trainer.iteration % _VALIDATE_EVERY == 0 or trainer.iteration == settings.iterations:
                loss = trainer.mean_loss()
                if not math.isfinite(loss):
                    raise ValueError(f"the loss is {loss} at iteration {trainer.iteration}: lower learning_rate")
                psnr = trainer.psnr(validation)
                bar.set_postfix_str(f"{psnr:.2f} dB")
                _files.write_whole(checkpoint, trainer.state(names))
                _files.write_whole(output, _weights_file(trainer))
                if report is not None:
                    report(f"iteration {trainer.iteration}: loss {loss:.3e}, validation {psnr:.3f} dB")
    return psnr


def _check_files(output: Path, checkpoint: Path, resume: bool, overwrite: bool) -> None:
    if not output.parent.is_dir():
        raise FileNotFoundError(f"output must lie in a folder that exists, got {str(output)!r}")
    if resume and not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint to resume from: {str(checkpoint)!r} does not exist")
    for path in (output, checkpoint):
        if path.exists() and not (resume or overwrite):
            raise FileExistsError(f"{str(path)!r} exists: resume its training run, or have it overwritten")


def _pairs(files: Sequence[Path], settings: Settings) -> tuple[list[Pair], list[Pair]]:
    images: list[Any] = [digit for path in files for digit in read_digits(path)] if settings.digits else list(files)
    validated = slice(_HELD_OUT // 2 if len(images) > _HELD_OUT // 2 else -1, None, _HELD_OUT)
    held_out, rest = images[validated], images[:]
    del rest[validated]
    if settings.digits:
        noisy = partial(noisy_pair, sigma=_SIGMA_OF_DIGITS, clipped=True)
        training = make_pairs(rest, partial(noisy_pair, sigma=0), (1.0,), settings.patch)
        validation = make_pairs(held_out, noisy, (1.0,), settings.patch)
    elif settings.scale is None:
        training = make_pairs(map(read_grey, rest), partial(noisy_pair, sigma=0), SHRINKS, settings.patch)
        validation = make_pairs(map(read_grey, held_out), partial(noisy_pair, sigma=_SIGMA), (1.0,), settings.patch)
    else:
        small = partial(small_pair, scale=settings.scale, enlarged=settings.factor == 1)
        training = make_pairs(map(read_luma, rest), small, SHRINKS, settings.patch)
        validation = make_pairs(map(read_luma, held_out), small, (1.0,), settings.patch)
    if not training or not validation:
        needed = settings.patch * settings.factor
        raise ValueError(
            f"too few images of at least {needed} × {needed} pixels (patch × scale) among {len(images)}: "
            "at least one to train on and one to validate on are needed"
        )
    return training, validation


def _begin_from(trainer: Trainer, content: bytes) -> None:
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"truncated or damaged safetensors file ({error})") from error
    if trainer.begin_from(tensors) == 0:
        raise ValueError(f"no tensor in it fits {_NAMES[trainer.settings.model]}")


def _named(path: Path, read: Callable[[], Any]) -> None:
    try:
        read()
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


def _weights_file(trainer: Trainer) -> bytes:
    settings = trainer.settings
    notes = {"model": _NAMES[settings.model]}
    if settings.scale is not None:
        notes["scale"] = str(settings.scale)
    content: bytes = save(trainer.average.export(), notes)
    return content
