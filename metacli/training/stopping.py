"""Why a run stops before its last step: a signal, the time that it was given, scores that no longer get better."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from metacli.errors import UsageError

if TYPE_CHECKING:
    from metacli.system.signals import StopSignal
    from metacli.tasks.metrics import Metric

LONGEST = 1e9  # seconds, 31 years
TIME = 1  # below every exit status after a signal
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,6})?"
_TIME = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _UNITS))


class Deadline:
    """A moment after which a run stops.

    Args:
        limit: the time until then, from now on; see `seconds_in`.

    Attributes:
        limit: the same, in words as given.

    Raises:
        UsageError: `limit` is no time.
    """

    def __init__(self, limit: str):
        self.limit = limit
        self._moment = time.monotonic() + seconds_in(limit)

    def over(self) -> bool:
        """Whether it has come."""
        return time.monotonic() >= self._moment


def halt(stop: StopSignal, deadline: Deadline | None) -> int:
    """Whether a run is to stop after the step in hand: the exit status that a signal asks for, TIME, or 0 if not.

    A number, for several processes to agree on: the largest holds.
    """
    return stop.code or (TIME if deadline and deadline.over() else 0)


def why(halted: int, deadline: Deadline | None) -> tuple[int, str]:
    """What they agreed on, see `halt`: the run's exit status, and why it stops, in words; 0 and empty if it goes on."""
    if halted == TIME:
        return 0, f"the time limit of {deadline.limit}" if deadline else "the time limit"
    return halted, "a signal" if halted else ""


def seconds_in(text: str) -> float:
    """Seconds from words such as `2h`, `90m`, `45s`, `1h30m`, or a number of seconds.

    Raises:
        UsageError: it is none of them, 0, or more than LONGEST.
    """
    told = text.strip().lower()
    if re.fullmatch(_NUMBER, told):
        seconds = float(told)
    elif told and (parts := _TIME.fullmatch(told)):
        seconds = sum(float(n) * unit for n, unit in zip(parts.groups(), _UNITS.values(), strict=True) if n)
    else:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        hint = "hours, minutes, seconds in this order, each with its letter, or seconds alone: --time-limit 5400"
        raise UsageError(f"--time-limit {text!r}: a time above 0, as in 2h, 90m, 45s or 1h30m", hint)
    return seconds


class Patience:
    """Counts the validations since the last one that was the best so far.

    Args:
        limit: how many end the run; 0 for no limit.
        headline: the score that ranks them.
        log: the lines of metrics.jsonl so far. A resumed run counts on from them.
    """

    def __init__(self, limit: int, headline: Metric, log: list[dict[str, Any]]):
        self._limit, self._headline = limit, headline
        self._best: float | None = None
        self._since = 0
        for record in log:
            if "val" in record:
                self.count(record["val"][headline.name])

    def count(self, score: float) -> None:
        """Take in the headline score of one more validation."""
        if self._headline.beats(score, self._best):
            self._best, self._since = score, 0
        else:
            self._since += 1

    @property
    def over(self) -> str:
        """Why the run ends, in words; empty while it goes on."""
        if not self._limit or self._since < self._limit:
            return ""
        times = "1 validation" if self._since == 1 else f"{self._since} validations"
        return f"{times} without a better val {self._headline.label} than {self._headline.number(self._best or 0.0)}"
