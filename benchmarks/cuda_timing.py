"""Results of the benchmark on a GPU as a table and as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fastimg.benchmarks import Timing
from fastimg.benchmarks.results import machine


@dataclass(frozen=True)
class Row:
    """One job: what each candidate took for it, and how far its result is from ours."""

    job: str
    timings: dict[str, Timing]
    differences: dict[str, float]


def markdown(rows: Sequence[Row], ours: str = "fastimg") -> str:
    """A table of medians in milliseconds, with the factor by which each rival is slower than `ours`."""
    rivals = [name for name in dict.fromkeys(n for row in rows for n in row.timings) if name != ours]
    lines = ["| job | " + " | ".join([f"{ours} (ms)", *(f"{rival} (ms)" for rival in rivals)]) + " |"]
    lines.append("|---" * (len(rivals) + 2) + "|")
    for row in rows:
        own = row.timings[ours].median
        cells = [f"{own:.3g}"]
        for rival in rivals:
            timing = row.timings.get(rival)
            cells.append(f"{timing.median:.3g} ({timing.median / own:.2f} ×)" if timing else "–")
        lines.append(f"| {row.job} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Row], versions: Mapping[str, str], threads: int) -> None:
    """Keep the results as data."""
    content = {
        "machine": machine(),
        "versions": dict(versions),
        "threads": threads,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
