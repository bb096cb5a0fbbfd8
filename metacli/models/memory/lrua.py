"""Least recently used access: the memory equations of MANN (Santoro et al. 2016, section 3.2), one function each.

Shapes as in `metacli.episode`: B tasks, R heads, L locations, W memory width. Reads and writes come in pairs: head r
owns read r and write r. Reading by content, and adding to the memory, are those of the Neural Turing Machine and stand
in `addressing`. Everything here is a pure function.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def usage(previous: Tensor, read_weights: Tensor, write_weights: Tensor, decay: float) -> Tensor:
    """w^u_t = gamma w^u_{t-1} + w^r_t + w^w_t, equation 5, the weights summed over the heads.

    Usage only ranks the locations, so no gradient passes through it.

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
def least_used(usage: Tensor, count: int) -> Tensor:
    """w^lu_t, equation 6: the `count` least used locations, one for each head, the least used for head 0.

    Locations of equal usage are taken in order of their number (a stable sort), so that exactly `count` different
    ones are chosen even at the start, when all are equal; the paper's "w^u_t(i) <= m(w^u_t, n)" would take them all.

    Args:
        usage: (B, L) w^u_t.
        count: R, at most L.

    Returns:
        (B, R, L), each row one-hot; no gradient.
    """
    locations = usage.sort(dim=-1, stable=True).indices[:, :count]  # (B, R)
    return usage.new_zeros(*locations.shape, usage.shape[1]).scatter_(2, locations.unsqueeze(2), 1.0)


def write_weights(gate: Tensor, read_weights: Tensor, least_used: Tensor) -> Tensor:
    """w^w_t = sigma(alpha) w^r_{t-1} + (1 - sigma(alpha)) w^lu_{t-1}, equation 7.

    Args:
        gate: (B, R, 1) sigma(alpha) in (0, 1): 1 writes where the head last read, 0 to its least used location.
        read_weights: (B, R, L) w^r_{t-1}.
        least_used: (B, R, L) w^lu_{t-1}.

    Returns:
        (B, R, L), each row a distribution over the locations.
    """
    return torch.lerp(least_used, read_weights, gate)


def erase_least_used(memory: Tensor, least_used: Tensor) -> Tensor:
    """The memory with its least used locations set to zero, as the paper does before each write.

    Args:
        memory: (B, L, W).
        least_used: (B, R, L), rows one-hot.

    Returns:
        (B, L, W).
    """
    return memory * (1 - least_used.sum(1)).unsqueeze(2)
