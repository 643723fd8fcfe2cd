"""The CUDA backend: the operations of `fastimg.backends.cpu` on CuPy arrays, on the current device and stream.

Nothing here waits for the device. The argument `threads` means nothing on it.
"""

from .convert_color import convert_color as convert_color
from .denoise_nl_means import denoise_nl_means as denoise_nl_means
from .gaussian import gaussian as gaussian
from .mean_squared_error import mean_squared_error as mean_squared_error
