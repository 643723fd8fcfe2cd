"""Geometric transforms: resizing with the kernels and values of MATLAB's ``imresize``, warping with scikit-image's."""

from .compiled import CompiledMap
from .padding import pad
from .projective import AffineTransform, ProjectiveTransform
from .resizing import rescale, resize
from .warping import rotate, warp

__all__ = ["AffineTransform", "CompiledMap", "ProjectiveTransform", "pad", "rescale", "resize", "rotate", "warp"]
