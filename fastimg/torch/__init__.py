"""The operations as PyTorch's: functions of tensors and modules, differentiable, whole for compilers.

Importing this module imports torch; no other of fastimg does.
"""

from .data import Augmented
from .filters import Gaussian, gaussian
from .metrics import StructuralSimilarity, structural_similarity
from .models import FSRCNN, Network
from .nn import Conv2d, ConvTranspose2d, conv2d, conv_transpose2d
from .transform import Resize, Warp, resize, warp

__all__ = [
    "FSRCNN",
    "Augmented",
    "Conv2d",
    "ConvTranspose2d",
    "Gaussian",
    "Network",
    "Resize",
    "StructuralSimilarity",
    "Warp",
    "conv2d",
    "conv_transpose2d",
    "gaussian",
    "resize",
    "structural_similarity",
    "warp",
]
