"""Activations of the convolution layers."""

import numpy as np


def activation(x, name=None, slope=None):
    """Apply `name` to NCHW `x`; `slope` is a number or one per channel, of any sign."""
    if name is None:
        return x
    if name == "relu":
        return np.maximum(x, 0)
    if name == "leaky_relu" and slope is None:
        slope = 0.01
    if name in ("leaky_relu", "prelu"):
        slope = np.broadcast_to(np.asarray(slope, np.float64), x.shape[1])
        return np.where(x > 0, x, x * slope[:, np.newaxis, np.newaxis])
    raise ValueError(f"unknown activation {name!r}")
