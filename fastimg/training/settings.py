"""What can be trained, and the numbers that a training run is determined by (free of PyTorch)."""

from __future__ import annotations

from dataclasses import dataclass

from .. import _checks

SUPER_RESOLUTION = ("plainsr", "fsrcnn", "fsrcnn-s", "srcnn")
DENOISING = ("dncnn", "dncnn-s", "digits")
MODELS = SUPER_RESOLUTION + DENOISING
SCALES = (2, 3, 4)
PRECISIONS = ("float32", "bfloat16")
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What, with the images, determines the trained weights.

    Parameters
    ----------
    model : {"plainsr", "fsrcnn", "fsrcnn-s", "srcnn", "dncnn", "dncnn-s", "digits"}
        The first four enlarge, the last three denoise: "digits" those of MNIST, all others photographs.
    scale : {2, 3, 4}, optional
        What a model of super-resolution enlarges by; the others have none.
    iterations : int
        Steps of the optimisers: Muon for kernels, Adam for all else.
    batch, patch : int
        Patches per step, and their rows and columns as the network sees them: at the low resolution, for
        "srcnn" enlarged. By default patches of 24, of "digits" 28, which is a whole digit.
    margin : int
        Such pixels at a patch's border that do not count: there the network sees what stands for pixels outside where
        the image goes on. By default 2, for "digits" 0.
    learning_rate : float
        At the start; falls to zero by a half cosine.
    mse_share : float
        Last share of the iterations that minimises the squared error; before it the Charbonnier loss.
    averaging : float
        Factor of the moving average of the weights, which is what is exported.
    precision : {"float32", "bfloat16"}
        Of the products while training; sums, weights and what is exported are float32. "bfloat16" makes a step of wide
        layers take half the time or less where the processor has it (AMX, tensor cores).
    seed : int

    Raises
    ------
    ValueError, TypeError
        A value is out of its range, or `scale` is missing or given against the model.
    """

    model: str
    scale: int | None = None
    iterations: int = 100_000
    batch: int = 8
    patch: int = None  # type: ignore[assignment]  # chosen by the model
    margin: int = None  # type: ignore[assignment]
    learning_rate: float = 2e-3
    mse_share: float = 0.25
    averaging: float = 0.999
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        _checks.one_of(self.model, "model", MODELS)
        if not self.denoises:
            _checks.one_of(self.scale, "scale", SCALES)
        elif self.scale is not None:
            raise ValueError(f"scale must not be given for {self.model!r}, which keeps the size, got {self.scale}")
        for name, usual in (("patch", 28 if self.digits else 24), ("margin", 0 if self.digits else 2)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, usual)
        _checks.one_of(self.precision, "precision", PRECISIONS)
        for name, least in (("iterations", 1), ("batch", 1), ("margin", 0), ("seed", 0)):
            _checks.integer(getattr(self, name), name, at_least=least, at_most=_MOST)
        _checks.integer(self.patch, "patch", at_least=2 * self.margin + 1, at_most=_MOST)
        _checks.real(self.learning_rate, "learning_rate", above=0)
        for name in ("mse_share", "averaging"):
            _checks.real(getattr(self, name), name, at_least=0, at_most=1)

    @property
    def denoises(self) -> bool:
        """Whether the model denoises, and does not enlarge."""
        return self.model in DENOISING

    @property
    def digits(self) -> bool:
        """Whether the model denoises digits: in IDX files, never turned, under noise that is clipped."""
        return self.model == "digits"

    @property
    def factor(self) -> int:
        """What the network itself enlarges by: SRCNN gets an image that bicubic interpolation has enlarged."""
        return self.scale if self.scale is not None and self.model != "srcnn" else 1
