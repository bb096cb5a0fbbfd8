"""Temporal memory linkage of the Differentiable Neural Computer (Graves et al. 2016, Methods), one equation each.

Shapes as in `metacli.episode`: B tasks, R read heads, L locations. Everything here is a pure function.
"""

from __future__ import annotations

import torch
from torch import Tensor


def link_matrix(previous: Tensor, write_weights: Tensor, precedence: Tensor) -> Tensor:
    """L_t[i,j] = (1 - w^w_t[i] - w^w_t[j]) L_(t-1)[i,j] + w^w_t[i] p_(t-1)[j], and L_t[i,i] = 0.

    L_t[i,j] is the degree to which location i was written directly after location j.

    Args:
        previous: (B, L, L) L_(t-1).
        write_weights: (B, L) w^w_t.
        precedence: (B, L) p_(t-1).

    Returns:
        (B, L, L) in [0, 1]; rows and columns sum to 1 at most.
    """
    write_row, write_column = write_weights.unsqueeze(2), write_weights.unsqueeze(1)
    links = (1 - write_row - write_column) * previous + write_row * precedence.unsqueeze(1)
    return links * (1 - torch.eye(links.shape[1], dtype=links.dtype, device=links.device))


def precedence_weighting(previous: Tensor, write_weights: Tensor) -> Tensor:
    """p_t = (1 - sum_i w^w_t[i]) p_(t-1) + w^w_t: the degree to which each location was written last.

    Args:
        previous: (B, L) p_(t-1).
        write_weights: (B, L) w^w_t.

    Returns:
        (B, L) in [0, 1], sums to 1 at most.
    """
    return (1 - write_weights.sum(1, keepdim=True)) * previous + write_weights


def forward_weighting(links: Tensor, read_weights: Tensor) -> Tensor:
    """f^i_t = L_t w^(r,i)_(t-1): the locations written after those read.

    Args:
        links: (B, L, L) L_t.
        read_weights: (B, R, L) w^(r,i)_(t-1).

    Returns:
        (B, R, L), sums to 1 at most.
    """
    return read_weights @ links.mT


def backward_weighting(links: Tensor, read_weights: Tensor) -> Tensor:
    """b^i_t = L_t^T w^(r,i)_(t-1): the locations written before those read; shapes as in `forward_weighting`."""
    return read_weights @ links


def read_weighting(backward: Tensor, content: Tensor, forward: Tensor, modes: Tensor) -> Tensor:
    """w^(r,i)_t = pi^i_t[1] b^i_t + pi^i_t[2] c^(r,i)_t + pi^i_t[3] f^i_t.

    Args:
        backward: (B, R, L) b^i_t.
        content: (B, R, L) c^(r,i)_t.
        forward: (B, R, L) f^i_t.
        modes: (B, R, 3) pi^i_t, sums to 1.

    Returns:
        (B, R, L) in [0, 1], sums to 1 at most.
    """
    backward_mode, content_mode, forward_mode = modes.split(1, -1)
    return backward_mode * backward + content_mode * content + forward_mode * forward
