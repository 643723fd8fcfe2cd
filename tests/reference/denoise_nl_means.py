"""Non-local means, as ``skimage.restoration.denoise_nl_means`` computes it, and more.

For every pixel p and every offset t with |t|_inf <= patch_distance

    d(p, t) = max(0, sum over the patch, over the channels, of taps[o] ((g[p + o] - g[p + o + t])^2 - 2 sigma[p]^2))
              / (channels * h[p]^2 * divisor)
    w(p, t) = exp(-d) where d <= 5, else 0

and the result is the mean of x[p + t] with weights w(p, t), the centre t = 0 an offset like all others; g is the guide,
or x itself. With fast_mode

- the patch of nominal width s (odd; an even patch_size is taken one larger) covers offsets -s//2 + 1 to s//2 along
  each axis, s - 1 samples, one fewer on the low side; taps are 1 and the divisor is s^ndim nevertheless;
- outside the image stands its mirror image without the border sample (``numpy.pad(mode="reflect")``), for patches and
  for the search alike.

Without it the patch covers offsets -s//2 to s//2, taps are a Gaussian of standard deviation (s - 1)/4 that sums to 1,
the divisor is 1, and the search ends at the image's borders.

scikit-image replaces exp by an approximation that is a few per cent off; here it is exact, and `exp` lets a
test put the approximation in its place.
"""

import itertools

import numpy as np

CUTOFF = 5.0


def denoise_nl_means(
    image,
    patch_size=7,
    patch_distance=11,
    h=0.1,
    fast_mode=True,
    sigma=0.0,
    *,
    channel_axis=None,
    exp=np.exp,
    guide=None,
    weighting="welsch",
    center_weight=None,
    temporal_distance=None,
):
    """Denoise a float64 image of any number of spatial axes, or, with a temporal distance, a sequence."""
    x = with_channels_last(image, channel_axis)
    g = x if guide is None else with_channels_last(guide, channel_axis if np.ndim(guide) == np.ndim(image) else None)
    shape, channels = x.shape[:-1], g.shape[-1]
    width = patch_size + 1 - patch_size % 2
    half = width // 2
    patch, reach = [half] * len(shape), [patch_distance] * len(shape)
    if temporal_distance is not None:
        patch[0], reach[0] = 0, temporal_distance
    margins = [a + b for a, b in zip(patch, reach, strict=True)]
    padded_x, padded_g = (np.pad(a, [(m, m) for m in margins] + [(0, 0)], mode="reflect") for a in (x, g))

    def shifted(padded, offset, margins=margins, shape=shape):
        return padded[tuple(slice(m + o, m + o + n) for m, o, n in zip(margins, offset, shape, strict=True))]

    axes_of_patch = [temporal_distance is None or axis > 0 for axis in range(len(shape))]
    low = [-r + (fast_mode and along) for r, along in zip(patch, axes_of_patch, strict=True)]
    offsets_of_patch = list(itertools.product(*(range(a, b + 1) for a, b in zip(low, patch, strict=True))))
    if fast_mode:
        taps, divisor = np.ones(len(offsets_of_patch)), width ** sum(axes_of_patch)
    else:
        taps = np.exp(-(np.array(offsets_of_patch) ** 2).sum(axis=1) / (2 * ((width - 1) / 4) ** 2))
        taps, divisor = taps / taps.sum(), 1

    whole = [n + 2 * m for n, m in zip(shape, patch, strict=True)]  # what patches reach
    total, weights, largest = np.zeros_like(x), np.zeros(shape), np.zeros(shape)
    for t in itertools.product(*(range(-r, r + 1) for r in reach)):
        if not any(t) and center_weight is not None:
            continue
        pairs = shifted(padded_g, [0] * len(shape), reach, whole) - shifted(padded_g, t, reach, whole)
        squares = (pairs**2).sum(axis=-1)
        distance = -taps.sum() * 2 * channels * np.asarray(sigma) ** 2
        for tap, o in zip(taps, offsets_of_patch, strict=True):
            distance = distance + tap * shifted(squares, o, patch)
        distance = np.maximum(distance, 0) / (channels * np.asarray(h) ** 2 * divisor)
        if weighting == "welsch":
            weight = np.where(distance <= CUTOFF, exp(-distance), 0.0)
        elif callable(weighting):
            weight = weighting(distance)
        else:
            power = {"epanechnikov": 1, "bisquare": 2, "modified_bisquare": 8}[weighting]
            weight = np.maximum(0, 1 - distance) ** power
        for axis in range(len(shape)):  # along which the search ends at the borders
            if not fast_mode or (axis == 0 and temporal_distance is not None):
                position = np.arange(shape[axis]) + t[axis]
                inside = (position >= 0) & (position < shape[axis])
                weight = weight * np.expand_dims(inside, [a for a in range(len(shape)) if a != axis])
        weights += weight
        largest = np.maximum(largest, weight)
        total += weight[..., np.newaxis] * shifted(padded_x, t)
    if center_weight is not None:
        centre = np.maximum(center_weight * largest, 1e-30)
        weights += centre
        total += centre[..., np.newaxis] * x
    result = total / weights[..., np.newaxis]
    return result[..., 0] if channel_axis is None else np.moveaxis(result, -1, channel_axis)


def with_channels_last(image, channel_axis):
    image = np.asarray(image, np.float64)
    if channel_axis is None:
        return image[..., np.newaxis]
    return np.moveaxis(image, channel_axis, -1)
