"""Counter-based random numbers: what makes an episode a pure function of its number."""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np


class CounterRNG:
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

    def subset(self, population: int | np.ndarray, size: int) -> np.ndarray:
        """(B, size) int64: `size` different numbers below `population`, in uniformly random order.

        `population` may be an array (B,).

        Floyd's algorithm (Bentley and Floyd 1987): `size` steps however large the population is, and of those only
        the tasks that drew a number twice need any.
        """
        top = np.broadcast_to(np.reshape(population, (-1, 1)) - size + np.arange(size), (len(self._base), size))
        chosen = (self.uniform(size) * (top + 1)).astype(np.int64)
        ascending = np.sort(chosen, 1)
        twice = np.flatnonzero((ascending[:, 1:] == ascending[:, :-1]).any(1))
        if len(twice):
            again = chosen[twice]
            for j in range(1, size):
                taken = (again[:, :j] == again[:, j : j + 1]).any(1)
                again[taken, j] = top[twice, j][taken]
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
