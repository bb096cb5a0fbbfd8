"""A training run: its directory, its initial state and its progress."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metacli.checkpoints import checkpoint
from metacli.checkpoints.held_out import check_splits
from metacli.checkpoints.provenance import Provenance
from metacli.compute.processes import Processes
from metacli.config.recipe import Recipe
from metacli.runs.directory import RunDirectory
from metacli.runs.extend import extend_run
from metacli.runs.resume import Start, find_run_to_resume, restore
from metacli.training.progress import Progress
from metacli.training.state import TrainState
from metacli.training.stopping import Patience
from metacli.training.warm_start import WarmStart, frozen_encoder_warning


@dataclass(frozen=True)
class RunPlan:
    """The directory of a run and the state that it starts from.

    Attributes:
        run_dir: a new run directory; None for runs/<recipe>/<time>-seed<n>. If torchrun restarts its processes, they
            resume the run that they created there.
        resume: an existing run directory to resume.
        init: the warm start of a new run; only the first process needs it. None for the recipe's `encoder_from` or
            random weights.
    """

    run_dir: Path | None = None
    resume: Path | None = None
    init: WarmStart | None = None


class Run:
    """A run, as a context manager that holds the lock of its directory in the first process.

    Attributes:
        path: the path of the run directory.
        directory: the run directory; None in all processes but the first.
        step: updates of theta so far.
        best_score: the best validation score so far, None before the first validation.
        meter_rows: see `Meter.rows`, of the steps since the last line of the log when the run was stopped.
    """

    path: Path
    provenance: Provenance
    directory: RunDirectory | None = None
    step: int = 0
    best_score: float | None = None
    meter_rows: Tensor | None = None

    def __init__(self, recipe: Recipe, plan: RunPlan, processes: Processes):
        self._recipe, self._plan, self._processes = recipe, plan, processes
        self._stack = ExitStack()
        self._previous: RunDirectory | None = None

    def __enter__(self) -> Run:
        """Find the run to resume, if any, and lock it."""
        with ExitStack() as stack:
            self._stack = stack
            self._previous = self._processes.run_on_first(self._lock_previous)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _lock_previous(self) -> RunDirectory | None:
        directory = find_run_to_resume(self._plan.run_dir, self._plan.resume, self._recipe)
        return directory and self._stack.enter_context(directory)

    @property
    def previous_threads(self) -> int | None:
        """The number of threads that a resumed run used before."""
        return self._previous.last_threads() if self._previous else None

    def open(self, state: TrainState, progress: Progress) -> None:
        """Restore the run from its last checkpoint, or create it. Then all processes hold the same state.

        Raises:
            UsageError: the run directory exists, the splits overlap, or the weights of the warm start do not fit.
            MetacliError: a file cannot be read or written.
        """
        progress.print_lines(*check_splits(state.tasks))
        progress.print_hardware(state)
        start = self._processes.run_on_first(lambda: self._restore_or_create(state, progress))
        path = self.directory.path if self.directory else Path()
        self.path, start = self._processes.broadcast((path, start or Start(state.provenance)))
        self.provenance, self.step, self.best_score, self.meter_rows = start
        if self.directory and not self.directory.is_exclusive:
            progress.print_lines(f"note: this file system has no locks. Do not start another training in {self.path}")
        state.broadcast_from_first()
        progress.start(state, self.path, self.step)

    def _restore_or_create(self, state: TrainState, progress: Progress) -> Start:
        previous, recipe = self._previous, state.recipe
        starts_elsewhere = bool(self._plan.init or recipe.train.encoder_from)
        if previous and (previous.last.is_file() or not starts_elsewhere):
            self.directory = previous
            model, optimizer, report = state.model, state.optimizer, progress.print_lines
            start = restore(previous, recipe, model, optimizer, state.provenance, state.environment, report)
            extend_run(previous, recipe, start.step, progress.print_fact)
            return start
        init = self._plan.init or WarmStart.from_recipe(recipe)
        progress.print_lines(*frozen_encoder_warning(recipe, init), *(init.check_held_out(state.tasks) if init else ()))
        self.provenance = init.load_into(state.model, state.tasks, state.provenance) if init else state.provenance
        environment = state.environment | ({"init": init.as_dict()} if init else {})
        if previous:  # torchrun restarted this run before its first checkpoint
            self.directory = previous
        else:
            self.directory = self._stack.enter_context(RunDirectory.create(self._plan.run_dir, recipe, environment))
        if init:  # after this checkpoint the run no longer needs the file that it started from
            progress.print_fact("init", str(init))
            self.save_last(state, None)
        return Start(self.provenance)

    def load_patience(self, state: TrainState) -> Patience:
        """Returns the patience that is left after the validations in the log."""
        log = [record for record in self.directory.read_metrics() if "val" in record] if self.directory else []
        return Patience(state.recipe.train.patience, state.tasks.metrics[0], self._processes.broadcast(log))

    def save_last(self, state: TrainState, meter_rows: Tensor | None) -> None:
        """Write the checkpoint that a resumed run continues from."""
        if self.directory:
            self.directory.sync_metrics()  # the log must reach the disk before the checkpoint
            self._save(self.directory.last, state, state.optimizer, meter_rows)

    def save_best(self, state: TrainState) -> None:
        """Write the checkpoint of the best validation score."""
        if self.directory:
            self._save(self.directory.best, state)

    def _save(
        self,
        path: Path,
        state: TrainState,
        optimizer: torch.optim.Optimizer | None = None,
        meter_rows: Tensor | None = None,
    ) -> None:
        snapshot = checkpoint.Snapshot(
            recipe=state.recipe,
            step=self.step,
            best=self.best_score,
            model=state.model,
            provenance=self.provenance,
            optimizer=optimizer,
            environment=state.environment,
            meter=meter_rows,
        )
        checkpoint.save(path, snapshot)
