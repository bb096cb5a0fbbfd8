"""What training works on: the tasks, the model, its optimizer, and what computes them."""

from __future__ import annotations

import io
from dataclasses import dataclass
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
    """What one update of theta computed.

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
    """What training works on.

    Attributes:
        recipe: the recipe.
        tasks: p(T); the data of its splits train and val exist and suffice.
        provenance: the classes of the tasks, and a digest of their data.
        model: f_theta, on its device.
        optimizer: over all its parameters.
        device: where the model computes.
        processes: the processes that train together.
        threads: CPU threads.
        scan: how the model runs through a sequence, and why; None for a model with one way only.
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
        """Seed the random generators, then build what the recipe names.

        Args:
            threads: CPU threads; None measures which number is fastest.
            previous_threads: of a resumed run, which keeps them unless they have become slow.

        Raises:
            UsageError: the data do not suffice, the model lacks what `train` asks for, or a step has fewer tasks than
                there are processes.
            MetacliError: the data or TensorBoard are missing, or memory cannot suffice.
        """
        if recipe.train.tensorboard:
            check_tensorboard()
        if recipe.train.batch < processes.size:
            message = f"train.batch: {recipe.train.batch} tasks for {processes.size} processes"
            raise UsageError(message, "start fewer of them")
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
            for split in ("train", "val"):  # missing or insufficient data are found before a run directory is made
                tasks.batch(split, 0, 1)
        provenance = Provenance.of(tasks)
        processes.check_same("data", provenance.digest, "every machine needs the same: METACLI_DATA, task.root")
        trial = training_step(model, tasks, own_tasks, device)
        chosen = compute_threads.choose_threads(threads, trial, previous_threads)
        return cls(recipe, tasks, provenance, model, optimizer, device, processes, chosen, scan)

    @property
    def precision(self) -> tuple[str, str]:
        """The precision of convolutions in training and the reason for it; `float32` and '' without convolutions."""
        choice = self.model.encoder.training_precision(self.device)
        return ("float32", "") if choice is None else (str(choice[0]).removeprefix("torch."), choice[1])

    @property
    def environment(self) -> dict[str, Any]:
        """Returns what the result depends on besides the recipe: versions, device, threads, precision, data."""
        facts = environment(self.device, self.threads, self.precision[0], self.scan)
        return facts | {"data": self.provenance.digest}

    def broadcast_from_first(self) -> None:
        """Copy weights, optimizer state and random state of the first process, which may have read them, to all."""
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
