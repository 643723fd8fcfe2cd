"""Non-local means against OpenCV and scikit-image, and the drop-ins for OpenCV's functions."""

from functools import partial

from fastimg.benchmarks import denoise_nl_means as nl_means


def _same_work(size, channels, dtype):
    return f"{size}-{channels}-{dtype}", partial(nl_means.same_work, size, channels, dtype)


def _drop_in(name, size):
    return f"{name}-{size}", partial(nl_means.drop_in, name, size)


def _like_scikit_image(size, ndim):
    return f"scikit-image-{size}-{ndim}d", partial(nl_means.like_scikit_image, size, ndim)


SHORT = [
    *(_same_work(1024, channels, dtype) for channels, dtype in ((1, "uint8"), (1, "float32"), (3, "uint8"))),
    *(_same_work(size, 1, "uint8") for size in (128, 256, 512)),
    *(_drop_in(name, 1024) for name in ("fastNlMeansDenoising", "fastNlMeansDenoisingColored")),
    _like_scikit_image(512, 2),
    _like_scikit_image(64, 3),
]
LONG = [
    *(_same_work(size, 1, "float32") for size in (256, 512, 2048)),
    *(_same_work(size, 3, "uint8") for size in (256, 512)),
    _same_work(2048, 1, "uint8"),
    *(_drop_in(name, 512) for name in ("fastNlMeansDenoising", "fastNlMeansDenoisingColored")),
    _like_scikit_image(256, 2),
    _like_scikit_image(128, 3),
]


def test_denoise_nl_means(race, make):
    race(make)
