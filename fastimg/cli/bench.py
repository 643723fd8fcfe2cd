"""``fastimg bench``: how fast fastimg is on this machine, beside the libraries that are installed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .._checks import MAX_THREADS
from . import files


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "bench",
        help="race fastimg against the libraries that are installed",
        description="Race fastimg against OpenCV, scikit-image, SciPy, PyTorch and ONNX Runtime, those that are "
        "installed: the same work on as many threads, results compared first, runs in turns, medians. Prints a table.",
    )
    parser.add_argument(
        "--seconds", type=files.positive, default=1.0, metavar="S", help="for each job (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=files.whole(1, MAX_THREADS), metavar="N", help="of every contender (default: all there are)"
    )
    parser.add_argument("--output", metavar="FILE", help="keep the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from .. import get_num_threads
    from ..benchmarks import quick, race
    from ..benchmarks.report import markdown
    from ..benchmarks.results import Results

    if args.output and not Path(args.output).parent.is_dir():
        raise files.UsageError(f"{args.output}: there is no such folder")
    threads = args.threads or get_num_threads()
    rows = [race(make(), args.seconds) for make in _with_progress(quick.jobs(threads))]
    results = Results.of(rows, threads)
    print(markdown(results))
    if args.output:
        results.save(args.output)
    return 0


def _with_progress(jobs: Sequence[Any]) -> Iterable[Any]:
    try:
        from tqdm import tqdm
    except ImportError:
        return jobs
    bar: Iterable[Any] = tqdm(jobs, unit="job", disable=None)
    return bar
