"""The result of `metacli eval` as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from metacli.show.console import printable
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Metric, format_score

# `--json` has all rows and columns.
_CURVE_ROWS = 12  # of the table of curves
_TASK_METRICS = 6  # of the table of tasks


def print_evaluation(console: Console, result: dict[str, Any], tasks: Tasks, show: int) -> None:
    """Prints the result of `metacli eval`: the first `show` tasks, curves, groups, and then the means.

    Args:
        result: see `metacli.evaluation.report.summarize_evaluation`.
        tasks: the task distribution, which has the metrics.
    """
    numbers = [m for m in tasks.metrics if not m.axis]
    if show:
        console.print(_task_table(console, result, numbers[:_TASK_METRICS], show))
    for axis in dict.fromkeys(m.axis for m in tasks.metrics if m.axis):
        console.print(_curve_table(result, [m for m in tasks.metrics if m.axis == axis]))
    if tasks.group and len(result[f"by_{tasks.group}"]) > 1:
        console.print(_group_table(result[f"by_{tasks.group}"], tasks.group, [m for m in numbers if m.name != "loss"]))
    names = [f"D_test {numbers[0].label}", *(m.label for m in numbers[1:])]
    for label, m in zip(names, numbers, strict=True):
        console.print(f"{label:<{max(map(len, names))}}  {_format_mean(result, m)}", highlight=False, soft_wrap=True)
        if half := result[m.key].get("ci95_classes"):
            text = m.format_value(result[m.key]["mean"], half).partition("±")[2]
            console.print(f"{'':<{max(map(len, names))}}  ±{text} if the classes are new as well", highlight=False)
    recipe = printable(console, result["recipe"]["name"])
    orders = describe_orders(result["orders"])
    line = f"{result['n_tasks']:,} {result['split']} tasks of {recipe}, step {result['step']:,}{orders}"
    console.print(line, highlight=False, soft_wrap=True)


def _format_mean(result: dict[str, Any], m: Metric) -> str:
    unit = "".join(f" {words}" for words in (m.unit, m.note) if words not in ("", "%"))
    chance = f"   chance level {m.format_value(result['baseline'][m.name])}" if m.name in result["baseline"] else ""
    return f"{format_score(result[m.key])}{unit}{chance}"


def _task_table(console: Console, result: dict[str, Any], metrics: list[Metric], show: int) -> Table:
    with_classes = any(t["classes"] for t in result["tasks"])
    table = Table(title=f"the first {min(show, result['n_tasks']):,} of {result['n_tasks']:,} tasks")
    table.add_column("task", justify="right")
    if with_classes:
        # Without `fold`, rich cuts a line that ends with a space if its letters are two columns wide.
        table.add_column("classes, by label", ratio=1, overflow="fold")
    for m in metrics:
        table.add_column(m.label.replace(" ", "\n"), justify="right", no_wrap=True)
    for task in result["tasks"][:show]:
        classes = [", ".join(shorten(printable(console, c)) for c in task["classes"])] if with_classes else []
        table.add_row(str(task["index"]), *classes, *(m.format_value(task[m.name]) for m in metrics))
    return table


def _curve_table(result: dict[str, Any], metrics: list[Metric]) -> Table:
    """Returns curves over the same axis as columns, with at most `_CURVE_ROWS` rows.

    The first has its intervals. Those of all would need more than 80 columns.
    """
    axis, table = metrics[0].axis, Table(title=metrics[0].title)
    table.add_column("k", justify="right")
    for m in metrics:
        table.add_column(m.label.partition(" by ")[0].replace(" ", "\n"), justify="right", no_wrap=True)
    rows = [row for row in zip(*(result[m.key] for m in metrics), strict=True) if row[0]["mean"] is not None]
    for place in _spread_rows(len(rows)):
        first, *others = rows[place]
        means = (m.format_value(score["mean"]) for m, score in zip(metrics[1:], others, strict=True))
        table.add_row(str(first[axis]), format_score(first), *means)
    return table


def _spread_rows(count: int) -> list[int]:
    """Returns the places of at most `_CURVE_ROWS` of `count` rows, denser at the start, with the first and the last."""
    if count <= _CURVE_ROWS:
        return list(range(count))
    return sorted({round(place) - 1 for place in np.geomspace(1, count, _CURVE_ROWS)})


def _group_table(rows: list[dict[str, Any]], group: str, metrics: list[Metric]) -> Table:
    table = Table(title=f"by {group}")
    for label in (group, "tasks", *(m.label for m in metrics)):
        table.add_column(label, justify="right")
    for row in rows:
        table.add_row(
            str(row[group]), f"{row[metrics[0].key]['n_tasks']:,}", *(format_score(row[m.key]) for m in metrics)
        )
    return table


def describe_orders(orders: int) -> str:
    """Returns the label of answers that are averaged over several orders; empty for one."""
    return f", averaged over {orders:,} orders" if orders > 1 else ""


def shorten(text: str, width: int = 24) -> str:
    """Returns a text of at most `width` columns (at least 13), its middle left out. Some letters take two columns."""
    width = max(width, 13)
    if cell_len(text) <= width:
        return text
    first = next(i for i in range(len(text)) if cell_len(text[: i + 1]) > width - 12)
    last = next(i for i in range(len(text)) if cell_len(text[i:]) <= 11)
    return f"{text[:first]}…{text[last:]}"
