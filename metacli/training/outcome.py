"""The result of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metacli.tasks.metrics import Metric
from metacli.training.run import Run
from metacli.training.state import TrainState
from metacli.training.stopping import Stopper


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: the run directory.
        step: updates of theta so far.
        metric: the validation metric that ranks checkpoints.
        best: the best validation score, None before the first validation.
        n_tasks: the number of tasks of a validation.
        seconds: duration of this call.
        code: exit status: 0, or 130, 143 or 129 after a signal.
        stopped: why the run stopped before its last step; empty if it did not.
        finished: whether no step is left: the last one was taken, or `train.patience` ran out.
    """

    run: Path
    step: int
    metric: Metric
    best: float | None
    n_tasks: int
    seconds: float
    code: int
    stopped: str = ""
    finished: bool = True

    @classmethod
    def of(cls, run: Run, state: TrainState, stop: Stopper, seconds: float) -> Outcome:
        """The outcome of a run whose loop has ended."""
        is_complete = run.step == state.recipe.train.steps
        finished = is_complete or bool(stop.patience.reason)
        # A stop request after the last step is ignored, unless it was a signal.
        stopped = "" if is_complete and not stop.code else stop.reason
        metric, n_tasks = state.tasks.metrics[0], state.recipe.train.eval_tasks
        return cls(run.path, run.step, metric, run.best_score, n_tasks, seconds, stop.code, stopped, finished)

    def as_dict(self) -> dict[str, Any]:
        """The result of `metacli train --json`."""
        best = None if self.best is None else self.metric.score(self.best, n_tasks=self.n_tasks)
        progress = {"run_dir": str(self.run), "step": self.step, "best": best}
        return {**progress, "seconds": round(self.seconds, 1), "stopped": self.stopped or None}

    def lines(self) -> list[str]:
        """The result of `metacli train` as text."""
        best = "none yet" if self.best is None else self.metric.format_value(self.best)
        label = f"best val {self.metric.label}"
        return [f"run {self.run}", f"step {self.step}", f"{label} {best}", f"seconds {self.seconds:.0f}"]
