"""Jobs, and races between those who can do them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OURS = "fastimg"

Run = Callable[[], Any]  # does the work once and returns the result


class Mismatch(ValueError):
    """A rival computes something else: there is nothing to time."""


@dataclass(frozen=True)
class Job:
    """One piece of work.

    `contenders` do it, fastimg first; `tolerances` say by how much a rival's result may differ from fastimg's, in the
    result's units. A contender without one is not compared: it does not do the work but sets a mark, as a copy does.
    """

    operation: str
    name: str
    parameters: Mapping[str, str | int | float]
    contenders: Mapping[str, Run]
    tolerances: Mapping[str, float]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one contender."""

    median: float
    lower_quartile: float
    upper_quartile: float
    rounds: int

    @classmethod
    def of(cls, samples: list[float]) -> Timing:
        """From the milliseconds of all rounds."""
        median, lower, upper = (float(q) for q in np.quantile(samples, (0.5, 0.25, 0.75)))
        return cls(median, lower, upper, len(samples))


@dataclass(frozen=True)
class Row:
    """What a job took each contender, and how far the rivals' results are from fastimg's."""

    operation: str
    job: str
    parameters: Mapping[str, str | int | float]
    timings: Mapping[str, Timing]
    differences: Mapping[str, float]


def contenders(ours: Run, **rivals: Callable[[], Run]) -> dict[str, Run]:
    """Those who can take part: fastimg, and of the rivals those whose maker finds its library.

    A name's underscores stand for spaces.
    """
    present = {OURS: ours}
    for name, make in rivals.items():
        try:
            present[name.replace("_", " ")] = make()
        except ImportError:
            continue
    return present


def compared(job: Job) -> dict[str, float]:
    """The largest difference of each rival's result from fastimg's.

    Raises
    ------
    Mismatch
        If one is above its tolerance.
    """
    expected = np.array(job.contenders[OURS](), np.float64)
    differences = {}
    for name, tolerance in job.tolerances.items():
        if name not in job.contenders:
            continue
        result = np.asarray(job.contenders[name](), np.float64)
        if result.shape != expected.shape:
            raise Mismatch(f"{job.name}: {name} makes {result.shape} of what fastimg makes {expected.shape}")
        differences[name] = float(np.abs(result - expected).max())
        if not differences[name] <= tolerance:
            raise Mismatch(f"{job.name}: {name} differs by {differences[name]:g}, {tolerance:g} is accepted")
    return differences


def interleaved(contenders: Mapping[str, Run], seconds: float) -> dict[str, Timing]:
    """Time all in turns for about `seconds`, at least five rounds, after one round to warm up.

    Whatever else the machine does meets them alike.
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds
    while len(times[OURS]) < 5 or time.perf_counter() < end:
        for name, run in contenders.items():
            times[name].append(milliseconds(run))
    return {name: Timing.of(samples) for name, samples in times.items()}


def milliseconds(run: Run) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def race(job: Job, seconds: float = 1.0) -> Row:
    """Compare, then time.

    Raises
    ------
    Mismatch
        If a rival computes something else.
    """
    differences = compared(job)
    return Row(job.operation, job.name, job.parameters, interleaved(job.contenders, seconds), differences)
