"""The result of `train --dry-run`, printed as the resolved recipe with the estimates as comments below it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from metacli.config import yaml_file
from metacli.system import files
from metacli.system.terminal import format_fact
from metacli.training.progress import duration

_NAMED_CLASSES = 8  # of a split
_MEMORY = {
    "parameters": "counted, with the running statistics",
    "optimizer": "counted",
    "gradients": "counted",
    "batch": "counted",
    "activations": "measured: what a step adds at its peak",
}


def print_dry_run(console: Console, result: dict[str, Any]) -> None:
    """Prints the result of `metacli.training.dry_run.dry_run`. The output is a recipe again."""
    console.print(Text(yaml_file.dump(result["recipe"]).rstrip()), soft_wrap=True, highlight=False)
    for line in [*_class_lines(result), "", *_size_lines(result), "", *_memory_lines(result), "", *_time_lines(result)]:
        console.print(Text(f"# {line}".rstrip()), soft_wrap=True, highlight=False)


def _class_lines(result: dict[str, Any]) -> list[str]:
    lines = [""] if result["classes"] else []
    for split, names in result["classes"].items():
        remainder = f" and {len(names) - _NAMED_CLASSES:,} more (see --json)" if len(names) > _NAMED_CLASSES else ""
        lines += format_fact(split, f"{len(names):,} classes: {', '.join(names[:_NAMED_CLASSES])}{remainder}", 78)
    return lines


def _size_lines(result: dict[str, Any]) -> list[str]:
    rows = [("parameters", f"{result['parameters']['total']:,}", "")]
    rows += [(f"  {name}", f"{count:,}", "") for name, count in result["parameters"]["by_part"].items()]
    shapes = [f"  {name:<12} {' x '.join(map(str, shape))}" for name, shape in result["episode"].items()]
    return [*_columns(rows), "", f"a batch of {result['recipe']['train']['batch']} tasks", *shapes]


def _memory_lines(result: dict[str, Any]) -> list[str]:
    rows = [(f"  {name}", format_size(result["memory"][name]), note) for name, note in _MEMORY.items()]
    return ["memory", *_columns(rows)]


def _time_lines(result: dict[str, Any]) -> list[str]:
    time, steps = result["time"], result["recipe"]["train"]["steps"]
    threads = f"{result['threads']} thread" + ("s" if result["threads"] > 1 else "")
    rows = [
        ("  one step", f"{time['seconds_per_step']:.2g} s", f"{time['steps_per_second']:.3g} per second"),
        ("  all steps", duration(time["seconds"]), f"for {steps:,} steps, without validations"),
    ]
    return [f"time, estimated from {time['timed_steps']} steps on {threads}", *_columns(rows)]


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    left, right = (max(len(row[i]) for row in rows) for i in (0, 1))
    return [f"{name:<{left}}  {number:>{right}}  {note}".rstrip() for name, number, note in rows]


def format_size(count: int | None) -> str:
    """Formats a number of bytes, as in `12.3 MB`; `unknown` for None."""
    return "unknown" if count is None else files.format_size(count)
