"""Images taken from a table of bytes, as they are, or turned and moved by amounts of their own."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.compute import jit
from metacli.tasks.rng import CounterRNG

AT_ONCE = 128  # images; few enough for their grid to stay in the processor's cache


def quickest() -> ModuleType:
    """The module whose `taken` and `moved` to use: `augment_jit` where numba is here, else this one."""
    if not jit.available():
        from metacli.tasks.images import augment

        return augment
    from metacli.tasks.images import augment_jit

    return augment_jit


def taken(table: Tensor, row: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Some images as numbers.

    Args:
        table: (images, C * H * W) uint8, intensity 0 to 255.
        row: (M,) int64, which of them.
        shape: (C, H, W).

    Returns:
        (M, C, H, W) float32 in [0, 1].
    """
    return table.index_select(0, torch.from_numpy(row)).to(torch.float32).div_(255).view(-1, *shape)


def amounts(rng: CounterRNG, parts: list[np.ndarray]) -> np.ndarray:
    """Three numbers in [-1, 1) for each image of the parts (B, T) of some episodes: (M, 3)."""
    return 2 * np.concatenate([rng.uniform(part.shape[1], 3).reshape(-1, 3) for part in parts if part.size]) - 1


def rotation_matrices(angle: np.ndarray) -> np.ndarray:
    """(M, 2, 2): where a point of the image comes from, (right, down) from the centre, when it is turned.

    Args:
        angle: (M,) in radians, anti-clockwise.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)


def shear_matrices(factor: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(M, 2, 2): likewise when it is stretched and then slanted.

    Args:
        factor: (M, 2), by which it grows across and down.
        angle: (M,) in radians, by which upright lines lean.
    """
    one, none = np.ones(len(angle)), np.zeros(len(angle))
    slant = np.stack([np.stack([one, np.tan(angle)], 1), np.stack([none, one], 1)], 1)
    return slant / factor[:, :, None]


def moved(table: Tensor, row: np.ndarray, shape: tuple[int, ...], origin: np.ndarray, shift: np.ndarray) -> Tensor:
    """The same images, each moved by amounts of its own: `taken`, then `transform`."""
    return transform(taken(table, row, shape), origin, shift)


def transform(x: Tensor, origin: np.ndarray, shift: np.ndarray) -> Tensor:
    """Each image turned, stretched or slanted about its centre, then moved; bilinear, 0 (paper) comes in from outside.

    Args:
        x: (M, C, H, W), square.
        origin: (M, 2, 2), see `rotation_matrices` and `shear_matrices`.
        shift: (M, 2) in pixels, right and down.
    """
    size, moved = x.shape[-1], torch.empty_like(x)
    centre = (torch.arange(size) + 0.5) * 2 / size - 1  # of each pixel, in [-1, 1]
    (a, b), (c, d) = torch.from_numpy(origin.astype(np.float32)).permute(1, 2, 0)[..., None, None]
    right, down = torch.from_numpy((shift * 2 / size).astype(np.float32)).view(-1, 2, 1, 1).unbind(1)
    across, along = centre - right, centre[:, None] - down  # (M, 1, W), (M, H, 1)
    by_column = torch.complex(a * across, c * across)  # where a pixel comes from is a sum of two: as complex
    by_row = torch.complex(b * along, d * along)  # numbers, x beside y, it is one addition over whole rows
    source = torch.empty(min(len(x), AT_ONCE), size, size, dtype=torch.complex64)
    for start in range(0, len(x), AT_ONCE):
        m = slice(start, start + AT_ONCE)
        grid = torch.view_as_real(torch.add(by_column[m], by_row[m], out=source[: len(x[m])]))
        moved[m] = F.grid_sample(x[m], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved
