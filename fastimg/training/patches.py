"""Random patches of training pairs, drawn where the network is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .data import Pair

_BITS = 64


class Patches:
    """Random patches of a list of pairs, each turned and mirrored at random unless `turned` is False.

    With `noise`, each low patch gets Gaussian noise of its own standard deviation: `noise`, on the scale 0 to 255,
    times the square of a uniform number, since what strong noise teaches outweighs what weak noise does. All images
    lie on `device`. What batch `index` shows depends on `seed` and `index` alone, so a resumed run sees what an
    uninterrupted one sees; on a GPU the same patches as on a CPU.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        scale: int,
        patch: int,
        batch: int,
        seed: int,
        *,
        noise: float = 0,
        turned: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.scale, self.patch, self.batch, self.seed, self.noise = scale, patch, batch, seed, noise
        self.symmetries = 8 if turned else 1
        areas = np.array([pair.low.size for pair in pairs], dtype=np.float64)
        shapes = np.array([pair.low.shape for pair in pairs])

        def on_device(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        self.low = on_device(np.concatenate([pair.low.ravel() for pair in pairs]))
        self.high = on_device(np.concatenate([pair.high.ravel() for pair in pairs]))
        self.cumulative = on_device(np.cumsum(areas / areas.sum())[:-1])
        self.starts = on_device(np.cumsum(areas).astype(np.int64) - areas.astype(np.int64))
        self.columns = on_device(shapes[:, 1])
        self.places = on_device(shapes - patch + 1)  # rows and columns that a patch can begin at

    def __call__(self, index: int | Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 1, patch, patch) and (batch, 1, scale·patch, scale·patch) float32, black to white as [0, 1].

        `index` may be an integer tensor on the device: then nothing waits for the host.
        """
        choice = _uniform(self.seed, index, 4 * self.batch, 0, self.low.device).reshape(4, -1)
        chosen = torch.searchsorted(self.cumulative, choice[0], right=True)
        row, column = (choice[1:3] * self.places[chosen].T).long()
        symmetry = (choice[3] * self.symmetries).long()
        start, columns = self.starts[chosen], self.columns[chosen]
        low = _cut(self.low, self.patch, start, columns, row, column, symmetry)
        s = self.scale
        high = _cut(self.high, self.patch * s, start * s**2, columns * s, row * s, column * s, symmetry)
        if self.noise:
            low = low + self._noise(index)
        return low, high.float() / 255

    def _noise(self, index: int | Tensor) -> Tensor:
        pixels = self.batch * self.patch**2
        uniform = _uniform(self.seed, index, self.batch + 2 * pixels, 4 * self.batch, self.low.device)
        sigma = self.noise / 255 * uniform[: self.batch].square()
        radius = (-2 * torch.log1p(-uniform[self.batch : self.batch + pixels])).sqrt()  # Box and Muller
        normal = radius * torch.cos(2 * math.pi * uniform[self.batch + pixels :])
        return (sigma[:, None] * normal.reshape(self.batch, -1)).float().reshape(-1, 1, self.patch, self.patch)


def _cut(
    pixels: Tensor, size: int, start: Tensor, columns: Tensor, row: Tensor, column: Tensor, symmetry: Tensor
) -> Tensor:
    """Squares of one width out of images that lie behind one another, each by one of the eight symmetries."""
    start, columns, row, column, symmetry = (
        values[:, None, None] for values in (start, columns, row, column, symmetry)
    )
    across = torch.arange(size, device=pixels.device)
    down = across[:, None]
    turned = symmetry % 2 == 1
    y, x = torch.where(turned, across, down), torch.where(turned, down, across)
    y = torch.where(symmetry // 2 % 2 == 1, size - 1 - y, y)
    x = torch.where(symmetry // 4 == 1, size - 1 - x, x)
    return pixels[start + (row + y) * columns + column + x][:, None]


def _uniform(seed: int, index: int | Tensor, count: int, first: int, device: torch.device) -> Tensor:
    """Float64 numbers in [0, 1): `count` of a stream of its own for each seed and index, from the `first` on.

    SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), the
    state counted up by one and begun at a mixture of seed and index.
    """
    begin = _mixed(torch.as_tensor(index, device=device) + (seed << 32))
    bits = _mixed(begin + torch.arange(first, first + count, device=device))
    return (bits >> 11 & 2**53 - 1).double() * 2.0**-53


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on int64, which wraps."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        shifted = bits >> shift & (1 << _BITS - shift) - 1  # without the sign
        bits = (bits ^ shifted) * (factor - 2**_BITS if factor >= 2**63 else factor)
    return bits
