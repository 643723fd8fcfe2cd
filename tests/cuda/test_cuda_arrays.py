"""What comes in as an array on a device and how it is given back, shown on `color.rgb2gray`."""

from __future__ import annotations

import numpy as np
import pytest

from fastimg import color, filters, metrics, models, nn, restoration, transform, util

IMAGE = np.random.default_rng(1).random((12, 17, 3), "float32")
EXPECTED = color.rgb2gray(IMAGE)


def close(device, result) -> None:
    np.testing.assert_allclose(device.numpy(result), EXPECTED, rtol=0, atol=1e-6)


@pytest.fixture
def torch(device):
    """PyTorch on a GPU: it is not emulated."""
    if device.emulated:
        pytest.skip("needs a GPU")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    return torch


def test_the_kind_that_came_in_is_given_back(device):
    result = color.rgb2gray(device.array(IMAGE))
    assert type(result) is device.library.ndarray
    close(device, result)


def test_out_is_written_and_given_back(device):
    image, out = device.array(IMAGE), device.array(np.zeros_like(EXPECTED))
    assert color.rgb2gray(image, out=out) is out
    close(device, out)
    planes = device.array(np.zeros((*EXPECTED.shape, 2), np.float32))
    assert color.rgb2gray(image, out=planes[::-1, :, 1]).shape == EXPECTED.shape
    close(device, planes[::-1, :, 1])
    assert not device.numpy(planes)[..., 0].any()


def test_wrong_out(device):
    image = device.array(IMAGE)
    wrong = [
        (np.zeros_like(EXPECTED), TypeError, "out must be of the kind of rgb"),
        (device.array(EXPECTED.astype(np.float16)), TypeError, "out must have dtype float32, got float16"),
        (device.array(EXPECTED[1:]), ValueError, r"out must have shape \(12, 17\), got \(11, 17\)"),
        (image[..., 0], ValueError, "out must not overlap rgb"),
    ]
    for out, error, message in wrong:
        with pytest.raises(error, match=message):
            color.rgb2gray(image, out=out)
    np.testing.assert_array_equal(device.numpy(image), IMAGE)
    with pytest.raises(TypeError, match="out must be of the kind of rgb, ndarray, got"):
        color.rgb2gray(IMAGE, out=device.array(EXPECTED))


def test_neighbouring_planes_do_not_overlap(device):
    both = device.array(np.concatenate([IMAGE, np.zeros_like(IMAGE)], axis=-1))
    color.rgb2ycbcr(both[..., :3], out=both[..., 3:])
    expected = color.rgb2ycbcr(IMAGE)
    np.testing.assert_allclose(device.numpy(both[..., 3:]), expected, rtol=0, atol=1e-4)


def test_dtypes_that_no_kernel_takes(device):
    for dtype in ("float64", "int32"):
        with pytest.raises(TypeError, match=f"rgb must have one of the dtypes .*float32 on a GPU, got {dtype}"):
            color.rgb2gray(device.array(IMAGE.astype(dtype)))


def test_one_launch_and_no_more(device):
    """A call launches one kernel and allocates its result alone."""
    if not device.emulated:
        pytest.skip("launches are counted by the emulator")
    image = device.array(IMAGE)
    with device.library.recording() as launches:
        color.rgb2gray(image)
        filters.gaussian(image, 1.0, channel_axis=-1)
    assert launches[0].kernel == "convert_color"
    assert len(launches) == 2


def test_tensors(torch):
    tensor = torch.from_numpy(IMAGE).cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        result = color.rgb2gray(tensor)
    torch.cuda.current_stream().wait_stream(side)
    assert isinstance(result, torch.Tensor)
    assert result.device == tensor.device
    np.testing.assert_allclose(result.cpu().numpy(), EXPECTED, rtol=0, atol=1e-6)
    out = torch.empty(EXPECTED.shape, device="cuda")
    assert color.rgb2gray(tensor, out=out) is out
    np.testing.assert_array_equal(out.cpu().numpy(), result.cpu().numpy())
    with pytest.raises(TypeError, match="requires a gradient"):
        color.rgb2gray(tensor.requires_grad_())
    view = torch.from_numpy(IMAGE).cuda().permute(2, 0, 1)
    np.testing.assert_allclose(color.rgb2gray(view, channel_axis=0).cpu().numpy(), EXPECTED, rtol=0, atol=1e-6)


KERNEL = np.random.default_rng(2).standard_normal((3, 3, 3, 3), np.float32)
NETWORK = models.Network([models.Conv2d(KERNEL, padding=1)] * 2)
CHANNELS_LAST = {"channel_axis": -1}


def planes(image):
    """The image as convolutions take it."""
    return image[None].swapaxes(1, 3)


OPERATIONS = {
    "rgb2ycbcr": lambda image, out, kernel: color.rgb2ycbcr(image, out=out),
    "gaussian": lambda image, out, kernel: filters.gaussian(image, 1.5, **CHANNELS_LAST, out=out),
    "gaussian, scratch": lambda image, out, kernel: filters.gaussian(image, (1, 2, 3), out=out),
    "gaussian, far taps": lambda image, out, kernel: filters.gaussian(image, 300, **CHANNELS_LAST, out=out),
    "gaussian, recursive": lambda image, out, kernel: filters.gaussian(
        image, 3.0, method="recursive", **CHANNELS_LAST, out=out
    ),
    "denoise_nl_means": lambda image, out, kernel: restoration.denoise_nl_means(image, 3, 2, **CHANNELS_LAST, out=out),
    "denoise_nl_means, any": lambda image, out, kernel: restoration.denoise_nl_means(
        image, 3, 1, h=image, fast_mode=False, guide=image, center_weight=1, out=out
    ),
    "denoise_nl_means_sequence": lambda image, out, kernel: restoration.denoise_nl_means_sequence(image, 3, 2, out=out),
    "resize": lambda image, out, kernel: transform.resize(
        image, IMAGE.shape[:2], kernel="bicubic", **CHANNELS_LAST, out=out
    ),
    "conv2d": lambda image, out, kernel: nn.conv2d(planes(image), kernel, padding=1, out=planes(out)),
    "conv_transpose2d": lambda image, out, kernel: nn.conv_transpose2d(
        planes(image), kernel, padding=1, out=planes(out)
    ),
    "network": lambda image, out, kernel: NETWORK(planes(image), out=planes(out)),
    "network, halves": lambda image, out, kernel: NETWORK(planes(image), out=planes(out), precision="float16"),
    "warp": lambda image, out, kernel: transform.warp(image, np.diag([0.5, 0.5, 1]), order=3, out=out),
    "random_noise": lambda image, out, kernel: util.random_noise(image, rng=1, out=out),
    "mean_squared_error": lambda image, out, kernel: metrics.mean_squared_error(image, out),
    "structural_similarity": lambda image, out, kernel: metrics.structural_similarity(
        image, out, data_range=1, **CHANNELS_LAST
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_captured_in_a_graph(device, operation):
    """What a graph writes at each replay stays its own, whatever is allocated later."""
    library = device.library
    image, out, kernel = device.array(IMAGE), device.array(np.zeros_like(IMAGE)), device.array(KERNEL)
    expected = device.numpy(operation(image, out, kernel))
    out[...] = 0
    library.cuda.Device().synchronize()
    stream = library.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        result = operation(image, out, kernel)
        graph = stream.end_capture()
        assert not device.numpy(out).any()
        later = [library.asarray(np.full(n, 7, np.uint8)) for n in (512, 1024, 4096, 16384) for _ in range(8)]
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(result), expected)
    assert all((device.numpy(array) == 7).all() for array in later)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_captured_by_pytorch(torch, operation):
    image, kernel = torch.from_numpy(IMAGE).cuda(), torch.from_numpy(KERNEL).cuda()
    out = torch.zeros_like(image)
    expected = operation(image, out, kernel).cpu().numpy()
    out.zero_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = operation(image, out, kernel)
    later = [torch.full((n,), 7, dtype=torch.uint8, device="cuda") for n in (512, 1024, 4096) for _ in range(8)]
    graph.replay()
    np.testing.assert_array_equal(result.cpu().numpy(), expected)
    assert all(bool((array == 7).all()) for array in later)
