"""The augmentations for a `torch.utils.data.DataLoader`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from .. import _checks
from ..augment import Compose

_TARGETS = ("masks", "keypoints", "boxes", "labels")


class Augmented(Dataset[Any]):  # type: ignore[misc]  # PyTorch is not type-checked here
    """A dataset whose images are augmented, a batch at a time.

    Parameters
    ----------
    dataset : map-style dataset
        Its samples are images, or tuples that begin with one, all arrays or all tensors, on the CPU or,
        without workers, on one CUDA device.
    transform : fastimg.augment.Compose
    targets : sequence of {"masks", "keypoints", "boxes", "labels"}
        What comes after the image in a sample and goes where it goes; what comes after them stays as it is.
    threads : int, optional
        Threads to use; by default one in a worker of a `DataLoader`, elsewhere those of `fastimg.get_num_threads`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range; from a sample on as `fastimg.augment.Compose`.

    Notes
    -----
    Samples come as tensors. A `DataLoader` asks for a batch at once, which goes through the kernels together. What is
    drawn for an image follows from the transform's seed, the epoch and the image's number, so that neither workers nor
    batches change it; only `MixUp`, which needs others of the batch, depends on who they are.

    Workers may be forked or spawned, and persist: they see what `set_epoch` has set.

    Examples
    --------
    >>> import numpy as np
    >>> import fastimg.torch
    >>> from fastimg import augment
    >>> from torch.utils.data import DataLoader
    >>> images = [(np.full((8, 8, 3), i, np.uint8), i) for i in range(10)]
    >>> transform = augment.Compose([augment.Flip(), augment.Normalize(0.5, 0.25)], seed=1, out_channel_axis=1)
    >>> train = fastimg.torch.Augmented(images, transform)
    >>> for epoch in range(2):
    ...     train.set_epoch(epoch)
    ...     for batch, labels in DataLoader(train, batch_size=5):
    ...         print(tuple(batch.shape), labels.tolist())
    (5, 3, 8, 8) [0, 1, 2, 3, 4]
    (5, 3, 8, 8) [5, 6, 7, 8, 9]
    (5, 3, 8, 8) [0, 1, 2, 3, 4]
    (5, 3, 8, 8) [5, 6, 7, 8, 9]
    """

    def __init__(
        self, dataset: Any, transform: Compose, *, targets: Sequence[str] = (), threads: int | None = None
    ) -> None:
        if not isinstance(transform, Compose):
            raise TypeError(f"transform must be a fastimg.augment.Compose, got {type(transform).__name__}")
        self.dataset, self.transform = dataset, transform
        self.targets = [_checks.one_of(target, "targets", _TARGETS) for target in targets]
        _checks.threads(threads)
        self.threads = threads
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # by workers that live on

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, from 0 on: what is drawn differs from one to the next."""
        self._epoch.fill_(_checks.integer(epoch, "epoch", at_least=0))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch."""
        samples = [self.dataset[index] for index in indices]
        bare = not isinstance(samples[0], tuple | list)
        rows = [(sample,) if bare else tuple(sample) for sample in samples]
        taken = 1 + len(self.targets)
        columns = [list(column) for column in zip(*(row[:taken] for row in rows), strict=True)]
        first = int(self._epoch) * len(self)
        changed = self._changed(columns, [first + index % len(self) for index in indices])
        if bare:
            return list(changed[0])
        return [(*parts, *row[taken:]) for *parts, row in zip(*changed, rows, strict=True)]

    def _changed(self, columns: list[list[Any]], numbers: list[int]) -> list[Any]:
        """Images and what goes with them, as tensors or lists of them."""
        given = dict(zip(self.targets, columns[1:], strict=True))
        if "labels" in given:
            given["labels"] = np.stack(given["labels"])
        threads = 1 if self.threads is None and get_worker_info() is not None else self.threads
        found = self.transform(columns[0], index=np.array(numbers, np.uint64), threads=threads, **given)
        names = [target for target in _TARGETS if target in given]  # the order in which they come back
        by_name = dict(zip(names, found[1:], strict=True)) if names else {}
        images = found[0] if names else found
        return [[torch.as_tensor(part) for part in column] for column in (images, *map(by_name.get, self.targets))]
