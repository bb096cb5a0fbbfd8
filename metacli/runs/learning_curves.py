"""Learning curves: the scores of a run by step, read from its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from metacli.config.recipe import Recipe
from metacli.errors import MetacliError
from metacli.registry import TASKS, resolve
from metacli.runs.directory import RunDirectory
from metacli.tasks.metrics import Metric, Score

CURVE_COLUMNS = ["run", "recipe", "seed", "split", "step", "metric", "unit", "mean", "ci95", "n_tasks"]


@dataclass(frozen=True)
class Curve:
    """The learning curve of one run, in the first metric of its tasks.

    Attributes:
        run: the run directory.
        recipe: its recipe.
        metric: of the scores.
        val: (V, 2) step and mean score on the validation split.
        train: (T, 2) step and mean score on the training batches since the previous row.
        last_step: the last step in the log, 0 if it is empty.
    """

    run: Path
    recipe: Recipe
    metric: Metric
    val: np.ndarray
    train: np.ndarray
    last_step: int

    @property
    def best(self) -> tuple[int, float] | None:
        """Returns step and score of the best validation, None before the first."""
        if not len(self.val):
            return None
        row = self.val[self.val[:, 1].argmax() if self.metric.higher_is_better else self.val[:, 1].argmin()]
        return int(row[0]), float(row[1])

    @property
    def best_score(self) -> dict[str, Any] | None:
        """Returns the best validation as plain values, a score with its step; None before the first."""
        return None if self.best is None else self._val_row(*self.best)

    @property
    def variant(self) -> str:
        """A text that is equal for runs whose recipes differ only in the seed and the number of steps."""
        keys = self.recipe.as_dict()
        return json.dumps({**keys, "seed": None, "train": {**keys["train"], "steps": None}})

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the points of `val` and `train` as plain values: scores with their step."""
        batch, previous = self.recipe.train.batch, [0, *self.train[:, 0].astype(int).tolist()]
        counts = [batch * (step - before) for before, step in pairwise(previous)]
        return {
            "val": [self._val_row(step, score) for step, score in self.val.tolist()],
            "train": [
                self._row(step, score, count) for (step, score), count in zip(self.train.tolist(), counts, strict=True)
            ],
        }

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values. Its keys are part of the interface; docs/cli.md describes them."""
        return {
            "run": str(self.run),
            "recipe": self.recipe.name,
            "seed": self.recipe.seed,
            "steps": self.recipe.train.steps,
            "best": self.best_score,
            **self.rows(),
        }

    def _val_row(self, step: float, score: float) -> dict[str, Any]:
        return self._row(step, score, self.recipe.train.eval_tasks)

    def _row(self, step: float, score: float, n_tasks: int) -> Score:
        return {"step": int(step), **self.metric.score(score, n_tasks=n_tasks)}


def load_curve(run: Path) -> Curve:
    """Returns the learning curve of a run directory.

    Raises:
        UsageError: it is not a run directory.
        MetacliError: its files are damaged, or it has logged no score yet.
    """
    curve = read_curve(run)
    if not len(curve.train):
        raise MetacliError(f"{run}: its log holds no {curve.metric.label} yet")
    return curve


def read_curve(run: Path) -> Curve:
    """Returns what `load_curve` does, also if there is no score yet."""
    directory, recipe = RunDirectory.open(run)
    metric: Metric = resolve(TASKS, recipe.task.name, "task").answer_of(recipe.task).metrics[0]
    records = directory.read_metrics()
    train = [(r["step"], r[metric.name]) for r in records if metric.name in r]
    val = [(r["step"], r["val"][metric.name]) for r in records if metric.name in r.get("val", {})]
    last_step = max((r["step"] for r in records), default=0)
    return Curve(run, recipe, metric, _as_array(val), _as_array(train), last_step)


def curve_table(curves: list[Curve]) -> list[dict[str, Any]]:
    """Returns the points of several curves as the rows of one table, with the columns `CURVE_COLUMNS`."""
    return [
        {"run": str(c.run), "recipe": c.recipe.name, "seed": c.recipe.seed, "split": split, **row}
        for c in curves
        for split, rows in c.rows().items()
        for row in rows
    ]


def _as_array(rows: list[tuple[int, float]]) -> np.ndarray:
    """Returns rows as an (n, 2) array, which may be empty."""
    return np.array(rows, dtype=float).reshape(-1, 2)
