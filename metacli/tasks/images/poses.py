"""Rotated classes (Santoro et al. 2016, section 4.1) and mirrored classes: more classes from the same images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.tasks.images.config import ImageConfig


class Pose(NamedTuple):
    """How a class is derived from another: optionally mirrored left to right, then rotated anti-clockwise."""

    mirrored: bool
    quarter_turns: int

    def of(self, images: np.ndarray) -> np.ndarray:
        """Returns the images (..., height, width) in this pose, as a view."""
        return np.rot90(images[..., ::-1] if self.mirrored else images, self.quarter_turns, (-2, -1))

    def __str__(self) -> str:
        """Returns the suffix of the class name, as in /rot090."""
        return "/mirrored" * self.mirrored + (f"/rot{90 * self.quarter_turns:03d}" if self.quarter_turns else "")


def list_poses(config: ImageConfig) -> list[Pose]:
    """Returns all poses of a class, the unchanged one first."""
    mirrored = (False, True) if config.mirrored_classes else (False,)
    rotations = range(4 if config.rotated_classes else 1)
    return [Pose(is_mirrored, quarter_turns) for is_mirrored in mirrored for quarter_turns in rotations]


def select_rows(images: Tensor, poses: list[Pose], rows: np.ndarray) -> Tensor:
    """Returns rows of the table that holds all images in the first pose, then in the second, ..., (M, C, H, W).

    The table itself would take the memory of all images times the number of poses.

    Args:
        images: (n, C, H, W), square.
        poses: the unchanged one first.
        rows: (M,) int64, below n times the number of poses.
    """
    pose, image = np.divmod(rows, len(images))
    pictures = images.numpy()
    selected = np.empty((len(rows), *images.shape[1:]), pictures.dtype)
    for number, each in enumerate(poses):
        chosen = np.flatnonzero(pose == number)
        selected[chosen] = each.of(pictures[image[chosen]])
    return torch.from_numpy(selected)
