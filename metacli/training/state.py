"""The state of training: tasks, model, optimizer, and the hardware that computes them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metacli.checkpoints.provenance import Provenance
from metacli.checkpoints.restore import get_random_states
from metacli.compute import threads as compute_threads
from metacli.compute.device import environment, set_up_torch
from metacli.compute.processes import SINGLE_PROCESS, Processes
from metacli.compute.threads import Threads
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.models.distributed import make_distributed
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from metacli.training import memory_forecast
from metacli.training.optimizer import make_optimizer
from metacli.training.tensorboard import check_tensorboard
from metacli.training.thread_trials import training_step


class Update(NamedTuple):
    """The results of one update of theta.

    Attributes:
        loss: () the mean over all answers.
        score: () the mean over all tasks of the headline score.
        norm: () the norm of the gradient.
    """

    loss: Tensor
    score: Tensor
    norm: Tensor


@dataclass(frozen=True)
class TrainState:
    """The tasks, the model, the optimizer and the hardware of a training run.

    Attributes:
        recipe: the recipe, with every choice of the tasks that depends on the data, see `Tasks.resolve_config`.
        tasks: p(T). The data of its splits train and val are complete.
        provenance: the classes of the tasks, and a digest of their data.
        model: f_theta, on its device.
        optimizer: the optimizer of all its parameters.
        device: the device of the model.
        processes: the processes that train together.
        threads: CPU threads.
        scan: how the model computes a sequence, and why; None for a model without a choice.
    """

    recipe: Recipe
    tasks: Tasks
    provenance: Provenance
    model: Any
    optimizer: torch.optim.Optimizer
    device: torch.device
    processes: Processes
    threads: Threads
    scan: str | None

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        device: torch.device,
        processes: Processes = SINGLE_PROCESS,
        threads: int | None = None,
        previous_threads: int | None = None,
    ) -> TrainState:
        """Seed the random generators, then build the tasks, the model and the optimizer of a recipe.

        Args:
            threads: number of CPU threads; None measures which number is fastest.
            previous_threads: the number of a resumed run, which is kept unless it has become slow.

        Raises:
            UsageError: the data are insufficient, the model does not support a setting of `train`, or there are more
                processes than tasks per step.
            MetacliError: the data or TensorBoard are missing, or memory is insufficient.
        """
        if recipe.train.tensorboard:
            check_tensorboard()
        if recipe.train.batch < processes.size:
            message = f"train.batch is {recipe.train.batch}, less than the {processes.size} processes"
            raise UsageError(message, "increase train.batch, or start fewer processes")
        own_tasks = len(processes.share(recipe.train.batch))
        with processes.local_first():
            set_up_torch(recipe.seed)
            tasks: Tasks = build(TASKS, recipe.task, recipe.seed)
            memory_forecast.check_training(recipe, tasks, device, own_tasks)
            model = build(MODELS, recipe.model, tasks.spec).to(device)
            make_distributed(model, processes, recipe.train.batch, recipe.train.batch_norm)
            if not recipe.train.encoder_rate:
                model.encoder.freeze()
            scan = model.use_scan(recipe.train.scan, device)
            optimizer = make_optimizer(model, recipe.train)
            for split in ("train", "val"):  # find missing data before the run directory is created
                tasks.batch(split, 0, 1)
            recipe = replace(recipe, task=tasks.resolve_config())
        provenance = Provenance.of(tasks)
        processes.check_same(
            "data", provenance.digest, "every machine needs the same data, see METACLI_DATA and task.root"
        )
        trial = training_step(model, tasks, own_tasks, device)
        chosen = compute_threads.choose_threads(threads, trial, previous_threads)
        return cls(recipe, tasks, provenance, model, optimizer, device, processes, chosen, scan)

    @property
    def precision(self) -> tuple[str, str]:
        """The precision of convolutions in training and its reason; `float32` and '' without convolutions."""
        choice = self.model.encoder.training_precision(self.device)
        return ("float32", "") if choice is None else (str(choice[0]).removeprefix("torch."), choice[1])

    @property
    def environment(self) -> dict[str, Any]:
        """What the result depends on besides the recipe: versions, device, threads, precision, data."""
        facts = environment(self.device, self.threads, self.precision[0], self.scan)
        return facts | {"data": self.provenance.digest}

    def broadcast_from_first(self) -> None:
        """Copy the weights, the optimizer state and the random state of the first process to all others."""
        if self.processes.size == 1:
            return
        buffer = io.BytesIO()
        if self.processes.is_first:
            weights, moments, random = self.model.state_dict(), self.optimizer.state_dict(), get_random_states()
            torch.save({"model": weights, "optimizer": moments, "random": random._asdict()}, buffer)
        content = self.processes.broadcast(buffer.getvalue())
        if self.processes.is_first:
            return
        states = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        self.model.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        torch.set_rng_state(states["random"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states["random"]["cuda"][0], self.device)
