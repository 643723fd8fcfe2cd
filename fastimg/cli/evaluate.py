"""``fastimg evaluate``: the quality of a network on a folder of images."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import denoise, files, upscale

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    names = ", ".join([*upscale.MODELS, *denoise.MODELS])
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a network as the papers do",
        description="Measure a network under the protocol of the papers; PSNR and SSIM of each image and their means. "
        "Super-resolution, beside bicubic interpolation: luma, MATLAB's bicubic, as many pixels as the scale left out "
        "at the borders, 8 bits. Denoising, beside non-local means with the best h: grey, Gaussian noise that is the "
        "same in every run, 8 bits.",
    )
    parser.add_argument("model", choices=[*upscale.MODELS, *denoise.MODELS], metavar="MODEL", help=names)
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of images")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), help="how many times larger, in super-resolution")
    parser.add_argument("--sigma", type=files.positive, metavar="S", help="of the noise, 0-255, in denoising")
    parser.add_argument("--weights", metavar="FILE", help="weights to measure (default: those that come with fastimg)")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights of others to measure beside, of any network here",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--sheet", metavar="FILE", help="draw crops of the truth and of all results there")
    parser.add_argument("--overwrite", action="store_true", help="replace these files if they exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    denoises = args.model in denoise.MODELS
    if (args.sigma is None) == denoises or (args.scale is None) != denoises:
        needed, other = ("--sigma", "--scale") if denoises else ("--scale", "--sigma")
        raise files.UsageError(f"{args.model} needs {needed}, and takes no {other}")
    outputs = [path for path in (args.json, args.sheet) if path is not None]
    for path in outputs:
        if Path(path).exists() and not args.overwrite:
            raise files.UsageError(f"{path} exists (--overwrite replaces it)")
    if args.sheet is not None:
        files.check_file(args.sheet)
    from .. import _files, evaluation, image_files

    evaluations, notes = _denoising(args) if denoises else _super_resolution(args)
    print(evaluation.as_table(evaluations))
    if args.json is not None:
        _files.write_whole(Path(args.json), evaluation.as_json(evaluations, notes).encode())
    if args.sheet is not None:
        image_files.write_image(args.sheet, evaluation.contact_sheet(evaluations), overwrite=args.overwrite)
    return 0


def _super_resolution(args: argparse.Namespace) -> tuple[list[Evaluation], dict[str, Any]]:
    from .. import evaluation, models

    network = getattr(models, upscale.MODELS[args.model])
    methods = {"bicubic": evaluation.bicubic(args.scale), **_models(args, network, args.scale)}
    notes = {"scale": args.scale, "protocol": evaluation.SUPER_RESOLUTION}
    return evaluation.evaluate(methods, args.data, args.scale), notes


def _denoising(args: argparse.Namespace) -> tuple[list[Evaluation], dict[str, Any]]:
    from .. import evaluation, models

    networks = _models(args, getattr(models, denoise.MODELS[args.model]))
    rivals = {"noisy": evaluation.unchanged, "non-local means": evaluation.non_local_means(args.data, args.sigma)}
    notes = {"sigma": args.sigma, "protocol": evaluation.DENOISING}
    return evaluation.evaluate_denoising({**rivals, **networks}, args.data, args.sigma), notes


def _models(args: argparse.Namespace, network: Any, *scale: int) -> dict[str, Any]:
    """The model and those to compare it with, by name."""
    found = {}
    try:
        if args.weights is None:
            found[network.__name__] = network.from_pretrained(*scale)
        else:
            found[Path(args.weights).stem] = network.from_file(args.weights, *scale)
        for path in args.against:
            name = Path(path).stem
            found[path if name in found else name] = _of_any_kind(network, path, *scale)
    except (OSError, ValueError) as error:
        raise files.UsageError(f"weights: {error}") from error
    return found


def _of_any_kind(network: Any, path: str, *scale: int) -> Any:
    """The model of a file: of this network, or of the first other one for the same use that its tensors fit."""
    from .. import models

    kinds = (upscale.MODELS if scale else denoise.MODELS).values()
    try:
        return network.from_file(path, *scale)
    except ValueError:
        for other in kinds:
            with suppress(ValueError):
                return getattr(models, other).from_file(path, *scale)
        raise
