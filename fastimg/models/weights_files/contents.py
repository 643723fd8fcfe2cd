"""What a weights file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from ..layers import Layer


@dataclass(frozen=True)
class LayerTensors:
    """The tensors of one layer, shaped as PyTorch shapes them; `name` is the file's own."""

    name: str
    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    slope: NDArray[Any] | None = None


@dataclass(frozen=True)
class Weights:
    """What a file tells of a network: all of it (`layers`), or its tensors alone (`tensors`).

    Attributes
    ----------
    tensors : tuple of LayerTensors
        In the order in which they run, unless `named`.
    named : bool
        Whether the tensors bear the names of fastimg's own layers.
    geometry : {"paper", "pytorch"}
        What weights without a description were trained with. "paper": replicated borders, and the
        deconvolution's phase of the authors' code; "pytorch": zero padding of k // 2, output_padding = scale - 1.
    scale : int or None
        None where the file does not say.
    """

    layers: tuple[Layer, ...] = ()
    tensors: tuple[LayerTensors, ...] = ()
    named: bool = False
    geometry: Literal["paper", "pytorch"] = "paper"
    scale: int | None = None
