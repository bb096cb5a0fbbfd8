"""The base class of tasks that predict the next symbol of a sequence from an unknown source."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metacli.episode import Episode, Spec
from metacli.tasks.answers import Symbols
from metacli.tasks.base import Split
from metacli.tasks.optimum import OptimumTasks
from metacli.tasks.rng import CounterRNG


class NextSymbol(OptimumTasks):
    """Each step reads the previous symbol, one-hot, and predicts the next one. D_train is empty.

    The input of the first step is zero. A config has the key `length`.
    """

    @classmethod
    @abstractmethod
    def count_symbols(cls, config: Any) -> int:
        """Returns the number of different symbols."""

    @abstractmethod
    def sample_symbols(self, rng: CounterRNG) -> np.ndarray:
        """Returns the symbols (B, length) int64 of each task."""

    @classmethod
    def answer_of(cls, config: Any) -> Symbols:
        """Returns one of the symbols."""
        return Symbols(cls.count_symbols(config))

    @classmethod
    def spec_of(cls, config: Any) -> Spec:
        """See `Tasks.spec_of`: a one-hot symbol in, a symbol out."""
        count = cls.count_symbols(config)
        return Spec("sequence", (count,), 0, count, config.length)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`."""
        index = np.arange(first, first + count)
        symbols = torch.from_numpy(self.sample_symbols(self.random_numbers(split, index)))
        inputs = one_hot(symbols, self.spec.out_size).roll(1, 1)
        inputs[:, 0] = 0
        x_train, y_train = inputs[:, :0], inputs.new_zeros(count, 0, 0)
        return Episode(x_train, y_train, inputs, symbols[..., None], torch.from_numpy(index))


def one_hot(symbols: Tensor, count: int) -> Tensor:
    """Returns (..., count) float, 1 at the place of each symbol (...)."""
    return (symbols[..., None] == torch.arange(count, device=symbols.device)).float()


def count_before(is_event: Tensor) -> Tensor:
    """Returns, for events (B, T, ...) of 0 or 1, how often each of them happened before each step."""
    return is_event.cumsum(1) - is_event


def draw_symbols(uniforms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns (B,) int64, a symbol of each task with probability proportional to its weight.

    Args:
        uniforms: (B,) in [0, 1).
        weights: (B, n), 0 or more, their sum above 0.
    """
    bounds = weights.cumsum(1)
    return (bounds[:, :-1] <= uniforms[:, None] * bounds[:, -1:]).sum(1)
