"""Results of races as data: JSON by the schema beside this file, and back."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from .. import _fastimg_cpu
from .._files import write_whole
from .races import Row, Timing

_PACKAGES = (
    "fastimg",
    "numpy",
    "scipy",
    "scikit-image",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "torch",
    "onnxruntime",
)


@dataclass(frozen=True)
class Results:
    """Rows, and where and when and with what they were made."""

    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int
    date: str
    rows: Sequence[Row]

    @classmethod
    def of(cls, rows: Sequence[Row], threads: int) -> Results:
        """What was just measured, here."""
        return cls(machine(), versions(), threads, datetime.now(UTC).date().isoformat(), rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON; the file is there whole or not at all."""
        write_whole(path, (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Results:
        """Read what `save` wrote."""
        content = json.loads(Path(path).read_text())
        rows = [
            Row(**{**row, "timings": {name: Timing(**timing) for name, timing in row["timings"].items()}})
            for row in content.pop("rows")
        ]
        return cls(rows=rows, **content)


def schema() -> dict[str, Any]:
    """The JSON Schema of results."""
    content: dict[str, Any] = json.loads(resources.files(__package__).joinpath("results.schema.json").read_text())
    return content


def machine() -> dict[str, Any]:
    """Where a benchmark runs; `load` is the average of the last minute, this process's own part in it included."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = (line.partition(":") for line in information.read_text().splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "instructions": _fastimg_cpu.active_target(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of fastimg and the rivals that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
