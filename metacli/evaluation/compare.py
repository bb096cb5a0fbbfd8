"""Several models on the same tasks: the score of each, and its paired difference from the first model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metacli.checkpoints.checkpoint import Checkpoint
from metacli.config.recipe import Recipe
from metacli.evaluation.evaluate import build_eval_tasks, check_answerable, evaluate
from metacli.evaluation.report import summarize_score
from metacli.tasks.base import Split, Tasks
from metacli.tasks.metrics import Score


@dataclass(frozen=True)
class ModelScore:
    """The score of one of the compared models.

    Attributes:
        name: the name or path of its checkpoint, as the caller wrote it.
        model: its registered name.
        step: updates of theta.
        parameters: the number of its weights.
        score: its score over the tasks.
        difference: its score minus the first model's, paired by task; None for the first.
    """

    name: str
    model: str
    step: int
    parameters: int
    score: Score
    difference: Score | None


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
    """Scores models on the first `count` tasks of a split by the first metric of the tasks.

    The difference is paired. An easy task is easy for both models, which cancels, so the interval of the difference
    is usually narrower than those of the two means.

    Args:
        names: of the checkpoints, in their order.
        advance: called with the number of tasks done since the last call, over all models.
    """
    metric, scores = tasks.metrics[0], []
    first: np.ndarray | None = None
    for name, checkpoint in zip(names, saved, strict=True):
        model = checkpoint.build_model().to(device)
        values = evaluate(model, tasks, split, count, device, advance).values[metric.name]
        difference = None if first is None else summarize_score(metric, values - first)
        first = values if first is None else first
        size = sum(p.numel() for p in model.parameters())
        score, learner = summarize_score(metric, values), checkpoint.recipe.model.name
        scores.append(ModelScore(name, learner, checkpoint.step, size, score, difference))
    return scores


def summarize_comparison(
    scores: list[ModelScore], recipe: Recipe, tasks: Tasks, split: Split, count: int
) -> dict[str, Any]:
    """Returns the comparison as plain values. Its keys are part of the interface; docs/cli.md describes them."""
    metric = tasks.metrics[0]
    return {
        "recipe": recipe.as_dict(),
        "split": split,
        "task_seed": tasks.seed_of(split),
        "n_tasks": count,
        "metrics": {metric.name: metric.as_dict()},
        "models": [
            {
                "checkpoint": entry.name,
                "model": entry.model,
                "step": entry.step,
                "parameters": entry.parameters,
                metric.key: entry.score,
                "difference": entry.difference,
            }
            for entry in scores
        ],
    }
