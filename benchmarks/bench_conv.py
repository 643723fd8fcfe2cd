"""Times `nn.conv2d` and `nn.conv_transpose2d` against PyTorch and ONNX Runtime, layer by layer and as FSRCNN.

Every job is the same for all: the same float32 arrays, weights and zero padding, bias and PReLU included, the same
number of threads; results are compared before anything is timed. PyTorch runs as it likes best (NCHW or channels-last,
under `inference_mode`); ONNX Runtime runs a model of the layer with all optimisations. fastimg is given its output
arrays; both others keep an arena or cache of theirs.

    python benchmarks/bench_conv.py [--threads 2] [--jobs conv3] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import timing

from fastimg import _fastimg_cpu, nn


@dataclass
class Layer:
    """A layer, and the weights that everybody runs it with."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    transposed: bool = False
    padding: int | None = None
    output_padding: int = 0
    prelu: bool = True
    weight: np.ndarray = field(init=False)
    bias: np.ndarray = field(init=False)
    slope: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.kernel + 100 * self.outputs)
        channels = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs // self.groups)
        scale = (self.inputs // self.groups * self.kernel**2) ** -0.5
        self.weight = (rng.standard_normal((*channels, self.kernel, self.kernel)) * scale).astype(np.float32)
        self.bias = rng.standard_normal(self.outputs).astype(np.float32)
        self.slope = (rng.random(self.outputs) - 0.5).astype(np.float32)
        if self.padding is None:
            self.padding = self.dilation * (self.kernel - 1) // 2

    @property
    def activation(self) -> dict[str, Any]:
        return {"activation": "prelu", "slope": self.slope} if self.prelu else {}

    def shape(self, height: int, width: int) -> tuple[int, int]:
        def length(n: int) -> int:
            if self.transposed:
                return (n - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding
            return (n + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

        return length(height), length(width)

    def multiply_adds(self, height: int, width: int) -> float:
        rows, columns = (height, width) if self.transposed else self.shape(height, width)
        return self.inputs * self.outputs / self.groups * self.kernel**2 * rows * columns


def fsrcnn(scale: int) -> list[Layer]:
    padding, output_padding = {2: (4, 1), 3: (3, 0), 4: (4, 3)}[scale]
    return [
        Layer("feature_extraction", 1, 56, 5),
        Layer("shrinking", 56, 12, 1),
        *(Layer(f"mapping.{i}", 12, 12, 3) for i in range(4)),
        Layer("expanding", 12, 56, 1),
        Layer("deconvolution", 56, 1, 9, scale, 1, 1, True, padding, output_padding, False),
    ]


def srcnn() -> list[Layer]:
    return [
        Layer("patch_extraction", 1, 64, 9),
        Layer("nonlinear_mapping", 64, 32, 5),
        Layer("reconstruction", 32, 1, 5, prelu=False),
    ]


# (name, layers, shape of the input); the first group is FSRCNN's layers one by one
JOBS: list[tuple[str, list[Layer], tuple[int, int, int, int]]] = [
    ("FSRCNN ×2 960×540", fsrcnn(2), (1, 1, 540, 960)),
    ("FSRCNN ×2 256×256", fsrcnn(2), (1, 1, 256, 256)),
    ("FSRCNN ×4 480×270", fsrcnn(4), (1, 1, 270, 480)),
    ("SRCNN 9-5-5 960×540", srcnn(), (1, 1, 540, 960)),
    ("conv5 1→56", fsrcnn(2)[0:1], (1, 1, 540, 960)),
    ("conv1 56→12", fsrcnn(2)[1:2], (1, 56, 540, 960)),
    ("conv3 12→12", fsrcnn(2)[2:3], (1, 12, 540, 960)),
    ("conv1 12→56", fsrcnn(2)[6:7], (1, 12, 540, 960)),
    ("deconv9 56→1 /2", fsrcnn(2)[7:], (1, 56, 540, 960)),
    ("deconv9 56→1 /3", fsrcnn(3)[7:], (1, 56, 540, 960)),
    ("deconv9 56→1 /4", fsrcnn(4)[7:], (1, 56, 540, 960)),
    ("conv9 1→64", [Layer("", 1, 64, 9)], (1, 1, 540, 960)),
    ("conv5 64→32", [Layer("", 64, 32, 5)], (1, 64, 270, 480)),
    ("conv1 64→32", [Layer("", 64, 32, 1)], (1, 64, 540, 960)),
    ("conv5 32→1", [Layer("", 32, 1, 5)], (1, 32, 540, 960)),
    ("conv3 64→64 512²", [Layer("", 64, 64, 3)], (1, 64, 512, 512)),
    ("conv3 64→64 56²", [Layer("", 64, 64, 3)], (1, 64, 56, 56)),
    ("conv3 512→512 14²", [Layer("", 512, 512, 3)], (1, 512, 14, 14)),
    ("conv3 64→64 /2", [Layer("", 64, 64, 3, 2)], (1, 64, 256, 256)),
    ("conv3 dilated 2, 32→32", [Layer("", 32, 32, 3, dilation=2)], (1, 32, 256, 256)),
    ("conv3 depthwise 64", [Layer("", 64, 64, 3, groups=64)], (1, 64, 256, 256)),
    ("conv3 3→3", [Layer("", 3, 3, 3)], (1, 3, 540, 960)),
    ("deconv4 64→32 /2", [Layer("", 64, 32, 4, 2, transposed=True, padding=1)], (1, 64, 128, 128)),
    ("conv3 16→16, 256 images 28×28", [Layer("", 16, 16, 3)], (256, 16, 28, 28)),
]


def fastimg_job(layers: list[Layer], x: np.ndarray, threads: int) -> Any:
    outs = []
    height, width = x.shape[2:]
    for layer in layers:
        height, width = layer.shape(height, width)
        outs.append(np.zeros((len(x), layer.outputs, height, width), np.float32))

    def run() -> np.ndarray:
        y = x
        for layer, out in zip(layers, outs, strict=True):
            keywords = {**layer.activation, "out": out, "threads": threads}
            if layer.transposed:
                geometry = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
                y = nn.conv_transpose2d(y, layer.weight, layer.bias, *geometry, **keywords)
            else:
                geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
                y = nn.conv2d(y, layer.weight, layer.bias, *geometry, **keywords)
        return y

    return run


def torch_job(layers: list[Layer], x: np.ndarray, threads: int, channels_last: bool) -> Any:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    tensors = [[torch.from_numpy(a) for a in (layer.weight, layer.bias, layer.slope)] for layer in layers]
    for arrays in tensors:
        arrays[0] = arrays[0].contiguous(memory_format=memory)
    source = torch.from_numpy(x).contiguous(memory_format=memory)

    def run() -> np.ndarray:
        y = source
        with torch.inference_mode():
            for layer, (weight, bias, slope) in zip(layers, tensors, strict=True):
                if layer.transposed:
                    geometry = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
                    y = functional.conv_transpose2d(y, weight, bias, *geometry)
                else:
                    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
                    y = functional.conv2d(y, weight, bias, *geometry)
                if layer.prelu:
                    y = functional.prelu(y, slope)
        return y.numpy()

    return run


def onnxruntime_job(layers: list[Layer], x: np.ndarray, threads: int) -> Any:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    for i, layer in enumerate(layers):
        pads, dilations = [layer.padding] * 4, [layer.dilation] * 2
        attributes = {"pads": pads, "strides": [layer.stride] * 2, "dilations": dilations, "group": layer.groups}
        if layer.transposed:
            attributes["output_padding"] = [layer.output_padding] * 2
        operator = "ConvTranspose" if layer.transposed else "Conv"
        result = f"c{i}" if layer.prelu else f"x{i + 1}"
        nodes.append(helper.make_node(operator, [f"x{i}", f"w{i}", f"b{i}"], [result], **attributes))
        constants += [numpy_helper.from_array(layer.weight, f"w{i}"), numpy_helper.from_array(layer.bias, f"b{i}")]
        if layer.prelu:
            nodes.append(helper.make_node("PRelu", [f"c{i}", f"s{i}"], [f"x{i + 1}"]))
            constants.append(numpy_helper.from_array(layer.slope.reshape(-1, 1, 1), f"s{i}"))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x0", f"x{len(layers)}")]
    graph = helper.make_graph(nodes, "layers", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x0": x})[0]


def arithmetic_rate(threads: int) -> float:
    """Gigaflops of a large float32 matrix product in PyTorch: what well-tuned code reaches on this machine."""
    import torch

    torch.set_num_threads(threads)
    a = torch.rand(1536, 1536)
    times = timing.interleaved({"product": lambda: a @ a}, 0.5)
    return 2 * 1536**3 / times["product"].lower_quartile / 1e6


def multiply_adds(layers: list[Layer], shape: tuple[int, ...]) -> float:
    height, width = shape[2:]
    total = 0.0
    for layer in layers:
        total += shape[0] * layer.multiply_adds(height, width)
        height, width = layer.shape(height, width)
    return total


def compare(name: str, layers: list[Layer], shape: tuple[int, ...], options: argparse.Namespace) -> timing.Row:
    x = np.random.default_rng(1).random(shape, np.float32)
    candidates = {"fastimg": fastimg_job(layers, x, options.threads)}
    if not options.alone:
        candidates["PyTorch NCHW"] = torch_job(layers, x, options.threads, False)
        candidates["PyTorch channels-last"] = torch_job(layers, x, options.threads, True)
        candidates["ONNX Runtime"] = onnxruntime_job(layers, x, options.threads)
    expected = candidates["fastimg"]().copy()
    size = float(np.abs(expected).max())
    differences = {}
    for rival, run in candidates.items():
        differences[rival] = float(np.abs(run() - expected).max()) / size
        if differences[rival] > 1e-4:
            raise SystemExit(f"{name}: {rival} computes something else, by {differences[rival]:g}")
    return timing.Row(name, timing.interleaved(candidates, options.seconds), differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--jobs", default="", help="only those whose name contains this")
    parser.add_argument("--seconds", type=float, default=3.0, help="per job")
    parser.add_argument("--json", type=Path, help="keep the results in this file")
    parser.add_argument("--alone", action="store_true", help="leave the rivals out")
    options = parser.parse_args()

    rows = []
    target = _fastimg_cpu.active_target()
    peak = float("nan") if options.alone else arithmetic_rate(options.threads)
    print(f"{options.threads} threads, target {target}; a matrix product in PyTorch: {peak:.0f} GFLOP/s", flush=True)
    for name, layers, shape in JOBS:
        if options.jobs not in name:
            continue
        row = compare(name, layers, shape, options)
        rows.append(row)
        rate = 2e-6 * multiply_adds(layers, shape) / row.timings["fastimg"].median
        print(f"{name}: {rate:.0f} GFLOP/s", flush=True)
    print(timing.markdown(rows))
    if options.json:
        versions = {name: metadata.version(name) for name in ("numpy", "torch", "onnxruntime")}
        timing.write_json(options.json, rows, versions, options.threads)


if __name__ == "__main__":
    main()
