"""Noise, under scikit-image's names and parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, arrays

__all__ = ["random_noise"]

_PARAMETERS = {  # what each mode takes beyond the arguments of all
    "gaussian": ("mean", "var"),
    "localvar": ("local_vars",),
    "poisson": (),
    "salt": ("amount", "count", "channel_axis"),
    "pepper": ("amount", "count", "channel_axis"),
    "s&p": ("amount", "count", "channel_axis", "salt_vs_pepper"),
    "speckle": ("mean", "var"),
}


def random_noise(
    image: Any,
    mode: str = "gaussian",
    rng: Any = None,
    clip: bool = True,
    *,
    mean: float | None = None,
    var: float | None = None,
    local_vars: Any = None,
    amount: float | None = None,
    salt_vs_pepper: float | None = None,
    count: int | None = None,
    channel_axis: int | None = None,
    preserve_range: bool = False,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Add noise of one of several kinds to an image.

    Parameters
    ----------
    image : array of uint8, uint16, float16, float32 or float64
        Up to eight dimensions, any strides. A floating image is taken to lie in [0, 1], or in [-1, 1] if any sample is
        negative.
    mode : {'gaussian', 'localvar', 'poisson', 'salt', 'pepper', 's&p', 'speckle'}
        - 'gaussian': adds normal noise of `mean` and `var`.
        - 'localvar': adds normal noise whose variance at each sample `local_vars` gives.
        - 'poisson': replaces each sample by a Poisson count of which it is the expectation. The unit of counting
          follows from the number of different values in the image, rounded up to a power of two.
        - 'salt', 'pepper', 's&p': replaces some samples by the highest value, the lowest, or either.
        - 'speckle': multiplies each sample by one plus normal noise of `mean` and `var`.
    rng : int, numpy.random.Generator or None
        A seed; a generator, from which one number is taken as the seed; None for a seed of the system's choosing.
    clip : bool
        Whether to clip the result to the image's range. Integer results are clipped in any case.
    mean : float, default 0
        Of the noise, in modes 'gaussian' and 'speckle'.
    var : float, default 0.01
        Variance of the noise in modes 'gaussian' and 'speckle'; under `preserve_range`, the default for 'gaussian' is
        0.01 times the squared range.
    local_vars : array of the kind of `image`, default 0.01
        Variance at each sample in mode 'localvar', above 0; broadcast to the shape of the image. The default is scaled
        like `var`.
    amount : float, default 0.05
        The probability that a sample is replaced, in modes 'salt', 'pepper' and 's&p'.
    salt_vs_pepper : float, default 0.5
        The share of 'salt' among what 's&p' replaces.
    count : int, optional
        Instead of `amount`: exactly so many different pixels are replaced, in 's&p' ``round(count * salt_vs_pepper)``
        of them by the highest value.
    channel_axis : int, optional
        In modes 'salt', 'pepper' and 's&p': the axis of channels that are replaced together. By default every sample
        is a pixel of its own.
    preserve_range : bool, default False
        False turns integer images into float32 in [0, 1]. True keeps their dtype and range: results are rounded half
        to even, and `mean`, `var` and `local_vars` of additive noise are in the units of the image. Floating images
        keep their dtype and range always.
    out : array of the kind of `image`, optional
        Where the result goes. Must not overlap `image` or `local_vars`.
    threads : int, optional
        Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

    Returns
    -------
    array of the kind of `image`
        A sample that is NaN stays so where it is not replaced, and concerns no other. An infinity does not either, but
        in mode 'poisson' of an image with negative samples, where it leaves nothing but NaN.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or `image` of another dtype.
    ValueError
        If an argument is out of its range, of the wrong shape, or has no meaning in this mode.

    Notes
    -----
    Signature and distributions are those of `skimage.util.random_noise`; the numbers are not. They come from the
    counter-based generator Philox4x32-10 [1]_: the draw of a sample is a function of the seed and of the sample's
    place, so that a seed gives the same noise for any memory layout and number of threads, and, but for rounding of
    the last place, on any instruction set and on a GPU. Normal numbers are drawn in single precision and reach 6.7
    standard deviations.

    One pass, O(n); no memory but the result. Mode 'poisson' first sorts a copy of the image to count its values.

    On a GPU nothing waits for values of the image, but that CuPy before version 14 sorts no other way: whether a
    floating image has negative samples is found there, in another pass where it matters; `local_vars` and the range of
    a signed image in mode 'poisson' are not checked (what they would be refused for makes NaN or counts of 0).

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import util
    >>> grey = np.full((100, 100), 128, np.uint8)
    >>> noisy = util.random_noise(grey, "gaussian", rng=1, var=10**2, preserve_range=True)
    >>> noisy.dtype, round(float(noisy.std()))
    (dtype('uint8'), 10)
    >>> int((util.random_noise(grey, "salt", rng=1, count=300, preserve_range=True) == 255).sum())
    300
    """
    mode = _checks.one_of(mode.lower() if isinstance(mode, str) else mode, "mode", list(_PARAMETERS))
    given = {
        "mean": mean,
        "var": var,
        "local_vars": local_vars,
        "amount": amount,
        "salt_vs_pepper": salt_vs_pepper,
        "count": count,
        "channel_axis": channel_axis,
    }
    for name, value in given.items():
        if value is not None and name not in _PARAMETERS[mode]:
            raise ValueError(f"{name} has no meaning in mode {mode!r}")
    clip = _checks.boolean(clip, "clip")
    keep = _checks.boolean(preserve_range, "preserve_range")
    threads = _checks.threads(threads)

    source = arrays.take(image, "image")
    data = source.data
    _checks.non_empty(data.shape, "image")
    axis = _checks.axis(channel_axis, "channel_axis", data.ndim)
    whole = float(np.iinfo(data.dtype).max) if data.dtype.kind == "u" else 1.0
    high = whole if keep else 1.0
    low = _low(source, high)
    variances: Any = np.ones((), np.float32)

    options: dict[str, Any]
    if mode in ("gaussian", "speckle"):
        unit = high if mode == "gaussian" else 1.0
        options = {
            "mean": _checks.real(0.0 if mean is None else mean, "mean"),
            "deviation": math.sqrt(_checks.real(0.01 * unit**2 if var is None else var, "var", at_least=0)),
        }
    elif mode == "localvar":
        options = {}
        variances = _variances(0.01 * high**2 if local_vars is None else local_vars, source)
    elif mode == "poisson":
        options = {"distinct": _distinct(source)} if source.on_gpu else _poisson(data, whole, high, low or 0.0)
    else:
        pixels = data.size // (1 if axis is None else data.shape[axis])
        share = {"salt": 1.0, "pepper": 0.0}.get(mode, salt_vs_pepper)
        options = _impulses(amount, count, _share(share, "salt_vs_pepper", 0.5), pixels)

    key = _key(rng)
    result = source.result(data.shape, [data.dtype if keep or data.dtype.kind == "f" else np.float32], out)
    if arrays.overlap(result.data, variances):
        raise ValueError("out must not overlap local_vars")
    source.backend.random_noise(
        _channels_last(data, axis),
        variances if source.on_gpu else _channels_last(np.broadcast_to(variances, data.shape), axis),
        _channels_last(result.data, axis),
        options.pop("mode", {"localvar": "local_gaussian"}.get(mode, mode)),
        key,
        whole / high,
        low,
        high,
        clip,
        threads,
        **options,
    )
    return result.give_back()


def _low(source: arrays.Source, high: float) -> float | None:
    """The lower end of the image's range; None where only its device knows."""
    if source.data.dtype.kind == "u":
        return 0.0
    if source.on_gpu:
        return None
    return -high if np.fmin.reduce(source.data, axis=None) < 0 else 0.0


def _variances(local_vars: Any, image: arrays.Source) -> Any:
    """float32, in a shape that broadcasts to the image's; one number is on the CPU always."""
    if hasattr(local_vars, "__len__"):
        given = arrays.take(local_vars, "local_vars")
        arrays.expect_together(image, given)
        values = given.data
        if values.dtype != np.float32:
            with given.current():
                values = values.astype(np.float32)
    else:
        given = None
        values = np.asarray(_checks.real(local_vars, "local_vars"), np.float32)
    shape = image.data.shape
    if not _broadcasts(values.shape, shape):
        raise ValueError(f"local_vars must have a shape that broadcasts to {shape}, got {values.shape}")
    if given is not None and given.on_gpu:
        return values
    if not (values > 0).all() or not np.isfinite(values).all():
        raise ValueError("local_vars must be finite and above 0 everywhere")
    return values


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _distinct(source: arrays.Source) -> Any:
    """The number of different values of an image on a GPU, less one, as an array of one element there."""
    with source.current():
        values = np.sort(source.data.ravel())  # NaN at the end, and never equal to itself
        differ = (values[1:] != values[:-1]) & (values[:-1] == values[:-1])
        return np.sum(differ, axis=0, keepdims=True, dtype=np.int64)


def _poisson(data: NDArray[Any], whole: float, high: float, low: float) -> dict[str, Any]:
    """How values become expected counts and counts values again; both are linear."""
    levels = 2.0 ** math.ceil(math.log2(len(np.unique(data))))
    if low == 0:
        return {"rate_factor": levels / whole, "count_factor": high / levels}
    lowest, span = float(np.fmin.reduce(data, axis=None)), float(np.fmax.reduce(data, axis=None)) + 1.0
    if lowest < -1:
        raise ValueError(f"image must not go below -1 in mode 'poisson', got a minimum of {lowest:g}")
    rate = levels / span if span > 0 else 0.0
    return {"rate_factor": rate, "rate_offset": rate, "count_factor": span / levels, "count_offset": -1.0}


def _impulses(amount: Any, count: Any, salt: float, pixels: int) -> dict[str, Any]:
    if count is None:
        share = _share(amount, "amount", 0.05)
        return {"mode": "impulses", "salt": share * salt, "pepper": share * (1 - salt)}
    if amount is not None:
        raise ValueError("amount and count must not both be given")
    chosen = _checks.integer(count, "count", at_least=0, at_most=pixels)
    salted = round(chosen * salt)
    return {"mode": "counted_impulses", "salt_count": salted, "pepper_count": chosen - salted}


def _share(value: Any, name: str, default: float) -> float:
    share = _checks.real(default if value is None else value, name, at_least=0)
    if share > 1:
        raise ValueError(f"{name} must be at most 1, got {share:g}")
    return share


def _key(rng: Any) -> int:
    """The key of the counter-based generator."""
    if not isinstance(rng, np.random.Generator | np.integer | int | None) or isinstance(rng, bool):
        raise TypeError(f"rng must be None, an integer or a numpy.random.Generator, got {rng!r}")
    if isinstance(rng, np.integer | int):
        rng = _checks.integer(rng, "rng", at_least=0)
    return int(np.random.default_rng(rng).integers(0, 2**64, dtype=np.uint64))


def _channels_last(array: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """The channels as last axis; one of length 1 where there are none."""
    return array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)
