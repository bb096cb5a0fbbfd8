"""A lower bound of the memory that a forward pass or a training step takes, to refuse early what cannot fit.

It counts only what is allocated in any case, so nothing is refused that would have worked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.system import memory
from metacli.tasks.base import Split, Tasks

STATES = {"adam": 2, "adamw": 2}  # numbers that an optimizer keeps for each parameter; the others keep at least one


def check_evaluation(model: Any, tasks: Tasks, split: Split, batch: int, device: torch.device) -> None:
    """Raise a MetacliError where `batch` tasks answered at once need more memory than there is; the model is loaded."""
    sizes = least_bytes(model, tasks, split, batch)
    check_available({k: v for k, v in sizes.items() if k != "parameters"}, f"to answer {batch} tasks", device)


def least_bytes(
    model: Any, tasks: Tasks, split: Split, batch: int, training_recipe: Recipe | None = None
) -> dict[str, int]:
    """Bytes that are needed at least, for `parameters` (gradients and optimizer included), `episodes` and `states`.

    Args:
        model: a model in eval mode, on any device; `meta` is enough.
        tasks: p(T).
        split: the split that the tasks come from.
        batch: B.
        training_recipe: the recipe of a training step; None for a pass without gradients.
    """
    training = training_recipe is not None
    copies = 2 + STATES.get(training_recipe.train.optimizer, 1) if training_recipe else 1
    episode = tasks.batch(split, 0, 1)
    same_length = tasks.spec.mode != "sequence" and episode.mask_train is None and episode.mask_test is None
    support, queries = (episode.x_train.shape[1], episode.x_test.shape[1]) if same_length else (0, 1)
    states = 0
    with (
        suppress(Exception),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
    ):  # for models of plugins
        states = model.least_bytes(support, queries, training)
    return {
        "parameters": copies * _bytes(model.parameters()),
        "episodes": batch * _bytes(_tensors(episode)) if same_length else 0,
        "states": batch * states,
    }


def check_available(sizes: dict[str, int], purpose: str, device: torch.device) -> None:
    """Raise a MetacliError where the sum of these sizes is more than the device has.

    Args:
        sizes: bytes by what they are for.
        purpose: what they are needed for, for the message.
        device: the CPU or a GPU.
    """
    listed = ", ".join(f"{name} {memory.format_bytes(size)}" for name, size in sizes.items() if size)
    memory.check_fits(sum(sizes.values()), f"{purpose}, {listed},", memory.KEYS_TO_LOWER, _available(device))


def _available(device: torch.device) -> int | None:
    if device.type == "cpu":
        return memory.available_bytes()
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return None


def _tensors(episode: Episode) -> list[Tensor]:
    values = (getattr(episode, field.name) for field in fields(episode))
    return [value for value in values if isinstance(value, Tensor)]


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
