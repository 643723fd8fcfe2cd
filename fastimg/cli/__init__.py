"""The command line: ``fastimg COMMAND ...``.

Exit codes: 0, all done; 1, a file failed (the others are done); 2, the command cannot be carried out as
given, and nothing was; 130, interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._version import __version__
from . import bench, blur, demo, denoise, evaluate, info, train, upscale
from .files import UsageError

__all__ = ["main"]

_COMMANDS = (denoise, blur, upscale, train, evaluate, demo, bench, info)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` are those of the process unless given. Returns the exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("fastimg: interrupted", file=sys.stderr)
        return 130
    except UsageError as error:
        print(f"fastimg: {error}", file=sys.stderr)
        return 2
    except (ImportError, OSError, ValueError, MemoryError) as error:
        print(f"fastimg: {str(error) or 'not enough memory'}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastimg",
        description="Denoise, blur and upscale image files.",
        epilog="fastimg COMMAND --help tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"fastimg {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser
