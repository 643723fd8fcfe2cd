"""PyTorch checkpoints: state dicts of plain chains of convolutions, in the zip and the older pickle format.

Read by `torch.load(weights_only=True)`, which refuses every pickle that does more than describe tensors.
A state dict names its tensors but says neither stride nor padding; re-implementations in PyTorch pad with zeros.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contents import LayerTensors, Weights

# Where training scripts put the state dict in a checkpoint that holds more; averaged weights first.
_NESTED = ("params_ema", "ema", "state_dict", "model_state_dict", "params", "model", "net", "network")


def read(path: Path) -> Weights:
    """Read a state dict, or a checkpoint that holds one."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch checkpoints need PyTorch: pip install 'fastimg[weights]'") from error
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "expected a state dict of tensors, found a pickle that does more or is damaged; "
            f"nothing in a weights file is ever executed ({_first_line(error)})"
        ) from error
    except Exception as error:  # damage shows as whatever the parser stumbles over
        raise ValueError(f"truncated or damaged PyTorch checkpoint ({_first_line(error)})") from error
    state = _state_dict(checkpoint)
    arrays = {name: _array(name, tensor) for name, tensor in state.items()}
    return Weights(tensors=_layers(arrays), geometry="pytorch")


def _state_dict(checkpoint: Any) -> dict[str, Any]:
    if _is_state_dict(checkpoint):
        return dict(checkpoint)
    nested = {k: v for k, v in checkpoint.items() if _is_state_dict(v)} if isinstance(checkpoint, dict) else {}
    for name in _NESTED:
        if name in nested:
            return dict(nested[name])
    if len(nested) == 1:
        return dict(next(iter(nested.values())))
    found = f"the keys {list(checkpoint)[:8]}" if isinstance(checkpoint, dict) else f"a {type(checkpoint).__name__}"
    raise ValueError(f"expected a state dict, or a dict that holds one, found {found}")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and hasattr(v, "detach") for k, v in value.items())
    )


def _array(name: str, tensor: Any) -> NDArray[Any]:
    if not tensor.is_floating_point():
        raise ValueError(f"tensor {name!r}: expected floating-point weights, found {tensor.dtype}")
    return np.asarray(tensor.detach().float().numpy())


def _layers(arrays: dict[str, NDArray[Any]]) -> tuple[LayerTensors, ...]:
    """Modules in the order of registration: a 4-D weight is a convolution, a lone 1-D weight is its PReLU."""
    modules: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        module, _, role = name.rpartition(".")
        modules.setdefault(module, {})[role] = array
    layers: list[LayerTensors] = []
    for module, roles in modules.items():
        weight = roles.get("weight")
        dimensions = 0 if weight is None else weight.ndim
        if dimensions == 4 and roles.keys() <= {"weight", "bias"}:
            layers.append(LayerTensors(module, **roles))
        elif dimensions == 1 and roles.keys() == {"weight"} and layers and layers[-1].slope is None:
            layers[-1] = replace(layers[-1], slope=weight)
        else:
            shapes = ", ".join(f"{module}.{role} {array.shape}" for role, array in roles.items())
            raise ValueError(
                f"expected convolutions (4-D weight, 1-D bias), each followed by at most one PReLU "
                f"(1-D weight), found {shapes}"
            )
    return tuple(layers)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
