"""How an operation becomes an operator of PyTorch: once, for `torch.library` and for direct calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_library = torch.library.Library("fastimg", "DEF")

_PLAIN = (Tensor, nn.Parameter)
_DEVICES = ("cpu", "cuda")


class Operator:
    """An operator `torch.ops.fastimg.NAME`, which compilers, transforms and autocast see as one piece.

    Where none of them looks on it is called directly, since the way through PyTorch's dispatcher takes longer than
    many a kernel.

    Parameters
    ----------
    schema : str
        As of `torch.library.define`: tensors first, then options.
    compute : callable
        Computes the result.
    fake : callable
        From the same arguments makes an empty tensor of the result's shape, dtype and strides.
    backward : callable
        From a context and the result's gradient computes the gradient of the first tensor, or a tuple of those of all
        tensors, by operations that PyTorch differentiates. The context has `shapes` of the tensors and `options`.
    keep : bool
        Whether the context has the tensors too, as `saved_tensors`.
    batch_axis : bool
        Whether axes before the image's own count as a batch, so that `vmap` may put one there.
    autocast : dtype, optional
        To what `torch.autocast` casts the tensors.
    """

    def __init__(
        self,
        schema: str,
        compute: Callable[..., Tensor],
        *,
        fake: Callable[..., Tensor],
        backward: Callable[[Any, Tensor], Tensor | tuple[Tensor | None, ...]],
        keep: bool = False,
        batch_axis: bool = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        name = schema.partition("(")[0]
        _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        self._call: Any = getattr(torch.ops.fastimg, name).default
        arguments = self._call._schema.arguments
        tensors = sum(str(argument.type) in ("Tensor", "Optional[Tensor]") for argument in arguments)

        def remember(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
            ctx.shapes = [None if tensor is None else tensor.shape for tensor in inputs[:tensors]]
            ctx.options = inputs[tensors:]
            if keep:
                ctx.save_for_backward(*inputs[:tensors])

        def gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
            found = backward(ctx, gradient)
            found = found if isinstance(found, tuple) else (found,)
            return found + (None,) * (len(arguments) - len(found))

        def batched(_info: Any, axes: Sequence[Any], image: Tensor, *options: Any) -> tuple[Tensor, int]:
            return self(image.movedim(axes[0], 0), *options), 0

        class Direct(torch.autograd.Function):  # type: ignore[misc]  # PyTorch is not type-checked here
            @staticmethod
            def forward(ctx: Any, *given: Any) -> Tensor:
                result = compute(*given)
                remember(ctx, given, result)
                return result

            backward = staticmethod(gradients)

        class Transformed(torch.autograd.Function):  # type: ignore[misc]  # in the form that takes twice the time
            forward = staticmethod(compute)
            setup_context = staticmethod(remember)
            backward = staticmethod(gradients)
            if batch_axis:
                vmap = staticmethod(batched)

        self._tensors, self._compute = tensors, compute
        self._direct, self._transformed = Direct, Transformed
        for device in _DEVICES:
            _library.impl(name, compute, device.upper())
        torch.library.register_fake(f"fastimg::{name}", fake, lib=_library)
        torch.library.register_autograd(f"fastimg::{name}", gradients, setup_context=remember, lib=_library)
        if batch_axis:
            torch.library.register_vmap(f"fastimg::{name}", batched, lib=_library)
        if autocast is not None:
            for device in _DEVICES:
                torch.library.register_autocast(f"fastimg::{name}", device, autocast, lib=_library)

    def __call__(self, *given: Any) -> Tensor:
        tensors = given[: self._tensors]
        if is_watched(*tensors):
            return self._call(*given)
        if is_transformed():
            return self._transformed.apply(*given)
        if is_tracked(*tensors):
            return self._direct.apply(*given)
        return self._compute(*given)


def is_watched(*tensors: Tensor | None) -> bool:
    """Whether what is done with these tensors must pass PyTorch's dispatcher.

    For a compiler, a mode or a subclass that dispatches, or autocast.
    """
    return (
        torch.compiler.is_compiling()
        or any(type(tensor) not in _PLAIN for tensor in tensors if tensor is not None)
        or torch._C._len_torch_dispatch_stack() > 0
        or any(map(torch.is_autocast_enabled, _DEVICES))
    )


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is at work."""
    return bool(torch._C._are_functorch_transforms_active())


def is_tracked(*tensors: Tensor | None) -> bool:
    """Whether autograd tracks what is done with these tensors; a forward derivative, too, which it refuses."""
    return forward_ad._current_level >= 0 or (
        torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    )


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether nobody looks on: a function of fastimg can be called on these tensors."""
    return not (is_watched(*tensors) or is_transformed() or is_tracked(*tensors))


def empty_like(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Memory for a result, channels last if the image has them last."""
    layout = torch.channels_last if _has_channels_last(image) else torch.contiguous_format
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=layout)


def apply(function: Callable[..., Tensor], image: Tensor, shape: Sequence[int], **options: Any) -> Tensor:
    """What a function of fastimg makes of an image, of a shape, laid out as `empty_like` does.

    bfloat16, which fastimg does not know, is computed in float32.
    """
    if image.dtype == torch.bfloat16:
        return apply(function, image.float(), shape, **options).to(torch.bfloat16)
    out = empty_like(image, shape) if _has_channels_last(image) else None
    return function(image.detach() if image.requires_grad else image, out=out, **options)


def _has_channels_last(image: Tensor) -> bool:
    return (
        image.dim() == 4 and not image.is_contiguous() and bool(image.is_contiguous(memory_format=torch.channels_last))
    )


def per_axis(value: Any, axes: int) -> list[Any]:
    """One value for each of so many axes."""
    return list(value) if isinstance(value, list | tuple) else [value] * axes


class Operation(nn.Module):  # type: ignore[misc]
    """A module that calls `function` on tensors, with the options that it was made with."""

    function: ClassVar[Callable[..., Tensor]]
    inputs: ClassVar[int] = 1

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__()
        signature = inspect.signature(self.function)
        options = signature.replace(parameters=list(signature.parameters.values())[self.inputs :])
        self.options = options.bind(*positional, **named).arguments

    def forward(self, *tensors: Tensor) -> Tensor:
        return type(self).function(*tensors, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
