"""Run directories as a table, and the recipe keys in which they differ."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from metacli.runs.listing import RunSummary
from metacli.show.console import printable
from metacli.show.recipes import format_value
from metacli.show.results import shorten

_LEAST_NAME = 12  # columns of a run directory
_VALUE = 22  # columns of a value


def print_runs(console: Console, runs: list[RunSummary]) -> None:
    """Prints a row for each run: its steps, its best validation score, when its log was last written, its state."""
    headings = ("run", "step", "best val", "updated", "state")
    rows = [_format_row(run) for run in runs]
    others = sum(2 + max(map(len, column)) for column in zip(headings[1:], *rows, strict=True))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("step", "best val") else "left")
    for run, row in zip(runs, rows, strict=True):
        name = printable(console, str(run.curve.run))
        table.add_row(shorten(name, max(_LEAST_NAME, console.width - others)), *row)
    console.print(table)


def _format_row(run: RunSummary) -> tuple[str, str, str, str]:
    c = run.curve
    best = "-" if c.best is None else f"{c.metric.label} {c.metric.format_value(c.best[1])}"
    updated = time.strftime("%m-%d %H:%M", time.localtime(run.modified))
    return f"{c.last_step:,}/{c.recipe.train.steps:,}", best, updated, run.state


def print_differences(console: Console, paths: list[Path], differences: dict[str, list[Any]]) -> None:
    """Prints a row for each recipe key that differs, and a column for each run."""
    if not differences:
        console.print(f"the recipes of these {len(paths)} runs are equal", highlight=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("key", no_wrap=True)
    for path in paths:
        table.add_column(shorten(printable(console, str(path)), _VALUE), overflow="fold")
    for key, values in differences.items():
        table.add_row(key, *(format_value(value) for value in values))
    console.print(table)
