"""``fastimg blur``: Gaussian filtering of image files."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_files import Metadata
from . import files


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "blur",
        help="blur by a Gaussian",
        description="Blur by a Gaussian.",
        epilog="Alpha is blurred too, and colours count by how opaque they are, so that what lies hidden "
        "under transparent pixels does not shine through.",
    )
    files.add_arguments(parser)
    group = parser.add_argument_group("Gaussian")
    group.add_argument(
        "--sigma",
        type=files.not_negative,
        default=1.0,
        metavar="S",
        help="standard deviation in pixels (default: %(default)s)",
    )
    group.add_argument(
        "--mode",
        choices=("nearest", "reflect", "mirror", "wrap", "constant"),
        default="nearest",
        help="what lies beyond the border (default: %(default)s; constant: black)",
    )
    group.add_argument(
        "--truncate",
        type=files.positive,
        default=4.0,
        metavar="T",
        help="cut the Gaussian off at this many standard deviations (default: %(default)s)",
    )
    group.add_argument(
        "--method",
        choices=("direct", "recursive"),
        default="direct",
        help="recursive: the same within 1e-5, at a cost that does not grow with S (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from .. import filters

    blur = partial(
        filters.gaussian,
        sigma=args.sigma,
        mode=args.mode,
        truncate=args.truncate,
        method=args.method,
        preserve_range=True,
        threads=args.threads,
    )

    def blur_image(image: NDArray[Any], _: Metadata) -> NDArray[Any]:
        colours, alpha = files.split_alpha(image)
        channel_axis = -1 if colours.ndim == 3 else None
        if alpha is None:
            plain: NDArray[Any] = blur(colours, channel_axis=channel_axis)
            return plain
        opaque = alpha.astype(np.float32)
        spread = blur(opaque)
        if channel_axis is not None:
            opaque, spread = opaque[:, :, np.newaxis], spread[:, :, np.newaxis]
        weighted = blur(colours * opaque, channel_axis=channel_axis)
        mixed = np.divide(weighted, spread, out=np.zeros_like(weighted), where=spread > 0)
        return files.join_alpha(_as(image.dtype, mixed), _as(image.dtype, spread))

    return files.run(args, blur_image)


def _as(dtype: np.dtype[Any], image: NDArray[Any]) -> NDArray[Any]:
    return (image if dtype.kind == "f" else np.clip(np.rint(image), 0, np.iinfo(dtype).max)).astype(dtype, copy=False)
