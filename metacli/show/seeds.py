"""The scores of several seeds of one recipe as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from metacli.tasks.metrics import format_number, format_score


def print_seeds(console: Console, result: dict[str, Any]) -> None:
    """Print a row for each seed, then the median and the range.

    Args:
        console: where to print.
        result: see `metacli.runs.seeds.SeedRuns.summary`.
    """
    name, metric = next(iter(result["metrics"].items()))
    label, key, unit = name.replace("_", " "), metric["key"], metric["unit"]
    table = Table(title=f"{result['recipe']}: D_test {label} on {result['n_tasks']:,} test tasks")
    for name in ("seed", "best step", f"best val {label}", f"D_test {label}"):
        table.add_column(name, justify="right")
    for row in result["seeds"]:
        best = "-" if row["best"] is None else format_score(row["best"])
        table.add_row(str(row["seed"]), f"{row['step']:,}", best, format_score(row[key]))
    console.print(table)
    lowest, middle, highest = (format_number(result[part], unit=unit) for part in ("lowest", "median", "highest"))
    console.print(f"median {middle}, from {lowest} to {highest}", highlight=False)
    console.print(f"runs: {result['run_dir']}", highlight=False, soft_wrap=True)
