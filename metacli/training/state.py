"""What a recipe becomes: its tasks, its model, its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metacli.compute.device import prepare
from metacli.compute.processes import SINGLE_PROCESS, Processes
from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.models.distributed import make_distributed
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from metacli.training import memory_forecast
from metacli.training.capture import Captured, captures
from metacli.training.data_parallel import check_batch
from metacli.training.optimizer import make_optimizer
from metacli.training.tensorboard import need_tensorboard


class Parts(NamedTuple):
    """What a recipe's training works with.

    Attributes:
        recipe: it.
        tasks: p(T); the data of its splits train and val are there, and enough.
        model: f_theta, on its device.
        answer: the model, or its recorded passes; see `capture`.
        optimizer: of all its parameters.
        scan: how the model runs through a sequence and why; None without a choice.
        processes: the processes that train together.
    """

    recipe: Recipe
    tasks: Tasks
    model: Any
    answer: Callable[[Episode], Tensor]
    optimizer: torch.optim.Optimizer
    scan: str | None
    processes: Processes


class Update(NamedTuple):
    """What one update of theta was made of.

    Attributes:
        loss: () the mean over all answers.
        score: () the mean over all tasks of the headline score.
        norm: () of the gradient.
    """

    loss: Tensor
    score: Tensor
    norm: Tensor


def assemble(recipe: Recipe, device: torch.device, processes: Processes = SINGLE_PROCESS) -> Parts:
    """Seed, and build what the recipe names.

    Raises:
        UsageError: the data are too few for the tasks, or the model has not what `train` asks for, or a step has fewer
            tasks than there are processes.
        MetacliError: the data are absent, or TensorBoard is, which the recipe asks for; or memory cannot suffice.
    """
    if recipe.train.tensorboard:
        need_tensorboard()
    check_batch(recipe, processes)
    prepare(recipe.seed)
    tasks: Tasks = build(TASKS, recipe.task, recipe.seed)
    memory_forecast.check_training(recipe, tasks, device, len(processes.share(recipe.train.batch)))
    model = build(MODELS, recipe.model, tasks.spec).to(device)
    make_distributed(model, processes, recipe.train.batch)
    if not recipe.train.encoder_rate:
        model.encoder.freeze()
    scan = model.use_scan(recipe.train.scan, device)
    answer = Captured(model) if captures(recipe, model, device) else model
    optimizer = make_optimizer(model, recipe.train)
    for split in ("train", "val"):  # data that is absent or too small is found before a run directory is made
        tasks.batch(split, 0, 1)
    return Parts(recipe, tasks, model, answer, optimizer, scan, processes)
