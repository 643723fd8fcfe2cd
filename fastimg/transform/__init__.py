"""Geometric transforms: resizing with the kernels and values of MATLAB's ``imresize``, warping with scikit-image's."""

from .compiled import CompiledMap
from .geometry import affine, perspective
from .padding import pad
from .projective import AffineTransform, ProjectiveTransform
from .resizing import rescale, resize
from .views import crop, flip
from .warping import rotate, warp

__all__ = [
    "AffineTransform",
    "CompiledMap",
    "ProjectiveTransform",
    "affine",
    "crop",
    "flip",
    "pad",
    "perspective",
    "rescale",
    "resize",
    "rotate",
    "warp",
]
