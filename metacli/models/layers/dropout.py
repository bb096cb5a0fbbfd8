"""Dropout whose mask does not depend on the number of processes: it is drawn for the whole batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEVELS = 2**16  # values of the 16 random bits that decide whether a number is dropped


class Dropout(nn.Dropout):
    """`nn.Dropout` of tensors whose first dimension is tasks, or equally many items of each task.

    Attributes:
        batch_range: the tasks of this process within the whole batch.
        batch_size: number of tasks in the whole batch.
    """

    batch_range: range = range(1)  # the default: the whole batch, of any size
    batch_size: int = 1

    def forward(self, x: Tensor) -> Tensor:
        """Zeroes a share `p` of x in training and scales the rest by 1 / (1 - p), with p rounded to 1 / LEVELS."""
        if not self.training or self.p == 0:
            return x
        items_per_task = len(x) // len(self.batch_range)
        shape = self.batch_size * items_per_task, *x.shape[1:]
        dropped_levels = min(round(self.p * LEVELS), LEVELS - 1)
        kept = random_int16(math.prod(shape), x.device).view(shape) >= dropped_levels - LEVELS // 2
        process_items = slice(self.batch_range.start * items_per_task, self.batch_range.stop * items_per_task)
        return x * kept[process_items].to(x.dtype).mul_(LEVELS / (LEVELS - dropped_levels))


def random_int16(count: int, device: torch.device) -> Tensor:
    """Returns `count` random numbers, uniform over all int16: four from each draw of torch's generator."""
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=device)
    return draws.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)[:count]
