"""``fastimg evaluate``: the quality of a super-resolution network on a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import files
from .upscale import MODELS


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a super-resolution network as the papers do",
        description="Measure a super-resolution network under the protocol of the papers: luma, MATLAB's bicubic, as "
        "many pixels as the scale left out at the borders, 8 bits; PSNR and SSIM of each image and their means.",
    )
    parser.add_argument("model", choices=sorted(MODELS), metavar="MODEL", help=", ".join(sorted(MODELS)))
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of images")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), required=True, help="how many times larger")
    parser.add_argument("--weights", metavar="FILE", help="weights to measure (default: those that come with fastimg)")
    parser.add_argument("--against", nargs="+", default=[], metavar="FILE", help="weights of others to measure beside")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--sheet", metavar="FILE", help="draw crops of the truth and of all results there")
    parser.add_argument("--overwrite", action="store_true", help="replace these files if they exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    outputs = [path for path in (args.json, args.sheet) if path is not None]
    for path in outputs:
        if Path(path).exists() and not args.overwrite:
            raise files.UsageError(f"{path} exists (--overwrite replaces it)")
    if args.sheet is not None:
        files.check_file(args.sheet)
    from .. import _files, evaluation, image_files

    methods = {evaluation.BICUBIC: evaluation.bicubic(args.scale), **_models(args)}
    evaluations = evaluation.evaluate(methods, args.data, args.scale)
    print(evaluation.as_table(evaluations))
    if args.json is not None:
        _files.write_whole(Path(args.json), evaluation.as_json(evaluations, args.scale).encode())
    if args.sheet is not None:
        image_files.write_image(args.sheet, evaluation.contact_sheet(evaluations), overwrite=args.overwrite)
    return 0


def _models(args: argparse.Namespace) -> dict[str, Any]:
    """The model and those to compare it with, by name."""
    from .. import models

    network = getattr(models, MODELS[args.model])
    found = {}
    try:
        if args.weights is None:
            found[MODELS[args.model]] = network.from_pretrained(args.scale)
        else:
            found[Path(args.weights).stem] = network.from_file(args.weights, args.scale)
        for path in args.against:
            found[Path(path).stem] = network.from_file(path, args.scale)
    except (OSError, ValueError) as error:
        raise files.UsageError(f"weights: {error}") from error
    return found
