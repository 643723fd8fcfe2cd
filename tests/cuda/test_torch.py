"""`fastimg.torch` on CUDA tensors: as on the CPU, in values and gradients."""

from __future__ import annotations

import functools

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cupy", reason="needs CuPy")

import fastimg.torch as ft  # noqa: E402
from fastimg import augment  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TURN = torch.tensor([[0.83, 0.31, -0.37], [-0.23, 1.07, 0.61], [0.0, 0.0, 1.0]])
IMAGES = (2, 4, 33, 41)
OPERATIONS = {
    "gaussian": (functools.partial(ft.gaussian, sigma=1.3), [IMAGES]),
    "gaussian, mirror": (functools.partial(ft.gaussian, sigma=1.3, mode="mirror", order=(1, 0)), [IMAGES]),
    "resize": (functools.partial(ft.resize, output_shape=(20, 50)), [IMAGES]),
    "warp": (lambda image: ft.warp(image, TURN), [IMAGES]),
    "warp, cubic": (lambda image: ft.warp(image, TURN, order=3, mode="wrap"), [IMAGES]),
    "structural_similarity": (functools.partial(ft.structural_similarity, data_range=1.0), [IMAGES, IMAGES]),
    "conv2d": (
        functools.partial(ft.conv2d, padding=1, padding_mode="replicate", activation="relu"),
        [IMAGES, (6, 4, 3, 3), (6,)],
    ),
    "conv_transpose2d": (
        functools.partial(ft.conv_transpose2d, stride=2, padding=1, output_padding=1),
        [IMAGES, (4, 6, 3, 3), (6,)],
    ),
}


def seeded(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(20160801))


@pytest.mark.parametrize("name", OPERATIONS)
def test_as_on_the_cpu(name):
    """Values and gradients; TF32 is off, which the CPU does not know."""
    function, shapes = OPERATIONS[name]
    given = [seeded(*shape) for shape in shapes]
    found = {}
    with torch.backends.cudnn.flags(allow_tf32=False):
        for device in ("cpu", "cuda"):
            tensors = [tensor.detach().to(device).requires_grad_() for tensor in given]
            result = function(*tensors)
            assert result.device.type == device
            gradients = torch.autograd.grad(result.square().mean(), tensors)
            with torch.no_grad():
                torch.testing.assert_close(function(*tensors), result.detach(), rtol=1e-5, atol=1e-5)
            found[device] = [tensor.detach().cpu() for tensor in (result, *gradients)]
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_compiled(name):
    function, shapes = OPERATIONS[name]
    tensors = [seeded(*shape).cuda() for shape in shapes]
    torch.compiler.reset()
    compiled = torch.compile(lambda *given: function(*given).sin(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*tensors), function(*tensors).sin())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(dtype):
    image = seeded(*IMAGES).cuda().to(dtype)
    for function in (functools.partial(ft.gaussian, sigma=1.3), functools.partial(ft.resize, output_shape=(20, 50))):
        torch.testing.assert_close(function(image), function(image.float()).to(dtype), rtol=0.02, atol=0.01)


def test_network():
    network = ft.FSRCNN.from_pretrained(2)
    x = seeded(2, 1, 30, 40)
    with torch.no_grad():
        expected = network(x)
        network.cuda()
        result = network(x.cuda())
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-4)
    with torch.backends.cudnn.flags(allow_tf32=False):
        torch.testing.assert_close(network(x.cuda()).detach(), result, rtol=0, atol=1e-4)


def test_augmentation():
    """Batches on the device, and a dataset that lies there."""
    images = (255 * seeded(6, 3, 40, 50)).to(torch.uint8)
    steps = [augment.Affine(degrees=10), augment.GaussianBlur(p=0.5), augment.GaussianNoise(0.05)]
    compose = augment.Compose([*steps, augment.Normalize(0.5, 0.25), augment.MixUp()], seed=1, channel_axis=1)
    labels = torch.eye(6).numpy()
    expected, mixed = compose(images, index=3, labels=labels)
    result, also_mixed = compose(images.cuda(), index=3, labels=labels)
    assert result.device.type == "cuda"
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-4)
    assert (mixed == also_mixed).all()
    of_dataset = torch.stack(ft.Augmented(list(images.cuda()), compose).__getitems__([3, 4, 5]))
    torch.testing.assert_close(of_dataset, compose(images[3:].cuda(), index=3))


def test_captured():
    """Nothing waits for the GPU: a step with its gradient becomes a graph."""
    image = seeded(2, 3, 64, 64).cuda().requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())

    def step():
        return torch.autograd.grad(ft.gaussian(image, 1.5, mode="reflect").square().sum(), image)[0]

    with torch.cuda.stream(stream):
        for _ in range(3):
            expected = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    graph.replay()
    torch.testing.assert_close(result, expected)
