"""What a run does between two steps: measure, log, validate on held-out classes, keep checkpoints."""

from __future__ import annotations

import time
from typing import Any, Literal

import torch

from metacli.errors import MetacliError
from metacli.machine.threads import Pace
from metacli.training import checkpoint
from metacli.training.evaluation import evaluate
from metacli.training.halt import Patience
from metacli.training.meter import Meter
from metacli.training.optimiser import learning_rate
from metacli.training.parts import Parts, Update
from metacli.training.progress import Progress
from metacli.training.provenance import Provenance
from metacli.training.rundir import RunDir
from metacli.training.shares import check_weights


class Journal:
    """Keeps the books of one training run, in its run directory and on stderr.

    Args:
        parts: what is trained; its recipe says when to log, to validate and to save.
        rundir: None in a process that has another one write.
        best: the best validation score so far, None before the first.

    Attributes:
        patience: with validations that are no better than those before.

    Raises:
        MetacliError: the recipe asks for TensorBoard, which is not installed.
    """

    def __init__(
        self,
        parts: Parts,
        provenance: Provenance,
        rundir: RunDir | None,
        best: float | None,
        device: torch.device,
        progress: Progress,
        pace: Pace,
    ):
        self.best = best
        self._recipe, self._tasks, self._provenance = parts.recipe, parts.tasks, provenance
        self._model, self._optimizer = parts.model, parts.optimizer
        self._rundir, self._device, self._progress, self._pace = rundir, device, progress, pace
        self._ranks = parts.ranks
        self._events = events(rundir) if parts.recipe.train.tensorboard and rundir else None
        self._headline = parts.tasks.metrics[0]
        log = [record for record in rundir.metrics() if "val" in record] if rundir else []
        self.patience = Patience(parts.recipe.train.patience, self._headline, parts.ranks.tell(log))
        self._meter, self._began = Meter(self._headline.name), time.monotonic()

    def note(self, step: int, done: Update, last: bool) -> None:
        """Take in what update `step` (from 1) was made of, and do what is due after it, with the other processes.

        Args:
            step: updates of theta so far.
            done: the last of them.
            last: whether the run ends or stops here, so that all is due.

        Raises:
            MetacliError: a loss or a gradient is not finite, or a file cannot be written.
        """
        cfg = self._recipe.train
        self._meter.add(done.loss, done.score, done.norm, cfg.batch)
        save, validate = last or every(cfg.checkpoint_every, step), step == cfg.steps or every(cfg.eval_every, step)
        line = last or validate or every(cfg.log_every, step)
        self._progress.step()
        self._pace.review(self._progress.say)
        if not (line or save or self._progress.due()):
            return
        with self._ranks.alike():
            means: dict[str, Any] = self._meter.read(step)  # finds what is not finite, before any of it is kept
        self._progress.show(means, self._headline)
        if validate or save:
            check_weights(self._ranks, self._model)
        if validate:
            means["val"] = self._validate(step)
            save = save or bool(self.patience.over)
        if line:
            self._log(step, means)
        if save:
            self._save("last", step, self._optimizer)
        if line:
            self._meter.take()

    def rescue(self, step: int) -> None:
        """Save the last whole step, where another process was lost in the next one.

        On a GPU the step may still wait for that process: there the last checkpoint stands.
        """
        if self._device.type == "cpu":
            self._save("last", step, self._optimizer)
            self._progress.say(f"saved at step {step}")

    def _validate(self, step: int) -> dict[str, float]:
        count = self._recipe.train.eval_tasks
        scores = evaluate(self._model, self._tasks, "val", count, self._device, ranks=self._ranks)
        means = self._ranks.tell(scores.means())  # whether patience is over must be the same in all
        if self._headline.beats(means[self._headline.name], self.best):
            self.best = means[self._headline.name]
            self._save("best", step)
        self.patience.count(means[self._headline.name])
        self._progress.validated(step, means, self._tasks)
        return means

    def _save(self, which: Literal["last", "best"], step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        if self._rundir is not None:
            path = getattr(self._rundir, which)
            checkpoint.save(path, self._recipe, step, self.best, self._model, self._provenance, optimizer)

    def _log(self, step: int, means: dict[str, Any]) -> None:
        seconds, rate = round(time.monotonic() - self._began, 2), learning_rate(self._recipe.train, step - 1)
        record = {"step": step, "seconds": seconds, "lr": rate, "threads": self._pace.threads.count, **means}
        if self._rundir is not None:
            self._rundir.log(record)
        if self._events:
            write_events(self._events, record)


def every(period: int, step: int) -> bool:
    """Whether something that happens every `period` steps (0: never) happens at `step`."""
    return period > 0 and step % period == 0


def events(rundir: RunDir) -> Any:
    """A TensorBoard writer into the run directory.

    Raises:
        MetacliError: the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MetacliError("tensorboard is not installed", "pip install 'metacli[tensorboard]'") from None
    return SummaryWriter(str(rundir.path))


def write_events(writer: Any, record: dict[str, Any]) -> None:
    """Write one line of the log as scalars, those of a validation as val/NAME."""
    scalars = {**record, **{f"val/{name}": value for name, value in record.get("val", {}).items()}}
    for name, value in scalars.items():
        if isinstance(value, float):
            writer.add_scalar(name, value, record["step"])
    writer.flush()
