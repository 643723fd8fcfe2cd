"""Colour conversions, as ``skimage.color`` and, for uint8, MATLAB's ``rgb2ycbcr`` compute them.

Y in [16, 235], Cb and Cr in [16, 240] (ITU-R BT.601, studio range) for R, G, B in [0, 1]. Channels are last.
"""

import numpy as np

from .resize import round_half_away

YCBCR_FROM_RGB = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])
GRAY_FROM_RGB = np.array([0.2125, 0.7154, 0.0721])


def rgb2ycbcr(rgb):
    return np.asarray(rgb, np.float64) @ YCBCR_FROM_RGB.T + YCBCR_OFFSET


def ycbcr2rgb(ycbcr):
    return (np.asarray(ycbcr, np.float64) - YCBCR_OFFSET) @ np.linalg.inv(YCBCR_FROM_RGB).T


def rgb2gray(rgb):
    return np.asarray(rgb, np.float64) @ GRAY_FROM_RGB


def gray2rgb(gray):
    return np.stack([gray] * 3, axis=-1)


def to_integer(x, dtype):
    """Round half away from zero and saturate, as MATLAB's integer arithmetic does."""
    limits = np.iinfo(dtype)
    return np.clip(round_half_away(x), limits.min, limits.max).astype(dtype)


def rgb2ycbcr_integer(rgb):
    """uint8 to uint8 (uint16 to uint16: studio range times 257)."""
    full = np.iinfo(rgb.dtype).max
    return to_integer(rgb2ycbcr(rgb / full) * (full / 255), rgb.dtype)


def ycbcr2rgb_integer(ycbcr):
    full = np.iinfo(ycbcr.dtype).max
    return to_integer(ycbcr2rgb(ycbcr * (255 / full)) * full, ycbcr.dtype)
