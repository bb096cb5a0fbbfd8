"""Refuses a training run that cannot fit into memory, before anything is built."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from metacli.config.recipe import Recipe
from metacli.evaluation.memory_forecast import check_available, least_bytes
from metacli.registry import MODELS, build
from metacli.tasks.base import Tasks


def check_training(recipe: Recipe, tasks: Tasks, device: torch.device, batch: int) -> None:
    """Raise a MetacliError if memory is insufficient for a training step.

    Args:
        recipe: the recipe.
        tasks: p(T).
        device: the device of the model.
        batch: number of tasks per step in this process.
    """
    with suppress(RuntimeError, TypeError, ValueError, NotImplementedError):  # a model of a plugin may need real data
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = build(MODELS, _with_random_weights(recipe.model), tasks.spec).eval()
        sizes = least_bytes(model, tasks, "train", batch, recipe)
        check_available(sizes, f"a training step with train.batch={recipe.train.batch}", device)


def _with_random_weights(config: Any) -> Any:
    """Returns the config with random initial weights. On meta, other values of `init` import torch._dynamo."""
    return config.model_copy(update={"init": "random"}) if hasattr(config, "init") else config
