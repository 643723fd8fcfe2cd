"""The mean structural similarity of two images."""

from __future__ import annotations

import numpy as np

from .. import metrics
from .races import Job, Run, contenders


def job(size: int, dtype: str, threads: int) -> Job:
    """Two grey images, scikit-image's uniform windows of 7 x 7."""
    rng = np.random.default_rng(0)
    image = (255 * rng.random((size, size))).astype(dtype)
    other = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(dtype)

    def scikit_image() -> Run:
        from skimage.metrics import structural_similarity

        return lambda: structural_similarity(image, other, data_range=255)

    return Job(
        "structural_similarity",
        f"{size}² grey {dtype}",
        {"size": size, "channels": 1, "dtype": dtype},
        contenders(
            lambda: metrics.structural_similarity(image, other, data_range=255, threads=threads),
            **{"scikit-image": scikit_image},
        ),
        {"scikit-image": 1e-4},
    )
