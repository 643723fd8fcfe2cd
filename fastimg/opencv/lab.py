"""Linear BGR to Lab and back in 8 bits, to the last bit as OpenCV's COLOR_LBGR2Lab and COLOR_Lab2LBGR.

CIE 1976 L*a*b* with the white of D65, L from 0 to 255, a and b around 128; levels are taken as linear light. OpenCV
computes in whole numbers with tables for the cube root and the cube; the tables are made here, by the same roundings,
for every backend. (Facts about `modules/imgproc/src/color_lab.cpp` of OpenCV 4 and 5; agreement was checked for all
2^24 colours both ways.)
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import arrays

__all__ = ["bgr_to_lab", "lab_to_bgr"]

_WHITE = np.array([0.950456, 1.0, 1.088754])
_RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_XYZ_TO_RGB = np.array(
    [[3.240479, -1.53715, -0.498535], [-0.969256, 1.875991, 0.041556], [0.055648, -0.204043, 1.057311]]
)
_ONE = 1 << 14  # of what the way back computes with
_FIRST_CUBE = -8145  # f(X) and f(Z) are never below

Table = NDArray[np.int32]


class _ToLab(NamedTuple):
    coefficients: list[int]  # in units of 2^-12: linear RGB to XYZ, divided by white
    cube_roots: Table  # f of multiples of 1 / (8 * 255), in units of 2^-15


class _FromLab(NamedTuple):
    coefficients: list[int]
    lightness: Table  # Y and f(Y) of every L, in units of 2^-14
    cubes: Table  # the inverse of f, from _FIRST_CUBE on, in the same units


def bgr_to_lab(bgr: arrays.Source, lab: Any, threads: int) -> None:
    """Three channels, the last axis, of uint8; `lab` is memory beside `bgr`, or its own."""
    coefficients, cube_roots = _to_lab()
    bgr.backend.opencv_bgr_to_lab(bgr.data, lab, coefficients, cube_roots, threads)


def lab_to_bgr(lab: arrays.Source, bgr: Any, threads: int) -> None:
    """The way back, of the same arrays."""
    coefficients, lightness, cubes = _from_lab()
    lab.backend.opencv_lab_to_bgr(lab.data, bgr, coefficients, lightness, cubes, _FIRST_CUBE, threads)


@functools.cache
def _to_lab() -> _ToLab:
    x = np.arange(256 * 3 // 2 * 8) / (8 * 255)
    roots = np.where(x < 216 / 24389, x * 841 / 108 + 16 / 116, np.cbrt(x)).astype(np.float32)
    coefficients = np.rint((1 << 12) * _RGB_TO_XYZ / _WHITE[:, np.newaxis])
    return _ToLab(coefficients.astype(int).ravel().tolist(), np.rint(roots * np.float64(1 << 15)).astype(np.int32))


@functools.cache
def _from_lab() -> _FromLab:
    coefficients = np.rint((1 << 12) * _XYZ_TO_RGB * _WHITE)
    return _FromLab(coefficients.astype(int).ravel().tolist(), _lightness(), _cubes())


def _lightness() -> Table:
    level = np.arange(256, dtype=np.float32)
    root = level * np.float32(100 * _ONE) / np.float32(255 * 116) + np.float32(16 * _ONE) / np.float32(116)
    y = root * root * root / np.float32(_ONE * _ONE)
    dark = np.arange(256) <= 20  # L <= 8
    y[dark] = (level * np.float32(_ONE * 20 * 9) / np.float32(17 * 29**3))[dark]
    root[dark] = (np.float32(_ONE) * (np.float32(16) / np.float32(116) + level * 5 / np.float32(3 * 17 * 29)))[dark]
    table: Table = np.rint(np.stack([y, root], axis=1)).astype(np.int32)
    return table


def _cubes() -> Table:
    root = np.arange(_FIRST_CUBE, _ONE * 9 // 4 + _FIRST_CUBE)
    line = np.trunc(root * 108 / 841).astype(np.int64) - _ONE * 16 // 116 * 108 // 841
    cube = root * root // _ONE * root // _ONE
    return np.where(root <= 3390, line, cube).astype(np.int32)
