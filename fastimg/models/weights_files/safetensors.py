"""safetensors: fastimg's own weights files.

The tensors of a layer are called `NAME.weight`, `NAME.bias` and `NAME.slope`. The metadata key `layers` describes
the chain (JSON, one object per layer: its type and everything that is no tensor); files without it hold the
tensors of a known model under the names of its layers. `scale` is the factor of a super-resolution model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ... import _files
from ..layers import Add, Conv2d, ConvTranspose2d, Layer, PixelShuffle
from .contents import LayerTensors, Weights

_LAYERS: dict[str, Callable[..., Layer]] = {
    kind.__name__: kind for kind in (Conv2d, ConvTranspose2d, PixelShuffle, Add)
}
_ROLES = ("weight", "bias", "slope")


def read(path: Path) -> Weights:
    """Read a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"truncated or damaged safetensors file ({error})") from error
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise ValueError(f"tensor {name!r}: expected floating-point weights, found {array.dtype}")
    scale = _scale(metadata)
    if "layers" in metadata:
        return Weights(layers=_described(metadata["layers"], arrays), scale=scale)
    return Weights(tensors=_named(arrays), named=True, scale=scale)


def write(path: Path, layers: tuple[Layer, ...], metadata: Mapping[str, str]) -> None:
    """Write a file that `read` gives back the same; an existing file is replaced only by a complete one."""
    from safetensors.numpy import save

    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise ValueError(f"layers must have different names to be saved, got {names}")
    arrays: dict[str, NDArray[Any]] = {}
    descriptions = []
    for layer in layers:
        fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
        arrays |= {f"{layer.name}.{role}": a for role in _ROLES if (a := fields.pop(role, None)) is not None}
        descriptions.append({"type": type(layer).__name__, **fields})
    _files.write_whole(path, save(arrays, {**metadata, "layers": json.dumps(descriptions)}))


def _scale(metadata: Mapping[str, str]) -> int | None:
    scale = metadata.get("scale")
    if scale is not None and not scale.isdecimal():
        raise ValueError(f"metadata 'scale': expected a whole number, found {scale!r}")
    return None if scale is None else int(scale)


def _named(arrays: dict[str, NDArray[Any]]) -> tuple[LayerTensors, ...]:
    grouped: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(".")
        if role not in _ROLES:
            raise ValueError(f"unexpected tensor {name!r}: expected names that end in .weight, .bias or .slope")
        grouped.setdefault(layer, {})[role] = array
    for layer, roles in grouped.items():
        if "weight" not in roles:
            raise ValueError(f"missing tensor '{layer}.weight'")
    return tuple(LayerTensors(layer, **roles) for layer, roles in grouped.items())


def _described(text: str, arrays: dict[str, NDArray[Any]]) -> tuple[Layer, ...]:
    left = dict(arrays)
    layers = []
    try:
        for fields in json.loads(text):
            kind = _LAYERS[fields.pop("type")]
            tensors = {role: left.pop(f"{fields['name']}.{role}", None) for role in _ROLES}
            tensors = {role: array for role, array in tensors.items() if array is not None}
            if kind in (Conv2d, ConvTranspose2d) and "weight" not in tensors:
                raise ValueError(f"missing tensor '{fields['name']}.weight'")
            layers.append(kind(**fields, **tensors))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"metadata 'layers' is not a description of layers ({error!r})") from error
    except ValueError as error:
        raise ValueError(f"{error}") from error
    if left:
        raise ValueError(f"unexpected tensors: {', '.join(sorted(left))}")
    return tuple(layers)
