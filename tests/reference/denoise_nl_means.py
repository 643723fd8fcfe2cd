"""Non-local means, as ``skimage.restoration.denoise_nl_means(..., fast_mode=True)`` computes it.

For every pixel p and every offset t with |t|_inf <= patch_distance

    d(p, t) = max(0, sum over the patch, over the channels, of (x[q] - x[q + t])^2 - 2 sigma^2)
              / (channels * h^2 * s^ndim)
    w(p, t) = exp(-d) where d <= 5, else 0

and the result is the mean of x[p + t] with weights w(p, t), the centre t = 0 an offset like all others. Two
details of that implementation stand:

- the patch of nominal width s (odd; an even patch_size is taken one larger) covers q = p - s//2 + 1 to
  p + s//2 along each axis, s - 1 samples, one fewer on the low side; the divisor is s^ndim nevertheless;
- outside the image stands its mirror image without the border sample (``numpy.pad(mode="reflect")``), for
  patches and for the search alike.

scikit-image replaces exp by an approximation that is a few per cent off; here it is exact, and `exp` lets a
test put the approximation in its place.
"""

import itertools

import numpy as np

CUTOFF = 5.0


def denoise_nl_means(image, patch_size=7, patch_distance=11, h=0.1, sigma=0.0, channel_axis=None, exp=np.exp):
    """Denoise a float64 image of any number of spatial axes."""
    image = np.asarray(image, np.float64)
    x = image[..., np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    shape, channels = x.shape[:-1], x.shape[-1]
    width = patch_size + 1 - patch_size % 2
    half = width // 2
    margin = half + patch_distance
    padded = np.pad(x, [(margin, margin)] * len(shape) + [(0, 0)], mode="reflect")

    def shifted(offset):
        return padded[tuple(slice(margin + o, margin + o + n) for o, n in zip(offset, shape, strict=True))]

    patch = list(itertools.product(range(-half + 1, half + 1), repeat=len(shape)))
    total, weights = np.zeros_like(x), np.zeros(shape)
    for t in itertools.product(range(-patch_distance, patch_distance + 1), repeat=len(shape)):
        distance = np.zeros(shape)
        for q in patch:
            q_plus_t = tuple(a + b for a, b in zip(q, t, strict=True))
            distance += ((shifted(q) - shifted(q_plus_t)) ** 2 - 2 * sigma**2).sum(axis=-1)
        distance = np.maximum(distance, 0) / (channels * h**2 * width ** len(shape))
        weight = np.where(distance <= CUTOFF, exp(-distance), 0.0)
        weights += weight
        total += weight[..., np.newaxis] * shifted(t)
    result = total / weights[..., np.newaxis]
    return result[..., 0] if channel_axis is None else np.moveaxis(result, -1, channel_axis)
