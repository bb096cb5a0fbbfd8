"""N-way K-shot episodes drawn one by one, image by image, with NumPy's generator."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def sample(tasks, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One training episode: x_train (S, C, H, W), y_train (S, N) one-hot, x_test (Q, C, H, W), y_test (Q,)."""
    c, images = tasks.config, tasks.image_set
    parts: dict[str, list[tuple[Tensor, int]]] = {"train": [], "test": []}
    for label, number in enumerate(rng.choice(tasks.pools["train"], c.ways, replace=False)):
        drawings = rng.choice(images.counts[number], c.shots + c.queries, replace=False)
        for i, drawing in enumerate(drawings):
            image = augmented(images.of(number)[drawing].float() / 255, c.rotation, c.shift, rng)
            parts["train" if i < c.shots else "test"].append((image, label))
    for part in parts.values():
        rng.shuffle(part)
    (x_train, y_train), (x_test, y_test) = (
        (torch.stack([image for image, _ in part]), torch.tensor([label for _, label in part]))
        for part in parts.values()
    )
    return x_train, F.one_hot(y_train, c.ways).float(), x_test, y_test


def augmented(image: Tensor, rotation: float, shift: float, rng: np.random.Generator) -> Tensor:
    """One image (C, H, W) turned by up to `rotation` degrees and moved by up to `shift` pixels either way."""
    if not (rotation or shift):
        return image
    angle = math.radians(rng.uniform(-rotation, rotation))
    right, down = rng.uniform(-shift, shift, 2) * 2 / image.shape[-1]
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[cos, -sin, -right], [sin, cos, -down]], dtype=torch.float32)
    grid = F.affine_grid(matrix[None], [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, align_corners=False)[0]
