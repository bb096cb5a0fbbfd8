"""Dynamic memory allocation of the Differentiable Neural Computer (Graves et al. 2016, Methods), one equation each.

Shapes as in `metacli.episode`: B tasks, R read heads, L locations. Everything here is a pure function.
"""

from __future__ import annotations

import torch
from torch import Tensor

USAGE_FLOOR = 1e-6  # lower bound of multiplied usages, so that their product has a gradient at unused locations

USAGE_RESOLUTION = 1e-4  # usages are rounded to this for sorting


def retention_vector(free_gates: Tensor, read_weights: Tensor) -> Tensor:
    """psi_t = prod_i (1 - f^i_t w^(r,i)_(t-1)): the share of its usage that each location keeps after being read.

    Args:
        free_gates: (B, R, 1) f^i_t in [0, 1].
        read_weights: (B, R, L) w^(r,i)_(t-1).

    Returns:
        (B, L) in [0, 1].
    """
    return (1 - free_gates * read_weights).prod(1)


def update_usage(previous: Tensor, write_weights: Tensor, retention: Tensor) -> Tensor:
    """u_t = (u_(t-1) + w^w_(t-1) - u_(t-1) o w^w_(t-1)) o psi_t.

    Args:
        previous: (B, L) u_(t-1) in [0, 1].
        write_weights: (B, L) w^w_(t-1).
        retention: (B, L) psi_t.

    Returns:
        (B, L) in [0, 1].
    """
    return (previous + write_weights - previous * write_weights) * retention


def allocation_weighting(usage: Tensor) -> Tensor:
    """a_t[phi_t[j]] = (1 - u_t[phi_t[j]]) prod_(i<j) u_t[phi_t[i]], phi_t the locations from least to most used.

    No gradient passes through the order. Usages that are equal to 1e-4 are ordered by location number, because unused
    locations differ only by rounding, which must not determine the location of the next write.

    Args:
        usage: (B, L) u_t in [0, 1].

    Returns:
        (B, L) in [0, 1], sums to 1 at most.
    """
    floored = USAGE_FLOOR + (1 - USAGE_FLOOR) * usage
    order = (usage / USAGE_RESOLUTION).round().argsort(dim=-1, stable=True)
    ascending = floored.gather(1, order)
    usage_product = torch.cat([torch.ones_like(ascending[:, :1]), ascending[:, :-1]], 1).cumprod(1)
    return torch.zeros_like(usage).scatter(1, order, (1 - ascending) * usage_product)


def write_weighting(allocation: Tensor, content: Tensor, allocation_gate: Tensor, write_gate: Tensor) -> Tensor:
    """w^w_t = g^w_t [g^a_t a_t + (1 - g^a_t) c^w_t].

    Args:
        allocation: (B, L) a_t.
        content: (B, L) c^w_t.
        allocation_gate: (B, 1) g^a_t in [0, 1].
        write_gate: (B, 1) g^w_t in [0, 1].

    Returns:
        (B, L) in [0, 1], sums to 1 at most.
    """
    return write_gate * torch.lerp(content, allocation, allocation_gate)
