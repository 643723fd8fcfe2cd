"""The operations as PyTorch's: gradients, compilers, transforms, memory layouts, dtypes."""

from __future__ import annotations

import functools
import itertools
import pickle

import numpy as np
import pytest
from conftest import run_python
from datasets import Pictures

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning", "ignore:Using padding='same'")

from torch.nn import functional  # noqa: E402

import fastimg.torch as ft  # noqa: E402
from fastimg import augment, filters, metrics, models, transform  # noqa: E402

MODES = ("nearest", "reflect", "mirror", "constant", "wrap")


def seeded(*shape, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(20160801)
    return torch.rand(*shape, generator=generator, dtype=dtype).requires_grad_(options.get("requires_grad", True))


TURN = torch.tensor([[0.83, 0.31, -0.37], [-0.23, 1.07, 0.61], [0.011, -0.017, 1.0]], dtype=torch.float64)
PLACES = torch.tensor([[0.3, 1.7, 4.4, 6.9], [0.2, 2.6, 3.3, 5.9]], dtype=torch.float64).reshape(1, 2, 2, 2)
WINDOW = dict(data_range=1.0, win_size=3)

# Each differentiable operation: the function, and the shapes of its tensors, images first.
DOUBLE = {  # that computes in float64
    "gaussian": (lambda image: ft.gaussian(image, 1.1), [(2, 3, 7, 6)]),
    "resize": (lambda image: ft.resize(image, (9, 4)), [(2, 3, 7, 6)]),
    "warp": (lambda image: ft.warp(image, TURN, (5, 6)), [(2, 3, 7, 6)]),
    "warp by coordinates": (lambda image, d: ft.warp(image, PLACES + d, mode="edge"), [(2, 3, 7, 6), (2, 2, 2, 2)]),
    "warp by parameters": (lambda image, d: ft.warp(image, TURN + 0.01 * d, order=3), [(1, 2, 5, 4), (3, 3)]),
    "structural_similarity": (lambda x, y: ft.structural_similarity(x, y, **WINDOW), [(1, 2, 7, 6)] * 2),
}
SINGLE = {
    "conv2d": (
        lambda x, weight, bias: ft.conv2d(x, weight, bias, (2, 1), 1, groups=2),
        [(2, 4, 7, 6), (6, 2, 3, 3), (6,)],
    ),
    "conv2d, prelu": (
        lambda x, weight, slope: ft.conv2d(x - 1, weight, None, 1, "same", activation="prelu", slope=slope - 0.5),
        [(2, 4, 7, 6), (3, 4, 3, 2), (3,)],
    ),
    "conv2d, reflect": (
        lambda x, weight: ft.conv2d(x, weight, padding=2, padding_mode="reflect", activation="relu"),
        [(2, 4, 7, 6), (3, 4, 3, 3)],
    ),
    "conv_transpose2d": (
        lambda x, weight, bias: ft.conv_transpose2d(x, weight, bias, 2, 1, 1),
        [(2, 4, 7, 6), (4, 3, 3, 3), (3,)],
    ),
    "conv_transpose2d, replicate": (
        lambda x, weight: ft.conv_transpose2d(x, weight, None, 2, 2, padding_mode="replicate"),
        [(2, 4, 7, 6), (4, 3, 5, 5)],
    ),
}
OPERATIONS = DOUBLE | SINGLE

# Tensors and options of each operator, so that all its paths are taken.
PAIR = [2, 2], [1, 1]
LAYER = (seeded(2, 4, 7, 6, dtype=torch.float32), seeded(4, 4, 3, 3, dtype=torch.float32), None, None)
BLUR = [1.0, 2.0], [0, 1], ["nearest", "mirror"], None, [-2, -1], 4.0, "direct", None
OPERATORS = {
    "gaussian": (seeded(2, 3, 8, 9, dtype=torch.float32), *BLUR, 0.2),
    "gaussian_adjoint": (seeded(2, 3, 8, 9), *BLUR),
    "resize": (seeded(3, 8, 9), [5, 12], "bicubic", None, "edge", None),
    "resize_adjoint": (seeded(3, 8, 9), [5, 12], "bilinear", False, "symmetric", None),
    "warp_adjoint": (seeded(2, 3, 2, 2), (PLACES + 0).requires_grad_(), [8, 9], 3, "symmetric", None),
    "warp": (seeded(2, 3, 8, 9), (PLACES + 0).requires_grad_(), [2, 2], 1, "reflect", 0.5, None),
    "structural_similarity": (seeded(3, 9, 9), seeded(3, 9, 9) ** 2, 1.0, None, False, True, 0.01, 0.03, 1.5, None),
    "conv2d": (*LAYER, *PAIR, [1, 1], 1, "zeros", None, None),
    "conv_transpose2d": (*LAYER, *PAIR, [1, 0], [1, 1], 1, "zeros", None, None),
}


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return OPERATIONS[request.param]


@pytest.fixture(params=DOUBLE)
def exact_operation(request):
    return DOUBLE[request.param]


# ---- all operations --------------------------------------------------------------------------------------------------


def test_gradient(exact_operation):
    function, shapes = exact_operation
    torch.autograd.gradcheck(function, [seeded(*shape) for shape in shapes])


def test_gradient_of_gradient(exact_operation):
    function, shapes = exact_operation
    torch.autograd.gradgradcheck(function, [seeded(*shape) for shape in shapes], fast_mode=True)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_registered_well(name):
    torch.library.opcheck(getattr(torch.ops.fastimg, name).default, OPERATORS[name])


def test_compiled_whole(operation):
    """Forward and backward, without a break of the graph, as in eager mode."""
    function, shapes = operation

    def chain(*tensors):
        return function(*(tensor * 2 for tensor in tensors)).sin()

    torch.compiler.reset()
    compiled = torch.compile(chain, backend="aot_eager", fullgraph=True)
    tensors = [seeded(*shape, dtype=torch.float32) for shape in shapes]
    results = {run: run(*tensors) for run in (chain, compiled)}
    gradients = {run: torch.autograd.grad(result.square().sum(), tensors) for run, result in results.items()}
    torch.testing.assert_close(results[compiled], results[chain])
    torch.testing.assert_close(gradients[compiled], gradients[chain], rtol=1e-4, atol=1e-5)  # sums in another order


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
    found, wanted = (torch.autograd.grad(y, x[0], gradient)[0] for y, x in ((result, last), (expected, tensors)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_strides(operation):
    """Transposed images are followed."""
    function, shapes = operation
    image, *others = (seeded(*shape, dtype=torch.float32).detach() for shape in shapes)
    transposed = image.transpose(-1, -2).contiguous().transpose(-1, -2)
    torch.testing.assert_close(function(transposed, *others), function(image, *others))


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
    tensors = [seeded(*shape, dtype=torch.float32) for shape in shapes]
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


def test_gradient_of_gaussian_without_axes():
    image = seeded(4, 5)
    torch.autograd.gradcheck(lambda image: ft.gaussian(image, axes=()), image)
    torch.library.opcheck(
        torch.ops.fastimg.gaussian_adjoint.default, (image, [], [], [], None, [], 4.0, "direct", None)
    )


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


# ---- resize and warp -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "nearest", "lanczos", "lanczos2"])
@pytest.mark.parametrize("mode", ["edge", "symmetric", "reflect"])
def test_gradient_of_resize(kernel, mode):
    """Enlarging and shrinking, with and without anti-aliasing, where the kernel reaches many times around the image."""
    options = dict(kernel=kernel, mode=mode)
    for shape, size in itertools.product([(5, 7), (1, 3), (40, 2)], [(10, 3), (1, 9)]):
        for smooth in (True, False):
            torch.autograd.gradcheck(
                lambda image, size=size, smooth=smooth: ft.resize(image, size, anti_aliasing=smooth, **options),
                seeded(*shape),
                fast_mode=True,
            )


def test_resize_is_the_public_function():
    image = seeded(2, 3, 9, 8, dtype=torch.float32)
    expected = transform.resize(image.detach().numpy(), (5, 12), axes=(2, 3), kernel="lanczos")
    np.testing.assert_array_equal(ft.resize(image, (5, 12), "lanczos").detach().numpy(), expected)
    np.testing.assert_array_equal(ft.Resize((5, 12), kernel="lanczos")(image.detach()).numpy(), expected)
    levels = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    assert ft.resize(levels, (6, 8)).dtype == torch.uint8


def test_resize_over_a_batch():
    images = seeded(5, 6, 4)
    by_hand = torch.stack([ft.resize(images[:, i], (7, 7)) for i in range(6)])
    torch.testing.assert_close(torch.vmap(lambda image: ft.resize(image, (7, 7)), in_dims=1)(images), by_hand)


@pytest.mark.parametrize("mode", ["constant", "edge", "symmetric", "reflect", "wrap"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_gradient_of_warp(order, mode):
    """In the image and in coordinates, far beyond borders."""
    generator = torch.Generator().manual_seed(1)
    for shape in [(2, 3, 5, 6), (1, 1, 1, 4), (1, 2, 2, 1)]:
        places = torch.rand(shape[0], 2, 4, 5, generator=generator, dtype=torch.float64) * 14 - 4
        torch.autograd.gradcheck(
            lambda image, places: ft.warp(image, places, None, order, mode, 0.3),
            (seeded(*shape), places.requires_grad_()),
            fast_mode=True,
        )


@pytest.mark.parametrize(("ours", "theirs"), [("constant", "zeros"), ("edge", "border"), ("reflect", "reflection")])
def test_warp_is_grid_sample(ours, theirs):
    image, coordinates = seeded(2, 3, 8, 9), (seeded(2, 2, 5, 7) * 12 - 2).detach().requires_grad_()
    grid = torch.stack([2 * coordinates[:, 1] / 8 - 1, 2 * coordinates[:, 0] / 7 - 1], -1)
    expected = torch.nn.functional.grid_sample(image, grid, padding_mode=theirs, align_corners=True)
    result = ft.warp(image, coordinates, mode=ours)
    torch.testing.assert_close(result, expected)
    weights = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).reshape(result.shape)
    found, wanted = (torch.autograd.grad(y, (image, coordinates), weights) for y in (result, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_gradient_of_warp_either_way(mode):
    """The kernel of PyTorch, and tap by tap where the gradient itself is to have one."""
    tensors = seeded(2, 3, 8, 9), (seeded(1, 2, 5, 7) * 12 - 2).detach().requires_grad_()
    result = ft.warp(*tensors, mode=mode, cval=0.3).sin().sum()
    once, twice = (torch.autograd.grad(result, tensors, create_graph=c, retain_graph=True) for c in (False, True))
    torch.testing.assert_close(once, twice)


def test_warp_is_the_public_function():
    image = seeded(2, 3, 9, 8, dtype=torch.float32).detach()
    both = torch.stack([TURN, torch.eye(3, dtype=torch.float64)])
    expected = transform.warp(image.numpy(), list(both.numpy()), channel_axis=1, mode="wrap")
    np.testing.assert_array_equal(ft.Warp(mode="wrap")(image, both).numpy(), expected)
    np.testing.assert_array_equal(ft.warp(image[1], both[1], mode="wrap").numpy(), expected[1])
    np.testing.assert_array_equal(ft.warp(image[0, 0], both[0], mode="wrap").numpy(), expected[0, 0])


def test_warp_without_places():
    """What is nowhere shows the constant, and no gradient goes there or comes from there."""
    image, places = seeded(1, 1, 4, 4), torch.full((1, 2, 1, 2), float("nan"), dtype=torch.float64)
    places[..., 1] = 1.5
    result = ft.warp(image, places.requires_grad_(), mode="edge", cval=7.0)
    assert result[0, 0, 0, 0] == 7
    result.sum().backward()
    assert places.grad[..., 0].eq(0).all()
    torch.testing.assert_close(image.grad.sum().item(), 1.0)


def test_warp_refuses():
    with pytest.raises(ValueError, match=r"inverse_map must have shape \(3, 3\), \(2, 3, 3\).*got \(3, 3, 3\)"):
        ft.warp(seeded(2, 1, 4, 4), torch.zeros(3, 3, 3))
    with pytest.raises(ValueError, match="mode must be one of"):
        ft.warp(seeded(2, 1, 4, 4), torch.eye(3), mode="border")


# ---- structural_similarity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"gaussian_weights": True, "sigma": 1.2}, {"use_sample_covariance": False}])
@pytest.mark.parametrize("win_size", [None, 5])
def test_gradient_of_structural_similarity(options, win_size):
    pair = seeded(2, 2, 11, 13), seeded(2, 2, 11, 13).detach().flip(-1).requires_grad_()
    similarity = ft.StructuralSimilarity(data_range=1.0, win_size=win_size, **options)
    torch.autograd.gradcheck(similarity, pair, fast_mode=True)
    first, second = (image.detach().numpy().reshape(4, 11, 13) for image in pair)
    expected = metrics.structural_similarity(
        first, second, channel_axis=0, data_range=1.0, win_size=win_size, **options
    )
    assert similarity(*pair).item() == expected


# ---- layers and networks ---------------------------------------------------------------------------------------------


def agree(ours, theirs, *tensors):
    """Two functions, in values and gradients."""
    results = [function(*tensors) for function in (ours, theirs)]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        *(torch.autograd.grad(result.sin().sum(), tensors) for result in results), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same"])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv2d_is_pytorchs(stride, padding, dilation):
    if padding == "same" and stride != 1:
        pytest.skip("does not exist")
    tensors = [seeded(*shape, dtype=torch.float32) for shape in [(2, 4, 9, 10), (6, 2, 3, 2), (6,)]]
    options = (stride, padding, dilation, 2)
    agree(*(functools.partial(_with, module.conv2d, options) for module in (ft, functional)), *tensors)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "extra"), [(1, 0, 0), (2, 1, 1), (3, (2, 1), (0, 2))])
def test_conv_transpose2d_is_pytorchs(stride, padding, extra, dilation):
    tensors = [seeded(*shape, dtype=torch.float32) for shape in [(2, 4, 5, 6), (4, 3, 5, 4), (6,)]]
    options = (stride, padding, extra, 2, dilation)
    agree(*(functools.partial(_with, module.conv_transpose2d, options) for module in (ft, functional)), *tensors)


def _with(function, options, *tensors):
    return function(*tensors, *options)


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "prelu"])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
def test_layers_with_gradient_are_those_without(padding_mode, activation):
    x = seeded(2, 3, 9, 10, dtype=torch.float32).detach() - 0.5
    options = dict(padding_mode=padding_mode, activation=activation)
    for layer in (ft.Conv2d(3, 4, 5, padding=2, **options), ft.ConvTranspose2d(3, 4, 5, 2, 2, 1, **options)):
        with torch.no_grad():
            expected = layer(x)
        result = layer(x)
        assert result.requires_grad
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer(x[0]), expected[0], rtol=1e-5, atol=1e-5)
        assert all(p.grad is None for p in layer.parameters())
        result.sum().backward()
        assert all(p.grad is not None for p in layer.parameters())


def test_layers_under_autocast():
    layer, x = ft.Conv2d(3, 4, 3), seeded(1, 3, 6, 6, dtype=torch.float32).detach().bfloat16()
    expected = layer(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
        result.sum().backward()
    assert result.dtype == layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(result, expected)


def test_conv2d_refuses():
    with pytest.raises(TypeError, match="x must have one of the dtypes float32, got float64"):
        ft.conv2d(seeded(1, 1, 4, 4), seeded(1, 1, 3, 3))
    with pytest.raises(ValueError, match="padding 'same' needs a stride of 1"):
        ft.conv2d(*(seeded(*s, dtype=torch.float32) for s in [(1, 1, 4, 4), (1, 1, 3, 3)]), None, 2, "same")


@pytest.fixture(params=["FSRCNN", "DnCNN_s", "PlainSR"])
def network(request):
    if request.param == "FSRCNN":
        return ft.FSRCNN.from_pretrained(3)
    return ft.Network(getattr(models, request.param).from_pretrained().network)


def test_network_learns_what_it_computes(network):
    """Layer by layer with gradient, in one piece without, compiled, and as the model itself."""
    x = seeded(2, 1, 13, 11, dtype=torch.float32).detach()
    expected = network.network()(x)
    with torch.no_grad():
        torch.testing.assert_close(network(x), expected, rtol=0, atol=0)
        torch.testing.assert_close(network(x[0]), expected[0], rtol=0, atol=1e-6)
        compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected, rtol=0, atol=0)
    result = network(x)
    torch.testing.assert_close(result.detach(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(compiled(x).detach(), expected, rtol=0, atol=1e-5)
    result.square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in network.named_parameters() if "slope" not in name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.data.sub_(0.01)  # which no version tells
        changed = network(x)
    assert (changed - expected).abs().max() > 1e-3
    torch.testing.assert_close(network(x).detach(), changed, rtol=0, atol=1e-5)


def test_network_operator_is_registered_well(network):
    parameters = [p.detach() for p in network._in_order()]
    operator = torch.ops.fastimg.network.default
    torch.library.opcheck(
        operator, (seeded(1, 1, 8, 9, dtype=torch.float32).detach(), parameters, network.architecture)
    )
    with pytest.raises(NotImplementedError, match="no gradient"):
        operator(seeded(1, 1, 8, 9, dtype=torch.float32), parameters, network.architecture).sum().backward()


def test_network_of_half(network):
    x = seeded(1, 1, 8, 9, dtype=torch.float32).detach().bfloat16()
    with torch.no_grad():
        expected = network(x.float())
        assert network(x).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(network(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        network(x).sum().backward()


def test_network_is_saved(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "state.pt")
    fresh = pickle.loads(pickle.dumps(network))
    for parameter in fresh.parameters():
        parameter.data.zero_()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = seeded(1, 1, 8, 9, dtype=torch.float32).detach()
    torch.testing.assert_close(fresh(x), network(x))


def test_fsrcnn_goes_back_to_the_model():
    module = ft.FSRCNN.from_pretrained(2)
    image = np.linspace(0, 1, 80, dtype=np.float32).reshape(8, 10)
    np.testing.assert_array_equal(module.model()(image), models.FSRCNN.from_pretrained(2)(image))


# ---- augmented datasets ----------------------------------------------------------------------------------------------


def augmentation(*transforms, **options):
    return augment.Compose([augment.Affine(degrees=15), augment.Flip(), *transforms], seed=3, **options)


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_augmented_batches_by_workers(context):
    """The same as by hand, whoever does it: a worker that has been forked or spawned, and lives through epochs."""
    transform = augmentation(augment.Normalize(0.5, 0.25), out_channel_axis=1)
    dataset = ft.Augmented(Pictures(), transform, targets=["masks"])
    pictures = [dataset.dataset[index] for index in range(11)]
    filters.gaussian(np.zeros((600, 600), np.float32), 3, threads=2)  # its threads are there before workers are forked
    workers = {} if context is None else dict(num_workers=2, multiprocessing_context=context, persistent_workers=True)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, timeout=60 if workers else 0, **workers)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        images, masks, numbers = (torch.cat(parts) for parts in zip(*loader, strict=True))
        expected = transform(
            [picture[0] for picture in pictures], index=11 * epoch, masks=[picture[1] for picture in pictures]
        )
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(masks, expected[1])
        assert numbers.tolist() == list(range(11))


def threads_seen(images, *, index, threads):
    return torch.full((len(images), 1), -1 if threads is None else threads)


def test_augmented_takes_one_thread_in_a_worker(monkeypatch):
    monkeypatch.setattr(augment.Compose, "__call__", lambda self, *given, **options: threads_seen(*given, **options))
    for threads, here, there in [(None, -1, 1), (3, 3, 3)]:
        dataset = ft.Augmented([torch.zeros(3, 3)] * 4, augmentation(channel_axis=None), threads=threads)
        assert dataset[0].item() == here
        loader = torch.utils.data.DataLoader(dataset, num_workers=1, multiprocessing_context="fork", timeout=60)
        assert {batch.item() for batch in loader} == {there}


def test_augmented_samples():
    """Bare images and tuples, arrays and tensors, one at a time or together, everything that goes with an image."""
    images = [torch.from_numpy(Pictures()[i][0]) for i in range(4)]
    transform = augmentation(augment.MixUp())
    bare = ft.Augmented(images, augmentation())
    assert torch.equal(bare[-1], bare[3])
    assert torch.equal(torch.stack(bare.__getitems__([1, 3])), torch.stack([bare[1], bare[3]]))
    points, labels = [np.full((2, 2), i, np.float64) for i in range(4)], np.eye(4, dtype=np.float32)
    whole = ft.Augmented([*zip(images, labels, points, strict=True)], transform, targets=["labels", "keypoints"])
    image, label, point = zip(*whole.__getitems__([0, 1, 2, 3]), strict=True)
    expected = transform(images, index=0, keypoints=points, labels=labels)
    for found, wanted in zip((image, point, label), expected, strict=True):
        np.testing.assert_array_equal(torch.stack(found), np.stack(wanted))


def test_augmented_refuses():
    with pytest.raises(TypeError, match=r"transform must be a fastimg.augment.Compose, got function"):
        ft.Augmented([], lambda image: image)
    with pytest.raises(ValueError, match="targets must be one of 'masks', 'keypoints', 'boxes', 'labels', got 'mask'"):
        ft.Augmented([], augmentation(), targets=["mask"])
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        ft.Augmented([], augmentation()).set_epoch(-1)


# ---- importing -------------------------------------------------------------------------------------------------------


def test_nothing_else_imports_torch():
    code = "import sys, fastimg; assert 'torch' not in sys.modules; import fastimg.torch; assert 'torch' in sys.modules"
    assert run_python(code).returncode == 0
