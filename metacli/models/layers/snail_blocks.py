"""SNAIL's building blocks (Mishra et al. 2018, section 3 and figure 2): dense, TC and attention blocks.

Each block appends features to its input, so an item's final features start with the input of every block. Therefore
one tensor, `history` (B, S, D), the final features of earlier items, contains the past inputs of all convolutions.

Items are read in one of two ways. In order: each follows the item before it. In parallel: each follows the history
directly, as if it were the only item.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DenseBlock(nn.Module):
    """A gated causal convolution with kernel 2. Its output is appended to the input.

        [x_t, tanh(f_t) * sigmoid(g_t)],   [f_t, g_t] = A x_t + A' x_(t - dilation) + b

    Args:
        width: D, the width of an input item.
        filters: number of appended features.
        dilation: number of steps between the two inputs of the convolution.
    """

    def __init__(self, width: int, filters: int, dilation: int):
        super().__init__()
        self.width = width
        self.dilation = dilation
        self.now = nn.Linear(width, 2 * filters)
        self.past = nn.Linear(width, 2 * filters, bias=False)

    def forward(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """Maps items x (B, T, D) that follow `history` (B, S, D or wider) to (B, T, D + filters)."""
        signal, gate = (self.now(x) + self._convolve_past(x, history, parallel)).chunk(2, -1)
        return torch.cat([x, signal.tanh() * gate.sigmoid()], -1)

    def _convolve_past(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """Computes A' x_(t - dilation), zero before the start of `history`.

        Returns:
            (B, T, 2 filters) in order, (B, 1, 2 filters) in parallel, equal for all items.
        """
        count = 1 if parallel else x.shape[1]
        start = history.shape[1] - self.dilation  # the index in `history` that the first item of x needs
        padding = x.new_zeros(x.shape[0], min(max(-start, 0), count), self.past.out_features)
        from_history = history[:, max(start, 0) : max(start + count, 0), : self.width]
        from_items = x[:, : max(count - self.dilation, 0)]
        return torch.cat([padding, self.past(from_history), self.past(from_items)], 1)


class TCBlock(nn.Module):
    """Temporal convolutions: dense blocks with dilations 1, 2, 4, ..., so that each step sees all earlier steps.

    The paper's pseudo-code (`for i in 1, ..., ceil(log2 T)`, dilation 2^i) starts at 2. Sums of 2, 4, 8, ... are
    even, so half of the earlier steps stay invisible, and the last block may reach beyond the start. Sums of
    1, 2, 4, ... give every offset. Therefore dilations start at 1 here, unless `first_dilation` is 2.

    Args:
        width: D, the width of an input item.
        filters: number of features that each dense block appends.
        length: T, the longest sequence; ceil(log2 T) dense blocks reach back 2^ceil(log2 T) - 1 steps.
        first_dilation: dilation of the first dense block; each further block doubles it.

    Attributes:
        width: the width of an output item.
    """

    def __init__(self, width: int, filters: int, length: int, first_dilation: int = 1):
        super().__init__()
        depth = count_dense_blocks(length)
        self.blocks = nn.ModuleList(
            DenseBlock(width + i * filters, filters, first_dilation * 2**i) for i in range(depth)
        )
        self.width = width + depth * filters

    def forward(self, x: Tensor, history: Tensor, parallel: bool) -> Tensor:
        """Maps items x (B, T, D) that follow `history` (B, S, D or wider) to (B, T, self.width)."""
        for block in self.blocks:
            x = block(x, history, parallel)
        return x


class AttentionBlock(nn.Module):
    """One causal soft read, softmax(Q K^T / sqrt(keys)) V over the items visible to each, appended to the input.

    Args:
        width: D, the width of an input item.
        keys: the width of a key and of a query.
        values: the width of a value, and so the number of appended features.
    """

    def __init__(self, width: int, keys: int, values: int):
        super().__init__()
        self.query = nn.Linear(width, keys)
        self.key = nn.Linear(width, keys)
        self.value = nn.Linear(width, values)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reads items x (B, T, D) that follow S earlier items.

        Args:
            x: (B, T, D).
            keys: (B, S, keys) of the earlier items.
            values: (B, S, values) of the earlier items.
            visible: (B, T, S + T) bool, which items each item of x may attend to; at least itself.

        Returns:
            The output (B, T, D + values), the keys and values of x, and the weights (B, T, S + T), each row a
            distribution over the visible items.
        """
        new_keys, new_values = self.key(x), self.value(x)
        scores = self.query(x) @ torch.cat([keys, new_keys], 1).mT / math.sqrt(keys.shape[-1])
        weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
        read = weights @ torch.cat([values, new_values], 1)
        return torch.cat([x, read], -1), new_keys, new_values, weights


def count_dense_blocks(length: int) -> int:
    """Returns ceil(log2 T), the number of dense blocks of a TC block for T steps, at least 1."""
    return max(1, (length - 1).bit_length())
