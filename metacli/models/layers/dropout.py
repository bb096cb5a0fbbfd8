"""Dropout that draws for a whole batch and takes the rows at hand: the same ones in however many processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` of tensors whose first dimension is that of tasks, or of equally many items of each.

    Attributes:
        rows: the tasks at hand, of those of the whole batch.
        whole: how many tasks the whole batch has.
    """

    rows: range = range(1)  # all of the batch, whatever its size
    whole: int = 1

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, in training a share `p` of its numbers zero, the others larger for it."""
        if not self.training or self.p == 0:
            return x
        each = len(x) // len(self.rows)
        keep = torch.empty(self.whole * each, *x.shape[1:], dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * keep[self.rows.start * each : self.rows.stop * each].div_(1 - self.p)
