"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metacli.config.recipe import Recipe
from metacli.errors import MetacliError, UsageError
from metacli.machine import processor, threads
from metacli.machine.runtime import StopSignal, environment, prepare
from metacli.models.base import MetaLearner
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from metacli.training import checkpoint, sampler
from metacli.training.capture import Captured
from metacli.training.evaluation import evaluate
from metacli.training.meter import Meter
from metacli.training.optimiser import clip, learning_rate, make_optimizer, set_rate
from metacli.training.progress import Progress
from metacli.training.rundir import RunDir


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


def train(
    recipe: Recipe,
    run: Path | None,
    resume: Path | None,
    device: torch.device,
    progress: Progress,
    wanted_threads: int | None = None,
) -> Outcome:
    """Train by the recipe, or go on with the run at `resume`, to the same weights as if it had never stopped.

    Args:
        wanted_threads: how many to compute with; None for as many as the run at `resume` began with, or else for as
            many as help.

    Raises:
        UsageError: `run` exists, or `resume` was made by another recipe.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
    """
    prepare(recipe.seed)
    tasks: Tasks = build(TASKS, recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec).to(device)
    scan = model.use_scan(recipe.train.scan, device)
    answer = Captured(model) if captures(recipe, model, device) else model
    optimizer = make_optimizer(model, recipe.train)
    for split in ("train", "val"):  # data that is absent or too small is found before a run directory is made
        tasks.batch(split, 0, 1)
    rundir = reopen(resume, recipe) if resume else None
    pace = threads.Pace(wanted_threads, rundir.threads() if rundir else None, trial(model, tasks, recipe, device))
    precision = progress.machine(model, device, pace.threads, scan)
    start, best = 0, None
    if rundir:
        start, best = restore(rundir, model, optimizer)
    else:
        rundir = RunDir.create(run, recipe, environment(device, pace.threads, precision, scan))
    progress.begin(recipe, tasks, model, rundir.path, start)
    writer = tensorboard(rundir.path) if recipe.train.tensorboard else None
    began, cfg, step = time.monotonic(), recipe.train, start
    meter = Meter()
    cores = processor.cores()[0]
    free_core = cores > 1 and (device.type != "cpu" or cores > pace.threads.count)
    episodes = sampler.batches(tasks, cfg.batch, start, cfg.steps, device, beside=free_core)
    with StopSignal() as stop, progress, closing(episodes):
        while step < cfg.steps and not stop.code:
            model.train()
            set_rate(optimizer, learning_rate(cfg, step))
            episode = next(episodes)  # T_i ~ p(T): D_train and D_test
            logits = answer(episode)  # phi_i <- f_theta(D_train), then D_test from phi_i; never sees y_test
            loss = tasks.loss(logits, episode)  # sum_i L(phi_i, D_test)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = clip(model, cfg)
            optimizer.step()  # theta
            step += 1

            with torch.no_grad():
                meter.add(loss, tasks.score(logits, episode)["accuracy"].mean(), norm, cfg.batch)
            last = step == cfg.steps or bool(stop.code)
            save, validate = last or every(cfg.checkpoint_every, step), step == cfg.steps or every(cfg.eval_every, step)
            line = last or validate or every(cfg.log_every, step)
            progress.step()
            pace.review(progress.say)
            if not (line or save or progress.due()):
                continue
            record: dict[str, Any] = meter.read(step)  # finds what is not finite, before any of it is kept
            progress.show(record)
            if validate:
                record["val"] = evaluate(model, tasks, "val", cfg.eval_tasks, device).means()
                if better(tasks, record["val"][tasks.metric], best):
                    best = record["val"][tasks.metric]
                    checkpoint.save(rundir.best, recipe, step, best, model)
                progress.validated(step, record["val"], tasks)
            if line:
                seconds, rate = round(time.monotonic() - began, 2), learning_rate(cfg, step - 1)
                record = {"step": step, "seconds": seconds, "lr": rate, "threads": pace.threads.count, **record}
                rundir.log(record)
                if writer:
                    to_tensorboard(writer, record)
            if save:
                checkpoint.save(rundir.last, recipe, step, best, model, optimizer)
            if line:
                meter.take()
    return Outcome(rundir.path, step, tasks.metric, best, time.monotonic() - began, stop.code)


def trial(model: nn.Module, tasks: Tasks, recipe: Recipe, device: torch.device) -> Callable[[], object] | None:
    """A training step on a copy of the model, to find the number of threads by; None where the CPU does not train."""
    if device.type != "cpu":
        return None

    def step() -> None:
        with torch.random.fork_rng(devices=[]):
            twin, episode = copy.deepcopy(model).train(), tasks.batch("train", 0, recipe.train.batch)
            tasks.loss(twin(episode), episode).backward()

    return step


def captures(recipe: Recipe, model: MetaLearner, device: torch.device) -> bool:
    """Whether the model's passes are to be recorded as CUDA graphs.

    Raises:
        UsageError: they are, but not on a GPU, or the model cannot be.
    """
    if recipe.train.capture and (device.type != "cuda" or not model.capturable):
        where = "needs a CUDA device" if device.type != "cuda" else f"{recipe.model.name} waits for the lengths"
        raise UsageError(f"train.capture: {where}", "leave it out")
    return recipe.train.capture


def every(period: int, step: int) -> bool:
    """Whether something that happens every `period` steps (0: never) happens at `step`."""
    return period > 0 and step % period == 0


def better(tasks: Tasks, score: float, best: float | None) -> bool:
    """Whether a validation score beats the best so far."""
    return best is None or (score > best if tasks.maximise else score < best)


def reopen(path: Path, recipe: Recipe) -> RunDir:
    """The run directory at `path`, if the same recipe made it.

    Raises:
        UsageError: it is no run directory, or the recipe differs; names every key that does.
    """
    rundir, before = RunDir.reopen(path)
    old, new = flat(before.as_dict()), flat(recipe.as_dict())
    changed = [f"{k}: {old.get(k)} in the run, {new.get(k)} now" for k in sorted(old | new) if old.get(k) != new.get(k)]
    if changed:
        raise UsageError("\n".join([f"{path} was made by another recipe", *changed]), f"metacli train --resume {path}")
    return rundir


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary as one level of dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def restore(rundir: RunDir, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float | None]:
    """Load the run's last checkpoint into model and optimiser: (step, best score). Without one: from the start."""
    if not rundir.last.is_file():
        rundir.rewind(0)
        return 0, None
    saved = checkpoint.load(rundir.last)
    model.load_state_dict(saved.model)
    if saved.optimizer is None:
        raise MetacliError(f"{rundir.last}: holds no optimiser state, so training cannot go on from it")
    optimizer.load_state_dict(saved.optimizer)
    rundir.rewind(saved.step)
    return saved.step, saved.best


def tensorboard(path: Path) -> Any:
    """A TensorBoard writer into the run directory.

    Raises:
        MetacliError: the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MetacliError("tensorboard is not installed", "pip install 'metacli[tensorboard]'") from None
    return SummaryWriter(str(path))


def to_tensorboard(writer: Any, record: dict[str, Any]) -> None:
    """Write one line of the log as scalars."""
    for key, value in flat(record).items():
        if key != "step" and isinstance(value, float):
            writer.add_scalar(key.replace(".", "/"), value, record["step"])
    writer.flush()
