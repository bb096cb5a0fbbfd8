"""`metacli inspect-memory`: how a model used its memory in one task, or over many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import (
    AsJson,
    CheckpointPath,
    Device,
    Overrides,
    Plugins,
    SplitName,
    ThreadCount,
    print_result,
    task_bar,
)
from metacli.errors import UsageError
from metacli.system import terminal

EXAMPLES = (
    "Examples: metacli inspect-memory -c runs/demo | metacli inspect-memory -c runs/demo --task 3 --out look | "
    "metacli inspect-memory -c runs/demo --tasks 200 | "
    "metacli inspect-memory -c best.safetensors task.ways=3 --head read0"
)


def inspect_memory(
    checkpoint: CheckpointPath,
    overrides: Overrides = None,
    task: Annotated[int, typer.Option(help="Number of the task in its split.")] = 0,
    tasks: Annotated[int | None, typer.Option(min=1, help="Measure memory over this many tasks instead.")] = None,
    split: SplitName = "test",
    out: Annotated[Path | None, typer.Option(help="Save the trace to files in this folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="File formats for --out.")] = "npz,png,html,json",
    head: Annotated[list[str] | None, typer.Option(help="Show this head, as in read0, or all; repeatable.")] = None,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what each step wrote to memory, what each query read, and why its answer was right or wrong."""
    if tasks and (out or head):
        raise UsageError("--tasks measures all heads over many tasks", "leave out --tasks, or --out and --head")
    from metacli.evaluation.session import open_session
    from metacli.inspect import inspection
    from metacli.inspect.terminal import print_trace
    from metacli.inspect.usage import print_usage

    file_formats, heads = inspection.parse_formats(formats) if out else [], head or []
    session = open_session([checkpoint], overrides or [], split, tasks or 1, device, threads)
    if tasks:
        with task_bar(tasks) as bar:
            summary = inspection.measure_usage(session.model, session.tasks, split, tasks, bar.update)
        return print_result(as_json, summary, lambda console: print_usage(console, summary))
    trace = inspection.trace_task(session.model, session.tasks, split, task, heads)
    print_result(as_json, inspection.as_json(trace), lambda console: print_trace(console, trace, heads))
    for path in inspection.save_trace(out, trace, file_formats, heads) if out else []:
        terminal.print_to_stderr(f"wrote   {path}")
