"""The equations of the Neural Turing Machine (Graves, Wayne, Danihelka 2014, section 3), one function each.

All functions are pure and work on a batch: B tasks, heads (R read or write heads, or both kinds together), L locations,
W the width of a location. A weighting w is (B, heads, L) with sum_i w(i) = 1 and 0 <= w(i) <= 1; M(i) is row i of the
memory (B, L, W). Every function and its gradient are finite on an all-zero memory and on one-hot weightings.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

NORM_FLOOR = 1e-6  # added under the square root of a norm, so that an empty row has K = 0 and a zero gradient
WEIGHT_FLOOR = 1e-12  # added to a weight before its logarithm; one-hot weightings stay one-hot for any gamma


def cosine_similarity(keys: Tensor, memory: Tensor) -> Tensor:
    """K[k, M(i)] = k . M(i) / (|k| |M(i)|)  (eq. 6).

    Args:
        keys: (B, heads, W).
        memory: (B, L, W).

    Returns:
        (B, heads, L) in [-1, 1]; near 0 where a norm is below 1e-3, the square root of NORM_FLOOR.
    """
    keys = keys * (keys.square().sum(-1, keepdim=True) + NORM_FLOOR).rsqrt()
    inverse_norm = (memory.square().sum(-1) + NORM_FLOOR).rsqrt()  # (B, L)
    return keys @ memory.mT * inverse_norm.unsqueeze(1)


def content_weighting(similarity: Tensor, strength: Tensor) -> Tensor:
    """w^c(i) = exp(beta K[k, M(i)]) / sum_j exp(beta K[k, M(j)])  (eq. 5).

    Args:
        similarity: (B, heads, L) K.
        strength: (B, heads, 1) beta >= 0.

    Returns:
        (B, heads, L) a weighting.
    """
    return torch.softmax(strength * similarity, -1)


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """w^g(i) = g w^c(i) + (1 - g) w_{t-1}(i)  (eq. 7).

    Args:
        content: (B, heads, L) w^c.
        previous: (B, heads, L) w_{t-1}.
        gate: (B, heads, 1) g in [0, 1].

    Returns:
        (B, heads, L) a weighting.
    """
    return torch.lerp(previous, content, gate)


def circular_shift(weights: Tensor, shift: Tensor) -> Tensor:
    """w~(i) = sum_j w^g(j) s(i - j), indices modulo L  (eq. 8).

    Args:
        weights: (B, heads, L) w^g.
        shift: (B, heads, 2k + 1) s over the offsets -k, ..., k; 2k + 1 <= L. An offset of +1 moves every weight
            to the next higher location.

    Returns:
        (B, heads, L) a weighting.
    """
    max_offset = shift.shape[-1] // 2
    shifts = zip(range(-max_offset, max_offset + 1), shift.split(1, -1), strict=True)
    return reduce(torch.add, [weights.roll(offset, -1) * share for offset, share in shifts])


def sharpen(weights: Tensor, sharpness: Tensor) -> Tensor:
    """w(i) = w~(i)^gamma / sum_j w~(j)^gamma  (eq. 9).

    Computed as softmax(gamma log w~), which is equal and never divides by zero.

    Args:
        weights: (B, heads, L) w~.
        sharpness: (B, heads, 1) gamma >= 1.

    Returns:
        (B, heads, L) a weighting.
    """
    return torch.softmax(sharpness * (weights + WEIGHT_FLOOR).log(), -1)


def erase(memory: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
    """M~(i) = M(i) prod_h [1 - w_h(i) e_h]  (eq. 3; the order of the heads makes no difference).

    Args:
        memory: (B, L, W) M_{t-1}.
        weights: (B, heads, L) w, of the write heads.
        vectors: (B, heads, W) e in [0, 1].

    Returns:
        (B, L, W) M~.
    """
    for weight, vector in zip(weights.unbind(1), vectors.unbind(1), strict=True):
        memory = memory * (1 - weight.unsqueeze(2) * vector.unsqueeze(1))
    return memory


def add(memory: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
    """M_t(i) = M~(i) + sum_h w_h(i) a_h  (eq. 4).

    Args:
        memory: (B, L, W) M~.
        weights: (B, heads, L) w, of the write heads.
        vectors: (B, heads, W) a.

    Returns:
        (B, L, W) M_t.
    """
    return torch.baddbmm(memory, weights.mT, vectors)


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """r = sum_i w(i) M(i)  (eq. 2).

    Args:
        memory: (B, L, W).
        weights: (B, heads, L) w, of the read heads.

    Returns:
        (B, heads, W) read vectors.
    """
    return weights @ memory


def retained_share(weights: Tensor, vectors: Tensor) -> Tensor:
    """Mean over the width of prod_h [1 - w_h(i) e_h], the share of each location's content that erasing retains.

    Args:
        weights: (..., heads, L) w, of the write heads.
        vectors: (..., heads, W) e in [0, 1].

    Returns:
        (..., L) in [0, 1].
    """
    return (1 - weights.unsqueeze(-1) * vectors.unsqueeze(-2)).prod(-3).mean(-1)
