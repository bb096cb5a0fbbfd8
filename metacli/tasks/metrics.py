"""Metric: the name, unit and direction of a score; and how scores and other numbers are formatted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# A score as plain values, wherever it appears: `metric`, its name; `unit`; `mean` over tasks; `ci95`, half the width of
# the mean's 95 % interval; `n_tasks`. `mean` and `ci95` are None if undefined: `ci95` for a single task, and where all
# tasks have the same score. A share is from 0 to 1. The accuracy of `eval` also has `ci95_classes`.
Score = dict[str, Any]
_DIGITS = 4  # significant digits, at most


@dataclass(frozen=True)
class Metric:
    """One of the scores of `Tasks.score`.

    Attributes:
        name: its name in `Tasks.score` and in the log.
        unit: `%` for a share in [0, 1], which is printed in percent; otherwise words, empty for none.
        higher_is_better: the direction; None for a reference value.
        axis: the name of the index k of a curve (B, k); empty for a single number.
        title: the title of a curve's table.
        first: the index k of the first column of a curve.
        note: words that `eval` prints after the number.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    axis: str = ""
    title: str = ""
    first: int = 1
    note: str = ""

    @property
    def key(self) -> str:
        """Its key in the result of `eval`: `d_test_<name>`; for a curve `by_<axis>`, or a name that ends with it."""
        if not self.axis:
            return f"d_test_{self.name}"
        key = f"by_{self.axis}"
        return self.name if self.name.endswith(f"_{key}") else key

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def better_direction(self) -> str | None:
        """`higher`, `lower` or None."""
        return None if self.higher_is_better is None else "higher" if self.higher_is_better else "lower"

    def as_dict(self) -> dict[str, str | None]:
        """Returns `key`, `unit` and `better`, the direction, as plain values."""
        return {"key": self.key, "unit": self.unit, "better": self.better_direction}

    def is_better(self, score: float, best: float | None) -> bool:
        """Whether a score is better than the best so far; True if there is none."""
        return best is None or (score > best if self.higher_is_better else score < best)

    def score(self, mean: float, ci95: float = math.nan, n_tasks: int | None = None) -> Score:
        """Returns a score as plain values. NaN becomes None."""
        plain = {name: None if math.isnan(v) else v for name, v in (("mean", mean), ("ci95", ci95))}
        return {"metric": self.name, "unit": self.unit, **plain, "n_tasks": n_tasks}

    def format_value(self, value: float, ci95: float | None = None) -> str:
        """Formats a value as in `96.1 %` or `0.03123`; see `format_number`."""
        return format_number(value, ci95, self.unit)


def format_score(score: Score) -> str:
    """Formats a score with its interval, if any, as in `96.1 % ± 0.3` or `0.0312 ± 0.0041`; `-` for no value."""
    return "-" if score["mean"] is None else format_number(score["mean"], score["ci95"], score["unit"])


def explain_missing_interval(score: Score) -> str:
    """Returns why a mean over tasks has no interval. Empty if it has one, or if there is no mean."""
    if score["mean"] is None or score["ci95"] is not None:
        return ""
    count = score["n_tasks"]
    return "there is only one task" if count == 1 else f"all {count:,} tasks have the same score"


def format_number(value: float, ci95: float | None = None, unit: str = "") -> str:
    """Formats a number with at most four significant digits.

    With an interval, the last digit is that of the interval's second digit. Percentages have one digit after the point,
    or two if the interval would be 0.0.

    Args:
        value: the number; a share from 0 to 1 for the unit `%`.
        ci95: half the width of its interval.
        unit: `%` for a share. Other units are not printed.
    """
    if not math.isfinite(value):
        return f"{value:g}"
    factor, sign = (100, " %") if unit == "%" else (1, "")
    value, half = factor * value, None if ci95 is None else factor * ci95
    exponent = _exponent(value, _DIGITS)
    room = _DIGITS - 1 - exponent  # digits after the point, at most
    if sign:
        digits = 1 if half is None or half == 0 or not half < 0.05 else 2
        digits = max(0, min(digits, _DIGITS - 1 if abs(value) < 1 else room))
    elif not half or not math.isfinite(half) or not -5 < max(exponent, _exponent(10 * half, 2)) < _DIGITS:
        return f"{value:.{_DIGITS}g}" + ("" if half is None else f" ± {half:.2g}")
    else:
        digits = max(0, min(1 - _exponent(half, 2), room))
    text = f"{value:.{digits}f}{sign}"
    text = text.removeprefix("-") if float(text.removesuffix(sign)) == 0 else text
    if half is None:
        return text
    interval = f"{half:.{digits}f}"
    return f"{text} ± {f'{half:.1g}' if half and not float(interval) else interval}"


def _exponent(value: float, digits: int) -> int:
    """Returns the exponent of the first significant digit of a number rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])
