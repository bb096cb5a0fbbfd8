"""Learning curves as a table with sparklines, and as a picture."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

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
        table.add_row(shorten(printable(console, str(c.run)), _NAME), f"{int(c.train[-1, 0]):,}", bars, best)
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
    """Saves curves as a PNG: validations with marks, training as a thin line behind, a color for each recipe.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
        UsageError: the runs are scored by different metrics.
    """
    metric = common_metric(curves)
    factor = 100 if metric.unit == "%" else 1
    with figures.default_style(c.recipe for c in curves):
        figure = figures.new_figure(8, 4.5)
        ax = figure.subplots()
        for i, (recipe, members) in enumerate(groupby(sorted(curves, key=lambda c: c.recipe), key=lambda c: c.recipe)):
            color, label = figures.COLOURS[i % len(figures.COLOURS)], make_drawable(recipe)
            for c in members:
                ax.plot(c.train[:, 0], factor * c.train[:, 1], color=color, alpha=0.25, linewidth=0.8)
                ax.plot(c.val[:, 0], factor * c.val[:, 1], color=color, marker="o", markersize=3, label=label)
                label = "_"  # one entry for all seeds of a recipe
        ax.set_xlabel("step")
        ax.set_ylabel(f"{metric.label}{f', {metric.unit}' if metric.unit else ''}")
        ax.set_title("dots: held-out classes or episodes; thin lines: training", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
        figures.save(path, figure)


def common_metric(curves: list[Curve]) -> Metric:
    """Returns the metric of all runs.

    Raises:
        UsageError: they are scored by different ones.
    """
    if len(names := {c.metric.name for c in curves}) > 1:
        raise UsageError(f"these runs are scored by different metrics: {', '.join(sorted(names))}", "ask for one kind")
    return curves[0].metric
