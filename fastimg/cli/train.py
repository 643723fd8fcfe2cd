"""``fastimg train``: train the weights of a model on a folder of photographs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .._checks import MAX_THREADS
from ..training import MODELS, PRECISIONS, SCALES, Settings, train
from .files import UsageError, whole


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train a network",
        description="Train a network of super-resolution or denoising on folders of photographs, or of digits as MNIST "
        "has them (needs PyTorch). The weights go to OUTPUT, what is needed to go on to OUTPUT.checkpoint, both at "
        "each validation.",
    )
    parser.add_argument("model", choices=MODELS, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="DIR", help="folders of images to train on, of IDX files for digits"
    )
    parser.add_argument("--scale", type=int, choices=SCALES, help="how many times larger, in super-resolution")
    parser.add_argument(
        "--output", metavar="FILE", help="weights file to write (default: MODEL_xSCALE.safetensors, MODEL.safetensors)"
    )
    parser.add_argument("--init", metavar="FILE", help="weights file to begin from, also of another scale")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    existing.add_argument("--overwrite", action="store_true", help="begin anew, replacing what exists")
    parser.add_argument("--device", default="cpu", help="PyTorch's name of it (default: %(default)s)")
    parser.add_argument(
        "--threads", type=whole(1, MAX_THREADS), metavar="N", help="PyTorch's threads (default: PyTorch's choice)"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=Settings.precision, help="of the products (default: %(default)s)"
    )
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")

    group = parser.add_argument_group("recipe")
    recipe = (
        ("iterations", int, "N", "steps of the optimisers"),
        ("batch", int, "N", "patches per step"),
        ("patch", int, "N", "rows and columns of a patch, at the low resolution (default: 24, of digits 28)"),
        ("margin", int, "N", "pixels at a patch's border that do not count (default: 2, of digits 0)"),
        ("learning-rate", float, "X", "at the start; falls to zero by a half cosine"),
        ("mse-share", float, "X", "last share of the steps, by squared error; before it Charbonnier"),
        ("averaging", float, "X", "factor of the moving average of the weights"),
        ("seed", int, "N", "of all that is random"),
    )
    for name, kind, metavar, text in recipe:
        default = getattr(Settings, name.replace("-", "_"))
        text = text if default is None else f"{text} (default: %(default)s)"
        group.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    names = Settings.__dataclass_fields__
    try:
        settings = Settings(**{name: getattr(args, name) for name in names})
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise UsageError(f"--{name.replace('_', '-')} {rest}") from error
    output = Path(args.output or (f"{args.model}_x{args.scale}" if args.scale else args.model) + ".safetensors")
    progress = not args.no_progress and sys.stderr.isatty()
    psnr = train(
        args.data,
        output,
        settings,
        init=args.init,
        resume=args.resume,
        overwrite=args.overwrite,
        device=args.device,
        threads=args.threads,
        report=None if progress else lambda line: print(line, flush=True),
        progress=progress,
    )
    print(f"{output}: {psnr:.3f} dB on the held-out images")
    return 0
