"""What comes in as an array on a device and how it is given back, shown on `color.rgb2gray`."""

from __future__ import annotations

import numpy as np
import pytest

from fastimg import color, filters, transform

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


OPERATIONS = {
    "one launch": lambda image, out: color.rgb2ycbcr(image, out=out),
    "with scratch": lambda image, out: transform.resize(
        image, IMAGE.shape[:2], kernel="bicubic", channel_axis=-1, out=out
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_captured_in_a_graph(device, operation):
    """What a graph writes at each replay stays its own, whatever is allocated later."""
    if device.emulated:
        pytest.skip("needs a GPU")
    cupy = device.library
    image, out = device.array(IMAGE), cupy.zeros_like(device.array(IMAGE))
    operation(image, out)
    expected = device.numpy(out)
    out[...] = 0
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        operation(image, out)
        graph = stream.end_capture()
        later = [cupy.full(n, 7, np.uint8) for n in (512, 1024, 4096, 16384) for _ in range(8)]
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(device.numpy(out), expected)
    assert all((array == 7).all() for array in later)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_captured_by_pytorch(torch, operation):
    image = torch.from_numpy(IMAGE).cuda()
    out = torch.zeros_like(image)
    operation(image, out)
    expected = out.cpu().numpy()
    out.zero_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operation(image, out)
    later = [torch.full((n,), 7, dtype=torch.uint8, device="cuda") for n in (512, 1024, 4096) for _ in range(8)]
    graph.replay()
    np.testing.assert_array_equal(out.cpu().numpy(), expected)
    assert all(bool((array == 7).all()) for array in later)
