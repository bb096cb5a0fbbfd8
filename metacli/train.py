"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metacli import checkpoint
from metacli.errors import MetacliError, UsageError
from metacli.evaluate import evaluate
from metacli.progress import Progress
from metacli.recipe import Recipe, TrainConfig
from metacli.registry import MODELS, TASKS, build
from metacli.rundir import RunDir
from metacli.runtime import StopSignal, environment, prepare
from metacli.tasks.base import Tasks


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


def train(recipe: Recipe, run: Path | None, resume: Path | None, device: torch.device, progress: Progress) -> Outcome:
    """Train by the recipe, or go on with the run at `resume`, to the same weights as if it had never stopped.

    Raises:
        UsageError: `run` exists, or `resume` was made by another recipe.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
    """
    prepare(recipe.seed)
    tasks: Tasks = build(TASKS, recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec).to(device)
    optimizer = make_optimizer(model, recipe.train)
    for split in ("train", "val"):  # data that is absent or too small is found before a run directory is made
        tasks.batch(split, 0, 1)
    start, best = 0, None
    if resume:
        rundir = reopen(resume, recipe)
        start, best = restore(rundir, model, optimizer)
    else:
        rundir = RunDir.create(run, recipe, environment(device))
    progress.begin(recipe, tasks, model, rundir.path, start)
    writer = tensorboard(rundir.path) if recipe.train.tensorboard else None
    began, cfg, step = time.monotonic(), recipe.train, start
    meter = Meter()
    with StopSignal() as stop, progress:
        while step < cfg.steps and not stop.code:
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(cfg, step)
            episode = tasks.batch("train", step * cfg.batch, cfg.batch).to(device)  # T_i ~ p(T)
            phi = model.adapt(episode.x_train, episode.y_train, episode.mask_train)  # phi_i <- f_theta(D_train)
            logits = model.predict(phi, episode.x_test, episode.y_late)  # never sees y_test
            loss = tasks.loss(logits, episode)  # sum_i L(phi_i, D_test)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = clip(model, cfg)
            if not (math.isfinite(loss.item()) and math.isfinite(norm)):
                raise diverged(step + 1, loss.item(), norm, rundir)
            optimizer.step()
            step += 1

            with torch.no_grad():
                meter.add(loss.item(), tasks.score(logits, episode)["accuracy"].mean().item(), cfg.batch)
            progress.step(meter)
            due = step == cfg.steps or bool(stop.code)
            record: dict[str, Any] = {}
            if step % cfg.log_every == 0 or due:
                record = {**meter.take(), "lr": learning_rate(cfg, step - 1), "grad_norm": norm}
            if every(cfg.eval_every, step) or step == cfg.steps:
                scores = evaluate(model, tasks, "val", cfg.eval_tasks, device)
                record["val"] = scores.means()
                if better(tasks, record["val"][tasks.metric], best):
                    best = record["val"][tasks.metric]
                    checkpoint.save(rundir.best, recipe, step, best, model)
                progress.validated(step, record["val"], tasks)
            if record:
                record = {"step": step, "seconds": round(time.monotonic() - began, 2), **record}
                rundir.log(record)
                if writer:
                    to_tensorboard(writer, record)
            if every(cfg.checkpoint_every, step) or due:
                checkpoint.save(rundir.last, recipe, step, best, model, optimizer)
    return Outcome(rundir.path, step, tasks.metric, best, time.monotonic() - began, stop.code)


class Meter:
    """Means of loss, accuracy and speed since the last line of the log."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.loss = self.accuracy = 0.0
        self.steps = self.episodes = 0
        self.since = time.monotonic()

    def add(self, loss: float, accuracy: float, episodes: int) -> None:
        """Count one step."""
        self.loss += loss
        self.accuracy += accuracy
        self.steps += 1
        self.episodes += episodes

    def means(self) -> dict[str, float]:
        """`loss` (nats per answer), `accuracy` (0 to 1) and `episodes_per_s`."""
        elapsed = max(time.monotonic() - self.since, 1e-9)
        n = max(self.steps, 1)
        return {
            "loss": self.loss / n,
            "accuracy": self.accuracy / n,
            "episodes_per_s": round(self.episodes / elapsed, 2),
        }

    def take(self) -> dict[str, float]:
        """The means, and start anew."""
        means = self.means()
        self._reset()
        return means


def make_optimizer(model: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AdamW or RMSProp over all parameters."""
    if cfg.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            model.parameters(), cfg.lr, alpha=0.95, momentum=cfg.momentum, weight_decay=cfg.weight_decay
        )
    kind = torch.optim.Adam if cfg.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay)


def learning_rate(cfg: TrainConfig, step: int) -> float:
    """The rate of update `step` (from 0): a linear rise over `warmup`, then constant or half a cosine to 1 %."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    if cfg.schedule == "constant":
        return cfg.lr
    done = (step - cfg.warmup) / max(cfg.steps - cfg.warmup, 1)
    return cfg.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def clip(model: nn.Module, cfg: TrainConfig) -> float:
    """Clip the gradient by value, then by norm, as the recipe asks; the norm before the latter."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    if cfg.clip_value:
        nn.utils.clip_grad_value_(parameters, cfg.clip_value)
    return nn.utils.clip_grad_norm_(parameters, cfg.clip_norm or math.inf).item()


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


def diverged(step: int, loss: float, norm: float, rundir: RunDir) -> MetacliError:
    """The error of a loss or gradient that is not finite."""
    kept = f"; the last good checkpoint is {rundir.last}" if rundir.last.is_file() else ""
    message = f"step {step}: the loss is {loss} and the gradient's norm {norm}: training has diverged{kept}"
    return MetacliError(message, "try a smaller train.lr, train.clip_norm=1 or a longer train.warmup")


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
