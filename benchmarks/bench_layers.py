"""Single convolutions and deconvolutions against ONNX Runtime and PyTorch."""

from functools import partial

from fastimg.benchmarks.layers import LAYERS, job

_SHORT = ("conv 3×3, 12→12", "deconv 9×9, 56→1, stride 2", "conv 3×3, 64→64", "conv 3×3, 16→16, 256 images")

SHORT = [(name, partial(job, name)) for name in LAYERS if name in _SHORT]
LONG = [(name, partial(job, name)) for name in LAYERS if name not in _SHORT]


def test_layer(race, make):
    race(make)
