"""Gaussians and their derivatives as sums of decaying, turning exponentials: coefficients of recursive filters.

R. Deriche, "Recursively implementing the Gaussian and its derivatives", INRIA RR-1893, 1993. His fit of two pairs of
poles is off by 5e-4; these are three, fitted by ``tools/fit_recursive_gaussian.py``, with poles of their own for each
order.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

# For order 0 to 3: the normal density times Hermite's polynomial is, for t >= 0, within 1e-5, 5e-5, 2e-4, 1e-3 in the
# mean, Re sum over j of amplitude_j exp(-rate_j t). (rates, amplitudes)
_FITS: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = (
    (
        np.array([2.18228358 + 0.52658355j, 2.15117637 + 1.61606202j, 2.07878113 + 2.85660317j]),
        np.array([1.25802472 + 2.91404971j, -0.92225682 - 0.36586155j, 0.06317118 - 0.01761067j]),
    ),
    (
        np.array([1.96877981 + 0.54843343j, 1.96129944 + 1.66780169j, 1.91541271 + 2.91983679j]),
        np.array([0.93240923 + 4.17016221j, -1.06186251 - 1.21500781j, 0.12943786 + 0.04797183j]),
    ),
    (
        np.array([1.73461426 + 0.58231989j, 1.76773226 + 1.73429118j, 1.75459802 + 2.99135422j]),
        np.array([-0.26784448 + 4.67687045j, -0.26550673 - 2.40661198j, 0.13433465 + 0.25255425j]),
    ),
    (
        np.array([1.47358525 + 0.64086810j, 1.57463693 + 1.81868704j, 1.59841664 + 3.07084165j]),
        np.array([-1.92343551 + 3.43808525j, 2.12273300 - 2.70055835j, -0.19965671 + 0.55841390j]),
    ),
)


class RecursiveFilter(NamedTuple):
    """What is done along an axis: a tap at distance 0, and Re sum of residues * poles**k at distance k = 1, 2, ...

    Those before it are negative if it is odd. Without poles, nothing is done.
    """

    centre: float = 1.0
    poles: tuple[complex, ...] = ()
    residues: tuple[complex, ...] = ()
    odd: bool = False
    mode: str = "nearest"


@functools.lru_cache(maxsize=256)
def recursive_filter(sigma: float, order: int, mode: str, dtype: DTypeLike) -> RecursiveFilter:
    """Coefficients for computing in `dtype`, float32 or float64; without poles where there is nothing to do."""
    if sigma <= 1e-15 or (order == 0 and sigma < 0.02):
        return RecursiveFilter()
    distances = np.arange(1.0, 10 * sigma + 2) / sigma
    density = np.exp(-0.5 * distances**2)
    total = 1 + 2 * density.sum()
    rates, amplitudes = _FITS[order]
    exact = np.exp(-rates / sigma)
    poles = exact.astype(np.complex64).astype(complex) if dtype == np.float32 else exact
    residues = amplitudes * np.sqrt(2 * np.pi) / (total * sigma**order)
    # Fit and rounding are off by little, but of one sign far out: a polynomial of the order's degree shall not see it.
    if order == 0:
        centre = 1 / total
        whole = centre + 2 * _moment(residues, poles, 0)
        centre, residues = centre / whole, residues / whole
    else:
        residues *= _moment(residues, exact, order) / _moment(residues, poles, order)
        whole = (2 * ((distances**2 - 1) * density).sum() - 1) / (total * sigma**2)
        centre = whole - 2 * _moment(residues, poles, 0) if order == 2 else 0.0
    return RecursiveFilter(float(centre), tuple(poles.tolist()), tuple(residues.tolist()), order % 2 == 1, mode)


def _moment(residues: NDArray[Any], poles: NDArray[Any], power: int) -> float:
    """Sum over k >= 1 of k**power times the response at distance k."""
    polynomial = ((1.0,), (1.0,), (1.0, 1.0), (1.0, 4.0, 1.0))[power]  # Euler's
    sums = poles * np.polynomial.polynomial.polyval(poles, polynomial) / (1 - poles) ** (power + 1)
    return float((residues * sums).sum().real)
