"""Warping from its definition: where each pixel lies, what stands around that place, and a weighted sum of it."""

import numpy as np

from .borders import source

BORDERS = {"constant": "constant", "edge": "nearest", "symmetric": "reflect", "reflect": "mirror", "wrap": "wrap"}


def places(matrix, shape):
    """Rows and columns, each of `shape`, that a matrix gives to the pixels of the result."""
    y, x = np.indices(shape, np.float64)
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(matrix, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = g * x + h * y + i
        return np.stack([(d * x + e * y + f) / w, (a * x + b * y + c) / w])


def taps(position, order):
    """Of one axis: the pixels around each position, and their weights; `order` 0, 1, 3 or "lanczos"."""
    if order == 0:
        return [(np.floor(position + 0.5), np.ones_like(position))]
    left = np.floor(position)
    t = position - left
    if order == 1:
        return [(left, 1 - t), (left + 1, t)]

    if order == "lanczos":
        weights = [np.sinc(t - k) * np.sinc((t - k) / 3) for k in range(-2, 4)]
        return [(left + k, weight / sum(weights)) for k, weight in zip(range(-2, 4), weights, strict=True)]

    def keys(x):
        x = np.abs(x)
        return np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * (x - 1) * (x - 2) ** 2, 0))

    return [(left + k, keys(t - k)) for k in (-1, 0, 1, 2)]


def warp(image, coordinates, order=1, mode="constant", cval=0.0, clip=True):
    """Warp the first two axes, in float64; `coordinates` are rows, then columns."""
    image = np.asarray(image, np.float64)
    coordinates = np.asarray(coordinates, np.float64)
    finite = np.isfinite(coordinates).all(axis=0)
    rows, columns = np.clip(np.where(finite, coordinates, 0), -(2.0**30), 2.0**30)
    extra = (1,) * (image.ndim - 2)
    result = np.zeros((*rows.shape, *image.shape[2:]))
    beside = np.ones(rows.shape, bool)
    along_rows, along_columns = (
        [(source(place.astype(np.int64), length, BORDERS[mode]), weight) for place, weight in taps(position, order)]
        for position, length in zip((rows, columns), image.shape, strict=False)
    )
    for i, weight_y in along_rows:
        for j, weight_x in along_columns:
            outside = (i < 0) | (j < 0)
            beside &= outside
            weight = (weight_y * weight_x).reshape(*rows.shape, *extra)
            sample = np.where(outside.reshape(weight.shape), cval, image[np.maximum(i, 0), np.maximum(j, 0)])
            result += np.where(weight == 0, 0, weight * sample) if order == 1 else weight * sample
    if clip and order not in (0, 1):
        low, high = np.nanmin(image), np.nanmax(image)
        if mode == "constant":
            low, high = np.fmin(low, cval), np.fmax(high, cval)
        result = np.clip(result, low, high)
    result[beside | ~finite] = cval
    return result
