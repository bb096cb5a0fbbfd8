"""What `eval` found, as JSON with fixed keys and as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from metacli.config.recipe import Recipe
from metacli.tasks.base import Tasks
from metacli.training.evaluation import Scores, mean_ci95


def summary(scores: Scores, recipe: Recipe, tasks: Tasks, checkpoint: str, step: int, split: str) -> dict[str, Any]:
    """The result of `eval` as plain values; its keys are part of the interface and documented in the README.

    Every interval (`ci95`) is half the width of the 95 % interval of the mean over tasks, null for a single task.
    """
    result: dict[str, Any] = {
        "checkpoint": checkpoint,
        "recipe": recipe.as_dict(),
        "step": step,
        "split": split,
        "n_tasks": len(scores),
        "d_test_accuracy": interval(scores.values["accuracy"]),
        "loss": interval(scores.values["loss"])["mean"],
        "chance": tasks.chance,
        "by_appearance": [],
    }
    if "by_appearance" in scores.values:
        curve = scores.values["by_appearance"]
        result["by_appearance"] = [{"appearance": k + 1, **interval(c)} for k, c in enumerate(curve.T)]
    sequence = [name for name in ("bits", "errors", "optimal_bits") if name in scores.values]
    if sequence:
        result |= {f"{name}_per_sequence": interval(scores.values[name]) for name in sequence}
        result["by_length"] = by_length(scores, sequence)
    result["tasks"] = [
        {
            "index": int(i),
            "classes": scores.classes[row] if scores.classes else [],
            "accuracy": float(scores.values["accuracy"][row]),
            "loss": float(scores.values["loss"][row]),
            **{name: float(scores.values[name][row]) for name in sequence},
        }
        for row, i in enumerate(scores.index)
    ]
    return result


def interval(values: np.ndarray) -> dict[str, float | None]:
    """Mean and 95 % interval over tasks, null where there is none."""
    mean, ci95 = mean_ci95(values)
    return {"mean": None if math.isnan(mean) else mean, "ci95": None if math.isnan(ci95) else ci95}


def by_length(scores: Scores, names: Sequence[str]) -> list[dict[str, Any]]:
    """The scores of sequence tasks for each length that occurs."""
    lengths = scores.values["length"]
    rows = []
    for length in np.unique(lengths):
        here = lengths == length
        row = {name: interval(scores.values[name][here]) for name in names}
        rows.append({"length": int(length), "n_tasks": int(here.sum()), **row})
    return rows


def print_evaluation(console: Console, result: dict[str, Any], show: int) -> None:
    """Draw the result of `eval`: the first `show` tasks, then the curves, then the mean."""
    if show:
        console.print(_task_table(result, show))
    if result["by_appearance"]:
        console.print(_appearance_table(result))
    if len(result.get("by_length", [])) > 1:
        console.print(_length_table(result))
    accuracy, chance = result["d_test_accuracy"], result["chance"]
    lines = [f"D_test accuracy  {percent(accuracy)}   chance {chance['accuracy']:.1%}"]
    lines += [f"loss             {result['loss']:.4f} nats   guessing {chance['loss']:.4f}"]
    for name in ("bits", "errors", "optimal_bits"):
        if f"{name}_per_sequence" in result:
            lines += [f"{name.replace('_', ' '):<16} {number(result[f'{name}_per_sequence'])} per sequence"]
    recipe = result["recipe"]
    lines += [f"{result['n_tasks']:,} {result['split']} tasks of {recipe['name']}, step {result['step']:,}"]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _task_table(result: dict[str, Any], show: int) -> Table:
    with_classes = any(t["classes"] for t in result["tasks"])
    table = Table(title=f"per-task D_test accuracy, first {min(show, result['n_tasks'])} of {result['n_tasks']:,}")
    table.add_column("task", justify="right")
    if with_classes:
        table.add_column("classes, in the order of their labels", ratio=1)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    bits = "bits" in result["tasks"][0]
    if bits:
        table.add_column("bits", justify="right", no_wrap=True)
        table.add_column("errors", justify="right", no_wrap=True)
    for task in result["tasks"][:show]:
        row = [str(task["index"])] + ([", ".join(map(shorten, task["classes"]))] if with_classes else [])
        row += [f"{task['accuracy']:.1%}", f"{task['loss']:.3f}"]
        table.add_row(*row, *([f"{task['bits']:.2f}", f"{task['errors']:.0f}"] if bits else []))
    return table


def _appearance_table(result: dict[str, Any]) -> Table:
    table = Table(title="accuracy at the n-th appearance of a class")
    table.add_column("appearance", justify="right")
    table.add_column("accuracy", justify="right")
    for row in result["by_appearance"]:
        if row["mean"] is not None:
            table.add_row(str(row["appearance"]), percent(row))
    return table


def _length_table(result: dict[str, Any]) -> Table:
    names = [k for k in result["by_length"][0] if k not in ("length", "n_tasks")]
    table = Table(title="per sequence, by length")
    for name in ("length", "tasks", *(n.replace("_", " ") for n in names)):
        table.add_column(name, justify="right")
    for row in result["by_length"]:
        table.add_row(str(row["length"]), str(row["n_tasks"]), *(number(row[n]) for n in names))
    return table


def shorten(name: str, width: int = 24) -> str:
    """A class name of at most `width` characters, its middle left out."""
    return name if len(name) <= width else f"{name[: width - 12]}…{name[-11:]}"


def percent(value: dict[str, float | None]) -> str:
    """'96.12 % ± 0.31', without the interval where there is none."""
    if value["mean"] is None:
        return "-"
    spread = "" if value["ci95"] is None else f" ± {100 * value['ci95']:.2f}"
    return f"{100 * value['mean']:.2f} %{spread}"


def number(value: dict[str, float | None]) -> str:
    """'0.031 ± 0.004', without the interval where there is none."""
    if value["mean"] is None:
        return "-"
    spread = "" if value["ci95"] is None else f" ± {value['ci95']:.2g}"
    return f"{value['mean']:.4g}{spread}"
