"""Teach a small network to read digits from 100 examples, without and with augmentation: under a minute.

    python docs/examples/augmented_digits.py

The digits are drawn by `fastimg.training.digits`, so nothing is downloaded. Both networks begin with the same
weights and see as many images; the second sees each a little turned, shifted, scaled, sheared and noisy, anew in every
epoch, as `fastimg.torch.Augmented` hands them to the `DataLoader`.
"""

from __future__ import annotations

import time

import torch
import torch.nn.functional as functional
from torch import nn
from torch.utils.data import DataLoader

import fastimg.torch
from fastimg import augment
from fastimg.training import digits

EXAMPLES, BATCH, EPOCHS = 100, 50, 120
DTYPE = augment.Normalize(mean=0.0, std=1.0)  # uint8 to float32 in [0, 1]
PLAIN = augment.Compose([DTYPE], seed=1, channel_axis=None)
AUGMENTED = augment.Compose(
    [augment.Affine(degrees=12, translate=0.08, scale=(0.9, 1.1), shear=8), augment.GaussianNoise(0.1, p=0.5), DTYPE],
    seed=1,
    channel_axis=None,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def train(transform: augment.Compose, epochs: int = EPOCHS) -> nn.Module:
    images, labels = digits.draw(EXAMPLES, seed=1)
    data = fastimg.torch.Augmented(list(zip(images, labels.tolist(), strict=True)), transform)
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(epochs):
        data.set_epoch(epoch)
        for batch, wanted in DataLoader(data, batch_size=BATCH, shuffle=True):
            loss = functional.cross_entropy(model(batch[:, None]), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def accuracy(model: nn.Module) -> float:
    """On 5,000 digits that no network has seen."""
    images, labels = digits.draw(5000, seed=2)
    with torch.inference_mode():
        found = model(torch.from_numpy(PLAIN(images, index=0))[:, None]).argmax(1)
    return float((found.numpy() == labels).mean())


def main() -> None:
    for name, transform in (("as they are", PLAIN), ("augmented", AUGMENTED)):
        begin = time.perf_counter()
        model = train(transform)
        print(f"{name}: {accuracy(model):.1%} read, after {time.perf_counter() - begin:.0f} s of training")


if __name__ == "__main__":
    main()
