"""Image restoration, under scikit-image's names."""

from .noise_estimate import estimate_sigma
from .non_local_means import denoise_nl_means, denoise_nl_means_sequence, denoise_nl_means_stream

__all__ = ["denoise_nl_means", "denoise_nl_means_sequence", "denoise_nl_means_stream", "estimate_sigma"]
