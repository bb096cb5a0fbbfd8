"""Functions for causal attention: key smearing, rotary embedding, attention weights, the causal mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def smear_keys(alpha: Tensor, key: Tensor, previous_key: Tensor, parallel: bool) -> Tensor:
    """Returns sigmoid(alpha) k_t + (1 - sigmoid(alpha)) k_(t-1) (Olsson et al. 2022).

    Args:
        alpha: (heads, 1, 1).
        key: (B, heads, T, D).
        previous_key: (B, heads, D), k_(t-1) of the first item, or of every item if `parallel`.
        parallel: whether every item follows the same previous item.
    """
    share, first_previous = alpha.sigmoid(), previous_key.unsqueeze(2)
    previous = first_previous if parallel else torch.cat([first_previous, key[:, :, :-1]], 2)
    return share * key + (1 - share) * previous


def select_last_key(key: Tensor, mask: Tensor) -> Tensor:
    """Returns the key of each task's last unmasked item, (B, heads, D), zero without one.

    Args:
        key: (B, heads, T, D).
        mask: (B, T) bool, False at padding.
    """
    count = mask.sum(1)[:, None, None, None]
    index = (count - 1).clamp_min(0).expand(-1, key.shape[1], 1, key.shape[3])
    return (key.gather(2, index) * (count > 0)).squeeze(2)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Applies a rotary embedding to queries or keys.

    Args:
        x: (B, heads, T, D); each pair of numbers is one complex number.
        rotation: (B, T, D / 2) complex, absolute value 1.
    """
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation.unsqueeze(1)).flatten(-2)


def attention_weights(query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
    """Returns softmax(Q K^T / sqrt(D)) over the visible items. PyTorch's fused attention does not return these weights.

    Args:
        query: (B, heads, T, D).
        key: (B, heads, S + T, D).
        visible: (B, T, S + T) bool.

    Returns:
        (B, heads, T, S + T), rows that sum to 1.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores.masked_fill(~visible.unsqueeze(1), -math.inf).softmax(-1)


def causal_mask(padding_mask: Tensor, count: int, parallel: bool) -> Tensor:
    """Returns which items each of `count` new items may attend to: earlier items and itself.

    Args:
        padding_mask: (B, S) bool, False at padding among the earlier items.
        count: number of new items.
        parallel: whether new items see only themselves and the earlier items, and not each other.

    Returns:
        (B, count, S + count) bool.
    """
    identity = torch.eye(count, dtype=torch.bool, device=padding_mask.device)
    new_visible = identity if parallel else torch.ones_like(identity).tril()
    shape = padding_mask.shape[0], count
    return torch.cat([padding_mask[:, None].expand(*shape, -1), new_visible.expand(*shape, -1)], -1)
