"""Fits the exponentials of recursive Gaussians: prints the table of ``fastimg/_recursive_gaussian.py``.

    python tools/fit_recursive_gaussian.py

Least squares over t >= 0, in the rates by Levenberg and Marquardt from several starts, in the amplitudes directly; of
all ends the one with the smallest mean error. Needs SciPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

STARTS = 12
START = (2.18 + 0.53j, 2.15 + 1.62j, 2.08 + 2.86j)
HERMITE = ((1.0,), (0.0, 1.0), (-1.0, 0.0, 1.0), (0.0, -3.0, 0.0, 1.0))
T = np.linspace(0.0, 10.0, 2501)


def fitted(rates: NDArray, target: NDArray) -> tuple[NDArray, NDArray]:
    """The best amplitudes for these rates, and the error at each t."""
    waves = np.exp(-rates * T[:, np.newaxis])
    basis = np.concatenate([waves.real, -waves.imag], axis=1)
    parts = np.linalg.lstsq(basis, target, rcond=None)[0]
    return parts[: len(rates)] + 1j * parts[len(rates) :], basis @ parts - target


def fit(order: int, rng: np.random.Generator) -> tuple[float, NDArray, NDArray]:
    """The mean error on both sides, rates and amplitudes."""
    density = np.exp(-0.5 * T**2) / np.sqrt(2 * np.pi)
    target = np.polynomial.polynomial.polyval(T, HERMITE[order]) * density
    ends = []
    for spread in [0.0] + [0.15] * (STARTS - 1):
        start = np.array(START).view(float) * (1 + spread * rng.standard_normal(2 * len(START)))
        tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
        end = least_squares(lambda parts: fitted(parts.view(complex), target)[1], start, **tight).x.view(complex)
        amplitudes, error = fitted(end, target)
        ends.append((2 * float(np.trapezoid(abs(error), T)), end, amplitudes))
    return min(ends, key=lambda end: end[0])


def main() -> None:
    rng = np.random.default_rng(0)
    for order in range(4):
        error, rates, amplitudes = fit(order, rng)
        print(f"# order {order}: {error:.1e}")
        for numbers in (rates, amplitudes):
            print("(" + ", ".join(f"{z.real:.8f}{z.imag:+.8f}j" for z in numbers[np.argsort(rates.imag)]) + "),")


if __name__ == "__main__":
    main()
