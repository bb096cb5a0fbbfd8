"""The layer of a DeltaNet: fast weights, then an MLP."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.models.layers.delta_rule import Writes


class DeltaBlock(nn.Module):
    """A pre-norm layer: fast weights and an MLP, each with a residual connection.

    Args:
        width: width of an item.
        heads: number of heads, each with its own fast weights.
        taps: number of items of the short convolution.
        gated: whether the fast weights decay by a learnt retention.
    """

    def __init__(self, width: int, heads: int, taps: int, gated: bool):
        super().__init__()
        self.heads = heads
        self.before_memory, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)  # to queries, keys and values
        self.taps = nn.Parameter(torch.zeros(taps, 3 * width))  # the last one is for the item itself
        self.strength = nn.Linear(width, heads)
        self.retention = nn.Linear(width, heads) if gated else None
        self.merge = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        with torch.no_grad():
            self.taps[-1] = 1
            if self.retention is not None:
                for head, logit in enumerate(np.linspace(3, 7, heads)):  # keeps 95 to 99.9 % at every step
                    self.retention.bias[head].add_(float(logit))

    def project_items(self, x: Tensor, recent: Tensor, mask: Tensor | None, parallel: bool) -> tuple[Writes, Tensor]:
        """Returns what items x (B, T, width) write and where they read, and `recent` after them.

        Queries and keys are SiLU features of length 1, as in Yang et al. 2024 (arXiv 2406.06484).

        Args:
            recent: (B, C - 1, 3 * width) the projections of the items before the first item, or before every item if
                `parallel`.
            mask: (B, T) bool, False at padding, which is at the end and writes nothing. None: no padding.
            parallel: whether every item follows the same earlier items.
        """
        normed, count = self.before_memory(x), x.shape[1]
        projected = self.project(normed)
        if parallel:
            mixed = self.taps[-1] * projected + (self.taps[:-1] * recent).sum(1, keepdim=True)
        else:
            padded = torch.cat([recent, projected], 1)
            mixed = sum(tap * padded[:, i : i + count] for i, tap in enumerate(self.taps))
            recent = _select_last(padded, mask, len(self.taps) - 1)
        query, key, value = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = F.normalize(F.silu(query), dim=-1), F.normalize(F.silu(key), dim=-1)
        strength = self.strength(normed).mT.sigmoid()
        log_retention = (
            torch.zeros_like(strength) if self.retention is None else F.logsigmoid(self.retention(normed).mT)
        )
        if mask is not None:
            strength, log_retention = strength * mask.unsqueeze(1), log_retention * mask.unsqueeze(1)
        return Writes(query, key, value, strength, log_retention), recent

    def forward(self, x: Tensor, reads: Tensor) -> Tensor:
        """Returns the layer's output (B, T, width) for items x and what they read (B, heads, T, D)."""
        x = x + self.merge(reads.transpose(1, 2).flatten(2))
        return x + self.network(self.before_network(x))


def _select_last(items: Tensor, mask: Tensor | None, count: int) -> Tensor:
    """Returns the last `count` unmasked items (B, count, D) of items (B, count + T, D), with a mask for the last T."""
    if mask is None:
        return items[:, items.shape[1] - count :]
    index = mask.sum(1, keepdim=True) + torch.arange(count, device=mask.device)
    return items.gather(1, index.unsqueeze(2).expand(-1, -1, items.shape[2]))
