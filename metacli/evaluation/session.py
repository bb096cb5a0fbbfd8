"""A trained model and tasks that it can answer: what every evaluation opens first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metacli.checkpoints import bundled
from metacli.checkpoints import checkpoint as checkpoints
from metacli.checkpoints.checkpoint import Checkpoint
from metacli.compute.device import choose_device, set_up_torch
from metacli.compute.processes import SINGLE_PROCESS, Processes, join
from metacli.compute.threads import Threads, choose_threads, parse_thread_count
from metacli.config.recipe import Recipe
from metacli.evaluation.compare import build_common_tasks
from metacli.evaluation.evaluate import CHUNK
from metacli.evaluation.logits import compute_output
from metacli.evaluation.memory_forecast import check_evaluation
from metacli.models.base import MetaLearner
from metacli.models.distributed import check_equal_weights
from metacli.system.terminal import print_facts
from metacli.tasks.base import Split, Tasks

_FEWEST_TASKS = 4 * CHUNK  # below it, measuring the speed of several thread counts costs more than it gains


@dataclass(frozen=True)
class Session:
    """Checkpoints, and the tasks of a split that all of them can answer.

    Attributes:
        checkpoints: those that were named, in their order.
        recipe: the first checkpoint's recipe, with the keys that were overridden.
        tasks: p(T) of this recipe.
        split: train, val or test.
        model: f_theta of the first checkpoint, on the device, in eval mode.
        device: where it computes.
        threads: the number of CPU threads, and the reason for it.
        processes: the processes that share the evaluation.
    """

    checkpoints: list[Checkpoint]
    recipe: Recipe
    tasks: Tasks
    split: Split
    model: MetaLearner
    device: torch.device
    threads: Threads
    processes: Processes

    @property
    def checkpoint(self) -> Checkpoint:
        """The first checkpoint."""
        return self.checkpoints[0]


def open_session(
    names: Sequence[str | Path],
    overrides: list[str],
    split: Split,
    n_tasks: int,
    device: str,
    threads: str,
    distributed: bool = False,
) -> Session:
    """Load checkpoints, build the tasks, choose device and threads, and print these choices on stderr.

    Args:
        names: checkpoint files, run directories or names of bundled models, at least one.
        overrides: `task.KEY=VALUE` or `seed=VALUE`, changes to the first checkpoint's tasks.
        split: the split that the tasks come from.
        n_tasks: how many tasks the models will answer.
        device: see `choose_device`.
        threads: a number or `auto`.
        distributed: whether the processes that torchrun started share the evaluation. All of them must call this.

    Raises:
        MetacliError: a checkpoint is missing or damaged, a model cannot answer the tasks or was trained on their
            classes, or the memory cannot suffice.
    """
    thread_count = parse_thread_count(threads)
    processes, chosen, reason = join(device) if distributed else (SINGLE_PROCESS, *choose_device(device))
    with processes.local_first():
        loaded = [checkpoints.load(bundled.find_checkpoint(name)) for name in names]
        recipe, tasks = build_common_tasks(loaded, overrides, split)
        set_up_torch(recipe.seed)
        model: Any = loaded[0].build_model().to(chosen)
        print_facts(device=reason, tasks=tasks.describe())
    check_equal_weights(processes, model)
    check_evaluation(model, tasks, split, min(n_tasks, CHUNK), chosen)
    used = choose_threads(thread_count, forward_pass(model, tasks, split, chosen, n_tasks))
    print_facts(threads=used)
    return Session(loaded, recipe, tasks, split, model, chosen, used, processes)


def forward_pass(
    model: MetaLearner, tasks: Tasks, split: Split, device: torch.device, n_tasks: int
) -> Callable[[], object] | None:
    """One forward pass, to measure thread counts with. None on a GPU, or for too few tasks to be worth measuring."""
    if n_tasks < _FEWEST_TASKS or device.type != "cpu":
        return None
    episode = tasks.batch(split, 0, CHUNK)

    def forward() -> None:
        with torch.no_grad():
            compute_output(model.eval(), episode)

    return forward
