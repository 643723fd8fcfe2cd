"""Super-resolution networks layer by layer in float64, what they do with an image, and the papers' protocol."""

import numpy as np

from . import color, metrics, resize
from .conv2d import conv2d
from .conv_transpose2d import conv_transpose2d


def pixel_shuffle(x, r):
    n, c, h, w = x.shape
    return x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


def run(layers, x):
    """NCHW through a list of fastimg's layers."""
    for layer in layers:
        if hasattr(layer, "factor"):
            x = pixel_shuffle(x, layer.factor)
            continue
        options = {k: getattr(layer, k) for k in ("stride", "padding", "dilation", "groups", "padding_mode")}
        options |= {"activation": layer.activation, "slope": layer.slope}
        if hasattr(layer, "output_padding"):
            x = conv_transpose2d(x, layer.weight, layer.bias, output_padding=layer.output_padding, **options)
        else:
            x = conv2d(x, layer.weight, layer.bias, **options)
    return x


def bicubic(x, scale):
    return resize.resize(x, (x.shape[0] * scale, x.shape[1] * scale), mode="symmetric")


def enlarge(layers, image, scale, takes_enlarged=False):
    """Enlarge a grey, grey and alpha, RGB or RGBA image with values in [0, 1]."""
    image = np.asarray(image, np.float64)
    if image.ndim == 2:
        return enlarge(layers, image[..., np.newaxis], scale, takes_enlarged)[..., 0]
    channels = image.shape[2]
    if channels in (2, 4):
        alpha = np.clip(bicubic(image[..., -1], scale), 0, 1)
        colours = enlarge(layers, image[..., :-1], scale, takes_enlarged)
        return np.concatenate([colours, alpha[..., np.newaxis]], axis=-1)
    if channels == 1:
        planes = [image[..., 0], np.full(image.shape[:2], 128 / 255), np.full(image.shape[:2], 128 / 255)]
    else:
        planes = list(np.moveaxis(color.rgb2ycbcr(image), -1, 0) / 255)
    seen = layers[0].weight.shape[1]
    x = np.stack([bicubic(p, scale) if takes_enlarged else p for p in planes[:seen]])
    planes = [*run(layers, x[np.newaxis])[0], *(bicubic(p, scale) for p in planes[seen:])]
    result = planes[0][..., np.newaxis] if channels == 1 else color.ycbcr2rgb(np.stack(planes, axis=-1) * 255)
    return np.clip(result, 0, 1)


def protocol_pair(rgb, scale):
    """Luma of a uint8 image cut to a multiple of `scale` (uint8), and its bicubic reduction (float in [0, 1])."""
    luma = color.rgb2ycbcr_integer(rgb)[..., 0]
    h, w = (n // scale * scale for n in luma.shape)
    luma = luma[:h, :w]
    return luma, resize.resize(luma / 255, (h // scale, w // scale), mode="symmetric")


def protocol_quality(luma, enlarged, scale):
    """PSNR and SSIM of a result in [0, 1] as the papers report them: rounded to 8 bits, `scale` pixels shaved off."""
    result = color.to_integer(enlarged.astype(np.float64) * 255, np.uint8)
    truth, result = (a[scale:-scale, scale:-scale] for a in (luma, result))
    psnr = metrics.peak_signal_noise_ratio(truth, result, 255)
    ssim = metrics.structural_similarity(truth, result, 255, gaussian_weights=True, use_sample_covariance=False)
    return psnr, ssim
