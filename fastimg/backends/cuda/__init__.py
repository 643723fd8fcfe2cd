"""The CUDA backend: the operations of `fastimg.backends.cpu` on CuPy arrays, on the current device and stream.

Nothing here waits for the device. The argument `threads` means nothing on it.
"""

from .augment import augment as augment
from .augment import mix as mix
from .conv2d import conv2d as conv2d
from .conv_transpose2d import conv_transpose2d as conv_transpose2d
from .convert_color import convert_color as convert_color
from .denoise_nl_means import denoise_nl_means as denoise_nl_means
from .denoise_nl_means_by_table import denoise_nl_means_by_table as denoise_nl_means_by_table
from .gaussian import gaussian as gaussian
from .gaussian_recursive import gaussian_recursive as gaussian_recursive
from .mean_squared_error import mean_squared_error as mean_squared_error
from .network import network as network
from .opencv_lab import opencv_bgr_to_lab as opencv_bgr_to_lab
from .opencv_lab import opencv_lab_to_bgr as opencv_lab_to_bgr
from .random_noise import random_noise as random_noise
from .resize import resize as resize
from .runtime import constants as constants
from .runtime import empty as empty
from .runtime import upload as upload
from .structural_similarity import structural_similarity as structural_similarity
from .warp import remap as remap
from .warp import warp as warp
from .warp import warp_by_function as warp_by_function
