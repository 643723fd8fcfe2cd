"""Checks of arguments, with one wording: what the argument is called, what was expected, what came."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_THREADS", "axis", "boolean", "integer", "non_empty", "one_of", "rank", "real", "same_shape", "threads"]


MAX_THREADS = 1024


def integer(value: Any, name: str, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """`value` as an int; bools, floats and strings are refused."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {number}")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {number}")
    return number


def real(
    value: Any, name: str, *, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> float:
    """`value` as a finite float; bools and strings are refused."""
    try:
        if isinstance(value, str | bytes) or _is_boolean(value):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} must be at least {at_least:g}, got {number:g}")
    if above is not None and number <= above:
        raise ValueError(f"{name} must be above {above:g}, got {number:g}")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name} must be at most {at_most:g}, got {number:g}")
    return number


def boolean(value: Any, name: str) -> bool:
    """`value` as a bool; only True and False (NumPy's too) are taken."""
    if not _is_boolean(value):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(value: Any, name: str, choices: Sequence[Any]) -> Any:
    """`value` if it is one of `choices`."""
    if not any(value is choice or (isinstance(value, type(choice)) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def axis(value: Any, name: str, ndim: int) -> int | None:
    """An axis of an array of `ndim` axes as a non-negative int; None stays None."""
    if value is None:
        return None
    number = integer(value, name)
    if not -ndim <= number < ndim:
        raise ValueError(f"{name} must be None or between {-ndim} and {ndim - 1} for {ndim} dimensions, got {number}")
    return number % ndim


def rank(ndim: int, name: str, accepted: Sequence[int], meaning: str = "") -> None:
    """Refuse an array whose number of dimensions is not among `accepted`; `meaning` explains what is expected."""
    if ndim not in accepted:
        expected = " or ".join(map(str, accepted))
        raise ValueError(f"{name} must have {expected} dimensions{f' ({meaning})' if meaning else ''}, got {ndim}")


def non_empty(shape: Sequence[int], name: str) -> None:
    """Refuse an array without elements."""
    if 0 in shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(shape)}")


def same_shape(shape: Sequence[int], expected: Sequence[int], name: str, other: str) -> None:
    """Refuse two arrays of different shapes."""
    if tuple(shape) != tuple(expected):
        raise ValueError(f"{name} must have the shape of {other}, {tuple(expected)}, got {tuple(shape)}")


def _is_boolean(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")


def threads(value: Any) -> int:
    """A `threads` argument as the kernels take it: 0 stands for the library's default."""
    return 0 if value is None else integer(value, "threads", at_least=1, at_most=MAX_THREADS)
