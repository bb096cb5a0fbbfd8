"""Case, Workload and Implementation: a line of the benchmark, and the implementations that are timed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["ms", "queries/s", "episodes/s"]
OURS = "metacli"


@dataclass(frozen=True)
class Implementation:
    """One way to do the work of a case.

    Attributes:
        run: does it once: a training step, or a batch of episodes.
        amount: number of queries or episodes in one `run`.
    """

    run: Callable[[], Any]
    amount: float = 1


@dataclass(frozen=True)
class Workload:
    """A case, built.

    Attributes:
        implementations: by name, `metacli` first.
        counted: runs forward and backward once; the floor counts its products. None: no floor.
    """

    implementations: dict[str, Implementation]
    counted: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Target:
    """The speed that metacli should reach.

    Attributes:
        reference: the implementation that it is compared with.
        quotient: how many times as fast as the reference.
    """

    reference: str
    quotient: float


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        name: the name that `--only` matches.
        title: the row's title, without the unit.
        unit: `ms` per step (less is better), or the amount per second.
        build: builds models and episode.
        target: None without a target.
    """

    name: str
    title: str
    unit: Unit
    build: Callable[[], Workload]
    target: Target | None = None

    def value(self, seconds: float, amount: float) -> float:
        """Returns the seconds of one `run` in the case's unit."""
        return seconds * 1e3 if self.unit == "ms" else amount / seconds
