"""CUDA graphs: the model's forward and backward pass recorded once for each shape of episode, then replayed.

A memory network launches dozens of small kernels at each time step, and a GPU waits for the next launch longer than it
computes. A graph is one launch for all. Shapes are few: sequences are padded to multiples of MULTIPLE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from metacli.config.recipe import Recipe
from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.models.base import MetaLearner
from metacli.models.layers.sync_batch_norm import BatchNorm

MULTIPLE = 8  # of steps, that the two parts of a sequence are padded to
_READ = ("x_train", "y_train", "mask_train", "x_test", "y_previous")  # what a model reads of an episode


class Captured:
    """`model(episode)` by recorded passes.

    Args:
        model: on the GPU, in training mode whenever this is called.
        record: makes a function of tensors from a module and an example of its tensors.
    """

    def __init__(self, model: nn.Module, record: Callable[[nn.Module, tuple[Tensor, ...]], Any] | None = None):
        self._model, self._record = model, record or graph
        self._recorded: dict[Any, Any] = {}

    def __call__(self, episode: Episode) -> Tensor:
        """Logits (B, Q, O) as of `MetaLearner.forward`."""
        whole = padded(episode)
        given = {name: value for name in _READ if (value := getattr(whole, name)) is not None}
        full = {name: value for name, value in given.items() if value.numel()}
        shapes = {name: value.shape for name, value in given.items()}
        key = tuple(shapes.items())
        if key not in self._recorded:
            self._recorded[key] = self._record(_Asked(self._model, shapes, list(full)), tuple(full.values()))
        return self._recorded[key](*full.values())[:, : episode.x_test.shape[1]]


class _Asked(nn.Module):
    """A model as a function of tensors, those without elements left out."""

    def __init__(self, model: nn.Module, shapes: dict[str, torch.Size], names: list[str]):
        super().__init__()
        self.model, self.shapes, self.names = model, shapes, names

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        for name, shape in self.shapes.items():
            if name not in given:
                given[name] = given["x_test"].new_zeros(shape)
        model: Any = self.model
        phi = model.adapt(given["x_train"], given["y_train"], given.get("mask_train"))
        return model.predict(phi, given["x_test"], given.get("y_previous"))


def graph(module: nn.Module, tensors: tuple[Tensor, ...]) -> Any:
    """A CUDA graph of a module's forward and backward pass; what recording does to its running statistics is undone."""
    before = [buffer.clone() for buffer in module.buffers()]
    recorded = torch.cuda.make_graphed_callables(module, tensors, allow_unused_input=True)
    with torch.no_grad():
        for buffer, value in zip(module.buffers(), before, strict=True):
            buffer.copy_(value)
    return recorded


def padded(episode: Episode) -> Episode:
    """The episode with both parts of its sequences padded to multiples of MULTIPLE; others as they are.

    Padding of D_train is masked, that of D_test follows the last answer.
    """
    if episode.mask_train is None:
        return episode
    more, later = (-part.shape[1] % MULTIPLE for part in (episode.x_train, episode.x_test))
    return replace(
        episode,
        x_train=pad(episode.x_train, (0, 0, 0, more)),
        y_train=pad(episode.y_train, (0, 0, 0, more)),
        mask_train=pad(episode.mask_train, (0, more)),
        x_test=pad(episode.x_test, (0, 0, 0, later)),
    )


def captures(recipe: Recipe, model: MetaLearner, device: torch.device) -> bool:
    """Whether the model's passes are to be recorded as CUDA graphs.

    Raises:
        UsageError: they are, but not on a GPU, or the model cannot be.
    """
    if recipe.train.capture and (device.type != "cuda" or not model.capturable):
        where = "needs a CUDA device" if device.type != "cuda" else f"{recipe.model.name} looks at numbers on the way"
        raise UsageError(f"train.capture: {where}", "leave it out")
    if recipe.train.capture and any(isinstance(part, BatchNorm) for part in model.modules()):
        raise UsageError("train.capture: batch norm asks other processes on the way", "leave it out, or train in one")
    return recipe.train.capture
