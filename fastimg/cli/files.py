"""What the commands that make image files of image files share: arguments, planning, the loop over files."""

from __future__ import annotations

import argparse
import errno
import glob
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import image_files
from .._checks import MAX_THREADS

Operation = Callable[[NDArray[Any], image_files.Metadata], NDArray[Any]]
"""What a command does to one image: (H, W[, C]) in and what its file says beside, the same kind out."""


class UsageError(ValueError):
    """The command cannot be carried out as given."""


@dataclass(frozen=True)
class Job:
    """One image file to be made of another."""

    source: Path
    target: Path


def positive(text: str) -> float:
    """An argument that must be a finite number above 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
    return value


def not_negative(text: str) -> float:
    """An argument that must be a finite number of at least 0."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be >= 0, got {text}")
    return value


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that must be a whole number in `least`..`most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text}") from None
        if value < least or (most is not None and value > most):
            bounds = f">= {least}" if most is None else f"in {least}..{most}"
            raise argparse.ArgumentTypeError(f"must be {bounds}, got {text}")
        return value

    return parse


def add_precision(group: argparse._ArgumentGroup) -> None:
    """Add what a network may be asked to compute in."""
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what the network computes in; bfloat16 is faster with AMX or AVX512-BF16 (default: %(default)s)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add INPUT, OUTPUT and the options that all these commands have."""
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="image file, folder of image files, or glob pattern in quotes (** for folders in folders)",
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="file, or folder: the files in it get the names of their inputs; its ending chooses a file's "
        "format: .png, .tif, .jpg, .webp",
    )
    group = parser.add_argument_group("files")
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace files that exist")
    existing.add_argument("--skip-existing", action="store_true", help="leave files that exist as they are")
    group.add_argument(
        "--quality",
        type=whole(1, 100),
        metavar="Q",
        help="1 to 100, for JPEG (default: 95) and WebP (default: lossless)",
    )
    group.add_argument(
        "--threads", type=whole(1, MAX_THREADS), metavar="N", help="threads to use (default: all there are)"
    )
    group.add_argument("--no-progress", action="store_true", help="show no progress bar")


def run(args: argparse.Namespace, operation: Operation) -> int:
    """Make each output file of its input file; returns the exit code."""
    jobs = plan(args.input, args.output)
    failures = 0
    with _Interrupts() as interrupts, _Progress(len(jobs), hidden=args.no_progress) as progress:
        for job in jobs:
            interrupts.check()
            try:
                for notice in _make(job, operation, args, interrupts):
                    progress.say(f"fastimg: {job.source}: {notice}")
            except (OSError, ValueError, TypeError, MemoryError) as error:
                failures += 1
                progress.say(f"fastimg: {job.source}: {_in_one_line(error, job)}")
            progress.step()
    return 1 if failures else 0


def plan(inputs: Sequence[str], output: str) -> list[Job]:
    """Pair each input file with its output file.

    Raises
    ------
    UsageError
        There is no input, `output` is not what the inputs need, or two files would become one.
    """
    sources, many = _sources(inputs)
    if many or output.endswith(os.sep) or os.path.isdir(output):
        _check_folder(output)
        jobs = [Job(source, Path(output, source.name)) for source in sources]
    else:
        check_file(output)
        jobs = [Job(sources[0], Path(output))]
    _check_clashes(jobs)
    return jobs


def check_file(output: str) -> None:
    """Refuse, as `UsageError`, an output file whose ending or folder is not to be had."""
    if Path(output).suffix.lower() not in image_files.SUFFIXES:
        endings = ", ".join(sorted(image_files.SUFFIXES))
        raise UsageError(f"{output}: must be an existing folder, or a file that ends in one of {endings}")
    if not Path(output).parent.is_dir():
        raise UsageError(f"{output}: there is no folder {Path(output).parent}")


def split_alpha(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The colours, (H, W) or (H, W, 3), and the alpha channel, (H, W), of an image file's array."""
    if image.ndim == 2 or image.shape[2] == 3:
        return image, None
    colours = image[:, :, :-1]
    return (colours[:, :, 0] if colours.shape[2] == 1 else colours), image[:, :, -1]


def join_alpha(colours: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any]:
    """Undo `split_alpha`."""
    return colours if alpha is None else np.dstack((colours, alpha))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite, got {text}")
    return value


def _sources(inputs: Sequence[str]) -> tuple[list[Path], bool]:
    """The input files, each once, and whether they are several by the way they were given."""
    found: dict[Path, None] = {}
    many = len(inputs) > 1
    for text in inputs:
        if os.path.isdir(text):
            files, many = _image_files(Path(text).iterdir()), True
        elif glob.has_magic(text) and not os.path.exists(text):
            files, many = _image_files(map(Path, glob.iglob(text, recursive=True))), True
        else:
            files = [Path(text)]
        if not files:
            raise UsageError(f"{text}: no image files there ({', '.join(sorted(image_files.SUFFIXES))})")
        found.update(dict.fromkeys(files))
    return list(found), many


def _image_files(paths: Iterable[Path]) -> list[Path]:
    """Those that are image files by their ending, sorted."""
    return sorted(path for path in paths if path.suffix.lower() in image_files.SUFFIXES and path.is_file())


def _check_folder(output: str) -> None:
    if os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"{output}: must be a folder for these inputs, but is a file")
    if not os.path.exists(output) and Path(output).suffix.lower() in image_files.SUFFIXES:
        raise UsageError(f"{output}: must be a folder for these inputs, but is named like an image file")


def _check_clashes(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    made_of: dict[str, Path] = {}
    for job in jobs:
        target = os.path.realpath(job.target)
        if target in made_of:
            raise UsageError(f"{made_of[target]} and {job.source} would both become {job.target}")
        if target in sources and target != os.path.realpath(job.source):
            raise UsageError(f"{job.source} would become {job.target}, which is another input")
        made_of[target] = job.source


def _make(job: Job, operation: Operation, args: argparse.Namespace, interrupts: _Interrupts) -> list[str]:
    """Make one file; returns what the user should know about it."""
    if os.path.lexists(job.target):
        if args.skip_existing:
            return []
        if not args.overwrite:
            what = f"exists (--overwrite replaces it, --skip-existing leaves it): {job.target}"
            raise FileExistsError(errno.EEXIST, what, os.fspath(job.source))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", image_files.ImageFileWarning)
        image, metadata = image_files.read_image(job.source)
        interrupts.check()
        result = operation(image, metadata)
        interrupts.check()
        job.target.parent.mkdir(parents=True, exist_ok=True)
        image_files.write_image(job.target, result, metadata, quality=args.quality, overwrite=args.overwrite)
    return [str(warning.message) for warning in caught]


def _in_one_line(error: Exception, job: Job) -> str:
    source = os.fspath(job.source)
    if isinstance(error, image_files.ImageFileError):
        text = error.what if error.path == source else str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename == source else f"{error.filename}: {error.strerror}"
    elif isinstance(error, MemoryError):
        text = "not enough memory"
    else:
        text = str(error)
    return " ".join(text.split())


class _Interrupts:
    """Control-C, noted when it comes and raised by `check`.

    Raised on the spot it would get lost now and then: Python drops what is raised within a callback from C, and
    libvips logs through one. A second Control-C is raised on the spot all the same.
    """

    def __init__(self) -> None:
        self._came = False
        self._noting = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> Self:
        if self._noting:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._noting:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Progress:
    """A progress bar on stderr for many files at a terminal, and messages that do not tear it."""

    def __init__(self, total: int, *, hidden: bool) -> None:
        self._bar: Any = None
        if total > 1 and not hidden and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="file", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.write(text, file=sys.stderr)
