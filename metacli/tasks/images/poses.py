"""Turned and mirrored classes: more classes from the same pictures (turned: Santoro et al. 2016, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metacli.tasks.images.config import ImageConfig


class Pose(NamedTuple):
    """How a class is shown that is made of another: mirrored left to right or not, then turned anti-clockwise."""

    mirrored: bool
    turn: int  # quarters

    def of(self, images: Tensor) -> Tensor:
        """(..., height, width) images, so posed."""
        return torch.rot90(images.flip(-1) if self.mirrored else images, self.turn, (-2, -1))

    def __str__(self) -> str:
        """What the name of such a class has behind it, as /rot090."""
        return "/mirrored" * self.mirrored + (f"/rot{90 * self.turn:03d}" if self.turn else "")


def poses(config: ImageConfig) -> list[Pose]:
    """All poses of the classes of a task, the first of them as they are."""
    mirrored = (False, True) if config.mirrored_classes else (False,)
    return [Pose(m, turn) for m in mirrored for turn in range(4 if config.rotated_classes else 1)]
