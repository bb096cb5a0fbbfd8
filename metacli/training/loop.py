"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.machine import threads
from metacli.machine.runtime import StopSignal, environment
from metacli.training import checkpoint, sampler
from metacli.training.extension import extend
from metacli.training.halt import Deadline, halt
from metacli.training.initial import Initial
from metacli.training.journal import Journal
from metacli.training.optimiser import clip, learning_rate, objective, set_rate
from metacli.training.parts import Parts, Update, assemble
from metacli.training.progress import Progress
from metacli.training.provenance import Provenance
from metacli.training.resume import reopen, restore
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
        code: 0, or 130, 143 or 129 after a signal.
        stopped: why before its last step, in words; empty where it was not.
        finished: whether no step is left to take: the last was taken, or `train.patience` is over.
    """

    run: Path
    step: int
    metric: str
    best: float | None
    seconds: float
    code: int
    stopped: str = ""
    finished: bool = True

    def as_dict(self) -> dict[str, Any]:
        """What `train` prints, as plain values."""
        kept = {"metric": self.metric, "best": self.best, "seconds": round(self.seconds, 1)}
        return {"run_dir": str(self.run), "step": self.step, **kept, "stopped": self.stopped or None}

    def __str__(self) -> str:
        """What `train` prints, in lines."""
        best = "none yet" if self.best is None else f"{self.best:.4f}"
        return f"run {self.run}\nstep {self.step}\nbest val {self.metric} {best}\nseconds {self.seconds:.0f}"


def train(
    recipe: Recipe,
    run: Path | None,
    resume: Path | None,
    device: torch.device,
    progress: Progress,
    wanted_threads: int | None = None,
    init: Initial | None = None,
    deadline: Deadline | None = None,
) -> Outcome:
    """Train by the recipe, or go on with the run at `resume`, to the same weights as if it had never stopped.

    Args:
        wanted_threads: how many to compute with; None for as many as the run at `resume` began with, or else for as
            many as help.
        init: the weights that a new run begins from; None for those of its seed.
        deadline: a moment after which the run stops, after a step at least.

    Raises:
        UsageError: `run` exists, `resume` was made by another recipe, or `init` does not fit.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
    """
    parts = assemble(recipe, device)
    tasks, model, optimizer, scan = parts.tasks, parts.model, parts.optimizer, parts.scan
    provenance = Provenance.of(tasks)
    if init:
        provenance = init.load_into(model, tasks, provenance)
        progress.tell("init", str(init))
    rundir = reopen(resume, recipe) if resume else None
    pace = threads.Pace(
        wanted_threads, rundir.threads() if rundir else None, training_step(model, tasks, recipe, device)
    )
    precision = progress.machine(model, device, pace.threads, scan)
    start, best = 0, None
    if rundir:
        start, best, provenance = restore(rundir, recipe, model, optimizer, provenance)
        extend(rundir, recipe, start, progress.tell)
    else:
        begun = {"init": init.as_dict()} if init else {}
        rundir = RunDir.create(run, recipe, environment(device, pace.threads, precision, scan) | begun)
        if init:  # from here on the run needs that file no more
            checkpoint.save(rundir.last, recipe, 0, best, model, provenance, optimizer)
    progress.begin(recipe, tasks, model, rundir.path, start)
    began, cfg, step = time.monotonic(), recipe.train, start
    episodes = sampler.batches(tasks, cfg.batch, start, cfg.steps, device, sampler.has_core(device, pace.threads.count))
    journal = Journal(parts, provenance, rundir, best, device, progress, pace)
    code, halted = 0, journal.patience.over
    with StopSignal() as stop, progress, closing(episodes):
        while step < cfg.steps and not halted:
            episode = next(episodes)  # 1 and 2: T_i ~ p(T), D_train and D_test
            done = update(parts, episode, step)  # 3 and 4: phi_i, the loss on D_test, theta
            step += 1
            code, halted = halt(stop, deadline)  # asked once a step: what comes while books are kept is for the next
            journal.note(step, episode, done, last=step == cfg.steps or bool(halted))
            halted = journal.patience.over or halted
    finished = step == cfg.steps or bool(journal.patience.over)
    if step == cfg.steps and not code:
        halted = ""  # what would have ended it came too late
    seconds = time.monotonic() - began
    return Outcome(rundir.path, step, tasks.metrics[0].name, journal.best, seconds, code, halted, finished)


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
