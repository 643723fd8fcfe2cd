"""``fastimg upscale``: super-resolution of image files."""

from __future__ import annotations

import argparse
from typing import Any

from numpy.typing import NDArray

from . import files

MODELS = {"fsrcnn": "FSRCNN", "fsrcnn-s": "FSRCNN_s", "srcnn": "SRCNN"}


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "upscale",
        help="enlarge by a super-resolution network",
        description="Enlarge by a super-resolution network.",
        epilog="Alpha is enlarged by bicubic interpolation. A float TIFF is taken as, and clipped to, 0-1.",
    )
    files.add_arguments(parser)
    group = parser.add_argument_group("super-resolution")
    group.add_argument(
        "--scale", type=int, choices=(2, 3, 4), help="how many times larger (default: 2, or as --weights has it)"
    )
    group.add_argument("--model", choices=sorted(MODELS), default="fsrcnn", help="the network (default: %(default)s)")
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="weights of your own for it (default: those that come with fastimg, for fsrcnn and fsrcnn-s)",
    )
    files.add_precision(group)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from .. import models

    network = getattr(models, MODELS[args.model])
    try:
        if args.weights is None:
            model = network.from_pretrained(args.scale or 2)
        else:
            model = network.from_file(args.weights, args.scale)
    except (OSError, ValueError) as error:
        raise files.UsageError(f"--weights: {error}") from error

    def upscale(image: NDArray[Any]) -> NDArray[Any]:
        enlarged: NDArray[Any] = model(image, threads=args.threads, precision=args.precision)
        return enlarged

    return files.run(args, upscale)
