"""The scores of several seeds of one recipe as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from metacli.tasks.metrics import Metric


def print_seeds(console: Console, result: dict[str, Any]) -> None:
    """Print a row for each seed, then the median and the range.

    Args:
        console: where to print.
        result: see `metacli.runs.seeds.SeedRuns.summary`.
    """
    kind = result["metric"]
    metric = Metric(kind["name"], kind["unit"], {"higher": True, "lower": False, None: None}[kind["better"]], "")
    table = Table(title=f"{result['recipe']}: D_test {metric.label} over {result['n_tasks']:,} test tasks")
    for name in ("seed", "best step", f"best val {metric.label}", f"D_test {metric.label}"):
        table.add_column(name, justify="right")
    for row in result["seeds"]:
        best = "-" if row["best"] is None else metric.format_value(row["best"])
        table.add_row(str(row["seed"]), f"{row['step']:,}", best, metric.format_interval(row))
    console.print(table)
    lowest, middle, highest = (
        metric.format_interval({"mean": result[key], "ci95": None}) for key in ("lowest", "median", "highest")
    )
    console.print(f"median {middle}, from {lowest} to {highest}", highlight=False)
    console.print(f"runs in {result['run_dir']}", highlight=False, soft_wrap=True)
