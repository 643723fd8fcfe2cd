"""The checked-in types of the extension are those of the extension."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from conftest import ROOT

import fastimg


def test_stubs_are_current(monkeypatch, tmp_path):
    pytest.importorskip("pybind11_stubgen")
    spec = importlib.util.spec_from_file_location("make_stubs", ROOT / "tools" / "make_stubs.py")
    assert spec is not None
    assert spec.loader is not None
    make_stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_stubs)
    package = str(Path(fastimg.__file__).resolve().parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)  # so that no other copy of the package is found first
    assert make_stubs.stubs() == (ROOT / "fastimg" / "_fastimg_cpu.pyi").read_text(), "run `make stubs`"
