"""What the five algorithmic tasks of the NTM paper (Graves, Wayne, Danihelka 2014, section 4) share.

D_train is the input phase, D_test the answer phase: zero inputs, one vector of bits to give at every step. All
episodes are generated; lengths differ within a batch, padding stands at the end.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.episode import Episode
from metacli.tasks.base import Split, Tasks
from metacli.tasks.rng import CounterRNG


class Phases(NamedTuple):
    """A batch of episodes as arrays, before they become tensors.

    Attributes:
        x_train: (B, S, D) the input phase, delimiters on their own channels.
        mask_train: (B, S) bool, True where a step is real.
        x_test: (B, Q, D) the inputs of the answer phase.
        y_test: (B, Q, O) the bits to answer, 0 where not asked.
        mask_test: (B, Q) bool, True where an answer is scored.
    """

    x_train: np.ndarray
    mask_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    mask_test: np.ndarray


class Algorithmic(Tasks):
    """Tasks whose answers are bits, scored by sequence."""

    group = "length"

    @abstractmethod
    def draw(self, random: CounterRNG, grown: np.ndarray) -> Phases:
        """One batch of episodes.

        Every draw whose size follows the batch's longest episode has that size as its first dimension: number j of
        a CounterRNG's stream does not depend on how many are drawn, so an episode is the same in every batch.

        Args:
            random: the random numbers of each episode.
            grown: (B,) in [0, 1], how far the curriculum has got; 1 is the full range.
        """

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Episodes first, ..., first + count - 1 of a split, padded to the longest of them."""
        index = np.arange(first, first + count)
        slow = getattr(self.config, "curriculum", 0) if split == "train" else 0
        grown = np.minimum(1.0, index / slow) if slow else np.ones(count)
        p = self.draw(CounterRNG(self.seed, split, index), grown)
        return Episode(
            x_train=torch.from_numpy(p.x_train.astype(np.float32)),
            y_train=torch.zeros(*p.x_train.shape[:2], 0),
            x_test=torch.from_numpy(p.x_test.astype(np.float32)),
            y_test=torch.from_numpy(p.y_test.astype(np.float32)),
            index=torch.from_numpy(index),
            mask_train=torch.from_numpy(p.mask_train),
            mask_test=torch.from_numpy(p.mask_test),
        )

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """The scores of bits, and `length` (B,), how long each task was (see `size`)."""
        return {**super().score(logits, episode), "length": self.size(episode).float()}

    def size(self, episode: Episode) -> Tensor:
        """(B,) int64, how long each task is, in the unit of the task's own keys; by default its scored steps."""
        assert episode.mask_test is not None  # every algorithmic batch has one
        return episode.mask_test.sum(1)


def draw_length(random: CounterRNG, grown: np.ndarray, fixed: int, low: int, high: int) -> np.ndarray:
    """(B,) int64: `fixed` where it is not 0, else uniform over low, ..., the part of high that has `grown`."""
    if fixed:
        return np.full(len(grown), fixed)
    longest = low + np.floor((high - low) * grown).astype(np.int64)
    return low + random.integers(longest - low + 1)


def length_mask(length: np.ndarray, count: int | None = None) -> np.ndarray:
    """(B, count) bool: True at the first `length` (B,) positions; count is by default the greatest length."""
    return np.arange(length.max() if count is None else count) < length[:, None]


def check_range(name: str, low: int, high: int) -> None:
    """ValueError if the range of `name` is reversed."""
    if low > high:
        raise ValueError(f"min_{name} {low} is above max_{name} {high}: no {name} is left to draw")
