"""From a recipe to a training step, by the same path as `metacli train`. The one place where our models are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from metacli.compute.device import set_up_torch
from metacli.config.recipe import Recipe, load_recipe
from metacli.config.train import TrainConfig
from metacli.episode import Episode
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from metacli.training.optimizer import clip_gradients, make_optimizer
from tests.bench.case import OURS, Side

# The rows of a model that can be run in more than one way: name -> further KEY=VALUE.
SCANS: dict[str, list[str]] = {OURS: [], "ours, plain scan": ["train.scan=plain"]}


@dataclass(frozen=True)
class Learner:
    """A recipe, built: its tasks, its model in training mode, and one fixed episode (a batch of `train.batch` tasks).

    Attributes:
        episode: sampled once, so that a step does not include sampling.
    """

    recipe: Recipe
    tasks: Tasks
    model: Any
    episode: Episode

    def step(self) -> TrainingStep:
        """The training step of this model on its episode."""
        return TrainingStep(self.model, self.recipe.train, lambda: self.loss(self.model, self.episode))

    def sampled_step(self) -> Callable[[], Any]:
        """The same, but each on new episodes, sampling included."""
        batch, drawn = self.recipe.train.batch, iter(range(10**9))

        def fresh() -> Tensor:
            return self.loss(self.model, self.tasks.batch("train", next(drawn) * batch, batch))

        return TrainingStep(self.model, self.recipe.train, fresh)

    def beside(self, model: Any, episode: Episode | None = None) -> TrainingStep:
        """The training step of a reference on this episode (or on part of it), its optimiser and clipping as ours."""
        asked = self.episode if episode is None else episode
        return TrainingStep(model, self.recipe.train, lambda: self.loss(model, asked))

    def loss(self, model: Any, episode: Episode) -> Tensor:
        """The training loss of what maps an episode to logits (B, Q, O)."""
        return self.tasks.loss(model(episode), episode)


class TrainingStep:
    """What the training loop does with an episode: forward, loss, backward, clipping, update. One call is one step.

    Args:
        model: whose parameters are trained.
        config: optimiser, rate and clipping.
        loss: computes the scalar to minimise, forward pass included.
    """

    def __init__(self, model: Any, config: TrainConfig, loss: Callable[[], Tensor]):
        self.model, self.config, self.loss = model.train(), config, loss
        self.optimizer = make_optimizer(model, config)

    def gradient(self) -> None:
        """Forward and backward alone."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()

    def __call__(self) -> None:
        """One update of theta."""
        self.gradient()
        clip_gradients(self.model, self.config)
        self.optimizer.step()


@lru_cache
def tasks_of(config: Any, seed: int) -> Tasks:
    """p(T) of a recipe's `task`; the same for all cases that share it, so that images are read once."""
    return build(TASKS, config, seed)


def learner(name: str, *overrides: str) -> Learner:
    """A shipped recipe with KEY=VALUE overrides, built; the same weights and episode whenever it is called."""
    recipe = load_recipe(name, list(overrides))
    set_up_torch(recipe.seed)
    tasks = tasks_of(recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec)
    model.use_scan(recipe.train.scan, torch.device("cpu"))
    return Learner(recipe, tasks, model, tasks.batch("train", 0, recipe.train.batch))


def ours(name: str, *overrides: str) -> dict[str, Learner]:
    """Our model by its row's name, `ours` first; in each way that it can be run."""
    first = learner(name, *overrides)
    others = SCANS if first.model.use_scan("auto", torch.device("cpu")) else {OURS: []}
    return {row: learner(name, *overrides, *more) if more else first for row, more in others.items()}


def steps(learners: dict[str, Learner], amount: float = 1) -> dict[str, Side]:
    """Our rows of a case.

    Args:
        amount: see `Side.amount`.
    """
    return {row: Side(each.step(), amount) for row, each in learners.items()}
