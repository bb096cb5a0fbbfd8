"""Work like that to come, without effects: what the number of threads is found by."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from metacli.models.distributed import make_local
from metacli.tasks.base import Tasks


def training_step(model: nn.Module, tasks: Tasks, batch: int, device: torch.device) -> Callable[[], object] | None:
    """A training step on a copy of the model, to find the number of threads by; None where the CPU does not train.

    This process's own affair: it tries when and as often as it wants to, so nothing is said to others.

    Args:
        batch: tasks of a step in this process.
    """
    if device.type != "cpu":
        return None

    def step() -> None:
        with torch.random.fork_rng(devices=[]):
            twin, episode = make_local(copy.deepcopy(model)).train(), tasks.batch("train", 0, batch)
            tasks.loss(twin(episode), episode).backward()

    return step
