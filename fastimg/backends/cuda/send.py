"""A few numbers on their way to the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import runtime

# As csrc/cuda/send.cu has them.
BLOCK, WORDS = 256, 1016  # threads, and words of 4 bytes in a launch

_PARAMETERS = np.dtype([("to", np.uint64), ("count", np.int64), ("word", np.uint32, (WORDS,))], align=True)


def send(values: NDArray[Any]) -> Any:
    """A copy on the current device, for its current stream, as a flat array of words of 4 bytes.

    It travels as arguments of launches, 4 KB each: nothing waits, and a captured graph holds it.
    """
    given = values.tobytes()
    count = -(-len(given) // 4)
    words = np.frombuffer(given + bytes(-len(given) % (4 * WORDS)), np.uint32)
    copy = runtime.empty((count,), np.uint32)
    carry = runtime.kernel("send", "send", _PARAMETERS).prepared((1,), (BLOCK,), {})
    for begin in range(0, count, WORDS):
        part = words[begin : begin + WORDS]
        carry(to=runtime.address(copy) + 4 * begin, count=min(WORDS, count - begin), word=part)
    return copy
