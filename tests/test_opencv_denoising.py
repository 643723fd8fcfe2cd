"""`fastimg.opencv`'s non-local means against the installed cv2, and where that refuses against a reference."""

from __future__ import annotations

import numpy as np
import pytest
from reference.opencv_nl_means import opencv_nl_means as reference

from fastimg import opencv
from fastimg.backends import cpu

PHOTOGRAPHS = [
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
]


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


def photograph(name: str, size: int = 96) -> np.ndarray:
    """The middle of one of scikit-image's photographs."""
    data = pytest.importorskip("skimage.data")
    image = getattr(data, name)()
    row, column = image.shape[0] // 2, image.shape[1] // 2
    return image[row - size // 2 :][:size, column - size // 2 :][:, : size + 7]


def noisy(image: np.ndarray, sigma: float = 12.0, seed: int = 0) -> np.ndarray:
    return np.clip(image + np.random.default_rng(seed).normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def as_uint16(image: np.ndarray) -> np.ndarray:
    low = np.random.default_rng(1).integers(0, 257, image.shape)
    return (image.astype(np.uint16) * 256 + low).astype(np.uint16)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("h", [3, 9.7, 25])
def test_photographs(target, cv2, name, h):
    """Grey or colour, channels together."""
    image = noisy(photograph(name))
    np.testing.assert_array_equal(opencv.fastNlMeansDenoising(image, None, h), cv2.fastNlMeansDenoising(image, None, h))


@pytest.mark.parametrize(("channels", "count"), [(1, 600), (2, 1100), (1, 2100)])
def test_tables_that_are_nearly_exponential(target, rng, channels, count):
    """What may be computed in place of a look-up must be what the table has."""
    contrast = np.linspace(0, 60, 70)[:, np.newaxis]  # from column to column
    image = (128 + contrast * rng.uniform(-1, 1, (1, 1, 40, 70, channels))).astype(np.uint8)
    decay = 7 / count
    weights = np.append(np.rint(19096 * np.exp(-decay * np.arange(count))), 0).astype(np.int32)

    def denoised(weights, decay):
        result = np.empty_like(image)
        options = dict(patch_radius=3, patch_distance=4, temporal_distance=0, first_plane=0, absolute=False, threads=1)
        cpu.denoise_nl_means_by_table(image, None, result, weights=weights, shift=6, decay=decay, **options)
        return result

    np.testing.assert_array_equal(denoised(weights, decay), denoised(weights, 0.0))
    dented = weights.copy()
    dented[count // 4 : count // 2] = 1
    assert (denoised(dented, decay) != denoised(weights, decay)).any()
    np.testing.assert_array_equal(denoised(dented, decay), denoised(dented, 0.0))


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_by_absolute_differences(target, cv2, name):
    image = noisy(photograph(name, 64))
    for source, h in ((image, 12.0), (as_uint16(image), 12.0 * 257)):
        result = opencv.fastNlMeansDenoising(source, [h], None, 7, 21, opencv.NORM_L1)
        np.testing.assert_array_equal(result, cv2.fastNlMeansDenoising(source, [h], None, 7, 21, cv2.NORM_L1))


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "hubble_deep_field", "retina", "rocket"])
@pytest.mark.parametrize("strengths", [(3, 3), (10, 7), (4, 30)])
def test_colours(target, cv2, name, strengths):
    image = noisy(photograph(name))
    np.testing.assert_array_equal(
        opencv.fastNlMeansDenoisingColored(image, None, *strengths),
        cv2.fastNlMeansDenoisingColored(image, None, *strengths),
    )


@pytest.mark.parametrize(
    ("template", "search"), [(1, 1), (1, 5), (3, 7), (5, 21), (7, 35), (8, 10), (9, 15), (21, 5), (33, 3)]
)
@pytest.mark.parametrize("h", [0, 4, 17.3, 90])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_parameters(target, cv2, template, search, h, channels):
    image = noisy(photograph("astronaut", 40), seed=channels)
    image = np.ascontiguousarray(np.dstack([image, image[::-1]])[..., :channels])
    result = opencv.fastNlMeansDenoising(image, None, h, template, search)
    expected = cv2.fastNlMeansDenoising(image, None, h, template, search)
    np.testing.assert_array_equal(result, expected.reshape(result.shape))


@pytest.mark.parametrize("norm", [opencv.NORM_L1, opencv.NORM_L2])
@pytest.mark.parametrize("strengths", [[8.0], [12, 5.5, 20]])
def test_a_strength_for_each_channel(target, cv2, norm, strengths):
    image = noisy(photograph("coffee", 48))
    expected = cv2.fastNlMeansDenoising(image, strengths, None, 7, 15, norm)
    np.testing.assert_array_equal(opencv.fastNlMeansDenoising(image, strengths, None, 7, 15, norm), expected)
    by_name = opencv.fastNlMeansDenoising(image, h=strengths, templateWindowSize=7, searchWindowSize=15, normType=norm)
    np.testing.assert_array_equal(by_name, expected)
    wide = as_uint16(image)
    if norm == opencv.NORM_L1:
        of_uint16 = [257.0 * h for h in strengths]
        np.testing.assert_array_equal(
            opencv.fastNlMeansDenoising(wide, of_uint16, None, 5, 11, norm),
            cv2.fastNlMeansDenoising(wide, of_uint16, None, 5, 11, norm),
        )


@pytest.mark.parametrize("temporal", [1, 3, 5])
@pytest.mark.parametrize("name", ["camera", "coffee"])
def test_sequences(target, cv2, name, temporal):
    frames = [noisy(photograph(name, 40), seed=seed) for seed in range(5)]
    arguments = 2, temporal, None, 10, 7, 13
    np.testing.assert_array_equal(
        opencv.fastNlMeansDenoisingMulti(frames, *arguments), cv2.fastNlMeansDenoisingMulti(frames, *arguments)
    )
    wide = [as_uint16(frame) for frame in frames]
    for images, h in ((frames, 10.0), (wide, 2570.0)):
        arguments = 2, temporal, [h], None, 7, 13, opencv.NORM_L1
        np.testing.assert_array_equal(
            opencv.fastNlMeansDenoisingMulti(images, *arguments), cv2.fastNlMeansDenoisingMulti(images, *arguments)
        )


def test_sequences_of_colours(target, cv2):
    frames = [noisy(photograph("astronaut", 48), seed=seed) for seed in range(3)]
    arguments = 1, 3, None, 8, 14, 5, 11
    np.testing.assert_array_equal(
        opencv.fastNlMeansDenoisingColoredMulti(frames, *arguments),
        cv2.fastNlMeansDenoisingColoredMulti(frames, *arguments),
    )


@pytest.mark.parametrize("step", [1, 7])
def test_lab(cv2, step):
    """Every seventh level of each channel, and all of one plane."""
    levels = np.arange(0, 256, step if step > 1 else 51)
    cube = np.stack(np.meshgrid(levels, np.arange(0, 256, step), np.arange(0, 256, step), indexing="ij"), axis=-1)
    image = cube.reshape(len(levels), -1, 3).astype(np.uint8)
    from fastimg import arrays
    from fastimg.opencv import lab

    source, result = arrays.take(image, "image"), np.empty_like(image)
    lab.bgr_to_lab(source, result, 0)
    np.testing.assert_array_equal(result, cv2.cvtColor(image, cv2.COLOR_LBGR2Lab))
    lab.lab_to_bgr(source, result, 0)
    np.testing.assert_array_equal(result, cv2.cvtColor(image, cv2.COLOR_Lab2LBGR))


# ---- where OpenCV refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(4))
def test_ends_of_sequences(target, index):
    frames = [noisy(photograph("coffee", 24), seed=seed) for seed in range(4)]
    result = opencv.fastNlMeansDenoisingMulti(frames, index, 5, None, 10, 5, 7)
    np.testing.assert_array_equal(result, reference(frames, index, 2, [10], 5, 7))


@pytest.mark.parametrize("dtype", ["uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["camera", "coffee"])
def test_what_has_no_table(target, dtype, name):
    """uint16 and floats by squared differences: weights are exponentials, 0 below 0.001."""
    levels = noisy(photograph(name, 40))
    scale = 257.0 if dtype == "uint16" else 1 / 255
    image = (levels * scale).astype(dtype)
    result = opencv.fastNlMeansDenoising(image, None, 10 * scale, 5, 9)
    assert result.dtype == image.dtype
    expected = opencv.fastNlMeansDenoising(levels, None, 10, 5, 9)
    assert np.abs(result / scale - expected).max() < 1.5
    assert np.abs(result / scale - expected).mean() < 0.4


def test_five_channels(target):
    image = np.random.default_rng(3).integers(0, 256, (20, 22, 5), np.uint8)
    np.testing.assert_array_equal(
        opencv.fastNlMeansDenoising(image, None, 40, 3, 5), reference([image], 0, 0, [40], 3, 5)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (3, 2, 3)])
def test_small_images(target, shape):
    image = np.random.default_rng(4).integers(0, 256, shape, np.uint8)
    channels = image if image.ndim == 3 else image[..., None]
    expected = reference([channels], 0, 0, [60], 5, 7).reshape(shape)
    np.testing.assert_array_equal(opencv.fastNlMeansDenoising(image, None, 60, 5, 7), expected)


# ---- arguments -------------------------------------------------------------------------------------------------------


def test_layouts_and_dst(layout, cv2):
    image = noisy(photograph("coffee", 48))
    expected = cv2.fastNlMeansDenoising(image, None, 10, 7, 11)
    np.testing.assert_array_equal(opencv.fastNlMeansDenoising(layout(image), None, 10, 7, 11), expected)
    dst = layout(np.zeros_like(image))
    assert opencv.fastNlMeansDenoising(image, dst, 10, 7, 11) is dst
    np.testing.assert_array_equal(dst, expected)
    own = image.copy()
    assert opencv.fastNlMeansDenoising(own, own, 10, 7, 11) is own
    np.testing.assert_array_equal(own, expected)
    colours = opencv.fastNlMeansDenoisingColored(layout(image), None, 10, 10, 5, 7)
    np.testing.assert_array_equal(colours, opencv.fastNlMeansDenoisingColored(image, None, 10, 10, 5, 7))


def test_threads_do_not_change_the_result(target):
    image = noisy(photograph("coffee", 200))
    one = opencv.fastNlMeansDenoisingColored(image, None, 10, 10, threads=1)
    np.testing.assert_array_equal(opencv.fastNlMeansDenoisingColored(image, None, 10, 10, threads=3), one)


def test_tensors():
    torch = pytest.importorskip("torch")
    image = noisy(photograph("camera", 40))
    result = opencv.fastNlMeansDenoising(torch.from_numpy(image), None, 10)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result, opencv.fastNlMeansDenoising(image, None, 10))


IMAGE = np.zeros((8, 9), np.uint8)
COLOURS = np.zeros((8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGE[0],), ValueError, "src must have 2 or 3 dimensions"),
        ((IMAGE[:0],), ValueError, "src must not be empty"),
        ((IMAGE.astype(int),), TypeError, "src must have one of the dtypes"),
        ((IMAGE, None, 3, 0), ValueError, "templateWindowSize must be at least 1, got 0"),
        ((IMAGE, None, 3, 7, 512), ValueError, "searchWindowSize must be at most 511, got 512"),
        ((IMAGE, None, "strong"), TypeError, "h must be a number, got 'strong'"),
        ((IMAGE, None, np.nan), ValueError, "h must be finite"),
        ((COLOURS, [3, 3], None), ValueError, r"h must be one number or one for each of the 3 channels, got \[3, 3\]"),
        ((IMAGE, None, 3, 7, 21, 3), ValueError, "normType must be one of 2, 4, got 3"),
        ((IMAGE.astype("float32"), [3], None, 7, 21, 2), TypeError, "src must have dtype uint8 or uint16 for NORM_L1"),
        (
            (np.zeros((8, 9, 9), np.uint8), None, 3, 127),
            ValueError,
            "templateWindowSize must be smaller for 9 channels",
        ),
        ((IMAGE, np.zeros((8, 8), np.uint8)), ValueError, r"dst must have shape \(8, 9\), got \(8, 8\)"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        opencv.fastNlMeansDenoising(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], 0, 1), ValueError, "srcImgs must not be empty"),
        ((3, 0, 1), TypeError, "srcImgs must be a sequence of images, got int"),
        (([IMAGE], 1, 1), ValueError, "imgToDenoiseIndex must be at most 0, got 1"),
        (([IMAGE], 0, 2), ValueError, "temporalWindowSize must be odd, got 2"),
        (([IMAGE, IMAGE[1:]], 0, 3), ValueError, "srcImgs must be alike"),
        (([IMAGE, IMAGE], 0, 3, IMAGE), ValueError, "dst must not overlap an image of srcImgs"),
    ],
)
def test_bad_sequences(arguments, error, message):
    with pytest.raises(error, match=message):
        opencv.fastNlMeansDenoisingMulti(*arguments)


def test_bad_colours():
    with pytest.raises(ValueError, match=r"src must have shape \(rows, columns, 3\), got \(8, 9\)"):
        opencv.fastNlMeansDenoisingColored(IMAGE)
    with pytest.raises(TypeError, match="src must have one of the dtypes uint8"):
        opencv.fastNlMeansDenoisingColored(COLOURS.astype(np.uint16))
    with pytest.raises(ValueError, match="hColor must be finite"):
        opencv.fastNlMeansDenoisingColored(COLOURS, None, 3, np.inf)
    with pytest.raises(ValueError, match=r"srcImgs must have shape \(rows, columns, 3\)"):
        opencv.fastNlMeansDenoisingColoredMulti([IMAGE], 0, 1)
