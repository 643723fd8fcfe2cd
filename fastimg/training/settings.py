"""What can be trained, and the numbers that a training run is determined by (free of PyTorch)."""

from __future__ import annotations

from dataclasses import dataclass

from .. import _checks

MODELS = ("fsrcnn", "fsrcnn-s", "srcnn")
SCALES = (2, 3, 4)
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What, with the images, determines the trained weights.

    Parameters
    ----------
    model : {"fsrcnn", "fsrcnn-s", "srcnn"}
    scale : {2, 3, 4}
    iterations : int
        Steps of Adam.
    batch, patch : int
        Patches per step, and their rows and columns as the network sees them: at the low resolution, for
        "srcnn" enlarged.
    margin : int
        Such pixels at a patch's border that do not count: there the network sees replicated pixels where the
        image goes on.
    learning_rate : float
        At the start; falls to zero by a half cosine.
    mse_share : float
        Last share of the iterations that minimises the squared error; before it the Charbonnier loss.
    averaging : float
        Factor of the moving average of the weights, which is what is exported.
    seed : int

    Raises
    ------
    ValueError, TypeError
        A value is out of its range.
    """

    model: str = "fsrcnn"
    scale: int = 2
    iterations: int = 100_000
    batch: int = 8
    patch: int = 24
    margin: int = 2
    learning_rate: float = 2e-3
    mse_share: float = 0.25
    averaging: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        _checks.one_of(self.model, "model", MODELS)
        _checks.one_of(self.scale, "scale", SCALES)
        for name, least in (("iterations", 1), ("batch", 1), ("margin", 0), ("seed", 0)):
            _checks.integer(getattr(self, name), name, at_least=least, at_most=_MOST)
        _checks.integer(self.patch, "patch", at_least=2 * self.margin + 1, at_most=_MOST)
        _checks.real(self.learning_rate, "learning_rate", above=0)
        for name in ("mse_share", "averaging"):
            if _checks.real(getattr(self, name), name, at_least=0) > 1:
                raise ValueError(f"{name} must be at most 1, got {getattr(self, name):g}")

    @property
    def factor(self) -> int:
        """What the network itself enlarges by: SRCNN gets an image that bicubic interpolation has enlarged."""
        return 1 if self.model == "srcnn" else self.scale
