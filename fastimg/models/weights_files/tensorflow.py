"""TensorFlow graphs (`.pb`): chains of convolutions, as OpenCV's `dnn_superres` runs them.

The graph is followed from its result back to its input, and each pattern becomes a layer: a convolution (NHWC,
weights HWIO, padding SAME: zeros), a bias, ReLU, depth to space, and PReLU, which these graphs spell out as
relu(x) + alpha * (x - |x|) * 0.5. Anything else is an error that names the node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Conv2d, Layer, PixelShuffle
from .contents import Weights
from .protobuf import Message

FIRST_BYTE = b"\x0a"  # GraphDef.node, which every graph begins with

# Field numbers of TensorFlow's messages (graph.proto, node_def.proto, attr_value.proto, tensor.proto).
_GRAPH_NODE = 1
_NODE_NAME, _NODE_OP, _NODE_INPUT, _NODE_ATTR = 1, 2, 3, 5
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_ATTR_LIST, _ATTR_BYTES, _ATTR_INT, _ATTR_TENSOR = 1, 2, 3, 8
_LIST_INT = 3
_TENSOR_DTYPE, _TENSOR_SHAPE, _TENSOR_CONTENT, _TENSOR_FLOATS = 1, 2, 4, 5
_SHAPE_DIM, _DIM_SIZE = 2, 1
_DTYPE_FLOAT = 1


@dataclass(frozen=True)
class _Node:
    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Message] = field(repr=False)


def read(path: Path) -> Weights:
    """Read a frozen graph."""
    try:
        nodes = [_node(message) for message in Message(path.read_bytes()).messages(_GRAPH_NODE)]
        return Weights(layers=_Graph(nodes).layers())
    except ValueError as error:
        raise ValueError(f"not a TensorFlow graph of a plain chain of convolutions: {error}") from error


def _node(message: Message) -> _Node:
    attributes = {e.text(_ENTRY_KEY): e.message(_ENTRY_VALUE) for e in message.messages(_NODE_ATTR)}
    inputs = tuple(i.decode("utf-8").removesuffix(":0") for i in message.all_bytes(_NODE_INPUT))
    return _Node(message.text(_NODE_NAME), message.text(_NODE_OP), inputs, attributes)


class _Graph:
    def __init__(self, nodes: list[_Node]) -> None:
        self.nodes = {node.name: node for node in nodes}
        consumed = {name for node in nodes for name in node.inputs}
        results = [node for node in nodes if node.name not in consumed and node.op not in ("Const", "Placeholder")]
        if len(results) != 1:
            raise ValueError(f"expected one result, found {[node.name for node in results]}")
        self.result = results[0]

    def layers(self) -> tuple[Layer, ...]:
        """The chain, its first layer first."""
        chain: list[_Node] = []
        node = self.result
        while node.op != "Placeholder":
            if node in chain:
                raise ValueError(f"node {node.name!r} is its own input")
            chain.append(node)
            node = self._before(node)
        layers: list[Layer] = []
        for node in reversed(chain):
            self._append(layers, node)
        return tuple(layers)

    def _before(self, node: _Node) -> _Node:
        """The node whose value goes through `node`."""
        if node.op not in ("Transpose", "Identity", "Conv2D", "Add", "AddV2", "BiasAdd", "Relu", "DepthToSpace"):
            raise ValueError(f"node {node.name!r}: operation {node.op!r} is not supported")
        sources = [source for source in self._inputs(node) if source.op != "Const"]
        if node.op in ("Add", "AddV2") and len(sources) == 2:
            return self._prelu(node)[0]
        if len(sources) != 1:
            raise ValueError(f"node {node.name!r} ({node.op}): expected one input, found {list(node.inputs)}")
        return sources[0]

    def _append(self, layers: list[Layer], node: _Node) -> None:
        if node.op in ("Transpose", "Identity"):  # NHWC to NCHW at the end: our layers are NCHW throughout
            return
        if node.op == "Conv2D":
            layers.append(self._conv2d(node))
            return
        tail: PixelShuffle | None = None
        if layers and isinstance(layers[-1], PixelShuffle):
            tail = layers[-1]
            layers.pop()
        if not layers or not isinstance(layers[-1], Conv2d):
            raise ValueError(f"node {node.name!r}: expected a convolution before {node.op}")
        conv = layers[-1]
        if node.op == "DepthToSpace" and tail is None:
            layers[-1], tail = _sub_pixel(conv, node)
        elif conv.activation is None and any(source.op == "Const" for source in self._inputs(node)):
            bias = np.repeat(self._constant_of(node), conv.out_channels // tail.channels if tail else 1)
            layers[-1] = replace(conv, bias=bias if conv.bias is None else conv.bias + bias)
        elif tail is None and conv.activation is None:
            slope = None if node.op == "Relu" else self._prelu(node)[1]
            layers[-1] = replace(conv, activation="relu" if slope is None else "prelu", slope=slope)
        else:
            raise ValueError(f"node {node.name!r}: operation {node.op!r} is not supported at this place")
        if tail:
            layers.append(tail)

    def _conv2d(self, node: _Node) -> Conv2d:
        weight = self._constant_of(node)
        if weight.ndim != 4:
            raise ValueError(f"node {node.name!r}: expected weights of four dimensions, found shape {weight.shape}")
        strides = _list(node, "strides")
        dilation = _list(node, "dilations")[1:3]
        scheme = _format(node, "padding", b"SAME", b"VALID")
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape, strict=False)]
        if set(strides) != {1} or any(r % 2 for r in reach):
            raise ValueError(f"node {node.name!r}: expected stride 1 and odd kernels, found {strides}, {weight.shape}")
        return Conv2d(
            weight.transpose(3, 2, 0, 1),
            padding=(reach[0] // 2, reach[1] // 2) if scheme == b"SAME" else (0, 0),
            dilation=(dilation[0], dilation[1]),
            name=node.name,
        )

    def _prelu(self, node: _Node) -> tuple[_Node, NDArray[Any]]:
        """x and alpha of relu(x) + alpha * (x - |x|) * 0.5."""
        wrong = ValueError(f"node {node.name!r}: expected relu(x) + alpha * (x - |x|) * 0.5")
        by_op = {source.op: source for source in self._inputs(node)}
        if by_op.keys() != {"Relu", "Mul"} or len(by_op["Relu"].inputs) != 1:
            raise wrong
        (x,) = self._inputs(by_op["Relu"])
        slope: NDArray[Any] = np.array(2, np.float32)
        factor = by_op["Mul"]
        for _ in range(2):
            slope = slope * self._constant_of(factor)
            others = [source for source in self._inputs(factor) if source.op != "Const"]
            if len(others) != 1:
                raise wrong
            factor = others[0]
        terms = self._inputs(factor)
        if factor.op != "Sub" or len(terms) != 2 or terms[0] != x:
            raise wrong
        if terms[1].op != "Abs" or self._inputs(terms[1]) != [x]:
            raise wrong
        return x, slope

    def _inputs(self, node: _Node) -> list[_Node]:
        missing = [name for name in node.inputs if name not in self.nodes]
        if missing:
            raise ValueError(f"node {node.name!r}: its input {missing[0]!r} is missing")
        return [self.nodes[name] for name in node.inputs]

    def _constant_of(self, node: _Node) -> NDArray[Any]:
        constants = [source for source in self._inputs(node) if source.op == "Const"]
        if len(constants) != 1:
            raise ValueError(f"node {node.name!r} ({node.op}): expected one constant input, found {list(node.inputs)}")
        return _tensor(constants[0])


def _sub_pixel(conv: Conv2d, node: _Node) -> tuple[Conv2d, PixelShuffle]:
    """TensorFlow's channel (i·r + j)·C + c is PyTorch's c·r² + i·r + j."""
    _format(node, "data_format", b"NHWC")
    r = _attribute(node, "block_size").number(_ATTR_INT)
    if r < 1 or conv.out_channels % (r * r):
        raise ValueError(f"node {node.name!r}: block size {r} does not fit {conv.out_channels} channels")
    channels = conv.out_channels // (r * r)
    order = np.arange(conv.out_channels).reshape(r * r, channels).T.ravel()
    bias, slope = (a if a is None or a.size == 1 else a[order] for a in (conv.bias, conv.slope))
    return replace(conv, weight=conv.weight[order], bias=bias, slope=slope), PixelShuffle(r, channels, node.name)


def _tensor(node: _Node) -> NDArray[Any]:
    message = _attribute(node, "value").message(_ATTR_TENSOR)
    shape = [dim.number(_DIM_SIZE) for dim in message.message(_TENSOR_SHAPE).messages(_SHAPE_DIM)]
    content = message.bytes(_TENSOR_CONTENT) or b"".join(message.all_bytes(_TENSOR_FLOATS))
    if message.number(_TENSOR_DTYPE) != _DTYPE_FLOAT or len(content) != 4 * math.prod(shape):
        raise ValueError(
            f"node {node.name!r}: expected float32 values of shape {shape}, found {len(content)} bytes of "
            f"type {message.number(_TENSOR_DTYPE)}"
        )
    return np.frombuffer(content, "<f4").reshape(shape)


def _attribute(node: _Node, name: str) -> Message:
    if name not in node.attributes:
        raise ValueError(f"node {node.name!r} ({node.op}): attribute {name!r} is missing")
    return node.attributes[name]


def _list(node: _Node, name: str) -> list[int]:
    """`strides` or `dilations`, as (batch, rows, columns, channels)."""
    _format(node, "data_format", b"NHWC")
    values = _attribute(node, name).message(_ATTR_LIST).numbers(_LIST_INT)
    if len(values) != 4 or min(values) < 1:
        raise ValueError(f"node {node.name!r}: expected four {name}, found {values}")
    return values


def _format(node: _Node, name: str, *allowed: bytes) -> bytes:
    value = _attribute(node, name).bytes(_ATTR_BYTES)
    if value not in allowed:
        raise ValueError(f"node {node.name!r}: expected {name} {allowed}, found {value!r}")
    return value
