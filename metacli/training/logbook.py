"""Between two steps: measure, log, validate on held-out classes, save checkpoints."""

from __future__ import annotations

import time
from typing import Any

from metacli.checkpoints import checkpoint
from metacli.checkpoints.file_names import LAST
from metacli.compute.processes import ProcessLostError
from metacli.evaluation.evaluate import evaluate
from metacli.models.distributed import check_equal_weights
from metacli.training import tensorboard
from metacli.training.meter import Meter
from metacli.training.progress import Progress
from metacli.training.run import Run
from metacli.training.state import TrainState, Update
from metacli.training.stopping import Patience


class Logbook:
    """Logs, validates and saves a run, as a context manager that leaves the run saved.

    At the end of `with`, a run that stopped between two checkpoints is saved. If another process was lost, the last
    complete step is saved. After a second signal nothing is saved, and a message says which steps are lost.

    Args:
        patience: counts the validations.
    """

    def __init__(self, run: Run, state: TrainState, progress: Progress, patience: Patience):
        self._run, self._state, self._progress, self._patience = run, state, progress, patience
        self._headline = state.tasks.metrics[0]
        self._saved_step = self._completed_step = run.step
        writes_events = state.recipe.train.tensorboard and run.directory
        self._events = tensorboard.open_writer(run.path) if writes_events else None
        self._meter, self._start = Meter(self._headline.name, run.meter_rows), time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the first step."""
        return time.monotonic() - self._start

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            if error is None and self._run.step != self._saved_step:
                self._meter.check(self._run.step)
                check_equal_weights(self._state.processes, self._state.model)
                self._save()
            elif isinstance(error, ProcessLostError):
                self._save_completed_step()
            elif isinstance(error, KeyboardInterrupt):
                self._report_lost_steps()
        finally:
            self._progress.close()

    def after_step(self, update: Update) -> None:
        """Record the latest update. Log, validate and save if due, together with the other processes.

        Raises:
            MetacliError: a loss or a gradient is not finite, or a file cannot be written.
        """
        cfg, step = self._state.recipe.train, self._run.step
        self._meter.add(update.loss, update.score, update.norm, cfg.batch)
        self._progress.advance()
        is_last = step == cfg.steps
        saves, validates = is_last or is_due(cfg.checkpoint_every, step), is_last or is_due(cfg.eval_every, step)
        logs = validates or is_due(cfg.log_every, step)
        if logs or saves or self._progress.is_due():
            with self._state.processes.report_once():
                means: dict[str, Any] = self._meter.read(step)  # raises before a value that is not finite is saved
            self._progress.update_bar(means, self._headline)
            if validates or saves:
                check_equal_weights(self._state.processes, self._state.model)
            if validates:
                means["val"] = self._validate()
                saves = saves or bool(self._patience.reason)
            if logs:
                self._log(means)
                self._meter.reset()
            if saves:
                self._save()
        self._completed_step = step

    def _validate(self) -> dict[str, float]:
        state, run = self._state, self._run
        count = state.recipe.train.eval_tasks
        scores = evaluate(state.model, state.tasks, "val", count, state.device, processes=state.processes)
        means = state.processes.broadcast(scores.means())  # all processes must agree on whether patience ran out
        score = means[self._headline.name]
        if self._headline.is_better(score, run.best_score):
            run.best_score = score
            run.save_best(state)
        self._patience.count(score)
        self._progress.print_validation(run.step, means, state.tasks)
        return means

    def _log(self, means: dict[str, Any]) -> None:
        step, state = self._run.step, self._state
        seconds, rate = round(self.seconds, 2), state.recipe.train.learning_rate(step - 1)
        record = {"step": step, "seconds": seconds, "lr": rate, "threads": state.threads.count, **means}
        if self._run.directory:
            self._run.directory.log(record)
        if self._events:
            tensorboard.write_scalars(self._events, record)

    def _save(self) -> None:
        self._run.save_last(self._state, self._meter.rows())
        self._saved_step = self._run.step

    def _save_completed_step(self) -> None:
        """Save the last step if it was completed, its log line included.

        On a GPU the step may still wait for the lost process, so the last checkpoint is not replaced.
        """
        if self._state.device.type == "cpu" and self._completed_step == self._run.step:
            self._save()
            self._progress.print_lines(f"saved at step {self._run.step}")

    def _report_lost_steps(self) -> None:
        """Print which steps are lost, and how to resume."""
        path = self._run.path
        last = path / LAST
        # The step is read from the file: the signal may have come between writing it and recording that.
        saved = checkpoint.load(last).step if last.is_file() else 0
        lost = max(self._run.step - saved, 0)
        self._progress.print_lines(
            f"stopped at once, nothing saved after step {saved:,}: {lost:,} step{'s' * (lost != 1)} and the current "
            f"one are lost. Resume from step {saved:,} with: metacli train --resume {path}"
        )


def is_due(period: int, step: int) -> bool:
    """Returns whether something that happens every `period` steps (0: never) happens at `step`."""
    return period > 0 and step % period == 0
