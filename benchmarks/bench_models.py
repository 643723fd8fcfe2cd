"""Super-resolution networks against PyTorch and ONNX Runtime: the same layers, the same weights.

    python benchmarks/bench_models.py [--threads 2] [--jobs FSRCNN] [--json results.json]

What is timed: the network alone, float32 luma in, float32 luma out, on threads of equal number. PyTorch runs in
inference mode, as NCHW and as channels-last, of which the faster counts; ONNX Runtime with all graph optimisations.
Each rival's result is compared with ours before it is timed. Weights are random: time does not depend on them.

With replicated borders, as the papers have them, the rivals need a padding operation before each convolution. With
zero padding, as re-implementations in PyTorch have it, they need none: both are measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import timing
from numpy.typing import NDArray

import fastimg
from fastimg.models import Conv2d, ConvTranspose2d, Layer, Network

Float32 = NDArray[np.float32]
Run = Callable[[], Float32]

DECONVOLUTION = {2: (2, 4, 1), 3: (3, 3, 0), 4: (4, 4, 3)}


@dataclass(frozen=True)
class Job:
    name: str
    layers: list[Layer]
    size: tuple[int, int]


def conv(rng: np.random.Generator, outputs: int, inputs: int, k: int, activation: str | None) -> Conv2d:
    weight = rng.standard_normal((outputs, inputs, k, k)) / np.sqrt(inputs * k * k)
    slope = rng.uniform(-0.5, 0.5, 1) if activation == "prelu" else None
    return Conv2d(weight, rng.standard_normal(outputs) * 0.1, padding=k // 2, activation=activation, slope=slope)


def fsrcnn(scale: int, d: int = 56, s: int = 12, m: int = 4) -> list[Layer]:
    rng = np.random.default_rng(scale)
    shapes = [(d, 1, 5), (s, d, 1), *[(s, s, 3)] * m, (d, s, 1)]
    stride, padding, output_padding = DECONVOLUTION[scale]
    last = ConvTranspose2d(rng.standard_normal((d, 1, 9, 9)) * 0.02, np.zeros(1), stride, padding, output_padding)
    return [*(conv(rng, *shape, "prelu") for shape in shapes), last]


def srcnn(middle: int) -> list[Layer]:
    rng = np.random.default_rng(middle)
    return [conv(rng, 64, 1, 9, "relu"), conv(rng, 32, 64, middle, "relu"), conv(rng, 1, 32, 5, None)]


def jobs() -> list[Job]:
    found = []
    for name, layers, size in [
        ("FSRCNN ×2, 960×540", fsrcnn(2), (540, 960)),
        ("FSRCNN ×2, 256×256", fsrcnn(2), (256, 256)),
        ("FSRCNN ×4, 480×270", fsrcnn(4), (270, 480)),
        ("FSRCNN-s ×3, 960×540", fsrcnn(3, 32, 5, 1), (540, 960)),
        ("SRCNN 9-1-5, 960×540", srcnn(1), (540, 960)),
    ]:
        for padding_mode in ("replicate", "zeros"):
            padded = [replace(layer, padding_mode=padding_mode) for layer in layers]
            found.append(Job(f"{name}, {padding_mode}", padded, size))
    return found


def continued(layer: ConvTranspose2d) -> int:
    """How far a deconvolution's input must be continued for its border to be right."""
    return -(-(layer.weight.shape[-1] + layer.output_padding[0]) // layer.stride[0])


def pytorch(layers: list[Layer], x: Float32, threads: int, channels_last: bool) -> Run:
    import torch
    from torch import nn
    from torch.nn import functional

    class Deconvolution(nn.Module):
        """Replicated borders for a transposed convolution, which PyTorch does not have."""

        def __init__(self, inner: nn.ConvTranspose2d, layer: ConvTranspose2d) -> None:
            super().__init__()
            self.inner, self.margin, self.crop = inner, continued(layer), continued(layer) * layer.stride[0]

        def forward(self, y: torch.Tensor) -> torch.Tensor:
            y = self.inner(functional.pad(y, (self.margin,) * 4, mode="replicate"))
            return y[..., self.crop : -self.crop, self.crop : -self.crop]

    modules: list[nn.Module] = []
    for layer in layers:
        transposed = isinstance(layer, ConvTranspose2d)
        options = {"stride": layer.stride, "padding": layer.padding}
        if transposed:
            module = nn.ConvTranspose2d(
                layer.in_channels,
                layer.out_channels,
                layer.weight.shape[2:],
                output_padding=layer.output_padding,
                **options,
            )
        else:
            options["padding_mode"] = layer.padding_mode
            module = nn.Conv2d(layer.in_channels, layer.out_channels, layer.weight.shape[2:], **options)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(np.array(layer.weight)))
            module.bias.copy_(torch.from_numpy(np.array(layer.bias)))
        modules.append(Deconvolution(module, layer) if transposed and layer.padding_mode == "replicate" else module)
        if layer.activation == "prelu":
            activation = nn.PReLU(layer.slope.size)
            with torch.no_grad():
                activation.weight.copy_(torch.from_numpy(np.array(layer.slope)))
            modules.append(activation)
        elif layer.activation == "relu":
            modules.append(nn.ReLU(inplace=True))
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    network = nn.Sequential(*modules).eval().to(memory_format=memory_format)
    tensor = torch.from_numpy(x).to(memory_format=memory_format)

    def run() -> Float32:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return network(tensor).numpy()

    return run


def onnxruntime(layers: list[Layer], x: Float32, threads: int) -> Run:
    import onnx
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    nodes, constants, at = [], [], "x"

    def constant(name: str, array: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(np.array(array), name))
        return name

    def pad(source: str, amount: int, name: str) -> str:
        pads = constant(f"{name}/pads", np.array([0, 0, amount, amount] * 2, np.int64))
        nodes.append(helper.make_node("Pad", [source, pads], [f"{name}/padded"], mode="edge"))
        return f"{name}/padded"

    for i, layer in enumerate(layers):
        name = f"layer{i}"
        transposed = isinstance(layer, ConvTranspose2d)
        (rows, columns), replicate = layer.padding, layer.padding_mode == "replicate"
        inputs = [constant(f"{name}/weight", layer.weight), constant(f"{name}/bias", layer.bias)]
        options: dict[str, list[int]] = {"strides": list(layer.stride)}
        if transposed:
            extra = continued(layer) if replicate else 0
            at = pad(at, extra, name) if extra else at
            rows, columns = (p + extra * s for p, s in zip(layer.padding, layer.stride, strict=True))
            options["output_padding"] = list(layer.output_padding)
        elif replicate and rows:
            at, rows, columns = pad(at, rows, name), 0, 0
        kind = "ConvTranspose" if transposed else "Conv"
        nodes.append(helper.make_node(kind, [at, *inputs], [name], pads=[rows, columns] * 2, **options))
        at = name
        if layer.activation == "prelu":
            slope = constant(f"{name}/slope", layer.slope.reshape(-1, 1, 1))
            nodes.append(helper.make_node("PRelu", [at, slope], [f"{name}/prelu"]))
            at = f"{name}/prelu"
        elif layer.activation == "relu":
            nodes.append(helper.make_node("Relu", [at], [f"{name}/relu"]))
            at = f"{name}/relu"

    def tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, "network", [tensor("x", [1, 1, "h", "w"])], [tensor(at, [1, 1, "oh", "ow"])], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options_of_session = ort.SessionOptions()
    options_of_session.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options_of_session, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def measure(job: Job, threads: int, seconds: float) -> timing.Row:
    x = np.random.default_rng(0).random((1, 1, *job.size), np.float32)
    network = Network(job.layers)
    out = network(x)
    rivals: dict[str, Run] = {}
    for name, make in {
        "PyTorch": lambda: pytorch(job.layers, x, threads, False),
        "PyTorch channels-last": lambda: pytorch(job.layers, x, threads, True),
        "ONNX Runtime": lambda: onnxruntime(job.layers, x, threads),
    }.items():
        try:
            rivals[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    differences = {name: float(np.abs(run() - out).max()) for name, run in rivals.items()}
    for name, difference in differences.items():
        if difference > 1e-4 * np.abs(out).max():
            raise SystemExit(f"{job.name}: {name} computes something else (largest difference {difference:g})")
    timings = timing.interleaved({"fastimg": lambda: network(x, out=out, threads=threads), **rivals}, seconds)
    both = [timings.pop(name) for name in ("PyTorch", "PyTorch channels-last") if name in timings]
    if both:
        timings["PyTorch"] = min(both, key=lambda t: t.median)
    return timing.Row(job.name, timings, differences)


def versions() -> dict[str, str]:
    found = {"fastimg": fastimg.__version__, "numpy": np.__version__}
    for name in ("torch", "onnxruntime"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            found[name] = "not installed"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=fastimg.get_num_threads(), help="threads of every candidate")
    parser.add_argument("--jobs", default="", help="regular expression: only jobs whose name it matches")
    parser.add_argument("--seconds", type=float, default=5.0, help="measuring time per job (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    args = parser.parse_args()
    rows = []
    for job in jobs():
        if re.search(args.jobs, job.name):
            print(f"{job.name} …", file=sys.stderr)
            rows.append(measure(job, args.threads, args.seconds))
    print(timing.markdown(rows))
    if args.json:
        timing.write_json(args.json, rows, versions(), args.threads)


if __name__ == "__main__":
    main()
