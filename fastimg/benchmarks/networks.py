"""Networks of convolutions: the same layers and weights, float32 luma in and out; fastimg in bfloat16, too.

PyTorch runs in inference mode, as NCHW and as channels-last; ONNX Runtime with all graph optimisations; OpenCV's module
of networks reads the same ONNX graph. Weights are random: time does not depend on them. With replicated borders, as the
papers have them, the rivals need a padding operation before each convolution; with zeros, as re-implementations in
PyTorch have it, they need none.

Of many small images the rivals get as many at a time as suits them best, which on the machines at hand is some fifty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import _fastimg_cpu
from ..models import Conv2d, ConvTranspose2d, Network, PixelShuffle
from ..models.super_resolution import DECONVOLUTION
from .races import Job, Run, contenders

Layer = Any  # Conv2d, ConvTranspose2d or PixelShuffle


def fsrcnn(scale: int, d: int = 56, s: int = 12, m: int = 4) -> list[Layer]:
    """FSRCNN(d, s, m) with random weights; FSRCNN-s is (32, 5, 1)."""
    rng = np.random.default_rng(scale)
    shapes = [(d, 1, 5), (s, d, 1), *[(s, s, 3)] * m, (d, s, 1)]
    stride, padding, output_padding = DECONVOLUTION[scale]
    deconvolution = rng.standard_normal((d, 1, 9, 9)) * 0.02
    last = ConvTranspose2d(deconvolution, np.zeros(1), (stride,) * 2, (padding,) * 2, (output_padding,) * 2)
    return [*(_conv(rng, *shape, "prelu") for shape in shapes), last]


def fsrcnn_of_opencv(scale: int) -> list[Layer]:
    """FSRCNN as in the files of OpenCV's `dnn_superres`: a 1×1 convolution and a pixel shuffle at its end."""
    rng = np.random.default_rng(scale)
    last = replace(_conv(rng, scale**2, 56, 1, None), weight=rng.standard_normal((scale**2, 56, 1, 1)) * 0.1)
    return [*fsrcnn(scale)[:-1], last, PixelShuffle(scale)]


def srcnn(middle: int) -> list[Layer]:
    """SRCNN 9-`middle`-5 with random weights."""
    rng = np.random.default_rng(middle)
    return [_conv(rng, 64, 1, 9, "relu"), _conv(rng, 32, 64, middle, "relu"), _conv(rng, 1, 32, 5, None)]


def plain(channels: int, depth: int) -> list[Layer]:
    """`depth` convolutions of 3×3 with ReLU between, such as DnCNN (64 channels, 17 layers), with random weights."""
    rng = np.random.default_rng(depth)
    inner = [_conv(rng, channels, channels, 3, "relu") for _ in range(depth - 2)]
    return [_conv(rng, channels, 1, 3, "relu"), *inner, _conv(rng, 1, channels, 3, None)]


def _conv(rng: np.random.Generator, outputs: int, inputs: int, k: int, activation: str | None) -> Conv2d:
    weight = rng.standard_normal((outputs, inputs, k, k)) / np.sqrt(inputs * k * k)
    slope = rng.uniform(-0.5, 0.5, 1) if activation == "prelu" else None
    bias = rng.standard_normal(outputs) * 0.1
    return Conv2d(weight, bias, padding=(k // 2,) * 2, activation=activation, slope=slope)


NETWORKS: dict[str, list[Layer]] = {
    "FSRCNN ×2": fsrcnn(2),
    "FSRCNN ×4": fsrcnn(4),
    "FSRCNN-s ×2": fsrcnn(2, 32, 5, 1),
    "FSRCNN-s ×3": fsrcnn(3, 32, 5, 1),
    "FSRCNN of OpenCV ×2": fsrcnn_of_opencv(2),
    "FSRCNN of OpenCV ×3": fsrcnn_of_opencv(3),
    "FSRCNN of OpenCV ×4": fsrcnn_of_opencv(4),
    "SRCNN 9-1-5": srcnn(1),
    "SRCNN 9-5-5": srcnn(5),
    "DnCNN": plain(64, 17),
    "4 layers of 16": plain(16, 4),
}
_RIVALS_BATCH = 50


def multiply_adds(layers: Sequence[Layer], shape: tuple[int, ...]) -> float:
    """Of a network on images (N, C, H, W) of `shape`, borders included."""
    images, _, *size = shape
    count = 0.0
    for layer in layers:
        before, size = size, layer.output_size(tuple(size))
        if not isinstance(layer, PixelShuffle):
            count += images * layer.weight.size * float(np.prod(before if _transposed(layer) else size))
    return count


def job(
    name: str,
    width: int,
    height: int,
    padding_mode: str,
    threads: int,
    *,
    images: int = 1,
    precision: str = "float32",
) -> Job:
    """One of `NETWORKS` on images of one size; rivals compute in float32."""
    layers = [
        layer if isinstance(layer, PixelShuffle) else replace(layer, padding_mode=padding_mode)
        for layer in NETWORKS[name]
    ]
    x = np.random.default_rng(0).random((images, 1, height, width), np.float32)
    several = f"{images} images, " if images > 1 else ""
    network = Network(layers)
    out = network(x)

    def run() -> Any:
        return network(x, out=out, threads=threads, precision=precision)

    ending = "" if precision == "float32" else f", {precision}"
    others = rivals(layers, x, threads)
    return Job(
        "network",
        f"{name}, {several}{width}×{height}, {padding_mode}{ending}",
        {
            "network": name,
            "images": images,
            "width": width,
            "height": height,
            "dtype": "float32",
            "padding_mode": padding_mode,
            "precision": precision,
        },
        contenders(
            run,
            **(with_avx2(run, others) if precision == "float32" else others),
            **marks(layers, x.shape, threads),
        ),
        tolerances(out, precision),
    )


def rivals(layers: Sequence[Layer], x: Any, threads: int) -> dict[str, Any]:
    """Makers of the rivals' runs; OpenCV's module of networks does not continue images at their border."""
    replicates = any(getattr(layer, "padding_mode", "zeros") == "replicate" for layer in layers)
    return {
        **({} if replicates else {"OpenCV": lambda: _opencv(layers, x, threads)}),
        "ONNX_Runtime": lambda: _onnxruntime(layers, x, threads),
        "PyTorch": lambda: _pytorch(layers, x, threads, channels_last=False),
        "PyTorch,_channels-last": lambda: _pytorch(layers, x, threads, channels_last=True),
    }


def with_avx2(run: Run, rivals: dict[str, Any]) -> dict[str, Any]:
    """The makers of the rivals' runs, and amid them of fastimg's with AVX2 where the kernels for AVX-512 are in use.

    Neither of fastimg's comes behind the other: it would find image and result in the cache.
    """
    if _fastimg_cpu.active_target() != "v4":
        return rivals

    def run_with_avx2() -> Any:
        _fastimg_cpu.select_target("v3")
        try:
            return run()
        finally:
            _fastimg_cpu.select_target("v4")

    first, *others = rivals.items()
    return dict([first, ("fastimg,_AVX2", lambda: run_with_avx2), *others])


def marks(layers: Sequence[Layer], shape: tuple[int, ...], threads: int) -> dict[str, Any]:
    """What the arithmetic alone takes in float32: no algorithm that does all of it can be faster."""
    count = multiply_adds(layers, shape)
    return {"multiply-adds_alone": lambda: lambda: _fastimg_cpu.multiply_adds(count, threads)}


def _in_batches(x: Any, prepare: Callable[[Any], Any], compute: Callable[[Any], Any]) -> Run:
    """What computes all images, so many at a time as suits the rivals."""
    batches = [prepare(x[first : first + _RIVALS_BATCH]) for first in range(0, len(x), _RIVALS_BATCH)]
    if len(batches) == 1:
        return lambda: compute(batches[0])
    return lambda: np.concatenate([compute(batch) for batch in batches])


def tolerances(result: Any, precision: str = "float32") -> dict[str, float]:
    """What sums in another order, or 8 bits, may make of a result of this size."""
    accepted = (1e-4 if precision == "float32" else 3e-2) * float(np.abs(result).max())
    others = ("fastimg, AVX2", "OpenCV", "ONNX Runtime", "PyTorch", "PyTorch, channels-last")
    return dict.fromkeys(others, accepted)


def _transposed(layer: Layer) -> bool:
    return isinstance(layer, ConvTranspose2d)


def _continued(layer: Layer) -> int:
    """How far a deconvolution's input must be continued for its border to be right."""
    return -(-int(layer.weight.shape[-1] + layer.output_padding[0]) // int(layer.stride[0]))


def _pytorch(layers: Sequence[Layer], x: Any, threads: int, *, channels_last: bool) -> Run:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def tensor(array: Any) -> Any:
        return None if array is None else torch.from_numpy(np.array(array))

    def step(layer: Layer) -> Any:
        if isinstance(layer, PixelShuffle):
            return lambda y: functional.pixel_shuffle(y, layer.factor)
        weight = tensor(layer.weight).contiguous(memory_format=memory_format)
        bias, slope = tensor(layer.bias), tensor(layer.slope)
        replicates = layer.padding_mode == "replicate"

        def convolve(y: Any) -> Any:
            if _transposed(layer):
                geometry = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
                if not replicates:
                    return functional.conv_transpose2d(y, weight, bias, *geometry)
                margin, crop = _continued(layer), _continued(layer) * layer.stride[0]
                y = functional.pad(y, (margin,) * 4, mode="replicate")
                return functional.conv_transpose2d(y, weight, bias, *geometry)[..., crop:-crop, crop:-crop]
            padding = layer.padding
            if replicates:
                y, padding = functional.pad(y, (padding[1],) * 2 + (padding[0],) * 2, mode="replicate"), (0, 0)
            return functional.conv2d(y, weight, bias, layer.stride, padding, layer.dilation, layer.groups)

        def run(y: Any) -> Any:
            y = convolve(y)
            if layer.activation == "prelu":
                return functional.prelu(y, slope)
            return functional.relu(y) if layer.activation == "relu" else y

        return run

    steps = [step(layer) for layer in layers]

    def prepare(batch: Any) -> Any:
        return torch.from_numpy(batch).contiguous(memory_format=memory_format)

    def compute(y: Any) -> Any:
        with torch.inference_mode():
            for apply in steps:
                y = apply(y)
        return y.numpy()

    return _in_batches(x, prepare, compute)


def _opencv(layers: Sequence[Layer], x: Any, threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(_onnx_graph(layers), np.uint8))

    def compute(batch: Any) -> Any:
        network.setInput(batch)
        return network.forward()

    return _in_batches(x, lambda batch: batch, compute)


def _onnx_graph(layers: Sequence[Layer]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, array: Any) -> str:
        constants.append(numpy_helper.from_array(np.array(array), name))
        return name

    def add(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    at = "x"
    for i, layer in enumerate(layers):
        name = f"layer{i}"
        if isinstance(layer, PixelShuffle):
            at = add("DepthToSpace", [at], name, blocksize=layer.factor, mode="CRD")
            continue
        (rows, columns), replicates = layer.padding, layer.padding_mode == "replicate"
        attributes: dict[str, Any] = {
            "strides": list(layer.stride),
            "dilations": list(layer.dilation),
            "group": layer.groups,
        }
        margin = (rows, columns) if replicates else (0, 0)
        if _transposed(layer):
            margin = (_continued(layer),) * 2 if replicates else (0, 0)
            rows, columns = (p + m * s for p, m, s in zip(layer.padding, margin, layer.stride, strict=True))
            attributes["output_padding"] = list(layer.output_padding)
        elif replicates:
            rows, columns = 0, 0
        if any(margin):
            pads = constant(f"{name}/pads", np.array([0, 0, *margin] * 2, np.int64))
            at = add("Pad", [at, pads], f"{name}/padded", mode="edge")
        inputs = [at, constant(f"{name}/weight", layer.weight)]
        if layer.bias is not None:
            inputs.append(constant(f"{name}/bias", layer.bias))
        operator = "ConvTranspose" if _transposed(layer) else "Conv"
        at = add(operator, inputs, name, pads=[rows, columns] * 2, **attributes)
        if layer.activation == "prelu":
            at = add("PRelu", [at, constant(f"{name}/slope", layer.slope.reshape(-1, 1, 1))], f"{name}/prelu")
        elif layer.activation == "relu":
            at = add("Relu", [at], f"{name}/relu")

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "channels", "rows", "columns"])

    graph = helper.make_graph(nodes, "network", [value("x")], [value(at)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialized: bytes = model.SerializeToString()
    return serialized


def _onnxruntime(layers: Sequence[Layer], x: Any, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx_graph(layers), options, providers=["CPUExecutionProvider"])
    return _in_batches(x, lambda batch: batch, lambda batch: session.run(None, {"x": batch})[0])
