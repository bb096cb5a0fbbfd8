"""Parts of a Transformer's attention that are no layers: keys smeared and turned, weights that can be looked at."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def smeared(alpha: Tensor, key: Tensor, last: Tensor, parallel: bool) -> Tensor:
    """sigmoid(alpha) k_t + (1 - sigmoid(alpha)) k_(t-1) (Olsson et al. 2022).

    Args:
        alpha: (heads, 1, 1).
        key: (B, heads, T, D).
        last: (B, heads, D), k_(t-1) of the first item, or (`parallel`) of each.
    """
    own, first = alpha.sigmoid(), last.unsqueeze(2)
    before = first if parallel else torch.cat([first, key[:, :, :-1]], 2)
    return own * key + (1 - own) * before


def last_real(key: Tensor, real: Tensor) -> Tensor:
    """Of keys (B, heads, T, D) that of each task's last real item, real (B, T): (B, heads, D), zero without one."""
    count = real.sum(1)[:, None, None, None]
    place = (count - 1).clamp_min(0).expand(-1, key.shape[1], 1, key.shape[3])
    return (key.gather(2, place) * (count > 0)).squeeze(2)


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Queries or keys x (B, heads, T, D), each pair of numbers turned by `turn` (B, T, D / 2), as complex numbers."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn.unsqueeze(1)).flatten(-2)


def attention(query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D)) over what is visible, the weights that PyTorch's attention takes and does not return.

    Args:
        query: (B, heads, T, D).
        key: (B, heads, S + T, D).
        visible: (B, T, S + T) bool.

    Returns:
        (B, heads, T, S + T), rows that sum to 1.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores.masked_fill(~visible.unsqueeze(1), -math.inf).softmax(-1)
