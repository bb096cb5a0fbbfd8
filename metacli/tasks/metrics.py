"""Metric: a score of a task by name, with its unit and its direction."""

from __future__ import annotations

from dataclasses import dataclass

Interval = dict[str, float | None]  # `mean` and `ci95` over tasks, None where there is none


@dataclass(frozen=True)
class Metric:
    """One of the scores of `Tasks.score`.

    Attributes:
        name: its name there and in the log.
        unit: `%` for a share, which is from 0 to 1 and printed in percent; else in words, empty for none.
        higher: whether more of it is better; None for what is there to compare with.
        key: its name in the result of `eval`.
        axis: what the k-th value of a curve (B, k) belongs to; empty for a score that is one number.
        title: of a curve's table.
    """

    name: str
    unit: str
    higher: bool | None
    key: str
    axis: str = ""
    title: str = ""

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def better(self) -> str | None:
        """`higher`, `lower` or None."""
        return None if self.higher is None else "higher" if self.higher else "lower"

    def beats(self, score: float, best: float | None) -> bool:
        """Whether a score is better than the best so far, None before the first."""
        return best is None or (score > best if self.higher else score < best)

    def number(self, value: float) -> str:
        """As in `96.1%` or `0.03123`."""
        return f"{value:.1%}" if self.unit == "%" else f"{value:.4g}"

    def spread(self, value: Interval) -> str:
        """As in `96.12 % ± 0.31` or `0.031 ± 0.004`, without the interval where there is none; `-` for no value."""
        mean, half = value["mean"], value["ci95"]
        if mean is None:
            return "-"
        if self.unit == "%":
            return f"{100 * mean:.2f} %" + ("" if half is None else f" ± {100 * half:.2f}")
        return f"{mean:.4g}" + ("" if half is None else f" ± {half:.2g}")
