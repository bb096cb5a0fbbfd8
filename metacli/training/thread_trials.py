"""A trial training step, which measures the speed of a number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from metacli.models.distributed import make_local
from metacli.tasks.base import Tasks


def training_step(model: nn.Module, tasks: Tasks, batch: int, device: torch.device) -> Callable[[], object] | None:
    """Returns a training step on a copy of the model, without side effects or messages to other processes.

    Returns None on a GPU, where the number of CPU threads hardly matters.

    Args:
        batch: number of tasks per step in this process.
    """
    if device.type != "cpu":
        return None

    def step() -> None:
        with torch.random.fork_rng(devices=[]):
            model_copy, episode = make_local(copy.deepcopy(model)).train(), tasks.batch("train", 0, batch)
            tasks.loss(model_copy(episode), episode).backward()

    return step
