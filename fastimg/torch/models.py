"""Networks of fastimg as modules: layer by layer where they learn, in one piece where they are used."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import models
from ..models import Add, PixelShuffle
from ._operator import Operator, apply, empty_like, is_tracked
from .nn import conv2d, conv_transpose2d

_ROLES = ("weight", "bias", "slope")
_KINDS = {kind.__name__: kind for kind in (models.Conv2d, models.ConvTranspose2d, PixelShuffle, Add)}
_MOST_KEPT = 16

_Description = list[tuple[str, list[str], dict[str, Any]]]  # of each layer: type, tensors, other fields


class Network(nn.Module):  # type: ignore[misc]
    """A chain of layers as a module.

    Parameters
    ----------
    network : fastimg.models.Network
        Whose weights become the parameters, named as the layers, but for their dots: ``mapping_0.weight``.

    Notes
    -----
    Where a gradient is wanted the layers run one by one, as `conv2d` and `conv_transpose2d`. Where none is, the whole
    chain runs at once, with intermediate results in the cache, as `fastimg.models.Network` runs it; a new one is made
    when parameters have changed, on a GPU not if they did through ``data``, which nothing tells.
    Both agree to the rounding of float32. Under `torch.autocast` the result is of float32.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> from fastimg import models
    >>> denoiser = fastimg.torch.Network(models.DnCNN_s.from_pretrained().network)
    >>> denoiser(torch.zeros(1, 1, 16, 16)).shape
    torch.Size([1, 1, 16, 16])
    """

    def __init__(self, network: models.Network) -> None:
        super().__init__()
        self.architecture = _described(network.layers)
        self._description = _parsed(self.architecture)
        self.layers = nn.ModuleDict()
        for layer in network.layers:
            tensors = {role: nn.Parameter(torch.tensor(array)) for role, array in _tensors(layer).items()}
            self.layers[layer.name.replace(".", "_")] = nn.ParameterDict(tensors)

    def forward(self, x: Tensor) -> Tensor:
        """The result for an (N, C, H, W) or (C, H, W) tensor of float16, bfloat16 or float32."""
        if x.dim() == 3:
            return self(x[None])[0]
        parameters = self._in_order()
        if is_tracked(x, *parameters):
            return _layer_by_layer(x.to(parameters[0].dtype), parameters, self._description).to(x.dtype)
        return _network(x, parameters, self.architecture)

    def network(self) -> models.Network:
        """The network of fastimg with the weights that the parameters are now."""
        return _restored(self._in_order(), self.architecture)

    def _in_order(self) -> list[Tensor]:
        """The parameters, in the order of the architecture."""
        return [layer[role] for layer in self.layers.values() for role in _ROLES if role in layer]


class FSRCNN(Network):
    """FSRCNN [1]_ as a module: enlarges luma, (N, 1, H, W) tensors in [0, 1], by a factor.

    Parameters
    ----------
    model : fastimg.models.FSRCNN

    Attributes
    ----------
    scale : int

    Notes
    -----
    See `Network` for what runs when. Values are not clipped, as they are by the model itself.

    References
    ----------
    .. [1] C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016,
           arXiv:1608.00367.

    Examples
    --------
    >>> import torch
    >>> import fastimg.torch
    >>> fsrcnn = fastimg.torch.FSRCNN.from_pretrained(scale=2)
    >>> fsrcnn(torch.rand(1, 1, 20, 30)).shape
    torch.Size([1, 1, 40, 60])
    """

    def __init__(self, model: models.FSRCNN) -> None:
        super().__init__(model.network)
        self.scale = model.scale

    @classmethod
    def from_pretrained(cls, scale: int = 2) -> Self:
        """The module with the weights that come with fastimg, as `fastimg.models.FSRCNN.from_pretrained`."""
        return cls(models.FSRCNN.from_pretrained(scale))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], scale: int | None = None) -> Self:
        """The module with weights from a file, as `fastimg.models.FSRCNN.from_file`."""
        return cls(models.FSRCNN.from_file(path, scale))

    def model(self) -> models.FSRCNN:
        """The model of fastimg with the weights that the parameters are now: for images, and to save."""
        return models.FSRCNN(self.network().layers, self.scale)


# ---- layers without their weights ------------------------------------------------------------------------------------


def _tensors(layer: models.Layer) -> dict[str, Any]:
    return {role: array for role in _ROLES if (array := getattr(layer, role, None)) is not None}


def _described(layers: Sequence[models.Layer]) -> str:
    """All that is no weight, for an operator to take."""
    descriptions = []
    for layer in layers:
        fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
        fields = {name: value for name, value in fields.items() if name not in _ROLES}
        descriptions.append((type(layer).__name__, list(_tensors(layer)), fields))
    return json.dumps(descriptions)


@functools.lru_cache(maxsize=16)
def _parsed(architecture: str) -> _Description:
    return [tuple(layer) for layer in json.loads(architecture)]


def _with_tensors(
    parameters: Sequence[Tensor], description: _Description
) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Any]]]:
    """Type, tensors and other fields of each layer."""
    left = iter(parameters)
    for kind, roles, fields in description:
        yield kind, {role: next(left) for role in roles}, fields


def _restored(parameters: Sequence[Tensor], architecture: str) -> models.Network:
    return models.Network(
        _KINDS[kind](**fields, **{role: tensor.detach().cpu().numpy() for role, tensor in tensors.items()})
        for kind, tensors, fields in _with_tensors(parameters, _parsed(architecture))
    )


def _layer_by_layer(x: Tensor, parameters: Sequence[Tensor], description: _Description) -> Tensor:
    inputs = {}
    for kind, tensors, fields in _with_tensors(parameters, description):
        options = dict(fields)
        inputs[options.pop("name")] = x
        if kind == "Conv2d":
            x = conv2d(x, **tensors, **options)
        elif kind == "ConvTranspose2d":
            x = conv_transpose2d(x, **tensors, **options)
        elif kind == "PixelShuffle":
            x = functional.pixel_shuffle(x, options["factor"])
        else:
            x = x + inputs[options["input_of"]]
    return x


# ---- the chain in one piece ------------------------------------------------------------------------------------------

_kept: dict[Any, tuple[models.Network, Sequence[Tensor]]] = {}


def _prepared(parameters: Sequence[Tensor], architecture: str) -> models.Network:
    """The network with these parameters, that of an earlier call if they are the same.

    By their values; on a GPU, which would be waited for, by the place and version of their memory, which is kept so
    that nothing else comes to lie there.
    """
    if parameters[0].is_cuda:
        state: Any = tuple((tensor.data_ptr(), tensor._version) for tensor in parameters)
    else:
        state = b"".join(tensor.detach().numpy().tobytes() for tensor in parameters)
    found = _kept.pop((architecture, state), None) or (_restored(parameters, architecture), parameters)
    _kept[architecture, state] = found  # last, as those that are used; the first is the first to go
    if len(_kept) > _MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
    return found[0]


def _run(x: Tensor, parameters: Sequence[Tensor], architecture: str) -> Tensor:
    network = _prepared(parameters, architecture)
    shape = (len(x), network.out_channels, *network.output_size(tuple(x.shape[-2:])))
    return apply(network, x, shape)


def _fake(x: Tensor, parameters: Sequence[Tensor], architecture: str) -> Tensor:
    return empty_like(x, _layer_by_layer(x, parameters, _parsed(architecture)).shape)


def _refused(ctx: Any, gradient: Tensor) -> Tensor:
    raise NotImplementedError("the operator has no gradient: the module runs its layers one by one where one is wanted")


_network: Operator = Operator(
    "network(Tensor x, Tensor[] parameters, str architecture) -> Tensor",
    _run,
    fake=_fake,
    backward=_refused,
    autocast=torch.float32,
)
