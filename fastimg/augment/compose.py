"""The pipeline: which transforms go together into one pass, and the passes over a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _checks, arrays
from .plan import REPEATABLE, Draws, Floats, Plan, Stage, Transform, draw

MODES = ("constant", "edge", "symmetric", "reflect", "wrap")
DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "float16", "float32"))
MOST_SEED = 2**64 - 1


class Compose:
    """Random transforms, one after the other, done to batches in as few passes as possible.

    Parameters
    ----------
    transforms : sequence of transforms of `fastimg.augment`
        `Normalize` comes last, but for `MixUp`.
    seed : int
        From 0 to 2**64 - 1. With the index of an image it decides everything that is drawn for it.
    mode : {"constant", "edge", "symmetric", "reflect", "wrap"}
        What stands beyond the border of images, under NumPy's names; "constant" is `fill`.
    fill : float
        Where the image's range is 1; rounded to what the dtype of the images has.
    mask_fill : float
        The same for masks, in their own units. Other modes continue masks as images.
    dtype : {uint8, uint16, float16, float32}, optional
        Of the result; by default that of the images, or float32 with `Normalize`. Integers stand for [0, 1].
    channel_axis : {-1, 1, None}
        Where the channels of batches are: N×H×W×C, N×C×H×W, or N×H×W without channels.
    out_channel_axis : {-1, 1}, optional
        Where those of the result are to be; by default at the same place.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If one is out of its range, or transforms stand in an order that is refused.

    Notes
    -----
    **Passes.** Images go through the kernel once for each run of transforms in the kernel's order: geometry (any
    number, as one matrix and one linear interpolation), `GaussianBlur`, `ColorJitter` (any number), `GaussianNoise`,
    `SaltAndPepper`, `Cutout` (any number), `Normalize`. A transform that belongs before its predecessor begins a new
    pass; between passes images have their own dtype, integers rounded. `MixUp` blends results in place.

    Fused geometry looks at the original image: no intermediate picture blurs it, and what one transform moved out of
    sight comes back if another brings it in.

    **Reproducibility.** What is drawn for an image is a function of `seed`, its index and the number of the transform,
    by the counter-based generator Philox4x32-10. Threads, workers and the way an epoch is cut into batches change
    nothing. `MixUp` alone looks at who else is in the batch.

    **On a GPU**, CuPy arrays and CUDA tensors get the CPU's pictures: the same draw, made on the CPU and sent with the
    launches, and results within rounding. Nothing waits, and a captured graph holds the draw that it was captured with.

    **Cost.** O(N H W C), and O(sigma) times as much for images that are blurred; no memory but the result, one more
    batch where there are several passes, and some two megabytes for each thread. On a GPU it takes some 250 bytes an
    image and, where some are blurred, 32 MB or twice an image in float32, whichever is more.

    Examples
    --------
    >>> import numpy as np
    >>> from fastimg import augment
    >>> train = augment.Compose(
    ...     [augment.Affine(degrees=10), augment.Flip(), augment.Normalize(0.5, 0.25)], seed=1, out_channel_axis=1
    ... )
    >>> images = np.zeros((8, 32, 32, 3), np.uint8)
    >>> batch, masks = train(images, index=0, masks=np.zeros((8, 32, 32), np.uint8))
    >>> batch.shape, batch.dtype, masks.shape
    ((8, 3, 32, 32), dtype('float32'), (8, 32, 32))
    >>> bool((train(images[4:], index=4) == batch[4:]).all())
    True
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        seed: int,
        *,
        mode: str = "constant",
        fill: float = 0.0,
        mask_fill: float = 0.0,
        dtype: DTypeLike | None = None,
        channel_axis: int | None = -1,
        out_channel_axis: int | None = None,
    ) -> None:
        self.transforms = tuple(transforms)
        for transform in self.transforms:
            if not isinstance(getattr(transform, "stage", None), Stage) or isinstance(transform, type):
                raise TypeError(f"transforms must be those of fastimg.augment, got {transform!r}")
        self.seed = _checks.integer(seed, "seed", at_least=0, at_most=MOST_SEED)
        self.mode = _checks.one_of(mode, "mode", MODES)
        self.fill = _checks.real(fill, "fill")
        self.mask_fill = _checks.real(mask_fill, "mask_fill")
        self.channel_axis = _checks.one_of(channel_axis, "channel_axis", (-1, 1, None))
        self.out_channel_axis = _checks.one_of(out_channel_axis, "out_channel_axis", (-1, 1, None))
        if channel_axis is None and out_channel_axis is not None:
            raise ValueError("out_channel_axis must be None where channel_axis is")
        if out_channel_axis is None:
            self.out_channel_axis = channel_axis
        stages = [transform.stage for transform in self.transforms]
        if Stage.MIX in stages[:-1]:
            raise ValueError("MixUp must come last")
        self.dtype = None if dtype is None else _dtype(dtype)
        if Stage.NORMALIZE in stages:
            if set(stages[stages.index(Stage.NORMALIZE) + 1 :]) - {Stage.MIX}:
                raise ValueError("Normalize must come after all other transforms but MixUp")
            self.dtype = self.dtype or np.dtype(np.float32)
            if self.dtype.kind != "f":
                raise ValueError(f"dtype must be floating with Normalize, got {self.dtype.name}")
        self._passes = _passes(self.transforms)

    def __repr__(self) -> str:
        return f"Compose({list(self.transforms)!r}, seed={self.seed})"

    def __call__(
        self,
        images: Any,
        *,
        index: Any,
        masks: Any = None,
        keypoints: Any = None,
        boxes: Any = None,
        labels: Any = None,
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Transform a batch.

        Parameters
        ----------
        images : array of uint8, uint16, float16 or float32, or a sequence of such
            (N, H, W, C), (N, C, H, W) or (N, H, W), as `channel_axis` says; any strides; floats in [0, 1]. Of a
            sequence, one image each, of any sizes if a crop brings them to one.
        index : int or (N,) array of int
            The number of the first image, or of each, in [0, 2**64): something that no other image of the training has
            under this seed, say ``epoch * len(dataset) + i``.
        masks : array of bool, uint8, uint16, float16 or float32, or a sequence of such, optional
            (N, H, W) or (N, H, W, K) with the sizes of the images, on the same device. They go where the images go, by
            the nearest pixel, and are not mixed.
        keypoints : (N, K, 2) array or sequence of (K_i, 2) arrays, optional
            Columns and rows (x, y) in coordinates of pixel centres. They may come to lie outside.
        boxes : (N, K, 4) array or sequence of (K_i, 4) arrays, optional
            (left, top, right, bottom) between pixels, so that (0, 0, W, H) is the whole image. They become the boxes
            around their corners, cut to the image; without area if nothing is left.
        labels : (N, K) array of float, optional
            What `MixUp` blends as it blends the images.
        out : array of the kind of `images`, optional
            Where the images go. Must not overlap them.
        threads : int, optional
            Threads to use; by default those of `fastimg.get_num_threads`. The result does not depend on it.

        Returns
        -------
        array of the kind of `images`, or tuple
            The images; or a tuple of them and of what else was given, in the order of the parameters. Masks keep their
            dtype; points and boxes are float64, arrays or lists as they came, and labels float32, on the CPU.

        Raises
        ------
        TypeError
            If an argument is of the wrong type or dtype.
        ValueError
            If one is empty, out of range, of the wrong shape or on another device; the message says which and what was
            expected.

        Notes
        -----
        NaN spoils the samples that it has weight in, and a mean grey; integer results have 0 for it.
        """
        sources, sequence = _sources(images, self.channel_axis)
        count = _checks.threads(threads)
        pictures = [source.data for source in sources]
        batch = _channels_last(pictures[0], self.channel_axis) if not sequence else None
        given = [_channels_last(p[np.newaxis], self.channel_axis)[0] for p in pictures] if batch is None else batch
        n, channels, dtype = len(given), given[0].shape[-1], given[0].dtype
        sizes = np.array([p.shape[:2] for p in given] if batch is None else batch.shape[1:3], np.int64)
        sizes = np.broadcast_to(sizes, (n, 2))
        draws = draw(_indices(index, n), len(self.transforms), self.seed)

        plans = self._plans(draws, sizes, channels)
        last = plans[-1]
        result = sources[0].result(_shape(n, last.size(), channels, self.out_channel_axis), [self.dtype or dtype], out)
        for source in sources:
            arrays.expect_apart(result.data, source)
        target = _channels_last(result.data, self.out_channel_axis)
        for plan in plans:
            to = target if plan is last else sources[0].backend.empty((n, *plan.size(), channels), dtype)
            self._run(plan, given, to, sources[0].backend, count)
            given = to
        if last.weights is not None and n > 1:
            sources[0].backend.mix(target, last.weights, count)

        others = []
        matrices = _product([plan.what["matrix"] for plan in plans])
        if masks is not None:
            others.append(self._masks(masks, sources[0], sizes, matrices, last.size(), count))
        if keypoints is not None:
            others.append(_moved(keypoints, "keypoints", 2, matrices, _points))
        if boxes is not None:
            rows, columns = last.size()
            others.append(_moved(boxes, "boxes", 4, matrices, lambda b, m: _boxes(b, m, rows, columns)))
        if labels is not None:
            others.append(_mixed(labels, last.weights, n))
        pixels = result.give_back()
        return (pixels, *others) if others else pixels

    def mixture(self, n: int, index: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Whom `MixUp` blends the images of a batch with.

        Parameters
        ----------
        n : int
            The number of images.
        index : int or (n,) array of int
            As for a call.

        Returns
        -------
        partners : (n,) array of int64
            The place in the batch of the image that each is blended with.
        weights : (n,) array of float32
            The share of itself that each keeps; 1 for those that were not drawn, and all if there is no `MixUp`.

        Examples
        --------
        >>> from fastimg import augment
        >>> partners, weights = augment.Compose([augment.MixUp()], seed=0).mixture(3, index=0)
        >>> partners
        array([2, 0, 1])
        """
        n = _checks.integer(n, "n", at_least=1)
        draws = draw(_indices(index, n), len(self.transforms), self.seed)
        weights = np.ones(n, np.float32)
        for transform, numbers in zip(self.transforms, draws, strict=True):
            if transform.stage == Stage.MIX:
                plan = Plan.of(np.ones((n, 2), np.int64), 1)
                transform.add_to(plan, numbers)
                assert plan.weights is not None
                weights = plan.weights
        return np.roll(np.arange(n), 1), weights

    def _plans(self, draws: Sequence[Draws], sizes: NDArray[np.int64], channels: int) -> list[Plan]:
        plans = []
        for numbers in self._passes:
            plan = Plan.of(sizes, channels)
            for number in numbers:
                self.transforms[number].add_to(plan, draws[number])
            plans.append(plan)
            sizes = plan.sizes
        return plans

    def _run(self, plan: Plan, images: Any, to: NDArray[Any], backend: Any, threads: int) -> None:
        n, k = len(plan.what), len(plan.rectangles)
        rectangles = np.stack(plan.rectangles, axis=1) if k else np.zeros((n, 0, 4), np.int32)
        fills = np.stack(plan.fills) if k else np.zeros((0, plan.channels), np.float32)
        top = np.float32(np.iinfo(to.dtype).max if to.dtype.kind == "u" else 1)
        backend.augment(
            images,
            to,
            plan.what,
            self.mode,
            self.fill,
            rectangles,
            fills,
            np.ascontiguousarray(plan.scale * top),
            np.ascontiguousarray(plan.offset * top),
            threads,
        )

    def _masks(
        self,
        masks: Any,
        images: arrays.Source,
        sizes: NDArray[np.int64],
        matrices: Floats,
        size: tuple[int, int],
        threads: int,
    ) -> Any:
        sources, sequence = _sources(masks, None, "masks", (np.bool_, *DTYPES))
        arrays.expect_together(images, sources[0])
        if sum(len(source.data) if not sequence else 1 for source in sources) != len(sizes):
            raise ValueError(f"masks must be as many as the images, {len(sizes)}")
        one = [source.data[np.newaxis] for source in sources] if sequence else [sources[0].data]
        for mask, expected in zip(one, sizes if sequence else sizes[:1], strict=True):
            _checks.rank(mask.ndim - 1, "masks", (2, 3), "rows, columns and, if any, channels, after the images")
            if mask.shape[1:3] != tuple(expected):
                raise ValueError(f"masks must have the size of their images, {tuple(expected)}, got {mask.shape[1:3]}")
        result = sources[0].result((len(sizes), *size, *one[0].shape[3:]), [one[0].dtype])
        to = result.data
        for i, mask in enumerate(one):
            part = to[i : i + 1] if sequence else to
            pair = [(a.view(np.uint8) if a.dtype == np.bool_ else a).reshape(*a.shape[:3], -1) for a in (mask, part)]
            places = np.ascontiguousarray(matrices[i : i + 1] if sequence else matrices)
            limits = (self.mask_fill, -np.inf, np.inf, threads)
            sources[0].backend.warp(*pair, places, "nearest", self.mode, *limits)
        return result.give_back()


def _dtype(value: Any) -> np.dtype[Any]:
    for dtype in DTYPES:
        if value in (dtype, dtype.name, dtype.type):
            return dtype
    raise TypeError(f"dtype must be one of {', '.join(dtype.name for dtype in DTYPES)}, got {value!r}")


def _passes(transforms: Sequence[Transform]) -> list[list[int]]:
    """The numbers of the transforms that go together, pass by pass; at least one pass."""
    passes: list[list[int]] = [[]]
    before = Stage.GEOMETRY
    for number, transform in enumerate(transforms):
        stage = transform.stage
        again = bool(passes[-1]) and stage == before and stage not in REPEATABLE
        if stage < before or again:
            passes.append([])
        passes[-1].append(number)
        before = stage
    return passes


def _sources(
    images: Any, channel_axis: int | None, name: str = "images", dtypes: Sequence[DTypeLike] = DTYPES
) -> tuple[list[arrays.Source], bool]:
    """One source for a batch, or those of a sequence, and which of the two it is."""
    sequence = isinstance(images, list | tuple)
    if sequence and not images:
        raise ValueError(f"{name} must not be empty")
    sources = [arrays.take(image, name, dtypes=dtypes) for image in (images if sequence else [images])]
    for source in sources:
        arrays.expect_together(sources[0], source)
        _checks.non_empty(source.data.shape, name)
        if name == "images":
            axes = {None: "N, H, W", -1: "N, H, W, C", 1: "N, C, H, W"}[channel_axis]
            meaning = axes.removeprefix("N, ") if sequence else axes
            _checks.rank(source.data.ndim, name, (meaning.count(",") + 1,), meaning)
        if _traits(source, sequence, channel_axis) != _traits(sources[0], sequence, channel_axis):
            raise ValueError(f"{name} must be of one kind, dtype and number of channels")
    return sources, sequence


def _traits(source: arrays.Source, sequence: bool, channel_axis: int | None) -> tuple[Any, ...]:
    shape = source.data.shape
    channels = shape[0 if channel_axis == 1 else 2 :][:1] if sequence and len(shape) > 2 else ()
    return source.data.dtype, source.view.kind, channels


def _channels_last(batch: NDArray[Any], axis: int | None) -> NDArray[Any]:
    return batch[..., np.newaxis] if axis is None else np.moveaxis(batch, axis, -1)


def _shape(n: int, size: tuple[int, int], channels: int, axis: int | None) -> tuple[int, ...]:
    if axis is None:
        return (n, *size)
    return (n, channels, *size) if axis == 1 else (n, *size, channels)


def _indices(index: Any, n: int) -> NDArray[np.uint64]:
    if np.ndim(index) == 0:
        first = _checks.integer(index, "index", at_least=0, at_most=2**64 - n)
        return np.arange(n, dtype=np.uint64) + np.uint64(first)
    indices = np.asarray(index)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"index must be an integer or an array of them, got dtype {indices.dtype.name}")
    if indices.shape != (n,):
        raise ValueError(f"index must be an integer or of shape {(n,)}, got {indices.shape}")
    if (indices < 0).any():
        raise ValueError(f"index must be at least 0, got {indices.min()}")
    return np.ascontiguousarray(indices, np.uint64)


def _product(matrices: Sequence[Floats]) -> Floats:
    total = matrices[0]
    for following in matrices[1:]:
        total = total @ following
    return total


def _moved(values: Any, name: str, width: int, matrices: Floats, move: Any) -> Any:
    """`move(values of one image, matrix from it)` for each image; an array if an array came, else a list."""
    if len(values) != len(matrices):
        raise ValueError(f"{name} must be for {len(matrices)} images, got {len(values)}")
    moved = []
    for value, matrix in zip(values, np.linalg.inv(matrices), strict=True):
        points = np.asarray(value, np.float64)
        if points.ndim != 2 or points.shape[1] != width:
            raise ValueError(f"{name} must be of shape (K, {width}) for each image, got {points.shape}")
        moved.append(move(points, matrix))
    return moved if isinstance(values, list | tuple) else np.stack(moved)


def _points(points: Floats, matrix: Floats) -> Floats:
    moved: Floats = points @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def _boxes(boxes: Floats, matrix: Floats, rows: int, columns: int) -> Floats:
    corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]] - 0.5  # (K, 4, 2)
    moved = _points(corners.reshape(-1, 2), matrix).reshape(-1, 4, 2) + 0.5
    ends = np.clip([moved.min(axis=1), moved.max(axis=1)], 0, (columns, rows))
    return np.concatenate(list(ends), axis=1)


def _mixed(labels: Any, weights: NDArray[np.float32] | None, n: int) -> NDArray[np.float32]:
    if weights is None:
        raise ValueError("labels have a meaning with MixUp only")
    own = np.asarray(labels, np.float32)
    if own.ndim != 2 or len(own) != n:
        raise ValueError(f"labels must be of shape ({n}, K), got {own.shape}")
    share = weights[:, np.newaxis]
    return share * own + (1 - share) * np.roll(own, 1, axis=0)
