"""The benchmarks as a program: every kind of job on a small input, results as data, tables, plots."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from fastimg import _fastimg_cpu, cli
from fastimg.benchmarks import (
    Job,
    Mismatch,
    Row,
    Timing,
    compared,
    contenders,
    denoise_nl_means,
    gaussian,
    interleaved,
    layers,
    networks,
    quick,
    race,
    resize,
    structural_similarity,
    warp,
)
from fastimg.benchmarks.report import factors, markdown, png, ratio_bars, time_against_size
from fastimg.benchmarks.results import Results, schema

PUBLISHED = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"))

JOBS = {
    "gaussian": partial(gaussian.job, 48, 1, "float32", 1.0),
    "gaussian, RGB": partial(gaussian.job, 48, 3, "uint8", 1.0),
    "gaussian, recursive": partial(gaussian.job, 48, 1, "float32", 10.0),
    "denoise_nl_means, uint8": partial(denoise_nl_means.same_work, 40, 3, "uint8"),
    "denoise_nl_means, float32": partial(denoise_nl_means.same_work, 40, 1, "float32"),
    "denoise_nl_means, scikit-image": partial(denoise_nl_means.like_scikit_image, 40, 2),
    "denoise_nl_means, volume": partial(denoise_nl_means.like_scikit_image, 14, 3),
    "fastNlMeansDenoising": partial(denoise_nl_means.drop_in, "fastNlMeansDenoising", 40),
    "fastNlMeansDenoisingColored": partial(denoise_nl_means.drop_in, "fastNlMeansDenoisingColored", 40),
    "resize, larger": partial(resize.job, 64, 3, 2.0, "bicubic"),
    "resize, smaller": partial(resize.job, 64, 1, 0.3, "bilinear"),
    "warp": partial(warp.job, 40, 60, 3, "float32", "bilinear"),
    "warp, bicubic": partial(warp.job, 300, 400, 1, "uint8", "bicubic"),
    "warp, lens": partial(warp.lens, 40, 60, 3, "uint8"),
    "structural_similarity": partial(structural_similarity.job, 64, "uint8"),
    "network": partial(networks.job, "FSRCNN ×2", 24, 16, "zeros"),
    "network, replicate": partial(networks.job, "FSRCNN-s ×3", 24, 16, "replicate"),
    "network, bfloat16": partial(networks.job, "FSRCNN ×2", 24, 16, "zeros", precision="bfloat16"),
    "network, pixel shuffle": partial(networks.job, "FSRCNN of OpenCV ×3", 24, 16, "zeros"),
    "network, relu": partial(networks.job, "SRCNN 9-1-5", 24, 16, "replicate"),
    "layer": partial(layers.job, "conv 3×3, 512→512"),
    "layer, transposed": partial(layers.job, "deconv 4×4, 64→32, stride 2"),
}


@pytest.mark.parametrize("name", JOBS)
def test_contenders_do_the_same(name):
    job = JOBS[name](threads=2)
    assert len(job.contenders) > 1
    assert set(compared(job)) == set(job.contenders) & set(job.tolerances)
    assert set(job.contenders) - set(job.tolerances) <= {"fastimg", "copy", "multiply-adds alone"}


@pytest.mark.parametrize("name", layers.LAYERS)
def test_layers_are_what_they_are_called(name):
    layer, _ = layers.LAYERS[name]
    kernel = int(name.split()[1][0])
    assert layer.weight.shape[2:] == (kernel, kernel)


def simple(result=1.0, tolerance=0.5) -> Job:
    rivals = {"rival": lambda: lambda: np.array([result]), "copy": lambda: lambda: None}
    return Job("operation", "a job", {"size": 3}, contenders(lambda: np.array([1.0]), **rivals), {"rival": tolerance})


def test_a_rival_that_computes_something_else_is_not_timed():
    assert compared(simple(1.25)) == {"rival": 0.25}
    with pytest.raises(Mismatch, match=r"a job: rival differs by 1, 0\.5 is accepted"):
        race(simple(2.0), 0.0)
    with pytest.raises(Mismatch, match="rival differs by nan"):
        race(simple(np.nan), 0.0)
    with pytest.raises(Mismatch, match=r"rival makes \(1, 2\) of what fastimg makes \(1,\)"):
        race(simple(np.ones(2)), 0.0)


def test_rivals_that_are_not_installed_take_no_part():
    def missing():
        raise ImportError("no such library")

    present = contenders(lambda: 1, absent=missing, some_rival=lambda: lambda: 1)
    assert list(present) == ["fastimg", "some rival"]


def test_contenders_run_in_turns():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in ("fastimg", "rival")}
    timings = interleaved(runs, 0.0)
    assert order == ["fastimg", "rival"] * 6
    assert timings["rival"].rounds == 5
    assert 0 < timings["rival"].lower_quartile <= timings["rival"].median <= timings["rival"].upper_quartile


def test_a_timing_is_a_median():
    assert Timing.of([4.0, 1.0, 2.0, 3.0, 100.0]) == Timing(3.0, 2.0, 4.0, 5)


def results() -> Results:
    def row(size: int, ours: float, rival: float) -> Row:
        timings = {"fastimg": Timing(ours, ours, ours, 5), "rival": Timing(rival, rival, rival, 5)}
        return Row("blur", f"{size}²", {"size": size, "dtype": "uint8"}, timings, {"rival": 0.0})

    return Results.of([row(64, 1.0, 2.5), row(128, 2.0, 1.0), row(256, 4.0, 80.0)], threads=2)


def test_results_as_data(tmp_path):
    written = results()
    written.save(tmp_path / "results.json")
    jsonschema.validate(json.loads((tmp_path / "results.json").read_text()), schema())
    assert Results.load(tmp_path / "results.json") == written


@pytest.mark.parametrize("change", [{"rows": []}, {"threads": 0}, {"date": "today"}, {"machine": {}}, {"more": 1}])
def test_the_schema_refuses(tmp_path, change):
    results().save(tmp_path / "results.json")
    content = json.loads((tmp_path / "results.json").read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema())


def test_the_table_shows_losses():
    assert [factors(row)["rival"] for row in results().rows] == [2.5, 0.5, 20.0]
    lines = markdown(results()).splitlines()
    assert lines[2] == "| `blur` | 64² | 1 | 2.5 (2.5 ×) |"
    assert lines[3] == "|  | 128² | 2 | 1 (**0.50 ×**) |"
    assert "2 threads" in lines[-1]


def test_plots():
    for figure in (ratio_bars(results()), time_against_size(results())):
        content = png(figure, dpi=50)
        assert content.startswith(b"\x89PNG")
        assert len(content) > 3000
    assert time_against_size(replace(results(), rows=results().rows[:1])) is None


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_results(path):
    """What is published follows the schema, and its table and plots belong to it."""
    jsonschema.validate(json.loads(path.read_text()), schema())
    assert path.with_suffix(".md").read_text() == markdown(Results.load(path)) + "\n"
    assert path.with_name(f"{path.stem}-ratios.png").read_bytes().startswith(b"\x89PNG")
    assert path.with_name(f"{path.stem}-sizes.png").exists() == (time_against_size(Results.load(path)) is not None)


def test_bench_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quick, "jobs", lambda threads: [partial(JOBS["gaussian"], threads)])
    path = tmp_path / "results.json"
    assert cli.main(["bench", "--seconds", "0.01", "--threads", "1", "--output", str(path)]) == 0
    assert "| `gaussian` | 48² grey float32, σ = 1 |" in capsys.readouterr().out
    assert Results.load(path).threads == 1
    assert cli.main(["bench", "--output", str(tmp_path / "nowhere" / "results.json")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_quick_jobs_are_of_every_kind():
    assert len({make.func for make in quick.jobs(1)}) == 9


@pytest.mark.parametrize("make", [partial(networks.job, "FSRCNN-s ×2", 24, 16, "zeros"), JOBS["layer, transposed"]])
def test_avx2_beside_avx512(target, make):
    job = make(threads=1)
    assert ("fastimg, AVX2" in job.contenders) == (target == "v4")
    if target == "v4":
        result = np.array(job.contenders["fastimg, AVX2"]())
        assert _fastimg_cpu.active_target() == "v4"
        _fastimg_cpu.select_target("v3")
        np.testing.assert_array_equal(job.contenders["fastimg"](), result)


def test_no_mark_is_a_loss():
    timings = {name: Timing(1.0, 1.0, 1.0, 5) for name in ("rival", "fastimg, AVX2")}
    rows = [Row("blur", "a job", {"size": 64}, {"fastimg": Timing(2.0, 2.0, 2.0, 5)} | timings, {})]
    assert "| 1 (**0.50 ×**) | 1 (0.50 ×) |" in markdown(Results.of(rows, threads=1))


def test_multiply_adds_of_a_network():
    layers_of_fsrcnn = networks.NETWORKS["FSRCNN ×2"]
    assert networks.multiply_adds(layers_of_fsrcnn, (3, 1, 10, 20)) == 3 * 200 * 12_464
    deconvolution = layers_of_fsrcnn[-1:]
    assert networks.multiply_adds(deconvolution, (1, 56, 10, 20)) == 200 * 56 * 81
