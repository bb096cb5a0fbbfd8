"""Distributed training steps: each process computes its share of the batch, and all apply the same update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from metacli.checkpoints.restore import get_random_states, set_random_states
from metacli.compute.processes import Processes, ProcessLostError
from metacli.episode import Episode
from metacli.models.distributed import list_local_statistics
from metacli.training.state import TrainState


class Share(NamedTuple):
    """The part of a step's batch that this process computes.

    Attributes:
        episode: the tasks of this process, padded as in the whole batch.
        of_loss: the fraction, from 0 to 1, that their loss contributes to the loss of the whole batch.
        of_tasks: the fraction of the tasks of the whole batch.
        weight: the weight of the whole batch, see `Tasks.loss_weight`.
        batch: the number of tasks in the whole batch.
        stop_code: the largest stop request of all processes, see `Stopper.read`.
    """

    episode: Episode
    of_loss: float
    of_tasks: float
    weight: int
    batch: int
    stop_code: int


def align_batch(state: TrainState, episode: Episode, stop_code: int = 0) -> Share:
    """Exchange the sizes of all processes' tasks before a step, and pad this process's tasks accordingly.

    Args:
        episode: the tasks of this process, on the CPU, where reading their sizes costs nothing.
        stop_code: the stop request of this process; 0 for none.

    Raises:
        ProcessLostError: another process has ended.
    """
    weight, n_tasks = state.tasks.loss_weight(episode), len(episode)
    sizes = [stop_code, episode.x_train.shape[1], episode.x_test.shape[1], weight, n_tasks]
    stop_codes, train_lengths, test_lengths, weights, counts = zip(*state.processes.table(sizes), strict=True)
    total, batch = sum(weights), sum(counts)
    padded = pad_episode(episode, max(train_lengths), max(test_lengths))
    return Share(padded, weight / total, n_tasks / batch, total, batch, max(stop_codes))


def pad_episode(episode: Episode, train_length: int, test_length: int) -> Episode:
    """Returns tasks with D_train and D_test padded at the end to these lengths. The padding is masked."""
    changes: dict[str, Any] = {}
    for missing, names in (
        (train_length - episode.x_train.shape[1], ("x_train", "y_train", "mask_train")),
        (test_length - episode.x_test.shape[1], ("x_test", "y_test", "mask_test", "y_previous")),
    ):
        for name in names:
            value: Tensor | None = getattr(episode, name)
            if missing and value is not None:
                changes[name] = pad(value, (0, 0) * (value.dim() - 2) + (0, missing))
            elif missing and name.startswith("mask"):
                raise ValueError(f"tasks of different lengths in a batch need {name}")
    return replace(episode, **changes) if changes else episode


def sum_gradients(model: nn.Module, processes: Processes, numbers: Tensor, of_tasks: float) -> Tensor:
    """Sum each weight's gradient over all processes, in place. Returns `numbers` (n,), summed in the same message.

    With `train.batch_norm: local` the message also averages the running statistics, so they stay equal.

    Args:
        of_tasks: see `Share`; the weight of this process's running statistics.
    """
    if processes.size == 1:
        return numbers
    summed = [p.grad for p in model.parameters() if p.grad is not None]
    summed += [statistic.mul_(of_tasks) for statistic in list_local_statistics(model)]
    message = processes.sum(torch.cat([numbers, *(tensor.flatten() for tensor in summed)]))
    numbers, *sums = message.split([len(numbers), *(tensor.numel() for tensor in summed)])
    for tensor, total in zip(summed, sums, strict=True):
        tensor.copy_(total.view_as(tensor))
    return numbers


@contextmanager
def restore_on_process_loss(model: nn.Module, processes: Processes) -> Iterator[None]:
    """If another process is lost within the block, restore running statistics and random states."""
    if processes.size == 1:
        yield
        return
    buffers, states = [buffer.clone() for buffer in model.buffers()], get_random_states()
    try:
        yield
    except ProcessLostError:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)
        set_random_states(states)
        raise
