"""The operations as PyTorch's: functions of tensors and modules, differentiable, whole for compilers.

Importing this module imports torch; no other of fastimg does.
"""

from .filters import Gaussian, gaussian

__all__ = ["Gaussian", "gaussian"]
