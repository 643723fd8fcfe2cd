"""The fixture `race`: pytest-benchmark times fastimg, and its rivals take their turns between the rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fastimg
from fastimg.benchmarks import Job, Row, Timing, compared
from fastimg.benchmarks.races import OURS, milliseconds
from fastimg.benchmarks.report import factors, markdown, png, ratio_bars, time_against_size
from fastimg.benchmarks.results import Results, machine, versions

collect_ignore = ["bench_cuda.py"]  # a program of its own, for a machine with a GPU

LEAST_ROUNDS = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastimg")
    group.addoption("--full", action="store_true", help="all jobs, not the short set")
    group.addoption("--seconds", type=float, default=1.0, help="for each job (default: %(default)s)")
    group.addoption("--threads", type=int, default=fastimg.get_num_threads(), help="of every contender")
    group.addoption("--results", type=Path, metavar="STEM", help="write STEM.json, STEM.md and plots beside them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A benchmark's module lists its jobs: those of the short set, and those that --full adds."""
    short, long = metafunc.module.SHORT, metafunc.module.LONG
    jobs = [*short, *long] if metafunc.config.getoption("--full") else short
    metafunc.parametrize("make", [pytest.param(make, id=name) for name, make in jobs])


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    machine_info["fastimg"] = machine() | {"versions": versions(), "threads": config.getoption("--threads")}


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """What has been measured; at the end it is written where --results tells."""
    found: list[Row] = []
    yield found
    stem = request.config.getoption("--results")
    if stem and found:
        write(Results.of(found, request.config.getoption("--threads")), stem)


def write(results: Results, stem: Path) -> None:
    """The results, and what the README shows of them."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    results.save(stem.with_suffix(".json"))
    stem.with_suffix(".md").write_text(markdown(results) + "\n")
    stem.with_name(f"{stem.name}-ratios.png").write_bytes(png(ratio_bars(results)))
    sizes = time_against_size(results)
    if sizes is not None:
        stem.with_name(f"{stem.name}-sizes.png").write_bytes(png(sizes))


@pytest.fixture
def race(benchmark, request: pytest.FixtureRequest, rows: list[Row]) -> Callable[[Callable[[int], Job]], None]:
    """Run a job: compare the results, then time."""

    def run(make: Callable[[int], Job]) -> None:
        job = make(request.config.getoption("--threads"))
        differences = compared(job)
        rivals = {name: run for name, run in job.contenders.items() if name != OURS}
        times: dict[str, list[float]] = {name: [] for name in rivals}

        def turn_of_the_rivals() -> None:
            for name, run in rivals.items():
                times[name].append(milliseconds(run))

        a_round = milliseconds(turn_of_the_rivals) + milliseconds(job.contenders[OURS])
        rounds = max(LEAST_ROUNDS, round(1e3 * request.config.getoption("--seconds") / a_round))
        for samples in times.values():
            samples.clear()
        benchmark.pedantic(job.contenders[OURS], setup=turn_of_the_rivals, rounds=rounds)
        timings = {OURS: Timing.of([1e3 * t for t in benchmark.stats.stats.data])}
        timings |= {name: Timing.of(samples) for name, samples in times.items()}
        rows.append(Row(job.operation, job.name, job.parameters, timings, differences))
        benchmark.extra_info.update(job=job.name, factors=factors(rows[-1]))

    return run
