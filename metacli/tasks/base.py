"""What every p(T) offers, and the counter-based random numbers that make an episode a pure function."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Spec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Tasks(ABC):
    """A distribution p(T) with the splits train, val and test.

    A subclass is built as `cls(config, seed)` and declares a nested `Config(Section)` (see `metacli.config.base`).

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
        self._base = _mix(_key(seed, split) + index.astype(np.uint64))
        self._streams: list[np.ndarray] = []  # the keys of the calls to come, (B,) each, last first
        self._calls = 0

    def bits(self, *shape: int) -> np.ndarray:
        """(B, *shape) uint64, all bits random; every call continues the streams."""
        if not self._streams:
            number = np.arange(self._calls + AHEAD, self._calls, -1, dtype=np.uint64)
            self._streams = list(_mix(self._base + number[:, None] * _GOLDEN))
            self._calls += AHEAD
        count = math.prod(shape)
        position = _POSITION[:count] if count <= len(_POSITION) else np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        return _mix(self._streams.pop()[:, None] + position).reshape(len(self._base), *shape)

    def uniform(self, *shape: int) -> np.ndarray:
        """(B, *shape) float64 in [0, 1)."""
        bits = self.bits(*shape)
        bits >>= _ELEVEN
        return bits * 2.0**-53

    def integers(self, high: int | np.ndarray, *shape: int) -> np.ndarray:
        """(B, *shape) int64 in [0, high); `high` may be an array that broadcasts."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def permutation(self, count: int, *shape: int) -> np.ndarray:
        """(B, *shape, count) int64: independent uniform permutations of 0, ..., count - 1."""
        return self.bits(*shape, count).argsort(-1)

    def subset(self, population: int, size: int) -> np.ndarray:
        """(B, size) int64: `size` different numbers below `population`, in uniformly random order.

        Floyd's algorithm (Bentley and Floyd 1987): `size` steps however large the population is, and of those only
        the tasks that drew a number twice need any.
        """
        top = np.arange(population - size, population)
        chosen = (self.uniform(size) * (top + 1)).astype(np.int64)
        ascending = np.sort(chosen, 1)
        twice = np.flatnonzero((ascending[:, 1:] == ascending[:, :-1]).any(1))
        if len(twice):
            again = chosen[twice]
            for j in range(1, size):
                taken = (again[:, :j] == again[:, j : j + 1]).any(1)
                again[taken, j] = top[j]
            chosen[twice] = again
        return chosen[np.arange(len(chosen))[:, None], self.permutation(size)]


AHEAD = 8  # calls whose keys are made at once: with few episodes it is the number of array operations that costs
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_POSITION = np.arange(1, 4097, dtype=np.uint64) * _GOLDEN
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ELEVEN, _27, _30, _31 = (np.uint64(n) for n in (11, 27, 30, 31))


@lru_cache(maxsize=64)
def _key(seed: int, split: str) -> np.ndarray:
    """(1,) uint64."""
    return _mix(np.array([zlib.crc32(f"{seed}/{split}".encode()) << 32 | seed & 0xFFFFFFFF], np.uint64))


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser, in place."""
    z ^= z >> _30
    z *= _FACTORS[0]
    z ^= z >> _27
    z *= _FACTORS[1]
    z ^= z >> _31
    return z
