"""Gaussian filter, as ``skimage.filters.gaussian`` computes it."""

import numpy as np

from .borders import take


def taps(sigma, truncate=4.0):
    """Normalised taps, radius int(truncate * sigma + 0.5); a single 1 where sigma is 0."""
    if sigma == 0:
        return np.ones(1)
    radius = int(truncate * sigma + 0.5)
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()


def gaussian(image, sigma=1.0, mode="nearest", cval=0.0, truncate=4.0, channel_axis=None):
    """Filter each spatial axis in turn; `sigma` is a number or one per spatial axis."""
    result = np.asarray(image, np.float64)
    axes = [axis for axis in range(result.ndim) if channel_axis is None or axis != channel_axis % result.ndim]
    for axis, s in zip(axes, np.broadcast_to(sigma, len(axes)), strict=True):
        weights = taps(float(s), truncate)
        radius = len(weights) // 2
        position = np.arange(result.shape[axis])
        result = sum(
            weight * take(result, position + offset, axis, mode, cval)
            for offset, weight in zip(range(-radius, radius + 1), weights, strict=True)
        )
    return result
