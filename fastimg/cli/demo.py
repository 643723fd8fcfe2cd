"""``fastimg demo``: what fastimg does, shown on a photograph."""

from __future__ import annotations

import argparse
import os
from typing import Any

from . import files


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "demo",
        help="damage a photograph and repair it: figures, times, a picture",
        description="Damage a photograph with white pixels and Gaussian noise, denoise it by non-local means, halve "
        "it and double it again by FSRCNN. Prints PSNR and SSIM before and after each step and the time it took "
        "beside OpenCV's, and draws a picture of it all.",
    )
    parser.add_argument("--output", default="demo.png", metavar="FILE", help="the picture (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    files.check_file(args.output)
    if os.path.exists(args.output) and not args.overwrite:
        raise files.UsageError(f"{args.output} exists (--overwrite replaces it)")
    try:
        import matplotlib  # noqa: F401 (what it is drawn by, asked for before the work is done)
        import skimage  # noqa: F401
    except ImportError as error:
        raise ImportError("the demo needs scikit-image and Matplotlib: pip install 'fastimg[demo]'") from error
    from .. import demo, image_files

    steps = demo.process(demo.photograph())
    print(demo.figures(steps), end="\n\n", flush=True)
    timings = demo.measure(steps)
    print(demo.times(timings), flush=True)
    picture = demo.draw(steps, demo.caption(timings))
    image_files.write_image(args.output, picture, overwrite=args.overwrite)
    print(f"\nThe picture: {args.output}")
    return 0
