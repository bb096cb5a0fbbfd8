"""Estimate the memory and time of a training run by building it and timing a few steps. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metacli.checkpoints.held_out import check_splits
from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.models.distributed import make_local
from metacli.runs.directory import check_unused
from metacli.system import peak_memory
from metacli.tasks.base import SPLITS
from metacli.training.data_parallel import align_batch
from metacli.training.loop import train_step
from metacli.training.progress import Progress
from metacli.training.state import TrainState
from metacli.training.warm_start import WarmStart, frozen_encoder_warning

TIMED_STEPS = 5  # spread over the run, because the sequences of a curriculum grow


def dry_run(
    recipe: Recipe,
    run_dir: Path | None,
    device: torch.device,
    progress: Progress,
    threads: int | None = None,
    init: WarmStart | None = None,
) -> dict[str, Any]:
    """Estimates the memory in bytes and the time in seconds of a run.

    Args:
        run_dir, threads, init: as for `metacli.training.loop.train`.

    Returns:
        `recipe`, every key; `tasks`, a description; `classes`, names by split, empty for generated tasks; `device`,
        `threads`, `precision`, `scan`; `parameters`, in `total` and `by_part`; `episode`, the shapes of the largest
        batch that was tried; `memory`, counted, except for `activations`: what a step adds at its peak, measured, None
        if the system does not tell; `time` of a step and of all steps, without validations; `baseline`, the scores at
        chance level.

    Raises:
        UsageError: `run_dir` exists, the data are insufficient, the splits overlap, or the weights of the warm start do
            not fit.
        MetacliError: the data are missing.
    """
    if run_dir:
        check_unused(run_dir)
    init = init or WarmStart.from_recipe(recipe)
    state = TrainState.build(recipe, device, threads=threads)
    progress.print_lines(*check_splits(state.tasks), *frozen_encoder_warning(recipe, init))
    if init:
        progress.print_lines(*init.check_held_out(state.tasks))
        init.load_into(state.model, state.tasks, state.provenance)
    make_local(state.model)  # one of the batches is smaller than the recipe's
    progress.print_hardware(state)
    progress.print_fact("tasks", state.tasks.describe())
    steps = [round(i * (recipe.train.steps - 1) / (TIMED_STEPS - 1)) for i in range(TIMED_STEPS)]
    largest = max((_sample(state, step) for step in steps), key=lambda e: e.x_train.numel() + e.x_test.numel())
    return {
        "recipe": recipe.as_dict(),
        "tasks": state.tasks.describe(),
        "classes": {split: sorted(names) for split in SPLITS if (names := state.tasks.class_digests(split))},
        "device": str(device),
        "threads": state.threads.count,
        "precision": state.precision[0],
        "scan": state.scan,
        "parameters": {"total": _count(state.model), "by_part": _count_by_part(state.model)},
        "episode": {name: list(tensor.shape) for name, tensor in _tensors(largest).items()},
        "memory": _measure_memory(state, largest),
        "time": _measure_time(state, steps),
        "baseline": state.tasks.baseline,
    }


def _measure_memory(state: TrainState, episode: Episode) -> dict[str, int | None]:
    small_batch = state.tasks.batch("train", 0, min(2, state.recipe.train.batch))
    _take_step(state, small_batch)  # compiles, and creates the optimizer's state, without the memory of a whole batch
    state.optimizer.zero_grad(set_to_none=True)
    rise = peak_memory.measure_increase(lambda: _take_step(state, episode), state.device)
    gradients = _bytes(p.grad for p in state.model.parameters() if p.grad is not None)
    moments = [value for values in state.optimizer.state.values() for value in values.values()]
    return {
        "parameters": _bytes([*state.model.parameters(), *state.model.buffers()]),
        "optimizer": _bytes(value for value in moments if isinstance(value, Tensor)),
        "gradients": gradients,
        "batch": _bytes(_tensors(episode).values()),
        "activations": None if rise is None else max(0, rise - gradients),
    }


def _measure_time(state: TrainState, steps: list[int]) -> dict[str, Any]:
    start = time.perf_counter()
    for step in steps:
        _take_step(state, _sample(state, step))
    if state.device.type == "cuda":
        torch.cuda.synchronize(state.device)
    seconds = (time.perf_counter() - start) / len(steps)
    total = seconds * state.recipe.train.steps
    return {"timed_steps": len(steps), "seconds_per_step": seconds, "steps_per_second": 1 / seconds, "seconds": total}


def _take_step(state: TrainState, episode: Episode) -> None:
    train_step(state, align_batch(state, episode), 0)


def _sample(state: TrainState, step: int) -> Episode:
    batch = state.recipe.train.batch
    return state.tasks.batch("train", step * batch, batch)


def _tensors(episode: Episode) -> dict[str, Tensor]:
    values = {field.name: getattr(episode, field.name) for field in fields(episode)}
    return {name: value for name, value in values.items() if value is not None}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _count_by_part(model: nn.Module) -> dict[str, int]:
    """Returns the number of parameters of each part of a model. `itself` counts those outside all parts."""
    counts = {name: _count(part) for name, part in model.named_children()}
    counts["itself"] = _count(model) - sum(counts.values())
    return {name: count for name, count in counts.items() if count}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
