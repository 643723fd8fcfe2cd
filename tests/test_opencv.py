"""`fastimg.opencv` against `cv2` itself."""

from __future__ import annotations

import numpy as np
import pytest

from fastimg import opencv

KERNELS = [
    ((3, 3), 0, 0),
    ((5, 7), 0, 0),
    ((9, 1), 0, 0),
    ((11, 15), 0, 0),
    ((0, 0), 1.0, 0),
    ((0, 0), 4.5, 0.7),
    ((25, 25), 3.0, 0),
    ((7, 13), 1.2, 2.5),
    ((13, 0), -1.0, 2.0),
    ((31, 31), 0.3, 0),
]
BORDERS = ["BORDER_CONSTANT", "BORDER_REPLICATE", "BORDER_REFLECT", "BORDER_REFLECT_101"]


def photographs() -> list[np.ndarray]:
    """Two of scikit-image's, with noise."""
    data = pytest.importorskip("skimage.data")
    rng = np.random.default_rng(0)
    images = [data.camera()[:301, 40:420], data.astronaut()[:200, :257]]
    return [np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8) for image in images]


def of_dtype(image: np.ndarray, dtype: str) -> np.ndarray:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1 / 255}[dtype]
    return (image.astype(np.float64) * scale).astype(dtype)


def test_borders_have_their_numbers():
    cv2 = pytest.importorskip("cv2")
    for name in opencv.__all__:
        if name.startswith("BORDER"):
            assert getattr(opencv, name) == getattr(cv2, name)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_gaussian_blur(target, dtype, border):
    """Integers within a level, of uint8 hardly one in a thousand but where sums end in a half."""
    cv2 = pytest.importorskip("cv2")
    for photograph in photographs():
        image = of_dtype(photograph, dtype)
        for size, sigma_x, sigma_y in KERNELS:
            arguments = {"sigmaX": sigma_x, "sigmaY": sigma_y, "borderType": getattr(cv2, border)}
            theirs = cv2.GaussianBlur(image, size, **arguments)
            ours = opencv.GaussianBlur(image, size, **arguments)
            assert ours.dtype == image.dtype
            difference = np.abs(ours.astype(np.float64) - theirs)
            if dtype.startswith("u"):
                assert difference.max() <= 1, (size, sigma_x)
                assert difference.mean() < (0.05 if max(size) in (3, 7) else 0.005), (size, sigma_x)
            else:
                assert difference.max() < (2e-6 if dtype == "float32" else 1e-13), (size, sigma_x)


def test_what_opencv_refuses(rng):
    image = rng.random((20, 21)).astype(np.float16)
    assert opencv.GaussianBlur(image, (5, 5), 1).dtype == np.float16
    ramp = np.tile(np.arange(8.0), (3, 1))
    wrapped = opencv.GaussianBlur(ramp, (3, 1), 0, borderType=opencv.BORDER_WRAP)
    np.testing.assert_array_equal(wrapped[0], [2.0, 1, 2, 3, 4, 5, 6, 5])
    eleven = rng.random((9, 8, 11))
    np.testing.assert_array_equal(
        opencv.GaussianBlur(eleven, (3, 3), 1)[..., 7], opencv.GaussianBlur(eleven[..., 7], (3, 3), 1)
    )


def test_dst(layout, rng):
    image = rng.random((20, 21, 3))
    expected = opencv.GaussianBlur(image, (5, 3), 1.0)

    def check(result: np.ndarray) -> None:
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14)

    dst = layout(np.zeros_like(image))
    assert opencv.GaussianBlur(layout(image), (5, 3), 1.0, dst) is dst
    check(dst)
    in_place = layout(image.copy())
    opencv.GaussianBlur(in_place, (5, 3), 1.0, in_place)
    check(in_place)
    tall = np.concatenate([image, image])
    opencv.GaussianBlur(tall[:20], (5, 3), 1.0, tall[7:27])
    check(tall[7:27])
    np.testing.assert_array_equal(tall[:7], image[:7])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(ksize=5), ValueError, "ksize must be a pair of integers, width and height, got 5"),
        (dict(ksize=(3, 3, 3)), ValueError, "ksize must be a pair"),
        (dict(ksize=(4, 3)), ValueError, r"ksize must be odd, or 0 where sigma tells it, got \(4, 3\)"),
        (dict(ksize=(-1, 3)), ValueError, "ksize must be at least 0, got -1"),
        (dict(ksize=(3.0, 3)), TypeError, "ksize must be an integer, got 3.0"),
        (dict(ksize=(0, 3), sigmaX=0), ValueError, "ksize must be given, or a sigma: both are 0 for the width"),
        (dict(ksize=(30001, 3)), ValueError, "ksize must be at most 20001, got 30001"),
        (dict(sigmaX=float("nan")), ValueError, "sigmaX must be finite, got nan"),
        (dict(sigmaX=1e9), ValueError, "sigmaX must be at most 2500, got 1e[+]09"),
        (dict(sigmaY="1"), TypeError, "sigmaY must be a number, got '1'"),
        (dict(borderType=5), ValueError, "borderType must be one of OpenCV's .*, got 5"),
        (dict(src=np.zeros(4)), ValueError, "src must have 2 or 3 dimensions"),
        (dict(src=np.zeros((0, 4))), ValueError, r"src must not be empty, got shape \(0, 4\)"),
        (dict(src=np.zeros((4, 4), int)), TypeError, "src must have one of the dtypes .*, got int64"),
        (dict(dst=np.zeros((8, 9))), ValueError, r"dst must have shape \(8, 8\), got \(8, 9\)"),
        (dict(dst=np.zeros((8, 8), np.float32)), TypeError, "dst must have dtype float64, got float32"),
        (dict(dst=[[0.0]]), TypeError, "dst must be a NumPy or CuPy array or a tensor, got list"),
        (dict(dst=np.broadcast_to(np.zeros(8), (8, 8))), ValueError, "dst is read-only"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        opencv.GaussianBlur(**{"src": np.zeros((8, 8)), "ksize": (3, 3), "sigmaX": 1.0, **arguments})
