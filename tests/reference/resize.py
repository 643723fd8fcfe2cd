"""Resizing as MATLAB's ``imresize`` does it: interpolation by a kernel that is stretched when shrinking.

Along one axis, output sample i (from 0) lies at u = (i + 0.5) / r - 0.5 of the input, r the scale. It is the
mean of the samples p around u with weights k(f * (u - p)), f = min(r, 1) with antialiasing and 1 without,
divided by their sum. Axes are taken one after the other, the smallest scale first, rows before columns if
equal. Integer images are rounded (half away from zero) and clipped after each axis, as MATLAB does. A sum that
should be a half may come out a little less, where weights are not binary fractions; it is taken for the half it is.
"""

import numpy as np

from .borders import source

BORDERS = {"edge": "nearest", "symmetric": "reflect", "reflect": "mirror"}  # NumPy's names to SciPy's


def box(x):
    """Nearest neighbour; of two equally near the one on the right."""
    return ((x >= -0.5) & (x < 0.5)).astype(float)


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def cubic(x, a=-0.5):
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def lanczos(x, lobes):
    return np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)


KERNELS = {  # name: (function, radius)
    "nearest": (box, 0.5),
    "bilinear": (triangle, 1.0),
    "bicubic": (cubic, 2.0),
    "lanczos2": (lambda x: lanczos(x, 2), 2.0),
    "lanczos3": (lambda x: lanczos(x, 3), 3.0),
}


def weights(length, output_length, kernel, anti_aliasing=True, scale=None):
    """Taps of one axis: input positions and weights, both (output_length, taps)."""
    function, radius = KERNELS[kernel]
    r = output_length / length if scale is None else scale
    f = min(r, 1.0) if anti_aliasing else 1.0
    u = (np.arange(output_length) + 0.5) / r - 0.5
    positions = np.floor(u - radius / f)[:, np.newaxis] + np.arange(int(np.ceil(2 * radius / f)) + 2)
    values = function(f * (u[:, np.newaxis] - positions))
    return positions.astype(int), values / values.sum(axis=1, keepdims=True)


def round_half_away(x):
    return np.copysign(np.floor(np.abs(x) + 0.5 + 2**-28), x)


def resize(image, output_shape, kernel="bicubic", anti_aliasing=True, mode="edge", scale=None):
    """Resize the first two axes. Integer images keep their dtype, all others become float64.

    `scale` is the scale per axis where it is not exactly output / input.
    """
    image = np.asarray(image)
    integer = np.issubdtype(image.dtype, np.integer)
    result = image.astype(np.float64)
    scales = [o / n for o, n in zip(output_shape, image.shape, strict=False)] if scale is None else scale
    for axis in np.argsort(scales, kind="stable"):
        length = image.shape[axis]
        positions, values = weights(length, output_shape[axis], kernel, anti_aliasing, scales[axis])
        samples = np.moveaxis(result, axis, 0)[source(positions, length, BORDERS[mode])]
        result = np.moveaxis(np.einsum("ot...,ot->o...", samples, values), 0, axis)
        if integer:
            limits = np.iinfo(image.dtype)
            result = np.clip(round_half_away(result), limits.min, limits.max)
    return result.astype(image.dtype) if integer else result
