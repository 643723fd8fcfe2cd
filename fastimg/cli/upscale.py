"""``fastimg upscale``: super-resolution of image files."""

from __future__ import annotations

import argparse
import re
from typing import Any

from numpy.typing import NDArray

from ..image_files import Metadata
from . import files

MODELS = {"plainsr": "PlainSR", "fsrcnn": "FSRCNN", "fsrcnn-s": "FSRCNN_s", "srcnn": "SRCNN"}


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "upscale",
        help="enlarge by a super-resolution network",
        description="Enlarge by a super-resolution network.",
        epilog="Alpha is enlarged by bicubic interpolation; what lies hidden under transparent pixels does not shine "
        "through. A float TIFF is taken as, and clipped to, 0-1.",
    )
    files.add_arguments(parser)
    group = parser.add_argument_group("super-resolution")
    wanted = group.add_mutually_exclusive_group()
    wanted.add_argument(
        "--scale",
        type=files.whole(2),
        metavar="N",
        help="how many times larger: 2, 3, 4, or a product of them such as 8 (default: 2, or as --weights has it)",
    )
    wanted.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="how large, in pixels as the image is shown: 1920x1080; 1920x and x1080 keep the proportions. Enlarges by "
        "the next larger scale, then resizes",
    )
    group.add_argument("--model", choices=sorted(MODELS), default="plainsr", help="the network (default: %(default)s)")
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="weights of your own for it (default: those that come with fastimg)",
    )
    files.add_precision(group)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from .. import models
    from ..models import upscaling

    model = getattr(models, MODELS[args.model])
    if args.weights is not None:
        model = _of_file(model, args.weights, args.scale)
    scale = args.scale or getattr(model, "scale", 2)
    try:
        upscaling.chain(model, scale)
    except ValueError as error:
        raise files.UsageError(str(error)) from error

    def upscale(image: NDArray[Any], metadata: Metadata) -> NDArray[Any]:
        wanted = {"scale": scale} if args.size is None else {"output_shape": _shape(args.size, image, metadata)}
        enlarged: NDArray[Any] = models.upscale(
            image, **wanted, model=model, threads=args.threads, precision=args.precision
        )
        return enlarged

    return files.run(args, upscale)


def _of_file(network: Any, path: str, scale: int | None) -> Any:
    """The model of a file, which tells its scale or is of the one that is wanted."""
    try:
        try:
            return network.from_file(path)
        except ValueError:
            if scale is None:
                raise
            return network.from_file(path, scale)
    except (OSError, ValueError) as error:
        raise files.UsageError(f"--weights: {error}") from error


def _size(text: str) -> tuple[int | None, int | None]:
    """The type of --size: width and height, of which one may be missing."""
    match = re.fullmatch(r"(\d*)x(\d*)", text)
    width, height = (int(n) if n else None for n in match.groups()) if match else (None, None)
    if (width is None and height is None) or 0 in (width, height):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT, WIDTHx or xHEIGHT, in whole numbers > 0, got {text}")
    return width, height


def _shape(size: tuple[int | None, int | None], image: NDArray[Any], metadata: Metadata) -> tuple[int, int]:
    """Rows and columns of the result, as the file stores them."""
    height, width = size if metadata.on_its_side else size[::-1]
    rows, columns = image.shape[:2]
    if height is None:
        assert width is not None
        return max(round(rows * width / columns), 1), width
    return height, max(round(columns * height / rows), 1) if width is None else width
