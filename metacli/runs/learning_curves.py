"""Learning curves: the scores of a run by step, read from its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metacli.errors import MetacliError
from metacli.registry import TASKS, resolve
from metacli.runs.directory import RunDirectory
from metacli.tasks.metrics import Metric


@dataclass(frozen=True)
class Curve:
    """The learning curve of one run, in its task's first metric.

    Attributes:
        run: the run directory.
        recipe: the name of its recipe.
        seed: of the recipe.
        steps: updates of theta that the recipe asks for.
        metric: of the scores.
        val: (V, 2) step and score on held-out classes, or on held-out episodes of generated tasks.
        train: (T, 2) step and mean score on the training batches since the previous row.
    """

    run: Path
    recipe: str
    seed: int
    steps: int
    metric: Metric
    val: np.ndarray
    train: np.ndarray

    @property
    def best(self) -> tuple[int, float] | None:
        """Returns step and score of the best validation, None before the first."""
        if not len(self.val):
            return None
        row = self.val[self.val[:, 1].argmax() if self.metric.higher_is_better else self.val[:, 1].argmin()]
        return int(row[0]), float(row[1])

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values. Its keys are part of the interface and documented in docs/cli.md."""
        best = self.best
        return {
            "run": str(self.run),
            "recipe": self.recipe,
            "seed": self.seed,
            "steps": self.steps,
            "metric": self.metric.name,
            "best": None if best is None else {"step": best[0], "score": best[1]},
            "val": [{"step": int(step), "score": score} for step, score in self.val.tolist()],
            "train": [{"step": int(step), "score": score} for step, score in self.train.tolist()],
        }


def load_curve(run: Path) -> Curve:
    """Returns the learning curve of a run directory.

    Raises:
        UsageError: it is not a run directory.
        MetacliError: its files are damaged, or it has logged no score yet.
    """
    directory, recipe = RunDirectory.open(run)
    metric: Metric = resolve(TASKS, recipe.task.name, "task").answer_of(recipe.task).metrics[0]
    records = directory.read_metrics()
    train = [(r["step"], r[metric.name]) for r in records if metric.name in r]
    val = [(r["step"], r["val"][metric.name]) for r in records if metric.name in r.get("val", {})]
    if not train:
        raise MetacliError(f"{run}: no {metric.label} is logged there yet")
    return Curve(run, recipe.name, recipe.seed, recipe.train.steps, metric, _as_array(val), _as_array(train))


def _as_array(rows: list[tuple[int, float]]) -> np.ndarray:
    """Returns rows as an (n, 2) array, which may be empty."""
    return np.array(rows, dtype=float).reshape(-1, 2)
