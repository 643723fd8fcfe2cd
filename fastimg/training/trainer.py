"""Steps of training: Muon and Adam, cosine schedule, moving average of the weights, state that can be saved."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Pair
from .muon import Muon
from .networks import build
from .patches import Patches
from .settings import Settings

_CHARBONNIER = 1e-3
_NOISE = 55  # the strongest that denoisers learn, on the scale 0 to 255
_NOISE_OF_DIGITS = 127.5
_STEEPEST = 1.0  # norm of a gradient that is followed as it is; one step along a longer one can kill channels for good
_WARM_UP = 500  # iterations over which the learning rate rises, at most a twentieth of all


class Trainer:
    """A network, its moving average and its optimiser, `iteration` steps into their training."""

    def __init__(self, settings: Settings, pairs: Sequence[Pair], device: str = "cpu") -> None:
        self.settings = settings
        self.device = _usable(device)
        torch.manual_seed(settings.seed)
        self.network = build(settings).to(self.device)
        self.average = build(settings).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        on_gpu = self.device.type == "cuda"
        rate = torch.zeros((), device=self.device) if on_gpu else 0.0
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in self.network.parameters():
            (matrices if parameter.ndim > 1 and len(parameter) > 1 else others).append(parameter)
        self.optimisers = (Muon(matrices, rate), torch.optim.Adam(others, rate, fused=True, capturable=on_gpu))
        self.patches = Patches(
            pairs,
            settings.factor,
            settings.patch,
            settings.batch,
            settings.seed,
            noise=_NOISE_OF_DIGITS if settings.digits else _NOISE if settings.denoises else 0,
            turned=not settings.digits,
            device=self.device,
        )
        self.iteration = 0
        self._summed, self._steps = torch.zeros((), device=self.device), 0  # losses since they were last asked for
        # What changes from step to step, where the device finds it.
        self._index = torch.zeros((), dtype=torch.int64, device=self.device)
        self._squared = torch.zeros((), dtype=torch.bool, device=self.device)
        self._keep = torch.zeros((), device=self.device)
        self._graph = _Graph() if on_gpu else None

    def begin_from(self, tensors: dict[str, np.ndarray[Any, Any]]) -> int:
        """Take over the exported tensors that fit; returns how many did."""
        fitting: int = self.network.load(tensors)
        self.average.load_state_dict(self.network.state_dict())
        return fitting

    def step(self) -> None:
        """One step of the optimiser, which nothing waits for on a GPU."""
        settings = self.settings
        self._index.fill_(self.iteration)
        self._squared.fill_(self.iteration >= (1 - settings.mse_share) * settings.iterations)
        rate = _learning_rate(settings, self.iteration)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        self.iteration += 1
        self._steps += 1
        self._keep.fill_(min(settings.averaging, self.iteration / (self.iteration + 10)))
        if self._graph is None:
            self._update()
        else:
            self._graph.run(self._update)

    def _update(self) -> None:
        """What the device does in a step."""
        settings = self.settings
        low, high = self.patches(self._index)
        if settings.digits:
            low = low.clamp(0, 1)
        border = settings.margin * settings.factor
        inner = slice(border, high.shape[-1] - border)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16", cache_enabled=False
        ):
            result = self.network(low)
        squared = (result - high)[..., inner, inner].square()
        loss = torch.where(self._squared, squared, (squared + _CHARBONNIER**2).sqrt()).mean()
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _STEEPEST)
        for optimiser in self.optimisers:
            optimiser.step()
        with torch.no_grad():
            self._summed += loss
            for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - self._keep)

    def mean_loss(self) -> float:
        """Mean over the steps since it was last asked for."""
        mean = float(self._summed) / max(self._steps, 1)
        self._summed.zero_()
        self._steps = 0
        return mean

    def psnr(self, pairs: Sequence[Pair]) -> float:
        """Mean over the pairs of the averaged network's PSNR in dB.

        As the literature measures it: rounded to 8 bits, in super-resolution `scale` pixels shaved off.
        """
        shave = self.settings.scale or 0
        values = []
        with torch.inference_mode():
            for pair in pairs:
                result: Tensor = self.average(torch.from_numpy(pair.low)[None, None].to(self.device))
                rounded = np.clip(np.floor(result[0, 0].cpu().numpy() * 255 + 0.5), 0, 255)
                rows, columns = pair.high.shape
                error = (rounded - pair.high)[shave : rows - shave, shave : columns - shave]
                mse = max(float(np.mean(np.square(error, dtype=np.float64))), 1e-10)
                values.append(10 * math.log10(255**2 / mse))
        return float(np.mean(values))

    def state(self, images: Sequence[str]) -> bytes:
        """Everything needed to go on, as the content of a checkpoint file."""
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": asdict(self.settings),
                "images": list(images),
                "iteration": self.iteration,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            },
            buffer,
        )
        return buffer.getvalue()

    def restore(self, state: bytes, images: Sequence[str]) -> None:
        """Go back to a `state`.

        Raises
        ------
        ValueError
            The state is damaged, or that of other settings or images.
        """
        try:
            saved = torch.load(io.BytesIO(state), map_location=self.device, weights_only=True)
            settings, names, iteration = saved["settings"], saved["images"], int(saved["iteration"])
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise ValueError("truncated or damaged, or no checkpoint of a training run") from error
        for name, value in asdict(self.settings).items():
            if settings.get(name) != value:
                raise ValueError(f"its training run had {name} = {settings.get(name)}, this one has {value}")
        if names != list(images):
            raise ValueError("its training run had other images")
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimiser, own in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        self.iteration = iteration


class _Graph:
    """A function of tensors on a GPU, launched as one: its hundred kernels take less time than their launches.

    Its first calls run as they are, so that libraries choose their algorithms and memory is there; then it is captured.
    Both on a stream of its own: cuBLAS keeps a workspace for each stream that it met, and a graph its address.
    """

    _CALLS_BEFORE = 4

    def __init__(self) -> None:
        self._calls = 0
        self._graph: Any = None
        self._stream = torch.cuda.Stream()

    def run(self, function: Callable[[], None]) -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            if self._calls < self._CALLS_BEFORE:
                self._run_aside(function)
            else:
                if self._graph is None:
                    self._graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(self._graph, stream=self._stream):
                        function()
                self._graph.replay()
        self._calls += 1

    def _run_aside(self, function: Callable[[], None]) -> None:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function()
        current.wait_stream(self._stream)


def _usable(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # PyTorch built without CUDA answers by an assertion
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one that PyTorch can use here, got {device!r}: {reason}") from error


def _learning_rate(settings: Settings, iteration: int) -> float:
    rise = min(_WARM_UP, math.ceil(settings.iterations / 20))
    fall = 0.5 * (1 + math.cos(math.pi * iteration / settings.iterations))
    return settings.learning_rate * min(1.0, (iteration + 1) / rise) * fall
