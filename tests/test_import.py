"""What `import fastimg` costs and brings along."""

from __future__ import annotations

import json

import pytest
from conftest import run_python

import fastimg

LIGHT = ("augment", "color", "filters", "metrics", "nn", "opencv", "restoration", "transform", "util")


def test_import_is_quick():
    code = "import time, numpy; t = time.process_time(); import fastimg; print(time.process_time() - t)"
    seconds = min(float(run_python(code).stdout) for _ in range(5))
    assert seconds < 0.05  # beyond NumPy, which takes 0.1 s


@pytest.mark.parametrize("modules", [(), LIGHT], ids=["package", "modules"])
def test_import_loads_nothing_heavy(modules):
    lines = ["import json, sys, fastimg", *(f"import fastimg.{name}" for name in modules)]
    code = "\n".join([*lines, "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"])
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout))
    assert not loaded & {"torch", "skimage", "cupy", "numba", "scipy", "PIL", "pyvips", "matplotlib", "cv2", "tqdm"}
    assert "numpy" in loaded


def test_modules_are_attributes():
    for name in LIGHT:
        assert getattr(fastimg, name).__name__ == f"fastimg.{name}"
        assert name in dir(fastimg)
    with pytest.raises(AttributeError, match="module 'fastimg' has no attribute 'photos'"):
        fastimg.photos  # noqa: B018


def test_config_names_everything(capsys):
    fastimg.show_config()
    printed = capsys.readouterr().out
    for key in ("fastimg", "numpy", "compiler", "targets built", "target in use", "threads", "cupy", "gpu"):
        assert key in printed
        assert key in fastimg.get_config()
