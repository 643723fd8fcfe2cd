"""The CPU backend: the extension's kernels, which take NumPy arrays of any strides."""

from .._fastimg_cpu import conv2d as conv2d
from .._fastimg_cpu import conv_transpose2d as conv_transpose2d
from .._fastimg_cpu import convert_color as convert_color
from .._fastimg_cpu import denoise_nl_means as denoise_nl_means
from .._fastimg_cpu import denoise_nl_means_by_table as denoise_nl_means_by_table
from .._fastimg_cpu import gaussian as gaussian
from .._fastimg_cpu import gaussian_recursive as gaussian_recursive
from .._fastimg_cpu import mean_squared_error as mean_squared_error
from .._fastimg_cpu import opencv_bgr_to_lab as opencv_bgr_to_lab
from .._fastimg_cpu import opencv_lab_to_bgr as opencv_lab_to_bgr
from .._fastimg_cpu import random_noise as random_noise
from .._fastimg_cpu import resize as resize
from .._fastimg_cpu import structural_similarity as structural_similarity
