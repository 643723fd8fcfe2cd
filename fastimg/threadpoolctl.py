"""The library's number of threads under the control of threadpoolctl.

Importing this module makes `threadpoolctl.threadpool_limits` and its kin know fastimg::

    import fastimg.threadpoolctl
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="fastimg"):
        ...
"""

from __future__ import annotations

from threadpoolctl import LibController, register

from . import _fastimg_cpu
from ._version import __version__

__all__ = ["FastimgController"]


class FastimgController(LibController):  # type: ignore[misc]
    """Controls the threads of fastimg's extension.

    Examples
    --------
    >>> import fastimg, fastimg.threadpoolctl
    >>> from threadpoolctl import threadpool_limits
    >>> with threadpool_limits(1, user_api="fastimg"):
    ...     fastimg.get_num_threads()
    1
    """

    user_api = "fastimg"
    internal_api = "fastimg"
    filename_prefixes = ("_fastimg_cpu",)
    check_symbols = ("fastimg_get_num_threads", "fastimg_set_num_threads")

    def get_num_threads(self) -> int:
        return int(self.dynlib.fastimg_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.fastimg_set_num_threads(num_threads)

    def get_version(self) -> str:
        return __version__

    def set_additional_attributes(self) -> None:
        self.instruction_set = _fastimg_cpu.active_target()


register(FastimgController)
