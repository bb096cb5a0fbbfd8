"""Learning curves as a table with sparklines, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from metacli.errors import UsageError
from metacli.runs.learning_curves import Curve
from metacli.show import figures
from metacli.show.console import printable
from metacli.show.fonts import make_drawable
from metacli.show.results import shorten
from metacli.tasks.metrics import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BARS = "▁▂▃▅▆▇█"  # without the one of half a line, which in ASCII stands for another glyph
_WIDTH = 22  # columns of a curve
_NAME = 22


def print_curves(console: Console, curves: list[Curve]) -> None:
    """Prints a row for each run: its validation scores over time, on one scale for all runs, and the best."""
    metric = common_metric(curves)
    scores = np.concatenate([c.val[:, 1] for c in curves])
    table = Table(title=f"val {metric.label}, from the first validation to the last")
    table.add_column("run", overflow="fold")
    table.add_column("step", justify="right")
    table.add_column("curve", no_wrap=True)
    table.add_column("best", justify="right", no_wrap=True)
    for c in curves:
        best = "none yet" if c.best is None else f"{metric.format_value(c.best[1])} at {c.best[0]:,}"
        bars = sparkline(c.val[:, 1], scores.min(initial=np.inf), scores.max(initial=-np.inf))
        table.add_row(shorten(printable(console, str(c.run)), _NAME), f"{c.last_step:,}", bars, best)
    console.print(table)


def sparkline(values: np.ndarray, low: float, high: float, width: int = _WIDTH) -> str:
    """Returns values over time as bars of seven heights; more than `width` values are averaged in groups.

    Args:
        values: (n,) in [low, high].
    """
    if not len(values):
        return ""
    parts = np.array([part.mean() for part in np.array_split(values, min(width, len(values)))])
    heights = (parts - low) / max(high - low, 1e-12) * (len(_BARS) - 1)
    return "".join(_BARS[int(h)] for h in np.rint(heights))


def save_curves(path: Path, curves: list[Curve]) -> None:
    """Saves curves as a PNG, in a color for each recipe.

    A single run has dots for validations and a thin line for training. Several seeds of a recipe are a line for the
    mean of their validations and a band from the lowest to the highest.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
        UsageError: the runs are scored by different metrics.
    """
    metric = common_metric(curves)
    factor = 100 if metric.unit == "%" else 1
    groups = group_seeds(curves)
    with figures.default_style([*(c.recipe.name for c in curves), *(str(c.run) for c in curves)]):
        figure = figures.new_figure(8, 4.5)
        ax = figure.subplots()
        for i, members in enumerate(groups):
            color = figures.COLOURS[i % len(figures.COLOURS)]
            label = make_drawable(_group_label(members, groups))
            mean_and_range = average_validations(members)
            if mean_and_range is not None:
                _draw_band(
                    ax, mean_and_range[:, 0], factor * mean_and_range[:, 1:], color, f"{label}, {len(members)} seeds"
                )
                continue
            for c in members:
                ax.plot(c.train[:, 0], factor * c.train[:, 1], color=color, alpha=0.25, linewidth=0.8)
                ax.plot(c.val[:, 0], factor * c.val[:, 1], color=color, marker="o", markersize=3, label=label)
                label = "_"  # one entry for all runs of a group
        ax.set_xlabel("step")
        ax.set_ylabel(f"{metric.label}{f', {metric.unit}' if metric.unit else ''}")
        ax.set_title(_caption(groups), fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
        figures.save(path, figure)


def _draw_band(ax: Axes, steps: np.ndarray, scores: np.ndarray, color: str, label: str) -> None:
    """Draws scores (n, 3), the mean, the lowest and the highest, at steps (n,)."""
    ax.fill_between(steps, scores[:, 1], scores[:, 2], color=color, alpha=0.2, linewidth=0)
    ax.plot(steps, scores[:, 0], color=color, marker="o", markersize=3, label=label)


def group_seeds(curves: Iterable[Curve]) -> list[list[Curve]]:
    """Returns the curves in groups whose recipes differ only in the seed and the number of steps."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.variant, []).append(curve)
    return list(groups.values())


def average_validations(curves: list[Curve]) -> np.ndarray | None:
    """Returns rows of step, mean, lowest and highest score, (n, 4), at the steps that all runs have validated at.

    None if the curves are not those of several seeds, or have no step in common.
    """
    if len({c.recipe.seed for c in curves}) < 2:
        return None
    steps = reduce(np.intersect1d, [c.val[:, 0] for c in curves])
    if not len(steps):
        return None
    scores = np.array([c.val[np.searchsorted(c.val[:, 0], steps), 1] for c in curves])  # (runs, n)
    return np.column_stack([steps, scores.mean(0), scores.min(0), scores.max(0)])


def _group_label(members: list[Curve], groups: list[list[Curve]]) -> str:
    """Returns the name of a group's recipe, with the first run directory if another group has the same name."""
    name = members[0].recipe.name
    is_unique = sum(group[0].recipe.name == name for group in groups) == 1
    return name if is_unique else f"{name} ({shorten(str(members[0].run), 40)})"


def _caption(groups: list[list[Curve]]) -> str:
    averaged = [average_validations(members) is not None for members in groups]
    parts = ["dots: validation split"]
    parts += ["line and band: mean, lowest and highest of the seeds"] if any(averaged) else []
    parts += ["thin lines: training batches"] if not all(averaged) else []
    return "; ".join(parts)


def common_metric(curves: list[Curve]) -> Metric:
    """Returns the metric of all runs.

    Raises:
        UsageError: they are scored by different ones.
    """
    if len(names := {c.metric.name for c in curves}) > 1:
        raise UsageError(
            f"these runs are scored by different metrics: {', '.join(sorted(names))}", "name runs with the same metric"
        )
    return curves[0].metric
