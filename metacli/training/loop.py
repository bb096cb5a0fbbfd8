"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import Provenance
from metacli.compute import threads
from metacli.compute.device import environment
from metacli.compute.processes import SINGLE_PROCESS, Processes, ProcessLostError
from metacli.config.recipe import Recipe
from metacli.runs.directory import RunDir
from metacli.runs.extend import extend
from metacli.runs.resume import Start, find_run_to_resume, restore
from metacli.system.signals import StopSignal
from metacli.training import prefetch
from metacli.training.data_parallel import Share, agree, broadcast_state, restore_on_process_loss, sum_gradients
from metacli.training.interruption import report_lost_steps
from metacli.training.logbook import Journal
from metacli.training.optimizer import clip, objective, set_rate
from metacli.training.progress import Progress
from metacli.training.state import Parts, Update, assemble
from metacli.training.stopping import Deadline, halt, why
from metacli.training.thread_trials import training_step
from metacli.training.warm_start import Initial, odd


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
    init: Initial | None = None,
    deadline: Deadline | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Outcome:
    """Train by the recipe, or go on with the run at `resume`, to the same weights as if it had never stopped.

    The run directory is this process's alone until the end.

    Args:
        run: where to write; where the torchrun that started this process has begun a run there (None: anywhere) before
            it had to start its processes anew, that run goes on.
        wanted_threads: how many to compute with; None for as many as the run at `resume` began with, or else for as
            many as help.
        init: the weights that a new run begins from, which the first process must have; None for those of its seed, and
            of the recipe's `encoder_from`.
        deadline: a moment after which the run stops, after a step at least; the first process's decides.
        processes: the processes that train together; the first one reads and writes the run.

    Raises:
        UsageError: `run` exists, `resume` was made by another recipe, or another process trains there, or `init` does
            not fit.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
        ProcessLostError: another process has ended; on a CPU, the first one has saved the steps before.
        KeyboardInterrupt: a second signal, which does not wait for the step in hand.
    """
    with ExitStack() as held:
        return _train(held, recipe, run, resume, device, progress, wanted_threads, init, deadline, processes)


def _train(
    held: ExitStack,
    recipe: Recipe,
    run: Path | None,
    resume: Path | None,
    device: torch.device,
    progress: Progress,
    wanted_threads: int | None,
    init: Initial | None,
    deadline: Deadline | None,
    processes: Processes,
) -> Outcome:
    """`train`; what is held until its end goes onto the stack."""

    def begun() -> RunDir | None:
        found = find_run_to_resume(run, resume, recipe)
        return found and held.enter_context(found)

    before = processes.run_on_first(begun)
    with processes.local_first():
        parts = assemble(recipe, device, processes)
    tasks, model, optimizer, scan = parts.tasks, parts.model, parts.optimizer, parts.scan
    provenance = Provenance.of(tasks)
    processes.check_same("data", provenance.digest, "every machine needs the same: METACLI_DATA, task.root")
    own = processes.share(recipe.train.batch)
    pace = threads.Pace(
        wanted_threads, before.threads() if before else None, training_step(model, tasks, len(own), device)
    )
    precision = progress.machine(model, device, pace.threads, scan)
    place = environment(device, pace.threads, precision, scan) | {"data": provenance.digest}

    def opened() -> tuple[RunDir, Start]:
        if before and (before.last.is_file() or not (init or recipe.train.encoder_from)):
            found = restore(before, recipe, model, optimizer, provenance)
            extend(before, recipe, found.step, progress.tell)
            return before, found
        given = init or Initial.wanted_by(recipe)
        progress.say(*odd(recipe, given))
        known = given.load_into(model, tasks, provenance) if given else provenance
        told = place | ({"init": given.as_dict()} if given else {})
        # before: lost by torchrun before the first save
        rundir = before or held.enter_context(RunDir.create(run, recipe, told))
        if given:  # from here on the run needs that file no more
            progress.tell("init", str(given))
            checkpoint.save(rundir.last, recipe, 0, None, model, known, optimizer, place)
        return rundir, Start(known)

    rundir, found = processes.run_on_first(opened) or (None, Start(provenance))
    path, start = processes.broadcast((rundir.path if rundir else Path(), found))
    if rundir and not rundir.guarded:
        progress.say(f"note: this file system has no locks: let no other process train in {path}")
    broadcast_state(processes, model, optimizer, device)
    progress.begin(recipe, tasks, model, path, start.step)
    began, cfg, step = time.monotonic(), recipe.train, start.step
    beside = prefetch.has_core(device, pace.threads.count)
    episodes = prefetch.batches(tasks, cfg.batch, step, cfg.steps, device, beside, own)
    journal = Journal(parts, place, rundir, start, device, progress, pace)
    code, halted = 0, journal.patience.over
    once = StopSignal(twice=processes.size == 1)
    with once as stop, progress, report_lost_steps(journal, path, progress), closing(episodes):
        while step < cfg.steps and not halted:
            try:
                episode = next(episodes)  # 1 and 2: T_i ~ p(T), D_train and D_test
                asked = halt(
                    stop, deadline if processes.first else None
                )  # once a step: what comes later is for the next
                share = agree(processes, tasks, episode, asked)
                done = update(parts, share, step, device)  # 3 and 4: phi_i, the loss on D_test, theta
            except ProcessLostError:
                journal.rescue()
                raise
            step += 1
            code, halted = why(share.halt, deadline)
            journal.note(step, done)
            halted = journal.patience.over or halted
        if halted:
            journal.stop()
    finished = step == cfg.steps or bool(journal.patience.over)
    if step == cfg.steps and not code:
        halted = ""  # what would have ended it came too late
    seconds = time.monotonic() - began
    return Outcome(path, step, tasks.metrics[0].name, journal.best, seconds, code, halted, finished)


def update(parts: Parts, share: Share, step: int, device: torch.device) -> Update:
    """Update number `step` (from 0) of theta by one batch of tasks, of which this process has its share.

    Raises:
        ProcessLostError: another process has ended; the model is as it was before.
    """
    tasks, model, optimizer, cfg = parts.tasks, parts.model, parts.optimizer, parts.recipe.train
    model.train()
    set_rate(optimizer, cfg.learning_rate(step))
    with restore_on_process_loss(model, parts.processes):
        episode = share.episode.to(device)
        logits = parts.answer(episode)  # 3: phi_i <- f_theta(D_train), then D_test from phi_i; never sees y_test
        loss = tasks.loss(logits, episode) * share.of_loss  # sum_i L(phi_i, D_test)
        optimizer.zero_grad(set_to_none=True)
        objective(loss, share.weight, share.batch, cfg).backward()
        with torch.no_grad():
            score = tasks.score(logits, episode)[tasks.metrics[0].name].mean() * share.of_tasks
        loss, score = sum_gradients(model, parts.processes, torch.stack([loss.detach(), score]))
    norm = clip(model, cfg)
    optimizer.step()  # 4: theta
    return Update(loss, score, norm)
