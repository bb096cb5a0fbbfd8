"""Several models on the same tasks: the score of each, and its paired difference from the first model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from metacli.checkpoints.checkpoint import Checkpoint
from metacli.config.recipe import Recipe
from metacli.evaluation.evaluate import build_eval_tasks, check_answerable, evaluate, trained_spec
from metacli.evaluation.report import summarize_score
from metacli.registry import MODELS
from metacli.tasks.base import Split, Tasks
from metacli.tasks.metrics import Score


@dataclass(frozen=True)
class Contender:
    """One of the models to compare.

    Attributes:
        name: the name or path of its checkpoint, as the caller wrote it.
        kind: its registered name, or `metacli.evaluation.baseline.KIND`.
        step: updates of theta.
        model: the model itself.
    """

    name: str
    kind: str
    step: int
    model: nn.Module

    @classmethod
    def from_checkpoint(cls, name: str, saved: Checkpoint) -> Contender:
        """Returns the trained model of a checkpoint."""
        return cls(name, saved.recipe.model.name, saved.step, saved.build_model())


@dataclass(frozen=True)
class ModelScore:
    """The score of one of the compared models.

    Attributes:
        name: see `Contender`.
        kind: see `Contender`.
        step: see `Contender`.
        parameters: the number of its weights.
        score: its score over the tasks.
        difference: its score minus the first model's, paired by task; None for the first.
        orders: see `metacli.evaluation.evaluate.Scores`.
    """

    name: str
    kind: str
    step: int
    parameters: int
    score: Score
    difference: Score | None
    orders: int = 1

    @property
    def label(self) -> str:
        """The name, unique in a comparison of a checkpoint with its baseline."""
        return self.name if self.kind in MODELS else f"{self.kind} on {self.name}"


def build_common_tasks(saved: list[Checkpoint], overrides: list[str], split: Split) -> tuple[Recipe, Tasks]:
    """Returns the tasks of the first checkpoint, with overrides, if all other models can answer them.

    Raises:
        UsageError: one of them cannot, or was trained on classes of a held-out split.
    """
    recipe, tasks = build_eval_tasks(saved[0], overrides, split)
    for checkpoint in saved[1:]:
        check_answerable(checkpoint, tasks.with_labels(trained_spec(checkpoint.recipe).random_labels), split)
    return recipe, tasks


def compare(
    contenders: list[Contender],
    tasks: Tasks,
    split: Split,
    count: int,
    device: torch.device,
    advance: Callable[[int], object] = lambda n: None,
) -> list[ModelScore]:
    """Scores models on the first `count` tasks of a split by the first metric of the tasks.

    The difference is paired. An easy task is easy for both models, which cancels, so the interval of the difference
    is usually narrower than those of the two means. Models may be trained with labels of different forms.

    Args:
        advance: called with the number of tasks done since the last call, over all models.
    """
    metric, scores = tasks.metrics[0], []
    first: np.ndarray | None = None
    for entry in contenders:
        model = entry.model.to(device)
        result = evaluate(model, tasks, split, count, device, advance)
        values = result.values[metric.name]
        difference = None if first is None else summarize_score(metric, values - first)
        first = values if first is None else first
        size = sum(p.numel() for p in model.parameters())
        score = summarize_score(metric, values)
        scores.append(ModelScore(entry.name, entry.kind, entry.step, size, score, difference, result.orders))
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
        "orders": scores[0].orders,
        "metrics": {metric.name: metric.as_dict()},
        "models": [
            {
                "checkpoint": entry.name,
                "model": entry.kind,
                "step": entry.step,
                "parameters": entry.parameters,
                metric.key: entry.score,
                "difference": entry.difference,
            }
            for entry in scores
        ],
    }
