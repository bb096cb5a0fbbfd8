"""The scores of several models on the same tasks, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from metacli.evaluation.compare import ModelScore
from metacli.show import figures
from metacli.show.console import printable
from metacli.show.fonts import make_drawable
from metacli.show.results import describe_orders, shorten
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import format_score

_NAME = 26  # columns of a checkpoint


def print_comparison(console: Console, results: list[ModelScore], tasks: Tasks, split: str, count: int) -> None:
    """Prints a row for each model: its score, and its difference from the score of the first model, paired by task."""
    metric = tasks.metrics[0]
    orders = describe_orders(results[0].orders)
    table = Table(title=f"D_test {metric.label} on the same {count:,} {split} tasks{orders}")
    table.add_column("checkpoint", overflow="fold")
    table.add_column("model")
    table.add_column(metric.label, justify="right", no_wrap=True)
    table.add_column("minus the first", justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            shorten(printable(console, result.name), _NAME),
            result.kind,
            format_score(result.score),
            _format_difference(result),
        )
    console.print(table)
    if any(is_significant(result) for result in results):
        console.print("* the 95 % interval of the difference does not contain 0", highlight=False)
    console.print(tasks.describe(), highlight=False, soft_wrap=True)


def _format_difference(result: ModelScore) -> str:
    """Returns the difference with its sign, and a `*` if its interval does not contain zero."""
    if result.difference is None or result.difference["mean"] is None:
        return ""
    sign = "+" if result.difference["mean"] > 0 else ""
    return f"{sign}{format_score(result.difference)}{' *' if is_significant(result) else '  '}"


def is_significant(result: ModelScore) -> bool:
    """Whether the interval of the difference from the first model does not contain zero."""
    difference = result.difference
    if difference is None or difference["ci95"] is None:
        return False
    return bool(abs(difference["mean"]) > difference["ci95"])


def save_comparison(path: Path, results: list[ModelScore], tasks: Tasks, split: str, count: int) -> None:
    """Saves means and differences with their 95 % intervals as a PNG.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
    """
    metric = tasks.metrics[0]
    factor = 100 if metric.unit == "%" else 1
    unit = f", {metric.unit}" if metric.unit else ""
    with figures.default_style(result.name for result in results):
        figure = figures.new_figure(9, 1.5 + 0.5 * len(results))
        left, right = figure.subplots(1, 2, sharey=True)
        for row, result in enumerate(results):
            color = figures.COLOURS[row % len(figures.COLOURS)]
            for ax, value in ((left, result.score), (right, result.difference)):
                if value is not None and value["mean"] is not None:
                    half = None if value["ci95"] is None else factor * value["ci95"]
                    ax.errorbar(factor * value["mean"], row, xerr=half, fmt="o", color=color, capsize=4)
        labels = [f"{make_drawable(shorten(result.name, _NAME))}\n{result.kind}" for result in results]
        left.set_yticks(range(len(results)), labels)
        left.set_ylim(len(results) - 0.5, -0.5)
        left.set_xlabel(f"D_test {metric.label}{unit}")
        right.set_xlabel(f"minus the first model, paired by task{unit}")
        right.axvline(0, color=figures.FAINT, linewidth=1)
        orders = describe_orders(results[0].orders)
        figure.suptitle(f"the same {count:,} {split} tasks{orders}, 95 % intervals", fontsize=10)
        for ax in (left, right):
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="x", alpha=0.3)
        figures.save(path, figure)
