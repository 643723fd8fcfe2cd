"""Image quality, as ``skimage.metrics`` computes it, in float64."""

import numpy as np

from .borders import take
from .gaussian import gaussian


def mean_squared_error(image0, image1):
    return np.mean((np.asarray(image0, np.float64) - np.asarray(image1, np.float64)) ** 2)


def peak_signal_noise_ratio(image_true, image_test, data_range):
    return 10 * np.log10(data_range**2 / mean_squared_error(image_true, image_test))


def uniform(x, width):
    """Mean over windows of `width` samples along every axis, borders mirrored with the border sample."""
    for axis in range(x.ndim):
        position = np.arange(x.shape[axis])
        offsets = range(-(width // 2), width // 2 + 1)
        x = sum(take(x, position + offset, axis, "reflect") for offset in offsets) / width
    return x


def structural_similarity(
    image0,
    image1,
    data_range,
    win_size=None,
    gaussian_weights=False,
    sigma=1.5,
    K1=0.01,
    K2=0.03,
    use_sample_covariance=True,
    channel_axis=None,
    full=False,
):
    """Mean similarity of the pixels whose window lies inside; with `full` also the map of all pixels."""
    x, y = np.asarray(image0, np.float64), np.asarray(image1, np.float64)
    if channel_axis is not None:
        planes = zip(np.moveaxis(x, channel_axis, 0), np.moveaxis(y, channel_axis, 0), strict=True)
        options = (data_range, win_size, gaussian_weights, sigma, K1, K2, use_sample_covariance)
        means, maps = zip(*(structural_similarity(a, b, *options, full=True) for a, b in planes), strict=True)
        return (np.mean(means), np.stack(maps, axis=channel_axis)) if full else np.mean(means)

    if win_size is None:
        win_size = 2 * int(3.5 * sigma + 0.5) + 1 if gaussian_weights else 7

    def local_mean(a):
        return gaussian(a, sigma, mode="reflect", truncate=3.5) if gaussian_weights else uniform(a, win_size)

    samples = win_size**x.ndim
    correction = samples / (samples - 1) if use_sample_covariance else 1.0
    ux, uy = local_mean(x), local_mean(y)
    vx = correction * (local_mean(x * x) - ux * ux)
    vy = correction * (local_mean(y * y) - uy * uy)
    vxy = correction * (local_mean(x * y) - ux * uy)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    ssim = (2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
    margin = win_size // 2
    mean = ssim[tuple(slice(margin, n - margin) for n in ssim.shape)].mean()
    return (mean, ssim) if full else mean
