"""Stopping a run before its last step: a signal, a time limit, or validations without improvement."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from metacli.errors import UsageError
from metacli.system.signals import StopSignal

if TYPE_CHECKING:
    from metacli.compute.processes import Processes
    from metacli.tasks.metrics import Metric

LONGEST = 1e9  # seconds, 31 years
TIME_LIMIT = 1  # a stop request below every exit status of a signal
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,6})?"
_TIME = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _UNITS))


class Deadline:
    """The moment at which a run stops.

    Args:
        limit: the time from now until then, as text; see `parse_duration`.

    Attributes:
        limit: the text.

    Raises:
        UsageError: `limit` is not a duration.
    """

    def __init__(self, limit: str):
        self.limit = limit
        self._moment = time.monotonic() + parse_duration(limit)

    def has_passed(self) -> bool:
        """Returns whether the moment has passed."""
        return time.monotonic() >= self._moment


def parse_duration(text: str) -> float:
    """Returns the seconds of a text such as `2h`, `90m`, `45s`, `1h30m`, or a number of seconds.

    Raises:
        UsageError: the text is not a duration, or is 0 or more than LONGEST.
    """
    lowered = text.strip().lower()
    if re.fullmatch(_NUMBER, lowered):
        seconds = float(lowered)
    elif lowered and (match := _TIME.fullmatch(lowered)):
        seconds = sum(float(n) * unit for n, unit in zip(match.groups(), _UNITS.values(), strict=True) if n)
    else:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        hint = "give hours, minutes and seconds in this order, each with its letter, or only a number of seconds"
        raise UsageError(f"--time-limit {text!r}: should be a duration above 0, such as 2h, 90m, 45s or 1h30m", hint)
    return seconds


class Patience:
    """Counts the validations since the best one.

    Args:
        limit: the number of validations without a new best that ends the run; 0 for no limit.
        headline: the metric that ranks them.
        log: the lines of metrics.jsonl so far; a resumed run continues their count.
    """

    def __init__(self, limit: int, headline: Metric, log: list[dict[str, Any]]):
        self._limit, self._headline = limit, headline
        self._best: float | None = None
        self._since_best = 0
        for record in log:
            if "val" in record:
                self.count(record["val"][headline.name])

    def count(self, score: float) -> None:
        """Count one more validation by its headline score."""
        if self._headline.is_better(score, self._best):
            self._best, self._since_best = score, 0
        else:
            self._since_best += 1

    @property
    def reason(self) -> str:
        """Why the run stops; empty while it continues."""
        if not self._limit or self._since_best < self._limit:
            return ""
        times = "1 validation" if self._since_best == 1 else f"{self._since_best} validations"
        return (
            f"{times} without a better val {self._headline.label} than {self._headline.format_value(self._best or 0.0)}"
        )


class Stopper:
    """Decides for all processes together whether a run stops before its last step.

    In its `with` block, a signal becomes a stop request. A second signal interrupts at once, except under torchrun,
    which may forward one signal twice.

    Args:
        deadline: the time limit, None for none. That of the first process counts.

    Attributes:
        patience: the validations without improvement.
        code: the exit status for the agreed signal, 0 without one.
    """

    def __init__(self, deadline: Deadline | None, patience: Patience, processes: Processes):
        self.patience, self.code = patience, 0
        self._deadline, self._counts_time = deadline, processes.is_first
        self._signal = StopSignal(twice=processes.size == 1)
        self._reason = ""

    def __enter__(self) -> Stopper:
        self._signal.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._signal.__exit__(*error)

    def read(self) -> int:
        """Returns this process's stop request: the exit status of a signal, TIME_LIMIT, or 0. The largest one counts.

        Called once per step. A later request counts for the next step.
        """
        is_late = self._counts_time and self._deadline is not None and self._deadline.has_passed()
        return self._signal.code or (TIME_LIMIT if is_late else 0)

    def agree(self, stop_code: int) -> None:
        """Accept the largest stop request of all processes."""
        if stop_code == TIME_LIMIT:
            self._reason = f"the time limit of {self._deadline.limit}" if self._deadline else "the time limit"
        elif stop_code:
            self.code, self._reason = stop_code, "a signal"

    @property
    def reason(self) -> str:
        """Why the run stops; empty while it continues."""
        return self.patience.reason or self._reason

    @property
    def agreed(self) -> bool:
        """Whether all processes stop now."""
        return bool(self.reason)
