"""The result of `metacli eval` as tables."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from metacli.show.console import printable
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Metric, format_score


def print_evaluation(console: Console, result: dict[str, Any], tasks: Tasks, show: int) -> None:
    """Prints the result of `metacli eval`: the first `show` tasks, curves, groups, and then the means.

    Args:
        result: see `metacli.evaluation.report.summarize_evaluation`.
        tasks: the task distribution, which has the metrics.
    """
    numbers = [m for m in tasks.metrics if not m.axis]
    if show:
        console.print(_task_table(console, result, numbers, show))
    for m in tasks.metrics:
        if m.axis:
            console.print(_curve_table(result[m.key], m))
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
    unit = f" {m.unit}" if m.unit not in ("", "%") else ""
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
        table.add_column(m.label, justify="right", no_wrap=True)
    for task in result["tasks"][:show]:
        classes = [", ".join(shorten(printable(console, c)) for c in task["classes"])] if with_classes else []
        table.add_row(str(task["index"]), *classes, *(m.format_value(task[m.name]) for m in metrics))
    return table


def _curve_table(rows: list[dict[str, Any]], m: Metric) -> Table:
    table = Table(title=m.title)
    table.add_column("k", justify="right")
    table.add_column(m.label.split()[0], justify="right")
    for row in rows:
        if row["mean"] is not None:
            table.add_row(str(row[m.axis]), format_score(row))
    return table


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
