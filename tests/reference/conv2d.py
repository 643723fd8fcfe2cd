"""2-D convolution (cross-correlation) as ``torch.nn.functional.conv2d``, with borders and activation.

    y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c', i*s - p + u*d, j*s - p + v*d]

where c' = c + (o // (O / groups)) * (C / groups).
"""

import numpy as np

from .activation import activation as activate

PAD_MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}


def pair(value):
    """A number or a pair as a pair."""
    return (value, value) if np.isscalar(value) else tuple(value)


def amounts(padding, kernel, dilation):
    """Rows and columns to add: ((top, bottom), (left, right))."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, pair(dilation), strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in pair(padding)]


def conv2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    padding_mode="zeros",
    activation=None,
    slope=None,
):
    """Convolve NCHW (or CHW) `x` with `weight` (O, C / groups, kernel height, kernel width)."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    if x.ndim == 3:
        arguments = (weight, bias, stride, padding, dilation, groups, padding_mode, activation, slope)
        return conv2d(x[np.newaxis], *arguments)[0]
    (sy, sx), (dy, dx) = pair(stride), pair(dilation)
    outputs, group_inputs, kh, kw = weight.shape
    padded = np.pad(x, [(0, 0), (0, 0), *amounts(padding, (kh, kw), dilation)], mode=PAD_MODES[padding_mode])
    height = (padded.shape[2] - dy * (kh - 1) - 1) // sy + 1
    width = (padded.shape[3] - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((len(x), groups, outputs // groups, height, width))
    by_group = weight.reshape(groups, outputs // groups, group_inputs, kh, kw)
    for u in range(kh):
        for v in range(kw):
            rows = slice(u * dy, u * dy + (height - 1) * sy + 1, sy)
            columns = slice(v * dx, v * dx + (width - 1) * sx + 1, sx)
            window = padded[:, :, rows, columns].reshape(len(x), groups, group_inputs, height, width)
            y += np.einsum("goc,ngcij->ngoij", by_group[..., u, v], window, optimize=True)
    y = y.reshape(len(x), outputs, height, width)
    if bias is not None:
        y += np.reshape(bias, (-1, 1, 1))
    return activate(y, activation, slope)
