"""Random transforms for training, of whole batches, fused into one pass over each image.

Transforms are plain values that say what may happen; `Compose` makes it happen::

    from fastimg import augment

    train = augment.Compose(
        [
            augment.Affine(degrees=15, translate=0.1, scale=(0.9, 1.1), shear=5),
            augment.Flip(),
            augment.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05),
            augment.GaussianNoise(0.05, p=0.5),
            augment.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ],
        seed=1,
    )
    batch = train(images, index=first_image_of_the_batch)
"""

from .compose import Compose
from .geometry import Affine, Flip, RandomCrop, RandomResizedCrop
from .pixels import ColorJitter, Cutout, GaussianBlur, GaussianNoise, MixUp, Normalize, SaltAndPepper

__all__ = [
    "Affine",
    "ColorJitter",
    "Compose",
    "Cutout",
    "Flip",
    "GaussianBlur",
    "GaussianNoise",
    "MixUp",
    "Normalize",
    "RandomCrop",
    "RandomResizedCrop",
    "SaltAndPepper",
]
