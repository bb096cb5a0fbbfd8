"""The base class of the five algorithmic tasks of the NTM paper (Graves, Wayne, Danihelka 2014, section 4).

D_train is the input phase. D_test is the answer phase: inputs are zero, and every step has a vector of bits as answer.
All episodes are generated. Lengths differ within a batch; padding is at the end.
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
    """A batch of episodes as NumPy arrays.

    Attributes:
        x_train: (B, S, D) the input phase, delimiters on their own channels.
        mask_train: (B, S) bool, False at padding.
        x_test: (B, Q, D) the inputs of the answer phase.
        y_test: (B, Q, O) the correct bits, 0 where not scored.
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
    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates a batch of episodes.

        A draw whose size depends on the batch's longest episode must have that size as its first dimension. Number j of
        a CounterRNG's stream does not depend on how many are drawn, so an episode is the same in every batch.

        Args:
            rng: the random numbers of each episode.
            progress: (B,) in [0, 1], the progress of the curriculum; 1 is the full range.
        """

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Returns episodes first, ..., first + count - 1 of a split, padded to the longest of them."""
        index = np.arange(first, first + count)
        phases = self.sample_phases(self.random_numbers(split, index), self.curriculum_progress(split, index))
        return Episode(
            x_train=torch.from_numpy(phases.x_train.astype(np.float32)),
            y_train=torch.zeros(*phases.x_train.shape[:2], 0, dtype=torch.float32, device="cpu"),
            x_test=torch.from_numpy(phases.x_test.astype(np.float32)),
            y_test=torch.from_numpy(phases.y_test.astype(np.float32)),
            index=torch.from_numpy(index),
            mask_train=torch.from_numpy(phases.mask_train),
            mask_test=torch.from_numpy(phases.mask_test),
        )

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns the scores of bits, and `length` (B,), see `task_length`."""
        return {**super().score(output, episode), "length": self.task_length(episode).float()}

    def task_length(self, episode: Episode) -> Tensor:
        """Returns (B,) int64, the length of each task in the unit of its config keys; by default its scored steps."""
        assert episode.mask_test is not None  # every algorithmic batch has one
        return episode.mask_test.sum(1)


def sample_length(rng: CounterRNG, progress: np.ndarray, fixed: int, low: int, high: int) -> np.ndarray:
    """Returns (B,) int64: `fixed` unless it is 0, else uniform from `low` to low + (high - low) * progress."""
    if fixed:
        return np.full(len(progress), fixed)
    longest = low + np.floor((high - low) * progress).astype(np.int64)
    return low + rng.integers(longest - low + 1)


def length_mask(length: np.ndarray, count: int | None = None) -> np.ndarray:
    """Returns (B, count) bool, True at the first `length` (B,) positions. By default, count is the greatest length."""
    return np.arange(length.max() if count is None else count) < length[:, None]


def check_range(name: str, low: int, high: int) -> None:
    """Raises a ValueError if the range of `name` is reversed."""
    if low > high:
        raise ValueError(f"min_{name} {low} is above max_{name} {high}: lower min_{name} or raise max_{name}")
