"""Metric: the name, unit and direction of a score, and how it is formatted."""

from __future__ import annotations

from dataclasses import dataclass

Interval = dict[str, float | None]  # `mean` and `ci95` over tasks, None if undefined


@dataclass(frozen=True)
class Metric:
    """One of the scores of `Tasks.score`.

    Attributes:
        name: its name in `Tasks.score` and in the log.
        unit: `%` for a share in [0, 1], which is printed in percent; otherwise words, empty for none.
        higher_is_better: the direction; None for a reference value.
        key: its name in the result of `eval`.
        axis: the name of the index k of a curve (B, k); empty for a single number.
        title: the title of a curve's table.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    key: str
    axis: str = ""
    title: str = ""

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def better_direction(self) -> str | None:
        """`higher`, `lower` or None."""
        return None if self.higher_is_better is None else "higher" if self.higher_is_better else "lower"

    def is_better(self, score: float, best: float | None) -> bool:
        """Whether a score is better than the best so far; True if there is none."""
        return best is None or (score > best if self.higher_is_better else score < best)

    def format_value(self, value: float) -> str:
        """Formats a value as in `96.1%` or `0.03123`."""
        return f"{value:.1%}" if self.unit == "%" else f"{value:.4g}"

    def format_interval(self, value: Interval) -> str:
        """Formats a mean with its interval, if any, as in `96.12 % ± 0.31` or `0.031 ± 0.004`; `-` for no value."""
        mean, half = value["mean"], value["ci95"]
        if mean is None:
            return "-"
        if self.unit == "%":
            return f"{100 * mean:.2f} %" + ("" if half is None else f" ± {100 * half:.2f}")
        return f"{mean:.4g}" + ("" if half is None else f" ± {half:.2g}")
