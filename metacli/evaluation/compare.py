"""Several models on the same tasks: the score of each, and how far it differs task by task from the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metacli.checkpoints.checkpoint import Checkpoint
from metacli.config.recipe import Recipe
from metacli.evaluation.evaluate import check_answerable, evaluate, tasks_for
from metacli.evaluation.report import interval
from metacli.tasks.base import Split, Tasks


@dataclass(frozen=True)
class Compared:
    """One of the models.

    Attributes:
        name: what it was asked for by.
        model: its registered name.
        step: updates of theta.
        parameters: how many numbers it learnt.
        score: `mean` and `ci95` over the tasks.
        difference: `mean` and `ci95` of its score less the first model's, task by task; None for the first.
    """

    name: str
    model: str
    step: int
    parameters: int
    score: dict[str, float | None]
    difference: dict[str, float | None] | None


def common_tasks(saved: list[Checkpoint], overrides: list[str], split: Split) -> tuple[Recipe, Tasks]:
    """The tasks of the first checkpoint with keys changed, if all others can answer them as well.

    Raises:
        UsageError: one of them cannot, or was trained on classes of a held-out split.
    """
    recipe, tasks = tasks_for(saved[0], overrides, split)
    for other in saved[1:]:
        check_answerable(other, tasks, split)
    return recipe, tasks


def compare(
    names: list[str],
    saved: list[Checkpoint],
    tasks: Tasks,
    split: Split,
    count: int,
    device: torch.device,
    advance: Callable[[int], object] = lambda n: None,
) -> list[Compared]:
    """Score models on the first `count` episodes of a split by the headline of the tasks.

    The difference is paired: an easy task is easy for both, which cancels, so that its interval is mostly narrower
    than those of the two means.

    Args:
        names: of the checkpoints, in their order.
        advance: called with the number of tasks done since the last call, over all models.
    """
    headline, found = tasks.metrics[0].name, []
    first: np.ndarray | None = None
    for name, one in zip(names, saved, strict=True):
        model = one.build_model().to(device)
        values = evaluate(model, tasks, split, count, device, advance).values[headline]
        difference = None if first is None else interval(values - first)
        first = values if first is None else first
        size = sum(p.numel() for p in model.parameters())
        found.append(Compared(name, one.recipe.model.name, one.step, size, interval(values), difference))
    return found


def summary(found: list[Compared], recipe: Recipe, tasks: Tasks, split: str, count: int) -> dict[str, Any]:
    """The comparison as plain values; its keys are part of the interface and documented in docs/cli.md."""
    metric = tasks.metrics[0]
    return {
        "recipe": recipe.as_dict(),
        "split": split,
        "n_tasks": count,
        "metric": {"name": metric.name, "unit": metric.unit, "better": metric.better_direction},
        "models": [
            {
                "checkpoint": one.name,
                "model": one.model,
                "step": one.step,
                "parameters": one.parameters,
                **one.score,
                "difference": one.difference,
            }
            for one in found
        ],
    }
