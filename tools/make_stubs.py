"""Write the type stubs of the extension as pybind11-stubgen sees it: `python tools/make_stubs.py OUTPUT`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def stubs() -> str:
    """The text of `_fastimg_cpu.pyi` for the extension that Python finds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pybind11_stubgen", "fastimg._fastimg_cpu", "-o", folder, "--exit-code"],
            check=True,
            capture_output=True,
        )
        return (Path(folder) / "fastimg" / "_fastimg_cpu.pyi").read_text()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(stubs())
