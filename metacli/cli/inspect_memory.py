"""`metacli inspect-memory`: how a model used its memory in one task, or over many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.checkpoint_words import split_words, take_single
from metacli.cli.options import (
    CHECKPOINT,
    AsJson,
    CheckpointOptions,
    Device,
    Force,
    Plugins,
    SplitName,
    ThreadCount,
    examples,
    expand_paths,
    print_result,
    task_bar,
)
from metacli.errors import UsageError
from metacli.system import terminal

EXAMPLES = examples(
    "metacli inspect-memory copy_ntm",
    "metacli inspect-memory runs/first --task 3 --out memory",
    "metacli inspect-memory runs/first --tasks 200",
    "metacli inspect-memory runs/first task.ways=3 --head read0",
)


def inspect_memory(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT|KEY=VALUE", help=f"{CHECKPOINT} Then recipe keys to change, as in task.ways=3."
        ),
    ] = None,
    checkpoint: CheckpointOptions = None,
    task: Annotated[int, typer.Option(help="Index of the task in its split, from 0.")] = 0,
    tasks: Annotated[int | None, typer.Option(min=1, help="Measure memory use over this many tasks instead.")] = None,
    split: SplitName = "test",
    out: Annotated[
        Path | None, typer.Option(callback=expand_paths, help="Save the trace to files in this folder.")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="File formats for --out.")] = "npz,png,html,json",
    force: Force = False,
    head: Annotated[list[str] | None, typer.Option(help="Head to show, as in read0, or all; repeatable.")] = None,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what each step writes to memory, what each query reads, and which support example it attends to."""
    checkpoints, overrides = split_words(words, checkpoint)
    if tasks and (out or head):
        raise UsageError("--tasks measures all heads over many tasks", "leave out --tasks, or else --out and --head")
    from metacli.evaluation.report import print_missing_intervals
    from metacli.evaluation.session import open_session
    from metacli.inspect import inspection
    from metacli.inspect.terminal import print_trace
    from metacli.inspect.usage import print_usage
    from metacli.system import outputs

    file_formats, heads = inspection.parse_formats(formats) if out else [], head or []
    paths = inspection.check_trace_files(out, task, file_formats, force) if out else []
    session = open_session([take_single(checkpoints)], overrides, split, tasks or 1, device, threads)
    if tasks:
        with task_bar(tasks) as bar:
            summary = inspection.measure_usage(session.model, session.tasks, split, tasks, bar.update)
        print_missing_intervals({name.replace("_", " "): summary[m["key"]] for name, m in summary["metrics"].items()})
        return print_result(as_json, summary, lambda console: print_usage(console, summary))
    for path in paths:
        outputs.check_no_input(path, "--out", class_root=session.tasks.class_root)
    trace = inspection.trace_task(session.model, session.tasks, split, task, heads)
    print_result(as_json, inspection.as_json(trace), lambda console: print_trace(console, trace, heads))
    inspection.save_trace(paths, trace, heads)
    for path in paths:
        terminal.print_to_stderr(f"wrote   {path}")
