"""One step in several processes: each has its share of the batch, and all make the update that one would make."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from metacli.checkpoints.restore import random_states, set_random_states
from metacli.checkpoints.schema import RandomStates
from metacli.compute.processes import Processes, ProcessLostError
from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.tasks.base import Tasks


class Share(NamedTuple):
    """A process's part of a step's batch.

    Attributes:
        episode: its tasks, padded as they would be in the whole batch.
        of_loss: what part of the whole batch's loss the loss of these tasks makes, from 0 to 1.
        of_tasks: what part of its tasks they are.
        weight: of the whole batch, see `Tasks.weight`.
        batch: how many tasks it has.
        halt: whether to stop after this step, as of any of the processes; see `metacli.training.stopping.halt`.
    """

    episode: Episode
    of_loss: float
    of_tasks: float
    weight: int
    batch: int
    halt: int


def check_batch(recipe: Recipe, processes: Processes) -> None:
    """Raise a UsageError where a step has fewer tasks than there are processes."""
    if recipe.train.batch < processes.size:
        raise UsageError(
            f"train.batch: {recipe.train.batch} tasks for {processes.size} processes", "start fewer of them"
        )


def agree(processes: Processes, tasks: Tasks, episode: Episode, halt: int) -> Share:
    """What the processes must know of each other's tasks before a step.

    Args:
        episode: this process's tasks, on the CPU, where it costs nothing to look at them.
        halt: whether this process is to stop after the step; 0 if not.

    Raises:
        ProcessLostError: another process has ended.
    """
    weight, here = tasks.weight(episode), len(episode)
    table = processes.table([halt, episode.x_train.shape[1], episode.x_test.shape[1], weight, here])
    halts, learnt, asked, weights, counts = zip(*table, strict=True)
    whole, batch = sum(weights), sum(counts)
    return Share(padded(episode, max(learnt), max(asked)), weight / whole, here / batch, whole, batch, max(halts))


def padded(episode: Episode, learnt: int, asked: int) -> Episode:
    """The episode with `learnt` items of D_train and `asked` of D_test, those that it lacks masked, at the end."""
    changes: dict[str, Any] = {}
    for more, names in (
        (learnt - episode.x_train.shape[1], ("x_train", "y_train", "mask_train")),
        (asked - episode.x_test.shape[1], ("x_test", "y_test", "mask_test", "y_previous")),
    ):
        for name in names:
            value: Tensor | None = getattr(episode, name)
            if more and value is not None:
                changes[name] = pad(value, (0, 0) * (value.dim() - 2) + (0, more))
            elif more and name.startswith("mask"):
                raise ValueError(f"episodes of different lengths in a batch, but without {name}")
    return replace(episode, **changes) if changes else episode


def sum_gradients(model: nn.Module, processes: Processes, numbers: Tensor) -> Tensor:
    """Let each weight's gradient be the sum of those of all processes; the sum of `numbers` (n,) as well, returned.

    One message for all of them, of as many numbers as the model has weights.
    """
    if processes.size == 1:
        return numbers
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    whole = processes.sum(torch.cat([numbers, *(g.flatten() for g in gradients)]))
    numbers, *parts = whole.split([len(numbers), *(g.numel() for g in gradients)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return numbers


@contextmanager
def restore_on_process_loss(model: nn.Module, processes: Processes) -> Iterator[None]:
    """Where another process is lost on the way, running statistics and random states are what they were before."""
    if processes.size == 1:
        yield
        return
    before, states = [buffer.clone() for buffer in model.buffers()], random_states()
    try:
        yield
    except ProcessLostError:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before, strict=True):
                buffer.copy_(value)
        set_random_states(RandomStates(**states))
        raise


def broadcast_state(
    processes: Processes, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """Let all processes begin with the first one's weights, optimiser and random state, which it may have from a file.

    None of them but the first needs the file. Weights that are drawn anew are equal anyway, where machines are.
    """
    if processes.size == 1:
        return
    buffer = io.BytesIO()
    if processes.first:
        states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": random_states()}
        torch.save(states, buffer)
    told = processes.broadcast(buffer.getvalue())
    if processes.first:
        return
    states = torch.load(io.BytesIO(told), map_location="cpu", weights_only=True)
    model.load_state_dict(states["model"])
    optimizer.load_state_dict(states["optimizer"])
    torch.set_rng_state(states["random"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["random"]["cuda"][0], device)


def check_weights(processes: Processes, model: nn.Module) -> None:
    """Raise a MetacliError where the processes' weights are no longer equal, bit for bit."""
    if processes.size == 1:
        return
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    hint = "machines of one kind with the same versions compute the same; what is saved is from before"
    processes.check_same("weights", digest.hexdigest(), hint)
