"""Transposed 2-D convolution as ``torch.nn.functional.conv_transpose2d``, with borders and activation.

Every input sample scatters weight[c, o, u, v] * x[n, c, i, j] to (i*s - p + u*d, j*s - p + v*d);
what falls outside the output, of size (H - 1)*s - 2p + d*(k - 1) + output_padding + 1, is dropped.

With ``padding_mode`` replicate or reflect the input is continued beyond its border as far as its scattered
samples still reach the output; the size of the output stays.
"""

import numpy as np

from .activation import activation as activate
from .conv2d import PAD_MODES, pair


def conv_transpose2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
    padding_mode="zeros",
    activation=None,
    slope=None,
):
    """Scatter NCHW (or CHW) `x` through `weight` (C, O / groups, kernel height, kernel width)."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    if x.ndim == 3:
        geometry = (stride, padding, output_padding, groups, dilation, padding_mode)
        return conv_transpose2d(x[np.newaxis], weight, bias, *geometry, activation, slope)[0]
    (sy, sx), (py, px), (oy, ox), (dy, dx) = map(pair, (stride, padding, output_padding, dilation))
    inputs, group_outputs, kh, kw = weight.shape
    height = (x.shape[2] - 1) * sy - 2 * py + dy * (kh - 1) + oy + 1
    width = (x.shape[3] - 1) * sx - 2 * px + dx * (kw - 1) + ox + 1

    reach = [(d * (k - 1) + o) // s + 1 for k, d, o, s in ((kh, dy, oy, sy), (kw, dx, ox, sx))]
    x = np.pad(x, [(0, 0), (0, 0), *((e, e) for e in reach)], mode=PAD_MODES[padding_mode])
    top, left = py + reach[0] * sy, px + reach[1] * sx

    scattered_height = (x.shape[2] - 1) * sy + dy * (kh - 1) + 1 + oy
    scattered_width = (x.shape[3] - 1) * sx + dx * (kw - 1) + 1 + ox
    y = np.zeros((len(x), groups, group_outputs, scattered_height, scattered_width))
    by_group = weight.reshape(groups, inputs // groups, group_outputs, kh, kw)
    sources = x.reshape(len(x), groups, inputs // groups, *x.shape[2:])
    for u in range(kh):
        for v in range(kw):
            rows = slice(u * dy, u * dy + (x.shape[2] - 1) * sy + 1, sy)
            columns = slice(v * dx, v * dx + (x.shape[3] - 1) * sx + 1, sx)
            y[..., rows, columns] += np.einsum("gco,ngcij->ngoij", by_group[..., u, v], sources, optimize=True)
    y = y.reshape(len(x), group_outputs * groups, scattered_height, scattered_width)
    y = y[:, :, top : top + height, left : left + width]
    if bias is not None:
        y = y + np.asarray(bias, np.float64)[:, np.newaxis, np.newaxis]
    return activate(y, activation, slope)
