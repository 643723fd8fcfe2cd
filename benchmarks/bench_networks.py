"""Super-resolution networks against ONNX Runtime and PyTorch."""

from functools import partial

from fastimg.benchmarks import networks


def _job(network, width, height, padding_mode):
    return f"{network}-{width}x{height}-{padding_mode}", partial(networks.job, network, width, height, padding_mode)


SHORT = [
    _job("FSRCNN ×2", 960, 540, "zeros"),
    _job("FSRCNN ×2", 256, 256, "replicate"),
    _job("FSRCNN-s ×3", 960, 540, "zeros"),
    _job("SRCNN 9-1-5", 960, 540, "zeros"),
]
LONG = [
    _job("FSRCNN ×2", 960, 540, "replicate"),
    _job("FSRCNN ×2", 256, 256, "zeros"),
    _job("FSRCNN ×4", 480, 270, "zeros"),
    _job("FSRCNN-s ×3", 960, 540, "replicate"),
    _job("SRCNN 9-5-5", 960, 540, "zeros"),
]


def test_network(race, make):
    race(make)
