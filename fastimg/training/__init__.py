"""Training of the models' weights (needs PyTorch: ``pip install 'fastimg[train]'``).

A model is a list of layers, trained on patches of a folder of photographs::

    from fastimg.training import Settings, train
    train(["photographs"], "fsrcnn_x2.safetensors", Settings("fsrcnn", scale=2))

or ``fastimg train fsrcnn --data photographs --scale 2 --output fsrcnn_x2.safetensors``. What is trained is
what runs: padding, the deconvolution's phase and the luma plane are those of `fastimg.models`. Denoisers
(``fastimg train dncnn-s``) learn to remove Gaussian noise of any standard deviation up to 55 of 255, drawn anew for
each patch. ``fastimg train digits`` learns those of MNIST, from its files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import _checks
from .settings import DENOISING, MODELS, PRECISIONS, SCALES, SUPER_RESOLUTION, Settings

__all__ = ["DENOISING", "MODELS", "PRECISIONS", "SCALES", "SUPER_RESOLUTION", "Settings", "train"]

FilePath = str | os.PathLike[str]


def train(
    data: FilePath | Sequence[FilePath],
    output: FilePath,
    settings: Settings,
    *,
    init: FilePath | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    report: Callable[[str], None] | None = None,
    progress: bool = False,
) -> float:
    """Train a model and write its weights.

    One image in sixteen is held out to validate on. At each validation the weights so far are written to
    `output` and everything needed to go on to `output` + ``.checkpoint``; both always hold a whole file.

    Parameters
    ----------
    data : path or sequence of path
        Folder or folders of images; for "digits", of MNIST's training images, an IDX file.
    output : path
        The safetensors file to write.
    settings : Settings
        Model, scale, schedule, seed.
    init : path, optional
        Weights file to begin from, of another scale too: every tensor of it that fits is taken.
    resume : bool, optional
        Go on from the checkpoint. The result is that of an uninterrupted run on the same machine with the
        same number of threads, bit for bit.
    overwrite : bool, optional
        Begin anew although `output` or its checkpoint exists.
    device : str, optional
        PyTorch's name of the device to train on.
    threads : int, optional
        PyTorch's threads; by default what PyTorch chooses.
    report : callable, optional
        Called with one line of text at each validation.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    float
        PSNR in dB on the held-out images.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    FileNotFoundError
        A folder, `init`, or the checkpoint to resume from does not exist.
    FileExistsError
        `output` or its checkpoint exists, and neither `resume` nor `overwrite` is given.
    ValueError
        A folder has no images or a damaged one, the images are too few or too small, PyTorch cannot use
        `device`, `init` or the checkpoint is damaged or belongs to other settings or other images, or the
        loss is no longer finite.

    References
    ----------
    .. [1] C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network",
           ECCV 2016, arXiv:1608.00367.

    Examples
    --------
    >>> from fastimg.training import Settings, train
    >>> train(["no/such/folder"], "x2.safetensors", Settings("fsrcnn", scale=2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    FileNotFoundError: ...
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("training needs PyTorch: pip install 'fastimg[train]'") from error
    from .run import run

    if threads is not None:
        torch.set_num_threads(_checks.integer(threads, "threads", at_least=1))
    folders = [data] if isinstance(data, str | os.PathLike) else data
    return run(
        [Path(folder) for folder in folders],
        Path(output),
        settings,
        init=None if init is None else Path(init),
        resume=resume,
        overwrite=overwrite,
        device=device,
        report=report,
        progress=progress,
    )
