"""``fastimg denoise``: non-local means or a network on image files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..image_files import Metadata
from . import files

MODELS = {"dncnn": "DnCNN", "dncnn-s": "DnCNN_s"}

_UNIT = {"uint8": 1.0, "uint16": 257.0, "float32": 1 / 255}
"""One step of the 0-255 scale in the units of a file's samples."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "denoise",
        help="remove noise by non-local means or a network",
        description="Remove noise by non-local means, or with --model by a network that finds its strength by itself.",
        epilog="--h and --sigma are on the scale 0-255 whatever the file's depth: 16-bit samples count as "
        "0-255 in steps of 1/257, those of a float TIFF as 0-1. Alpha is kept as it is.",
    )
    files.add_arguments(parser)
    group = parser.add_argument_group("non-local means")
    group.add_argument(
        "--h",
        type=files.positive,
        metavar="H",
        help="strength: more removes more noise and more detail (default: 0.6 times --sigma)",
    )
    group.add_argument(
        "--sigma",
        type=files.not_negative,
        default=0.0,
        metavar="S",
        help="standard deviation of the noise (default: estimated if --h is not given, else 0: not corrected for)",
    )
    group.add_argument(
        "--patch-size",
        type=_odd,
        default=7,
        metavar="N",
        help="full width of the patches that are compared, odd (default: %(default)s)",
    )
    group.add_argument(
        "--patch-distance",
        type=files.whole(1, 255),
        default=10,
        metavar="N",
        help="how far from a pixel similar patches are searched (default: %(default)s, a 21x21 window)",
    )
    group = parser.add_argument_group("network")
    group.add_argument("--model", choices=sorted(MODELS), help="the network (default: none, non-local means)")
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="weights of your own for it (default: those that come with fastimg, for dncnn-s)",
    )
    files.add_precision(group)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    denoise = _non_local_means(args) if args.model is None else _network(args)

    def denoise_colours(image: NDArray[Any], _: Metadata) -> NDArray[Any]:
        colours, alpha = files.split_alpha(image)
        return files.join_alpha(denoise(colours), alpha)

    return files.run(args, denoise_colours)


def _non_local_means(args: argparse.Namespace) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if args.weights is not None:
        raise files.UsageError("--weights needs --model")
    if args.precision != "float32":
        raise files.UsageError("--precision needs --model")
    from .. import restoration

    def denoise(colours: NDArray[Any]) -> NDArray[Any]:
        unit = _UNIT[colours.dtype.name]
        denoised: NDArray[Any] = restoration.denoise_nl_means(
            colours,
            patch_size=args.patch_size,
            patch_distance=args.patch_distance,
            h="auto" if args.h is None else args.h * unit,
            sigma=args.sigma * unit,
            preserve_range=True,
            channel_axis=-1 if colours.ndim == 3 else None,
            threads=args.threads,
        )
        return denoised

    return denoise


def _network(args: argparse.Namespace) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if args.h is not None or args.sigma:
        raise files.UsageError("--h and --sigma are for non-local means, not for --model")
    from .. import models

    network = getattr(models, MODELS[args.model])
    try:
        model = network.from_pretrained() if args.weights is None else network.from_file(args.weights)
    except (OSError, ValueError) as error:
        raise files.UsageError(f"--weights: {error}") from error

    def denoise(colours: NDArray[Any]) -> NDArray[Any]:
        denoised: NDArray[Any] = model(colours, threads=args.threads, precision=args.precision)
        return denoised

    return denoise


def _odd(text: str) -> int:
    value = files.whole(3, 127)(text)
    if value % 2 == 0:
        raise argparse.ArgumentTypeError(f"must be odd, got {text}")
    return value
