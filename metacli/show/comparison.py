"""Several models side by side: a table, and a picture of the same numbers."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from metacli.evaluation.compare import Compared
from metacli.show import figures
from metacli.show.console import legible
from metacli.show.fonts import drawable
from metacli.show.results import shorten
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Metric

_NAME = 26  # columns of a checkpoint


def print_comparison(console: Console, found: list[Compared], tasks: Tasks, split: str, count: int) -> None:
    """A row for each model: its score, and how far it is from the first one's, task by task."""
    metric = tasks.metrics[0]
    table = Table(title=f"D_test {metric.label} on the same {count:,} {split} tasks")
    table.add_column("checkpoint", overflow="fold")
    table.add_column("model")
    table.add_column(metric.label, justify="right", no_wrap=True)
    table.add_column("less the first", justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            shorten(legible(console, one.name), _NAME),
            one.model,
            metric.format_interval(one.score),
            _difference(one, metric),
        )
    console.print(table)
    console.print(tasks.describe(), highlight=False, soft_wrap=True)


def _difference(one: Compared, metric: Metric) -> str:
    """With its sign; a `*` where the interval leaves out zero."""
    if one.difference is None or one.difference["mean"] is None:
        return ""
    mean, half = one.difference["mean"], one.difference["ci95"]
    sure = half is not None and abs(mean) > half
    return f"{'+' if mean > 0 else ''}{metric.format_interval(one.difference)}{' *' if sure else '  '}"


def save_comparison(path: Path, found: list[Compared], tasks: Tasks, split: str, count: int) -> None:
    """Draw means and differences with their 95 % intervals into a PNG.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
    """
    metric = tasks.metrics[0]
    factor = 100 if metric.unit == "%" else 1
    unit = f", {metric.unit}" if metric.unit else ""
    with figures.default_style(one.name for one in found):
        figure = figures.new_figure(9, 1.5 + 0.42 * len(found))
        left, right = figure.subplots(1, 2, sharey=True)
        for row, one in enumerate(found):
            color = figures.COLOURS[row % len(figures.COLOURS)]
            for ax, value in ((left, one.score), (right, one.difference)):
                if value is not None and value["mean"] is not None:
                    half = None if value["ci95"] is None else factor * value["ci95"]
                    ax.errorbar(factor * value["mean"], row, xerr=half, fmt="o", color=color, capsize=4)
        left.set_yticks(range(len(found)), [drawable(shorten(one.name, _NAME)) for one in found])
        left.set_ylim(len(found) - 0.5, -0.5)
        left.set_xlabel(f"D_test {metric.label}{unit}")
        right.set_xlabel(f"less the first, task by task{unit}")
        right.axvline(0, color=figures.FAINT, linewidth=1)
        figure.suptitle(f"{count:,} {split} tasks, 95 % intervals", fontsize=10)
        for ax in (left, right):
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="x", alpha=0.3)
        figures.save(path, figure)
