"""The operations as PyTorch's: gradients, compilers, transforms, memory layouts, dtypes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastimg.torch as ft  # noqa: E402
from fastimg import filters  # noqa: E402

MODES = ("nearest", "reflect", "mirror", "constant", "wrap")


def seeded(*shape, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(20160801)
    return torch.rand(*shape, generator=generator, dtype=dtype).requires_grad_(options.get("requires_grad", True))


# Each differentiable operation on (2, 4, 7, 6) tensors: the function, and the shapes of its tensors.
OPERATIONS = {
    "gaussian": (lambda image: ft.gaussian(image, 1.1), [(2, 4, 7, 6)]),
}


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return OPERATIONS[request.param]


# ---- all operations --------------------------------------------------------------------------------------------------


def test_gradient(operation):
    function, shapes = operation
    torch.autograd.gradcheck(function, [seeded(*shape) for shape in shapes], check_batched_grad=False)


def test_gradient_of_gradient(operation):
    function, shapes = operation
    tensors = [seeded(*shape) for shape in shapes]
    torch.autograd.gradgradcheck(function, tensors)


def test_compiled_whole(operation):
    """Forward and backward, without a break of the graph, as in eager mode."""
    function, shapes = operation

    def chain(*tensors):
        return function(*(tensor * 2 for tensor in tensors)).sin()

    compiled = torch.compile(chain, backend="aot_eager", fullgraph=True)
    tensors = [seeded(*shape, dtype=torch.float32) for shape in shapes]
    results = {run: run(*tensors) for run in (chain, compiled)}
    gradients = {run: torch.autograd.grad(result.square().sum(), tensors) for run, result in results.items()}
    torch.testing.assert_close(results[compiled], results[chain])
    torch.testing.assert_close(gradients[compiled], gradients[chain])


def test_channels_last(operation):
    """What is channels last stays so, and so does its gradient; the values are those of other layouts."""
    function, shapes = operation
    tensors = [seeded(*shape, dtype=torch.float32) for shape in shapes]
    last = [t.detach().clone().contiguous(memory_format=torch.channels_last).requires_grad_() for t in tensors[:1]]
    expected, result = function(*tensors), function(*last, *tensors[1:])
    torch.testing.assert_close(result, expected)
    if result.dim() == 4:
        assert result.is_contiguous(memory_format=torch.channels_last)
    gradient = torch.ones_like(result)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, x, gradient)[0] for y, x in ((result, last), (expected, tensors)))
    )


def test_strides(operation):
    """Crops, flips and transposed images are followed."""
    function, shapes = operation
    tensors = [seeded(*shape, dtype=torch.float32).detach() for shape in shapes]
    strided = [torch.stack([t, t])[0].transpose(-1, -2).contiguous().transpose(-1, -2) for t in tensors]
    torch.testing.assert_close(function(*strided), function(*tensors))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_same_without_gradient(operation, mode):
    function, shapes = operation
    tensors = [seeded(*shape, dtype=torch.float32) for shape in shapes]
    with mode():
        result = function(*tensors)
    assert not result.requires_grad
    torch.testing.assert_close(result, function(*tensors).detach(), rtol=0, atol=2e-6)


def test_forward_derivatives_are_refused_not_lost(operation):
    function, shapes = operation
    tensors = [seeded(*shape) for shape in shapes]
    with torch.autograd.forward_ad.dual_level(), pytest.raises((RuntimeError, NotImplementedError)):
        function(*(torch.autograd.forward_ad.make_dual(t.detach(), t.detach()) for t in tensors))


# ---- gaussian --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["direct", "recursive"])
def test_gradient_of_gaussian(method, mode, order):
    """At borders too, and where the filter reaches many times around the image."""
    for shape in [(2, 5, 7), (9, 4), (3, 2), (1, 2), (1, 1)]:
        options = dict(mode=mode, order=order, method=method, cval=0.7)
        torch.autograd.gradcheck(lambda image, options=options: ft.gaussian(image, 1.3, **options), seeded(*shape))


def test_gradient_of_gaussian_differs_by_axis():
    options = dict(sigma=(1.2, 0.0, 2.0), order=(1, 0, 0), mode=("mirror", "nearest", "nearest"), radius=(2, 1, 3))
    torch.autograd.gradgradcheck(lambda image: ft.gaussian(image, axes=(0, 3, -2), **options), seeded(4, 2, 5, 3))


@pytest.mark.parametrize("mode", ["replicate", "reflect", "constant"])
def test_gaussian_is_the_depthwise_convolution(mode):
    ours = {"replicate": "nearest", "reflect": "mirror", "constant": "constant"}[mode]
    image = seeded(2, 3, 20, 23, dtype=torch.float32)
    taps = torch.exp(-0.5 * (torch.arange(-6, 7) / 1.5) ** 2)
    taps /= taps.sum()
    kernel = (taps[:, None] * taps).expand(3, 1, 13, 13)
    padded = torch.nn.functional.pad(image, (6,) * 4, mode=mode)
    expected = torch.nn.functional.conv2d(padded, kernel, groups=3)
    result = ft.gaussian(image, 1.5, mode=ours)
    torch.testing.assert_close(result, expected)
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
    torch.testing.assert_close(*(torch.autograd.grad(y, image, weights)[0] for y in (result, expected)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gaussian_of_half(dtype):
    image = seeded(3, 12, 11, dtype=torch.float32).detach().to(dtype).requires_grad_()
    result = ft.gaussian(image, 1.2)
    assert result.dtype == dtype
    torch.testing.assert_close(result, ft.gaussian(image.float(), 1.2).to(dtype))
    result.sum().backward()
    assert image.grad.dtype == dtype
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(ft.gaussian(image, 1.2), result)
        assert ft.gaussian(image.float(), 1.2).dtype == torch.float32


def test_gaussian_over_a_batch():
    images = seeded(5, 6, 4)
    by_hand = torch.stack([ft.gaussian(images[..., i], 1.2) for i in range(4)])
    torch.testing.assert_close(torch.vmap(lambda image: ft.gaussian(image, 1.2), in_dims=2)(images), by_hand)

    def loss(image):
        return ft.gaussian(image, 1.2, mode="mirror").sin().sum()

    each = torch.vmap(torch.func.grad(loss))(images.detach())
    torch.testing.assert_close(each, torch.autograd.grad(sum(map(loss, images)), images)[0])


def test_gaussian_is_the_public_function():
    image = seeded(3, 9, 8, dtype=torch.float32).detach()
    options = dict(sigma=(1.0, 2.0), mode="wrap", order=(1, 0), truncate=3.0)
    expected = filters.gaussian(image.numpy(), axes=(1, 2), **options)
    for tensor in (image, image.clone().requires_grad_()):
        np.testing.assert_array_equal(ft.gaussian(tensor, **options).detach().numpy(), expected)
        np.testing.assert_array_equal(ft.Gaussian(**options)(tensor).detach().numpy(), expected)


def test_gaussian_refuses():
    image = seeded(5, 5)
    with pytest.raises(ValueError, match="sigma must be at least 0, got -1"):
        ft.gaussian(image, -1)
    with pytest.raises(ValueError, match="mode must be one of"):
        ft.gaussian(image.detach(), mode="edge")
    with pytest.raises(ValueError, match=r"sigma must be one value or one per spatial axis \(2\)"):
        ft.gaussian(image, (1, 2, 3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        ft.Gaussian(width=3)
    with pytest.raises(ValueError, match="image must not be empty"):
        ft.gaussian(torch.zeros(0, 4, 4))
