"""Augmentation from what was drawn: each step of one image, in float64."""

import numpy as np

from . import random_noise, warp
from .gaussian import gaussian


def augment(image, drawn, size, mode="constant", fill=0.0, rectangles=(), fills=(), scale=1.0, offset=0.0):
    """One image (rows, columns, channels) in [0, 1]; `drawn` has the fields of `Augmentation` of augment.hpp."""
    pixels = warp.warp(image, warp.places(drawn["matrix"], size), 1, mode, fill)
    rows, columns, channels = pixels.shape
    if drawn["blur"] > 0:
        pixels = gaussian(pixels, float(drawn["blur"]), mode="mirror", channel_axis=-1)
    if drawn["recolored"]:
        k = 3 if channels == 3 else 1
        mean = pixels.mean(axis=(0, 1))
        shift = drawn["mean_color"][:k, :k] @ mean + drawn["offset"][:k]
        pixels = np.clip(pixels @ np.asarray(drawn["color"], np.float64)[:k, :k].T + shift, 0, 1)
    if drawn["noise"] > 0:
        normals = random_noise.normals(pixels.size, int(drawn["noise_key"])).reshape(channels, rows, columns)
        pixels = np.clip(pixels + float(drawn["noise"]) * np.moveaxis(normals, 0, -1), 0, 1)
    chances = random_noise.chances(rows * columns, int(drawn["impulse_key"])).reshape(rows, columns, 1)
    pixels = np.where(chances < drawn["salt"] + drawn["pepper"], 0.0, pixels)
    pixels = np.where(chances < drawn["salt"], 1.0, pixels)
    for (top, left, bottom, right), value in zip(rectangles, fills, strict=True):
        pixels[top:bottom, left:right] = value
    return pixels * scale + offset


def uniform(seed, index, transform, block):
    """Four numbers in [0, 1) of an image and a transform."""
    return random_noise.philox(np.array([index % 2**32, index >> 32, transform, block]), seed) / 2**32


def inverse_affine(degrees, translate, scale, shear, size):
    """The matrix from result to image as torchvision's ``_get_inverse_affine_matrix`` makes it; pixels, degrees."""
    rotation, shear_x, shear_y = np.radians([degrees, *shear])
    a = np.cos(rotation - shear_y) / np.cos(shear_y)
    b = -np.cos(rotation - shear_y) * np.tan(shear_x) / np.cos(shear_y) - np.sin(rotation)
    c = np.sin(rotation - shear_y) / np.cos(shear_y)
    d = -np.sin(rotation - shear_y) * np.tan(shear_x) / np.cos(shear_y) + np.cos(rotation)
    matrix = np.array([[d, -b, 0], [-c, a, 0]]) / scale
    center = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    matrix[:, 2] = matrix[:, :2] @ (-center - translate) + center
    return np.vstack([matrix, (0, 0, 1)])
