"""Least recently used access: the memory equations of MANN (Santoro et al. 2016, section 3.2), one function each.

Shapes as in `metacli.episode`: B tasks, R heads, L locations, W memory width. Each head has one read and one write.
Reading by content and adding to the memory are as in the Neural Turing Machine, see `addressing`. All functions are
pure.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def update_usage(previous: Tensor, read_weights: Tensor, write_weights: Tensor, decay: float) -> Tensor:
    """w^u_t = gamma w^u_{t-1} + w^r_t + w^w_t, equation 5, the weights summed over the heads.

    Usage only ranks the locations, so it has no gradient.

    Args:
        previous: (B, L) w^u_{t-1}.
        read_weights: (B, R, L) w^r_t.
        write_weights: (B, R, L) w^w_t.
        decay: gamma in [0, 1].

    Returns:
        (B, L), at least 0.
    """
    return torch.add((read_weights + write_weights).sum(1), previous, alpha=decay)


@torch.no_grad()
def rank_least_used(usage: Tensor, count: int) -> Tensor:
    """Returns the `count` least used locations of equation 6, one per row, the least used in row 0.

    Head r uses row r as its w^lu, or all heads use the sum of all rows, as in the paper; see `share_least_used`.

    Locations of equal usage are ordered by their number (a stable sort), so that exactly `count` locations are chosen
    even at the start, when all usages are equal. The paper's "w^u_t(i) <= m(w^u_t, n)" would choose all of them.

    Args:
        usage: (B, L) w^u_t.
        count: R, at most L.

    Returns:
        (B, R, L), each row one-hot; no gradient.
    """
    locations = usage.sort(dim=-1, stable=True).indices[:, :count]  # (B, R)
    return usage.new_zeros(*locations.shape, usage.shape[1]).scatter_(2, locations.unsqueeze(2), 1.0)


def share_least_used(one_hot_rows: Tensor) -> Tensor:
    """w^lu_t of equation 6 as in the paper: 1 at all R least used locations, the same for every head.

    Args:
        one_hot_rows: (B, R, L) from `rank_least_used`.

    Returns:
        (B, R, L), each row sums to R.
    """
    return one_hot_rows.sum(1, keepdim=True).expand_as(one_hot_rows)


def write_weighting(gate: Tensor, read_weights: Tensor, least_used: Tensor) -> Tensor:
    """w^w_t = sigma(alpha) w^r_{t-1} + (1 - sigma(alpha)) w^lu_{t-1}, equation 7.

    Args:
        gate: (B, R, 1) sigma(alpha) in (0, 1): 1 writes to the location last read, 0 to the least used locations.
        read_weights: (B, R, L) w^r_{t-1}.
        least_used: (B, R, L) w^lu_{t-1}.

    Returns:
        (B, R, L), rows at least 0; a distribution over the locations where w^lu is one.
    """
    return torch.lerp(least_used, read_weights, gate)


def erase_locations(memory: Tensor, erased: Tensor) -> Tensor:
    """Sets locations to zero, as the paper does with the least used one before each write (before equation 8).

    Args:
        memory: (B, L, W).
        erased: (B, L), 1 at the locations to erase, 0 elsewhere.

    Returns:
        (B, L, W).
    """
    return memory * (1 - erased).unsqueeze(2)
