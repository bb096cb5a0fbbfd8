"""What a training would take, found by building all of it and taking a few steps, with nothing written.

Sizes are counted. Memory is measured by the system's own count, of one step. Time is an estimate: a few steps and a
few validation tasks are timed here and now, over batches from all over the run, as sequences may differ and grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metacli.checkpoints.provenance import Provenance
from metacli.compute import threads
from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.evaluation.evaluate import CHUNK, evaluate
from metacli.models.distributed import make_local
from metacli.runs.directory import refuse_taken
from metacli.system import peak_memory
from metacli.tasks.base import SPLITS
from metacli.training import prefetch
from metacli.training.data_parallel import agree
from metacli.training.loop import update
from metacli.training.progress import Progress, validations
from metacli.training.state import Parts, assemble
from metacli.training.thread_trials import training_step
from metacli.training.warm_start import Initial, odd

_SECONDS, _FEWEST, _MOST = 5.0, 3, 50  # of the steps that are timed: for about so long, and how many
_LOOKED = 4  # batches of which the largest is the one that memory is measured with
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly however many there are


def rehearse(
    recipe: Recipe,
    run: Path | None,
    device: torch.device,
    progress: Progress,
    wanted: int | None = None,
    init: Initial | None = None,
) -> dict[str, Any]:
    """Build what the recipe says and try it: sizes, memory and time as plain values, bytes and seconds.

    Args:
        run: where a run would be written; None for a place that is found to be free.
        wanted: how many threads to compute with; None for as many as help.
        init: the weights that the run would begin from, as `train` takes them.

    Returns:
        `recipe`, every key; `tasks`, in a line; `classes`, names by split, empty for generated tasks; `device`,
        `threads`, `precision`, `scan`; `parameters`, of the whole model and `by_part`; `episode`, the shapes of a
        batch, the largest of those looked at; `memory` in bytes, where `activations` (what a step's peak adds to
        gradients and all before it, scratch included) and `process` (all of this process at that peak) are None where
        the system does not tell; `time`, where a validation is scaled from `validation_tasks` timed; `guessing`, the
        scores to beat.

    Raises:
        UsageError: `run` exists, the data are too few for the tasks, the model has not what `train` asks for, or the
            weights to begin from do not fit.
        MetacliError: the data are absent.
    """
    if run:
        refuse_taken(run)
    given = init or Initial.wanted_by(recipe)  # so that what is wrong with it is told first
    parts = assemble(recipe, device)
    make_local(parts.model)  # some of the batches here are smaller than the recipe's
    progress.say(*odd(recipe, given))
    if given:
        given.load_into(parts.model, parts.tasks, Provenance.of(parts.tasks))
    choice = threads.choose(wanted, training_step(parts.model, parts.tasks, recipe.train.batch, device))
    precision = progress.machine(parts.model, device, choice, parts.scan)
    numbers = _numbers(recipe.train.steps)
    episode = max((_batch(parts, next(numbers)) for _ in range(_LOOKED)), key=_items)
    memory = _memory(parts, episode, device)
    beside = prefetch.has_core(device, choice.count)
    progress.tell("tasks", parts.tasks.describe())
    return {
        "recipe": recipe.as_dict(),
        "tasks": parts.tasks.describe(),
        "classes": {split: names for split in SPLITS if (names := sorted(parts.tasks.class_marks(split)))},
        "device": str(device),
        "threads": choice.count,
        "precision": precision,
        "scan": parts.scan,
        "parameters": {"total": _count(parts.model), "by_part": _by_part(parts.model)},
        "episode": {name: list(tensor.shape) for name, tensor in _tensors(episode).items()},
        "memory": {**memory, "batches_at_once": 1 + prefetch.AHEAD * beside},
        "time": _time(parts, numbers, device, beside),
        "guessing": parts.tasks.baseline,
    }


def _memory(parts: Parts, episode: Episode, device: torch.device) -> dict[str, int | None]:
    """Bytes: counted, but for `activations` and `process`, which are measured."""
    few = parts.tasks.batch("train", 0, min(2, parts.recipe.train.batch))
    episode = episode.to(device)
    _step(parts, few, device)  # loads, compiles and makes the optimiser's state, none of which is the step's
    parts.optimizer.zero_grad(set_to_none=True)
    step = peak_memory.rise(lambda: _step(parts, episode, device), device)
    gradients = _bytes(p.grad for p in parts.model.parameters() if p.grad is not None)
    state = [t for of_one in parts.optimizer.state.values() for t in of_one.values() if isinstance(t, Tensor)]
    return {
        "parameters": _bytes([*parts.model.parameters(), *parts.model.buffers()]),
        "optimizer": _bytes(state),
        "batch": _bytes(_tensors(episode).values()),
        "gradients": gradients,
        "activations": None if step is None else max(0, step - gradients),
        "process": peak_memory.resident(),
    }


def _time(parts: Parts, numbers: Iterator[int], device: torch.device, beside: bool) -> dict[str, Any]:
    """Seconds of a step and of a validation, timed, and of the whole run, foretold."""
    cfg, sampling, stepping = parts.recipe.train, [], []  # type: ignore[var-annotated]
    began = time.perf_counter()
    while len(stepping) < _FEWEST or (len(stepping) < _MOST and time.perf_counter() - began < _SECONDS):
        number = next(numbers)
        episode, seconds = _timed(lambda: _batch(parts, number), device)  # noqa: B023
        sampling.append(seconds)
        stepping.append(_timed(lambda: _step(parts, episode, device), device)[1])  # noqa: B023
    sample, step = (sum(times) / len(times) for times in (sampling, stepping))
    whole = max(sample, step) if beside else sample + step
    tried = min(cfg.eval_tasks, CHUNK)
    asked: Callable[[], object] = lambda: evaluate(parts.model, parts.tasks, "val", tried, device)  # noqa: E731
    asked()
    validation = _timed(asked, device)[1] * cfg.eval_tasks / tried
    return {
        "timed_steps": len(stepping),
        "seconds_per_step": whole,
        "seconds_sampling": sample,
        "sampled_beside_the_step": beside,
        "steps_per_second": 1 / whole,
        "validations": validations(cfg),
        "validation_tasks": tried,
        "seconds_per_validation": validation,
        "seconds": cfg.steps * whole + validations(cfg) * validation,
    }


def _step(parts: Parts, episode: Episode, device: torch.device) -> None:
    """An update and the score that a run keeps of it."""
    update(parts, agree(parts.processes, parts.tasks, episode, 0), 0, device)


def _timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """What `work` returns and the seconds that it takes, those of a GPU included."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return result, time.perf_counter() - start


def _numbers(steps: int) -> Iterator[int]:
    """Numbers of steps, from 0, spread over the run however many are taken."""
    i = 0
    while True:
        yield int(i * _GOLDEN % 1 * steps)
        i += 1


def _batch(parts: Parts, number: int) -> Episode:
    size = parts.recipe.train.batch
    return parts.tasks.batch("train", number * size, size)


def _items(episode: Episode) -> int:
    return episode.x_train.numel() + episode.x_test.numel()


def _tensors(episode: Episode) -> dict[str, Tensor]:
    every = {field.name: getattr(episode, field.name) for field in fields(episode)}
    return {name: tensor for name, tensor in every.items() if tensor is not None}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _by_part(model: nn.Module) -> dict[str, int]:
    """Parameters of each part of a model that has any; `itself` for those that stand in none."""
    found = {name: _count(part) for name, part in model.named_children()}
    found["itself"] = _count(model) - sum(found.values())
    return {name: count for name, count in found.items() if count}


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
