"""Random noise on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import runtime
from .mean_squared_error import Broadcast

Definitions = dict[str, int | str]

# As csrc/cuda/random_noise.cu has them.
MODES = ("gaussian", "local_gaussian", "speckle", "poisson", "impulses", "counted_impulses")
BLOCK, PIXELS = 256, 4  # threads, and pixels to a thread
EXTREMES_BLOCK, PARTS = 1024, 256
MOST_AXES = 8

_PARAMETERS = np.dtype(
    [
        *((name, runtime.view_dtype(MOST_AXES)) for name in ("image", "result", "variances")),
        ("shape", np.int64, (MOST_AXES,)),
        *((name, np.int64) for name in ("image_channel", "result_channel", "pixels", "salt_count", "count")),
        *((name, np.uint64) for name in ("key", "extremes", "distinct")),
        *((name, np.float64) for name in ("rate_factor", "rate_offset", "count_factor", "count_offset")),
        *((name, np.int32) for name in ("channels", "vectors", "local", "clip", "salted", "chosen")),
        *((name, np.float32) for name in ("divisor", "reciprocal", "mean", "deviation", "low", "high")),
    ],
    align=True,
)


def random_noise(
    image: Any,
    variances: Any,
    result: Any,
    mode: str,
    key: int,
    divisor: float,
    low: float | None,
    high: float,
    clip: bool,
    threads: int,
    *,
    mean: float = 0.0,
    deviation: float = 0.0,
    rate_factor: float = 0.0,
    rate_offset: float = 0.0,
    count_factor: float = 0.0,
    count_offset: float = 0.0,
    salt: float = 0.0,
    pepper: float = 0.0,
    salt_count: int = 0,
    pepper_count: int = 0,
    distinct: Any = None,
) -> None:
    """`variances`, which may be smaller than the image, lies on the device, or is one number on the CPU.

    A `low` of None is -high if the image has samples below 0, else 0. `distinct`, in mode 'poisson', is an array of one
    int64, from which the factors follow.
    """
    local = mode == "local_gaussian" and type(variances) is not np.ndarray
    if mode == "local_gaussian" and not local:
        deviation = float(np.sqrt(np.float32(variances.flat[0])))
    pixels = [array[..., 0] for array in (image, result)]
    pixels.append(Broadcast(variances, pixels[0].shape) if local else pixels[0])
    shape, strides = runtime.merged_axes(*pixels)
    unused = [0] * (MOST_AXES - len(shape))
    views = {
        name: (runtime.address(array), (*steps, *unused))
        for name, array, steps in zip(("image", "result", "variances"), pixels, strides, strict=True)
    }
    count = int(np.prod(shape, dtype=np.int64))
    of_image: Definitions = {"IN": runtime.c_type(image.dtype), "AXES": len(shape)}
    of_result: Definitions = {"OUT": runtime.c_type(result.dtype), "AXES": len(shape)}
    values = {
        **views,
        "shape": (*shape, *unused),
        "image_channel": runtime.element_strides(image)[-1],
        "result_channel": runtime.element_strides(result)[-1],
        "pixels": count,
        "salt_count": salt_count,
        "count": salt_count + pepper_count,
        "key": key,
        "distinct": 0 if distinct is None else runtime.address(distinct),
        **{"rate_factor": rate_factor, "rate_offset": rate_offset},
        **{"count_factor": count_factor, "count_offset": count_offset},
        "channels": image.shape[-1],
        "vectors": image.shape[-1] == 1 and _side_by_side(pixels, strides),
        "local": local,
        "clip": clip,
        "salted": _threshold(salt),
        "chosen": _threshold(salt + pepper),
        "divisor": divisor,
        "reciprocal": 1 / divisor,
        "mean": mean,
        "deviation": deviation,
        "low": low or 0.0,
        "high": high,
    }
    extremes = None  # must live until all has been launched
    if low is None and (clip or mode == "poisson" or pepper > 0 or pepper_count > 0):
        extremes = runtime.empty((PARTS, 2), np.float32)
        values["extremes"] = runtime.address(extremes)
        _launch("random_noise_extremes", of_image, values, PARTS, EXTREMES_BLOCK)
    _launch("random_noise", {**of_image, **of_result, "MODE": MODES.index(mode)}, values, -(-count // (BLOCK * PIXELS)))
    if salt_count + pepper_count > 0:
        _launch("random_noise_impulses", of_result, values, -(-(salt_count + pepper_count) // BLOCK))
    del extremes


def _launch(name: str, definitions: Definitions, values: dict[str, Any], blocks: int, threads: int = BLOCK) -> None:
    runtime.kernel("random_noise", name, _PARAMETERS, **definitions)((blocks,), (threads,), values)


def _threshold(share: float) -> int:
    """The largest word of 31 bits that counts among a share of all."""
    return int(share * 2**31 + 0.5) - 1


def _side_by_side(arrays: list[Any], strides: list[list[int]]) -> bool:
    """Whether the pixels of all lie without gaps from a multiple of so many bytes on as four of them have."""
    return all(
        steps == [1] and runtime.address(array) % (PIXELS * array.itemsize) == 0
        for array, steps in zip(arrays, strides, strict=True)
    )
