"""Least recently used access: the memory equations of MANN (Santoro et al. 2016, section 3.2), one function each.

Shapes as in `metacli.episode`: B tasks, R heads, L locations, W memory width. Reads and writes come in pairs: head r
owns read r and write r. Everything here is a pure function.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metacli.models.addressing import cosine_similarity


def read_weights(key: Tensor, memory: Tensor, strength: Tensor | float = 1.0) -> Tensor:
    """w^r_t(i) = softmax_i(beta K[k_t, M_t(i)]), equations 2 and 3; the paper has no beta, which is beta = 1.

    Args:
        key: (B, R, W) k_t.
        memory: (B, L, W) M_t.
        strength: beta > 0, one number or (B, R, 1).

    Returns:
        (B, R, L), each row a distribution over the locations.
    """
    return torch.softmax(strength * cosine_similarity(key, memory), -1)


def read(weights: Tensor, memory: Tensor) -> Tensor:
    """r_t = sum_i w^r_t(i) M_t(i), equation 4.

    Args:
        weights: (B, R, L).
        memory: (B, L, W).

    Returns:
        (B, R, W).
    """
    return torch.bmm(weights, memory)


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
    slots = usage.sort(dim=-1, stable=True).indices[:, :count]  # (B, R)
    return usage.new_zeros(*slots.shape, usage.shape[1]).scatter_(2, slots.unsqueeze(2), 1.0)


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


def wipe(memory: Tensor, least_used: Tensor) -> Tensor:
    """The memory with its least used locations set to zero, as the paper does before each write.

    Args:
        memory: (B, L, W).
        least_used: (B, R, L), rows one-hot.

    Returns:
        (B, L, W).
    """
    return memory * (1 - least_used.sum(1)).unsqueeze(2)


def write(memory: Tensor, weights: Tensor, vector: Tensor) -> Tensor:
    """M_t(i) = M_{t-1}(i) + w^w_t(i) k_t, equation 8, summed over the heads.

    Args:
        memory: (B, L, W), wiped.
        weights: (B, R, L) w^w_t.
        vector: (B, R, W) what each head writes.

    Returns:
        (B, L, W).
    """
    return torch.baddbmm(memory, weights.transpose(1, 2), vector)
