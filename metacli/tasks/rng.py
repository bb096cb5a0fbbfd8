"""Counter-based random numbers, which make an episode a pure function of its number."""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np


class CounterRNG:
    """Random numbers by position: number j of episode i depends only on (seed, split, i, stream, j).

    A SplitMix64 finaliser (Steele, Lea, Flood 2014) over a counter, vectorised over the episodes, so that
    10,000 episodes cost a few array operations and not 10,000 generators.

    Args:
        seed: the recipe's seed.
        split: train, val or test.
        index: (B,) episode numbers.
    """

    def __init__(self, seed: int, split: str, index: np.ndarray):
        self._base = _mix(_key(seed, split) + index.astype(np.uint64))
        self._streams: list[np.ndarray] = []  # the keys of the next calls, (B,) each, in reverse order
        self._calls = 0

    def bits(self, *shape: int) -> np.ndarray:
        """Returns (B, *shape) uint64 with 64 random bits each. Every call uses the next stream."""
        if not self._streams:
            call = np.arange(self._calls + KEYS_PER_BATCH, self._calls, -1, dtype=np.uint64)
            self._streams = list(_mix(self._base + call[:, None] * _GOLDEN))
            self._calls += KEYS_PER_BATCH
        count = math.prod(shape)
        position = _POSITION[:count] if count <= len(_POSITION) else np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        return _mix(self._streams.pop()[:, None] + position).reshape(len(self._base), *shape)

    def uniform(self, *shape: int) -> np.ndarray:
        """Returns (B, *shape) float64 in [0, 1)."""
        bits = self.bits(*shape)
        bits >>= _ELEVEN
        return bits * 2.0**-53

    def normal(self, *shape: int) -> np.ndarray:
        """Returns (B, *shape) float64, standard normal, by the transform of Box and Muller (1958). Uses two streams."""
        radius = np.sqrt(-2 * np.log1p(-self.uniform(*shape)))
        return radius * np.cos(2 * np.pi * self.uniform(*shape))

    def integers(self, high: int | np.ndarray, *shape: int) -> np.ndarray:
        """Returns (B, *shape) int64 in [0, high); `high` may be an array that broadcasts."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def permutation(self, count: int, *shape: int) -> np.ndarray:
        """Returns (B, *shape, count) int64, independent uniform permutations of 0, ..., count - 1."""
        return self.bits(*shape, count).argsort(-1)

    def subset(self, population: int | np.ndarray, size: int) -> np.ndarray:
        """Returns (B, size) int64, distinct numbers below `population`, in uniformly random order.

        `population` may be an array (B,).

        Tasks in which a number was drawn twice are drawn again by Floyd's algorithm (Bentley and Floyd 1987), whose
        cost does not depend on the population.
        """
        limit = np.broadcast_to(np.reshape(population, (-1, 1)) - size + np.arange(size), (len(self._base), size))
        chosen = (self.uniform(size) * (limit + 1)).astype(np.int64)
        ascending = np.sort(chosen, 1)
        duplicated = np.flatnonzero((ascending[:, 1:] == ascending[:, :-1]).any(1))
        if len(duplicated):
            redrawn = chosen[duplicated]
            for j in range(1, size):
                is_taken = (redrawn[:, :j] == redrawn[:, j : j + 1]).any(1)
                redrawn[is_taken, j] = limit[duplicated, j][is_taken]
            chosen[duplicated] = redrawn
        return chosen[np.arange(len(chosen))[:, None], self.permutation(size)]


KEYS_PER_BATCH = 8  # keys computed at once, because with few episodes the number of array operations dominates
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_POSITION = np.arange(1, 4097, dtype=np.uint64) * _GOLDEN
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ELEVEN, _27, _30, _31 = (np.uint64(n) for n in (11, 27, 30, 31))


@lru_cache(maxsize=64)
def _key(seed: int, split: str) -> np.ndarray:
    """Returns the key of a split, (1,) uint64."""
    return _mix(np.array([zlib.crc32(f"{seed}/{split}".encode()) << 32 | seed & 0xFFFFFFFF], np.uint64))


def _mix(z: np.ndarray) -> np.ndarray:
    """Applies SplitMix64's finaliser in place."""
    z ^= z >> _30
    z *= _FACTORS[0]
    z ^= z >> _27
    z *= _FACTORS[1]
    z ^= z >> _31
    return z
