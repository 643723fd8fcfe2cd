"""The part of ``skimage.util.random_noise`` that is not random: what a given draw does to an image.

Images are float64, in [0, 1] or, when any sample is negative, in [-1, 1].
"""

import numpy as np


def lowest(image):
    """The lower end of the image's range."""
    return -1.0 if image.min() < 0 else 0.0


def additive(image, noise, clip=True):
    """Modes gaussian and localvar."""
    return clipped(image, image + noise, clip)


def speckle(image, noise, clip=True):
    return clipped(image, image + image * noise, clip)


def impulses(image, chosen, salted):
    """Modes salt, pepper and s&p: `chosen` samples become 1 where `salted`, else the lowest value."""
    return np.where(chosen, np.where(salted, 1.0, lowest(image)), image)


def poisson_levels(image):
    """By how much a non-negative image is scaled before counts are drawn, and after divided."""
    return 2.0 ** np.ceil(np.log2(len(np.unique(image))))


def clipped(image, result, clip):
    return np.clip(result, lowest(image), 1.0) if clip else result


def philox(counter, key):
    """Philox4x32-10 of Salmon et al., SC 2011: four words for each of the counters, an array of (..., 4) words."""
    c = [np.asarray(counter, np.uint64)[..., i] for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        high, low = np.uint64(32), np.uint64(0xFFFFFFFF)
        c = [b >> high ^ c[1] ^ np.uint64(k[0]), b & low, a >> high ^ c[3] ^ np.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return np.stack(c, axis=-1)


def words(n, key):
    """The words of samples 0 .. n-1: word j of block b of a chunk of 16 blocks serves sample 16 j + b of 64."""
    blocks = np.arange(-(-n // 64) * 16)
    counters = np.zeros((len(blocks), 4), np.uint64)
    counters[:, 0] = blocks
    return philox(counters, key).reshape(-1, 16, 4).transpose(0, 2, 1).reshape(-1)[:n]


def normals(n, key):
    """Standard normal numbers of samples 0 .. n-1 from the words of a pair of samples, by Box and Muller."""
    pairs = words(-(-n // 64) * 64, key).reshape(-1, 2, 2, 16)
    radius = np.sqrt(-2 * np.log(((pairs[:, :, 0] >> np.uint64(1)) + 0.5) / 2**31))
    angle = pairs[:, :, 1] / 2**31 * np.pi
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(-1)[:n]


def chances(n, key):
    """Uniform numbers in [0, 1) of samples 0 .. n-1, to 31 bits."""
    return (words(n, key) >> np.uint64(1)) / 2**31
