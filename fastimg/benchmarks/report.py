"""Tables and plots of results, losses included."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from .races import OURS, Row
from .results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Contenders that are no rivals.
MARKS = ("copy", "fastimg, recursive", "fastimg, table", "fastimg, AVX2", "multiply-adds alone")
_COLOURS = ("#3b6ea5", "#c0504d", "#8064a2", "#e08e0b", "#4f8f4f", "#777777", "#17a2b8", "#8c564b", "#c4b000")
_LEGEND_COLUMNS = 5


def factors(row: Row) -> dict[str, float]:
    """How many times as long as fastimg each other contender takes; below 1 is a loss."""
    ours = row.timings[OURS].median
    return {name: timing.median / ours for name, timing in row.timings.items() if name != OURS}


def markdown(results: Results) -> str:
    """The rows as a Markdown table: medians in milliseconds, and each rival's factor, losses in bold."""
    names = list(dict.fromkeys(name for row in results.rows for name in row.timings if name != OURS))
    lines = [
        "| | job | " + " | ".join([f"{OURS} (ms)", *names]) + " |",
        "|---" * (len(names) + 3) + "|",
    ]
    before = ""
    for row in results.rows:
        cells = [_cell(row, name) for name in names]
        operation = "" if row.operation == before else f"`{row.operation}`"
        lines.append(
            f"| {operation} | {row.job} | {_rounded(row.timings[OURS].median, 3)} | " + " | ".join(cells) + " |"
        )
        before = row.operation
    return "\n".join([*lines, "", conditions(results)])


def _rounded(value: float, digits: int) -> str:
    """To so many digits, whole numbers in full."""
    return f"{value:.0f}" if value >= 10**digits - 0.5 else f"{value:.{digits}g}"


def _cell(row: Row, name: str) -> str:
    if name not in row.timings:
        return ""
    factor = factors(row)[name]
    shown = f"{factor:.1f} ×" if factor >= 0.95 else f"{factor:.2f} ×"
    milliseconds = _rounded(row.timings[name].median, 3)
    return f"{milliseconds} ({f'**{shown}**' if factor < 1 and name not in MARKS else shown})"


def conditions(results: Results) -> str:
    """Where, when and with what the results were made."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['instructions']}, load {machine['load']} at the "
        f"end, {results.threads} threads, {results.date}. {versions}."
    )


def ratio_bars(results: Results) -> Figure:
    """For each job a bar for each rival: how many times as long as fastimg it takes, on a logarithmic axis."""
    from matplotlib.figure import Figure

    bars = [
        (f"{row.operation}: {row.job}", name, factor)
        for row in results.rows
        for name, factor in factors(row).items()
        if name not in MARKS
    ]
    rivals = list(dict.fromkeys(name for _, name, _ in bars))
    jobs = list(dict.fromkeys(job for job, _, _ in bars))
    figure = Figure(figsize=(9, 1.2 + 0.17 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    places, ticks = [], []
    at = 0.0
    for job in jobs:
        of_job = [bar for bar in bars if bar[0] == job]
        ticks.append(at + (len(of_job) - 1) / 2)
        places += [at + i for i in range(len(of_job))]
        at += len(of_job) + 0.8
    for rival, colour in zip(rivals, cycle(_COLOURS), strict=False):
        mine = [(place, factor - 1) for place, (_, name, factor) in zip(places, bars, strict=True) if name == rival]
        at_y, widths = zip(*mine, strict=True)
        axes.barh(at_y, widths, left=1, height=0.9, color=colour, label=rival)
    for place, (_, _, factor) in zip(places, bars, strict=True):
        side = "left" if factor >= 1 else "right"
        axes.annotate(f" {_rounded(factor, 2)} ", (factor, place), va="center", ha=side, fontsize=6)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(ticks, jobs, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("times as long as fastimg (left of the line, the rival is faster)")
    axes.set_title(_title(results), fontsize=8)
    axes.margins(y=0.01)
    figure.legend(fontsize=7, loc="outside upper center", ncols=min(len(rivals), _LEGEND_COLUMNS))
    return figure


def time_against_size(results: Results) -> Figure | None:
    """Milliseconds against pixels, both logarithmic, of each family of jobs that differ in size alone, if any."""
    from matplotlib.figure import Figure

    families = _families(results.rows)
    if not families:
        return None
    figure = Figure(figsize=(4 * len(families), 3.6), layout="constrained")
    for number, (name, rows) in enumerate(families.items(), 1):
        axes = figure.add_subplot(1, len(families), number)
        for contender in dict.fromkeys(n for row in rows for n in row.timings):
            points = [(_pixels(row), row.timings[contender].median) for row in rows if contender in row.timings]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=contender)
        axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="ms", title=name)
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.suptitle(_title(results), fontsize=8)
    return figure


def _title(results: Results) -> str:
    machine = results.machine
    return f"{machine['processor']} ({machine['instructions']}), {results.threads} threads, medians, {results.date}"


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of an operation with equal parameters but for their size, those with three sizes and more."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if "size" in row.parameters:
            rest = ", ".join(f"{name} {value}" for name, value in row.parameters.items() if name != "size")
            families.setdefault(f"{row.operation}, {rest}", []).append(row)
    return {
        name: sorted(family, key=_pixels) for name, family in families.items() if len({_pixels(r) for r in family}) > 2
    }


def _pixels(row: Row) -> int:
    pixels: int = int(row.parameters["size"]) ** int(row.parameters.get("ndim", 2))
    return pixels


def png(figure: Figure, dpi: int = 120) -> bytes:
    """A figure as the content of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    FigureCanvasAgg(figure)
    metadata: dict[str, Any] = {"Software": None}
    figure.savefig(content, format="png", dpi=dpi, metadata=metadata)
    return content.getvalue()
