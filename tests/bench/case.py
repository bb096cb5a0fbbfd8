"""Case and Side: one line of the benchmark, and all who are timed on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["ms", "queries/s", "episodes/s"]
OURS = "ours"


@dataclass(frozen=True)
class Side:
    """One who does the work of a case.

    Attributes:
        run: does it once: a training step, or a batch of episodes.
        amount: the questions or episodes that one `run` deals with.
        missing: why it cannot run here; empty if it can.
    """

    run: Callable[[], Any] = lambda: None
    amount: float = 1
    missing: str = ""


@dataclass(frozen=True)
class Work:
    """A case, built.

    Attributes:
        sides: by name, `ours` first.
        counted: runs forward and backward once; its arithmetic is the limit's. None: no limit.
    """

    sides: dict[str, Side]
    counted: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Target:
    """How fast ours ought to be.

    Attributes:
        over: the side that it is measured by.
        quotient: how many times as fast as that side.
    """

    over: str
    quotient: float


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        name: as `--only` sees it.
        title: one line for the reader, unit not included.
        unit: `ms` a step (less is better), or what gets done in a second.
        make: builds models and episode.
        target: None where no line of the same run can state it.
    """

    name: str
    title: str
    unit: Unit
    make: Callable[[], Work]
    target: Target | None = None

    def value(self, seconds: float, amount: float) -> float:
        """Seconds of one `run` in the case's unit."""
        return seconds * 1e3 if self.unit == "ms" else amount / seconds
