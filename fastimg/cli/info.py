"""``fastimg info``: what this installation consists of."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "info",
        help="tell version, compiler, instruction sets, threads, GPU",
        description="Tell version, compiler, instruction sets, threads, and whether a GPU can be used.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from .. import show_config

    show_config()
    return 0
