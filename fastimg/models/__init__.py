"""Networks that are data: a list of layers and a file of weights.

`PlainSR`, `FSRCNN`, `FSRCNN_s` and `SRCNN` enlarge images; `SuperResolution` does so with layers of your own, and
`upscale` with several models in turn, to any size.
`DnCNN` and `DnCNN_s` denoise, `DigitDenoiser` handwritten digits. `Network` runs any chain of `Conv2d`,
`ConvTranspose2d`, `PixelShuffle` and `Add`.
"""

from .denoising import DigitDenoiser, DnCNN, DnCNN_s
from .layers import Add, Conv2d, ConvTranspose2d, Layer, Network, PixelShuffle
from .super_resolution import FSRCNN, SRCNN, FSRCNN_s, PlainSR, SuperResolution
from .upscaling import upscale

__all__ = [
    "FSRCNN",
    "SRCNN",
    "Add",
    "Conv2d",
    "ConvTranspose2d",
    "DigitDenoiser",
    "DnCNN",
    "DnCNN_s",
    "FSRCNN_s",
    "Layer",
    "Network",
    "PixelShuffle",
    "PlainSR",
    "SuperResolution",
    "upscale",
]
