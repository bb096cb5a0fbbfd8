"""Images turned and moved at random amounts, one by one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 128  # images; few enough for their grid to stay in the processor's cache


def move(x: Tensor, angle: np.ndarray, shift: np.ndarray) -> Tensor:
    """Each image turned about its centre, then moved; bilinear, 0 (paper) comes in from outside.

    Args:
        x: (M, C, H, W), square.
        angle: (M,) in radians, anti-clockwise.
        shift: (M, 2) in pixels, right and down.
    """
    size, moved = x.shape[-1], torch.empty_like(x)
    centre = (torch.arange(size) + 0.5) * 2 / size - 1  # of each pixel, in [-1, 1]
    sin, cos = (torch.from_numpy(f(angle).astype(np.float32)).view(-1, 1, 1) for f in (np.sin, np.cos))
    right, down = torch.from_numpy((shift * 2 / size).astype(np.float32)).view(-1, 2, 1, 1).unbind(1)
    across, along = centre - right, centre[:, None] - down  # (M, 1, W), (M, H, 1)
    source = torch.empty(min(len(x), AT_ONCE), size, size, 2)  # where each pixel comes from
    for start in range(0, len(x), AT_ONCE):
        m = slice(start, start + AT_ONCE)
        grid = source[: len(x[m])]
        torch.sub(cos[m] * across[m], sin[m] * along[m], out=grid[..., 0])
        torch.add(sin[m] * across[m], cos[m] * along[m], out=grid[..., 1])
        moved[m] = F.grid_sample(x[m], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved
