"""Enlarging to any composed scale and any size, by models one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from .. import _checks
from ..transform.axes import output_size
from .layers import PRECISIONS
from .super_resolution import SCALES, PlainSR, SuperResolution, enlarge, take

Model = SuperResolution | type[SuperResolution]


def upscale(
    image: Any,
    scale: int | None = None,
    *,
    output_shape: Sequence[int] | None = None,
    model: Model = PlainSR,
    out: Any = None,
    threads: int | None = None,
    precision: str = "float32",
) -> Any:
    """Enlarge an image by any scale that models compose, or to any size.

    Parameters
    ----------
    image : (H, W), or (H, W, C) array of uint8, uint16, float16, float32 or float64
        C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Floats in [0, 1].
    scale : int, optional
        A product of the scales there are: with the weights that come with fastimg 2, 3, 4, 6, 8, 9, 12, 16, ...
        Exactly one of `scale` and `output_shape` is given.
    output_shape : sequence of int, optional
        The size wanted, (rows, columns), or the shape of the whole result: by the next larger scale and
        `fastimg.transform.resize`. Where neither side grows, by the latter alone.
    model : class or SuperResolution
        A class of models, of which those with the weights that come with fastimg are used; or one model, which is used
        as often as it takes.
    out : array, optional
        Receives the result; of the image's kind and dtype.
    threads : int, optional
        By default `fastimg.get_num_threads()`. The result does not depend on it.
    precision : {"float32", "float16", "bfloat16"}
        Of the networks, as for a `SuperResolution`.

    Returns
    -------
    array
        Of the image's kind and dtype; clipped to the range of the dtype, [0, 1] for floats.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of range, or `scale` and `output_shape` are both given, or neither.

    Notes
    -----
    Smaller scales come first, which is better and cheaper: 8 is 2, then 4. Between the steps what the networks see,
    luma as a rule, stays float32, clipped to its range; only that is enlarged by more than `output_shape` where the
    scale exceeds it. The rest is interpolated once, from the image to the final size. With a single step the result
    is that of the model.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import models
    >>> image = np.full((9, 16, 3), 200, np.uint8)
    >>> models.upscale(image, 8).shape
    (72, 128, 3)
    >>> models.upscale(image, output_shape=(30, 40), model=models.FSRCNN_s).shape
    (30, 40, 3)
    """
    source = take(image)
    _checks.one_of(precision, "precision", PRECISIONS)
    rows, columns = source.data.shape[:2]
    if (scale is None) == (output_shape is None):
        got = f"scale={scale!r} and output_shape={output_shape!r}"
        raise ValueError(f"exactly one of scale and output_shape must be given, got {got}")
    if output_shape is None:
        assert scale is not None
        steps = chain(model, scale)
        size = (rows * scale, columns * scale)
    else:
        height, width = output_size(source.data.shape, (0, 1), output_shape)
        size = (height, width)
        steps = _chain_to(model, max(-(-height // rows), -(-width // columns)))
    return enlarge(source, steps, size, out, threads, precision)


def chain(model: Model, scale: int) -> tuple[SuperResolution, ...]:
    """The models that enlarge by `scale` one after the other.

    Parameters
    ----------
    model : class or SuperResolution
        As in `upscale`.
    scale : int

    Raises
    ------
    TypeError
        If `model` is neither, or `scale` no integer.
    ValueError
        If the models there are do not compose `scale`, or no weights of the class come with fastimg.
    """
    _checks.integer(scale, "scale", at_least=2)
    scales = _scales(model)
    steps = _steps(scale, scales)
    if steps is None:
        expected = f"a product of {_listed(scales)}" if len(scales) > 1 else f"a power of {scales[0]}"
        name = model.__name__ if isinstance(model, type) else repr(model)
        raise ValueError(f"scale must be {expected}, by which {name} enlarges, got {scale}")
    return tuple(model if isinstance(model, SuperResolution) else model.from_pretrained(step) for step in steps)


def _chain_to(model: Model, least: int) -> tuple[SuperResolution, ...]:
    """The models that enlarge by the next scale from `least` on; none if that is 1."""
    scales = _scales(model)
    return () if least == 1 else chain(model, next(n for n in count(least) if _steps(n, scales) is not None))


def _scales(model: Model) -> list[int]:
    """The scales of single steps."""
    if isinstance(model, SuperResolution):
        if model.scale == 1:
            raise ValueError(f"model must enlarge, got {model!r}")
        return [model.scale]
    if not (isinstance(model, type) and issubclass(model, SuperResolution)):
        raise TypeError(f"model must be a SuperResolution or a class of them, got {model!r}")
    scales = [scale for scale in SCALES if model._pretrained(scale).is_file()]
    if not scales:
        model.from_pretrained(SCALES[0])  # which says so
    return scales


def _steps(scale: int, scales: Sequence[int]) -> list[int] | None:
    """The fewest of `scales` whose product is `scale`, in order; None if there are none."""
    steps = []
    for step in sorted(scales, reverse=True):
        while scale % step == 0:
            steps.append(step)
            scale //= step
    return steps[::-1] if scale == 1 else None


def _listed(scales: Sequence[int]) -> str:
    *most, last = map(str, scales)
    return f"{', '.join(most)} and {last}"
