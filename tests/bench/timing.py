"""Medians in one process. In every round each implementation of each case has its turn, so noise affects all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from metacli.system.operating_system import release_freed_memory
from tests.bench.case import Implementation


class Timing(NamedTuple):
    """The seconds of one `run` of an implementation.

    Attributes:
        median: over all runs of all rounds.
        fastest: the shortest run.
        low: the lower quartile.
        high: the upper quartile.
        runs: number of runs.
        rounds: the median of each round.
    """

    median: float
    fastest: float
    low: float
    high: float
    runs: int
    rounds: list[float]


def measure(
    rows: dict[tuple[str, str], Implementation],
    rounds: int,
    seconds: float,
    tick: Callable[[], object] = lambda: None,
) -> dict[tuple[str, str], Timing]:
    """Times every implementation.

    Args:
        rows: by (case, name), those of a case next to each other.
        rounds: number of turns of each.
        seconds: duration of the timed runs in a turn; an untimed run comes before.
        tick: called after each turn.
    """
    times: dict[tuple[str, str], list[list[float]]] = {key: [] for key in rows}
    for nth in range(rounds + 1):
        for _, group in groupby(times, key=lambda key: key[0]):
            for key in group:
                if nth:
                    times[key].append(_take_turn(rows[key], seconds))
                    tick()
                else:
                    rows[key].run()  # kernels, buffers and compiled code are made at the first run
            release_freed_memory()  # otherwise the memory that each case retains adds up
    return {key: _summarise(turns) for key, turns in times.items()}


def _take_turn(row: Implementation, seconds: float) -> list[float]:
    """Returns the times of one turn, at least one. The untimed run before fills the caches."""
    row.run()
    times = [_time(row)]
    while sum(times) < seconds:
        times.append(_time(row))
    return times


def _time(row: Implementation) -> float:
    start = time.perf_counter()
    row.run()
    return time.perf_counter() - start


def _summarise(turns: list[list[float]]) -> Timing:
    times = sorted(t for turn in turns for t in turn)
    low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    medians = [statistics.median(turn) for turn in turns]
    return Timing(statistics.median(times), times[0], low, high, len(times), medians)
