"""What stands outside an array: the border modes under SciPy's names, as index arithmetic."""

import numpy as np


def source(index, length, mode):
    """Index inside [0, length) that stands for each of `index`; -1 where the constant stands."""
    index = np.asarray(index)
    if mode == "nearest":
        return np.clip(index, 0, length - 1)
    if mode == "wrap":  # a b c | a b c | a b c
        return index % length
    if mode == "reflect":  # c b a | a b c | c b a
        index = index % (2 * length)
        return np.where(index < length, index, 2 * length - 1 - index)
    if mode == "mirror":  # c b | a b c | b a
        if length == 1:
            return np.zeros_like(index)
        index = index % (2 * length - 2)
        return np.where(index < length, index, 2 * length - 2 - index)
    if mode == "constant":
        return np.where((index >= 0) & (index < length), index, -1)
    raise ValueError(f"unknown border mode {mode!r}")


def take(array, index, axis, mode, cval=0.0):
    """Samples of `array` at `index` along `axis`, which may lie outside it."""
    inside = source(index, array.shape[axis], mode)
    result = np.take(array, np.maximum(inside, 0), axis)
    shape = [1] * array.ndim
    shape[axis] = -1
    return np.where(inside.reshape(shape) < 0, cval, result)
