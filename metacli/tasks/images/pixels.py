"""The pixels of a batch: images in their poses, as floats, augmented in training."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from metacli.tasks.images import augment
from metacli.tasks.images.config import ImageConfig
from metacli.tasks.images.poses import Pose, select_rows
from metacli.tasks.rng import CounterRNG


def load_pixels(
    images: Tensor, poses: list[Pose], parts: list[np.ndarray], config: ImageConfig, rng: CounterRNG | None
) -> list[Tensor]:
    """Returns the images of a batch, (B, T, C, H, W) float32 in [0, 1] for each part.

    D_train and D_test are computed together, because for a single episode the number of operations dominates.

    Args:
        images: (n, C, H, W) uint8.
        poses: the unchanged one first.
        parts: rows (B, T) int64 of the table that holds all images in the first pose, then in the second, ..., for
            D_train and for D_test.
        config: the ranges of the augmentation.
        rng: draws the augmentation of each image; None for no augmentation.
    """
    shape, backend = images.shape[1:], augment.select_backend()
    rows = np.concatenate([part.ravel() for part in parts])
    if poses[1:]:
        images, rows = select_rows(images, poses, rows), np.arange(len(rows))
    if rng is None or not (config.rotation or config.shift or config.stretch > 1 or config.slant):
        x = backend.gather(images.flatten(1), rows, shape)
    else:
        amounts = augment.sample_amounts(rng, parts)
        transform = augment.rotation_matrices(np.radians(config.rotation) * amounts[:, 0])
        shift = config.shift * amounts[:, 1:]
        if config.stretch > 1 or config.slant:
            amounts = augment.sample_amounts(rng, parts)
            slant = np.radians(config.slant) * amounts[:, 0]
            transform = augment.shear_matrices(config.stretch ** amounts[:, 1:], slant) @ transform
        x = backend.gather_transformed(images.flatten(1), rows, shape, transform, shift)
    split = x.split([part.size for part in parts])
    return [values.view(*part.shape, *shape) for values, part in zip(split, parts, strict=True)]
