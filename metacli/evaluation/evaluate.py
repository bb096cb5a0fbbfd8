"""Answer many tasks of a split from phi alone, and keep the score of every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from metacli.checkpoints.checkpoint import Checkpoint
from metacli.checkpoints.held_out import check_held_out, training_poses
from metacli.checkpoints.provenance import Provenance, TrainingClasses
from metacli.compute.processes import SINGLE_PROCESS, Processes
from metacli.config.overrides import apply_overrides, held_out_seed
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.episode import Spec
from metacli.errors import UsageError
from metacli.evaluation.answers import count_answers, join_counts
from metacli.evaluation.confidence import mean_ci95
from metacli.evaluation.logits import compute_output
from metacli.evaluation.orders import OrderAverage
from metacli.registry import TASKS, build, resolve
from metacli.system import terminal
from metacli.tasks.base import Split, Tasks
from metacli.tasks.metrics import Metric, format_score

CHUNK = 25  # tasks in one forward pass; every task's score is the same whatever this is


@dataclass(frozen=True)
class Scores:
    """Scores of n tasks.

    Attributes:
        index: (n,) episode numbers.
        classes: names of the classes of each task, in the order of their labels; empty without classes.
        values: name to (n,) scores, or (n, k) curves with NaN where a task has no value.
        metric: the first metric of the tasks.
        answers: see `metacli.evaluation.answers.count_answers`; None if answers are not classes.
        orders: the number of orders of the support set that every answer is averaged over.
    """

    index: np.ndarray
    classes: list[list[str]]
    values: dict[str, np.ndarray]
    metric: Metric
    answers: np.ndarray | None = None
    orders: int = 1

    @property
    def mean(self) -> float:
        """The mean of `metric` over tasks; a share is from 0 to 1."""
        return mean_ci95(self.values[self.metric.name])[0]

    @property
    def ci95(self) -> float:
        """Half the width of the 95 % interval of the mean over tasks, by Student's t; see `mean_ci95`."""
        return mean_ci95(self.values[self.metric.name])[1]

    def means(self) -> dict[str, float]:
        """The mean over tasks of every score that is one number."""
        return {name: float(v.mean()) for name, v in self.values.items() if v.ndim == 1}

    def __len__(self) -> int:
        """n, the number of tasks."""
        return len(self.index)

    def __str__(self) -> str:
        """As in `accuracy 96.1 % ± 0.3 over 500 tasks`."""
        score = self.metric.score(self.mean, self.ci95, len(self))
        orders = f", averaged over {self.orders} orders" if self.orders > 1 else ""
        return f"{self.metric.label} {format_score(score)} over {len(self):,} tasks{orders}"


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tasks: Tasks,
    split: Split,
    count: int,
    device: torch.device,
    advance: Callable[[int], object] = lambda n: None,
    processes: Processes = SINGLE_PROCESS,
) -> Scores:
    """Scores the first `count` tasks of a split, in eval mode (batch norm uses its running statistics).

    Args:
        model: a model, or the result of `metacli.evaluation.orders.average_over_orders`.
        tasks: p(T). The model reads their labels in the form that it was trained with, see `Tasks.with_labels`.
        advance: called with the number of tasks done since the last call, in all processes.
        processes: the processes that share the tasks, chunk by chunk. Each of them returns all scores, which equal
            those of a single process bit for bit.
    """
    model.eval()
    spec: Any = model.spec
    tasks, results = tasks.with_labels(spec.random_labels), []
    for first in range(processes.rank * CHUNK, count, processes.size * CHUNK):
        episode = tasks.batch(split, first, min(CHUNK, count - first)).to(device, next(model.parameters()).dtype)
        output = compute_output(model, episode).float()
        scores = tasks.score(output, episode)
        values = {name: value.cpu().double().numpy() for name, value in scores.items()}
        classes = [] if episode.classes is None else [tasks.class_names(row) for row in episode.classes.cpu()]
        answers = count_answers(tasks.logits(output, episode), episode, tasks.answer)
        results.append((first, episode.index.cpu().numpy(), classes, values, answers))
        advance(min(processes.size * CHUNK, count - first))
    ordered = sorted(chain(*processes.gather(results)), key=lambda chunk: chunk[0])
    _, index, named, chunks, counts = zip(*ordered, strict=True)
    joined = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    orders = model.orders if isinstance(model, OrderAverage) else 1
    return Scores(np.concatenate(index), list(chain(*named)), joined, tasks.metrics[0], join_counts(counts), orders)


def build_eval_tasks(checkpoint: Checkpoint, overrides: list[str], split: Split = "test") -> tuple[Recipe, Tasks]:
    """The checkpoint's tasks, with overrides, and their recipe.

    A new `task.name` keeps the keys that both kinds of tasks have.

    Raises:
        UsageError: a key that is not the task's, tasks that the model cannot answer, or held-out tasks over classes
            that were in the model's training.
    """
    wrong = [o for o in overrides if not o.startswith(("task.", "seed="))]
    if wrong:
        belongs_to_task = wrong[0].partition("=")[0] in type(checkpoint.recipe.task).model_fields
        suggestion = f", did you mean task.{wrong[0]}?" if belongs_to_task else ""
        hint = "only task.KEY=VALUE and seed=VALUE can change at evaluation"
        raise UsageError(f"{wrong[0]!r} is no key of the tasks{suggestion}", hint)
    tree = checkpoint.recipe.as_dict()
    renamed = [o.partition("=")[2] for o in overrides if o.startswith("task.name=")]
    if renamed:
        keys = resolve(TASKS, renamed[-1], "task").Config.model_fields
        tree["task"] = {k: v for k, v in tree["task"].items() if k in keys}
    recipe = recipe_from_dict(apply_overrides(tree, overrides), "eval")
    tasks: Tasks = build(TASKS, recipe.task, recipe.seed, held_out_seed(overrides))
    check_answerable(checkpoint, tasks, split)
    if not overrides:
        for change in checkpoint.provenance.changes(Provenance.of(tasks)):
            terminal.print_to_stderr(f"note: the data have changed since training: {change}")
    return recipe, tasks


def check_answerable(checkpoint: Checkpoint, tasks: Tasks, split: Split) -> None:
    """Raise a UsageError where a checkpoint's model cannot answer these tasks, or was trained on their classes."""
    check_compatible(checkpoint.recipe, tasks)
    check_classes_held_out(checkpoint, tasks, split)


def check_classes_held_out(checkpoint: Checkpoint, tasks: Tasks, split: Split) -> None:
    """Raise a UsageError where a checkpoint was trained on classes of the tasks. Warnings go to stderr."""
    for classes in trained_classes(checkpoint):
        terminal.print_to_stderr(*check_held_out(classes, tasks, split, training_poses(checkpoint.recipe.task)))


def trained_classes(checkpoint: Checkpoint) -> list[TrainingClasses]:
    """The classes that a checkpoint's weights were trained on, by this run and by those that it started from."""
    return [checkpoint.provenance.trained, *checkpoint.provenance.initialised_from]


def trained_spec(recipe: Recipe) -> Spec:
    """Returns the spec of the tasks of a recipe."""
    return resolve(TASKS, recipe.task.name, "task").spec_of(recipe.task)


def check_compatible(trained: Recipe, tasks: Tasks) -> None:
    """Raise a UsageError where a model that was trained by a recipe cannot answer these tasks."""
    check_spec(trained_spec(trained), tasks)
    trained_answer = resolve(TASKS, trained.task.name, "task").answer_of(trained.task)
    if reason := tasks.answer.check_compatible(trained_answer):
        raise UsageError(reason, "use the tasks of its training, or fewer ways; or train a recipe for these tasks")


def check_spec(trained: Spec, tasks: Tasks) -> None:
    """Raise a UsageError if a model that was trained on tasks of another spec cannot read these."""
    if trained.mode != tasks.spec.mode:
        raise UsageError(f"the model was trained on tasks of the mode {trained.mode!r}, not {tasks.spec.mode!r}")
    if trained.x_shape != tasks.spec.x_shape:
        shapes = f"{trained.x_shape}, but these tasks have inputs of shape {tasks.spec.x_shape}"
        raise UsageError(f"the model reads inputs of shape {shapes}")
    if trained.random_labels != tasks.spec.random_labels:
        labels, asked = ("embedded" if spec.random_labels else "one-hot" for spec in (trained, tasks.spec))
        message = f"the model was trained with {labels} labels, but these tasks have {asked} labels"
        raise UsageError(message, f"set task.labels={labels}")
