"""Medians in one process: in every round each side of each case has its turn, so that noise hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from metacli.system.operating_system import release_freed_memory
from tests.bench.case import Side


class Timing(NamedTuple):
    """How long one `run` of a side takes, in seconds.

    Attributes:
        median: over all runs of all rounds.
        low: the lower quartile.
        high: the upper quartile.
        runs: how many there were.
        rounds: the median of each round.
    """

    median: float
    low: float
    high: float
    runs: int
    rounds: list[float]


def measure(
    sides: dict[tuple[str, str], Side], rounds: int, seconds: float, tick: Callable[[], object] = lambda: None
) -> dict[tuple[str, str], Timing]:
    """Time every side that is not missing.

    Args:
        sides: by (case, side), the sides of a case next to each other.
        rounds: how often each has its turn.
        seconds: of timed runs in one turn; an untimed one goes before.
        tick: called after each turn.
    """
    times: dict[tuple[str, str], list[list[float]]] = {key: [] for key, side in sides.items() if not side.missing}
    for nth in range(rounds + 1):
        for _, group in groupby(times, key=lambda key: key[0]):
            for key in group:
                if nth:
                    times[key].append(_turn(sides[key], seconds))
                    tick()
                else:
                    sides[key].run()  # what is made at first use: kernels, buffers, compiled code
            release_freed_memory()  # or the memory that each case keeps for itself would add up
    return {key: _summary(turns) for key, turns in times.items()}


def _turn(side: Side, seconds: float) -> list[float]:
    """The times of one turn, one at least; the untimed run before it brings memory and caches back."""
    side.run()
    taken = [_once(side)]
    while sum(taken) < seconds:
        taken.append(_once(side))
    return taken


def _once(side: Side) -> float:
    began = time.perf_counter()
    side.run()
    return time.perf_counter() - began


def _summary(turns: list[list[float]]) -> Timing:
    every = sorted(t for turn in turns for t in turn)
    low, _, high = statistics.quantiles(every, n=4) if len(every) > 1 else every * 3
    return Timing(statistics.median(every), low, high, len(every), [statistics.median(turn) for turn in turns])
