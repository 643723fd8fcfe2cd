"""Super-resolution networks against ONNX Runtime and PyTorch."""

from functools import partial

from fastimg.benchmarks import networks


def _job(network, width, height, padding_mode, images=1, precision="float32"):
    name = f"{network}-{width}x{height}-{padding_mode}-{precision}"
    return name, partial(networks.job, network, width, height, padding_mode, images=images, precision=precision)


SHORT = [
    _job("FSRCNN ×2", 960, 540, "zeros"),
    _job("FSRCNN ×2", 960, 540, "zeros", precision="bfloat16"),
    _job("FSRCNN ×2", 256, 256, "replicate"),
    _job("FSRCNN-s ×3", 960, 540, "zeros"),
    _job("SRCNN 9-1-5", 1920, 1080, "zeros"),
    _job("4 layers of 16", 28, 28, "zeros", images=10_000),
]
LONG = [
    _job("FSRCNN ×2", 960, 540, "replicate"),
    _job("FSRCNN ×2", 256, 256, "zeros"),
    _job("FSRCNN ×4", 480, 270, "zeros"),
    _job("FSRCNN-s ×2", 720, 480, "zeros"),
    _job("FSRCNN-s ×2", 720, 480, "zeros", precision="bfloat16"),
    _job("FSRCNN-s ×3", 960, 540, "replicate"),
    _job("FSRCNN of OpenCV ×2", 960, 540, "zeros"),
    _job("FSRCNN of OpenCV ×3", 640, 360, "zeros"),
    _job("FSRCNN of OpenCV ×4", 480, 270, "zeros"),
    _job("SRCNN 9-5-5", 1920, 1080, "zeros"),
    _job("SRCNN 9-5-5", 1920, 1080, "zeros", precision="bfloat16"),
    _job("DnCNN", 512, 512, "zeros"),
    _job("DnCNN", 512, 512, "zeros", precision="bfloat16"),
]


def test_network(race, make):
    race(make)
