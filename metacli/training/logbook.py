"""What a run does between two steps: measure, log, validate on held-out classes, keep checkpoints."""

from __future__ import annotations

import time
from typing import Any, Literal

import torch
from torch import Tensor

from metacli.checkpoints import checkpoint
from metacli.compute.threads import Pace
from metacli.evaluation.evaluate import evaluate
from metacli.runs.directory import RunDir
from metacli.runs.resume import Start
from metacli.training import tensorboard
from metacli.training.data_parallel import check_weights
from metacli.training.meter import Meter
from metacli.training.progress import Progress
from metacli.training.state import Parts, Update
from metacli.training.stopping import Patience


class Journal:
    """Keeps the books of one training run, in its run directory and on stderr.

    Args:
        parts: what is trained; its recipe says when to log, to validate and to save.
        environment: what it is computed with, for the checkpoints.
        rundir: None in a process that has another one write.
        start: the step, the best score and the meter's state that the run goes on from, and what it was trained on.

    Attributes:
        best: the best validation score so far, None before the first.
        step: updates of theta so far.
        patience: with validations that are no better than those before.
    """

    def __init__(
        self,
        parts: Parts,
        environment: dict[str, Any],
        rundir: RunDir | None,
        start: Start,
        device: torch.device,
        progress: Progress,
        pace: Pace,
    ):
        self.step, self.best, self._kept = start.step, start.best, start.step
        self._recipe, self._tasks = parts.recipe, parts.tasks
        self._provenance, self._environment = start.provenance, environment
        self._model, self._optimizer = parts.model, parts.optimizer
        self._rundir, self._device, self._progress, self._pace = rundir, device, progress, pace
        self._processes = parts.processes
        self._events = tensorboard.writer(rundir.path) if parts.recipe.train.tensorboard and rundir else None
        self._headline = parts.tasks.metrics[0]
        log = [record for record in rundir.metrics() if "val" in record] if rundir else []
        self.patience = Patience(parts.recipe.train.patience, self._headline, parts.processes.broadcast(log))
        self._meter, self._began = Meter(self._headline.name, start.meter), time.monotonic()

    def note(self, step: int, done: Update) -> None:
        """Take in what update `step` (from 1) was made of, and do what is due after it, with the other processes.

        Args:
            step: updates of theta so far.
            done: the last of them.

        Raises:
            MetacliError: a loss or a gradient is not finite, or a file cannot be written.
        """
        cfg, self.step = self._recipe.train, step
        self._meter.add(done.loss, done.score, done.norm, cfg.batch)
        last = step == cfg.steps
        save, validate = last or every(cfg.checkpoint_every, step), last or every(cfg.eval_every, step)
        line = validate or every(cfg.log_every, step)
        self._progress.step()
        self._pace.review(self._progress.say)
        if not (line or save or self._progress.due()):
            return
        with self._processes.report_once():
            means: dict[str, Any] = self._meter.read(step)  # finds what is not finite, before any of it is kept
        self._progress.show(means, self._headline)
        if validate or save:
            check_weights(self._processes, self._model)
        if validate:
            means["val"] = self._validate(step)
            save = save or bool(self.patience.over)
        if line:
            self._log(step, means)
            self._meter.take()
        if save:
            self._keep()

    def stop(self) -> None:
        """Save the run as it stands, where that was not done.

        Raises:
            MetacliError: as `note`.
        """
        if self.step != self._kept:
            self._meter.check(self.step)
            check_weights(self._processes, self._model)
            self._keep()

    def _keep(self) -> None:
        if self._rundir is not None:
            self._rundir.sync()  # the lines before the step that they lead to
        self._save("last", self._optimizer, self._meter.state())
        self._kept = self.step

    def rescue(self) -> None:
        """Save the last whole step, where another process was lost in the next one.

        On a GPU the step may still wait for that process: there the last checkpoint stands.
        """
        if self._device.type == "cpu":
            self._keep()
            self._progress.say(f"saved at step {self.step}")

    def _validate(self, step: int) -> dict[str, float]:
        count = self._recipe.train.eval_tasks
        scores = evaluate(self._model, self._tasks, "val", count, self._device, processes=self._processes)
        means = self._processes.broadcast(scores.means())  # whether patience is over must be the same in all
        if self._headline.beats(means[self._headline.name], self.best):
            self.best = means[self._headline.name]
            self._save("best")
        self.patience.count(means[self._headline.name])
        self._progress.validated(step, means, self._tasks)
        return means

    def _save(
        self,
        which: Literal["last", "best"],
        optimizer: torch.optim.Optimizer | None = None,
        meter: Tensor | None = None,
    ) -> None:
        if self._rundir is None:
            return
        threads, path = self._pace.threads, getattr(self._rundir, which)
        place = self._environment | {"threads": threads.count, "threads_reason": threads.reason}
        content = (self._recipe, self.step, self.best, self._model, self._provenance, optimizer, place, meter)
        checkpoint.save(path, *content)

    def _log(self, step: int, means: dict[str, Any]) -> None:
        seconds, rate = round(time.monotonic() - self._began, 2), self._recipe.train.learning_rate(step - 1)
        record = {"step": step, "seconds": seconds, "lr": rate, "threads": self._pace.threads.count, **means}
        if self._rundir is not None:
            self._rundir.log(record)
        if self._events:
            tensorboard.write(self._events, record)


def every(period: int, step: int) -> bool:
    """Whether something that happens every `period` steps (0: never) happens at `step`."""
    return period > 0 and step % period == 0
