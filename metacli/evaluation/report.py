"""The result of `eval` as plain values with fixed keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metacli.checkpoints.provenance import Provenance
from metacli.config.recipe import Recipe
from metacli.evaluation.confidence import accuracy_ci95_classes, mean_ci95
from metacli.evaluation.evaluate import Scores
from metacli.system import terminal
from metacli.tasks.base import Split, Tasks
from metacli.tasks.metrics import Metric, Score, explain_missing_interval


def summarize_evaluation(
    scores: Scores,
    recipe: Recipe,
    tasks: Tasks,
    checkpoint: str,
    step: int,
    split: Split,
    environment: dict[str, Any],
) -> dict[str, Any]:
    """Returns the result of `eval` as plain values. Its keys are part of the interface; docs/cli.md describes them."""
    numbers = [m for m in tasks.metrics if not m.axis]
    result: dict[str, Any] = {
        "checkpoint": checkpoint,
        "recipe": recipe.as_dict(),
        "step": step,
        "split": split,
        "task_seed": tasks.seed_of(split),
        "n_tasks": len(scores),
        "orders": scores.orders,
        "environment": environment,
        "data": Provenance.of(tasks).digest,
        "metrics": {m.name: m.as_dict() for m in tasks.metrics},
        "baseline": tasks.baseline,
    }
    for m in tasks.metrics:
        values = scores.values[m.name]
        result[m.key] = (
            [{m.axis: k, **summarize_score(m, column)} for k, column in enumerate(values.T, m.first)]
            if m.axis
            else summarize_score(m, values)
        )
    if scores.answers is not None:
        half = accuracy_ci95_classes(scores.answers)
        result["d_test_accuracy"]["ci95_classes"] = None if math.isnan(half) else half
    if tasks.group:
        result[f"by_{tasks.group}"] = group_scores(scores, tasks.group, numbers)
    result["tasks"] = [
        {
            "index": int(i),
            "classes": scores.classes[row] if scores.classes else [],
            **{name: float(scores.values[name][row]) for name in dict.fromkeys(["loss", *(m.name for m in numbers)])},
        }
        for row, i in enumerate(scores.index)
    ]
    return result


def summarize_score(metric: Metric, values: np.ndarray) -> Score:
    """Returns the mean of a metric over tasks with its 95 % interval.

    Args:
        metric: the metric, or the one that `values` are differences of.
        values: (n,) the scores of n tasks; NaN for a task without a value, which is not counted.
    """
    return metric.score(*mean_ci95(values), int(np.count_nonzero(~np.isnan(values))))


def print_missing_intervals(scores: dict[str, Score | None]) -> None:
    """Prints a note on stderr on scores without an interval.

    Args:
        scores: by their labels; None is skipped.
    """
    labels: dict[str, list[str]] = {}
    for label, score in scores.items():
        if score is not None and (reason := explain_missing_interval(score)):
            labels.setdefault(reason, []).append(label)
    for reason, alike in labels.items():
        terminal.print_to_stderr(f"note: no 95 % interval for {', '.join(alike)}: {reason}")


def group_scores(scores: Scores, group: str, metrics: list[Metric]) -> list[dict[str, Any]]:
    """Returns the metrics for each value of an integer score, such as the length of the task."""
    rows = []
    for value in np.unique(scores.values[group]):
        mask = scores.values[group] == value
        rows.append({group: int(value), **{m.key: summarize_score(m, scores.values[m.name][mask]) for m in metrics}})
    return rows
