"""What `train --dry-run` found, as the resolved recipe with the rest as its comments: all of it is a recipe again."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from metacli.config import yaml_file
from metacli.system.files import amount
from metacli.training.progress import duration, labelled

_NAMED = 8  # classes of a split
_MEMORY = {
    "parameters": "counted, running statistics included",
    "optimizer": "counted: what it keeps of each parameter",
    "gradients": "counted",
    "batch": "counted",
    "activations": "measured, with scratch: what one step's peak adds",
    "process": "measured: all of this process at that peak",
}


def print_rehearsal(console: Console, found: dict[str, Any]) -> None:
    """Draw what `metacli.training.dry_run.rehearse` returns."""
    console.print(Text(yaml_file.dump(found["recipe"]).rstrip()), soft_wrap=True, highlight=False)
    lines = [*_classes(found), "", *_sizes(found), "", *_memory(found), "", *_time(found)]
    for line in lines:
        console.print(Text(f"# {line}".rstrip()), soft_wrap=True, highlight=False)


def _classes(found: dict[str, Any]) -> list[str]:
    """How the classes are divided, with the names of the first ones; nothing for generated tasks."""
    lines = [""] if found["classes"] else []
    for split, names in found["classes"].items():
        rest = f" and {len(names) - _NAMED:,} more (all: --json)" if len(names) > _NAMED else ""
        text = f"{len(names):,} classes: {', '.join(names[:_NAMED])}{rest}"
        lines += labelled(split, text, 78)
    return lines


def _sizes(found: dict[str, Any]) -> list[str]:
    parts = found["parameters"]["by_part"]
    rows = [("parameters", f"{found['parameters']['total']:,}", "")]
    rows += [(f"  {name}", f"{count:,}", "") for name, count in parts.items()]
    shapes = [f"  {name:<12} {' x '.join(map(str, shape))}" for name, shape in found["episode"].items()]
    return [*_columns(rows), "", f"a batch of {found['recipe']['train']['batch']} tasks", *shapes]


def _memory(found: dict[str, Any]) -> list[str]:
    memory = found["memory"]
    said = {**_MEMORY}
    if memory["batches_at_once"] > 1:
        said["batch"] += f"; up to {memory['batches_at_once']} at once, sampled ahead"
    return ["memory", *_columns([(f"  {name}", size(memory[name]), text) for name, text in said.items()])]


def _time(found: dict[str, Any]) -> list[str]:
    t, cfg = found["time"], found["recipe"]["train"]
    threads = f"{found['threads']} thread" + ("s" if found["threads"] > 1 else "")
    rows = [
        ("  a step", f"{t['seconds_per_step']:.2g} s", f"{t['steps_per_second']:.3g} per second"),
        ("  of it sampling", f"{t['seconds_sampling']:.2g} s", "at the same time" * t["sampled_beside_the_step"]),
        ("  a validation", f"{t['seconds_per_validation']:.2g} s", f"{t['validations']} of them"),
        ("  in all", duration(t["seconds"]), f"for {cfg['steps']:,} steps"),
    ]
    said = f"time: an estimate, from {t['timed_steps']} steps on {threads} as busy as they are now"
    return [said, *_columns(rows)]


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    left, right = (max(len(row[i]) for row in rows) for i in (0, 1))
    return [f"{name:<{left}}  {number:>{right}}  {said}".rstrip() for name, number, said in rows]


def size(count: int | None) -> str:
    """Bytes as people read them, as in `12.3 MB`; `unknown` for None."""
    return "unknown" if count is None else amount(count)
