"""What a step takes at the least, in bytes, from the recipe: refused before it starts where there is not so much.

A lower bound: it counts what is there in any case, and refuses nothing that would have worked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.registry import MODELS, build
from metacli.system import memory
from metacli.tasks.base import Split, Tasks

STATES = {"adam": 2, "adamw": 2}  # numbers that an optimiser keeps of each parameter, others one or more


def check_training(recipe: Recipe, tasks: Tasks, device: torch.device, batch: int) -> None:
    """Raise a MetacliError where no training step can have the memory that it needs; builds nothing.

    Args:
        batch: tasks of a step in this process.
    """
    with torch.random.fork_rng(devices=[]), suppress(RuntimeError, TypeError, ValueError, NotImplementedError):
        with torch.device("meta"):  # a model of a plugin may not be made to be built without numbers
            model = build(MODELS, recipe.model, tasks.spec)
        found = parts(model, tasks, "train", batch, recipe)
        _check(found, f"a training step with train.batch={recipe.train.batch}", device)


def check_evaluation(model: Any, tasks: Tasks, split: Split, batch: int, device: torch.device) -> None:
    """Raise a MetacliError where a model, which is there, cannot answer so many tasks at once for want of memory."""
    found = parts(model, tasks, split, batch, None)
    _check({name: size for name, size in found.items() if name != "parameters"}, f"to answer {batch} tasks", device)


def parts(model: Any, tasks: Tasks, split: Split, batch: int, recipe: Recipe | None) -> dict[str, int]:
    """Bytes at the least, by what they are for.

    Args:
        model: it, or one on the device `meta`.
        batch: B.
        recipe: that a step of training is taken by; None for a pass without gradients.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    kept = 1 if recipe is None else 2 + STATES.get(recipe.train.optimizer, 1)
    one = tasks.batch(split, 0, 1)
    fixed = tasks.spec.mode != "sequence" and one.mask_train is None and one.mask_test is None
    seen, asked = (one.x_train.shape[1], one.x_test.shape[1]) if fixed else (0, 1)
    steps = model.least_bytes(batch, seen, asked, recipe is not None)
    return {"parameters": kept * weights, "episodes": batch * _bytes(one) if fixed else 0, "states": steps}


def _check(found: dict[str, int], what: str, device: torch.device) -> None:
    sizes = ", ".join(f"{name} {memory.short(size)}" for name, size in found.items() if size)
    memory.refuse(sum(found.values()), f"{what}, {sizes},", memory.KEYS, _there(device))


def _there(device: torch.device) -> int | None:
    if device.type == "cpu":
        return memory.available()
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return None


def _bytes(episode: Episode) -> int:
    tensors = (getattr(episode, field.name) for field in fields(episode))
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
