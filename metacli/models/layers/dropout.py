"""Dropout whose mask does not depend on the number of processes: it is drawn for the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` of tensors whose first dimension is tasks, or equally many items of each task.

    Attributes:
        batch_range: the tasks of this process within the whole batch.
        batch_size: number of tasks in the whole batch.
    """

    batch_range: range = range(1)  # the default: the whole batch, of any size
    batch_size: int = 1

    def forward(self, x: Tensor) -> Tensor:
        """Zeroes a share `p` of x in training and scales the rest by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x
        items_per_task = len(x) // len(self.batch_range)
        mask = torch.empty(self.batch_size * items_per_task, *x.shape[1:], dtype=x.dtype, device=x.device)
        mask.bernoulli_(1 - self.p)
        process_items = slice(self.batch_range.start * items_per_task, self.batch_range.stop * items_per_task)
        return x * mask[process_items].div_(1 - self.p)
