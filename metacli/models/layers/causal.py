"""SNAIL's building blocks (Mishra et al. 2018, section 3 and figure 2): dense, TC and attention blocks.

Each block appends features to its input, so an item's final features begin with the input of every block. One tensor,
`history` (B, S, D), the final features of the items read before, therefore holds the past of all convolutions.

Items are read in one of two ways. In order: each follows the one before it. In parallel: each directly follows the
history, as if it were alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DenseBlock(nn.Module):
    """A causal convolution, kernel 2, gated, its output appended to the input.

        [x_t, tanh(f_t) * sigmoid(g_t)],   [f_t, g_t] = A x_t + A' x_(t - dilation) + b

    Args:
        width: D, the width of an input item.
        filters: how many features are appended.
        dilation: how many steps back the convolution looks.
    """

    def __init__(self, width: int, filters: int, dilation: int):
        super().__init__()
        self.width = width
        self.dilation = dilation
        self.now = nn.Linear(width, 2 * filters)
        self.past = nn.Linear(width, 2 * filters, bias=False)

    def forward(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """Items x (B, T, D) that follow `history` (B, S, D or wider) to (B, T, D + filters)."""
        signal, gate = (self.now(x) + self._earlier(x, history, parallel)).chunk(2, -1)
        return torch.cat([x, signal.tanh() * gate.sigmoid()], -1)

    def _earlier(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """A' x_(t - dilation), zero before the start of `history`; only what is there is multiplied.

        Returns:
            (B, T, 2 filters) in order, (B, 1, 2 filters) in parallel, where it is the same for all.
        """
        count = 1 if parallel else x.shape[1]
        start = history.shape[1] - self.dilation  # where the first of x looks in `history`
        blank = x.new_zeros(x.shape[0], min(max(-start, 0), count), self.past.out_features)
        old = history[:, max(start, 0) : max(start + count, 0), : self.width]
        new = x[:, : max(count - self.dilation, 0)]
        return torch.cat([blank, self.past(old), self.past(new)], 1)


class TCBlock(nn.Module):
    """Temporal convolutions: dense blocks with dilations 1, 2, 4, ..., so that each step sees all before it.

    The paper's pseudo-code (`for i in 1, ..., ceil(log2 T)`, dilation 2^i) begins with 2. Sums of some of 2, 4, 8, ...
    are even, so half of the steps before stay out of sight, and the last block may look beyond the start; sums of some
    of 1, 2, 4, ... are every offset. So 1 is where it begins here, unless `first_dilation` says 2.

    Args:
        width: D, the width of an input item.
        filters: features that each dense block appends.
        length: T, the longest sequence; ceil(log2 T) dense blocks look back 2^ceil(log2 T) - 1 steps.
        first_dilation: that of the first dense block; each further one doubles it.

    Attributes:
        width: the width of an output item.
    """

    def __init__(self, width: int, filters: int, length: int, first_dilation: int = 1):
        super().__init__()
        depth = dense_blocks(length)
        self.blocks = nn.ModuleList(
            DenseBlock(width + i * filters, filters, first_dilation * 2**i) for i in range(depth)
        )
        self.width = width + depth * filters

    def forward(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """Items x (B, T, D) that follow `history` (B, S, D or wider) to (B, T, self.width)."""
        for block in self.blocks:
            x = block(x, history, parallel)
        return x


class AttentionBlock(nn.Module):
    """One causal soft read, softmax(Q K^T / sqrt(keys)) V over the items visible to each, appended to the input.

    Args:
        width: D, the width of an input item.
        keys: the width of a key and of a query.
        values: the width of a value, and so how many features are appended.
    """

    def __init__(self, width: int, keys: int, values: int):
        super().__init__()
        self.query = nn.Linear(width, keys)
        self.key = nn.Linear(width, keys)
        self.value = nn.Linear(width, values)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Items x (B, T, D) that follow S others.

        Args:
            x: (B, T, D).
            keys: (B, S, keys) of the items before.
            values: (B, S, values) likewise.
            visible: (B, T, S + T) bool, which of the items before and of x each may look at: itself at least.

        Returns:
            The output (B, T, D + values), the keys and values of x, and the weights (B, T, S + T), each row a
            distribution over the visible items.
        """
        own_keys, own_values = self.key(x), self.value(x)
        scores = self.query(x) @ torch.cat([keys, own_keys], 1).mT / math.sqrt(keys.shape[-1])
        weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
        read = weights @ torch.cat([values, own_values], 1)
        return torch.cat([x, read], -1), own_keys, own_values, weights


def causal_mask(padding_mask: Tensor, count: int, parallel: bool) -> Tensor:
    """Which items each of `count` new ones may look at: those before it, and itself.

    Args:
        padding_mask: (B, S) bool, which of the items read before are real.

    Returns:
        (B, count, S + count) bool.
    """
    alone = torch.eye(count, dtype=torch.bool, device=padding_mask.device)
    own = alone if parallel else torch.ones_like(alone).tril()
    lead = padding_mask.shape[0], count
    return torch.cat([padding_mask[:, None].expand(*lead, -1), own.expand(*lead, -1)], -1)


def dense_blocks(length: int) -> int:
    """ceil(log2 T), the dense blocks of a TC block for T steps; one at least."""
    return max(1, (length - 1).bit_length())
