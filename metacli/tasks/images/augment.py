"""Gathers images from a table of bytes, with random rotation, shift, stretch and slant for each image."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.compute import jit
from metacli.tasks.rng import CounterRNG

CHUNK_IMAGES = 128  # few enough that their sampling grid fits into the processor's cache


def select_backend() -> ModuleType:
    """Returns the module whose `gather` and `gather_transformed` to use: `augment_jit` with numba, else this one."""
    if not jit.available():
        from metacli.tasks.images import augment

        return augment
    from metacli.tasks.images import augment_jit

    return augment_jit


def gather(table: Tensor, row: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Returns rows of the table as images.

    Args:
        table: (images, C * H * W) uint8, intensity 0 to 255.
        row: (M,) int64, the rows.
        shape: (C, H, W).

    Returns:
        (M, C, H, W) float32 in [0, 1].
    """
    return table.index_select(0, torch.from_numpy(row)).to(torch.float32).div_(255).view(-1, *shape)


def sample_amounts(rng: CounterRNG, rows: list[np.ndarray]) -> np.ndarray:
    """Returns (M, 3), three numbers in [-1, 1) for each image of D_train and D_test.

    Args:
        rows: the table rows (B, T) of D_train and of D_test.
    """
    return 2 * np.concatenate([rng.uniform(part.shape[1], 3).reshape(-1, 3) for part in rows if part.size]) - 1


def rotation_matrices(angle: np.ndarray) -> np.ndarray:
    """Returns (M, 2, 2), the maps from points of the rotated images to the originals, (right, down) from the centre.

    Args:
        angle: (M,) in radians, anti-clockwise.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)


def shear_matrices(factor: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns (M, 2, 2), the same maps for images that are stretched and then slanted.

    Args:
        factor: (M, 2), the horizontal and vertical stretch.
        angle: (M,) in radians, the slant of vertical lines.
    """
    ones, zeros = np.ones(len(angle)), np.zeros(len(angle))
    slant = np.stack([np.stack([ones, np.tan(angle)], 1), np.stack([zeros, ones], 1)], 1)
    return slant / factor[:, :, None]


def gather_transformed(
    table: Tensor, row: np.ndarray, shape: tuple[int, ...], origin: np.ndarray, shift: np.ndarray
) -> Tensor:
    """Returns rows of the table as images, each with its own transform: `gather`, then `transform`."""
    return transform(gather(table, row, shape), origin, shift)


def transform(x: Tensor, origin: np.ndarray, shift: np.ndarray) -> Tensor:
    """Applies a linear map about the centre to each image, then a shift. Bilinear, with 0 (paper) outside the image.

    Args:
        x: (M, C, H, W), square.
        origin: (M, 2, 2), see `rotation_matrices` and `shear_matrices`.
        shift: (M, 2) in pixels, right and down.
    """
    size, out = x.shape[-1], torch.empty_like(x)
    index = torch.arange(size, dtype=torch.float32, device=x.device)
    centre = (index + 0.5) * 2 / size - 1  # of each pixel, in [-1, 1]
    (a, b), (c, d) = torch.from_numpy(origin.astype(np.float32)).to(x.device).permute(1, 2, 0)[..., None, None]
    right, down = torch.from_numpy((shift * 2 / size).astype(np.float32)).to(x.device).view(-1, 2, 1, 1).unbind(1)
    across, along = centre - right, centre[:, None] - down  # (M, 1, W), (M, H, 1)
    # The source (x, y) of a pixel is the sum of a column term and a row term. As complex numbers, one addition does it.
    column_terms = torch.complex(a * across, c * across)
    row_terms = torch.complex(b * along, d * along)
    coordinates = torch.empty(min(len(x), CHUNK_IMAGES), size, size, dtype=torch.complex64, device=x.device)
    for start in range(0, len(x), CHUNK_IMAGES):
        chunk = slice(start, start + CHUNK_IMAGES)
        grid = torch.view_as_real(torch.add(column_terms[chunk], row_terms[chunk], out=coordinates[: len(x[chunk])]))
        out[chunk] = F.grid_sample(x[chunk], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return out
