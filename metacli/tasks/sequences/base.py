"""What the five algorithmic tasks of the NTM paper (Graves, Wayne, Danihelka 2014, section 4) share.

D_train is the input phase, D_test the answer phase: zero inputs, one vector of bits to give at every step. All
episodes are generated; lengths differ within a batch, padding stands at the end.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

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
    """Tasks whose answers are bits; the cost is in bits per sequence, as in the paper's figures."""

    metric = "bits"
    maximise = False

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

    def loss(self, logits: Tensor, episode: Episode) -> Tensor:
        """Mean cross-entropy of a scored bit over the whole batch, in nats; guessing costs ln 2.

        Args:
            logits: (B, Q, O).
        """
        cost, scored = bit_cost(logits, episode)
        return cost.sum() / (scored.sum() * logits.shape[-1])

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Scores of each episode, all (B,).

        `loss` nats per bit; `accuracy` share of right bits; `bits` the cost of the sequence in bits;
        `errors` wrong bits in the sequence; `length` how long the task was (see `size`).
        """
        cost, scored = bit_cost(logits, episode)
        asked = scored.sum(1) * logits.shape[-1]
        wrong = ((logits > 0) != (episode.y_test > 0.5)) & scored[..., None]
        errors = wrong.sum((1, 2)).float()
        nats = cost.sum((1, 2))
        return {
            "loss": nats / asked,
            "accuracy": 1 - errors / asked,
            "bits": nats / math.log(2),
            "errors": errors,
            "length": self.size(episode).float(),
        }

    def size(self, episode: Episode) -> Tensor:
        """(B,) int64, how long each task is, in the unit of the task's own keys; by default its scored steps."""
        return _scored(episode).sum(1)

    @property
    def chance(self) -> dict[str, float]:
        """Every bit a coin: ln 2 nats, half of them right."""
        return {"loss": math.log(2), "accuracy": 0.5}


def bit_cost(logits: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every bit in nats, (B, Q, O) float32, zero where unscored; and what is scored, (B, Q) bool."""
    scored = _scored(episode)
    cost = binary_cross_entropy_with_logits(logits.float(), episode.y_test, reduction="none")
    return cost.masked_fill(~scored[..., None], 0.0), scored


def _scored(episode: Episode) -> Tensor:
    assert episode.mask_test is not None  # every algorithmic batch has one
    return episode.mask_test


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
