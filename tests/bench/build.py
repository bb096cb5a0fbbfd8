"""Builds training steps from recipes, by the same path as `metacli train`."""

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
from tests.bench.case import OURS, Implementation

CPU = torch.device("cpu")
SCANS: dict[str, list[str]] = {OURS: [], "metacli, plain scan": ["train.scan=plain"]}


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

    def training_step(self) -> TrainingStep:
        """Returns the training step of this model on its episode."""
        return self.reference_step(self.model)

    def sampling_step(self) -> TrainingStep:
        """Returns the same on a new episode in each step, sampling included."""
        batch, numbers = self.recipe.train.batch, iter(range(10**9))

        def sample_and_compute_loss() -> Tensor:
            return self.loss(self.model, self.tasks.batch("train", next(numbers) * batch, batch))

        return TrainingStep(self.model, self.recipe.train, sample_and_compute_loss)

    def reference_step(self, reference: Any, episode: Episode | None = None) -> TrainingStep:
        """Returns the training step of another model, with the same optimizer and clipping.

        Args:
            reference: maps an episode to logits (B, Q, O).
            episode: its episode; None for this learner's.
        """
        return TrainingStep(reference, self.recipe.train, lambda: self.loss(reference, episode or self.episode))

    def loss(self, model: Any, episode: Episode) -> Tensor:
        """Returns the training loss of a model that maps an episode to logits (B, Q, O)."""
        return self.tasks.loss(model(episode), episode)


class TrainingStep:
    """Forward, loss, backward, clipping and update, as in the training loop. One call is one step.

    Args:
        model: the model to train.
        config: optimizer, rate and clipping.
        loss: computes the scalar to minimise, forward pass included.
    """

    def __init__(self, model: Any, config: TrainConfig, loss: Callable[[], Tensor]):
        self.model, self.config, self.loss = model.train(), config, loss
        self.optimizer = make_optimizer(model, config)

    def compute_gradient(self) -> None:
        """Runs forward and backward only."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()

    def __call__(self) -> None:
        """Updates theta once."""
        self.compute_gradient()
        clip_gradients(self.model, self.config)
        self.optimizer.step()


@lru_cache
def build_tasks(config: Any, seed: int) -> Tasks:
    """Returns p(T) of a recipe's section `task`. Cases with equal sections share it, so that images are read once."""
    return build(TASKS, config, seed)


def load_tasks(name: str, *overrides: str) -> Tasks:
    """Returns p(T) of a bundled recipe with KEY=VALUE overrides."""
    recipe = load_recipe(name, list(overrides))
    return build_tasks(recipe.task, recipe.seed)


def build_learner(name: str, *overrides: str) -> Learner:
    """Returns a bundled recipe with KEY=VALUE overrides, built. Equal arguments give equal weights and episodes."""
    recipe = load_recipe(name, list(overrides))
    set_up_torch(recipe.seed)
    tasks = build_tasks(recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec)
    model.use_scan(recipe.train.scan, CPU)
    return Learner(recipe, tasks, model, tasks.batch("train", 0, recipe.train.batch))


def build_learners(name: str, *overrides: str) -> dict[str, Learner]:
    """Returns the learner by its row's name, `metacli` first, and one with the plain scan if the first is fast."""
    learner = build_learner(name, *overrides)
    learners = {OURS: learner}
    if (learner.model.use_scan("auto", CPU) or "").startswith("fast"):
        learners |= {row: build_learner(name, *overrides, *keys) for row, keys in SCANS.items() if keys}
    return learners


def training_steps(learners: dict[str, Learner], amount: float = 1) -> dict[str, Implementation]:
    """Returns the rows of metacli in a case.

    Args:
        amount: see `Implementation.amount`.
    """
    return {row: Implementation(learner.training_step(), amount) for row, learner in learners.items()}
