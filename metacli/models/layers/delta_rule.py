"""The gated delta rule: fast weights that are written by error correction and read by a query.

W_t = a_t W_{t-1} + b_t (v_t - a_t W_{t-1} k_t) k_t^T,   o_t = W_t q_t

W maps keys to values. A write first reads what W holds at the key k_t, then replaces a share b_t of it by the value v_t
(Schlag et al. 2021, arXiv 2102.11174). Before that, W is scaled by the retention a_t (Yang et al.
2024, arXiv 2412.06464). With a_t = 1 it is the rule of Schlag et al.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 32  # items that are computed at the same time; fastest or within 10 % of it for 20 to 400 items on a CPU


class Writes(NamedTuple):
    """What T items write, and where they read.

    Attributes:
        query: (B, heads, T, K), q_t.
        key: (B, heads, T, K), k_t, of length 1.
        value: (B, heads, T, V), v_t.
        strength: (B, heads, T), b_t in [0, 1]. 0 writes nothing.
        log_retention: (B, heads, T), log a_t, at most 0.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    strength: Tensor
    log_retention: Tensor


def delta_steps(weights: Tensor, items: Writes) -> tuple[Tensor, list[Tensor]]:
    """Returns what each item reads, and W after each item, one item after another: the equations as they are.

    Args:
        weights: (B, heads, V, K), W before the first item.
        items: T >= 1 items.

    Returns:
        (B, heads, T, V), o_t, and T times (B, heads, V, K), W_t.
    """
    reads, states = [], []
    for q, k, v, strength, log_retention in zip(*(a.unbind(2) for a in items), strict=True):
        weights = log_retention.exp()[..., None, None] * weights
        error = v - _apply(weights, k)
        weights = weights + (strength.unsqueeze(-1) * error).unsqueeze(-1) * k.unsqueeze(-2)
        reads.append(_apply(weights, q))
        states.append(weights)
    return torch.stack(reads, 2), states


def delta_chunks(weights: Tensor, items: Writes, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """Returns what each item reads, and W after the last item: equal to `delta_steps`, a chunk of items at a time.

    With c_t = a_1 ... a_t, counted from the start of a chunk, and W_0 before it, the errors u_t that are written obey

    u_t = b_t (v_t - c_t W_0 k_t - sum_{i<t} (c_t / c_i) (k_i . k_t) u_i),

    a triangular system. Its solution for every W_0, U = U_v - U_k W_0^T, is computed for all chunks at once. This is
    the WY representation (Yang et al. 2024, arXiv 2406.06484; with gates: arXiv 2412.06464).

    Args:
        weights: (B, heads, V, K), W before the first item.
        items: T >= 1 items.
        chunk: number of items of a chunk.

    Returns:
        (B, heads, T, V), o_t, and (B, heads, V, K), W after the last item.
    """
    length, width = items.key.shape[2], weights.shape[-2]
    chunks = -(-length // chunk)
    size = -(-length // chunks)  # of a chunk: as equal as possible
    padding = chunks * size - length  # items of strength 0 at the end

    def split(a: Tensor) -> Tensor:  # to (B, heads, chunks, C, ...)
        pad = (0, padding) if a.dim() == 3 else (0, 0, 0, padding)
        return (F.pad(a, pad) if padding else a).unflatten(2, (chunks, size))

    query, key, value, strength, log_retention = (split(a) for a in items)
    decay = log_retention.cumsum(-1)  # log c_t
    ratio = decay.unsqueeze(-1) - decay.unsqueeze(-2)  # log c_t / c_i
    causal = torch.ones_like(ratio[0, 0, 0], dtype=torch.bool).tril()
    ratio = ratio.masked_fill(~causal, -math.inf).exp()
    system = strength.unsqueeze(-1) * ratio * (key @ key.mT)  # below the diagonal; the diagonal is taken as 1
    decayed_key = decay.exp().unsqueeze(-1) * key
    right_side = strength.unsqueeze(-1) * torch.cat([value, decayed_key], -1)
    solution = torch.linalg.solve_triangular(system, right_side, upper=False, unitriangular=True)
    from_value, from_key = solution.split([width, key.shape[-1]], -1)  # U_v and U_k
    scores = ratio * (query @ key.mT)
    decayed_query = decay.exp().unsqueeze(-1) * query
    key_at_end = ratio[..., -1, :].unsqueeze(-1) * key
    total = decay[..., -1].exp()[..., None, None]
    reads = []
    for i in range(chunks):
        errors = from_value[:, :, i] - from_key[:, :, i] @ weights.mT  # U
        reads.append(decayed_query[:, :, i] @ weights.mT + scores[:, :, i] @ errors)
        weights = total[:, :, i] * weights + errors.mT @ key_at_end[:, :, i]
    return torch.cat(reads, 2)[:, :, :length], weights


def delta_each(weights: Tensor, items: Writes) -> Tensor:
    """Returns what each item reads, (B, heads, T, V), if it alone follows W: items do not see each other's writes."""
    decayed = items.log_retention.exp().unsqueeze(-1)
    error = items.value - decayed * (items.key @ weights.mT)
    match = (items.key * items.query).sum(-1, keepdim=True)
    return decayed * (items.query @ weights.mT) + items.strength.unsqueeze(-1) * match * error


def _apply(weights: Tensor, key: Tensor) -> Tensor:
    """Returns W k, (B, heads, V)."""
    return (weights @ key.unsqueeze(-1)).squeeze(-1)
