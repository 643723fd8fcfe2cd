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


def as_seen(colours, alpha):
    """Colours (H, W, C), those of far less alpha than around them mixed with what is seen there, level by level."""
    mean = np.where((alpha > 0)[..., np.newaxis], colours, 0)
    if alpha.shape == (1, 1):
        return mean
    alpha = alpha[..., np.newaxis]
    half = [(n + 1) // 2 for n in alpha.shape[:2]]
    weight, weighted = (resize.resize(x, half, "nearest") for x in (alpha, mean * alpha))
    coarse = as_seen(weighted / np.where(weight > 0, weight, 1), weight[..., 0])
    seen, around = (resize.resize(x, alpha.shape[:2], "bilinear") for x in (coarse, weight))
    share = np.minimum(4 * alpha / np.where(around > 0, around, 1), 1)
    return share * mean + (1 - share) * seen


def enlarge(layers, image, scale, takes_enlarged=False, levels=None):
    """Enlarge a grey, grey and alpha, RGB or RGBA image with values in [0, 1], or in whole `levels` from 0 to 1."""
    size = tuple(n * scale for n in np.shape(image)[:2])
    return upscale([(layers, scale, takes_enlarged)], image, size, levels)


def upscale(steps, image, size, levels=None):
    """Enlarge by several networks, (layers, scale, whether they take an enlarged image), and resize to `size`."""
    image = np.asarray(image, np.float64)
    if image.ndim == 2:
        return upscale(steps, image[..., np.newaxis], size, levels)[..., 0]
    channels = image.shape[2]
    if channels in (2, 4):
        alpha = np.clip(resize.resize(image[..., -1], size, mode="symmetric"), 0, 1)
        colours = as_seen(image[..., :-1], image[..., -1])
        if levels is not None:
            colours = np.rint(colours * levels) / levels
        return np.concatenate([upscale(steps, colours, size), alpha[..., np.newaxis]], axis=-1)
    if not steps:
        return np.clip(resize.resize(image, size, mode="symmetric"), 0, 1)
    if channels == 1:
        planes = [image[..., 0], np.full(image.shape[:2], 128 / 255), np.full(image.shape[:2], 128 / 255)]
    else:
        planes = list(np.moveaxis(color.rgb2ycbcr(image), -1, 0) / 255)
    luma_range = (0, 1) if channels == 1 else (16 / 255, 235 / 255)
    seen = steps[0][0][0].weight.shape[1]
    x = np.stack(planes[:seen])
    for i, (layers, scale, takes_enlarged) in enumerate(steps):
        if takes_enlarged:
            x = np.stack([bicubic(p, scale) for p in x])
        x = run(layers, x[np.newaxis])[0]
        if i < len(steps) - 1 or x.shape[1:] != size:
            x[0] = np.clip(x[0], *luma_range)
    planes = [resize.resize(p, size, mode="symmetric") for p in (*x, *planes[seen:])]
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
