"""Geometric transforms: resizing with the kernels and values of MATLAB's ``imresize``, warping with scikit-image's."""

from .projective import AffineTransform, ProjectiveTransform
from .resizing import rescale, resize
from .warping import rotate, warp

__all__ = ["AffineTransform", "ProjectiveTransform", "rescale", "resize", "rotate", "warp"]
