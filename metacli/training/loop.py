"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.machine import threads
from metacli.machine.runtime import StopSignal, environment
from metacli.training import sampler
from metacli.training.interrupted import told_of_loss
from metacli.training.journal import Journal
from metacli.training.optimiser import clip, learning_rate, objective, set_rate
from metacli.training.parts import Parts, Update, assemble
from metacli.training.progress import Progress
from metacli.training.provenance import Provenance
from metacli.training.resume import Start, reopen, restore
from metacli.training.rundir import RunDir
from metacli.training.trial import training_step


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: the run directory.
        step: updates of theta.
        metric: the name of the validation score that ranks checkpoints.
        best: its best value.
        seconds: time spent in this call.
        code: 0, or 130 or 143 after a signal.
    """

    run: Path
    step: int
    metric: str
    best: float | None
    seconds: float
    code: int

    def as_dict(self) -> dict[str, Any]:
        """What `train` prints, as plain values."""
        kept = {"metric": self.metric, "best": self.best, "seconds": round(self.seconds, 1)}
        return {"run_dir": str(self.run), "step": self.step, **kept}

    def lines(self) -> list[str]:
        """What `train` prints."""
        best = "none yet" if self.best is None else f"{self.best:.4f}"
        return [f"run {self.run}", f"step {self.step}", f"best val {self.metric} {best}", f"seconds {self.seconds:.0f}"]


def train(
    recipe: Recipe,
    run: Path | None,
    resume: Path | None,
    device: torch.device,
    progress: Progress,
    wanted_threads: int | None = None,
) -> Outcome:
    """Train by the recipe, or go on with the run at `resume`, to the same weights as if it had never stopped.

    The run directory is this process's alone until the end.

    Args:
        wanted_threads: how many to compute with; None for as many as the run at `resume` began with, or else for as
            many as help.

    Raises:
        UsageError: `run` exists, or `resume` was made by another recipe, or another process trains there.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
        KeyboardInterrupt: a second signal, which does not wait for the step in hand.
    """
    with ExitStack() as held:
        return _train(held, recipe, run, resume, device, progress, wanted_threads)


def _train(
    held: ExitStack,
    recipe: Recipe,
    run: Path | None,
    resume: Path | None,
    device: torch.device,
    progress: Progress,
    wanted_threads: int | None,
) -> Outcome:
    """`train`; what is held until its end goes onto the stack."""
    rundir = held.enter_context(reopen(resume, recipe)) if resume else None
    parts = assemble(recipe, device)
    tasks, model, optimizer, scan = parts.tasks, parts.model, parts.optimizer, parts.scan
    provenance = Provenance.of(tasks)
    pace = threads.Pace(
        wanted_threads, rundir.threads() if rundir else None, training_step(model, tasks, recipe, device)
    )
    precision = progress.machine(model, device, pace.threads, scan)
    place = environment(device, pace.threads, precision, scan) | {"data": provenance.digest}
    start = Start()
    if rundir:
        start = restore(rundir, recipe, model, optimizer, provenance)
    else:
        rundir = held.enter_context(RunDir.create(run, recipe, place))
    if not rundir.guarded:
        progress.say(f"note: this file system has no locks: let no other process train in {rundir.path}")
    progress.begin(recipe, tasks, model, rundir.path, start.step)
    began, cfg, step = time.monotonic(), recipe.train, start.step
    episodes = sampler.batches(tasks, cfg.batch, step, cfg.steps, device, sampler.has_core(device, pace.threads.count))
    journal = Journal(parts, provenance, place, rundir, start, device, progress, pace)
    with StopSignal() as stop, progress, told_of_loss(journal, rundir, progress), closing(episodes):
        while step < cfg.steps and not stop.code:
            episode = next(episodes)  # 1 and 2: T_i ~ p(T), D_train and D_test
            done = update(parts, episode, step)  # 3 and 4: phi_i, the loss on D_test, theta
            step += 1
            journal.note(step, episode, done)
        if stop.code:
            journal.stop()
    return Outcome(rundir.path, step, tasks.metrics[0].name, journal.best, time.monotonic() - began, stop.code)


def update(parts: Parts, episode: Episode, step: int) -> Update:
    """Update number `step` (from 0) of theta by one batch of tasks."""
    tasks, model, optimizer, cfg = parts.tasks, parts.model, parts.optimizer, parts.recipe.train
    model.train()
    set_rate(optimizer, learning_rate(cfg, step))
    logits = parts.answer(episode)  # 3: phi_i <- f_theta(D_train), then D_test from phi_i; never sees y_test
    loss = tasks.loss(logits, episode)  # sum_i L(phi_i, D_test)
    optimizer.zero_grad(set_to_none=True)
    objective(loss, episode, cfg).backward()
    norm = clip(model, cfg)
    optimizer.step()  # 4: theta
    return Update(logits, loss, norm)
