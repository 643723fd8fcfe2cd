"""The choice of an instruction set."""

from __future__ import annotations

import platform

import pytest
from conftest import run_python

import fastimg
from fastimg import _fastimg_cpu

PRINT = "import fastimg; print(fastimg.get_config()['target in use'])"


def test_targets_of_this_build():
    built, supported = _fastimg_cpu.built_targets(), _fastimg_cpu.supported_targets()
    assert built == (["baseline", "v3", "v4"] if platform.machine() == "x86_64" else ["baseline"])
    assert supported == built[: len(supported)]  # each level holds those below it
    assert "baseline" in supported
    config = fastimg.get_config()
    assert (config["targets built"], config["targets supported here"]) == (built, supported)


def test_best_target_is_chosen():
    assert run_python(PRINT).stdout.strip() == _fastimg_cpu.supported_targets()[-1]
    assert run_python(PRINT, FASTIMG_CPU="").stdout.strip() == _fastimg_cpu.supported_targets()[-1]


@pytest.mark.parametrize("name", _fastimg_cpu.built_targets())
def test_environment_chooses(name):
    result = run_python(PRINT, FASTIMG_CPU=name)
    if name in _fastimg_cpu.supported_targets():
        assert result.stdout.strip() == name
    else:
        supported = ", ".join(_fastimg_cpu.supported_targets())
        assert result.stderr.splitlines()[-1] == (
            f"ImportError: environment variable FASTIMG_CPU: this processor does not run the instruction set '{name}'; "
            f"it runs: {supported}"
        )


@pytest.mark.parametrize("name", ["avx2", "V3", " v3", "v3,v4"])
def test_unknown_choice(name):
    result = run_python(PRINT, FASTIMG_CPU=name)
    built = ", ".join(_fastimg_cpu.built_targets())
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: environment variable FASTIMG_CPU: unknown instruction set '{name}'; this build has: {built}"
    )


def test_choice_at_run_time(target):
    assert _fastimg_cpu.active_target() == target
    assert fastimg.get_config()["target in use"] == target


def test_wrong_choice_changes_nothing():
    before = _fastimg_cpu.active_target()
    with pytest.raises(ValueError, match="unknown instruction set 'sse9'; this build has: baseline"):
        _fastimg_cpu.select_target("sse9")
    assert _fastimg_cpu.active_target() == before
