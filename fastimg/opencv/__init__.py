"""OpenCV's functions under its names and with its arguments, for code that imports `cv2`.

What comes in and goes out are arrays as everywhere in fastimg: NumPy's, CuPy's or PyTorch's, (rows, columns) or (rows,
columns, channels). Where OpenCV refuses (CUDA arrays, float16, a border that wraps around, the ends of a sequence)
these go on.
"""

from .denoising import (
    NORM_L1,
    NORM_L2,
    fastNlMeansDenoising,
    fastNlMeansDenoisingColored,
    fastNlMeansDenoisingColoredMulti,
    fastNlMeansDenoisingMulti,
)
from .gaussian_blur import (
    BORDER_CONSTANT,
    BORDER_DEFAULT,
    BORDER_ISOLATED,
    BORDER_REFLECT,
    BORDER_REFLECT101,
    BORDER_REFLECT_101,
    BORDER_REPLICATE,
    BORDER_WRAP,
    GaussianBlur,
)

__all__ = [
    "BORDER_CONSTANT",
    "BORDER_DEFAULT",
    "BORDER_ISOLATED",
    "BORDER_REFLECT",
    "BORDER_REFLECT101",
    "BORDER_REFLECT_101",
    "BORDER_REPLICATE",
    "BORDER_WRAP",
    "NORM_L1",
    "NORM_L2",
    "GaussianBlur",
    "fastNlMeansDenoising",
    "fastNlMeansDenoisingColored",
    "fastNlMeansDenoisingColoredMulti",
    "fastNlMeansDenoisingMulti",
]
