"""Refuses a training that cannot fit into memory, before anything is built."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from metacli.config.recipe import Recipe
from metacli.evaluation.memory_forecast import check_available, least_bytes
from metacli.registry import MODELS, build
from metacli.tasks.base import Tasks


def check_training(recipe: Recipe, tasks: Tasks, device: torch.device, batch: int) -> None:
    """Raise a MetacliError where no training step can have the memory that it needs.

    Args:
        recipe: the recipe.
        tasks: p(T).
        device: where the model will be.
        batch: tasks of a step in this process.
    """
    with suppress(RuntimeError, TypeError, ValueError, NotImplementedError):  # a model of a plugin may need real data
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = build(MODELS, _with_random_weights(recipe.model), tasks.spec).eval()
        sizes = least_bytes(model, tasks, "train", batch, recipe)
        check_available(sizes, f"a training step with train.batch={recipe.train.batch}", device)


def _with_random_weights(config: Any) -> Any:
    """The config of a model of the same size. The operations of other values of `init` import torch._dynamo on meta."""
    return config.model_copy(update={"init": "random"}) if hasattr(config, "init") else config
