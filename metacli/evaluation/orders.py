"""Answers averaged over several orders of the support set."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.tasks.answers import EmbeddedLabels, Symbols
from metacli.tasks.base import Split, Tasks
from metacli.tasks.images.jitter import Jitter, apply_jitter
from metacli.tasks.rng import CounterRNG

MAX_ORDERS = 1000


def average_over_orders(model: nn.Module, tasks: Tasks, split: Split, orders: int) -> nn.Module:
    """Returns a model that averages its answers over a number of orders; for one order the model itself.

    Raises:
        UsageError: these are not N-way K-shot tasks over images.
    """
    if orders == 1:
        return model
    check_has_orders(tasks)
    return OrderAverage(model, tasks, split, orders)


def check_has_orders(tasks: Tasks) -> None:
    """Raises a UsageError, with the reason, if the answers to these tasks are not averaged over orders."""
    name, hint = tasks.config.name, "leave out --orders"
    if tasks.view != "images":
        raise UsageError(f"--orders moves the images of a task, but {name} has no images", hint)
    if tasks.spec.mode != "independent":
        raise UsageError(f"--orders reorders a support set, but tasks in mode {tasks.spec.mode} have none", hint)
    if tasks.answer.components > 1:
        labels = f"labels of {tasks.answer.components} characters"
        raise UsageError(f"--orders needs a label for each class, but these tasks have {labels}", hint)


class OrderAverage(nn.Module):
    """A model that reads the support set in M orders, and averages its probabilities over them.

    The first order is the task as it is. In every other order the support examples are permuted, the labels are
    assigned to the classes at random or drawn anew, and all images are moved a little, in the same way (see `Jitter`).
    Order m of a task depends only on the seed, the split, the number of the task, and m.

    Args:
        model: f_theta.
        tasks: p(T) in mode independent, over images. They are read with one-hot labels, whatever the model reads.
        split: the split that the tasks come from.
        orders: M, from 1 to `MAX_ORDERS`.
    """

    def __init__(self, model: nn.Module, tasks: Tasks, split: Split, orders: int):
        super().__init__()
        self.model = model
        self.spec = tasks.with_labels(random=False).spec  # of the tasks, so that labels arrive as wide as they are
        self.orders = orders
        self._task, self._seed, self._stream = tasks.config, tasks.seed_of(split), f"{split} orders"

    def forward(self, episode: Episode) -> Tensor:
        """Returns the logarithms of the mean probabilities, (B, Q, N)."""
        answers = torch.stack([self._answer(episode, m).log_softmax(-1) for m in range(self.orders)])
        return answers.logsumexp(0) - math.log(self.orders)

    def _answer(self, episode: Episode, m: int) -> Tensor:
        """Returns the logits (B, Q, N) of order m, by the labels of the episode."""
        model: Any = self.model
        ways, device = episode.y_train.shape[-1], episode.x_train.device
        rng = CounterRNG(self._seed, self._stream, episode.index.cpu().numpy() * MAX_ORDERS + m)
        answer = EmbeddedLabels(ways) if model.spec.random_labels else Symbols(model.spec.y_size)
        vectors = answer.draw_labels(rng, ways).to(episode.y_train)  # (B, N, Y)
        if m == 0:
            if not model.spec.random_labels:
                vectors = torch.eye(ways, model.spec.y_size).to(episode.y_train)
            return model(replace(episode, y_train=episode.y_train @ vectors)) @ vectors.mT
        order = torch.from_numpy(_permute(rng, episode)).to(device)  # (B, S)
        jitter = Jitter.sample(rng, self._task)
        task = torch.arange(len(episode), device=device)[:, None]
        moved = replace(
            episode,
            x_train=apply_jitter(jitter, episode.x_train[task, order]),
            y_train=(episode.y_train @ vectors)[task, order],
            x_test=apply_jitter(jitter, episode.x_test),
        )
        return model(moved) @ vectors.mT


def _permute(rng: CounterRNG, episode: Episode) -> np.ndarray:
    """Returns (B, S) int64, a random order of the support examples of each task, with the padding still at the end."""
    order = rng.permutation(episode.x_train.shape[1])
    if episode.mask_train is None:
        return order
    is_padding = ~np.take_along_axis(episode.mask_train.cpu().numpy(), order, 1)
    return np.take_along_axis(order, is_padding.argsort(1, kind="stable"), 1)
