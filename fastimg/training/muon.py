"""Muon: steps along the orthogonal matrix that is nearest to the momentum, for the kernels of convolutions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic whose iterates send singular values of (0, 1] near to 1
_ITERATIONS = 5
_RMS = 0.2  # of a step's entries at a learning rate of 1, which is about Adam's, so that they share one


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # PyTorch is not type-checked here
    """Muon [1]_ for kernels, as matrices of a row for each of their first dimension.

    Kernels of one shape are orthogonalised together: a network has few shapes, and each takes but 15 products.

    Parameters
    ----------
    parameters : iterable of Tensor
        Of at least two dimensions.
    lr : float or Tensor
        In the measure of Adam's [2]_.
    momentum : float, optional
        In [0, 1); Nesterov's.

    References
    ----------
    .. [1] K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse, J. Bernstein, "Muon: An optimizer for hidden
           layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon.
    .. [2] J. Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """One step along the gradients that the parameters hold."""
        for group in self.param_groups:
            alike = defaultdict(list)
            for parameter in group["params"]:
                alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._step(parameters, group["lr"], group["momentum"])

    def _step(self, parameters: list[Tensor], lr: float | Tensor, momentum: float) -> None:
        gradients = torch.stack([parameter.grad.flatten(1).float() for parameter in parameters])
        state = self.state[parameters[0]]
        if not state:
            state["momentum"] = torch.zeros_like(gradients)
        average = state["momentum"].lerp_(gradients, 1 - momentum)
        direction = orthogonalised(gradients.lerp(average, momentum))
        direction *= -_RMS * max(direction.shape[1:]) ** 0.5 * lr
        for parameter, change in zip(parameters, direction, strict=True):
            parameter.add_(change.view(parameter.shape))


def orthogonalised(matrices: Tensor) -> Tensor:
    """For each matrix U S Vᵀ of (batch, rows, columns), nearly U Vᵀ: singular values come to lie about 1.

    By Newton and Schulz's iteration, in matrix products alone; values below a hundredth of the norm stay smaller.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
