"""The CUDA backend against CuPy and PyTorch: `python benchmarks/bench_cuda.py [--json FILE] [--jobs gaussian]`.

What is timed: the work on the device, by events around several calls, on arrays that are there already and with `out`
given where the library has it. Each call takes the next of a set of inputs larger than the L2 cache, so that none is
found there. Candidates of a job run in turns, in one process, medians over the rounds; each rival's result is compared
with ours first. Beside each time stands the speed of copying the same bytes, measured in the same run. The jobs of the
group `launch` are timed on the host instead: what a call costs in Python.
"""

from __future__ import annotations

import argparse
import functools
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cuda_timing as timing
import numpy as np

from fastimg import augment, color, filters, metrics, models, nn, opencv, restoration, transform, util
from fastimg.augment.plan import draw
from fastimg.benchmarks import Timing
from fastimg.benchmarks.augment import MEAN, SIGMA, STD

try:
    import cupy
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"needs CuPy and PyTorch: {error}")

Call = Callable[[int], object]  # runs on the i-th of the rotated inputs and returns the result

ROTATED_BYTES = 256 << 20  # several times the L2 cache of any device
CYCLES_TO_QUEUE = 1_000_000  # of the device, in which the host queues a call: 0.5 ms
HD, UHD = (1080, 1920), (2160, 3840)


def milliseconds(call: Call, repeats: int, cycles: int = CYCLES_TO_QUEUE) -> float:
    """Of one call on the device, by events around `repeats` of them, all queued before the first begins."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda._sleep(cycles * repeats)
    start.record()
    for i in range(repeats):
        call(i)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def milliseconds_of_host(call: Call, repeats: int) -> float:
    """Of one call in Python: until it returns, not until the device is done."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for i in range(repeats):
        call(i)
    elapsed = time.perf_counter() - start
    torch.cuda.synchronize()
    return 1e3 * elapsed / repeats


@dataclass(frozen=True)
class Job:
    """Candidates for the same work; `tolerance` is what the rivals' rounding may make of a difference from ours."""

    name: str
    candidates: dict[str, Call]
    tolerance: float
    clock: Callable[[Call, int], float] = milliseconds


# ---- inputs ----------------------------------------------------------------------------------------------------------


def rotated(make: Callable[[np.random.Generator], np.ndarray]) -> list[cupy.ndarray]:
    """Copies on the device of different images, together larger than the cache."""
    rng = np.random.default_rng(0)
    first = make(rng)
    count = max(2, -(-ROTATED_BYTES // first.nbytes))
    images = [cupy.asarray(first)]
    images += [cupy.roll(images[0], 7919 * (i + 1)) for i in range(count - 1)]
    return images


def noisy(shape: tuple[int, ...], dtype: str) -> Callable[[np.random.Generator], np.ndarray]:
    """A smooth scene with noise of sigma 15 (of 255)."""

    def make(rng: np.random.Generator) -> np.ndarray:
        y, x = np.mgrid[: shape[0], : shape[1]]
        scene = 128 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23)
        image = scene.reshape(scene.shape + (1,) * (len(shape) - 2)) + rng.normal(0, 15, shape)
        return np.clip(image, 0, 255).astype(dtype) if dtype == "uint8" else (image / 255).astype(dtype)

    return make


def as_torch(images: list[cupy.ndarray]) -> list[torch.Tensor]:
    return [torch.from_dlpack(image) for image in images]


def turn(images: list, i: int) -> object:
    return images[i % len(images)]


# ---- jobs ------------------------------------------------------------------------------------------------------------


def gaussian_jobs() -> Iterator[Job]:
    from cupyx.scipy import ndimage

    images = rotated(noisy(UHD, "float32"))
    tensors, out = as_torch(images), cupy.empty_like(images[0])
    for sigma in (1, 3, 20):
        radius = int(4 * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        taps = torch.tensor(weights / weights.sum(), dtype=torch.float32, device="cuda")

        def separable(i: int, taps: torch.Tensor = taps, radius: int = radius) -> torch.Tensor:
            x = turn(tensors, i)[None, None]
            x = F.pad(x, (radius,) * 4, mode="replicate")
            return F.conv2d(F.conv2d(x, taps.reshape(1, 1, -1, 1)), taps.reshape(1, 1, 1, -1))[0, 0]

        yield Job(
            f"gaussian 3840×2160 float32, sigma {sigma}",
            {
                "fastimg": lambda i, s=sigma: filters.gaussian(turn(images, i), s, out=out),
                "copy": lambda i: cupy.copyto(out, turn(images, i)),
                "cupyx": lambda i, s=sigma: ndimage.gaussian_filter(turn(images, i), s, mode="nearest"),
                "torch": separable,
            },
            1e-5,
        )
    for sigma in (20, 100):
        yield Job(
            f"gaussian, recursive 3840×2160 float32, sigma {sigma}",
            {
                "fastimg": lambda i, s=sigma: filters.gaussian(turn(images, i), s, method="recursive", out=out),
                "copy": lambda i: cupy.copyto(out, turn(images, i)),
                "fastimg, taps": lambda i, s=sigma: filters.gaussian(turn(images, i), s, out=out),
            },
            2e-4,  # taps are cut at four sigmas
        )
    rgb = rotated(noisy((*UHD, 3), "uint8"))
    rgb_out = cupy.empty_like(rgb[0])
    yield Job(
        "gaussian 3840×2160 uint8 RGB, sigma 3",
        {
            "fastimg": lambda i: filters.gaussian(turn(rgb, i), 3, channel_axis=-1, preserve_range=True, out=rgb_out),
            "copy": lambda i: cupy.copyto(rgb_out, turn(rgb, i)),
            "cupyx": lambda i: ndimage.gaussian_filter(turn(rgb, i), (3, 3, 0), mode="nearest"),
        },
        2.0,  # cupyx keeps integers between the axes and cuts their fractions off
    )


def torch_nl_means(image: torch.Tensor, patch: int, distance: int, h: float) -> torch.Tensor:
    """The formulation that PyTorch users write: a box filter of squared differences per offset, both halves."""
    rows, columns = image.shape
    padded = F.pad(image[None, None], (distance + patch // 2,) * 4, mode="reflect")[0, 0]
    inner = padded[distance:-distance, distance:-distance]
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    half = patch // 2
    for dy in range(-distance, distance + 1):
        for dx in range(-distance, distance + 1):
            other = padded[distance + dy : distance + dy + inner.shape[0], distance + dx :][:, : inner.shape[1]]
            d = F.avg_pool2d(((inner - other) ** 2)[None, None], patch, 1)[0, 0]
            w = torch.exp(-d / h**2)
            total += w * other[half : half + rows, half : half + columns]
            weights += w
    return total / weights


def denoise_nl_means_jobs() -> Iterator[Job]:
    h = 10 / 255
    for dtype, top in (("uint8", 255), ("float32", 1.0)):
        images = rotated(noisy(HD, dtype))
        tensors, out = as_torch(images), cupy.empty_like(images[0])
        yield Job(
            f"denoise_nl_means 1920×1080 {dtype}, patch 7, search 21",
            {
                "fastimg": lambda i, images=images, out=out, h=h * top: restoration.denoise_nl_means(
                    turn(images, i), patch_size=7, patch_distance=10, h=h, preserve_range=True, out=out
                ),
                "torch": lambda i, tensors=tensors, top=top: torch_nl_means(turn(tensors, i) / top, 7, 10, h),
            },
            float("inf"),  # scikit-image's patches are 6 wide: not the same values
        )
    colour = rotated(noisy((*HD, 3), "uint8"))
    colour_out = cupy.empty_like(colour[0])
    yield Job(
        "denoise_nl_means 1920×1080 uint8 RGB, patch 7, search 21",
        {
            "fastimg": lambda i: restoration.denoise_nl_means(
                turn(colour, i), 7, 10, h=10, channel_axis=-1, preserve_range=True, out=colour_out
            )
        },
        0.0,
    )
    grey = rotated(noisy(HD, "uint8"))
    yield Job(
        "fastNlMeansDenoising 1920×1080 uint8, patch 7, search 21",
        {"fastimg": lambda i: opencv.fastNlMeansDenoising(turn(grey, i), None, 10, 7, 21)},
        0.0,
    )
    yield Job(
        "fastNlMeansDenoisingColored 1920×1080, patch 7, search 21",
        {"fastimg": lambda i: opencv.fastNlMeansDenoisingColored(turn(colour, i), None, 10, 10, 7, 21)},
        0.0,
    )


def torch_layers(network: models.Network) -> torch.nn.Module:
    """The same layers and weights in PyTorch, zero padding in place of replication (as users write it)."""
    layers: list[torch.nn.Module] = []
    for layer in network.layers:
        if isinstance(layer, models.Add):
            return Residual(torch.nn.Sequential(*layers)).cuda().half().to(memory_format=torch.channels_last).eval()
        weight = torch.from_numpy(layer.weight.copy())
        out, k = layer.out_channels, weight.shape[2:]
        if isinstance(layer, models.Conv2d):
            module: torch.nn.Module = torch.nn.Conv2d(layer.in_channels, out, k, padding=layer.padding)
        else:
            module = torch.nn.ConvTranspose2d(
                layer.in_channels, out, k, layer.stride, layer.padding, layer.output_padding
            )
        module.weight.data, module.bias.data = weight, torch.from_numpy(layer.bias.copy())
        layers.append(module)
        if layer.slope is not None:
            prelu = torch.nn.PReLU(len(layer.slope))
            prelu.weight.data = torch.from_numpy(layer.slope.copy())
            layers.append(prelu)
    return torch.nn.Sequential(*layers).cuda().half().to(memory_format=torch.channels_last).eval()


class Residual(torch.nn.Module):
    """Layers whose result is added to their input."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def in_graph(module: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor) -> Callable[[torch.Tensor], object]:
    """A CUDA graph of one call; the input is copied into its place."""
    place = example.clone()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            module(place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = module(place)

    def replay(x: torch.Tensor) -> torch.Tensor:
        place.copy_(x)
        graph.replay()
        return result

    return replay


def network_jobs() -> Iterator[Job]:
    network = models.FSRCNN.from_pretrained(scale=2).network
    for size in ((540, 960), HD):
        images = rotated(lambda rng, size=size: noisy(size, "float32")(rng)[None, None].astype(np.float32))
        halves = [x.half().to(memory_format=torch.channels_last) for x in as_torch(images)]
        graph = in_graph(torch_layers(network), halves[0])
        compiled = torch.compile(torch_layers(network), mode="max-autotune")
        candidates: dict[str, Call] = {
            "fastimg float16": lambda i, x=images: network(turn(x, i), precision="float16"),
            "fastimg float32": lambda i, x=images: network(turn(x, i)),
            "torch graph": lambda i, x=halves, g=graph: g(turn(x, i)),
            "torch.compile": lambda i, x=halves, c=compiled: c(turn(x, i)),
        }
        yield Job(f"FSRCNN ×2, {size[1]}×{size[0]}", candidates, float("inf"))  # borders differ


def small_network_jobs() -> Iterator[Job]:
    """Networks without a rival that compiles: the layers in PyTorch, in float16, as a graph."""
    for name, network, size in (
        ("FSRCNN ×3", models.FSRCNN.from_pretrained(3).network, (540, 960)),
        ("FSRCNN ×4", models.FSRCNN.from_pretrained(4).network, (270, 480)),
        ("FSRCNN-s ×2", models.FSRCNN_s.from_pretrained(2).network, (480, 720)),
        ("DnCNN-s", models.DnCNN_s.from_pretrained().network, (512, 512)),
    ):
        images = rotated(lambda rng, size=size: noisy(size, "float32")(rng)[None, None].astype(np.float32))
        halves = [x.half().to(memory_format=torch.channels_last) for x in as_torch(images)]
        graph = in_graph(torch_layers(network), halves[0])
        yield Job(
            f"{name}, {size[1]}×{size[0]}",
            {
                "fastimg float16": lambda i, x=images, n=network: n(turn(x, i), precision="float16"),
                "fastimg float32": lambda i, x=images, n=network: n(turn(x, i)),
                "torch graph": lambda i, x=halves, g=graph: g(turn(x, i)),
            },
            float("inf"),  # borders differ
        )


def colour_jobs() -> Iterator[Job]:
    colours = rotated(noisy((*UHD, 3), "float32"))
    tensors, copy = as_torch(colours), cupy.empty_like(colours[0])
    weights = torch.tensor([0.2125, 0.7154, 0.0721], device="cuda")
    yield Job(
        "rgb2gray 3840×2160 float32",
        {
            "fastimg": lambda i: color.rgb2gray(turn(colours, i)),
            "copy": lambda i: cupy.copyto(copy, turn(colours, i)),
            "torch": lambda i: turn(tensors, i) @ weights,
        },
        1e-5,
    )
    images = rotated(noisy(UHD, "float32"))
    planes = as_torch(images)
    yield Job(
        "random_noise 3840×2160 float32, Gaussian",
        {
            "fastimg": lambda i: util.random_noise(turn(images, i), rng=1),
            "torch": lambda i: (turn(planes, i) + 0.1 * torch.randn_like(turn(planes, i))).clamp_(0, 1),
        },
        float("inf"),  # other random numbers
    )


def convolution_jobs() -> Iterator[Job]:
    rng = np.random.default_rng(0)
    for name, inputs, outputs, k, transposed in (
        ("conv_transpose2d 9×9", 56, 1, 9, True),
        ("conv2d 3×3", 12, 12, 3, False),
    ):
        images = rotated(lambda rng, c=inputs: rng.standard_normal((1, c, 540, 960), np.float32))
        tensors = as_torch(images)
        shape = (inputs, outputs, k, k) if transposed else (outputs, inputs, k, k)
        weight = cupy.asarray(rng.standard_normal(shape).astype(np.float32) * 0.05)
        slope = cupy.full(1, 0.25, np.float32)
        w, s = torch.from_dlpack(weight), torch.from_dlpack(slope)
        if transposed:
            ours: Call = lambda i, x=images, w=weight: nn.conv_transpose2d(turn(x, i), w, None, 2, 4, 1)  # noqa: E731
            theirs: Call = lambda i, x=tensors, w=w: F.conv_transpose2d(turn(x, i), w, None, 2, 4, 1)  # noqa: E731
        else:
            ours = lambda i, x=images, w=weight, s=slope: nn.conv2d(  # noqa: E731
                turn(x, i), w, None, 1, 1, activation="prelu", slope=s
            )
            theirs = lambda i, x=tensors, w=w, s=s: F.prelu(F.conv2d(turn(x, i), w, None, 1, 1), s)  # noqa: E731
        yield Job(f"{name}, {inputs}→{outputs}, 960×540 float32", {"fastimg": ours, "torch": theirs}, 1e-2)


def metric_jobs() -> Iterator[Job]:
    images = rotated(noisy(UHD, "float32"))
    tensors = as_torch(images)
    yield Job(
        "peak_signal_noise_ratio 3840×2160 float32",
        {
            "fastimg": lambda i: metrics.peak_signal_noise_ratio(turn(images, i), turn(images, i + 1), data_range=1.0),
            "torch": lambda i: 10 * torch.log10(1 / F.mse_loss(turn(tensors, i), turn(tensors, i + 1))),
        },
        1e-3,
    )
    taps = torch.exp(-0.5 * (torch.arange(-5.0, 6.0, device="cuda") / 1.5) ** 2)
    taps /= taps.sum()

    def similarity(i: int) -> torch.Tensor:
        x, y = turn(tensors, i), turn(tensors, i + 1)
        moments = torch.stack([x, y, x * x, y * y, x * y])[:, None]
        blurred = F.conv2d(F.conv2d(moments, taps.reshape(1, 1, -1, 1)), taps.reshape(1, 1, 1, -1))[:, 0]
        ux, uy, xx, yy, xy = blurred
        vx, vy, vxy = xx - ux * ux, yy - uy * uy, xy - ux * uy
        c1, c2 = 0.01**2, 0.03**2
        return ((2 * ux * uy + c1) * (2 * vxy + c2) / ((ux * ux + uy * uy + c1) * (vx + vy + c2))).mean()

    yield Job(
        "structural_similarity 3840×2160 float32, Gaussian",
        {
            "fastimg": lambda i: metrics.structural_similarity(
                turn(images, i),
                turn(images, i + 1),
                data_range=1.0,
                gaussian_weights=True,
                use_sample_covariance=False,
            ),
            "torch": similarity,
        },
        1e-3,
    )


def resize_jobs() -> Iterator[Job]:
    images = rotated(noisy(UHD, "float32"))
    tensors = as_torch(images)
    yield Job(
        "resize 3840×2160 to 1920×1080 float32, bicubic, antialiased",
        {
            "fastimg": lambda i: transform.resize(turn(images, i), HD, kernel="bicubic"),
            "torch": lambda i: F.interpolate(
                turn(tensors, i)[None, None], HD, mode="bicubic", antialias=True, align_corners=False
            )[0, 0],
        },
        float("inf"),  # PyTorch's cubic has another coefficient
    )


def warp_jobs() -> Iterator[Job]:
    """A small turn, linear. CuPy takes channels as an axis of its own, PyTorch planes and a grid made before."""
    from cupyx.scipy import ndimage

    matrix = transform.AffineTransform(rotation=0.1, scale=0.95, translation=(60, -40)).params
    (a, b, c), (d, e, f) = matrix[:2]
    rows, columns = HD
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64, device="cuda"),
        torch.arange(columns, dtype=torch.float64, device="cuda"),
        indexing="ij",
    )
    places = torch.stack([d * x + e * y + f, a * x + b * y + c]).float()
    grid = torch.stack([2 * places[1] / (columns - 1) - 1, 2 * places[0] / (rows - 1) - 1], -1)[None]
    table = cupy.asarray(places)

    @transform.CompiledMap
    def affine(row, column, a, b, c, d, e, f):
        return d * column + e * row + f, a * column + b * row + c

    numbers = dict(zip("abcdef", matrix[:2].ravel(), strict=True))
    for shape, dtype, tolerance in (
        (HD, "float32", 1e-3),  # of PyTorch's grid: its coordinates are within 2^-13 pixels
        ((*HD, 3), "float32", 1e-3),
        (HD, "uint8", 1.0),  # of cupyx's integers: their fractions are cut off
        ((*HD, 3), "uint8", 1.0),
    ):
        images = rotated(noisy(shape, dtype))
        out, theirs = cupy.empty_like(images[0]), cupy.empty_like(images[0])
        axes = len(shape)
        turned = cupy.asarray(np.array([[e, d, 0], [b, a, 0], [0, 0, 1]])[:axes, :axes])
        shift = (f, c, 0.0)[:axes]
        candidates: dict[str, Call] = {
            "fastimg": lambda i, x=images, out=out: transform.warp(turn(x, i), matrix, preserve_range=True, out=out),
            "fastimg, coordinates": lambda i, x=images, out=out: transform.warp(
                turn(x, i), table, preserve_range=True, out=out
            ),
            "fastimg, a function": lambda i, x=images, out=out: transform.warp(
                turn(x, i), affine, numbers, preserve_range=True, out=out
            ),
            "fastimg in a graph": captured(
                lambda i, x=images, out=out: transform.warp(turn(x, i), matrix, preserve_range=True, out=out),
                len(images),
                out,
            ),
            "copy": lambda i, x=images, out=out: cupy.copyto(out, turn(x, i)),
            "cupyx": lambda i, x=images, m=turned, s=shift, out=theirs: ndimage.affine_transform(
                turn(x, i), m, s, output=out, order=1, mode="grid-constant"
            ),
        }
        if find_spec("numba_cuda") is None:
            del candidates["fastimg, a function"]
        if dtype == "float32":
            planes = [t.reshape(rows, columns, -1).permute(2, 0, 1)[None].contiguous() for t in as_torch(images)]
            candidates["torch"] = lambda i, x=planes: F.grid_sample(turn(x, i), grid, align_corners=True)[0].permute(
                1, 2, 0
            )
        yield Job(
            f"warp 1920×1080 {'RGB' if len(shape) == 3 else 'grey'} {dtype}, affine, linear", candidates, tolerance
        )
    images = rotated(noisy((*HD, 3), "uint8"))
    out = cupy.empty_like(images[0])
    tilt = np.array([[0.95, 0.1, 20], [-0.1, 0.95, 40], [1e-5, 2e-5, 1]])
    for name, inverse_map, order in (("affine, nearest", matrix, 0), ("affine, cubic", matrix, 3), ("tilted", tilt, 1)):
        yield Job(
            f"warp 1920×1080 RGB uint8, {name}",
            {
                "fastimg": lambda i, x=images, out=out, m=inverse_map, order=order: transform.warp(
                    turn(x, i), m, order=order, preserve_range=True, out=out
                ),
                "copy": lambda i, x=images, out=out: cupy.copyto(out, turn(x, i)),
            },
            0.0,
        )


BATCH, SIDE = 256, 224


def augment_jobs() -> Iterator[Job]:
    """A batch of photographs, against the PyTorch operations that do the same to all images of a batch at once.

    PyTorch is given matrices and colours on the device and draws its own noise: its times are without a draw. The
    candidate that copies is what bringing the batch from pinned memory takes.
    """
    pipelines = {
        "geometry, normalised": [augment.Affine(degrees=15, translate=0.1, scale=(0.9, 1.1), shear=5), augment.Flip()],
        "and colours": [augment.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02)],
        "and noise": [augment.GaussianNoise(SIGMA)],
        "and a blur of a fifth": [augment.GaussianBlur(sigma=(0.5, 2), p=0.2)],
    }
    images = rotated(noisy((BATCH, SIDE, SIDE, 3), "uint8"))
    planes = [batch.permute(0, 3, 1, 2).contiguous() for batch in as_torch(images)]
    pinned, landing = torch.empty(planes[0].shape, dtype=torch.uint8, pin_memory=True), torch.empty_like(planes[0])
    out = cupy.empty((BATCH, 3, SIDE, SIDE), np.float32)
    transforms: list[Any] = []
    for name, more in pipelines.items():
        transforms += more
        ordered = sorted(transforms, key=lambda transform: transform.stage)
        compose = augment.Compose([*ordered, augment.Normalize(MEAN, STD)], seed=1, out_channel_axis=1)
        graph = captured(lambda i, c=compose: c(turn(images, i), index=0, out=out), len(images), out)
        candidates: dict[str, Call] = {
            "fastimg": lambda i, c=compose: c(turn(images, i), index=0, out=out),
            "fastimg in a graph": graph,
            "copy from the host": lambda i: landing.copy_(pinned, non_blocking=True),
        }
        noise = "noise" in name or "blur" in name
        if "blur" not in name:  # of images that differ in sigma PyTorch has no call
            candidates["torch"] = torch_augmentation(compose, planes, noise)
        tolerance = 0.05 + (2 * 6.7 * SIGMA / min(STD) if noise else 0)
        clock = functools.partial(milliseconds, cycles=8 * CYCLES_TO_QUEUE)
        yield Job(f"{BATCH} × {SIDE}×{SIDE} RGB uint8 to float32: {name}", candidates, tolerance, clock)
        yield Job(f"Python's part of {name}", {"fastimg": candidates["fastimg"]}, 0.0, milliseconds_of_host)


def torch_augmentation(compose: augment.Compose, planes: list[torch.Tensor], noise: bool) -> Call:
    """The same by `affine_grid`, `grid_sample` and arithmetic on whole batches."""
    draws = draw(np.arange(BATCH, dtype=np.uint64), len(compose.transforms), compose.seed)
    (plan,) = compose._plans(draws, np.full((BATCH, 2), SIDE), 3)
    to_unit = np.array([[2 / SIDE, 0, 1 / SIDE - 1], [0, 2 / SIDE, 1 / SIDE - 1], [0, 0, 1]])
    theta = to_unit @ plan.what["matrix"] @ np.linalg.inv(to_unit)
    numbers = {name: torch.tensor(plan.what[name], device="cuda") for name in ("color", "mean_color", "offset")}
    matrices = torch.tensor(theta[:, :2].astype(np.float32), device="cuda")
    mean, std = (torch.tensor(values, device="cuda")[:, None, None] for values in (MEAN, STD))
    size, colours = (BATCH, 3, SIDE, SIDE), bool(plan.what["recolored"].any())

    def run(i: int) -> torch.Tensor:
        x = turn(planes, i).float().div_(255)
        x = F.grid_sample(x, F.affine_grid(matrices, size, align_corners=False), align_corners=False)
        if colours:
            shift = torch.einsum("ndc,nc->nd", numbers["mean_color"], x.mean(dim=(2, 3))) + numbers["offset"]
            x = torch.baddbmm(shift[..., None], numbers["color"], x.flatten(2)).clamp_(0, 1).view(size)
        if noise:
            x = x.add_(torch.randn_like(x), alpha=SIGMA).clamp_(0, 1)
        return x.sub_(mean).div_(std)

    return run


def captured(call: Call, count: int, result: cupy.ndarray) -> Call:
    """The same calls, each in a CUDA graph of its own: what the host does for them is one call of the driver."""
    graphs = []
    for i in range(count):
        call(i)  # compiles, and takes memory
        with cupy.cuda.Stream(non_blocking=True) as stream:
            stream.begin_capture()
            call(i)
            graphs.append(stream.end_capture())

    def replay(i: int) -> cupy.ndarray:
        graphs[i % count].launch()
        return result

    return replay


def launch_jobs() -> Iterator[Job]:
    """What a call costs in Python, on an image so small that nothing else counts; no rotation is needed."""
    from cupyx.scipy import ndimage

    image = cupy.asarray(noisy((64, 64), "float32")(np.random.default_rng(0)))
    out, other = cupy.empty_like(image), cupy.empty_like(image)
    taps = np.exp(-0.5 * (np.arange(-4.0, 5.0)) ** 2)
    weight = torch.tensor(np.outer(taps, taps) / taps.sum() ** 2, dtype=torch.float32, device="cuda")[None, None]
    padded = F.pad(torch.from_dlpack(image)[None, None], (4,) * 4, mode="replicate")

    yield Job(
        "Python's part of gaussian 64×64 float32, sigma 1",
        {
            "fastimg": lambda i: filters.gaussian(image, 1, out=out),
            "fastimg in a graph": captured(lambda i: filters.gaussian(image, 1, out=other), 1, other),
            "cupyx": lambda i: ndimage.gaussian_filter(image, 1, mode="nearest", output=out),
            "torch": lambda i: F.conv2d(padded, weight)[0, 0],
        },
        1e-5,
        milliseconds_of_host,
    )


JOBS = {
    "launch": launch_jobs,
    "gaussian": gaussian_jobs,
    "convolution": convolution_jobs,
    "metrics": metric_jobs,
    "resize": resize_jobs,
    "warp": warp_jobs,
    "augment": augment_jobs,
    "denoise_nl_means": denoise_nl_means_jobs,
    "colour": colour_jobs,
    "small networks": small_network_jobs,
    "network": network_jobs,  # last: torch.compile takes minutes
}


# ---- timing ----------------------------------------------------------------------------------------------------------


def on_host(result: object) -> np.ndarray:
    return np.asarray(cupy.asnumpy(cupy.asarray(result)), np.float64)


def measure(job: Job, rounds: int = 9) -> timing.Row:
    """Compare the results, then time the candidates in turns."""
    ours = next(iter(job.candidates))
    expected = on_host(job.candidates[ours](0))
    differences, candidates = {}, {}
    for name, call in job.candidates.items():
        try:
            if not name.startswith("copy"):
                values = on_host(call(0))
                differences[name] = float(np.abs(values - expected.reshape(values.shape)).max())
                if differences[name] > job.tolerance:
                    raise ValueError(f"differs by {differences[name]:g}")
            candidates[name] = call
        except Exception as error:  # a rival that fails is no reason to lose the others
            print(f"{job.name}: {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    repeats = {name: max(3, int(20 / max(job.clock(call, 3), 1e-3))) for name, call in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            times[name].append(job.clock(call, min(repeats[name], 100)))
    timings = {name: Timing.of(samples) for name, samples in times.items()}
    return timing.Row(job.name, timings, differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--jobs", nargs="*", choices=JOBS, default=list(JOBS))
    arguments = parser.parse_args()
    if not cupy.is_available():
        sys.exit("needs a CUDA device")
    # Exactness for both: rivals compute in float32 too. They choose their algorithms by trying.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    gpu = properties["name"].decode()
    versions = {"cupy": cupy.__version__, "torch": torch.__version__, "python": platform.python_version()}
    print(f"{gpu}; CuPy {cupy.__version__}, PyTorch {torch.__version__}\n", flush=True)
    rows: list[timing.Row] = []
    with torch.no_grad(), cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):  # one stream for both
        for row in measured(arguments.jobs):
            rows.append(row)
            print(timing.markdown(rows[-1:], next(iter(rows[-1].timings))), "\n", flush=True)
            if arguments.json:
                timing.write_json(arguments.json, rows, {"gpu": gpu, **versions}, threads=0)


def measured(names: list[str]) -> Iterator[timing.Row]:
    """All jobs of these groups; one that fails is told, and the others go on."""
    for name in names:
        try:
            for job in JOBS[name]():
                try:
                    yield measure(job)
                except Exception as error:
                    print(f"{job.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
