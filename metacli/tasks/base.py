"""What every p(T) offers, and the counter-based random numbers that make an episode a pure function."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Spec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Tasks(ABC):
    """A distribution p(T) with the splits train, val and test.

    A subclass is built as `cls(config, seed)` and declares a nested `Config(Section)` (see `metacli.section`).

    Attributes:
        metric: the name of the score that ranks checkpoints on the val split.
        maximise: whether more of it is better.
    """

    Config: ClassVar[type[Any]]
    metric: ClassVar[str] = "accuracy"
    maximise: ClassVar[bool] = True

    def __init__(self, config: Any, seed: int = 0):
        self.config = config
        self.seed = seed
        self.spec = self.spec_of(config)

    @classmethod
    @abstractmethod
    def spec_of(cls, config: Any) -> Spec:
        """The spec of the tasks that `config` describes, found without touching any data."""

    @abstractmethod
    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Episodes first, ..., first + count - 1 of a split, each a pure function of (seed, split, its number)."""

    @abstractmethod
    def loss(self, logits: Tensor, episode: Episode) -> Tensor:
        """The scalar that training minimises: mean loss per answer, in nats.

        Args:
            logits: (B, Q, O).
        """

    @abstractmethod
    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Scores task by task: each (B,), or (B, k) for a curve, NaN where a task has no value.

        Always holds `loss` (nats per answer) and `accuracy` (share of right answers, 0 to 1).
        """

    @property
    @abstractmethod
    def chance(self) -> dict[str, float]:
        """`loss` and `accuracy` of guessing."""

    def describe(self) -> str:
        """One line: which data, which split, how many classes of each; printed before training."""
        return str(self.config.name)

    def origins(self, split: Split) -> set[str]:
        """The classes of a split by where they come from, the same in all tasks over the same data; empty without."""
        return set()

    def class_names(self, classes: Tensor) -> list[str]:
        """Names of the classes of one task.

        Args:
            classes: (N,) a row of `Episode.classes`.
        """
        return [str(int(c)) for c in classes]


class Counter:
    """Random numbers by position: number j of episode i depends on (seed, split, i, stream, j) alone.

    A SplitMix64 finaliser (Steele, Lea, Flood 2014) over a counter, vectorised over the episodes, so that
    10,000 episodes cost a few array operations and not 10,000 generators.

    Args:
        seed: the recipe's seed.
        split: train, val or test.
        index: (B,) episode numbers.
    """

    def __init__(self, seed: int, split: str, index: np.ndarray):
        key = np.uint64(zlib.crc32(f"{seed}/{split}".encode())) << np.uint64(32) | np.uint64(seed & 0xFFFFFFFF)
        self._base = _mix(_mix(np.full(len(index), key)) + index.astype(np.uint64))
        self._calls = 0

    def bits(self, *shape: int) -> np.ndarray:
        """(B, *shape) uint64, all bits random; every call continues the streams."""
        self._calls += 1
        count = int(np.prod(shape, dtype=np.int64))
        stream = _mix(self._base + np.array([self._calls], np.uint64) * _GOLDEN)
        position = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        return _mix(stream[:, None] + position).reshape(len(self._base), *shape)

    def uniform(self, *shape: int) -> np.ndarray:
        """(B, *shape) float64 in [0, 1)."""
        return (self.bits(*shape) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, high: int | np.ndarray, *shape: int) -> np.ndarray:
        """(B, *shape) int64 in [0, high); `high` may be an array that broadcasts."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def permutation(self, count: int, *shape: int) -> np.ndarray:
        """(B, *shape, count) int64: independent uniform permutations of 0, ..., count - 1."""
        return np.argsort(self.bits(*shape, count), axis=-1)

    def subset(self, population: int, size: int) -> np.ndarray:
        """(B, size) int64: `size` different numbers below `population`, in uniformly random order.

        Floyd's algorithm (Bentley and Floyd 1987): `size` steps however large the population is.
        """
        chosen = np.full((len(self._base), size), -1, dtype=np.int64)
        draw = self.uniform(size)
        for j, top in enumerate(range(population - size, population)):
            pick = (draw[:, j] * (top + 1)).astype(np.int64)
            taken = (chosen[:, :j] == pick[:, None]).any(1)
            chosen[:, j] = np.where(taken, top, pick)
        return np.take_along_axis(chosen, self.permutation(size), 1)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
