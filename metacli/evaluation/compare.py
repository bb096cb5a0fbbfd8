"""Several models on the same tasks: the score of each, and its paired difference from the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metacli.checkpoints.checkpoint import Checkpoint
from metacli.config.recipe import Recipe
from metacli.evaluation.evaluate import build_eval_tasks, check_answerable, evaluate
from metacli.evaluation.report import summarize_values
from metacli.tasks.base import Split, Tasks


@dataclass(frozen=True)
class ModelScore:
    """The score of one of the compared models.

    Attributes:
        name: the name or path of its checkpoint, as given.
        model: its registered name.
        step: updates of theta.
        parameters: the number of its weights.
        score: `mean` and `ci95` over the tasks.
        difference: `mean` and `ci95` of its score minus the first model's, paired by task; None for the first.
    """

    name: str
    model: str
    step: int
    parameters: int
    score: dict[str, float | None]
    difference: dict[str, float | None] | None


def build_common_tasks(saved: list[Checkpoint], overrides: list[str], split: Split) -> tuple[Recipe, Tasks]:
    """Returns the tasks of the first checkpoint, with overrides, if all other models can answer them.

    Raises:
        UsageError: one of them cannot, or was trained on classes of a held-out split.
    """
    recipe, tasks = build_eval_tasks(saved[0], overrides, split)
    for checkpoint in saved[1:]:
        check_answerable(checkpoint, tasks, split)
    return recipe, tasks


def compare(
    names: list[str],
    saved: list[Checkpoint],
    tasks: Tasks,
    split: Split,
    count: int,
    device: torch.device,
    advance: Callable[[int], object] = lambda n: None,
) -> list[ModelScore]:
    """Score models on the first `count` episodes of a split by the headline of the tasks.

    The difference is paired. An easy task is easy for both models, which cancels, so the interval of the difference
    is usually narrower than those of the two means.

    Args:
        names: of the checkpoints, in their order.
        advance: called with the number of tasks done since the last call, over all models.
    """
    headline, scores = tasks.metrics[0].name, []
    first: np.ndarray | None = None
    for name, checkpoint in zip(names, saved, strict=True):
        model = checkpoint.build_model().to(device)
        values = evaluate(model, tasks, split, count, device, advance).values[headline]
        difference = None if first is None else summarize_values(values - first)
        first = values if first is None else first
        size = sum(p.numel() for p in model.parameters())
        score, learner = summarize_values(values), checkpoint.recipe.model.name
        scores.append(ModelScore(name, learner, checkpoint.step, size, score, difference))
    return scores


def summarize_comparison(
    scores: list[ModelScore], recipe: Recipe, tasks: Tasks, split: str, count: int
) -> dict[str, Any]:
    """Returns the comparison as plain values. Its keys are part of the interface and documented in docs/cli.md."""
    metric = tasks.metrics[0]
    return {
        "recipe": recipe.as_dict(),
        "split": split,
        "n_tasks": count,
        "metric": {"name": metric.name, "unit": metric.unit, "better": metric.better_direction},
        "models": [
            {
                "checkpoint": entry.name,
                "model": entry.model,
                "step": entry.step,
                "parameters": entry.parameters,
                **entry.score,
                "difference": entry.difference,
            }
            for entry in scores
        ],
    }
