"""The result of `eval` as plain values with fixed keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metacli.checkpoints.provenance import Provenance
from metacli.config.recipe import Recipe
from metacli.evaluation.confidence import mean_ci95
from metacli.evaluation.evaluate import Scores
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Interval, Metric


def summarize_evaluation(
    scores: Scores,
    recipe: Recipe,
    tasks: Tasks,
    checkpoint: str,
    step: int,
    split: str,
    environment: dict[str, Any],
) -> dict[str, Any]:
    """The result of `eval` as plain values; its keys are part of the interface and documented in docs/cli.md.

    Every interval (`ci95`) is half the width of the 95 % interval of the mean over tasks, null for a single task.
    """
    numbers = [m for m in tasks.metrics if not m.axis]
    result: dict[str, Any] = {
        "checkpoint": checkpoint,
        "recipe": recipe.as_dict(),
        "step": step,
        "split": split,
        "n_tasks": len(scores),
        "environment": environment,
        "data": Provenance.of(tasks).digest,
        "metrics": {m.name: {"key": m.key, "unit": m.unit, "better": m.better_direction} for m in tasks.metrics},
        "baseline": tasks.baseline,
    }
    for m in tasks.metrics:
        values = scores.values[m.name]
        result[m.key] = (
            [{m.axis: k + 1, **summarize_values(c)} for k, c in enumerate(values.T)]
            if m.axis
            else summarize_values(values)
        )
    result["loss"] = summarize_values(scores.values["loss"])["mean"]
    if tasks.group:
        result[f"by_{tasks.group}"] = group_scores(scores, tasks.group, numbers)
    result["tasks"] = [
        {
            "index": int(i),
            "classes": scores.classes[row] if scores.classes else [],
            **{name: float(scores.values[name][row]) for name in ("loss", *(m.name for m in numbers))},
        }
        for row, i in enumerate(scores.index)
    ]
    return result


def summarize_values(values: np.ndarray) -> Interval:
    """Mean and 95 % interval over tasks; null for a value that does not exist."""
    mean, ci95 = mean_ci95(values)
    return {"mean": None if math.isnan(mean) else mean, "ci95": None if math.isnan(ci95) else ci95}


def group_scores(scores: Scores, group: str, metrics: list[Metric]) -> list[dict[str, Any]]:
    """Returns the metrics for each value of an integer score, such as the length of the task."""
    rows = []
    for value in np.unique(scores.values[group]):
        mask = scores.values[group] == value
        row = {m.name: summarize_values(scores.values[m.name][mask]) for m in metrics}
        rows.append({group: int(value), "n_tasks": int(mask.sum()), **row})
    return rows
