"""Rotated and mirrored classes: more classes from the same images (rotated: Santoro et al. 2016, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metacli.tasks.images.config import ImageConfig


class Pose(NamedTuple):
    """How a class is derived from another: optionally mirrored left to right, then rotated anti-clockwise."""

    mirrored: bool
    quarter_turns: int

    def of(self, images: Tensor) -> Tensor:
        """Returns the images (..., height, width) in this pose."""
        return torch.rot90(images.flip(-1) if self.mirrored else images, self.quarter_turns, (-2, -1))

    def __str__(self) -> str:
        """Returns the suffix of the class name, as in /rot090."""
        return "/mirrored" * self.mirrored + (f"/rot{90 * self.quarter_turns:03d}" if self.quarter_turns else "")


def list_poses(config: ImageConfig) -> list[Pose]:
    """Returns all poses of a class, the unchanged one first."""
    mirrored = (False, True) if config.mirrored_classes else (False,)
    rotations = range(4 if config.rotated_classes else 1)
    return [Pose(is_mirrored, quarter_turns) for is_mirrored in mirrored for quarter_turns in rotations]
