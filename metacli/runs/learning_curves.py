"""Learning curves: what the log of a run says of its scores, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metacli.errors import MetacliError
from metacli.registry import TASKS, resolve
from metacli.runs.directory import RunDir
from metacli.tasks.metrics import Metric


@dataclass(frozen=True)
class Curve:
    """The headline score of one run.

    Attributes:
        run: its directory.
        recipe: the name of its recipe.
        seed: of the recipe.
        steps: updates of theta that the recipe asks for.
        metric: what is scored.
        val: (V, 2) step and score on held-out classes or, of generated tasks, held-out episodes.
        train: (T, 2) step and mean score on the training batches since the row before.
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
        """Step and score of the best validation, None before the first."""
        if not len(self.val):
            return None
        row = self.val[self.val[:, 1].argmax() if self.metric.higher_is_better else self.val[:, 1].argmin()]
        return int(row[0]), float(row[1])

    def plain(self) -> dict[str, Any]:
        """All of it as plain values; its keys are part of the interface and documented in docs/cli.md."""
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


def curve(run: Path) -> Curve:
    """That of a run directory.

    Raises:
        UsageError: it is none.
        MetacliError: nothing is logged there yet.
    """
    rundir, recipe = RunDir.reopen(run)
    metric: Metric = resolve(TASKS, recipe.task.name, "task").answer_of(recipe.task).metrics[0]
    log = rundir.metrics()
    train = [(r["step"], r[metric.name]) for r in log if metric.name in r]  # older logs have other names
    val = [(r["step"], r["val"][metric.name]) for r in log if metric.name in r.get("val", {})]
    if not train:
        raise MetacliError(f"{run}: nothing of {metric.label} is logged there")
    return Curve(run, recipe.name, recipe.seed, recipe.train.steps, metric, *map(table, (val, train)))


def table(rows: list[tuple[int, float]]) -> np.ndarray:
    """(n, 2), also of no rows."""
    return np.array(rows, dtype=float).reshape(-1, 2)
