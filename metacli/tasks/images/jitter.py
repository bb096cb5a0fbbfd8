"""Small random transforms of all images of a support or query set, for answers that are averaged over several views."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from metacli.tasks.images import augment
from metacli.tasks.images.config import ImageConfig
from metacli.tasks.rng import CounterRNG

JITTER_SCALE = 1.0  # strength of the jitter relative to the augmentation in training


class Jitter(NamedTuple):
    """Small random transforms of the images, one for each of M sets, of the kinds that augmented the training data.

    Attributes:
        origin: (M, 2, 2), see `metacli.tasks.images.augment.rotation_matrices`.
        shift: (M, 2) in pixels.
    """

    origin: np.ndarray
    shift: np.ndarray

    @classmethod
    def sample(cls, rng: CounterRNG, task: Any, n_unchanged: int = 0) -> Jitter | None:
        """Samples a transform for each of M sets. None if the task has no augmentation.

        Args:
            rng: random numbers of M sets.
            task: the config of the tasks, whose augmentation sets the size of the transforms.
            n_unchanged: number of sets, from the first, that get the identity.
        """
        if not isinstance(task, ImageConfig) or not (task.rotation or task.shift or task.stretch > 1 or task.slant):
            return None
        amounts = JITTER_SCALE * (2 * rng.uniform(6) - 1)
        amounts[:n_unchanged] = 0
        shear = augment.shear_matrices(task.stretch ** amounts[:, 1:3], np.radians(task.slant) * amounts[:, 3])
        rotation = augment.rotation_matrices(np.radians(task.rotation) * amounts[:, 0])
        return cls(shear @ rotation, task.shift * amounts[:, 4:])

    def apply(self, x: Tensor) -> Tensor:
        """Returns the transformed images x (M, n, C, H, W)."""
        count = x.shape[1]
        flat = x.reshape(-1, *x.shape[2:])
        moved = augment.transform(flat.float(), self.origin.repeat(count, 0), self.shift.repeat(count, 0))
        return moved.to(x.dtype).view(x.shape)


def apply_jitter(jitter: Jitter | None, x: Tensor) -> Tensor:
    """Transforms the inputs x (M, n, *x_shape); returns them unchanged without a jitter."""
    return x if jitter is None or not x.shape[1] else jitter.apply(x)
